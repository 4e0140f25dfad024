"""
A queue for something rationed, in which calls that somebody waits for go ahead of patient ones.

Here: whose turn it is, and the one timer. Not here: what is rationed (`quota`, `pace`).
"""

from __future__ import annotations

import asyncio
from collections import deque
from collections.abc import Callable
from typing import Generic, TypeVar

__all__ = ["Line"]

T = TypeVar("T")

# So many calls that somebody waits for go ahead of a run's claim before it gets its turn.
_LEAD = 3
# A timer may be early, and a wait may be too small for the clock: never in smaller steps.
_GRAIN = 1e-3


class Line(Generic[T]):
    """
    Those who wait for something rationed; calls that somebody waits for go ahead of patient ones.

    Within each of the two the order is that of asking. One timer serves all, so that a waiter that
    is cancelled takes nobody's turn along.

    Args:
        due: Gives the moment when the next one may go, given the present one; None when an event
            and no time brings it on: whoever knows of the event calls `move`.
        take: Takes what is rationed, given the present moment.
        undo: Takes it back: it was handed to somebody who was cancelled in the same moment.
    """

    def __init__(
        self,
        due: Callable[[float], float | None],
        take: Callable[[float], T],
        undo: Callable[[T], None],
    ) -> None:
        self._due = due
        self._take = take
        self._undo = undo
        self._prompt: deque[asyncio.Future[T]] = deque()
        self._patient: deque[asyncio.Future[T]] = deque()
        self._lead = 0
        self._timer: asyncio.TimerHandle | None = None

    async def wait(self, *, patient: bool) -> T:
        """Take a turn. Cancelled while waiting, none is taken."""
        loop = asyncio.get_running_loop()
        if self._next() is None:
            now = loop.time()
            due = self._due(now)
            if due is not None and due <= now:
                return self._take(now)
        turn: asyncio.Future[T] = loop.create_future()
        (self._patient if patient else self._prompt).append(turn)
        self.nudge()
        try:
            return await turn
        except asyncio.CancelledError:
            self._leave(turn)
            raise

    def nudge(self) -> None:
        """Hear that there may be something to wait for now, where there was not even a time."""
        if self._timer is None:
            self.move()

    def move(self) -> None:
        """Let everybody go who may, and set the timer for the next one."""
        self._stop()
        while (queue := self._next()) is not None:
            loop = asyncio.get_running_loop()
            now = loop.time()
            due = self._due(now)
            if due is None:
                return
            if due > now:
                self._timer = loop.call_at(max(due, now + _GRAIN), self.move)
                return
            self._lead = self._lead + 1 if queue is self._prompt and self._patient else 0
            queue.popleft().set_result(self._take(now))

    def _next(self) -> deque[asyncio.Future[T]] | None:
        """Give the queue whose first one is next; None when nobody waits."""
        for queue in (self._prompt, self._patient):
            while queue and queue[0].done():  # cancelled, and not yet told of it
                queue.popleft()
        if self._prompt and not (self._patient and self._lead >= _LEAD):
            return self._prompt
        return self._patient or None

    def _leave(self, turn: asyncio.Future[T]) -> None:
        if not turn.cancelled():
            self._undo(turn.result())
            self.move()
            return
        for queue in (self._prompt, self._patient):
            if turn in queue:
                queue.remove(turn)
        if self._next() is None:
            self._stop()

    def _stop(self) -> None:
        if self._timer is not None:
            self._timer.cancel()
            self._timer = None
