"""
The file of a ledger: its tables, how it comes to be, and what is refused before SQLite touches it.

Here: everything about the file as a whole. Not here: reading and writing rows (`store`, `reader`).
"""

from __future__ import annotations

import contextlib
import os
import sqlite3
import tempfile
from pathlib import Path

from badges_async.errors import (
    LedgerCorruptError,
    LedgerError,
    LedgerMismatchError,
    LedgerVersionError,
)
from badges_async.ledger.faults import translated
from badges_async.ledger.lock import commits_counted

__all__ = ["VERSION", "check_complete", "check_file", "connect", "connect_read_only", "create"]

VERSION = 1
_APPLICATION_ID = 0x62616467  # "badg"
_BUSY_SECONDS = 5.0
_CACHE_KIB = 16_000
_HEADER = 100
_MAGIC = b"SQLite format 3\0"

# state: see records.State. run: which run wrote the row last. doubt: it may have been sent without
# a known answer. error: why not, as JSON.
_TABLES = """
CREATE TABLE claim (
    id INTEGER PRIMARY KEY,
    badge_id TEXT NOT NULL,
    owner_type TEXT NOT NULL,
    reference_id TEXT NOT NULL,
    state INTEGER NOT NULL DEFAULT 0,
    doubt INTEGER NOT NULL DEFAULT 0,
    run INTEGER NOT NULL DEFAULT 0,
    attempts INTEGER NOT NULL DEFAULT 0,
    recovered INTEGER NOT NULL DEFAULT 0,
    error TEXT,
    updated_at REAL,
    UNIQUE (badge_id, owner_type, reference_id)
);
CREATE TABLE send (
    number INTEGER PRIMARY KEY,
    wall REAL NOT NULL,
    loop REAL NOT NULL,
    boot TEXT NOT NULL
);
CREATE TABLE meta (key TEXT PRIMARY KEY, value) WITHOUT ROWID;
INSERT INTO meta VALUES ('commits', 0), ('open', 0), ('run', 0);
"""


def create(path: Path) -> None:
    """
    Make an empty ledger at *path*, whole or not at all.

    Raises:
        LedgerError: It cannot be made.
    """
    try:
        handle, name = tempfile.mkstemp(dir=path.parent, prefix=f".{path.name}.")  # mode 0600
        os.close(handle)
    except OSError as error:
        raise LedgerError(f"cannot make {path}: {error.strerror}") from None
    try:
        with translated(path), contextlib.closing(sqlite3.connect(name)) as connection:
            connection.executescript(
                f"PRAGMA application_id = {_APPLICATION_ID}; PRAGMA user_version = {VERSION};"
                f"BEGIN; {_TABLES} COMMIT;"
            )
        Path(name).replace(path)
        _sync_folder(path.parent)
    finally:
        with contextlib.suppress(OSError):
            Path(name).unlink()


def check_file(path: Path, *, newer: bool = False) -> None:
    """
    Look at the file at *path* without SQLite, which would write to some of what is no ledger.

    Args:
        newer: A ledger of a newer release will do.

    Raises:
        LedgerError: It cannot be read.
        LedgerCorruptError: It is no SQLite database.
        LedgerMismatchError: It is one of another program.
        LedgerVersionError: It was written by a newer release.
    """
    try:
        with path.open("rb") as file:
            header = file.read(_HEADER)
    except OSError as error:
        raise LedgerError(f"cannot read {path}: {error.strerror}") from None
    if len(header) < _HEADER or not header.startswith(_MAGIC):
        raise LedgerCorruptError(f"{path} is no ledger: not a SQLite database")
    if int.from_bytes(header[68:72], "big") != _APPLICATION_ID:
        raise LedgerMismatchError(f"{path} is the database of another program, not a ledger")
    version = int.from_bytes(header[60:64], "big")
    if version > VERSION and not newer:
        raise LedgerVersionError(
            f"{path} was written by a newer release (version {version}, this one knows {VERSION})"
        )


def check_complete(path: Path, connection: sqlite3.Connection, *, had_wal: bool) -> None:
    """
    Refuse a ledger that was in use, and whose latest commits were in a ``-wal`` that is not here.

    Without that file the ledger reads well and lacks what was done last. It can be missing for a
    good reason: another SQLite program has tidied up after a crash. Then the ledger has at least
    the commits that were counted beside it.

    Args:
        had_wal: Whether there was anything in such a file before *connection* was opened.

    Raises:
        LedgerCorruptError: It is not complete.
    """
    values = dict(connection.execute("SELECT key, value FROM meta WHERE key IN ('open', 'commits')"))
    if not values.get("open") or had_wal:
        return
    counted = commits_counted(path)
    if counted is None or counted > values.get("commits", 0):
        raise LedgerCorruptError(
            f"{path} lacks its latest entries: it was in use, and the file {path.name}-wal beside "
            "it is missing. Copy both, or copy it when no run uses it"
        )


def connect(path: Path) -> sqlite3.Connection:
    """
    Open the ledger at *path* for writing, from any thread.

    Raises:
        LedgerError: See `check_file`, `check_complete` and `faults`.
    """
    check_file(path)
    had_wal = _has_content(wal_path(path))
    with translated(path):
        connection = sqlite3.connect(
            path, timeout=_BUSY_SECONDS, isolation_level=None, check_same_thread=False
        )
        try:
            check_complete(path, connection, had_wal=had_wal)
            # Unclean: whoever had it open last did not come to its end.
            if had_wal and (fault := connection.execute("PRAGMA quick_check(1)").fetchone()[0]) != "ok":
                raise LedgerCorruptError(f"{path}: the ledger is damaged: {fault}")
            connection.execute("PRAGMA journal_mode = WAL")
            connection.execute("PRAGMA synchronous = FULL")
            connection.execute(f"PRAGMA cache_size = -{_CACHE_KIB}")
        except BaseException:
            connection.close()
            raise
    return connection


def connect_read_only(path: Path) -> sqlite3.Connection:
    """
    Open the ledger at *path* for reading, also while a run uses it.

    Raises:
        LedgerError: As `connect`, but a newer release's ledger is read as far as it can be.
    """
    check_file(path, newer=True)
    had_wal = _has_content(wal_path(path))
    # Where it may write, SQLite removes its two helper files when the last one closes.
    mode = "rw" if os.access(path, os.W_OK) and os.access(path.parent, os.W_OK) else "ro"
    with translated(path):
        uri = f"{path.resolve().as_uri()}?mode={mode}"
        connection = sqlite3.connect(uri, uri=True, timeout=_BUSY_SECONDS, isolation_level=None)
        try:
            connection.execute("PRAGMA query_only = 1")
            check_complete(path, connection, had_wal=had_wal)
        except BaseException:
            connection.close()
            raise
    return connection


def wal_path(path: Path) -> Path:
    """Give the place of the latest commits of the ledger at *path*."""
    return path.with_name(path.name + "-wal")


def _has_content(file: Path) -> bool:
    try:
        return file.stat().st_size > 0
    except OSError:
        return False


def _sync_folder(folder: Path) -> None:
    # A file that was renamed is only there after a power cut when its folder was written.
    with contextlib.suppress(OSError):
        handle = os.open(folder, os.O_RDONLY)
        try:
            os.fsync(handle)
        finally:
            os.close(handle)
