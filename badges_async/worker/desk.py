"""
One client and the events that it claims: a bulk run without an end, fed as events come.

Here: events on their way into a run, and the run. Not here: where they come from (`worker`), what
is made of an outcome (`decisions`).
"""

from __future__ import annotations

import asyncio
from collections import deque
from collections.abc import Awaitable, Callable

from badges_async import BadgesClient, BulkRun, ClaimOutcome
from badges_async.worker.events import ClaimEvent

__all__ = ["Desk", "Feed"]


class Feed:
    """An async iterator over the events that were put in; `end` ends it, and drops none."""

    def __init__(self) -> None:
        self._events: deque[ClaimEvent] = deque()
        self._ended = False
        self._arrival: asyncio.Future[None] | None = None

    @property
    def events(self) -> list[ClaimEvent]:
        """Those that nobody has taken."""
        return list(self._events)

    def put(self, event: ClaimEvent) -> None:
        """Add an event."""
        self._events.append(event)
        self._announce()

    def drop(self, event: ClaimEvent) -> bool:
        """Take an event out again; False when somebody has taken it."""
        try:
            self._events.remove(event)
        except ValueError:
            return False
        return True

    def end(self) -> None:
        """Say that nothing more comes."""
        self._ended = True
        self._announce()

    def take_ready(self) -> ClaimEvent | None:
        """Give the next event if it is at hand; see `BadgesClient.claim_many`."""
        return self._events.popleft() if self._events else None

    def __aiter__(self) -> Feed:
        return self

    async def __anext__(self) -> ClaimEvent:
        while not self._events:
            if self._ended:
                raise StopAsyncIteration
            self._arrival = asyncio.get_running_loop().create_future()
            try:
                await self._arrival
            finally:
                self._arrival = None
        return self._events.popleft()

    def _announce(self) -> None:
        if self._arrival is not None and not self._arrival.done():
            self._arrival.set_result(None)


class Desk:
    """
    Claims what is put into its feed.

    Args:
        concurrency: Claims in flight at the most.
        patience: Seconds without an answer to anyone, after which it gives up.
    """

    def __init__(self, client: BadgesClient, *, concurrency: int, patience: float) -> None:
        self.feed = Feed()
        self._client = client
        self._concurrency = concurrency
        self._patience = patience
        self._run: BulkRun | None = None
        self._grace: float | None = None

    @property
    def in_flight(self) -> int:
        """Requests on the wire now."""
        return 0 if self._run is None else self._run.in_flight

    @property
    def waiting_for_service(self) -> bool:
        """Whether the service is taken to be down, and only probes are sent."""
        return self._run is not None and self._run.waiting_for_service

    async def work(self, settle: Callable[[ClaimOutcome], Awaitable[None] | None]) -> None:
        """
        Claim until the feed ends or `drain` is called.

        Args:
            settle: Told each outcome; what it gives is waited for before the next one.

        Raises:
            BadgesError: What ended the run, see `BulkRun`.
        """
        run = self._client.claim_many(
            self.feed, concurrency=self._concurrency, outage_patience=self._patience
        )
        async with run as outcomes:
            self._run = run
            if self._grace is not None:
                run.drain(grace=self._grace)
            async for outcome in outcomes:
                later = settle(outcome)
                if later is not None:
                    await later

    def drain(self, grace: float) -> None:
        """Send nothing new; what is on the wire may finish within *grace* seconds."""
        self._grace = grace
        if self._run is not None:
            self._run.drain(grace=grace)

    def unsent(self) -> set[int]:
        """Give the events that were never sent, by their identity; known when `work` has ended."""
        unsent = {id(event) for event in self.feed.events}
        if self._run is not None:
            unsent.update(id(asked) for asked in self._run.unsettled)
            unsent.difference_update(id(asked) for asked in self._run.in_doubt)
        return unsent
