"""
A TCP proxy between a client and a service, for what a network does to connections.

Here: links that fall silent, links that are slow. Not here: what is said on them
(`tests.client.byte_server`), or proxies that speak HTTP.
"""

from __future__ import annotations

import asyncio
import contextlib
from types import TracebackType
from typing import Self

from yarl import URL

__all__ = ["Link", "TcpProxy"]

_PIECE = 1 << 14


class Link:
    """
    One connection of a client's, and ours to the service that goes with it.

    Attributes:
        silent: From now on bytes of both sides are taken and dropped, and so is the end of either:
            nobody is told that the link is dead.
        asked: Bytes that came from the client.
        left: The client has ended its side.
    """

    def __init__(self, proxy: TcpProxy) -> None:
        self.silent = False
        self.asked = 0
        self.left = False
        self._proxy = proxy

    async def carry(self, reader: asyncio.StreamReader, writer: asyncio.StreamWriter) -> None:
        """Carry what comes from the service to the client."""
        while data := await reader.read(_PIECE):
            while data and (rate := self._proxy.bytes_per_second) is not None:
                size = max(1, int(rate / 50))
                await asyncio.sleep(size / rate)
                await self._pass_on(data[:size], writer)
                data = data[size:]
            await self._pass_on(data, writer)
        if not self.silent:
            writer.close()

    async def carry_request(
        self, reader: asyncio.StreamReader, writer: asyncio.StreamWriter
    ) -> None:
        """Carry what comes from the client to the service."""
        while data := await reader.read(_PIECE):
            self.asked += len(data)
            await self._pass_on(data, writer)
        self.left = True
        if not self.silent:
            writer.close()

    async def _pass_on(self, data: bytes, writer: asyncio.StreamWriter) -> None:
        if not self.silent:
            writer.write(data)
            await writer.drain()


class TcpProxy:
    """
    Stands before the service at *upstream*.

    Attributes:
        bytes_per_second: How much of the answers each link carries from now on; None for no bound.
        links: All there ever were, oldest first.
    """

    def __init__(self, upstream: str, *, bytes_per_second: float | None = None) -> None:
        self.links: list[Link] = []
        self._upstream = URL(upstream)
        self.bytes_per_second = bytes_per_second
        self._tasks: set[asyncio.Task[None]] = set()

    @property
    def url(self) -> str:
        """Where it is reached."""
        return str(self._upstream.with_port(self.port))

    async def __aenter__(self) -> Self:
        self._server = await asyncio.start_server(self._serve, "127.0.0.1", 0)
        self.port: int = self._server.sockets[0].getsockname()[1]
        return self

    async def __aexit__(
        self,
        kind: type[BaseException] | None,
        error: BaseException | None,
        trace: TracebackType | None,
    ) -> None:
        self._server.close()
        for task in self._tasks:
            task.cancel()
        await asyncio.gather(*self._tasks, return_exceptions=True)

    async def _serve(self, reader: asyncio.StreamReader, writer: asyncio.StreamWriter) -> None:
        task = asyncio.current_task()
        assert task is not None
        self._tasks.add(task)
        self.links.append(link := Link(self))
        host, port = self._upstream.host, self._upstream.port
        theirs, ours = await asyncio.open_connection(host, port)
        try:
            with contextlib.suppress(ConnectionError):
                async with asyncio.TaskGroup() as group:
                    group.create_task(link.carry_request(reader, ours))
                    group.create_task(link.carry(theirs, writer))
        except (asyncio.CancelledError, BaseExceptionGroup):
            pass
        finally:
            self._tasks.discard(task)
            for end in (ours, writer):
                end.transport.abort()
