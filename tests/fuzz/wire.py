"""
Any bytes from a service, in any pieces: what the wire makes of them.

Here: the shipped `Wire` over a transport that says what the fuzzer drew, on the virtual clock, and
what must hold of the answer, of the next one, and of what is left. aiohttp's parser is below it; as
C it is not watched, but all that it can say to us is.
"""

from __future__ import annotations

import asyncio
import gzip
from collections.abc import Iterable
from typing import Any

import aiohttp
from yarl import URL

from badges_async import TransportError
from badges_async.connector import ATTEMPT
from badges_async.deadlines import Deadlines
from badges_async.messages import MOST_BYTES, Reply, Request
from badges_async.wire import Wire
from tests.answers import CLAIM_CASES, EVERYWHERE
from tests.client.byte_server import http
from tests.fuzz import answers
from tests.virtual_clock import run_virtually

__all__ = ["WORDS", "seeds", "target"]

_SECONDS = 10.0
_MOST_PIECES = 64
_STAYS = 2  # how a service ends that leaves the connection open
_NEXT = b"the next one"
_REQUEST = Request("claim", "b", "POST", "/b/claim", b"{}")

WORDS = (
    *(
        b"HTTP/1.1 200 OK\r\n",
        b"HTTP/1.0 200 OK\r\n",
        b"HTTP/1.1 100 Continue\r\n\r\n",
        b"\r\n\r\n",
    ),
    *(b"Content-Length: ", b"Transfer-Encoding: chunked\r\n", b"Connection: close\r\n", b"101"),
    *(b"Connection: keep-alive\r\n", b"Content-Encoding: gzip\r\n", b"Upgrade: h2c\r\n", b"204"),
    *(b"Connection: upgrade\r\n", b"Content-Encoding: deflate\r\n", b"0\r\n\r\n", b"2\r\n{}\r\n"),
    *(b"304", b"\x1f\x8b\x08", b"Retry-After: 1\r\n", b"Trailer: X\r\n", b"HTTP/1.1 103 X\r\n"),
)


