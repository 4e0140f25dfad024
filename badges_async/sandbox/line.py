"""
One request's connection: answers as bytes, and the ways to end it.

Here: bytes and sockets. Not here: what is said (`routes`) or when something breaks (`breakage`).
aiohttp reads the requests; what it would write is written here instead, which gives control of
every byte and costs half.
"""

from __future__ import annotations

import asyncio
import socket
import struct
import time
from email.utils import formatdate
from functools import lru_cache
from http import HTTPStatus
from typing import Any, Never

from aiohttp import HttpVersion11, web

from badges_async.sandbox.answers import JSON, Answer, RawAnswer

__all__ = ["CLOSED", "KEPT", "Line"]

_RESET_ON_CLOSE = struct.pack("ii", 1, 0)
_REASONS = {status.value: status.phrase for status in HTTPStatus}


class _Written(web.StreamResponse):
    """Tells aiohttp that the answer has been written, and whether the connection goes on."""

    def __init__(self, *, keep_alive: bool) -> None:
        super().__init__()
        self._goes_on = keep_alive

    @property
    def keep_alive(self) -> bool | None:
        return self._goes_on

    async def prepare(self, request: web.BaseRequest) -> None:
        """Write nothing."""

    async def write_eof(self, data: bytes = b"") -> None:
        """Write nothing."""


KEPT = _Written(keep_alive=True)
CLOSED = _Written(keep_alive=False)


@lru_cache(maxsize=1)
def _date(second: int) -> str:
    return formatdate(second, usegmt=True)


class Line:
    """The connection that a request came on, until its answer is out."""

    def __init__(self, request: web.BaseRequest, number: int) -> None:
        self.transport: asyncio.Transport | None = request.transport  # None: the client has left
        self.keep_alive = request.keep_alive
        self._bare = request.method == "HEAD"
        self._chunks = request.version >= HttpVersion11
        self._number = number

    def head(self, answer: Answer, length: int | None) -> bytes:
        """Write the head of an answer; without a length, for a body in chunks."""
        kept = "keep-alive" if self.keep_alive else "close"
        lines = [
            f"HTTP/1.1 {answer.status} {_REASONS.get(answer.status, 'Unknown')}",
            f"Date: {_date(int(time.time()))}",
            "Transfer-Encoding: chunked" if length is None else f"Content-Length: {length}",
            f"Connection: {kept}",
            f"X-CAP-REQUEST-ID: {self._number:032x}",
            # Twice, as the service does it.
            "X-Frame-Options: SAMEORIGIN",
            "X-Frame-Options: SAMEORIGIN",
        ]
        if answer.content_type:
            lines.append(f"Content-Type: {answer.content_type}")
        lines += [f"{name}: {value}" for name, value in answer.headers]
        return ("\r\n".join(lines) + "\r\n\r\n").encode()

    def send(self, answer: Answer) -> web.StreamResponse:
        """Send a whole answer; JSON in chunks, as the service does."""
        body = answer.body
        if self._bare or not (self._chunks and body and answer.content_type == JSON):
            self.write(self.head(answer, len(body)) + (b"" if self._bare else body))
        else:
            self.write(b"%b%x\r\n%b\r\n0\r\n\r\n" % (self.head(answer, None), len(body), body))
        return KEPT if self.keep_alive else CLOSED

    def send_raw(self, answer: RawAnswer) -> web.StreamResponse:
        """Send what is no answer, or not one only."""
        self.write(answer.data)
        return self.close() if answer.closes else KEPT

    def write(self, data: bytes) -> None:
        """Send bytes as they are."""
        if self.transport is not None:
            self.transport.write(data)

    def close(self) -> web.StreamResponse:
        """End the connection in order (FIN), after what was written."""
        if self.transport is not None:
            self.transport.close()
        return CLOSED

    async def reset(self) -> web.StreamResponse:
        """Break the connection (RST)."""
        # Two turns of the loop: uvloop sends what was written at the end of one.
        await asyncio.sleep(0)
        await asyncio.sleep(0)
        if self.transport is not None:
            sock: Any = self.transport.get_extra_info("socket")
            if sock is not None:
                sock.setsockopt(socket.SOL_SOCKET, socket.SO_LINGER, _RESET_ON_CLOSE)
            self.transport.abort()
        return CLOSED

    async def hang(self) -> Never:
        """Say nothing until the client leaves or the sandbox closes; both cancel this."""
        while True:
            await asyncio.get_running_loop().create_future()
