"""
Telling the source what is decided, in batches.

Here: how long decisions are gathered, and how many. Not here: what is decided (`decisions`).
"""

from __future__ import annotations

import asyncio
from collections import deque
from collections.abc import Callable, Sequence

from badges_async.worker.source import Delivery, Settlement, Source

__all__ = ["Settler"]

# Seconds; a claim that is decided and not told is repeated when the worker is killed.
_GATHER = 0.02
# Decided and not told while the source is away; more are not taken then.
_MOST = 1024


class Settler:
    """
    Gathers settlements and hands them to *source*.

    Args:
        told: Called with settlements that the source has carried out.
        batch: So many are not gathered any longer.
    """

    def __init__(
        self, source: Source, told: Callable[[Sequence[Settlement]], None], *, batch: int = 128
    ) -> None:
        self._source = source
        self._enough = batch
        self._told = told
        self._waiting: deque[Settlement] = deque()
        self._batch: list[Settlement] = []
        self._ended = False
        self._bounded = True
        self._wake: asyncio.Future[None] | None = None
        self._room: asyncio.Event = asyncio.Event()
        self._room.set()

    @property
    def idle(self) -> bool:
        """Whether the source knows of everything."""
        return not (self._waiting or self._batch)

    @property
    def deliveries(self) -> list[Delivery]:
        """Deliveries that are decided, and not told yet."""
        return [one.delivery for one in (*self._batch, *self._waiting)]

    def add(self, settlement: Settlement) -> None:
        """Take a settlement; after that wait for `room`."""
        self._waiting.append(settlement)
        if self._wake is not None and (
            len(self._waiting) == 1 or len(self._waiting) >= self._enough
        ):
            self._awake()
        if len(self._waiting) >= _MOST and self._bounded:
            self._room.clear()

    @property
    def full(self) -> bool:
        """Whether `room` has to be waited for."""
        return not self._room.is_set()

    async def room(self) -> None:
        """Wait until there is room for more."""
        await self._room.wait()

    def take_all(self) -> None:
        """Let nobody wait for room any more: what is in hand is decided, and nothing is added."""
        self._bounded = False
        self._room.set()

    def end(self) -> None:
        """Say that nothing more comes; `run` ends when the source knows of everything."""
        self._ended = True
        self._awake()

    async def run(self) -> None:
        """
        Hand everything over, until the end.

        Raises:
            SourceError: The source cannot be used; what waits stays leased.
        """
        try:
            while await self._gathered():
                self._batch = list(self._waiting)
                self._waiting.clear()
                self._room.set()
                await self._source.settle(self._batch)
                told, self._batch = self._batch, []
                self._told(told)
        finally:
            self.take_all()  # nobody waits for a source that is given up

    async def _gathered(self) -> bool:
        """Wait until there is something worth a round trip; False at the end."""
        while not self._waiting and not self._ended:
            await self._rest(None)
        if len(self._waiting) < self._enough and not self._ended:
            await self._rest(_GATHER)
        return bool(self._waiting)

    async def _rest(self, seconds: float | None) -> None:
        loop = asyncio.get_running_loop()
        self._wake = loop.create_future()
        timer = None if seconds is None else loop.call_later(seconds, self._awake)
        try:
            await self._wake
        finally:
            self._wake = None
            if timer is not None:
                timer.cancel()

    def _awake(self) -> None:
        if self._wake is not None and not self._wake.done():
            self._wake.set_result(None)
