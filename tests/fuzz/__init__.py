"""
Fuzzing what is read of strangers: `python -m tests.fuzz answers|calls|input|wire --minutes 30`.

Here: functions that take any bytes and fail where a promise is broken, the bytes that they begin
with, what they once found, and the campaign that drives them with atheris. Not here: what an answer
or a file means, which the tests of each room tell; here nobody knows what the bytes mean.
"""
