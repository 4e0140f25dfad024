"""
What is refused of an option before anything is done.

Here: checks of numbers. Not here: what an option means (where it is taken).
"""

from __future__ import annotations

from badges_async import InvalidInputError

__all__ = ["check_whole"]


def check_whole(name: str, value: int, most: int) -> None:
    """
    Check a count.

    Raises:
        InvalidInputError: *value* is no whole number from 1 to *most*.
    """
    if isinstance(value, bool) or not isinstance(value, int) or not 1 <= value <= most:
        raise InvalidInputError(f"{name} must be a whole number from 1 to {most}")
