"""
A line between a client and a server, which keeps what the server says.

Here: bytes, passed on as they come. So a test sees the very answers that the client got, and the
connections that they came on.
"""

from __future__ import annotations

import asyncio
import contextlib
import re
from types import TracebackType
from typing import Self

import attrs

__all__ = ["Connection", "Tap"]

_HEAD = re.compile(rb"HTTP/1\.1 \d{3} .*?\r\n\r\n", re.DOTALL)


@attrs.define(eq=False)
class Connection:
    """
    One connection of a client.

    Attributes:
        said: What the server has said on it, as bytes.
        ended: Set when the server has closed it.
    """

    said: bytearray = attrs.field(factory=bytearray)
    ended: asyncio.Event = attrs.field(factory=asyncio.Event)

    @property
    def heads(self) -> list[str]:
        """The heads of the server's answers, in small letters."""
        return [head.decode("latin-1").lower() for head in _HEAD.findall(bytes(self.said))]


class Tap:
    """
    Passes connections on to *port*.

    Attributes:
        connections: All that there ever were, oldest first.
    """

    def __init__(self, port: int) -> None:
        self.connections: list[Connection] = []
        self._port = port
        self._tasks: set[asyncio.Task[None]] = set()

    @property
    def url(self) -> str:
        """Where it is reached."""
        return f"http://127.0.0.1:{self._server.sockets[0].getsockname()[1]}"

    @property
    def heads(self) -> list[str]:
        """The heads of all answers, in small letters."""
        return [head for connection in self.connections for head in connection.heads]

    async def __aenter__(self) -> Self:
        self._server = await asyncio.start_server(self._serve, "127.0.0.1", 0)
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
        await self._server.wait_closed()

    async def _serve(self, reader: asyncio.StreamReader, writer: asyncio.StreamWriter) -> None:
        task = asyncio.current_task()
        assert task is not None
        self._tasks.add(task)
        connection = Connection()
        self.connections.append(connection)
        far_reader, far_writer = await asyncio.open_connection("127.0.0.1", self._port)
        listening = asyncio.create_task(_pass_on(reader, far_writer))
        try:
            await _pass_on(far_reader, writer, connection.said)
            connection.ended.set()
        except asyncio.CancelledError:
            pass  # by __aexit__, and by nobody else: a stream's callback must not be cancelled
        finally:
            listening.cancel()
            await asyncio.gather(listening, return_exceptions=True)
            far_writer.transport.abort()
            writer.transport.abort()
            self._tasks.discard(task)


async def _pass_on(
    source: asyncio.StreamReader, target: asyncio.StreamWriter, kept: bytearray | None = None
) -> None:
    """Pass bytes on until *source* ends, and then its end."""
    with contextlib.suppress(ConnectionError):
        while data := await source.read(65_536):
            if kept is not None:
                kept += data
            target.write(data)
            await target.drain()
    target.close()
