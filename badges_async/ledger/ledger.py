"""
The ledger as the engine and our users hold it.

Here: opening and closing, loading, and the operations of a run as awaitables. Not here: what is
written (`store`), when it is on disk (`writer`), what a run does with it (`journal` in the engine).
"""

from __future__ import annotations

import asyncio
import hashlib
import logging
import os
from collections.abc import AsyncIterable, Callable, Iterable, Sequence
from concurrent.futures import Executor
from pathlib import Path
from types import TracebackType
from typing import Any, Self, TypeVar

from badges_async.claims import ClaimRequest
from badges_async.errors import (
    InvalidInputError,
    LedgerError,
    LedgerLostError,
    LedgerMismatchError,
)
from badges_async.ledger import schema
from badges_async.ledger.clock import Clock
from badges_async.ledger.faults import translated
from badges_async.ledger.lock import Lock
from badges_async.ledger.reader import LedgerReader
from badges_async.ledger.records import Found, LedgerStanding
from badges_async.ledger.store import Pause, Store, keys_of
from badges_async.ledger.writer import Writer
from badges_async.ports import Ports

__all__ = ["Ledger"]

_LOG = logging.getLogger("badges_async")
_LOADED_AT_ONCE = 20_000
_LONGEST_PAUSE = 900.0
T = TypeVar("T")


