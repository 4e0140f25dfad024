"""
A connector that tells how far an attempt came.

Here: whether a request can have left, whether its connection had served before, and new connections
on demand. All of it through `aiohttp.TCPConnector.connect`, the one method that every request of an
aiohttp session goes through. Not here: what follows from it (`session`).
"""

from __future__ import annotations

import weakref
from collections.abc import Callable
from contextvars import ContextVar
from typing import Any

import aiohttp
import attrs

__all__ = ["ATTEMPT", "Connector", "Progress"]

_NEVER_SENT = (
    aiohttp.ClientConnectorError,
    aiohttp.ClientHttpProxyError,  # a proxy refused the tunnel that the request was to take
    aiohttp.ConnectionTimeoutError,
    aiohttp.ServerFingerprintMismatch,
)


@attrs.define
class Progress:
    """
    How far one attempt came; the connector notes it.

    Attributes:
        fresh: Only a new connection will do.
        on_sent: Called when there is a connection, so that bytes are about to leave.
        connecting: The connector was asked.
        connected: It gave a connection, so bytes may have left.
        reused: The connection had served before.
    """

    fresh: bool = False
    on_sent: Callable[[], None] | None = None
    connecting: bool = False
    connected: bool = False
    reused: bool = False

    def may_have_sent(self, error: BaseException) -> bool:
        """Whether the first byte may have left before *error* came."""
        if self.connecting:
            return self.connected
        # Somebody else's connector, or none at all (a mock): only the kind of error can tell.
        return not isinstance(error, _NEVER_SENT)


ATTEMPT: ContextVar[Progress] = ContextVar("badges_async_attempt")
"""The attempt that the running task is on; set by whoever sends."""


class Connector(aiohttp.TCPConnector):
    """The connector of our own sessions."""

    def __init__(self, **options: Any) -> None:  # noqa: ANN401 - aiohttp's own options
        super().__init__(**options)
        # What a WeakSet is, without its Python code around every look into it.
        self._served: set[weakref.ref[Any]] = set()

    async def connect(self, *args: Any, **options: Any) -> Any:  # noqa: ANN401 - aiohttp's own
        """Connect as aiohttp does, and note it in `ATTEMPT`."""
        progress = ATTEMPT.get()
        if progress.connected:
            # aiohttp repeats a GET by itself when its connection was stale. Whoever counts requests
            # and keeps a quota must know of the second one, so it is not made here.
            raise aiohttp.ServerDisconnectedError
        progress.connecting = True
        connection = await super().connect(*args, **options)
        served = weakref.ref(connection.protocol) in self._served
        while served and (progress.fresh or _has_spoken(connection)):
            # Each round closes one idle connection, so there is an end.
            connection.close()
            connection = await super().connect(*args, **options)
            served = weakref.ref(connection.protocol) in self._served
        if _has_spoken(connection):
            connection.close()
            raise aiohttp.ServerDisconnectedError("it spoke before it was asked")
        if not served:
            self._served.add(weakref.ref(connection.protocol, self._served.discard))
        progress.reused = served
        progress.connected = True
        if progress.on_sent is not None:
            progress.on_sent()
        return connection


def _has_spoken(connection: Any) -> bool:  # noqa: ANN401 - aiohttp's own
    """Whether bytes came on a connection before a request; aiohttp takes them for its answer."""
    return bool(getattr(connection.protocol, "should_close", False))
