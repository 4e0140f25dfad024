"""
The ledger as the engine and our users hold it.

Here: opening and closing, and the operations of a run as awaitables. Not here: what is written
(`store`), when it is on disk (`writer`), what a run does with it (`journal` in the engine).
"""

from __future__ import annotations

import asyncio
import functools
import hashlib
import os
from collections.abc import AsyncIterable, Iterable, Sequence
from pathlib import Path
from types import TracebackType
from typing import Any, Self, TypeVar

from badges_async.claims import ClaimRequest
from badges_async.errors import InvalidInputError, LedgerMismatchError
from badges_async.ledger.book import Book
from badges_async.ledger.clock import Clock
from badges_async.ledger.loading import load
from badges_async.ledger.reader import LedgerReader
from badges_async.ledger.records import Found, LedgerStanding
from badges_async.ledger.schema import read_path
from badges_async.ledger.store import Beginning, Pause, keys_of
from badges_async.ledger.writer import Operation, Writer
from badges_async.ports import Ports

__all__ = ["Ledger"]

_LONGEST_PAUSE = 900.0
T = TypeVar("T")


class Ledger:
    """
    A SQLite file that records what is to be claimed and what became of it.

    A killed run resumes from it. Hand it to `BadgesClient.claim_many` or `claim_all`:

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

    def __init__(
        self, path: str | os.PathLike[str], *, durable: bool = True, ports: Ports | None = None
    ) -> None:
        self._path = read_path(path)
        self._durable = durable
        self._ports = ports or Ports()
        self._writer: Writer | None = None
        self._loop: asyncio.AbstractEventLoop | None = None
        self._clock: Clock | None = None
        self._run: int | None = None
        self._sends = 0

    @classmethod
    def open(
        cls, path: str | os.PathLike[str], *, durable: bool = True, ports: Ports | None = None
    ) -> Self:
        """
        Give the ledger at *path*, to be entered with ``async with``; made if it is not there.

        Entering raises:

        - `LedgerLockedError`: another process uses it, and is named;
        - `LedgerCorruptError`, `LedgerMismatchError`, `LedgerVersionError`: the file is not, not
          wholly, or not yet one of ours; it is left as it is;
        - `LedgerError`: it cannot be made or read.

        Args:
            durable: Wait for the disk. False is for a run that nobody will resume: what is recorded
                survives the end of the process, and not that of the machine.
            ports: The world's parts, for simulations.

        Raises:
            InvalidInputError: *path* is none.
        """
        return cls(path, durable=durable, ports=ports)

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
        """Why nothing can be recorded any more: what it broke down with, or that it is closed."""
        return None if self._writer is None else self._writer.failure

    async def __aenter__(self) -> Self:
        if self._writer is not None:
            raise InvalidInputError("a ledger can be entered once; open it again")
        self._loop = asyncio.get_running_loop()
        self._clock = Clock(self._ports.wall, self._loop.time, self._ports.boot())
        book = functools.partial(Book, self._path, durable=self._durable)
        self._writer = Writer(book, self._ports.executor(), self._path)
        await self._writer.open()
        return self

    async def __aexit__(
        self,
        kind: type[BaseException] | None,
        error: BaseException | None,
        trace: TracebackType | None,
    ) -> None:
        assert self._writer is not None  # noqa: S101 - entered
        await self._writer.close()

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
        self._check_loop()
        return await load(requests, self._submit)

    async def standing(self) -> LedgerStanding:
        """
        Tell where it stands.

        Of a million claims it takes half a second, in which a run waits for what it records;
        `LedgerReader` holds nobody up.

        Raises:
            LedgerError: It cannot be read.
        """
        self._check_loop()
        return await self._submit(lambda store: LedgerReader(self._path, store).standing())

    # What follows is the engine's part.

    async def begin_run(self, host: str, account: str) -> int:
        """
        Begin a run for this service and account; give its number.

        Raises:
            InvalidInputError: A run is using it, or it is not open, or open on another loop.
            LedgerMismatchError: It belongs to another service or account.
            LedgerError: It cannot be written.
        """
        self._check_loop()
        if self._run is not None:
            raise InvalidInputError("the ledger is in use by another run; open one for each")
        self._run = 0
        mark = _fingerprint(account)
        try:
            began = await self._submit(lambda store: store.begin(host, mark))
            _check_same(self._path, began, host)
        except BaseException:
            self._run = None
            raise
        self._run, self._sends = began.run, began.sends
        return self._run

    def end_run(self) -> None:
        """
        Let another run use it.

        What was leased and neither settled nor released goes back, without doubt: its lease was
        cut off before anybody heard of it.
        """
        run, self._run = self._run, None
        if run and self.failure is None:
            now = self._ports.wall()
            self._submit(lambda store: store.abandon(run, now))

    async def lease(self, requests: Sequence[ClaimRequest], most: int) -> list[Found]:
        """
        Enter *requests* and note that at most *most* of them may be sent from here on.

        Gives what was found of each, in their order.

        Raises:
            LedgerError: That could not be recorded.
        """
        keys, run, now = keys_of(requests), self._number, self._ports.wall()
        return await self._submit(lambda store: store.lease(keys, run, most, now))

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

    def enter_soon(self, requests: Sequence[ClaimRequest]) -> None:
        """Enter *requests* that were asked for and not yet leased."""
        keys = keys_of(requests)
        if requests:
            self._submit(lambda store: store.add(keys))

    def release_soon(self, rows: Sequence[tuple[int, bool]]) -> None:
        """Give back claims that were not settled: ids, and whether they may have been sent."""
        now = self._ports.wall()
        if rows:
            self._submit(lambda store: store.release(rows, now))

    async def record_send(self, at: float, keep: int) -> int:
        """
        Note that a request is let go at *at*, in the loop's time, of which the last *keep* count.

        Gives its number, for `restamp_soon`. Cancelled, it may be noted all the same.

        Raises:
            LedgerError: That could not be recorded, so it must not be.
        """
        number, moment = self._next_send(), self._moments.moment(at)
        await self._submit(lambda store: store.record_send(number, moment, keep))
        return number

    def restamp_soon(self, number: int, at: float, keep: int) -> None:
        """Note that the request of that *number* left later, at *at*."""
        # Under a new number, as the latest: those that are not kept are the lowest ones.
        new, moment = self._next_send(), self._moments.moment(at)
        self._submit(lambda store: store.restamp(number, new, moment, keep))

    def record_pause_soon(self, until: float) -> None:
        """Note that nothing may be sent before *until*, in the loop's time."""
        pause = Pause(self._moments.moment(), until - self._moments.loop())
        self._submit(lambda store: store.record_pause(pause))

    def record_rate_soon(self, rate: float | None) -> None:
        """Note what was learnt of the service's limit, in requests a second."""
        self._submit(lambda store: store.set_meta("rate", rate or 0.0))

    async def memory(self, late: float = 0.0) -> tuple[list[float], float | None, float | None]:
        """
        Give what earlier runs knew of the service's limits, in this loop's time.

        When requests were let go, the oldest first; until when nothing may be sent, or None; the
        rate that was learnt, or None.

        Args:
            late: Seconds that a request may have taken to leave after it was let go. After a run
                that was cut off they are added: it had no time to note when it really left.

        Raises:
            LedgerError: It cannot be read.
        """
        clock = self._moments
        sends, pause, rate, unsure = await self._submit(
            lambda store: (store.sends(), store.pause(), store.meta("rate"), store.unsure_until)
        )
        left = [clock.read(each) + (late if number <= unsure else 0) for number, each in sends]
        opens_at = None
        if pause is not None:
            opens_at = clock.read(pause.learnt) + min(pause.seconds, _LONGEST_PAUSE)
        return sorted(min(at, clock.loop()) for at in left), opens_at, rate or None

    async def well(self) -> None:
        """
        Wait until it can be written.

        Raises:
            LedgerError: It never will.
        """
        if self._writer is None:
            raise InvalidInputError("the ledger is not open: use it inside of 'async with'")
        await self._writer.well()

    @property
    def _moments(self) -> Clock:
        assert self._clock is not None  # noqa: S101 - entered
        return self._clock

    @property
    def _number(self) -> int:
        assert self._run is not None  # noqa: S101 - begin_run came first
        return self._run

    def _next_send(self) -> int:
        self._sends += 1
        return self._sends

    def _submit(self, operation: Operation[T]) -> asyncio.Future[T]:
        if self._writer is None:
            raise InvalidInputError("the ledger is not open: use it inside of 'async with'")
        return self._writer.submit(operation)

    def _check_loop(self) -> None:
        if self._writer is not None and self._loop is not asyncio.get_running_loop():
            raise InvalidInputError("the ledger belongs to another event loop; open it on this one")

    def _submit_settle(self, rows: Sequence[Sequence[Any]]) -> asyncio.Future[None]:
        run, now = self._number, self._ports.wall()
        return self._submit(lambda store: store.settle(rows, run, now))


def _check_same(path: Path, began: Beginning, host: str) -> None:
    if what := began.mismatch:
        named = f": {began.known}, not {host}" if began.known else ""
        raise LedgerMismatchError(f"{path} belongs to another {what}{named}; use another ledger")


def _fingerprint(account: str) -> str:
    return hashlib.blake2b(account.encode(), digest_size=16).hexdigest() if account else ""
