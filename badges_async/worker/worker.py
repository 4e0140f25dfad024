"""
The event-consumer worker: takes deliveries from a source, has them claimed, says what came of it.

Here: the life of a worker, from its first delivery to the last one handed back. Not here: any
engine (`source`), how a claim is made (the client), what is decided (`decisions`).
"""

from __future__ import annotations

import asyncio
import contextlib
import copy
import logging
import math
from collections.abc import Awaitable, Callable, Mapping, Sequence

from badges_async import BadgesClient, ClaimOutcome, InvalidInputError
from badges_async.worker import decisions
from badges_async.worker.checks import check_whole
from badges_async.worker.desk import Desk
from badges_async.worker.events import UnreadableEventError
from badges_async.worker.prefetch import Prefetch
from badges_async.worker.report import Tally, WorkerReport
from badges_async.worker.settling import Settler
from badges_async.worker.source import Delivery, Settlement, Source

__all__ = ["ClaimWorker"]

_LOG = logging.getLogger("badges_async")

_MOST_CONCURRENCY = 10_000
# Seconds that one fetch waits for something to come.
_FETCH_WAIT = 0.5
# Seconds for handing back when whoever runs the worker is cancelled.
_AT_ONCE = 1.0


class ClaimWorker:
    """
    Claims the events of a source until it is told to stop.

    ```python
    await ClaimWorker(client, source).run()
    ```

    At least once, made harmless: a claim that is sent again, because a worker was killed or an
    answer was lost, comes back as already claimed and is `recovered`. What the service refuses for
    good and what fails in every delivery goes to the dead letters; 401, 403 and an outage past
    *outage_patience* end the worker and hand everything back.

    Args:
        client: Claims everything; or one client for each quota that events name, None being that
            of events which name none. It is not closed.
        source: Where the events come from. It is opened and closed.
        concurrency: Claims in flight at the most, for each client. A quarter more are held,
            leased, so that nothing waits for the source; of a quick service the next 0.06 seconds'.
        max_deliveries: An event that failed in so many deliveries is a dead letter.
        grace: Seconds that claims on the wire may take when the worker is told to stop.
        once: End when the source is empty and nobody holds anything.
        outage_patience: Seconds without an answer to anyone; for ever unless this says otherwise.
        on_settled: Called with each `Settlement` that the source has carried out; one that raises
            is logged and disturbs nothing.

    Raises:
        InvalidInputError: One of these makes no sense.
    """

    def __init__(
        self,
        client: BadgesClient | Mapping[str, BadgesClient] | Mapping[str | None, BadgesClient],
        source: Source,
        *,
        concurrency: int = 64,
        max_deliveries: int = 5,
        grace: float = 20.0,
        once: bool = False,
        outage_patience: float = math.inf,
        on_settled: Callable[[Settlement], object] | None = None,
    ) -> None:
        check_whole("concurrency", concurrency, _MOST_CONCURRENCY)
        check_whole("max_deliveries", max_deliveries, 1_000_000)
        if isinstance(client, Mapping) and not client:
            raise InvalidInputError("no client is there, so every event would be a dead letter")
        _check_seconds("grace", grace)
        _check_seconds("outage_patience", outage_patience)
        self._source = source
        self._prefetch = Prefetch(concurrency)
        self._decided = 0
        self._max_deliveries = max_deliveries
        self._grace = grace
        self._once = once
        self._on_settled = on_settled
        self._tally = Tally()
        self._held: dict[int, Delivery] = {}
        self._settler = Settler(source, self._told, batch=2 * concurrency)
        clients = client if isinstance(client, Mapping) else {None: client}
        self._by_name = isinstance(client, Mapping)
        self._desks = {
            name: Desk(one, concurrency=concurrency, patience=outage_patience)
            for name, one in clients.items()
        }
        self._began: float | None = None
        self._ended: float | None = None
        self._stopping = False
        self._failure: BaseException | None = None
        self._change = asyncio.Event()
        self._fetching: asyncio.Timeout | None = None

    @property
    def report(self) -> WorkerReport:
        """The sums so far."""
        if self._began is None:
            return self._tally.report(0.0)
        now = self._ended or asyncio.get_running_loop().time()
        return self._tally.report(now - self._began)

    @property
    def held(self) -> int:
        """Deliveries in hand, those on the wire included."""
        return len(self._held)

    @property
    def in_flight(self) -> int:
        """Requests on the wire now."""
        return sum(desk.in_flight for desk in self._desks.values())

    @property
    def waiting_for_service(self) -> bool:
        """Whether the service is taken to be down, and only probes are sent."""
        return any(desk.waiting_for_service for desk in self._desks.values())

    def drain(self) -> None:
        """
        Stop: take nothing new, hand back what is not sent, let finish what is on the wire.

        Claims on the wire get the worker's *grace*; `run` ends then. Idempotent; never blocks.
        """
        if self._fetching is not None and not self._stopping:
            # A source that is away may keep its fetch for ever.
            bound = asyncio.get_running_loop().time() + max(self._grace, _AT_ONCE)
            self._fetching.reschedule(bound)
        self._stopping = True
        self._change.set()
        self._settler.take_all()
        for desk in self._desks.values():
            desk.drain(self._grace)

    async def run(self) -> WorkerReport:
        """
        Work until `drain` is called, or until the source is empty if this was asked for.

        Cancelling stops at once: claims on the wire are cut off and count as delivered, all else is
        handed back as if it had never been taken, as far as the source takes it within a second.

        Raises:
            AuthenticationError: The service does not know us; everything is handed back.
            PermissionDeniedError: The service does not let us; likewise.
            OutageError: The service answered nobody for *outage_patience*; likewise.
            ConnectError: The service's certificate is refused; likewise.
            SourceError: The source cannot be used; what is held stays leased.
            InvalidInputError: It was run before.
        """
        if self._began is not None:
            raise InvalidInputError("a worker runs once; make a new one")
        loop = asyncio.get_running_loop()
        self._began = loop.time()
        try:
            await self._source.open()
            await self._work()
        finally:
            self._ended = loop.time()
            await self._source.close()
        if self._failure is not None:
            raise self._failure
        return self.report

    async def _work(self) -> None:
        async with asyncio.TaskGroup() as group:
            settling = group.create_task(self._guarded(self._settler.run()))
            renewing = group.create_task(self._guarded(self._renew()))
            seconds = _AT_ONCE
            try:
                async with asyncio.TaskGroup() as group_of_claims:
                    group_of_claims.create_task(self._guarded(self._take_in()))
                    for desk in self._desks.values():
                        group_of_claims.create_task(self._guarded(desk.work(self._settle)))
                seconds = max(self._grace, _AT_ONCE)
            finally:  # whoever cancels this wants everything handed back as well
                self._hand_back()
                self._settler.end()
                await self._told_within(seconds, settling)
                renewing.cancel()

    async def _guarded(self, part: Awaitable[None]) -> None:
        """Let what goes wrong in one part of the worker stop all of it, gently."""
        try:
            await part
        except Exception as error:  # noqa: BLE001 - `run` raises it, a group would wrap it
            self._failure = self._failure or error
            self.drain()

    async def _told_within(self, seconds: float, settling: asyncio.Task[None]) -> None:
        """Wait until the source knows of everything; what it does not know by then stays leased."""
        with contextlib.suppress(TimeoutError):
            async with asyncio.timeout(seconds):
                await asyncio.wait([settling])
        settling.cancel()

    # Deliveries come in.

    async def _take_in(self) -> None:
        bound = self._fetching = asyncio.timeout(None)
        try:
            async with bound:
                await self._intake()
        except TimeoutError:
            if not bound.expired():
                raise
        finally:
            self._fetching = None

    async def _intake(self) -> None:
        prefetch, loop = self._prefetch, asyncio.get_running_loop()
        while not self._stopping:
            self._change.clear()
            prefetch.measure(self._decided, loop.time())
            if len(self._held) > prefetch.enough:
                await self._change.wait()
                continue
            came = await self._source.fetch(prefetch.most - len(self._held), _FETCH_WAIT)
            for delivery in came:
                self._accept(delivery)
            if self._settler.full:
                await self._settler.room()
            if self._once and not came and await self._is_over():
                break
        for desk in self._desks.values():
            desk.feed.end()

    async def _is_over(self) -> bool:
        return not self._held and self._settler.idle and await self._source.is_empty()

    def _accept(self, delivery: Delivery) -> None:
        """Put a delivery where it is claimed, or decide about it at once."""
        verdict = decisions.judge_unclaimed(delivery, max_deliveries=self._max_deliveries)
        event = delivery.event
        if verdict is not None or isinstance(event, UnreadableEventError):
            assert verdict is not None  # noqa: S101 - what is unreadable is decided
            self._settler.add(verdict)
            return
        desk = self._desks.get(event.quota if self._by_name else None)
        if desk is None:
            self._settler.add(decisions.unknown_quota(delivery, event.quota))
            return
        if id(event) in self._held:  # of a source that has it twice, or hands it to us again
            delivery.event = event = copy.copy(event)
        self._held[id(event)] = delivery
        desk.feed.put(event)

    # Outcomes go out.

    def _settle(self, outcome: ClaimOutcome) -> Awaitable[None] | None:
        delivery = self._held.pop(id(outcome.request))
        self._decided += 1
        self._settler.add(
            decisions.judge(
                delivery, outcome, max_deliveries=self._max_deliveries, lease=self._source.lease
            )
        )
        if len(self._held) <= self._prefetch.enough:
            self._change.set()
        return self._settler.room() if self._settler.full else None

    def _told(self, settlements: Sequence[Settlement]) -> None:
        self._tally.add(settlements)
        if self._on_settled is None:
            return
        for settlement in settlements:
            try:
                self._on_settled(settlement)
            except Exception:  # noqa: BLE001 - it is our users' code
                _LOG.exception("on_settled raised; the worker goes on")

    def _hand_back(self) -> None:
        unsent: set[int] = set().union(*(desk.unsent() for desk in self._desks.values()))
        for key, delivery in self._held.items():
            self._settler.add(decisions.release(delivery, counted=key not in unsent))
        self._held.clear()

    # Leases.

    async def _renew(self) -> None:
        lost: set[Delivery] = set()  # and still in hand, because they are on the wire
        while True:
            await asyncio.sleep(self._source.lease / 3)
            held = [*self._held.values(), *self._settler.deliveries]
            lost.intersection_update(held)
            if deliveries := [delivery for delivery in held if delivery not in lost]:
                for delivery in await self._source.renew(deliveries):
                    lost.add(delivery)
                    self._lose(delivery)

    def _lose(self, delivery: Delivery) -> None:
        """Let go of a delivery that somebody else has; what is sent already is finished here."""
        self._tally.lost += 1
        event = delivery.event
        if isinstance(event, UnreadableEventError):
            return
        if any(desk.feed.drop(event) for desk in self._desks.values()):
            self._held.pop(id(event), None)
            self._change.set()


def _check_seconds(name: str, value: float) -> None:
    if isinstance(value, bool) or not isinstance(value, int | float) or not value >= 0:
        raise InvalidInputError(f"{name} must be a number of seconds, 0 or more")
