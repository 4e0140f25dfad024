"""
Who waits for a place in the fleet's quota, and the places that are at hand for them.

Here: whose turn it is, and when a place is due. Not here: where places come from (`fleet_quota`).
"""

from __future__ import annotations

import asyncio
from collections import deque
from collections.abc import Callable

import attrs

from badges_async import BadgesError, Slot

__all__ = ["Place", "Waiting"]

# So many calls that somebody waits for go ahead of a run's claim before it gets its turn.
_LEAD = 3
# A timer may be early, and a wait may be too small for the clock: never in smaller steps.
_GRAIN = 1e-3


@attrs.define(eq=False, kw_only=True)
class Place(Slot):
    """
    A place in the log.

    Attributes:
        member: What the log knows it by.
        stands_for: The earliest moment that its score in the log can be, in the loop's time: where
            exactly between question and answer the server looked at its clock is not known.
    """

    member: str
    stands_for: float


class Waiting:
    """
    Those who wait for a place; calls that somebody waits for go ahead of patient ones.

    Within each of the two the order is that of asking. Places belong to nobody before they are
    due: whoever is cancelled takes none along.

    Args:
        handed: Told each place that somebody got, in the moment that it is handed over.
        spare: Told each place that nobody waits for, or that has grown stale.
        stale: Seconds after its moment when a place says nothing about now: we were held up.
    """

    def __init__(
        self, handed: Callable[[Place], None], spare: Callable[[Place], None], stale: float
    ) -> None:
        self._handed = handed
        self._spare = spare
        self._stale = stale
        self._prompt: deque[asyncio.Future[Place]] = deque()
        self._patient: deque[asyncio.Future[Place]] = deque()
        self._lead = 0
        self._places: deque[Place] = deque()  # by the time that they are due
        self._timer: asyncio.TimerHandle | None = None

    @property
    def wanted(self) -> int:
        """How many places are missing."""
        return len(self._prompt) + len(self._patient) - len(self._places)

    @property
    def last_due(self) -> float | None:
        """When the last place at hand is due."""
        return self._places[-1].at if self._places else None

    async def wait(self, *, patient: bool) -> Place:
        """Wait for a place. Cancelled while waiting, none is taken."""
        turn: asyncio.Future[Place] = asyncio.get_running_loop().create_future()
        (self._patient if patient else self._prompt).append(turn)
        try:
            return await turn
        except asyncio.CancelledError:
            self._leave(turn)
            raise

    def add(self, places: list[Place]) -> None:
        """Have *places*, none of them due before those at hand."""
        self._places.extend(places)
        self._move()

    def recall(self, before: float) -> None:
        """Let nobody have a place that is due before then."""
        while self._places and self._places[0].at < before:
            self._spare(self._places.popleft())
        self._move()

    def fail(self, error: Callable[[], BadgesError]) -> None:
        """Let everybody who waits fail, and nobody have the places at hand."""
        for queue in (self._prompt, self._patient):
            while queue:
                turn = queue.popleft()
                if not turn.done():
                    turn.set_exception(error())
        self._move()

    def _move(self) -> None:
        """Let everybody go who may, and set the timer for the next one."""
        if self._timer is not None:
            self._timer.cancel()
            self._timer = None
        loop = asyncio.get_running_loop()
        while self._places and (queue := self._next()) is not None:
            now = loop.time()
            if self._places[0].at > now:
                self._timer = loop.call_at(max(self._places[0].at, now + _GRAIN), self._move)
                break
            place = self._places.popleft()
            if now - place.stands_for > self._stale:
                self._spare(place)
                continue
            place.at = now
            self._lead = self._lead + 1 if queue is self._prompt and self._patient else 0
            self._handed(place)
            queue.popleft().set_result(place)
        while self._places and self.wanted < 0:
            self._spare(self._places.pop())

    def _next(self) -> deque[asyncio.Future[Place]] | None:
        """Give the queue whose first one is next; None when nobody waits."""
        for queue in (self._prompt, self._patient):
            while queue and queue[0].done():  # cancelled, and not yet told of it
                queue.popleft()
        if self._prompt and not (self._patient and self._lead >= _LEAD):
            return self._prompt
        return self._patient or None

    def _leave(self, turn: asyncio.Future[Place]) -> None:
        if turn.done() and not turn.cancelled():
            # Handed over in the very moment of being cancelled.
            if turn.exception() is None:
                self._spare(turn.result())
            return
        for queue in (self._prompt, self._patient):
            if turn in queue:
                queue.remove(turn)
        self._move()
