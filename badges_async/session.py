"""
The session manager: owns one aiohttp session, sends a `Request`, returns a `Reply`.

Here: opening, closing, belonging to one event loop and one process, the deadline of one attempt.
Not here: what aiohttp's errors mean (`failures`), badges, credentials, retries, quotas.
"""

from __future__ import annotations

import asyncio
import logging
import math
import os
import ssl as tls
import time
from collections.abc import Callable, Mapping
from importlib.metadata import version
from types import TracebackType
from typing import Self

import aiohttp
from multidict import CIMultiDict
from yarl import URL

from badges_async.connector import ATTEMPT, Connector, Progress
from badges_async.deadlines import Deadlines
from badges_async.endpoint import read_host
from badges_async.errors import (
    ClientClosedError,
    InvalidInputError,
)
from badges_async.failures import as_ours
from badges_async.messages import Reply, Request
from badges_async.timeouts import Timeout

__all__ = ["SessionManager"]

_LOG = logging.getLogger("badges_async")
_MOST_BYTES = 1 << 20
_LANES = frozenset({"auto", "session", "wire"})
# A peer that never answers the end of a TLS connection must not hold up ours.
_CLOSING_SECONDS = 2.0
# asyncio reads every answer into a new block of 256 KiB. Until a program has given back a larger
# one, glibc asks the kernel for each of them anew: an eighth of what a small request costs.
_LARGER_THAN_A_READ = 1 << 20


