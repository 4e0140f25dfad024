"""
Claiming very many badges: a bounded number at a time, and one true outcome for each.

Here: the workers of a run, what becomes of a row, stopping and draining. Not here: one attempt
(`dispatch`), telling an outage (`outage`), the sums (`report`), files and printing (`cli`).

A worker takes a row, attempts it until it is settled, and hands its outcome over. When the service
is taken to be down, rows are parked instead of spent: one worker at a time probes with the next
row, and the first answer sets all of them going again.
"""

from __future__ import annotations

import asyncio
from collections import deque
from collections.abc import AsyncIterable, AsyncIterator, Iterable, Iterator
from functools import partial
from types import TracebackType
from typing import Self

import attrs

from badges_async import operations
from badges_async.dispatch import Call, Dispatcher, concluded
from badges_async.enums import ClaimStatus
from badges_async.errors import (
    APIError,
    AuthenticationError,
    BadgesError,
    ClientClosedError,
    ConnectError,
    InvalidInputError,
    PermissionDeniedError,
    RateLimitedError,
    ServerError,
    UnreadableReplyError,
)
from badges_async.models import ClaimOutcome, ClaimRequest
from badges_async.outage import Outage
from badges_async.report import BulkReport, Tally
from badges_async.retry import is_refused_for_good, is_transient
from badges_async.timeouts import Timeout

__all__ = ["BulkRun"]


@attrs.define(eq=False)
class _Row:
    """A request on its way through a run."""

    request: ClaimRequest
    call: Call
    delays: Iterator[float]
    began: float  # in the loop's time
    spent: int = 0  # attempts that count
    settled: bool = False

    def interruptible(self) -> bool:
        """Whether stopping now leaves nothing in doubt and loses no outcome."""
        return not (self.settled or self.call.on_wire)


