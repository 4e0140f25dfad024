"""
Gateways as models, and workers that send to them as fast as gate, pace and quota let them.

Here: what counts arrivals and refuses what is too much, on the virtual clock, and `Load`, which is
the dispatcher's part without a dispatcher. Not here: a whole client (`tests.client.scripted`).
"""

from __future__ import annotations

import asyncio
import math
import random
from collections import deque

import attrs

from badges_async.gate import Gate
from badges_async.pace import Pace
from badges_async.quota import Quota, WindowLimiter
from tests.virtual_clock import START, now

__all__ = ["Bucket", "FixedWindows", "Gateway", "Load", "ShutForTenMinutes", "Unlimited"]


@attrs.define(eq=False)
class Gateway:
    """Counts arrivals in a sliding window; 429s do not count. It may say when there is room."""

    limit: int
    per: float = 60.0
    explains: bool = True
    _admitted: deque[float] = attrs.field(factory=deque, init=False)

    def admit(self) -> float | None:
        """Admit an arrival and give None, or give the seconds until there is room."""
        log, moment = self._admitted, now()
        while log and log[0] + self.per <= moment:
            log.popleft()
        if len(log) >= self.limit:
            return log[len(log) - self.limit] + self.per - moment
        log.append(moment)
        return None


@attrs.define(eq=False)
class FixedWindows(Gateway):
    """Counts from full minute to full minute, or whatever the window is."""

    phase: float = 0.0
    _window: float = attrs.field(default=0.0, init=False)
    _count: int = attrs.field(default=0, init=False)

    def admit(self) -> float | None:
        since = now() - START + self.phase
        window = math.floor(since / self.per)
        if window != self._window:
            self._window, self._count = window, 0
        if self._count >= self.limit:
            return (window + 1) * self.per - since
        self._count += 1
        return None


@attrs.define(eq=False)
class Bucket(Gateway):
    """Fills evenly; what it holds may go at once."""

    _held: float = attrs.field(default=math.inf, init=False)
    _at: float = attrs.field(default=START, init=False)

    def admit(self) -> float | None:
        moment, rate = now(), self.limit / self.per
        self._held = min(self.limit, self._held + (moment - self._at) * rate)
        self._at = moment
        if self._held < 1:
            return (1 - self._held) / rate
        self._held -= 1
        return None


@attrs.define(eq=False)
class Unlimited(Gateway):
    """Has no limit, but refuses some, by chance or at first."""

    limit: int = 0
    stray: float = 0.0
    opens: float = 0.0
    once: float = math.inf
    chance: random.Random = attrs.field(factory=lambda: random.Random(7))  # noqa: S311 - a model

    def admit(self) -> float | None:
        since = now() - START
        if since >= self.once:
            self.once = math.inf
            return 1.0
        if since < self.opens:
            return self.opens - since
        return 1.0 if self.chance.random() < self.stray else None


@attrs.define(eq=False)
class ShutForTenMinutes(Gateway):
    """Refuses everything in the second quarter of an hour, for ten minutes."""

    def admit(self) -> float | None:
        since = now() - START
        return 1500 - since if 900 <= since < 1500 else super().admit()


@attrs.define(eq=False)
class Load:
    """
    Workers that send through one gate, one pace and one quota, as the dispatcher does.

    Attributes:
        jitter: Seconds that each way may take longer.
        accepted, refused: When requests arrived, in seconds from the start.
        answered: When the last answer came.
    """

    gateway: Gateway
    workers: int = 16
    latency: float = 0.05
    quota: Quota | None = None
    jitter: float = 0.0
    seed: int = 1
    accepted: list[float] = attrs.field(factory=list, init=False)
    refused: list[float] = attrs.field(factory=list, init=False)
    answered: float = attrs.field(default=0.0, init=False)
    gate: Gate = attrs.field(init=False)
    pace: Pace = attrs.field(init=False)
    limiter: WindowLimiter | None = attrs.field(init=False)
    chance: random.Random = attrs.field(init=False)

    def __attrs_post_init__(self) -> None:
        self.chance = chance = random.Random(self.seed)  # noqa: S311 - jitter
        self.gate = Gate(chance)
        self.pace = Pace(self.gate, chance, self.quota)
        self.limiter = WindowLimiter(self.quota) if self.quota is not None else None

    async def claims(self, number: int) -> None:
        """Send until so many have been accepted."""
        rows = iter(range(number))

        async def work() -> None:
            for _ in rows:
                while not await self.attempt():
                    pass

        await asyncio.gather(*(work() for _ in range(self.workers)))

    async def seconds(self, seconds: float) -> None:
        """Send for so long."""

        async def work() -> None:
            while True:
                await self.attempt()

        tasks = [asyncio.create_task(work()) for _ in range(self.workers)]
        await asyncio.sleep(seconds)
        for task in tasks:
            task.cancel()
        ends = await asyncio.gather(*tasks, return_exceptions=True)
        assert all(isinstance(end, asyncio.CancelledError) for end in ends)

    async def attempt(self) -> bool:
        """Send one request when that is allowed, and say whether it was accepted."""
        await self._admit()
        sent_at = now()
        await self._travel()
        room_in = self.gateway.admit()
        (self.accepted if room_in is None else self.refused).append(now() - START)
        await self._travel()
        self.answered = now() - START
        if room_in is None:
            self.pace.accepted(sent_at)
            return True
        self.pace.refused(sent_at, math.ceil(room_in) if self.gateway.explains else None)
        return False

    async def _travel(self) -> None:
        await asyncio.sleep(
            self.latency / 2 + (self.jitter and self.chance.uniform(0, self.jitter))
        )

    async def _admit(self) -> None:
        while True:
            await self.gate.opened()
            if not self.pace.free:
                await self.pace.turn(patient=True)
            slot = await self.limiter.acquire(patient=True) if self.limiter else None
            if not self.gate.remaining():
                break
            if self.limiter and slot:
                self.limiter.give_back(slot)
        self.pace.sent()
        if self.limiter and slot:
            self.limiter.sent(slot)

    def taken(self, start: float = 0.0, end: float = math.inf) -> int:
        """Count what was accepted in a time."""
        return sum(start <= moment < end for moment in self.accepted)

    def share_refused(self, start: float = 0.0, end: float = math.inf) -> float:
        """Give the share of requests that were refused in a time."""
        refused = sum(start <= moment < end for moment in self.refused)
        return refused / max(self.taken(start, end) + refused, 1)
