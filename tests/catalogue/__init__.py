"""
The catalogue of faults, F001 to F139: what the world does to a client, and what must become of it.

Each number begins the docstring of at least one test, here or where the room it concerns is tested,
or stands in `listed` with the reason why it does not. Here: the faults that no room owns alone, and
what injects them. Not here: what a room promises by itself (`tests/client`, `tests/ledger`, ...).
"""
