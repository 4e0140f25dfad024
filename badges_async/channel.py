"""
One connection of the wire lane: a request's bytes go out on it, its answer comes back.

Here: whose answer it is, where it ends, and whether the connection is good for another. Not here:
which connection a request takes, or what its bytes are (`wire`). What is used of aiohttp is listed
there, and its parser is tried here, when this module is imported.
"""

from __future__ import annotations

import asyncio
from collections.abc import Callable
from typing import Any

import aiohttp
from aiohttp.base_protocol import BaseProtocol
from aiohttp.connector import Connection
from aiohttp.http import HttpProcessingError, HttpResponseParser

from badges_async.deadlines import Deadlines
from badges_async.messages import MOST_BYTES, Reply

__all__ = ["Channel"]

# A stream stops reading at twice its limit: exactly what is read of an answer.
_STREAM_LIMIT = MOST_BYTES // 2
# The bounds of a session: bytes of a line and of a field, and fields.
_MOST_LINE, _MOST_FIELD, _MOST_FIELDS = 8190, 8190, 128
_INTERIM, _SWITCHING = range(100, 200), 101


class Channel(BaseProtocol):
    """
    A connection, and the one request that is out on it.

    It takes the place of aiohttp's own protocol at the transport and feeds one parser for as long
    as the connection lives, or until an answer in chunks: aiohttp's parser forgets no trailer.
    Bytes that come while nobody waits for an answer end the connection.

    Args:
        connection: Of aiohttp's connector, and ours until it ends.
        deadlines: What bounds a request.
        rest: Told when an answer is complete and the connection is good for another request.
        wall: Seconds since the epoch.

    Attributes:
        ends_at: When the answer must be there, in the loop's time.
        idle_since: When the last answer was complete, likewise.
    """

    __slots__ = (
        "_asked",
        "_connection",
        "_deadlines",
        "_message",
        "_payload",
        "_read",
        "_replaced",
        "_rest",
        "_unclean",
        "_waiter",
        "_wall",
        "ends_at",
        "idle_since",
    )

    def __init__(
        self,
        connection: Connection,
        deadlines: Deadlines,
        rest: Callable[[Channel], None],
        wall: Callable[[], float],
    ) -> None:
        super().__init__(deadlines.loop)
        self._connection = connection
        self._deadlines = deadlines
        self._rest = rest
        self._wall = wall
        self._replaced = connection.protocol
        self._parser: Any = _parser(self, deadlines.loop)
        self._waiter: asyncio.Future[Reply] | None = None
        self._message: Any = None
        self._payload: Any = None
        self._read = b""
        self._asked = False
        self._unclean = False
        self.ends_at = self.idle_since = 0.0

    def take_over(self) -> None:
        """
        Take the place of aiohttp's protocol.

        Raises:
            aiohttp.ServerDisconnectedError: The connection is of no use: it has ended already, or
                the peer spoke before it was asked.
        """
        theirs, transport = self._replaced, self._connection.transport
        if theirs is None or transport is None or transport.is_closing() or theirs.should_close:
            self.drop()
            raise aiohttp.ServerDisconnectedError
        self.transport = transport
        transport.set_protocol(self)

    def is_usable(self) -> bool:
        """Whether a request can be written."""
        transport = self.transport
        return transport is not None and not transport.is_closing()

    def expect(self, ends_at: float) -> asyncio.Future[Reply]:
        """Give the future of the next answer, which nobody else may touch; `write` is to follow."""
        waiter = self._waiter = self._loop.create_future()
        self.ends_at = ends_at
        self._deadlines.add(self)
        return waiter

    def write(self, data: bytes, waiter: asyncio.Future[Reply]) -> None:
        """Write the request that *waiter* is for, unless it is over already."""
        if self._waiter is not waiter or self.transport is None:
            return
        self._asked = True
        try:
            self.transport.write(data)
        except (OSError, RuntimeError) as error:  # of a connection that ended in this very turn
            self._fail(error)

    def expire(self) -> None:
        """Hear that the time is over."""
        self._fail(TimeoutError())

    def abandon(self, waiter: asyncio.Future[Reply] | None) -> None:
        """End the connection, unless it has answered *waiter*: then it is somebody else's now."""
        if waiter is None or self._waiter is waiter:
            self._fail(None)

    def drop(self) -> None:
        """End the connection, whatever is still to be written on it; idempotent."""
        transport = self.transport
        if transport is not None and transport.get_write_buffer_size():
            transport.abort()  # closing would wait for a peer that may never read it
        self._connection.close()

    def data_received(self, data: bytes) -> None:
        """Read on. Bytes for nobody are an answer that came too late, or a broken peer."""
        if not self._asked:
            # Somebody may be about to ask, and must not be given this.
            self._fail(aiohttp.ServerDisconnectedError("it spoke before it was asked"))
            return
        try:
            messages, upgraded, _ = self._parser.feed_data(data)
        except Exception as error:  # noqa: BLE001 - whatever it is: this is no HTTP
            if self._payload is not None and self._payload.is_eof():  # what follows the answer
                self._unclean = True
                self._finish()
                return
            known = isinstance(error, HttpProcessingError)
            self._fail(error if known else HttpProcessingError(message=type(error).__name__))
            return
        for message, payload in messages:
            self._take(message, payload)
        self._unclean |= upgraded  # to another protocol, which nobody asked for
        if self._payload is not None:
            self._look_at(self._payload)

    def connection_lost(self, exc: BaseException | None) -> None:
        """Hear that the connection ended, which is how some answers end."""
        super().connection_lost(exc)
        assert self._replaced is not None  # noqa: S101 - as `take_over` has found
        self._replaced.connection_lost(exc)  # the connector asks it
        if self._waiter is None:
            self.drop()
        elif isinstance(exc, OSError) and self._message is None:
            self._fail(aiohttp.ClientOSError(*exc.args))
        elif exc is not None:
            self._fail(aiohttp.ClientPayloadError(f"the answer is not complete: {exc!r}"))
        else:
            self._hear_end()

    def pause_reading(self) -> None:
        """Read no further; such an answer costs its connection: its parser may stay paused."""
        self._unclean = True
        super().pause_reading()

    def resume_reading(self, resume_parser: bool = True) -> None:  # noqa: FBT001, FBT002 - aiohttp's
        """Do nothing: `_look_at` resumes. A stream asks too soon, or when the connection ends."""

    def _take(self, message: Any, payload: Any) -> None:  # noqa: ANN401 - the parser's
        """Take what the parser found; the first that is not interim is the answer."""
        if self._message is not None:
            self._unclean = True  # one answer too many
        elif message.code not in _INTERIM or message.code == _SWITCHING:
            self._message, self._payload = message, payload

    def _look_at(self, payload: Any) -> None:  # noqa: ANN401 - the parser's
        if payload.is_eof():
            self._finish()
        elif payload.exception() is not None:
            self._fail(payload.exception())
        elif payload.total_bytes > MOST_BYTES:
            self._unclean = True
            self._finish()
        elif self._reading_paused:  # by a great many small parts
            self._read += payload.read_nowait()
            super().resume_reading()  # what is still to be parsed comes to data_received at once

    def _hear_end(self) -> None:
        try:
            self._parser.feed_eof()
        except Exception as error:  # noqa: BLE001 - the parser has several ways to say so
            self._fail(aiohttp.ClientPayloadError(f"the answer is not complete: {error!r}"))
            return
        if self._payload is not None and self._payload.is_eof():
            self._unclean = True
            self._finish()
        else:
            self._fail(aiohttp.ServerDisconnectedError())

    def _finish(self) -> None:
        """Hand the answer over. What it came on is at rest before anybody hears of it."""
        waiter, message, payload = self._waiter, self._message, self._payload
        self._waiter = self._message = self._payload = None
        self._asked = False
        body = payload.read_nowait()
        if self._read:
            body, self._read = self._read + body, b""
        self._deadlines.discard(self)
        if message.should_close or self._unclean or self._paused or not self._is_between_answers():
            self.drop()
        else:
            if message.chunked:  # a trailer's last field would be the next answer's first one
                self._parser = _parser(self, self._loop)
            self._rest(self)
        if waiter is not None and not waiter.done():
            complete = len(body) <= MOST_BYTES
            body = body if complete else body[:MOST_BYTES]
            waiter.set_result(Reply(message.code, message.headers, body, self._wall(), complete))

    def _is_between_answers(self) -> bool:
        """Whether nothing has begun behind the answer; it would be the begin of the next one."""
        try:
            return self._parser.feed_eof() is None
        except Exception:  # noqa: BLE001 # pragma: no cover - the parser as it is gives a message
            return False

    def _fail(self, error: BaseException | None) -> None:
        waiter, self._waiter = self._waiter, None
        self._message = self._payload = None
        self._asked = False
        self._deadlines.discard(self)
        self.drop()
        if error is not None and waiter is not None and not waiter.done():
            waiter.set_exception(error)


