"""
Bugs planted on purpose, to see whether the tests and the simulation are awake.

    python -m tests.planted

Here: the `bugs`, and the `hunt` that plants one at a time in a copy of the project. Not here: the
tests that catch them.
"""
