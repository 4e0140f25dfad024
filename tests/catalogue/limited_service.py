"""
A service with a limit, for a whole client on the virtual clock.

Here: a `ScriptedTransport` that asks a gateway of `tests.gateways` whether a request is admitted,
when it arrives, which is not when it left. Not here: how gateways count.
"""

from __future__ import annotations

import asyncio
import math
import random
from typing import Any

from badges_async.messages import Reply
from tests.client.scripted import ScriptedTransport, Sent, refused, well
from tests.gateways import Gateway
from tests.virtual_clock import START, now

__all__ = ["LimitedService"]


class LimitedService(ScriptedTransport):
    """
    Does what is asked of it as often as its gateway admits it, and answers 429 otherwise.

    Args:
        gateway: Counts, and says whether an answer names the time to wait.
        jitter: Seconds that a request may take longer on its way there.

    Attributes:
        admitted, refused: When requests arrived, in seconds from the start.
    """

    def __init__(self, gateway: Gateway, *, jitter: float = 0.0, seed: int = 1) -> None:
        super().__init__(then=self._arrive)
        self.gateway = gateway
        self.admitted: list[float] = []
        self.refused: list[float] = []
        self._jitter = jitter
        self._chance = random.Random(seed)  # noqa: S311 - a network

    def share_refused(self, start: float = 0.0, end: float = math.inf) -> float:
        """Give the share of the requests of a time that were refused."""
        refused, admitted = self._within(self.refused, start, end), self.taken(start, end)
        return refused / max(refused + admitted, 1)

    def taken(self, start: float = 0.0, end: float = math.inf) -> int:
        """Count the requests of a time that were admitted."""
        return self._within(self.admitted, start, end)

    async def _arrive(self, sent: Sent) -> Reply:
        if self._jitter:
            await asyncio.sleep(self._chance.uniform(0.0, self._jitter))
        room_in = self.gateway.admit()
        (self.admitted if room_in is None else self.refused).append(now() - START)
        if room_in is None:
            return well(sent)
        seconds = math.ceil(room_in) if self.gateway.explains else None
        answer: Any = refused(429, 1, retry_after=seconds)(sent)
        assert isinstance(answer, Reply)
        return answer

    @staticmethod
    def _within(moments: list[float], start: float, end: float) -> int:
        return sum(start <= moment < end for moment in moments)