class BulkRun:
    """
    A run of claims: an async context manager, and inside of it an async iterator of outcomes.

    `BadgesClient.claim_many` makes one. Outcomes come in completion order, one for each request
    that was pulled. Iteration ends when all are settled, or raises what stopped the run:
    `AuthenticationError`, `PermissionDeniedError`, `OutageError`, a `ConnectError` about the
    service's certificate, or whatever the source of the requests raised. What was settled by then
    is yielded first.

    Leaving the block early cancels what is on the wire; the service may or may not hold those
    claims, and claiming them again is safe. No task or connection is left behind.
    """

    def __init__(
        self,
        dispatcher: Dispatcher,
        timeout: Timeout,
        requests: Iterable[ClaimRequest] | AsyncIterable[ClaimRequest],
        *,
        concurrency: int,
        ledger: None,
        outage_patience: float,
    ) -> None:
        self._concurrency = _check_concurrency(concurrency)
        if ledger is not None:
            raise InvalidInputError("a ledger is not part of this version")
        self._dispatcher = dispatcher
        self._timeout = timeout
        self._source = _Source(requests)
        self._outage = Outage(_check_patience(outage_patience), dispatcher.chance)
        self._tally = Tally()
        self._parked: deque[_Row] = deque()
        self._outcomes: asyncio.Queue[ClaimOutcome | None] = asyncio.Queue()
        self._room = asyncio.Semaphore(concurrency)
        self._group = asyncio.TaskGroup()
        self._workers: dict[asyncio.Task[None], _Row | None] = {}
        self._working = 0
        self._began: float | None = None
        self._elapsed: float | None = None
        self._draining = False
        self._fatal: Exception | None = None

    @property
    def report(self) -> BulkReport:
        """The sums so far; final once the run has ended."""
        ended = self._elapsed is not None
        return self._tally.report(elapsed=self._seconds(), ended=ended)

    @property
    def in_flight(self) -> int:
        """Requests on the wire now."""
        return sum(row is not None and row.call.on_wire for row in self._workers.values())

    @property
    def waiting_for_service(self) -> bool:
        """Whether the service is taken to be down, and only probes are sent."""
        return self._outage.closed

    def drain(self) -> None:
        """
        Stop: pull no more, let go unsent what waits, let finish what is on the wire.

        Iteration goes on with the outcomes of the latter and then ends. What was pulled and got no
        outcome is counted as unsettled in the report. Idempotent; never blocks.
        """
        self._draining = True
        for worker, row in self._workers.items():
            if row is None or row.interruptible():
                worker.cancel()

    async def __aenter__(self) -> Self:
        if self._began is not None:
            raise InvalidInputError("a bulk run can be entered once; make a new one")
        self._dispatcher.transport.ensure_usable()
        self._began = asyncio.get_running_loop().time()
        await self._group.__aenter__()
        self._working = self._concurrency
        for _ in range(self._concurrency):
            self._workers[self._group.create_task(self._work())] = None
        return self

    async def __aexit__(
        self,
        kind: type[BaseException] | None,
        error: BaseException | None,
        trace: TracebackType | None,
    ) -> None:
        for worker in self._workers:
            worker.cancel()
        # The workers never raise, so the group only waits; what left the block goes on as it was.
        await self._group.__aexit__(None, None, None)
        self._end()

    def __aiter__(self) -> Self:
        return self

    async def __anext__(self) -> ClaimOutcome:
        if self._began is None:
            raise InvalidInputError("use a bulk run with 'async with'")
        outcome = await self._outcomes.get()
        if outcome is not None:
            self._room.release()
            return outcome
        self._outcomes.put_nowait(None)  # whoever asks again gets the same answer
        if self._fatal is not None:
            raise self._fatal
        raise StopAsyncIteration

    def _seconds(self) -> float:
        if self._elapsed is not None or self._began is None:
            return self._elapsed or 0.0
        return asyncio.get_running_loop().time() - self._began

    def _end(self) -> None:
        self._elapsed = self._seconds()
        self._outcomes.put_nowait(None)

    async def _work(self) -> None:
        """Settle rows until there are none left. The one loop of a worker; it never raises."""
        try:
            while not self._draining and await self._next_step():
                pass
        except Exception as error:  # noqa: BLE001 - the consumer is told, a task could only log it
            self._fatal = self._fatal or error
            self.drain()
        finally:
            self._working -= 1
            if not self._working:
                self._end()

    async def _next_step(self) -> bool:
        """Do what is to be done next; say whether there may be more."""
        if self._outage.closed:
            return await self._probe()
        row = await self._next_row(prefer_new=False)
        if row is not None:
            await self._pursue(row)
        return row is not None

    async def _next_row(self, *, prefer_new: bool) -> _Row | None:
        """Take a row: parked ones first, unless a new one tells more about the service."""
        row = None
        if not (self._parked and not prefer_new):
            row = await self._pull()
        if row is None and self._parked:
            row = self._parked.popleft()
            # What it waited is not held against it.
            now = asyncio.get_running_loop().time()
            row.call.deadline = max(row.call.deadline, now + self._timeout.attempt)
            row.call.over = False
        self._hold(row)
        return row

    async def _pull(self) -> _Row | None:
        """Take the next request from the source that needs sending."""
        while True:
            request = await self._source.pull()
            if request is None:
                return None
            self._tally.pulled += 1
            try:
                message = operations.claim_request(request)
            except InvalidInputError as error:
                await self._hand_over(ClaimOutcome(request, ClaimStatus.REJECTED, error=error))
                continue
            call = self._dispatcher.start(message, self._timeout, patient=True)
            delays = self._dispatcher.retry.delays(self._dispatcher.chance)
            return _Row(request, call, delays, asyncio.get_running_loop().time())

    def _hold(self, row: _Row | None) -> None:
        worker = asyncio.current_task()
        assert worker is not None  # noqa: S101 - only workers come here
        self._workers[worker] = row

    async def _pursue(self, row: _Row) -> None:
        """Attempt *row* until it is settled, or parked because the service is down."""
        while not (await self._attempt(row) or self._draining):
            if not self._outage.closed and self._is_spent(row):
                if self._outage.answered_since(row.began):
                    await self._fail(row)
                    return
                # Nobody was answered meanwhile: it is not known whose fault it is.
                self._outage.close()
            if not self._outage.closed and not row.call.paused:
                wait = row.call.spaced(next(row.delays))
                await asyncio.sleep(min(wait, self._outage.patience_left()))
            if self._outage.closed:
                self._parked.append(row)
                break
        self._hold(None)

    async def _probe(self) -> bool:
        """Wait for the turn to test the water, and test it with one attempt of one row."""
        async with self._outage.turn:
            if not self._outage.closed:
                return True
            last = self._parked[-1].call.last_error if self._parked else None
            await self._outage.rest(last)
            # A row that nobody has tried tells bad rows from a bad service; a few are enough.
            row = await self._next_row(prefer_new=len(self._parked) < 4 * self._concurrency + 64)
            if row is None:
                return False
            if not await self._attempt(row) and not self._draining:
                if self._source.exhausted and await self._service_reads(row):
                    self._outage.answered()
                self._parked.append(row)
            self._hold(None)
            return True

    async def _service_reads(self, row: _Row) -> bool:
        """
        Ask for the row's badge, where no new row is left that could tell whose fault it is.

        An answer means that the service is up and the rows that are left are at fault.
        """
        if isinstance(row.call.last_error, ConnectError):
            return False
        request = operations.get_request(row.request.badge_id)
        call = self._dispatcher.start(request, self._timeout, patient=True)
        try:
            await self._dispatcher.attempt(call, operations.read_badge)
        except BadgesError as error:
            return isinstance(error, APIError) and not isinstance(error, ServerError)
        return True

    async def _attempt(self, row: _Row) -> bool:
        """
        Attempt *row* once; say whether it is settled now.

        Raises:
            BadgesError: It concerns every row, so the run stops.
        """
        call, sent = row.call, row.call.attempts
        try:
            result = await self._dispatcher.attempt(
                call, partial(operations.read_claim, asked=row.request)
            )
        except BadgesError as error:
            if _concerns_everyone(error):
                raise
            call.last_error = error
            return await self._judge(row, error)
        finally:
            self._tally.retries += max(0, call.attempts - max(sent, 1))
        self._outage.answered()
        already = result.already_claimed
        await self._settle(
            row,
            ClaimOutcome(
                row.request,
                ClaimStatus.ALREADY_CLAIMED if already else ClaimStatus.CLAIMED,
                result=operations.with_attempts(result, call.attempts),
                attempts=call.attempts,
                recovered=already and call.maybe_applied,
            ),
        )
        return True

    async def _judge(self, row: _Row, error: BadgesError) -> bool:
        """Decide what a failed attempt means; say whether it settles the row."""
        self._tally.throttled += isinstance(error, RateLimitedError)
        if isinstance(error, APIError) and not isinstance(error, ServerError):
            self._outage.answered()
        if is_refused_for_good(error):
            await self._settle(row, self._outcome(row, ClaimStatus.REJECTED, error))
            return True
        # An answer that is not the API's, whatever its status, can be the gateway's for everyone.
        if not is_transient(error) and not isinstance(error, UnreadableReplyError):
            await self._fail(row)
            return True
        if row.call.over or row.call.paused:
            return False
        # Neither a service that cannot be reached nor a probe is held against the row.
        row.spent += not (self._outage.closed or isinstance(error, ConnectError))
        self._outage.failed(in_hand=sum(held is not None for held in self._workers.values()))
        return False

    def _is_spent(self, row: _Row) -> bool:
        now = asyncio.get_running_loop().time()
        return row.spent >= self._dispatcher.retry.max_attempts or row.call.deadline <= now

    async def _fail(self, row: _Row) -> None:
        error = row.call.last_error
        assert error is not None  # noqa: S101 - only failed attempts lead here
        await self._settle(row, self._outcome(row, ClaimStatus.FAILED, error))

    def _outcome(self, row: _Row, status: ClaimStatus, error: BadgesError) -> ClaimOutcome:
        return ClaimOutcome(
            row.request, status, error=concluded(row.call, error), attempts=row.call.attempts
        )

    async def _settle(self, row: _Row, outcome: ClaimOutcome) -> None:
        row.settled = True
        await self._hand_over(outcome)
        self._hold(None)

    async def _hand_over(self, outcome: ClaimOutcome) -> None:
        """Count an outcome and queue it, when the consumer has room for it."""
        self._tally.add(outcome)
        await self._room.acquire()
        self._outcomes.put_nowait(outcome)


