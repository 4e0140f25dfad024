"""
A request and its reply as plain values: the words between `operations` and what carries bytes.

Nobody changes one after making it; they are not frozen because one of each is made for every claim
and freezing doubles what that costs.

Here: shapes, and what HTTP itself says about them. Not here: what a path or a body means
(`operations`), how bytes travel (`session`), or what to do about an answer (`retry`).
"""

from __future__ import annotations

import re
from datetime import UTC
from email.utils import parsedate_to_datetime

import attrs
from multidict import MultiMapping, istr

__all__ = ["MOST_BYTES", "Reply", "Request", "printable"]

MOST_BYTES = 1 << 20
"""So much of an answer is read, after decoding."""

_SECONDS = re.compile(r"[0-9]+", re.ASCII)
# Far beyond any pause that is kept, and safe to add to any clock.
_LONGEST_WAIT = 1e9
# The service and its older backends spell the header in two ways.
_REQUEST_ID_HEADERS = istr("X-CAP-REQUEST-ID"), istr("X-Cap-Requestid")


def printable(text: str, limit: int = 500) -> str:
    """
    Make foreign *text* safe for a terminal, a log line and a report.

    Keeps at most *limit* characters and replaces each unprintable one by U+FFFD.
    """
    kept = text[:limit]
    if kept.isprintable():
        return kept
    return "".join(character if character.isprintable() else "\ufffd" for character in kept)


@attrs.define
class Request:
    """
    One HTTP request to the service, its credentials left out.

    Attributes:
        operation: The name of the operation, for events and logs, such as ``claim``.
        subject: What it is about, for events and logs, such as a badge id.
        method: ``GET`` or ``POST``.
        target: Path and query, already percent-encoded, beginning with ``/``.
        body: The JSON body, if any.
    """

    operation: str
    subject: str
    method: str
    target: str
    body: bytes | None = None


@attrs.define
class Reply:
    """
    One HTTP answer, read to its end.

    Attributes:
        status: The HTTP status.
        headers: Its header fields, looked up without regard to case.
        body: At most the first 1 MiB after decoding.
        received_at: When it came, in seconds since the epoch by our own clock.
        complete: False when the answer was longer than that; its connection is closed then.
    """

    status: int
    headers: MultiMapping[str]
    body: bytes = attrs.field(repr=False)  # it may be a token
    received_at: float = 0.0
    complete: bool = True

    @property
    def ok(self) -> bool:
        """Whether the status is a success, which alone decides nothing."""
        return 200 <= self.status < 300  # noqa: PLR2004 - HTTP's own borders

    @property
    def request_id(self) -> str | None:
        """The service's id of the request, for its support; None when it sent none."""
        for name in _REQUEST_ID_HEADERS:
            value = self.headers.get(name)
            if value:
                return printable(value, 100)
        return None

    @property
    def retry_after(self) -> float | None:
        """
        Seconds that the service asked to wait, 0.0 to 1e9; None when it did not say so clearly.

        Whole seconds and HTTP dates are read, a date against the answer's own ``Date`` where it
        has one, so that a wrong clock here does no harm. Anything else counts as absent. Of
        several values the largest wins.
        """
        values = self.headers.getall("Retry-After", ())
        waits = [wait for value in values if (wait := self._wait(value.strip())) is not None]
        return max(waits, default=None)

    def _wait(self, value: str) -> float | None:
        if _SECONDS.fullmatch(value):
            return min(float(value), _LONGEST_WAIT)
        until = _http_date(value)
        if until is None:
            return None
        now = _http_date(self.headers.get("Date", ""))
        wait = until - (self.received_at if now is None else now)
        return min(max(0.0, wait), _LONGEST_WAIT)


def _http_date(value: str) -> float | None:
    try:
        moment = parsedate_to_datetime(value)
    except (ValueError, OverflowError):
        return None
    # HTTP's oldest form names no zone: all of HTTP's dates are UTC.
    return (moment if moment.tzinfo else moment.replace(tzinfo=UTC)).timestamp()
