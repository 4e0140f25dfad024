"""
SQLite's connections to the file of a ledger.

Here: opening it for writing and for reading, and what is refused then. Not here: what is refused
before SQLite touches it (`schema`), transactions (`book`), rows (`store`, `reader`).

Two ways of SQLite are to be minded. Its locks belong to the process: whoever opens and closes the
file by other means drops them, and then another program may remove the ``-wal`` under a run. And
who closes a ledger last folds its ``-wal`` in and removes it, which would take the evidence away
that nothing is missing.
"""

from __future__ import annotations

import os
import sqlite3
from pathlib import Path

from badges_async.errors import LedgerCorruptError, LedgerError
from badges_async.ledger.faults import translated
from badges_async.ledger.lock import commits_counted
from badges_async.ledger.schema import (
    IN_USE,
    TABLES,
    check_header,
    check_kind,
    identity,
    read_header,
    wal_path,
)

__all__ = ["check_file", "connect", "connect_read_only"]

_OLDEST_SQLITE = (3, 33)  # UPDATE ... FROM
_BUSY_SECONDS = 5.0
_CACHE_KIB = 16_000
# Bytes that the -wal keeps when it is begun anew: a reader that did not end had made it grow.
_KEPT_WAL = 8 * 1024 * 1024
# Of each file that SQLite has open in this process, as often as it has.
_open: list[tuple[int, int]] = []


class _Connection(sqlite3.Connection):
    """A connection that is known to this process as long as it is open."""

    known_as: tuple[int, int] | None = None

    def close(self) -> None:
        """Close it; idempotent."""
        super().close()
        if self.known_as is not None:
            _open.remove(self.known_as)
            self.known_as = None


def check_file(path: Path, *, newer: bool = False) -> bool:
    """
    Refuse the file at *path* when it is no ledger, before anything is put beside it.

    Gives whether there is a file.

    Args:
        newer: A ledger of a newer release will do.

    Raises:
        LedgerError: It cannot be read.
        LedgerCorruptError: It is no SQLite database.
        LedgerMismatchError: It is one of another program.
        LedgerVersionError: It was written by a newer release.
    """
    if identity(path) in _open:  # a ledger, as was found when it was opened
        return True
    header = read_header(path)
    if header is not None:
        check_header(path, header, newer=newer)
    return header is not None


def connect(path: Path, *, durable: bool = True) -> sqlite3.Connection:
    """
    Open the ledger at *path* for writing, from any thread.

    Args:
        durable: A transaction ends when it is on disk.

    Raises:
        LedgerCorruptError: It is damaged, or lacks its latest commits; it is left as it is.
        LedgerError: See `check_file` and `faults`.
    """
    if sqlite3.sqlite_version_info < _OLDEST_SQLITE:
        needed = ".".join(map(str, _OLDEST_SQLITE))
        raise LedgerError(f"a ledger needs SQLite {needed}; Python has {sqlite3.sqlite_version}")
    with translated(path):
        if had_wal := _has_content(wal_path(path)):
            # Looked at without the right to write first, so that what is refused keeps it.
            _opened(path, "mode=ro", thoroughly=True).close()
        connection = _opened(path, "mode=rw", thoroughly=not had_wal)
        try:
            _prepare(path, connection, durable=durable)
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
    if not check_file(path, newer=True):
        raise LedgerError(f"cannot read {path}: No such file or directory")
    with translated(path, reading=True):
        connection = _opened(path, _reading_mode(path), newer=True)
        connection.execute("PRAGMA query_only = 1")
    return connection


def _prepare(path: Path, connection: sqlite3.Connection, *, durable: bool) -> None:
    (mode,) = connection.execute("PRAGMA journal_mode = WAL").fetchone()
    if mode != "wal":
        raise LedgerError(f"{path}: this file system cannot hold a ledger")
    connection.execute(f"PRAGMA synchronous = {'FULL' if durable else 'NORMAL'}")
    connection.execute(f"PRAGMA cache_size = -{_CACHE_KIB}")
    connection.execute(f"PRAGMA journal_size_limit = {_KEPT_WAL}")


def _reading_mode(path: Path) -> str:
    if _has_content(wal_path(path)):
        return "mode=ro"  # the -wal stays
    if os.access(path, os.W_OK) and os.access(path.parent, os.W_OK):
        return "mode=rw"  # SQLite removes its two helper files when the last one closes
    # Without the right to make its helper files SQLite reads only what nobody has open.
    return "mode=ro" if wal_path(path).exists() else "mode=ro&immutable=1"


def _opened(
    path: Path, mode: str, *, newer: bool = False, thoroughly: bool = False
) -> sqlite3.Connection:
    # Counted before the rest is looked at: a run may go on meanwhile.
    counted = commits_counted(path)
    had_wal = _has_content(wal_path(path))
    connection = _connection(path, mode)
    try:
        _check_tables(path, connection, newer=newer)
        values = dict(connection.execute("SELECT key, value FROM meta"))
        if values.get("open") == IN_USE and not had_wal:
            at_least = None
            if counted and (counted.ledger, counted.inode) == (values.get("ledger"), _inode(path)):
                at_least = counted.commits
            _check_complete(path, at_least, values.get("commits", 0))
        if thoroughly and (had_wal or values.get("open")):  # its last run was cut off
            _check_damage(path, connection)
    except BaseException:
        connection.close()
        raise
    return connection


def _connection(path: Path, mode: str) -> _Connection:
    connection = sqlite3.connect(
        f"{path.as_uri()}?{mode}",
        uri=True,
        timeout=_BUSY_SECONDS,
        isolation_level=None,
        check_same_thread=False,
        factory=_Connection,
    )
    if (known_as := identity(path)) is not None:
        connection.known_as = known_as
        _open.append(known_as)
    return connection


def _check_tables(path: Path, connection: sqlite3.Connection, *, newer: bool) -> None:
    # Again, and now as the -wal has it.
    (program,) = connection.execute("PRAGMA application_id").fetchone()
    (version,) = connection.execute("PRAGMA user_version").fetchone()
    check_kind(path, program, version, newer=newer)
    names = {name for (name,) in connection.execute("SELECT name FROM sqlite_master")}
    if not names >= TABLES:
        raise LedgerCorruptError(f"{path}: the ledger is damaged: it lacks tables")


def _check_complete(path: Path, counted: int | None, commits: int) -> None:
    """
    Refuse a ledger that was in use, and whose latest commits were in a ``-wal`` that is not here.

    Without that file the ledger reads well and lacks what was done last. It can be missing for a
    good reason: another SQLite program has tidied up after a crash. Then the ledger has at least
    the commits that were counted beside it.
    """
    if counted is None or counted > commits:
        raise LedgerCorruptError(
            f"{path} lacks its latest entries: it was in use, and the file {path.name}-wal beside "
            "it is missing. Copy the two together, when no run uses them"
        )


def _check_damage(path: Path, connection: sqlite3.Connection) -> None:
    (found,) = connection.execute("PRAGMA quick_check(1)").fetchone()
    if found != "ok":
        raise LedgerCorruptError(f"{path}: the ledger is damaged: {found}")


def _inode(path: Path) -> int:
    found = identity(path)
    return 0 if found is None else found[1]


def _has_content(file: Path) -> bool:
    try:
        return file.stat().st_size > 0
    except OSError:
        return False