class Ledger:
    """
    A SQLite file that records what is to be claimed and what became of it, so that a killed run
    resumes: hand it to `BadgesClient.claim_many` or `claim_all`.

    ```python
    async with Ledger.open("run.db") as ledger:
        report = await client.claim_all(requests, ledger=ledger)
    ```

    Before a request's first byte is sent the ledger holds, on disk, that it may be; before an
    outcome is yielded the ledger holds it. It is used by one process at a time, by one run at a
    time, and for one service and account. The file is readable by its owner only and holds no
    credential.

    Cancelling any of its methods leaves the file whole: what was asked for is written or is not.
    """

    def __init__(self, path: str | os.PathLike[str], *, ports: Ports | None = None) -> None:
        self._path = _read_path(path)
        self._ports = ports or Ports()
        self._lock: Lock | None = None
        self._book: _Book | None = None
        self._writer: Writer | None = None
        self._executor: Executor | None = None
        self._clock: Clock | None = None
        self._run: int | None = None
        self._sends = 0

    @classmethod
    def open(cls, path: str | os.PathLike[str], *, ports: Ports | None = None) -> Self:
        """
        Give the ledger at *path*, to be entered with ``async with``; made if it is not there.

        Entering raises:

        - `LedgerLockedError`: another process uses it, and is named;
        - `LedgerCorruptError`, `LedgerMismatchError`, `LedgerVersionError`: the file is not, not
          wholly, or not yet one of ours; it is left as it is;
        - `LedgerError`: it cannot be made or read.

        Args:
            ports: The world's parts, for simulations.

        Raises:
            InvalidInputError: *path* is none.
        """
        return cls(path, ports=ports)

    def __repr__(self) -> str:
        return f"{type(self).__name__}({str(self._path)!r})"

    @property
    def path(self) -> Path:
        """Where it is."""
        return self._path

    @property
    def stalled(self) -> bool:
        """Whether nothing can be recorded for now, so that nothing may be sent."""
        return self._writer is None or self._writer.stalled

    @property
    def failure(self) -> Exception | None:
        """What it broke down with, if it did."""
        return None if self._writer is None else self._writer.failure

    async def __aenter__(self) -> Self:
        if self._executor is not None:
            raise InvalidInputError("a ledger can be entered once; open it again")
        loop = asyncio.get_running_loop()
        self._clock = Clock(self._ports.wall, loop.time, self._ports.boot())
        self._executor = self._ports.executor()
        try:
            self._book = await asyncio.wrap_future(self._executor.submit(self._open_file))
        except BaseException:
            # Cancelled meanwhile: whatever the thread has opened by its end is closed again.
            self._executor.submit(self._close_file)
            self._executor.shutdown(wait=False)
            raise
        self._writer = Writer(self._book, self._executor, self._path)
        return self

    async def __aexit__(
        self,
        kind: type[BaseException] | None,
        error: BaseException | None,
        trace: TracebackType | None,
    ) -> None:
        writer, executor = self._writer, self._executor
        assert writer is not None  # noqa: S101 - entered
        assert executor is not None  # noqa: S101 - likewise
        try:
            await writer.idle()
        finally:
            self._writer = None
            closed = executor.submit(self._close_file)
            executor.shutdown(wait=False)
            await asyncio.shield(asyncio.wrap_future(closed))

    async def load(self, requests: Iterable[ClaimRequest] | AsyncIterable[ClaimRequest]) -> int:
        """
        Enter *requests* that are not there yet; give how many that were.

        A run enters what it is given by itself, a few at a time. Loading first tells how much there
        is, and is quick: a million in seconds. Loading the same again is harmless. Cancelled, some
        of them are there.

        Raises:
            InvalidInputError: One of them is no `ClaimRequest`.
            LedgerError: They cannot be recorded.
        """
        added = 0
        chunk: list[ClaimRequest] = []
        pending: asyncio.Future[int] | None = None
        async for request in _each(requests):
            if not isinstance(request, ClaimRequest):
                raise InvalidInputError(
                    f"requests must be ClaimRequest, not {type(request).__name__}"
                )
            chunk.append(request)
            if len(chunk) >= _LOADED_AT_ONCE:
                # The next chunk is read while this one is written.
                added += 0 if pending is None else await pending
                pending = self._add(chunk)
                chunk = []
                await asyncio.sleep(0)
        added += 0 if pending is None else await pending
        return added + (await self._add(chunk) if chunk else 0)

    async def standing(self) -> LedgerStanding:
        """
        Tell where it stands.

        Raises:
            LedgerError: It cannot be read.
        """
        return await self._submit(lambda: LedgerReader(self._path, self._store).standing())

    # What follows is the engine's part.

    async def begin_run(self, host: str, account: str) -> int:
        """
        Begin a run for this service and account; give its number.

        Raises:
            InvalidInputError: A run is using it, or it is not open.
            LedgerMismatchError: It belongs to another service or account.
            LedgerError: It cannot be written.
        """
        if self._writer is None:
            raise InvalidInputError("the ledger is not open: use it inside of 'async with'")
        if self._run is not None:
            raise InvalidInputError("the ledger is in use by another run; open one for each")
        self._run = 0
        try:
            self._run, sends = await self._submit(lambda: self._begin(host, account))
        except BaseException:
            self._run = None
            raise
        self._sends = sends
        return self._run

    def end_run(self) -> None:
        """Let another run use it."""
        self._run = None

    async def lease(self, requests: Sequence[ClaimRequest], most: int) -> list[Found]:
        """
        Enter *requests* and note that at most *most* of them may be sent from here on.

        Gives what was found of each, in their order.

        Raises:
            LedgerError: That could not be recorded.
        """
        keys, run, store, wall = keys_of(requests), self._number, self._store, self._ports.wall
        return await self._submit(lambda: store.lease(keys, run, most, wall()))

    async def settle(self, rows: Sequence[Sequence[Any]]) -> None:
        """
        Record outcomes, see `Store.settle`.

        Raises:
            LedgerError: They could not be recorded.
        """
        await self._submit_settle(rows)

    def settle_soon(self, rows: Sequence[Sequence[Any]]) -> None:
        """Record outcomes that nobody waits for any more."""
        if rows:
            self._submit_settle(rows)

    def release_soon(self, rows: Sequence[tuple[int, bool]]) -> None:
        """Give back claims that were not settled: ids, and whether they may have been sent."""
        store, wall = self._store, self._ports.wall
        if rows:
            self._submit(lambda: store.release(rows, wall()))

    async def record_send(self, at: float, keep: int) -> int:
        """
        Note that a request is let go at *at*, in the loop's time, of which the last *keep* count.

        Gives its number, for `restamp_soon`.

        Raises:
            LedgerError: That could not be recorded, so it must not be.
        """
        self._sends += 1
        number, moment, store = self._sends, self._moments.moment(at), self._store
        await self._submit(lambda: store.record_send(number, moment, keep))
        return number

    def restamp_soon(self, number: int, at: float, keep: int) -> None:
        """Note that the request of that *number* left later, at *at*."""
        moment, store = self._moments.moment(at), self._store
        self._submit(lambda: store.record_send(number, moment, keep))

    def record_pause_soon(self, until: float) -> None:
        """Note that nothing may be sent before *until*, in the loop's time."""
        pause = Pause(self._moments.moment(), until - self._moments.loop())
        store = self._store
        self._submit(lambda: store.record_pause(pause))

    def record_rate_soon(self, rate: float | None) -> None:
        """Note what was learnt of the service's limit, in requests a second."""
        store = self._store
        self._submit(lambda: store.set_meta("rate", rate or 0.0))

    async def memory(self) -> tuple[list[float], float | None, float | None]:
        """
        Give what earlier runs knew of the service's limits, in this loop's time.

        When requests were let go, the oldest first; until when nothing may be sent, or None; the
        rate that was learnt, or None.
        """
        clock, store = self._moments, self._store
        sends, pause, rate = await self._submit(
            lambda: (store.sends(), store.pause(), store.meta("rate"))
        )
        opens_at = None
        if pause is not None:
            opens_at = clock.read(pause.learnt) + min(pause.seconds, _LONGEST_PAUSE)
        return [clock.read(moment) for _, moment in sends], opens_at, rate or None

    async def well(self) -> None:
        """
        Wait until it can be written.

        Raises:
            LedgerError: It never will.
        """
        if self._writer is None:
            raise LedgerError(f"{self._path} is closed")
        await self._writer.well()

    @property
    def _store(self) -> Store:
        if self._book is None:
            raise LedgerError(f"{self._path} is not open")
        return self._book.store

    @property
    def _moments(self) -> Clock:
        assert self._clock is not None  # noqa: S101 - entered
        return self._clock

    @property
    def _number(self) -> int:
        assert self._run is not None  # noqa: S101 - begin_run came first
        return self._run

    def _submit(self, operation: Callable[[], T]) -> asyncio.Future[T]:
        if self._writer is None:
            raise LedgerError(f"{self._path} is closed")
        return self._writer.submit(operation)

    def _submit_settle(self, rows: Sequence[Sequence[Any]]) -> asyncio.Future[None]:
        run, store, wall = self._number, self._store, self._ports.wall
        return self._submit(lambda: store.settle(rows, run, wall()))

    def _add(self, requests: Sequence[ClaimRequest]) -> asyncio.Future[int]:
        keys, store = keys_of(requests), self._store
        return self._submit(lambda: store.add(keys))

    def _begin(self, host: str, account: str) -> tuple[int, int]:
        store = self._store
        mark = _fingerprint(account)
        _check_same("service", store.meta("host"), host, self._path)
        _check_same("account", store.meta("account"), mark, self._path)
        store.set_meta("host", host)
        if mark:
            store.set_meta("account", mark)
        sends = store.sends()
        return store.next_run(), sends[-1][0] if sends else 0

    def _open_file(self) -> _Book:
        if self._path.exists():
            schema.check_file(self._path)  # before anything is put beside it
        self._lock = Lock(self._path)
        try:
            if not self._path.exists():
                schema.create(self._path)
            return _Book(self._path, self._lock)
        except BaseException:
            self._lock.release()
            self._lock = None
            raise

    def _close_file(self) -> None:
        book, lock = self._book, self._lock
        self._book = self._lock = None
        try:
            if book is not None:
                book.close()
        finally:
            if lock is not None:
                lock.release()


