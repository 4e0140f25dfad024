"""
The workers of a bulk run: they take rows, attempt them until they are settled, and hand over.

Here: what a worker does next, and how all of them stop. Not here: a row and its attempts (`row`,
`pursuit`), rows that wait (`parking`), a service that is down (`outage`, `probing`), the run as its
user sees it (`bulk`).
"""

from __future__ import annotations

import asyncio
import functools
from collections import deque

import attrs

from badges_async import operations
from badges_async.claims import ClaimOutcome, ClaimRequest
from badges_async.delivery import Delivery
from badges_async.dispatch import Dispatcher
from badges_async.enums import ClaimStatus
from badges_async.errors import InvalidInputError
from badges_async.outage import Outage
from badges_async.parking import Parking
from badges_async.probing import Probing
from badges_async.pursuit import Pursuit
from badges_async.report import Tally
from badges_async.row import Row
from badges_async.source import RowSource
from badges_async.timeouts import Timeout
from badges_async.width import Width

__all__ = ["Crew"]

# Seconds that rows without a budget wait for new ones to earn it.
_A_WHILE = 1.0


@attrs.define(eq=False)
class _Worker:
    """One of the crew, and the row in its hands."""

    task: asyncio.Task[None] | None = None
    row: Row | None = None
    handing_over: bool = False

    def is_interruptible(self) -> bool:
        """Whether stopping now leaves nothing in doubt and loses no outcome."""
        return not (self.handing_over or (self.row is not None and self.row.on_wire))

    def hold(self, row: Row) -> None:
        """Take *row* in hand."""
        self.row = row


