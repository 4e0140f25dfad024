"""
SQLite's errors as ours.

Here: which of them means what for whoever uses a ledger. Not here: what is done about it
(`writer`).
"""

from __future__ import annotations

import contextlib
import sqlite3
from collections.abc import Iterator
from pathlib import Path

from badges_async.errors import (
    LedgerCorruptError,
    LedgerError,
    LedgerFullError,
    LedgerLockedError,
)

__all__ = ["as_ledger_error", "translated"]

_PRIMARY = 0xFF  # an extended code holds the primary one in its lowest byte


def as_ledger_error(error: sqlite3.Error, path: Path, *, reading: bool = False) -> LedgerError:
    """Give *error* as one of ours; the texts of SQLite hold no data."""
    match getattr(error, "sqlite_errorcode", 0) & _PRIMARY:
        case sqlite3.SQLITE_BUSY | sqlite3.SQLITE_LOCKED:
            return LedgerLockedError(f"{path}: another program keeps the ledger locked")
        case sqlite3.SQLITE_CORRUPT | sqlite3.SQLITE_NOTADB:
            return LedgerCorruptError(f"{path}: the ledger is damaged: {error}")
        case sqlite3.SQLITE_IOERR | sqlite3.SQLITE_READONLY | sqlite3.SQLITE_CANTOPEN if reading:
            return LedgerError(f"{path}: the ledger cannot be read: {error}")
        case sqlite3.SQLITE_FULL:
            return LedgerFullError(f"{path}: the disk is full")
        case sqlite3.SQLITE_IOERR:
            return LedgerFullError(f"{path}: the ledger cannot be written: {error}")
        case _:  # no right to write among them: unlike room, it does not come by itself
            return LedgerError(f"{path}: {error}")


@contextlib.contextmanager
def translated(path: Path, *, reading: bool = False) -> Iterator[None]:
    """Let no error of SQLite out of a block but as one of ours."""
    try:
        yield
    except sqlite3.Error as error:
        raise as_ledger_error(error, path, reading=reading) from error
