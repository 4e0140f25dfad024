"""
The workers of a bulk run: they take rows, attempt them until they are settled, and hand over.

Here: what a worker does next. Not here: a row and its outcomes (`row`), one attempt (`dispatch`),
telling an outage (`outage`), the run as its user sees it (`bulk`).

When the service is taken to be down, rows are parked instead of spent: one worker at a time probes
with the next row, and the first answer sets all of them going again.
"""

from __future__ import annotations

import asyncio
from collections import deque

import attrs

from badges_async import operations
from badges_async.claims import ClaimOutcome, ClaimRequest
from badges_async.dispatch import Dispatcher
from badges_async.enums import ClaimStatus
from badges_async.errors import (
    APIError,
    BadgesError,
    ConnectError,
    InvalidInputError,
    RateLimitedError,
    ServerError,
    UnreadableReplyError,
)
from badges_async.messages import Request
from badges_async.outage import Outage
from badges_async.outbox import Outbox
from badges_async.report import Tally
from badges_async.retry import is_refused_for_good, is_transient
from badges_async.row import Row, concerns_everyone
from badges_async.source import Source
from badges_async.timeouts import Timeout

__all__ = ["Crew"]


@attrs.define(eq=False)
class _Worker:
    """One of the crew, and the row in its hands."""

    task: asyncio.Task[None] | None = None
    row: Row | None = None
    handing_over: bool = False

    def is_interruptible(self) -> bool:
        """Whether stopping now leaves nothing in doubt and loses no outcome."""
        return not (self.handing_over or (self.row is not None and self.row.on_wire))


