"""
Which way bytes travel: the wire, unless somebody watches or changes aiohttp's session.

Here: the names of the lanes, and who counts as a watcher. Not here: the lanes themselves (`wire`,
`session_lane`).

Our users' mocks and traces hang on `aiohttp.ClientSession`: aioresponses and others replace its
methods, OpenTelemetry and Sentry wrap its constructor to add trace configs. They are to see every
request without anybody having to ask for it.
"""

from __future__ import annotations

import logging
from types import FunctionType

import aiohttp
import aiohttp.client

from badges_async.errors import InvalidInputError

try:
    from badges_async.wire import Wire
except ImportError as error:  # aiohttp has changed what the wire lane needs of it
    logging.getLogger("badges_async").warning("requests take the session lane: %s", error)
    WIRE: type[Wire] | None = None
else:
    WIRE = Wire

__all__ = ["WIRE", "check_lane", "is_patched", "why_not_wire"]

_LANES = frozenset({"auto", "session", "wire"})
_CHANGES = (
    ("trace_configs", "trace configs"),
    ("_middlewares", "middlewares"),
    ("_default_proxy", "a proxy"),
    ("_default_proxy_auth", "a proxy"),
)


def _own(function: object) -> object:
    """Give *function* if it is aiohttp's; None is nobody's."""
    # A wrapper can pretend to be what it wraps, its globals included, but not to be a function.
    if type(function) is FunctionType and function.__globals__ is vars(aiohttp.client):
        return function
    return None


_SESSION = aiohttp.ClientSession
_REQUEST = _own(_SESSION._request)  # noqa: SLF001 - what mocks replace
_PUBLIC_REQUEST = _own(_SESSION.request)


def check_lane(lane: str, session: aiohttp.ClientSession | None) -> str:
    """
    Give *lane*, or what it comes to with a *session* that was passed in.

    Raises:
        InvalidInputError: Nobody knows such a lane, or the wire was asked for with a session.
    """
    if lane not in _LANES:
        raise InvalidInputError(f"lane must be auto, session or wire, not {lane!r}")
    if session is None:
        return lane
    if lane == "wire":
        raise InvalidInputError(
            "lane='wire' makes no use of a session: pass no session, or leave the lane out"
        )
    return "session"


def is_patched() -> bool:
    """Whether `aiohttp.ClientSession` is not aiohttp's own at this moment."""
    session = aiohttp.ClientSession
    return (
        session is not _SESSION
        or session._request is not _REQUEST  # noqa: SLF001 - what mocks replace
        or session.request is not _PUBLIC_REQUEST
    )


def why_not_wire(session: aiohttp.ClientSession) -> str | None:
    """Give what a *session* of our own was given by others, or None when it is as we made it."""
    if type(session) is not _SESSION:
        return "another class of session"
    return next((what for name, what in _CHANGES if getattr(session, name, None)), None)
