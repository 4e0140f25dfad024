"""
A source in memory: for tests, and for events that another broker delivers.

Here: leases, retries and dead letters in one process. Not here: anything that outlives it; a broker
in front (Kafka, RabbitMQ, NATS) keeps an event until `MemorySource.submit` has told what became of
it.
"""

from __future__ import annotations

import asyncio
from collections import deque
from collections.abc import Sequence
from typing import Self

import attrs

from badges_async import InvalidInputError
from badges_async.worker.errors import SourceError
from badges_async.worker.events import ClaimEvent, UnreadableEventError
from badges_async.worker.source import Delivery, Settlement, Verdict

__all__ = ["MemorySource"]


@attrs.define(eq=False)
class _Entry:
    """
    One event, waiting or handed out.

    Attributes:
        free_at: When it may be handed out, in the loop's time; 0.0 for at once.
        holder: Who has it.
        answer: Who waits for what becomes of it.
    """

    event: ClaimEvent | UnreadableEventError
    deliveries: int = 0
    free_at: float = 0.0
    holder: MemorySource | None = None
    answer: asyncio.Future[Settlement] | None = None


@attrs.define(eq=False)
class _Store:
    """What siblings share."""

    ready: deque[_Entry] = attrs.field(factory=deque)
    timed: dict[_Entry, None] = attrs.field(factory=dict)  # leased, or put off
    letters: list[Settlement] = attrs.field(factory=list)
    arrivals: list[asyncio.Future[None]] = attrs.field(factory=list)
    open: set[MemorySource] = attrs.field(factory=set)
    ended: bool = False

    def announce(self) -> None:
        """Let everybody look again."""
        for arrival in self.arrivals:
            if not arrival.done():
                arrival.set_result(None)


