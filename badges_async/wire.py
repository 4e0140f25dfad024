"""
The wire lane: a request as one write, its answer read by aiohttp's parser.

Here: connections at rest, the bytes of a request, and whose answer it is that comes back. Not here:
badges, what an error means (`failures`), when this lane is taken (`lanes`), or opening a socket:
aiohttp's connector does that, with its limits, names, addresses and TLS.

What a claim does not need is left out: redirects, cookies, payload classes, traces, request and
response objects. What is used of aiohttp beyond its documentation is this, and no more:

- `BaseConnector.connect(request, traces, timeout)`, and a `ClientRequest` to call it with, which
  also says what a session would put into the head of a request;
- `Connection.protocol`, whose place at the transport is taken here, and its `connection_lost`;
- `BaseProtocol`: what the parser and its stream want of a protocol;
- `HttpResponseParser`: `feed_data`, `feed_eof`, its messages and the `StreamReader` of a body.

All of it is tried once, when this module is imported. Where a piece is missing or works otherwise
the import fails with `ImportError`, and requests take the session lane.
"""

from __future__ import annotations

import asyncio
import inspect
import re
from collections.abc import Callable, Mapping
from types import SimpleNamespace
from typing import Any

import aiohttp
from aiohttp.http import HttpProcessingError
from multidict import CIMultiDict
from yarl import URL

from badges_async.channel import Channel
from badges_async.connector import ATTEMPT, Progress
from badges_async.deadlines import Deadlines
from badges_async.errors import DeadlineError, InvalidInputError
from badges_async.failures import as_ours
from badges_async.masked import SecretBytes
from badges_async.messages import Reply, Request
from badges_async.permits import Permits

__all__ = ["Wire"]

# Seconds that a connection is kept without use; a session's connector has the same.
_KEEP = 15.0
_CONTROL = re.compile(r"[\x00-\x08\x0a-\x1f\x7f\ud800-\udfff]")
# How far an attempt came that began with a connection which had served before.
_ON_AN_OLD_ONE = Progress(connecting=True, connected=True, reused=True)