class _Book:
    """The open file: transactions on it, and whether it is still the one that was opened."""

    def __init__(self, path: Path, lock: Lock) -> None:
        self._path = path
        self._lock = lock
        connection = schema.connect(path)
        self.store = Store(connection)
        with translated(path):
            self._commits = int(self.store.meta("commits") or 0)
            lock.count(self._commits)
            self.store.set_meta("open", 1)
            # A copy of the file alone must not look as if nobody had used it since.
            connection.execute("PRAGMA wal_checkpoint(TRUNCATE)")
        self._files = [path, schema.wal_path(path)]
        self._opened = [_identity(file) for file in self._files]

    def commit(self, operations: list[Callable[[], Any]]) -> list[Any]:
        if [_identity(file) for file in self._files] != self._opened:
            raise LedgerLostError(f"{self._path} was removed or replaced while it was in use")
        connection = self.store.connection
        before = connection.total_changes
        connection.execute("BEGIN IMMEDIATE")
        try:
            results = [operation() for operation in operations]
            changed = connection.total_changes > before
            if changed:
                self.store.set_meta("commits", self._commits + 1)
            connection.execute("COMMIT")
        except BaseException:
            # SQLite may have rolled back by itself, and a second time would be an error.
            if connection.in_transaction:
                connection.execute("ROLLBACK")
            raise
        if changed:
            self._commits += 1
            self._lock.count(self._commits)
        return results

    def close(self) -> None:
        connection = self.store.connection
        try:
            with translated(self._path):
                if [_identity(file) for file in self._files] == self._opened:
                    self.store.set_meta("open", 0)
                    connection.execute("PRAGMA wal_checkpoint(TRUNCATE)")
        except LedgerError as error:
            # Nothing is lost: it is read as one that was cut off.
            _LOG.warning("%s", error)
        finally:
            connection.close()


def _identity(file: Path) -> tuple[int, int] | None:
    try:
        found = os.stat(file)  # noqa: PTH116 - once for each transaction
    except OSError:
        return None
    return found.st_dev, found.st_ino


def _check_same(what: str, known: str | None, now: str, path: Path) -> None:
    if known and now and known != now:
        named = f": {known}, not {now}" if what == "service" else ""
        raise LedgerMismatchError(f"{path} belongs to another {what}{named}; use another ledger")


def _fingerprint(account: str) -> str:
    return hashlib.blake2b(account.encode(), digest_size=16).hexdigest() if account else ""


def _read_path(path: object) -> Path:
    if not isinstance(path, str | os.PathLike) or not os.fspath(path):
        raise InvalidInputError("a ledger needs the path of its file")
    # Of one file by two names the lock must be one.
    return Path(os.fsdecode(path)).resolve()


async def _each(
    requests: Iterable[ClaimRequest] | AsyncIterable[ClaimRequest],
) -> AsyncIterable[ClaimRequest]:
    if isinstance(requests, AsyncIterable):
        async for request in requests:
            yield request
    else:
        for request in requests:
            yield request