class MemorySource:
    """
    Events in this process, handed out as a real engine does it: leased, and at least once.

    `put` leaves an event here; `submit` waits for what becomes of it. Everything belongs to one
    event loop.

    Args:
        lease: Seconds for which a delivery belongs to whoever got it, unless it is renewed.
        most: Events that wait at the most; `put` and `submit` wait for room.
    """

    def __init__(self, *, lease: float = 60.0, most: int = 10_000) -> None:
        if not lease > 0 or most < 1:
            raise InvalidInputError("lease must be above 0 seconds, and most at least 1")
        self._lease = lease
        self._most = most
        self._store = _Store()

    @property
    def lease(self) -> float:
        """Seconds."""
        return self._lease

    @property
    def letters(self) -> list[Settlement]:
        """The dead letters of events that nobody waits for; take out what is dealt with."""
        return self._store.letters

    def sibling(self) -> Self:
        """Give another consumer of the same events, as a second worker has it."""
        other = type(self)(lease=self._lease, most=self._most)
        other._store = self._store  # noqa: SLF001 - its own kind
        return other

    async def put(self, event: ClaimEvent | bytes) -> None:
        """Leave an event, or a message of one, when there is room."""
        await self._enter(_Entry(_read(event)))

    async def submit(self, event: ClaimEvent | bytes) -> Settlement:
        """
        Leave an event and wait for its end: settled, or a dead letter.

        Cancelled while nobody has it, the event is withdrawn; else its claim goes on.

        Raises:
            SourceError: The worker, of several the last one, has ended before; the event is
                withdrawn, and whoever delivered it keeps it.
        """
        entry = _Entry(_read(event), answer=asyncio.get_running_loop().create_future())
        await self._enter(entry)
        assert entry.answer is not None  # noqa: S101 - made above
        try:
            return await entry.answer
        except BaseException:
            self._withdraw(entry)
            raise

    # What a worker does, see `Source`.

    async def open(self) -> None:
        """See `Source`."""
        self._store.open.add(self)
        self._store.ended = False

    async def fetch(self, most: int, wait: float) -> list[Delivery]:
        """See `Source`."""
        loop = asyncio.get_running_loop()
        deadline = loop.time() + wait
        while most > 0:
            taken = self._take(most, loop.time())
            if taken or loop.time() >= deadline:
                return taken
            await self._something(deadline)
        return []

    async def renew(self, deliveries: Sequence[Delivery]) -> Sequence[Delivery]:
        """See `Source`."""
        until = asyncio.get_running_loop().time() + self._lease
        lost = []
        for delivery in deliveries:
            entry: _Entry = delivery.receipt
            if entry.holder is self:
                entry.free_at = until
            elif entry.holder is not None:
                lost.append(delivery)
        return lost

    async def settle(self, settlements: Sequence[Settlement]) -> None:
        """See `Source`."""
        for settlement in settlements:
            self._settle(settlement)
        self._store.announce()

    async def is_empty(self) -> bool:
        """See `Source`."""
        return not (self._store.ready or self._store.timed)

    async def close(self) -> None:
        """See `Source`; when no sibling is open any more, whoever waits in `submit` is told."""
        store = self._store
        store.open.discard(self)
        store.ended = not store.open
        if store.ended:
            for entry in (*store.ready, *store.timed):
                if entry.answer is not None and not entry.answer.done():
                    entry.answer.set_exception(SourceError("the worker has ended before the claim"))
                    entry.holder = None
        store.announce()

    def _take(self, most: int, now: float) -> list[Delivery]:
        store, taken = self._store, []
        due = [entry for entry in store.timed if entry.free_at <= now][:most]
        while store.ready and len(due) < most:
            due.append(store.ready.popleft())
        for entry in due:
            store.timed.pop(entry, None)  # it goes to the end
            store.timed[entry] = None
            entry.holder, entry.free_at = self, now + self._lease
            entry.deliveries += 1
            taken.append(Delivery(entry.event, entry, entry.deliveries))
        if taken:
            store.announce()
        return taken

    def _settle(self, settlement: Settlement) -> None:
        entry: _Entry = settlement.delivery.receipt
        verdict = settlement.verdict
        if entry not in self._store.timed:
            return
        if verdict is Verdict.SETTLE or (verdict is Verdict.BURY and entry.holder is self):
            del self._store.timed[entry]
            entry.holder = None
            self._answer(entry, settlement)
        elif entry.holder is self:
            entry.holder = None
            entry.free_at = asyncio.get_running_loop().time() + settlement.delay
            entry.deliveries -= verdict is Verdict.RELEASE and not settlement.counted

    def _answer(self, entry: _Entry, settlement: Settlement) -> None:
        if entry.answer is None:
            if settlement.verdict is Verdict.BURY:
                self._store.letters.append(settlement)
        elif not entry.answer.done():
            entry.answer.set_result(settlement)

    async def _enter(self, entry: _Entry) -> None:
        store = self._store
        while not (store.ended and entry.answer is not None):
            if len(store.ready) < self._most:
                store.ready.append(entry)
                store.announce()
                return
            await self._something(None)
        raise SourceError("the worker has ended")

    def _withdraw(self, entry: _Entry) -> None:
        if entry in self._store.ready:
            self._store.ready.remove(entry)
            self._store.announce()
        elif entry.holder is None:
            self._store.timed.pop(entry, None)

    async def _something(self, deadline: float | None) -> None:
        """Wait until events came or went or, before the deadline, one can be handed out again."""
        loop = asyncio.get_running_loop()
        arrival: asyncio.Future[None] = loop.create_future()
        timer = None
        if deadline is not None:
            moment = min((entry.free_at for entry in self._store.timed), default=deadline)
            timer = loop.call_at(min(moment, deadline), _end, arrival)
        self._store.arrivals.append(arrival)
        try:
            await arrival
        finally:
            self._store.arrivals.remove(arrival)
            if timer is not None:
                timer.cancel()


def _end(arrival: asyncio.Future[None]) -> None:
    if not arrival.done():
        arrival.set_result(None)


def _read(event: ClaimEvent | bytes) -> ClaimEvent | UnreadableEventError:
    if isinstance(event, ClaimEvent):
        return event
    try:
        return ClaimEvent.parse(event)
    except UnreadableEventError as error:
        return error
