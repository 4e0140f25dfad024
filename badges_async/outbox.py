"""
Where outcomes wait for the consumer of a bulk run: a bounded queue with an end.

Here: handing over, in order, within bounds. Not here: what is handed over.

Leaner than `asyncio.Queue`, which costs a claim twice as much and, on Python 3.11, has no end.
"""

from __future__ import annotations

import asyncio
from collections import deque
from typing import Generic, TypeVar

from badges_async.errors import InvalidInputError

__all__ = ["Outbox"]

T = TypeVar("T")


class Outbox(Generic[T]):
    """
    A queue from many producers to one consumer.

    Args:
        size: Items that wait at the most; a producer then waits too.
    """

    def __init__(self, size: int) -> None:
        self._size = size
        self._items: deque[T] = deque()
        self._ended = False
        self._consumer: asyncio.Future[None] | None = None
        self._producers: deque[asyncio.Future[None]] = deque()

    def offer(self, item: T) -> bool:
        """Hand *item* over if there is room; say whether."""
        if len(self._items) >= self._size:
            return False
        self._items.append(item)
        if self._consumer is not None:
            self._wake_consumer()
        return True

    async def put(self, item: T) -> None:
        """Hand *item* over, when there is room. Cancelled while waiting, it is not handed over."""
        while not self.offer(item):
            turn = asyncio.get_running_loop().create_future()
            self._producers.append(turn)
            try:
                await turn
            except asyncio.CancelledError:
                if turn.done() and not turn.cancelled():
                    self._wake_producer()  # the room we were woken for is somebody else's now
                raise

    async def get(self) -> T | None:
        """
        Give the next item, or None when the end is reached.

        Raises:
            InvalidInputError: Another consumer is waiting.
        """
        if not self._items:
            await self._arrival()
        if not self._items:
            return None
        item = self._items.popleft()
        if self._producers:
            self._wake_producer()
        return item

    async def get_all(self) -> list[T]:
        """
        Give all that waits, at least one item; none when the end is reached.

        Raises:
            InvalidInputError: Another consumer is waiting.
        """
        if not self._items:
            await self._arrival()
        return self.take_all()

    def take_all(self) -> list[T]:
        """Give all that waits, be it nothing."""
        items = list(self._items)
        self._items.clear()
        for _ in items:
            self._wake_producer()
        return items

    def end(self) -> None:
        """Say that nothing more comes; what waits is still given."""
        self._ended = True
        self._wake_consumer()

    async def _arrival(self) -> None:
        """Wait for an item or the end."""
        while not (self._items or self._ended):
            if self._consumer is not None:
                raise InvalidInputError("a bulk run is for one consumer: iterate it in one task")
            self._consumer = asyncio.get_running_loop().create_future()
            try:
                await self._consumer
            finally:
                self._consumer = None

    def _wake_consumer(self) -> None:
        if self._consumer is not None and not self._consumer.done():
            self._consumer.set_result(None)

    def _wake_producer(self) -> None:
        while self._producers:
            turn = self._producers.popleft()
            if not turn.done():
                turn.set_result(None)
                return
