"""
How many claims of a run are in flight: fewer when a service stops answering in time, then more.

Here: the number, and who waits until it grows. Not here: how fast requests leave (`pace`), or what
a service that answers nobody means (`outage`).

Additive increase, multiplicative decrease, as congestion control has it: a service that is slow
because too much is asked of it at once gets well only when less is.
"""

from __future__ import annotations

import asyncio

__all__ = ["Width"]

_CUT = 0.7


class Width:
    """
    A number of workers from 1 to *most*, which it begins with.

    Attributes:
        now: Workers that may work; those with a smaller number do.
    """

    def __init__(self, most: int) -> None:
        self.now = most
        self._most = most
        self._answers = 0
        self._cut_at = -float("inf")
        self._grown = asyncio.Event()

    def timed_out(self, sent_at: float) -> None:
        """Hear that a request of *sent_at* was not answered in time; a wave of them counts once."""
        if sent_at < self._cut_at:
            return
        self._cut_at = asyncio.get_running_loop().time()
        self.now = max(1, int(self.now * _CUT))
        self._answers = 0

    def answered(self) -> None:
        """Hear of an answer; as many of them as there are workers allow one more."""
        if self.now == self._most:
            return
        self._answers += 1
        if self._answers >= self.now:
            self._set(self.now + 1)

    def open(self) -> None:
        """Let all work: there is nothing more to begin."""
        self._set(self._most)

    async def allows(self, number: int) -> None:
        """Wait until the worker of that *number*, from 0, may work."""
        while number >= self.now:
            await self._grown.wait()

    def _set(self, now: int) -> None:
        self.now = now
        self._answers = 0
        self._grown.set()
        self._grown.clear()
