"""
The file of a ledger: its name, its tables, how it comes to be, and what is refused unopened.

Here: everything about the file before SQLite has it open. Not here: opening it (`connection`),
reading and writing rows (`store`, `reader`).
"""

from __future__ import annotations

import contextlib
import os
import sqlite3
import stat
import tempfile
from pathlib import Path

from badges_async.errors import (
    InvalidInputError,
    LedgerCorruptError,
    LedgerError,
    LedgerMismatchError,
    LedgerVersionError,
)
from badges_async.ledger.faults import translated

__all__ = [
    "COMPLETE",
    "IN_USE",
    "LACKING",
    "TABLES",
    "VERSION",
    "check_header",
    "check_kind",
    "check_place",
    "create",
    "identity",
    "read_header",
    "read_path",
    "wal_path",
]

VERSION = 1
TABLES = frozenset({"claim", "send", "meta"})
# How the last run left it (meta.open): closed well, not at all, or without what it could not write:
# when a request really left, say.
COMPLETE, IN_USE, LACKING = 0, 1, 2
_APPLICATION_ID = 0x62616467  # "badg"
_HEADER = 100
_MAGIC = b"SQLite format 3\0"

# state: see records.State. run: which run wrote the row last. doubt: it may have been sent without
# a known answer. error: why not, as JSON. meta.ledger tells this one from all others.
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
INSERT INTO meta VALUES
    ('ledger', lower(hex(randomblob(8)))), ('commits', 0), ('open', 0), ('run', 0);
"""


def read_path(path: object) -> Path:
    """
    Give the one name of the file that *path* leads to.

    Raises:
        InvalidInputError: It can lead to none.
    """
    if not isinstance(path, str | os.PathLike) or not os.fspath(path):
        raise InvalidInputError("a ledger needs the path of its file")
    try:
        # Of one file by two names the lock, and what SQLite puts beside it, must be one.
        return Path(os.path.realpath(os.fsdecode(path)))
    except (OSError, ValueError) as error:
        raise InvalidInputError(f"{str(path)!r} cannot be the path of a ledger: {error}") from None


def wal_path(path: Path) -> Path:
    """Give the place of the latest commits of the ledger at *path*."""
    return path.with_name(path.name + "-wal")


def identity(file: Path) -> tuple[int, int] | None:
    """Give what tells a file from another of the same name; None when there is none."""
    try:
        found = os.stat(file)  # noqa: PTH116 - several times for each transaction
    except OSError:
        return None
    return found.st_dev, found.st_ino


def check_place(path: Path) -> None:
    """
    Refuse to make a ledger at *path* where the latest commits of another one still lie.

    SQLite would read them into the new file, and what they do not hold would be missing.

    Raises:
        LedgerCorruptError: They do; they are left as they are.
    """
    wal = wal_path(path)
    if identity(wal) and os.stat(wal).st_size:  # noqa: PTH116 - as `identity` does
        raise LedgerCorruptError(
            f"{path} is missing, and {wal.name} beside it holds what was recorded last. Bring the "
            "file back, or move that one away to begin anew"
        )


def create(path: Path) -> None:
    """
    Make an empty ledger at *path*, whole or not at all; never in the place of another file.

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
            # In memory: a journal of its own is one thing more that a kill could leave behind.
            connection.executescript(
                f"PRAGMA journal_mode = MEMORY; PRAGMA application_id = {_APPLICATION_ID};"
                f"PRAGMA user_version = {VERSION}; BEGIN; {_TABLES} COMMIT;"
            )
        _put(name, path)
    finally:
        with contextlib.suppress(OSError):
            os.unlink(name)  # noqa: PTH108 - as mkstemp gave it


def read_header(path: Path) -> bytes | None:
    """
    Read the head of the file at *path*; None when there is no file.

    Without SQLite, which would write to some of what is no ledger. Not to be used on a file that
    SQLite has open in this process: closing drops its locks.

    Raises:
        LedgerError: It cannot be read.
    """
    try:
        # Not to wait for the other end of a pipe.
        handle = os.open(path, os.O_RDONLY | getattr(os, "O_NONBLOCK", 0))
    except FileNotFoundError:
        return None
    except OSError as error:
        raise LedgerError(f"cannot read {path}: {error.strerror}") from None
    try:
        if not stat.S_ISREG(os.fstat(handle).st_mode):
            raise LedgerError(f"cannot read {path}: not a regular file")
        return os.read(handle, _HEADER)
    except OSError as error:
        raise LedgerError(f"cannot read {path}: {error.strerror}") from None
    finally:
        os.close(handle)


def check_header(path: Path, header: bytes, *, newer: bool = False) -> None:
    """
    Refuse a file that begins with *header* and is no ledger.

    Args:
        newer: A ledger of a newer release will do.

    Raises:
        LedgerCorruptError: It is no SQLite database.
        LedgerMismatchError: It is one of another program.
        LedgerVersionError: It was written by a newer release.
    """
    if len(header) < _HEADER or not header.startswith(_MAGIC):
        raise LedgerCorruptError(f"{path} is no ledger: not a SQLite database")
    program, version = (int.from_bytes(header[at : at + 4], "big") for at in (68, 60))
    check_kind(path, program, version, newer=newer)


def check_kind(path: Path, program: int, version: int, *, newer: bool) -> None:
    """
    Refuse a database by its *program* and *version*, see `check_header`.

    Raises:
        LedgerMismatchError: It is one of another program.
        LedgerVersionError: It was written by a newer release.
    """
    if program != _APPLICATION_ID:
        raise LedgerMismatchError(f"{path} is the database of another program, not a ledger")
    if version > VERSION and not newer:
        raise LedgerVersionError(
            f"{path} was written by a newer release (version {version}, this one knows {VERSION})"
        )


def _put(name: str, path: Path) -> None:
    try:
        try:
            os.link(name, path)
        except FileExistsError:
            raise
        except OSError:  # a file system that knows no second name
            os.rename(name, path)  # noqa: PTH104 - as mkstemp gave it
    except OSError as error:
        raise LedgerError(f"cannot make {path}: {error.strerror}") from None
    _sync_folder(path.parent)


def _sync_folder(folder: Path) -> None:
    # A file that was named is only there after a power cut when its folder was written.
    with contextlib.suppress(OSError):
        handle = os.open(folder, os.O_RDONLY)
        try:
            os.fsync(handle)
        finally:
            os.close(handle)