def target(data: bytes) -> None:
    """
    Let a service say *data*: a byte for how it ends, one for the size of its pieces, the rest.

    The first byte: 0 ends the connection, 1 resets it, 2 leaves it open; and so on, by threes. The
    second: 0 for one piece, else so many bytes each.
    """
    end, size, said = data[0] % 3 if data else 0, data[1] if len(data) > 1 else 0, data[2:]
    step = max(size, -(-len(said) // _MOST_PIECES)) if size else len(said)
    pieces = [said[begin : begin + step] for begin in range(0, len(said), step or 1)]
    reply = run_virtually(lambda: _ask(pieces, end))
    if reply is not None:
        _check_reply(reply)


async def _ask(pieces: list[bytes], end: int) -> Reply | None:
    """Ask twice; give what came of the first, None where that is a good error."""
    loop = asyncio.get_running_loop()
    service = _Service(pieces, end)
    connector: Any = service  # all of one that the wire uses
    deadlines = Deadlines(loop)
    wire = Wire(
        URL("http://127.0.0.1"),
        connector,
        {},
        timeout=aiohttp.ClientTimeout(connect=5.0),
        deadlines=deadlines,
        wall=lambda: 1e9,
    )
    reply = None
    try:
        reply = await wire.send(_REQUEST, {}, seconds=_SECONDS)
    except TransportError as error:
        _check_error(error)
        waited = loop.time() - service.began
        assert waited <= _SECONDS
        assert end == _STAYS or waited < _SECONDS, "the end of its connection was not heard"
    await service.said
    for _ in range(5):  # the end of a connection is heard a turn later
        await asyncio.sleep(0)
    # Nothing of all this is anybody's answer.
    after = await wire.send(_REQUEST, {}, seconds=_SECONDS)
    assert (after.status, after.body) == (200, _NEXT)
    assert after.headers == {"Content-Length": str(len(_NEXT))}
    await wire.close()
    deadlines.close()
    await asyncio.sleep(0)
    assert not any(connection.is_open for connection in service.connections)
    assert not deadlines._open  # noqa: SLF001 - nobody is waited for
    assert wire._places.taken == 0  # noqa: SLF001
    return reply


def _check_error(error: TransportError) -> None:
    assert error.maybe_applied, "its bytes have left"
    assert str(error).isprintable()


def _check_reply(reply: Reply) -> None:
    assert len(reply.body) <= MOST_BYTES
    assert reply.complete or len(reply.body) == MOST_BYTES
    head = "".join(f"{name}: {value}\n" for name, value in reply.headers.items())
    first = f"{reply.status}{'' if reply.complete else '-'}\n{head}\n"
    answers.target(first.encode("utf-8", "surrogateescape") + reply.body)


class _Service:
    """Stands for a connector and for the service at the other end of its connections."""

    limit = 2

    def __init__(self, pieces: list[bytes], end: int) -> None:
        loop = asyncio.get_running_loop()
        self.pieces = pieces
        self.end = end
        self.began = loop.time()
        self.said = loop.create_future()
        self.connections: list[_Connection] = []

    async def connect(self, *_: object) -> _Connection:
        progress = ATTEMPT.get()
        progress.connecting = progress.connected = True
        self.connections.append(_Connection(self))
        return self.connections[-1]

    async def close(self) -> None:
        for connection in self.connections:
            connection.close()


class _Connection(asyncio.Transport):
    """A connection, its transport, and the protocol that aiohttp would have there, all in one."""

    should_close = False

    def __init__(self, service: _Service) -> None:
        super().__init__()
        self.is_open = True
        self.transport = self.protocol = self
        self._service = service
        self._theirs: Any = None
        self._to_say: list[bytes] = []
        self._paused = False

    def set_protocol(self, protocol: asyncio.BaseProtocol) -> None:
        self._theirs = protocol

    def connection_lost(self, _: BaseException | None) -> None:
        """Hear it in the place of aiohttp's protocol."""

    def is_closing(self) -> bool:
        return not self.is_open

    def get_write_buffer_size(self) -> int:
        return 0

    def pause_reading(self) -> None:
        self._paused = True

    def resume_reading(self) -> None:
        self._paused = False

    def abort(self) -> None:
        self.close()

    def close(self) -> None:
        self._lose(None)

    def write(self, data: Any) -> None:  # noqa: ARG002 - every write is a request
        service, loop = self._service, asyncio.get_running_loop()
        if service.said.done() or self is not service.connections[0]:
            loop.call_soon(self._theirs.data_received, http(_NEXT))
            return
        self._to_say = [*service.pieces]
        loop.call_soon(self._say)

    def _say(self) -> None:
        """Say a piece in each turn of the loop; to a client that has left, no more of them."""
        said, loop = self._service.said, asyncio.get_running_loop()
        if self.is_open and self._paused:
            loop.call_later(1.0, self._say)
        elif self.is_open and self._to_say:
            self._theirs.data_received(self._to_say.pop(0))
            loop.call_soon(self._say)
        elif not said.done():
            if self._service.end != _STAYS:
                self._lose(ConnectionResetError(104, "reset") if self._service.end else None)
            said.set_result(None)

    def _lose(self, error: Exception | None) -> None:
        if self.is_open:
            self.is_open = False
            asyncio.get_running_loop().call_soon(self._theirs.connection_lost, error)


def seeds() -> Iterable[bytes]:
    """Give answers in all the ways that HTTP has to say where one ends, whole and in pieces."""
    for case in (*CLAIM_CASES[:6], *EVERYWHERE[:6]):
        yield b"\0\0" + http(case.body, status=f"{case.status} X")
    packed = gzip.compress(b'{"data": null}' * 20, mtime=0)
    head, chunked = b"HTTP/1.1 200 OK\r\n", b"Transfer-Encoding: chunked\r\n\r\n"
    for said in (
        http(b"{}", "Connection: close"),
        head + chunked + b"2;a=b\r\n{}\r\n0\r\nRetry-After: 7\r\n\r\n",
        http(packed, "Content-Encoding: gzip"),
        head
        + b"Content-Encoding: gzip\r\n"
        + chunked
        + b"%x\r\n%s\r\n0\r\n\r\n" % (len(packed), packed),
        http(gzip.compress(bytes(MOST_BYTES + 1), mtime=0), "Content-Encoding: gzip"),
        b"HTTP/1.1 103 X\r\nLink: x\r\n\r\n" + http(b"{}", "Retry-After: 7"),
        b"HTTP/1.1 101 X\r\nUpgrade: h2c\r\nConnection: upgrade\r\n\r\n" + http(b"{}"),
        b"HTTP/1.1 204 X\r\n\r\n",
        b"HTTP/1.0 200 OK\r\n\r\n{}",
        head + b"\r\n{}",
        http(b"{}") * 2,
        http(b"{}") + b"rubbish",
        http(b"{}", length=9),
        head + b"Content-Length: 2\r\nX: a\0b\r\n\r\n{}",
    ):
        for how in (b"\0\0", b"\1\0", b"\2\0", b"\2\7"):
            yield how + said
    for said in (b"", head[:9], head, head + b"Content-Length: 2\r\n\r\n{"):
        yield b"\0\0" + said
        yield b"\1\0" + said
    well = http(b"{}")
    yield b"\2\0" + well + head[:9]
    for more in (well, head[:9]):  # it comes when nobody waits
        yield bytes([2, len(well)]) + well + more
    yield b"\2\0" + head + chunked + b"1\r\nx\r\n" * 5000