class Wire:
    """
    Sends requests to one origin over connections of its own.

    It belongs to one event loop. A connection serves one request at a time, the one that served
    last goes first, and one without use for 15 s is ended.

    Args:
        origin: Scheme, host and port.
        connector: Makes the connections, as many at once as its limit; it is closed by `close`.
        fields: Header fields of every request, beside those that a session adds.
        timeout: Its `connect` bounds each new connection.
        wall: Seconds since the epoch.
    """

    def __init__(
        self,
        origin: URL,
        connector: aiohttp.TCPConnector,
        fields: Mapping[str, str],
        *,
        timeout: aiohttp.ClientTimeout,
        deadlines: Deadlines,
        wall: Callable[[], float],
    ) -> None:
        self._loop = deadlines.loop
        self._deadlines = deadlines
        self._wall = wall
        self._origin = origin
        self._connector = connector
        self._places = Permits(connector.limit)
        self._fields = fields
        self._timeout = timeout
        self._where = aiohttp.ClientRequest("GET", origin, loop=self._loop)
        self._idle: list[Channel] = []  # the longest at rest comes first
        self._sweeper: asyncio.TimerHandle | None = None
        self._unwritten: list[tuple[Channel, bytes, asyncio.Future[Reply]]] = []
        self._heads_for: Mapping[str, str] | None = None
        self._heads: tuple[str, str]

    async def send(
        self,
        request: Request,
        headers: Mapping[str, str],
        *,
        seconds: float,
        fresh: bool = False,
        on_sent: Callable[[], None] | None = None,
    ) -> Reply:
        """
        Send once and read the whole answer, as `SessionManager.send` does.

        Cancelling ends the connection; whether the service acted is not known then.

        Raises:
            ConnectError: The service was not reached.
            ConnectionLostError: The connection ended, or broke HTTP, before the answer did.
            DeadlineError: *seconds* passed.
            InvalidInputError: A part of the head would end it early; nothing was sent.
        """
        data = self._render(request, headers)
        ends_at = self._loop.time() + seconds
        if not self._places.take():
            await self._wait_for_place(seconds)
        channel = None if fresh else self._take()
        progress, waiter = _ON_AN_OLD_ONE, None
        try:
            if channel is None:
                progress = Progress(fresh, on_sent)
                channel = await self._connect(progress, seconds)
            elif on_sent is not None:
                on_sent()
            waiter = channel.expect(ends_at)
            if self._places.taken > 1 and on_sent is None:
                self._write_soon(channel, data, waiter)
            else:
                channel.write(data, waiter)
            return await waiter
        except (
            aiohttp.ClientError,
            HttpProcessingError,
            OSError,
            RuntimeError,
            ValueError,
        ) as error:
            failure = as_ours(error, progress, seconds, self._timeout)
            if channel is not None:
                channel.abandon(waiter)  # where it was not what failed
            waiter = None  # it shows aiohttp's error, which quotes the answer
        except BaseException:
            if channel is not None:
                channel.abandon(waiter)
            raise
        finally:
            self._places.release()
        # Raised outside of the handler, so that aiohttp's error is neither its cause nor its
        # context, as in the session lane.
        raise failure

    async def _wait_for_place(self, seconds: float) -> None:
        # Not in the connector's queue: it knows nothing of the connections that come to rest here.
        try:
            with self._deadlines.within(seconds):
                await self._places.wait()
        except TimeoutError:
            raise DeadlineError(f"no free connection within {seconds:.3g} s") from None

    def _rest(self, channel: Channel) -> None:
        """Keep *channel* for the next request."""
        channel.idle_since = self._loop.time()
        self._idle.append(channel)
        if self._sweeper is None:
            self._sweeper = self._loop.call_later(_KEEP, self._sweep)

    async def close(self) -> None:
        """End all connections; requests that are out end with `ConnectionLostError`."""
        if self._sweeper is not None:
            self._sweeper.cancel()
        try:
            await self._connector.close()  # it waits for what it closes, those at rest included
        finally:
            for channel in self._idle:
                channel.drop()
            self._idle.clear()

    def _write_soon(self, channel: Channel, data: bytes, waiter: asyncio.Future[Reply]) -> None:
        """
        Write together with what else is about to be written in this turn of the loop.

        A peer on this machine, such as a proxy beside us, is woken by the first of many writes in
        a row and then finds the others; one by one, each wakes it anew, at a third of what a claim
        costs. Alone, or where it matters when the first byte leaves, nothing waits.
        """
        if not self._unwritten:
            self._loop.call_soon(self._write_all)
        self._unwritten.append((channel, data, waiter))

    def _write_all(self) -> None:
        unwritten, self._unwritten = self._unwritten, []
        for channel, data, waiter in unwritten:
            channel.write(data, waiter)

    def _take(self) -> Channel | None:
        """Give a connection that is at rest, if there is one."""
        idle = self._idle
        while idle:
            channel = idle.pop()
            if channel.is_usable():
                return channel
            channel.drop()
        return None

    def _sweep(self) -> None:
        """End what has been at rest for too long."""
        border = self._loop.time() - _KEEP
        idle = self._idle
        while idle and idle[0].idle_since <= border:
            idle.pop(0).drop()
        self._sweeper = None
        if idle:
            self._sweeper = self._loop.call_at(idle[0].idle_since + _KEEP, self._sweep)

    async def _connect(self, progress: Progress, seconds: float) -> Channel:
        if progress.fresh and self._idle:
            # Those at rest may have all the places that the connector has.
            self._idle.pop(0).drop()
        mark = ATTEMPT.set(progress)
        try:
            with self._deadlines.within(seconds):
                try:
                    connection = await self._connector.connect(self._where, [], self._timeout)
                except TimeoutError:  # not ours: that one is a cancellation until the block ends
                    raise aiohttp.ConnectionTimeoutError from None
        finally:
            ATTEMPT.reset(mark)
        channel = Channel(connection, self._deadlines, self._rest, self._wall)
        channel.take_over()
        return channel

    def _render(self, request: Request, credentials: Mapping[str, str]) -> SecretBytes:
        """Give the bytes of a request, with its credentials."""
        if self._heads_for != credentials:
            self._heads = self._render_heads(credentials)
            self._heads_for = dict(credentials)
        target, body = request.target, request.body
        if target[:1] != "/" or " " in target or not (target.isascii() and target.isprintable()):
            raise InvalidInputError("the target of a request must be percent-encoded")
        if body is None:
            return SecretBytes(f"{request.method} {target}{self._heads[0]}\r\n".encode())
        head = f"{request.method} {target}{self._heads[1]}Content-Length: {len(body)}\r\n\r\n"
        return SecretBytes(head.encode() + body)

    def _render_heads(self, credentials: Mapping[str, str]) -> tuple[str, str]:
        """Give what follows the target, without and with a body: what a session would send."""
        fields = CIMultiDict(self._fields)
        fields.update(credentials)
        plain = self._head(fields)
        fields["Content-Type"] = "application/json"
        return plain, self._head(fields)

    def _head(self, fields: CIMultiDict[str]) -> str:
        request = aiohttp.ClientRequest("GET", self._origin, headers=fields, loop=self._loop)
        lines = [f"{name}: {value}" for name, value in request.headers.items()]
        if any(map(_CONTROL.search, lines)):
            raise InvalidInputError("a header field must not hold control characters")
        return "\r\n".join([" HTTP/1.1", *lines, ""])


def _rehearse() -> None:
    """
    Try what is used of aiohttp's connector and requests beyond their documentation.

    Raises:
        ImportError: It does not work as it is used here.
    """
    loop: Any = SimpleNamespace(get_debug=lambda: False)  # no loop is to be made
    try:
        parameters = [*inspect.signature(aiohttp.BaseConnector.connect).parameters]
        request = aiohttp.ClientRequest("GET", URL("http://x"), headers={"A": "b"}, loop=loop)
        works = parameters == ["self", "req", "traces", "timeout"]
        works &= (request.headers["Host"], request.headers["A"]) == ("x", "b")
    except Exception as error:
        raise ImportError(f"the connector of aiohttp {aiohttp.__version__} has changed") from error
    if not works:
        raise ImportError(f"the connector of aiohttp {aiohttp.__version__} works otherwise")


_rehearse()
