"""
How many at once: the connection permits of a client.

Here: counting, and a fair queue for whoever comes too late. Not here: what a permit is for.

`asyncio.Semaphore` does the same; taking a free permit from this one costs no coroutine.
"""

from __future__ import annotations

import asyncio
from collections import deque

__all__ = ["Permits"]


class Permits:
    """
    A bounded number of permits, given in the order in which they were asked for.

    Args:
        number: How many there are.

    Attributes:
        taken: How many are taken now.
    """

    def __init__(self, number: int) -> None:
        self.taken = 0
        self._number = number
        self._waiting: deque[asyncio.Future[None]] = deque()

    def take(self) -> bool:
        """Take a permit if one is free, which is so only when nobody waits; say whether."""
        if self.taken < self._number:
            self.taken += 1
            return True
        return False

    async def wait(self) -> None:
        """Wait for a permit. Cancelled while waiting, none is taken."""
        turn = asyncio.get_running_loop().create_future()
        self._waiting.append(turn)
        self._hand_on()
        try:
            await turn
        except asyncio.CancelledError:
            if turn.done() and not turn.cancelled():
                self.release()  # it was handed to us in the same moment
            elif turn in self._waiting:  # a release in the same moment has passed it over
                self._waiting.remove(turn)
            raise

    def release(self) -> None:
        """Give a permit back; whoever has waited longest gets it."""
        self.taken -= 1
        if self._waiting:
            self._hand_on()

    def _hand_on(self) -> None:
        while self.taken < self._number and self._waiting:
            turn = self._waiting.popleft()
            if not turn.done():
                self.taken += 1
                turn.set_result(None)
