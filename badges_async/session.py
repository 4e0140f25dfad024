"""
The session manager: owns one aiohttp session, sends a `Request`, returns a `Reply`.

Here: opening, closing, belonging to one event loop and one process, and the choice of a lane for
each request. Not here: how bytes travel (`wire`, `session_lane`), badges, credentials, retries,
quotas.
"""

from __future__ import annotations

import asyncio
import logging
import math
import os
import ssl as tls
import time
from collections.abc import Callable, Coroutine, Mapping
from importlib.metadata import version
from types import TracebackType
from typing import TYPE_CHECKING, Any, Self

import aiohttp
from yarl import URL

from badges_async.connector import Connector
from badges_async.deadlines import Deadlines
from badges_async.endpoint import read_host
from badges_async.errors import ClientClosedError, InvalidInputError
from badges_async.lanes import WIRE, check_lane, is_patched, why_not_wire
from badges_async.messages import Reply, Request
from badges_async.session_lane import SessionLane
from badges_async.timeouts import Timeout

if TYPE_CHECKING:
    from badges_async.wire import Wire  # it may be missing, see `lanes`

__all__ = ["SessionManager"]

# Read when this is imported: a client may be made on an event loop, which a disk must not hold up.
_AGENT = f"badges-async/{version('badges_async')}"
_LOG = logging.getLogger("badges_async")
# A peer that never answers the end of a TLS connection must not hold up ours.
_CLOSING_SECONDS = 2.0
# asyncio reads every answer into a new block of 256 KiB. Until a program has given back a larger
# one, glibc asks the kernel for each of them anew: an eighth of what a small request costs.
_LARGER_THAN_A_READ = 1 << 20


class SessionManager:
    """
    Sends requests to one host, on the wire or through an aiohttp session.

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
        lane: ``wire``, ``session`` or ``auto``: the wire, unless somebody watches or changes the
            session. That is looked at for each request, so a mock may come and go.
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
        self._lane = check_lane(lane, session)
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
        self._fields = {
            "Accept": "application/json",
            "User-Agent": _AGENT,
        }
        self._by_session: SessionLane | None = None
        self._by_wire: Wire | None = None

    @property
    def lane(self) -> str:
        """The name of the way that bytes travel now: ``wire`` or ``session``."""
        if self._by_session is not None:
            may = self._by_wire is not None
        else:
            may = self._lane != "session" and WIRE is not None
        return "wire" if may and not is_patched() else "session"

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
            InvalidInputError: The wire lane was asked for, and aiohttp's session is watched.
        """
        loop = asyncio.get_running_loop()
        if self._closed:
            raise ClientClosedError("the client is closed; make a new one")
        if self._session is None:
            self._open(loop)
        elif self._process != os.getpid():  # pragma: no cover - in a child that tells no coverage
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

    def send(
        self,
        request: Request,
        headers: Mapping[str, str],
        *,
        seconds: float,
        fresh: bool = False,
        on_sent: Callable[[], None] | None = None,
    ) -> Coroutine[Any, Any, Reply]:
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
            InvalidInputError: Likewise.
        """
        wire = self._by_wire
        # Every claim passes here, so what is nearly always so is looked at first, and this is no
        # coroutine around a coroutine.
        if (
            wire is None
            or self._closed
            or is_patched()
            or asyncio.get_running_loop() is not self._loop
        ):
            self.ensure_usable()
            return self._choose_lane().send(
                request, headers, seconds=seconds, fresh=fresh, on_sent=on_sent
            )
        return wire.send(request, headers, seconds=seconds, fresh=fresh, on_sent=on_sent)

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
        assert self._deadlines is not None  # noqa: S101 - it was opened
        self._deadlines.close()
        try:
            async with asyncio.timeout(_CLOSING_SECONDS):
                if session is not None and session is not self._given:
                    await session.close()  # at once, where the wire carried everything
                if self._by_wire is not None:
                    await self._by_wire.close()
        except TimeoutError:
            _LOG.warning("a connection did not close within %s s", _CLOSING_SECONDS)

    def _open(self, loop: asyncio.AbstractEventLoop) -> None:
        session = self._given or self._new_session()
        forbidden = "somebody else's session" if self._given else why_not_wire(session)
        if self._lane == "wire" and forbidden is not None:
            session.detach()  # nothing is connected yet
            raise InvalidInputError(
                f"lane='wire' was asked for, but aiohttp's sessions were given {forbidden}, which "
                "only the session lane heeds: leave the lane out"
            )
        self._loop = loop
        self._process = os.getpid()
        self._session = session
        self._deadlines = Deadlines(loop)
        bytes(_LARGER_THAN_A_READ)  # made and given back
        self._by_session = SessionLane(
            self._origin,
            session,
            self._fields,
            timeout=self._timeout,
            deadlines=self._deadlines,
            wall=self._wall,
        )
        if self._lane != "session" and forbidden is None and WIRE is not None:
            self._by_wire = WIRE(
                self._origin,
                self._new_connector(),
                self._fields,
                timeout=self._timeout,
                deadlines=self._deadlines,
                wall=self._wall,
            )

    def _new_session(self) -> aiohttp.ClientSession:
        return aiohttp.ClientSession(
            connector=self._new_connector(),
            cookie_jar=aiohttp.DummyCookieJar(),
            timeout=self._timeout,
            trust_env=False,
        )

    def _new_connector(self) -> Connector:
        return Connector(
            limit=self._max_connections,
            ssl=self._ssl,
            ttl_dns_cache=10,  # a dead address is given up within it
            timeout_ceil_threshold=math.inf,
        )

    def _choose_lane(self) -> SessionLane | Wire:
        """
        Give the lane for the next request.

        Raises:
            InvalidInputError: The wire was asked for, and the session is not aiohttp's own now.
        """
        if self._by_wire is not None and not is_patched():
            return self._by_wire
        if self._lane == "wire" and WIRE is not None:
            raise InvalidInputError(
                "lane='wire' was asked for, but aiohttp.ClientSession is patched, which only the "
                "session lane heeds: leave the lane out"
            )
        assert self._by_session is not None  # noqa: S101 - ensure_usable() has opened it
        return self._by_session


def _check_connections(value: int) -> int:
    if isinstance(value, bool) or not isinstance(value, int) or value < 1:
        raise InvalidInputError("max_connections must be a whole number of at least 1")
    return value


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
