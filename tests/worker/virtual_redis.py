"""
Redis on the virtual clock: fakeredis runs the scripts, and the tests own its clock and its network.

One `VirtualRedis` is a server; each of its `client`s is a connection of its own.
"""

from __future__ import annotations

import asyncio
import time
from collections.abc import Callable, Iterable, Sequence
from random import Random
from types import SimpleNamespace
from typing import Any, cast
from unittest import mock

import fakeredis
from redis.asyncio import Redis
from redis.exceptions import ConnectionError as LostError
from redis.exceptions import ResponseError

from tests.virtual_clock import now

__all__ = ["VirtualRedis", "dice"]

_EPOCH = 1_790_000_000.0


def dice(seed: int) -> Random:
    """Give dice that fall alike each time."""
    return Random(seed)  # noqa: S311 - a simulation's


class VirtualRedis:
    """
    A Redis server.

    Args:
        seed: Decides the delays.
        delay: The longest way there, and the longest way back, in seconds.

    Attributes:
        offset: What its clock shows beside the loop's time.
        away: Whether connections are refused.
        answers_to_lose: So many commands are done, and their answers lost.
        refusal: What it says to every command instead of doing it.
        calls: Scripts that it ran.
        store: What it holds.
    """

    def __init__(self, seed: int = 1, delay: float = 0.0) -> None:
        self.offset = _EPOCH
        self.away = False
        self.answers_to_lose = 0
        self.refusal: str | None = None
        self.calls = 0
        self.store = fakeredis.FakeStrictRedis(server=fakeredis.FakeServer())
        self.delay = delay
        self._dice = dice(seed)

    def client(self) -> Redis:
        """Connect."""
        return cast("Redis", _Client(self))

    def log(self, name: str = "x") -> list[float]:
        """Give the moments of all places in a log, in the loop's time."""
        key = f"{{badges:quota:{name}}}:log"
        places = self.do(lambda: self.store.zrange(key, 0, -1, withscores=True))
        pairs = cast("Iterable[tuple[bytes, float]]", places)
        return [round(score / 1e6 - self.offset, 6) for _, score in pairs]

    def do(self, command: Callable[[], Any]) -> Any:
        """Do a command at the server's time, at once."""
        # Only this long: nothing else is to see that clock.
        with mock.patch.object(time, "time", return_value=now() + self.offset):
            return command()

    async def run(self, command: Callable[[], Any]) -> Any:
        """Do a command that came over the network."""
        await self.travel()
        if self.away:
            raise LostError("Connection refused")
        if self.refusal is not None:
            raise ResponseError(self.refusal)
        reply = self.do(command)
        if self.answers_to_lose:
            self.answers_to_lose -= 1
            raise LostError("Connection reset by peer")
        await self.travel()
        return reply

    async def travel(self) -> None:
        """Take the time that a command needs on its way, or its answer."""
        await asyncio.sleep(self._dice.uniform(0, self.delay))


class _Client:
    def __init__(self, server: VirtualRedis) -> None:
        self._server = server
        self.connection_pool = SimpleNamespace(connection_kwargs={"host": "virtual", "port": 1})

    def register_script(self, text: str) -> Callable[..., Any]:
        script = self._server.store.register_script(text)

        async def run(*, keys: Sequence[str], args: Sequence[str | int]) -> Any:
            def command() -> Any:
                self._server.calls += 1
                return script(keys=list(keys), args=list(args))

            return await self._server.run(command)

        return run

    async def execute_command(self, *words: str) -> Any:
        command: Callable[..., Any] = self._server.store.execute_command
        return await self._server.run(lambda: command(*words))
