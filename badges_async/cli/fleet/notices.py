"""
What the library warns of while a command waits: said to the person at the terminal, once.

Here: from the library's log to a line. Not here: lines (`output`, `progress`).
"""

from __future__ import annotations

import contextlib
import logging
import math
from collections.abc import Callable, Iterator

__all__ = ["said_by"]

_SAY_AGAIN = 5.0  # seconds


@contextlib.contextmanager
def said_by(say: Callable[[str], object]) -> Iterator[None]:
    """Hand every warning of the library to *say* for as long as this is open."""
    log, handler = logging.getLogger("badges_async"), _Sayer(say)
    log.addHandler(handler)
    try:
        yield
    finally:
        log.removeHandler(handler)


class _Sayer(logging.Handler):
    """
    Says a warning in one line.

    A worker's source, its quota and whoever looks at the stream each notice for themselves that
    Redis is away; it is said once.
    """

    def __init__(self, say: Callable[[str], object]) -> None:
        super().__init__(logging.WARNING)
        self._say = say
        self._said: dict[str, float] = {}

    def emit(self, record: logging.LogRecord) -> None:
        if record.created - self._said.get(record.msg, -math.inf) < _SAY_AGAIN:
            return
        self._said[record.msg] = record.created
        error = record.exc_info[1] if record.exc_info else None
        self._say(record.getMessage() + (f": {error!r}" if error else ""))
