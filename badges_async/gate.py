"""
The one pause that all calls of a client keep.

Here: when it ends, and waiting for that. Not here: how long a throttle that names no time closes
it, and at which pace calls go on afterwards (`pace`).
"""

from __future__ import annotations

import asyncio
import random
from collections.abc import Callable

__all__ = ["Gate", "within_bounds"]

# The longest pause that one answer can cause; after it a request tests the water.
_LONGEST_PAUSE = 900.0
_SHORTEST_PAUSE = 1.0


def within_bounds(asked: float) -> float:
    """Give the seconds that we wait when the service has *asked* for some."""
    return min(max(asked, _SHORTEST_PAUSE), _LONGEST_PAUSE)


class Gate:
    """
    The one pause that all calls of a client keep: closed by a throttle, reopened by time.

    A pause only ever moves the reopening later. Jitter only adds to what the service asked for.

    Attributes:
        opens_at: When it opens, in the loop's time; 0.0 when it is open for sure.
        on_close: Told the loop's time when it will open, each time that this moves later.
    """

    on_close: Callable[[float], None] | None = None

    def __init__(self, chance: random.Random) -> None:
        self._chance = chance
        self.opens_at = 0.0

    def remaining(self) -> float:
        """Seconds until it opens; 0.0 when it is open."""
        if not self.opens_at:
            return 0.0
        left = self.opens_at - asyncio.get_running_loop().time()
        if left > 0:
            return left
        self.opens_at = 0.0
        return 0.0

    def pause(self, seconds: float) -> None:
        """Close for *seconds*, as the service asked, at least 1 and at most 900."""
        asked = within_bounds(seconds)
        self.hold(asked + self._chance.uniform(0, min(1.0, asked / 10)))

    def hold(self, seconds: float) -> None:
        """Close for *seconds* by our own decision."""
        opens_at = asyncio.get_running_loop().time() + seconds
        if opens_at > self.opens_at and seconds > 0:
            self.opens_at = opens_at
            if self.on_close is not None:
                self.on_close(opens_at)

    def restore(self, opens_at: float) -> None:
        """Keep a pause that an earlier process was told of, at most 900 seconds from now."""
        latest = asyncio.get_running_loop().time() + _LONGEST_PAUSE
        self.opens_at = max(self.opens_at, min(opens_at, latest))

    async def opened(self) -> None:
        """Wait until it is open; a pause that is prolonged meanwhile is kept as well."""
        while (left := self.remaining()) > 0:  # noqa: ASYNC110 - time is what opens it
            await asyncio.sleep(max(left, 1e-3))
