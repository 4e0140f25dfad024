"""A server that says exactly the bytes that a test hands it, and tells what it was sent."""

from __future__ import annotations

import asyncio
import contextlib
import socket
import ssl
import struct
from collections.abc import Awaitable, Callable
from types import TracebackType
from typing import Self

import attrs

__all__ = ["ByteServer", "Exchange", "answer", "http", "until"]


@attrs.define(eq=False)
class Exchange:
    """One request on one connection, and the way to answer it."""

    connection: int
    head: str
    body: bytes
    writer: asyncio.StreamWriter
    reader: asyncio.StreamReader

    @property
    def line(self) -> str:
        """The request line."""
        return self.head.partition("\r\n")[0]

    def field(self, name: str) -> str | None:
        """Give a header field of the request."""
        for line in self.head.split("\r\n")[1:]:
            key, _, value = line.partition(":")
            if key.strip().lower() == name.lower():
                return value.strip()
        return None

    async def say(self, data: bytes) -> None:
        """Send bytes."""
        self.writer.write(data)
        with contextlib.suppress(ConnectionError):
            await self.writer.drain()

    def close(self) -> None:
        """End the connection in order."""
        self.writer.close()

    def reset(self) -> None:
        """Break the connection."""
        sock = self.writer.get_extra_info("socket")
        sock.setsockopt(socket.SOL_SOCKET, socket.SO_LINGER, struct.pack("ii", 1, 0))
        self.writer.transport.abort()

    async def hang(self) -> None:
        """Say nothing until the client leaves."""
        with contextlib.suppress(ConnectionError):
            await self.reader.read()


Answer = Callable[[Exchange], Awaitable[None]]


def http(
    body: bytes = b"", *fields: str, status: str = "200 OK", length: int | None = None
) -> bytes:
    """Write an answer; *length* is what it promises, if not the truth."""
    size = len(body) if length is None else length
    lines = [f"HTTP/1.1 {status}", f"Content-Length: {size}", *fields, "", ""]
    return "\r\n".join(lines).encode() + body


def answer(data: bytes) -> Answer:
    """Answer with these bytes and keep the connection."""
    return lambda exchange: exchange.say(data)


async def until(condition: Callable[[], bool]) -> None:
    """Let the loop run until *condition* holds; the test's time cap bounds it."""
    while not condition():  # noqa: ASYNC110 - what it watches has no event
        await asyncio.sleep(0)


class ByteServer:
    """
    Answers with one step of the script for each request, then with the last one again.

    Attributes:
        seen: Every request, oldest first.
        open: Connections that are open now.
        accepted: Connections ever.
    """

    def __init__(self, *script: Answer, tls: ssl.SSLContext | None = None) -> None:
        self.seen: list[Exchange] = []
        self.open = self.accepted = 0
        self._script = list(script)
        self._tls = tls
        self._tasks: set[asyncio.Task[None]] = set()

    @property
    def url(self) -> str:
        """Where it is reached."""
        scheme = "http" if self._tls is None else "https"
        return f"{scheme}://127.0.0.1:{self.port}"

    async def __aenter__(self) -> Self:
        self._server = await asyncio.start_server(self._serve, "127.0.0.1", 0, ssl=self._tls)
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
        await self._server.wait_closed()

    async def _serve(self, reader: asyncio.StreamReader, writer: asyncio.StreamWriter) -> None:
        task = asyncio.current_task()
        assert task is not None
        self._tasks.add(task)
        self.accepted += 1
        self.open += 1
        try:
            await self._talk(self.accepted, reader, writer)
        except (asyncio.IncompleteReadError, asyncio.CancelledError, ConnectionError):
            pass
        finally:
            self.open -= 1
            self._tasks.discard(task)
            writer.transport.abort()

    async def _talk(
        self, connection: int, reader: asyncio.StreamReader, writer: asyncio.StreamWriter
    ) -> None:
        while not writer.is_closing():
            head = (await reader.readuntil(b"\r\n\r\n")).decode()
            exchange = Exchange(connection, head, b"", writer, reader)
            exchange.body = await reader.readexactly(int(exchange.field("Content-Length") or 0))
            self.seen.append(exchange)
            step = self._script.pop(0) if len(self._script) > 1 else self._script[0]
            await step(exchange)