def _parser(protocol: BaseProtocol, loop: asyncio.AbstractEventLoop) -> HttpResponseParser:
    return HttpResponseParser(
        protocol,
        loop,
        _STREAM_LIMIT,
        payload_exception=aiohttp.ClientPayloadError,
        read_until_eof=True,
        max_line_size=_MOST_LINE,
        max_field_size=_MOST_FIELD,
        max_headers=_MOST_FIELDS,
    )


def _rehearse() -> None:
    """
    Try what is used of aiohttp beyond its documentation.

    Raises:
        ImportError: It does not work as it is used here.
    """
    loop: Any = object()  # nothing is waited for, and no loop is to be made
    try:
        protocol: Any = BaseProtocol(loop)
        parser = _parser(protocol, loop)
        answer = b"HTTP/1.1 200 OK\r\nContent-Length: 2\r\n\r\n{}"
        [(message, payload)], upgraded, _ = parser.feed_data(answer)
        facts = message.code, message.should_close, upgraded, payload.is_eof(), payload.total_bytes
        works = facts == (200, False, False, True, 2) and payload.exception() is None
        works &= message.chunked is False
        works &= "Content-Length" in message.headers and payload.read_nowait() == b"{}"
        works &= parser.feed_eof() is None
        parser.feed_data(answer[:30])
        works &= parser.feed_eof() is not None
        state = protocol._loop, protocol._paused, protocol._reading_paused  # noqa: SLF001 - its heirs'
        works &= state == (loop, False, False)
        works &= {"close", "protocol", "transport"} <= set(dir(Connection))
    except Exception as error:
        raise ImportError(f"the parser of aiohttp {aiohttp.__version__} has changed") from error
    if not works:
        raise ImportError(f"the parser of aiohttp {aiohttp.__version__} works otherwise")


_rehearse()