class Crew:
    """
    A bounded number of workers on one source.

    Attributes:
        failure: What stopped the run, if something did.
    """

    def __init__(
        self,
        dispatcher: Dispatcher,
        timeout: Timeout,
        source: RowSource,
        delivery: Delivery,
        *,
        size: int,
        outage: Outage,
        tally: Tally,
    ) -> None:
        self.failure: BaseException | None = None
        self._timeout = timeout
        self._source = source
        self._delivery = delivery
        self._outage = outage
        self._width = Width(size)
        self._parking = Parking(4 * size + 64)
        self._pursuit = Pursuit(
            dispatcher,
            outage=outage,
            parking=self._parking,
            width=self._width,
            tally=tally,
            in_hand=self._in_hand,
        )
        self._probing = Probing(
            dispatcher,
            timeout,
            outage=outage,
            parking=self._parking,
            pursuit=self._pursuit,
            source=source,
            tally=tally,
            alone=self._is_alone,
        )
        self._workers = [_Worker() for _ in range(size)]
        self._working = 0
        self._draining = False
        self._pulling = 0
        self._loop: asyncio.AbstractEventLoop
        self._idle: deque[asyncio.Future[None]] = deque()

    @property
    def in_flight(self) -> int:
        """Requests on the wire now."""
        return sum(worker.row is not None and worker.row.on_wire for worker in self._workers)

    def start(self, group: asyncio.TaskGroup) -> None:
        """Set the workers to work as children of *group*. They never raise."""
        self._loop = asyncio.get_running_loop()
        self._working = len(self._workers)
        for worker in self._workers:
            worker.task = group.create_task(self._work(worker))
            # No finally block would do: a task that is cancelled before its start runs none.
            worker.task.add_done_callback(self._leave)

    def drain(self) -> None:
        """Pull no more, let go unsent what waits, let finish what is on the wire."""
        self._draining = self._pursuit.draining = True
        for worker in self._workers:
            if worker.task is not None and worker.is_interruptible():
                worker.task.cancel()

    def cut_off(self) -> None:
        """After `drain`: stop what is on the wire as well; what has its outcome hands it over."""
        for worker in self._workers:
            if worker.task is not None and not worker.handing_over:
                worker.task.cancel()

    def dismiss(self) -> None:
        """Stop at once, whatever is on the wire or not taken yet."""
        self._draining = self._pursuit.draining = True
        for worker in self._workers:
            if worker.task is not None:  # pragma: no branch - they are started as they are made
                worker.task.cancel()

    def fail(self, error: BaseException) -> None:
        """Stop because of *error*, unless of another before; what is on the wire finishes."""
        self.failure = self.failure or error
        self.drain()

    async def _work(self, worker: _Worker) -> None:
        try:
            await self._width.enter()
            while not self._draining and await self._take_turn(worker):
                worker.row = None
        except asyncio.CancelledError as error:
            if not self._draining:  # not by us: the source was cancelled, which is not its end
                self.fail(error)
            raise
        except Exception as error:  # noqa: BLE001 - the consumer is told, a task could only log it
            self.fail(error)
        finally:
            worker.row = None

    def _leave(self, _: asyncio.Task[None]) -> None:
        self._working -= 1
        # There is nothing more to begin, and whoever waits has to find out. (Of one that was
        # cancelled the place may be free already; then all of them are.)
        self._width.leave()
        while self._idle:
            self._ring()
        if not self._working:
            self._delivery.end()

    def _ring(self) -> None:
        """Wake one that waits for a change; if it finds something to do it wakes the next."""
        while self._idle:
            turn = self._idle.popleft()
            if not turn.done():  # pragma: no branch - one that is cancelled in this very moment
                turn.set_result(None)
                return

    async def _take_turn(self, worker: _Worker) -> bool:  # noqa: C901 - a call costs each claim
        """Do what is to be done next; say whether there may be more."""
        if self._width.taken > self._width.now:
            self._width.leave()
            await self._width.enter()
            return True
        outcome: ClaimOutcome | None
        if self._outage.closed:
            pull = functools.partial(self._pull, worker, urgent=True)
            more, outcome = await self._probing.probe(worker.hold, pull)
        else:
            row: Row | ClaimOutcome | None = self._take_waiting()
            if row is None and self._may_pull():
                row = self._take_new()
                if row is None and self._source.may_wait:
                    row = await self._pull(worker)
            if row is None:
                return await self._wait_or_give_up(worker)
            more = True
            if isinstance(row, ClaimOutcome):
                outcome = row
            else:
                worker.row = row
                if self._idle:
                    self._ring()
                outcome = await self._pursuit.attempt(row)
                if outcome is None:
                    outcome = await self._pursuit.go_on(row)
        worker.row = None
        if self._idle:
            self._ring()
        if outcome is not None and not self._delivery.offer(outcome):
            await self._wait_for_room(worker, outcome)
        return more

    def _take_waiting(self) -> Row | None:
        if not (self._probing.scouted or self._parking.unanswered or self._parking.unpaid):
            return None
        row = self._probing.take_scouted() or self._parking.take_unanswered()
        if row is None and self._parking.unpaid and self._pursuit.pay(self._parking.unpaid[0]):
            row = self._parking.unpaid.popleft()
        return row

    def _may_pull(self) -> bool:
        """Whether to take a new row: somebody has to look after those that wait meanwhile."""
        parking = self._parking
        if not (parking.unanswered or parking.unpaid):
            return True
        if not parking.has_room():
            return False
        if not parking.unpaid or not self._source.may_wait:
            return True
        return bool(self._idle or self._in_hand())

    async def _wait_or_give_up(self, worker: _Worker) -> bool:
        """
        Wait for what others achieve, when all rows at hand are ones that the retry budget stops.

        When there is nobody else, the service fails too often to be asked again: the first ends.
        """
        if not self._parking.unpaid:
            return False
        if self._in_hand():
            await self._wait_for_turnover(None)
            return True
        more_may_come = self._source.may_wait and not self._source.exhausted
        if more_may_come and await self._wait_for_turnover(_A_WHILE):
            return True
        if not self._parking.unpaid:  # pragma: no cover - one who waited as long took the last
            return True
        outcome = self._parking.unpaid.popleft().failed()
        self._ring()
        if not self._delivery.offer(outcome):
            await self._wait_for_room(worker, outcome)
        return True

    async def _wait_for_turnover(self, seconds: float | None) -> bool:
        """Wait until another worker has done something; False when none has for so long."""
        turn = asyncio.get_running_loop().create_future()
        self._idle.append(turn)
        self._width.leave()
        heard = True
        try:
            async with asyncio.timeout(seconds):
                await turn
        except TimeoutError:
            heard = not self._source.may_wait
        finally:
            if turn in self._idle:
                self._idle.remove(turn)
        await self._width.enter()
        return heard

    def _in_hand(self) -> int:
        return sum(worker.row is not None for worker in self._workers)

    def _is_alone(self) -> bool:
        """Whether all other workers wait for rows, or have ended."""
        return self._working - self._pulling <= 1

    async def _pull(self, worker: _Worker, *, urgent: bool = False) -> Row | None:
        """
        Take the next request from the source; one that cannot be sent is settled here.

        Args:
            urgent: For the one probe of a service that is down, which needs no place of its own.
        """
        while True:
            if self._source.may_wait:
                asked = await self._wait_for_source(urgent=urgent)
            else:
                asked = self._source.take()
            if asked is None:
                return None
            row = self._prepare(asked)
            if isinstance(row, Row):
                return row
            if not self._delivery.offer(row):
                await self._wait_for_room(worker, row)

    async def _wait_for_source(self, *, urgent: bool) -> ClaimRequest | None:
        self._pulling += 1
        self._width.leave()
        try:
            asked = await self._source.pull()
        finally:
            self._pulling -= 1
        if urgent:
            self._width.take()
        else:
            await self._width.enter()
        return asked

    async def _wait_for_room(self, worker: _Worker, outcome: ClaimOutcome) -> None:
        worker.handing_over = True
        await self._delivery.put(outcome)
        worker.handing_over = False

    def _take_new(self) -> Row | ClaimOutcome | None:
        """Take the next request, unless it has to be waited for; see `_prepare`."""
        source = self._source
        asked = source.take_ready() if source.may_wait else source.take()
        return None if asked is None else self._prepare(asked)

    def _prepare(self, asked: ClaimRequest) -> Row | ClaimOutcome:
        """Give the row for a request, or the outcome of one that cannot be sent."""
        try:
            request = operations.claim_request(asked)
        except InvalidInputError as error:
            return ClaimOutcome(asked, ClaimStatus.REJECTED, error=error)
        now, timeout = self._loop.time(), self._timeout
        # Patient, and by place: names would double what it costs.
        row = Row(request, timeout, now + timeout.total, True, asked=asked, began=now)  # noqa: FBT003
        self._source.hold(row)
        return row
