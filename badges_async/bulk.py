"""
A run of very many claims, as its user sees it.

Here: entering, iterating, draining, leaving, and the report. Not here: what the workers do
(`crew`), the sums (`report`), files and printing (`cli`).
"""

from __future__ import annotations

import asyncio
from collections.abc import AsyncIterable, Iterable, Sequence
from types import TracebackType
from typing import Self, TypeGuard

from badges_async.claims import ClaimOutcome, ClaimRequest
from badges_async.crew import Crew
from badges_async.delivery import Straight
from badges_async.dispatch import Dispatcher
from badges_async.errors import InvalidInputError
from badges_async.journal import Journal
from badges_async.ledger import Ledger
from badges_async.outage import Outage
from badges_async.outbox import Outbox
from badges_async.report import BulkReport, Tally
from badges_async.source import Source
from badges_async.timeouts import Timeout

__all__ = ["BulkRun"]

# Each is a task; far more than a host accepts connections for.
_MOST_WORKERS = 10_000


class BulkRun:
    """
    A run of claims: an async context manager, and inside of it an async iterator of outcomes.

    `BadgesClient.claim_many` makes one. Outcomes come in completion order, one for each request
    that was pulled. Iteration ends when all are settled, or raises what stopped the run:
    `AuthenticationError`, `PermissionDeniedError`, `OutageError`, a `ConnectError` about the
    service's certificate, a `LedgerError`, or whatever the source of the requests raised. What was
    settled by then is yielded first.

    With a ledger, an outcome is yielded when it is on disk. A request whose claim the ledger knows
    to be settled by an earlier run is not sent and has no outcome: it is counted as skipped. One
    that repeats a claim of this run is not sent either, and has the same outcome.

    Leaving the block early cancels what is on the wire; the service may or may not hold those
    claims, and claiming them again is safe. No task, connection or lock is left behind, and the
    ledger knows which claims are in doubt.
    """

    def __init__(
        self,
        dispatcher: Dispatcher,
        timeout: Timeout,
        requests: Iterable[ClaimRequest] | AsyncIterable[ClaimRequest],
        *,
        concurrency: int,
        ledger: Ledger | None,
        outage_patience: float,
        host: str,
        account: str,
    ) -> None:
        size = _check_concurrency(concurrency)
        self._dispatcher = dispatcher
        self._outage = Outage(_check_patience(outage_patience), dispatcher.chance)
        self._tally = Tally()
        self._outbox: Outbox[ClaimOutcome] = Outbox(size)
        self._facts = host, account, timeout.connect
        source = Source(requests, self._tally.enter)
        self._journal = None
        if _check_ledger(ledger):
            self._journal = Journal(
                source,
                ledger,
                self._outbox,
                size=size,
                tally=self._tally,
                admission=dispatcher.admission,
                fail=self._fail,
            )
        self._crew = Crew(
            dispatcher,
            timeout,
            self._journal or source,
            self._journal or Straight(self._outbox, self._tally),
            size=size,
            outage=self._outage,
            tally=self._tally,
        )
        self._group = asyncio.TaskGroup()
        self._began: float | None = None
        self._elapsed: float | None = None
        self._grace: asyncio.TimerHandle | None = None

    @property
    def report(self) -> BulkReport:
        """The sums so far; final once the run has ended."""
        return self._tally.report(elapsed=self._seconds(), ended=self._elapsed is not None)

    @property
    def in_flight(self) -> int:
        """Requests on the wire now."""
        return self._crew.in_flight

    @property
    def waiting_for_service(self) -> bool:
        """Whether the service is taken to be down, and only probes are sent."""
        return self._outage.closed

    @property
    def unsettled(self) -> Sequence[ClaimRequest]:
        """
        Requests that were pulled and have no outcome, in the order in which they were pulled.

        One object that was pulled several times is there as often as it has none.
        """
        return self._tally.left_open()

    @property
    def in_doubt(self) -> Sequence[ClaimRequest]:
        """Those of `unsettled` that may be held all the same: an attempt got no usable answer."""
        tally = self._tally
        return [asked for asked in tally.left_open() if id(asked) in tally.doubtful]

    def drain(self, *, grace: float | None = None) -> None:
        """
        Stop: pull no more, let go unsent what waits, let finish what is on the wire.

        Iteration goes on with the outcomes of the latter and then ends. What was pulled and got no
        outcome is counted as unsettled in the report. Idempotent; never blocks.

        Args:
            grace: Seconds after which also what is on the wire is stopped, and its claims are in
                doubt; None to wait for as long as an attempt may take.
        """
        self._crew.drain()
        if self._journal is not None:
            self._journal.drain()
        if grace is not None and self._grace is None:
            self._grace = asyncio.get_running_loop().call_later(grace, self._crew.cut_off)

    async def __aenter__(self) -> Self:
        if self._began is not None:
            raise InvalidInputError("a bulk run can be entered once; make a new one")
        self._dispatcher.open()
        self._began = asyncio.get_running_loop().time()
        if self._journal is not None:
            await self._journal.open(*self._facts)
        await self._group.__aenter__()
        self._crew.start(self._group)
        if self._journal is not None:
            self._journal.start(self._group)
        return self

    async def __aexit__(
        self,
        kind: type[BaseException] | None,
        error: BaseException | None,
        trace: TracebackType | None,
    ) -> None:
        self._crew.dismiss()
        if self._journal is not None:
            self._journal.dismiss()
        # The workers never raise, so the group only waits; what left the block goes on as it was.
        try:
            await self._group.__aexit__(None, None, None)
        finally:
            self._end()  # also when whoever waits for it is cancelled
            if self._grace is not None:
                self._grace.cancel()
            if self._journal is not None:
                self._journal.close()

    def __aiter__(self) -> Self:
        return self

    async def __anext__(self) -> ClaimOutcome:
        if self._began is None:
            raise InvalidInputError("use a bulk run with 'async with'")
        outcome = await self._outbox.get()
        if outcome is not None:
            return outcome
        self._end()
        if self._crew.failure is not None:
            raise self._crew.failure
        raise StopAsyncIteration

    def _fail(self, error: BaseException) -> None:
        assert self._journal is not None  # noqa: S101 - the only one to say so
        self._crew.fail(error)
        self._journal.drain()

    def _seconds(self) -> float:
        if self._elapsed is not None or self._began is None:
            return self._elapsed or 0.0
        return asyncio.get_running_loop().time() - self._began

    def _end(self) -> None:
        self._elapsed = self._seconds()


def _check_concurrency(value: int) -> int:
    if isinstance(value, bool) or not isinstance(value, int) or not 1 <= value <= _MOST_WORKERS:
        raise InvalidInputError(f"concurrency must be a whole number from 1 to {_MOST_WORKERS}")
    return value


def _check_ledger(value: Ledger | None) -> TypeGuard[Ledger]:
    if value is not None and not isinstance(value, Ledger):
        raise InvalidInputError("ledger must be a Ledger, such as Ledger.open('run.db') gives")
    return value is not None


def _check_patience(value: float) -> float:
    if isinstance(value, bool) or not isinstance(value, int | float) or not value >= 0:
        raise InvalidInputError("outage_patience must be a number of seconds, 0 or more")
    return float(value)