class SessionManager:
    """
    Sends requests to one host through one aiohttp session.

    It opens on `ensure_usable`, which the first call does, or on ``async with``, and from then on
    belongs to that event loop and that process. A session that was passed in is used as it is and
    never closed. Redirects are not followed, the environment's proxies and netrc are not read, and
    no cookie is kept.

    Args:
        host: See `endpoint.read_host`.
        timeout: Its `connect` bounds each new connection.
        max_connections: Connections at the same time, at least 1.
        session: Used instead of one of our own. Its connector must allow as many connections as
            are wanted: waiting for one of its slots cannot be told from connecting.
        ssl: What verifies the service; None is the system's own store.
        lane: ``auto`` or ``session``; the wire lane is not part of this version.
        wall: Seconds since the epoch.

    Raises:
        InvalidInputError: One of these makes no sense.
    """

    def __init__(
        self,
        host: str,
        *,
        timeout: Timeout | None = None,
        max_connections: int = 100,
        session: aiohttp.ClientSession | None = None,
        ssl: tls.SSLContext | aiohttp.Fingerprint | None = None,
        lane: str = "auto",
        wall: Callable[[], float] = time.time,
    ) -> None:
        self.base_url = read_host(host)
        self._origin = URL(self.base_url)
        self._max_connections = _check_connections(max_connections)
        self._ssl = _check_ssl(ssl)
        self._wall = wall
        self._lane = _check_lane(lane)
        self._given = session
        self._session: aiohttp.ClientSession | None = None
        self._loop: asyncio.AbstractEventLoop | None = None
        self._deadlines: Deadlines | None = None
        self._process = 0
        self._closed = False
        connect = (timeout or Timeout()).connect
        # Exact, where aiohttp would round bounds above 5 s up to whole seconds; the attempt as a
        # whole is bounded in send(), because aiohttp's total counts the wait for a pool slot.
        self._timeout = aiohttp.ClientTimeout(
            total=None, connect=connect, sock_connect=connect, ceil_threshold=math.inf
        )
        self._headers = {
            "Accept": "application/json",
            "User-Agent": f"badges-async/{version('badges_async')}",
        }
        self._merged_for: Mapping[str, str] | None = None
        self._merged_headers: tuple[CIMultiDict[str], CIMultiDict[str]]

    @property
    def lane(self) -> str:
        """The name of the way that bytes travel."""
        return self._lane

    @property
    def closed(self) -> bool:
        """Whether `close` was called."""
        return self._closed

    async def __aenter__(self) -> Self:
        self.ensure_usable()
        return self

    async def __aexit__(
        self,
        kind: type[BaseException] | None,
        error: BaseException | None,
        trace: TracebackType | None,
    ) -> None:
        await self.close()

    def ensure_usable(self) -> None:
        """
        Open if need be; to be called on the loop that will use it.

        Raises:
            ClientClosedError: It is closed, or belongs to another loop or process, or the session
                that was passed in is closed.
        """
        loop = asyncio.get_running_loop()
        if self._closed:
            raise ClientClosedError("the client is closed; make a new one")
        if self._session is None:
            self._open(loop)
        elif self._process != os.getpid():
            raise ClientClosedError(
                "the client was opened before this process was forked; make one in each process"
            )
        elif self._loop is not loop:
            raise ClientClosedError(
                "the client belongs to another event loop: it was opened on "
                f"{self._loop!r} and is used on {loop!r}; make one for each loop"
            )
        elif self._session.closed:
            raise ClientClosedError("the session that was passed in is closed")

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
        Send once and read the whole answer, within *seconds*.

        Cancelling closes the connection; whether the service acted is not known then.

        Args:
            headers: Credentials, added to what the request needs.
            fresh: Use a new connection, because an idle one was just found stale.
            on_sent: Called when there is a connection and the first byte is about to leave; not
                called where somebody else's session does not tell.

        Raises:
            ConnectError: The service was not reached.
            ConnectionLostError: The connection ended, or broke HTTP, before the answer did.
            DeadlineError: *seconds* passed.
            ClientClosedError: See `ensure_usable`.
        """
        self.ensure_usable()
        progress = Progress(fresh, on_sent)
        mark = ATTEMPT.set(progress)
        try:
            return await self._exchange(request, headers, seconds)
        except (aiohttp.ClientError, OSError, RuntimeError, ValueError) as error:
            failure = as_ours(error, progress, seconds, self._timeout)
        finally:
            ATTEMPT.reset(mark)
        # Raised outside of the handler, so that aiohttp's error, which can hold the request's
        # headers, is neither its cause nor its context.
        raise failure

    async def close(self) -> None:
        """
        Close the session, unless it was passed in; idempotent.

        Only its own event loop and process can end its connections; from another one it is marked
        as closed and no more.
        """
        self._closed = True
        if self._process != os.getpid() or self._loop is not asyncio.get_running_loop():
            return
        session, self._session = self._session, None
        if self._deadlines is not None:
            self._deadlines.close()
        if session is None or session is self._given:
            return
        try:
            async with asyncio.timeout(_CLOSING_SECONDS):
                await session.close()
        except TimeoutError:
            _LOG.warning("a connection did not close within %s s", _CLOSING_SECONDS)

    def _open(self, loop: asyncio.AbstractEventLoop) -> None:
        self._loop = loop
        self._process = os.getpid()
        self._deadlines = Deadlines(loop)
        bytes(_LARGER_THAN_A_READ)  # made and given back
        if self._given is not None:
            self._session = self._given
            return
        connector = Connector(
            limit=self._max_connections,
            ssl=self._ssl,
            ttl_dns_cache=10,  # a dead address is given up within it
            timeout_ceil_threshold=math.inf,
        )
        self._session = aiohttp.ClientSession(
            connector=connector,
            cookie_jar=aiohttp.DummyCookieJar(),
            timeout=self._timeout,
            trust_env=False,
        )

    def _merged(self, credentials: Mapping[str, str]) -> tuple[CIMultiDict[str], CIMultiDict[str]]:
        """Give the header fields without and with a body; made once for each set of credentials."""
        if self._merged_for != credentials:
            self._merged_for = dict(credentials)
            plain = CIMultiDict(self._headers)
            plain.update(credentials)
            with_body = CIMultiDict(plain)
            with_body["Content-Type"] = "application/json"
            self._merged_headers = plain, with_body
        return self._merged_headers

    async def _exchange(
        self, request: Request, credentials: Mapping[str, str], seconds: float
    ) -> Reply:
        session, deadlines = self._session, self._deadlines
        assert session is not None  # noqa: S101 - ensure_usable() has opened it
        assert deadlines is not None  # noqa: S101 - likewise
        headers = self._merged(credentials)[request.body is not None]
        path, _, query = request.target.partition("?")
        # Of parts that are known: parsing them again would be two hundredths of a request.
        url = URL.build(
            scheme=self._origin.scheme,
            authority=self._origin.raw_authority,
            path=path,
            query_string=query,
            encoded=True,
        )
        with deadlines.within(seconds):
            response = await session.request(
                request.method,
                url,
                data=request.body,
                headers=headers,
                allow_redirects=False,
                raise_for_status=False,  # a session that was passed in may want it otherwise
                timeout=self._timeout,
            )
            try:
                content = response.content
                # Most answers are all there by now, and then need no coroutine.
                body = content.read_nowait() if content.is_eof() else await content.readany()
                while not content.at_eof() and len(body) <= _MOST_BYTES:
                    body += await content.readany()
            finally:
                # With the last byte the connection went back to the pool. If it is still here,
                # the answer was too long, or reading it failed or was cancelled.
                if response.connection is not None:
                    response.close()
        return Reply(
            response.status,
            response.headers,
            body[:_MOST_BYTES],
            self._wall(),
            len(body) <= _MOST_BYTES,
        )


def _check_connections(value: int) -> int:
    if isinstance(value, bool) or not isinstance(value, int) or value < 1:
        raise InvalidInputError("max_connections must be a whole number of at least 1")
    return value


def _check_lane(lane: str) -> str:
    if lane not in _LANES:
        raise InvalidInputError(f"lane must be auto, session or wire, not {lane!r}")
    if lane == "wire":
        raise InvalidInputError("the wire lane is not part of this version; use auto")
    return "session"


def _check_ssl(
    ssl: tls.SSLContext | aiohttp.Fingerprint | None,
) -> tls.SSLContext | aiohttp.Fingerprint | bool:
    if ssl is None:
        return True
    if not isinstance(ssl, tls.SSLContext | aiohttp.Fingerprint):
        # False is aiohttp's way to switch verification off.
        raise InvalidInputError("ssl must be an ssl.SSLContext or an aiohttp.Fingerprint")
    if isinstance(ssl, tls.SSLContext) and ssl.verify_mode is tls.CERT_NONE:
        _LOG.warning(
            "TLS certificates are not verified: anyone on the way can read the credentials"
        )
    return ssl
