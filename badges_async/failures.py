"""
The errors of aiohttp and of the system, turned into ours; the one place that does.

Here: which of our errors an attempt ended with, and whether its request may have left. Not here:
answers that say no (`envelope`), or what follows from an error (`retry`).
"""

from __future__ import annotations

import re

import aiohttp
from aiohttp.http import HttpProcessingError

from badges_async.connector import Progress
from badges_async.errors import BadgesError, ConnectError, ConnectionLostError, DeadlineError
from badges_async.messages import printable

__all__ = ["as_ours"]

# Where a parser begins to quote what it was given: that may be a token, or an echo of ours.
_QUOTE = re.compile(r"""[:\s]*(?:\bb\\*['"]|(?<=[:\w] )(?<!Duplicate )').*""", re.DOTALL)
_BAD_CERTIFICATE = (aiohttp.ClientConnectorCertificateError, aiohttp.ServerFingerprintMismatch)


def as_ours(
    error: Exception, progress: Progress, seconds: float, timeout: aiohttp.ClientTimeout
) -> BadgesError:
    """Give the error that an attempt of *seconds* ended with, in our words and without headers."""
    if isinstance(error, BadgesError):
        return error
    sent = progress.may_have_sent(error)
    if isinstance(error, aiohttp.ConnectionTimeoutError):
        return ConnectError(f"could not connect within {timeout.connect:g} s")
    if isinstance(error, TimeoutError):
        phase = "no whole answer" if sent else "no connection"
        return DeadlineError(f"{phase} within {seconds:.3g} s", maybe_applied=sent)
    detail = _describe(error)
    if not sent:
        refused = isinstance(error, _BAD_CERTIFICATE)
        what = "the service's certificate was refused" if refused else "could not connect"
        return ConnectError(f"{what}: {detail}", certificate_refused=refused)
    if isinstance(error, aiohttp.ClientResponseError | HttpProcessingError):
        # aiohttp's parser reports a broken answer as status 400, which nobody sent.
        return ConnectionLostError(f"the answer was not valid HTTP: {_own_words(error.message)}")
    stale = progress.reused and isinstance(error, aiohttp.ServerDisconnectedError | OSError)
    return ConnectionLostError(f"the connection was lost: {detail}", stale=stale)


def _describe(error: Exception) -> str:
    if isinstance(error, aiohttp.ClientHttpProxyError):  # its own text has the proxy's password
        return f"the proxy answered {error.status} {printable(error.message, 200)}"
    if isinstance(error, aiohttp.ServerDisconnectedError) and not isinstance(error.message, str):
        text = "in the middle of a head"  # which it holds
    elif isinstance(error, aiohttp.ClientPayloadError):
        text = _own_words(str(error))
    else:
        text = printable(str(error), 200)
    return f"{type(error).__name__}: {text}" if text else type(error).__name__


def _own_words(text: str) -> str:
    """Give what a parser says of what it was given, and nothing of that."""
    return printable(" ".join(_QUOTE.sub("", text).split()), 200)