class Crew:
    """
    A bounded number of workers on one source.

    Attributes:
        outbox: Where outcomes go; it ends when the last worker has.
        failure: What stopped the run, if something did.
    """

    def __init__(
        self,
        dispatcher: Dispatcher,
        timeout: Timeout,
        source: Source,
        *,
        size: int,
        outage: Outage,
        tally: Tally,
    ) -> None:
        self.outbox: Outbox[ClaimOutcome] = Outbox(size)
        self.failure: BaseException | None = None
        self._dispatcher = dispatcher
        self._timeout = timeout
        self._source = source
        self._outage = outage
        self._tally = tally
        self._parked: deque[Row] = deque()
        self._most_parked = 4 * size + 64
        self._scouted: Row | None = None
        self._scouting = False
        self._workers = [_Worker() for _ in range(size)]
        self._working = 0
        self._draining = False

    @property
    def in_flight(self) -> int:
        """Requests on the wire now."""
        return sum(worker.row is not None and worker.row.on_wire for worker in self._workers)

    def start(self, group: asyncio.TaskGroup) -> None:
        """Set the workers to work as children of *group*. They never raise."""
        self._working = len(self._workers)
        for worker in self._workers:
            worker.task = group.create_task(self._work(worker))
            # No finally block would do: a task that is cancelled before its start runs none.
            worker.task.add_done_callback(self._leave)

    def drain(self) -> None:
        """Pull no more, let go unsent what waits, let finish what is on the wire."""
        self._draining = True
        for worker in self._workers:
            if worker.task is not None and worker.is_interruptible():
                worker.task.cancel()

    def dismiss(self) -> None:
        """Stop at once, whatever is on the wire."""
        self._draining = True
        for worker in self._workers:
            if worker.task is not None:
                worker.task.cancel()

    async def _work(self, worker: _Worker) -> None:
        try:
            while not self._draining and await self._take_turn(worker):
                worker.row = None
        except asyncio.CancelledError as error:
            if not self._draining:  # not by us: the source was cancelled, which is not its end
                self.failure = self.failure or error
                self.drain()
            raise
        except Exception as error:  # noqa: BLE001 - the consumer is told, a task could only log it
            self.failure = self.failure or error
            self.drain()
        finally:
            worker.row = None

    def _leave(self, _: asyncio.Task[None]) -> None:
        self._working -= 1
        if not self._working:
            self.outbox.end()

    async def _take_turn(self, worker: _Worker) -> bool:
        """Do what is to be done next; say whether there may be more."""
        if self._outage.closed:
            return await self._probe(worker)
        row = self._take_scouted() or self._unpark() or await self._pull(worker)
        if row is None:
            return False
        worker.row = row
        outcome = await self._pursue(row)
        if outcome is not None and not self._hand_over(outcome):
            await self._wait_for_room(worker, outcome)
        return True

    async def _pull(self, worker: _Worker) -> Row | None:
        """Take the next request from the source; one that cannot be sent is settled here."""
        while True:
            asked = await self._source.pull() if self._source.may_wait else self._source.take()
            if asked is None:
                return None
            self._tally.pulled += 1
            try:
                request = operations.claim_request(asked)
            except InvalidInputError as error:
                refused = ClaimOutcome(asked, ClaimStatus.REJECTED, error=error)
                if not self._hand_over(refused):
                    await self._wait_for_room(worker, refused)
            else:
                return self._row(asked, request)

    def _hand_over(self, outcome: ClaimOutcome) -> bool:
        """Count an outcome and give it to the consumer; False when `_wait_for_room` must first."""
        self._tally.add(outcome)
        return self.outbox.offer(outcome)

    async def _wait_for_room(self, worker: _Worker, outcome: ClaimOutcome) -> None:
        worker.handing_over = True
        await self.outbox.put(outcome)
        worker.handing_over = False

    def _row(self, asked: ClaimRequest, request: Request) -> Row:
        now = asyncio.get_running_loop().time()
        return Row(
            request=request,
            timeout=self._timeout,
            deadline=now + self._timeout.total,
            patient=True,
            asked=asked,
            began=now,
        )

    def _unpark(self) -> Row | None:
        return self._parked.popleft().renewed() if self._parked else None

    async def _pursue(self, row: Row) -> ClaimOutcome | None:
        """Attempt *row* until it has an outcome; None when it was parked, or let go in a drain."""
        while True:
            outcome = await self._attempt(row)
            if outcome is not None or self._draining:
                return outcome
            if not self._outage.closed and row.is_spent(self._dispatcher.retry):
                if self._outage.answered_since(row.began):
                    return row.failed()
                # Nobody was answered meanwhile: it is not known whose fault it is.
                self._outage.close()
            if not self._outage.closed and not row.paused:
                delay = row.next_delay(self._dispatcher.retry, self._dispatcher.chance)
                await asyncio.sleep(min(delay, self._outage.patience_left()))
            if self._outage.closed:
                self._parked.append(row)
                return None

    async def _probe(self, worker: _Worker) -> bool:
        """Wait for the turn to test the water, and test it with one attempt of one row."""
        await self._scout(worker)
        async with self._outage.turn:
            if not self._outage.closed:
                return True
            await self._outage.rest(self._parked[-1].last_error if self._parked else None)
            # A row that nobody has tried tells bad rows from a bad service; a few are enough.
            fresh, enough = self._take_scouted(), not self._may_park()
            if fresh is None and not self._source.may_wait and not enough:
                fresh = await self._pull(worker)
            row = fresh or self._unpark()
            if row is None:
                return False
            worker.row = row
            outcome = await self._attempt(row)
            if outcome is None and not self._draining:
                no_more = self._source.exhausted or enough
                if (fresh or no_more) and await self._service_reads(row):
                    if no_more:
                        self._outage.answered(row.sent_at)
                    else:
                        self._outage.reads()
                self._parked.append(row)
        if outcome is not None and not self._hand_over(outcome):
            await self._wait_for_room(worker, outcome)
        return True

    async def _scout(self, worker: _Worker) -> None:
        """
        Fetch a new row to probe with from a source that can take its time.

        Before the turn, and only where another worker can go on probing meanwhile: rows that are
        parked must not wait for rows that are yet to come.
        """
        alone = len(self._workers) == 1 and self._parked
        if alone or self._scouting or self._scouted is not None:
            return
        if self._source.may_wait and self._may_park():
            self._scouting = True
            try:
                self._scouted = await self._pull(worker)
            finally:
                self._scouting = False

    def _take_scouted(self) -> Row | None:
        row, self._scouted = self._scouted, None
        return row.renewed() if row is not None else None

    def _may_park(self) -> bool:
        return len(self._parked) < self._most_parked

    async def _service_reads(self, row: Row) -> bool:
        """
        Ask for the row's badge, to tell whose fault it is that the row failed.

        An answer means that the service is up. Where no new row can be tried, because there is none
        or enough have been, those at hand are taken to be at fault then; else a next one is tried
        soon.
        """
        if isinstance(row.last_error, ConnectError):
            return False
        request = operations.get_request(row.asked.badge_id)
        call = self._dispatcher.start(request, self._timeout, patient=True)
        try:
            await self._dispatcher.attempt(call, operations.read_badge)
        except BadgesError as error:
            return isinstance(error, APIError) and not isinstance(error, ServerError)
        return True

    async def _attempt(self, row: Row) -> ClaimOutcome | None:
        """
        Attempt *row* once; None when it has no outcome yet.

        Raises:
            BadgesError: It concerns every row, so the run stops.
        """
        sent = row.attempts
        try:
            result = await self._dispatcher.attempt(row, row.read)
        except BadgesError as error:
            if concerns_everyone(error):
                raise
            if not (row.over and row.last_error):  # "no time left" would hide why there is none
                row.last_error = error
            return self._judge(row, error)
        finally:
            if row.attempts > 1:
                self._tally.retries += row.attempts - max(sent, 1)
        self._outage.answered(row.sent_at)
        return row.held(result)

    def _judge(self, row: Row, error: BadgesError) -> ClaimOutcome | None:
        """Decide what a failed attempt means for its row; None when that is not decided yet."""
        self._tally.throttled += isinstance(error, RateLimitedError)
        if row.paused:  # no attempt, so it costs the row no time either
            row.deadline += asyncio.get_running_loop().time() - row.sent_at
        if isinstance(error, APIError) and not isinstance(error, ServerError):
            self._outage.answered(row.sent_at)
        if is_refused_for_good(error):
            return row.rejected(error)
        # An answer that is not the API's, whatever its status, can be the gateway's for everyone.
        if not is_transient(error) and not isinstance(error, UnreadableReplyError):
            return row.failed()
        if not (row.over or isinstance(error, RateLimitedError)):
            # Neither a service that cannot be reached or asks for a pause, nor a probe is held
            # against the row.
            free = row.paused or self._outage.closed or isinstance(error, ConnectError)
            row.spent += not free
            self._outage.failed(in_hand=sum(worker.row is not None for worker in self._workers))
        return None
