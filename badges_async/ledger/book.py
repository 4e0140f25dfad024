"""
The open file of a ledger: locked, opened, written in transactions, closed.

Here: what makes a transaction of operations, and whether the file is still the one that was
opened. Not here: when one begins (`writer`), what is written (`store`), how SQLite is told to open
it (`connection`).
"""

from __future__ import annotations

import logging
import sqlite3
from collections.abc import Sequence
from pathlib import Path
from typing import Any

from badges_async.errors import LedgerError, LedgerLockedError, LedgerLostError
from badges_async.ledger.connection import check_file, connect
from badges_async.ledger.faults import translated
from badges_async.ledger.lock import Count, Lock
from badges_async.ledger.place import shared_file_system
from badges_async.ledger.schema import (
    COMPLETE,
    IN_USE,
    LACKING,
    check_place,
    create,
    identity,
    wal_path,
)
from badges_async.ledger.store import Store
from badges_async.ledger.writer import Operation

__all__ = ["Book"]

_LOG = logging.getLogger("badges_async")
# Bytes that tell that somebody keeps SQLite from tidying up, and how many commits apart to look.
_LARGE_WAL, _LOOKED_AT_EVERY = 64 * 1024 * 1024, 20


class Book:
    """
    The ledger at *path*, made if it is not there, and open from here on.

    Args:
        durable: A transaction ends when it is on disk.

    Raises:
        LedgerError: See `Ledger.open`; nothing is left open, and what was refused is as it was.
    """

    def __init__(self, path: Path, *, durable: bool = True) -> None:
        self._path = path
        exists = check_file(path)
        self._lock = Lock(path)
        try:
            if not exists and not check_file(path):
                check_place(path)
                create(path)
            self._store = Store(connect(path, durable=durable))
        except BaseException:
            self._lock.release()
            raise
        self._connection = self._store.connection
        if kind := shared_file_system(path):
            _LOG.warning("%s is on %s: use it from one machine at a time", path, kind)
        self._warned = False
        try:
            with translated(path):
                self._begin()
        except BaseException:
            self._let_go()
            raise

    def commit(self, operations: Sequence[Operation[Any]]) -> list[Any]:
        """
        Do all of *operations* in one transaction that is on disk in the end; give their results.

        Raises:
            sqlite3.Error: Nothing of it is done.
            LedgerLostError: Likewise, and nothing can be done any more.
        """
        self._check_ours()
        connection = self._connection
        before = connection.total_changes
        connection.execute("BEGIN IMMEDIATE")
        try:
            results = [operation(self._store) for operation in operations]
            changed = connection.total_changes > before
            if changed:
                self._store.set_meta("commits", self._commits + 1)
            connection.execute("COMMIT")
        except BaseException:
            # SQLite may have rolled back by itself, and a second time would be an error.
            if connection.in_transaction:
                connection.execute("ROLLBACK")
            raise
        if changed:
            self._commits += 1
            self._count()
            if self._commits % _LOOKED_AT_EVERY == 0:
                self._look_at_size()
        return results

    def close(self, rest: Sequence[Operation[Any]] = (), *, whole: bool = True) -> None:
        """
        Do the *rest*, if it can be done, and close the file, whatever happens.

        Args:
            whole: Nothing that was to be written is missing.
        """
        try:
            with translated(self._path):
                if rest:
                    self.commit(rest)
                if self._is_ours():
                    self._end(COMPLETE if whole else LACKING)
        except LedgerError as error:
            # Nothing of what was done is lost: it is read as one that was cut off.
            _LOG.warning("%s", error)
        finally:
            self._let_go()

    def _begin(self) -> None:
        self._ledger = str(self._store.meta("ledger"))
        self._commits = int(self._store.meta("commits") or 0)
        self._files = [self._path, wal_path(self._path), self._lock.path]
        self._opened = [identity(file) for file in self._files]
        self._check_ours()  # or what is removed already would never be missed
        # Before it is marked as in use: from then on it takes the count to be found complete.
        self._count()
        self._store.set_meta("open", IN_USE)
        # A copy of the file alone must not look as if nobody had used it since.
        if not self._fold_in():
            raise LedgerLockedError(f"{self._path}: another program reads it and does not end")

    def _end(self, state: int) -> None:
        # In this order: the file alone says that it is complete no sooner than it is.
        if self._fold_in():
            self._store.set_meta("open", state)
            self._fold_in()

    def _fold_in(self) -> bool:
        """Bring what is in the ``-wal`` into the file itself; give whether all of it is there."""
        row = self._connection.execute("PRAGMA wal_checkpoint(TRUNCATE)").fetchone()
        _, entries, folded = row
        return bool(entries == folded)

    def _count(self) -> None:
        assert self._opened[0] is not None  # noqa: S101 - as `_is_ours` says
        inode = self._opened[0][1]
        self._lock.count(Count(self._ledger, inode, self._commits))

    def _look_at_size(self) -> None:
        wal = wal_path(self._path)
        if not self._warned and wal.stat().st_size > _LARGE_WAL:
            self._warned = True
            _LOG.warning("%s grows: another program reads the ledger and does not end", wal)

    def _check_ours(self) -> None:
        if not self._is_ours():
            raise LedgerLostError(
                f"{self._path}, or a file that belongs to it, was removed or replaced while in use"
            )

    def _is_ours(self) -> bool:
        found = [identity(file) for file in self._files]
        return found == self._opened and found[0] is not None

    def _let_go(self) -> None:
        try:
            self._connection.close()
        except sqlite3.Error as error:
            _LOG.warning("%s: %s", self._path, error)
        finally:
            self._lock.release()