class _Source:
    """Where requests come from: one at a time, from a sync or an async iterable."""

    def __init__(self, requests: Iterable[ClaimRequest] | AsyncIterable[ClaimRequest]) -> None:
        self.exhausted = False
        self._sync: Iterator[ClaimRequest] | None = None
        self._async: AsyncIterator[ClaimRequest] | None = None
        if isinstance(requests, AsyncIterable):
            self._async = aiter(requests)
        elif isinstance(requests, Iterable) and not isinstance(requests, str | bytes):
            self._sync = iter(requests)
        else:
            raise InvalidInputError("requests must be an iterable or an async iterable")
        self._turn = asyncio.Lock()

    async def pull(self) -> ClaimRequest | None:
        """
        Give the next request, or None when there are no more.

        Raises:
            InvalidInputError: What came is no `ClaimRequest`.
            Exception: Whatever the iterable raised.
        """
        if self.exhausted:
            return None
        if self._sync is not None:
            request = next(self._sync, None)
        else:
            request = await self._pull_async()
        if request is None:
            self.exhausted = True
        elif not isinstance(request, ClaimRequest):
            raise InvalidInputError(f"requests must be ClaimRequest, not {type(request).__name__}")
        return request

    async def _pull_async(self) -> ClaimRequest | None:
        assert self._async is not None  # noqa: S101 - one of the two is there
        async with self._turn:  # an async generator runs for one caller at a time
            return None if self.exhausted else await anext(self._async, None)


def _concerns_everyone(error: BadgesError) -> bool:
    """Whether *error* will meet every row, so that going on is no use."""
    if isinstance(error, ConnectError):
        return error.certificate_refused
    return isinstance(error, AuthenticationError | PermissionDeniedError | ClientClosedError)


def _check_concurrency(value: int) -> int:
    if isinstance(value, bool) or not isinstance(value, int) or value < 1:
        raise InvalidInputError("concurrency must be a whole number of at least 1")
    return value


def _check_patience(value: float) -> float:
    if isinstance(value, bool) or not isinstance(value, int | float) or not value >= 0:
        raise InvalidInputError("outage_patience must be a number of seconds, 0 or more")
    return float(value)
