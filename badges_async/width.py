"""
How many claims of a run are in flight: fewer when a service stops answering in time, then more.

Here: a number of places, and who waits for one. A worker holds one while it has a row in hand,
and none while it waits for rows. Not here: how fast requests leave (`pace`), or what
a service that answers nobody means (`outage`).

Additive increase, multiplicative decrease, as congestion control has it: a service that is slow
because too much is asked of it at once gets well only when less is.
"""

from __future__ import annotations

import asyncio
from collections import deque

__all__ = ["Width"]

_CUT = 0.7
# So many times as many answers are needed before as many are tried again as were too many.
_CAREFUL = 16


class Width:
    """
    Places for at most *most* workers, and that many to begin with.

    Attributes:
        now: How many there are.
        taken: How many are taken; when that is more than there are, whoever can leaves.
        is_cut: Whether these are fewer than the most.
    """

    def __init__(self, most: int) -> None:
        self.now = most
        self.is_cut = False
        self._most = most
        self.taken = 0
        self._answers = 0
        self._cut_at = -float("inf")
        self._too_many = 0
        self._waiting: deque[asyncio.Future[None]] = deque()

    def timed_out(self, sent_at: float) -> None:
        """Hear that a request of *sent_at* was not answered in time; a wave of them counts once."""
        if sent_at < self._cut_at:
            return
        self._cut_at = asyncio.get_running_loop().time()
        self._too_many = self.now
        self.now = max(1, int(self.now * _CUT))
        self.is_cut = self.now < self._most
        self._answers = 0

    def answered(self) -> None:
        """Hear of an answer; as many of them as there are places, or more, allow one more."""
        if self.now == self._most:
            return
        self._answers += 1
        careful = self.now + 1 == self._too_many
        if self._answers >= self.now * (_CAREFUL if careful else 1):
            self.now += 1
            self.is_cut = self.now < self._most
            self._answers = 0
            self._wake()

    def take(self) -> None:
        """Take a place, be there one or not."""
        self.taken += 1

    async def enter(self) -> None:
        """Wait for a place. Cancelled while waiting, none is taken."""
        while self.taken >= self.now:
            turn = asyncio.get_running_loop().create_future()
            self._waiting.append(turn)
            try:
                await turn
            except asyncio.CancelledError:
                if turn.done() and not turn.cancelled():
                    self._wake()  # the place we were woken for is somebody else's now
                raise
        self.take()

    def leave(self) -> None:
        """Give a place back."""
        self.taken -= 1
        self._wake()

    def _wake(self) -> None:
        while self._waiting and self.taken < self.now:
            turn = self._waiting.popleft()
            if not turn.done():
                turn.set_result(None)
                return
