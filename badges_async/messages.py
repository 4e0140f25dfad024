"""
A request and its reply as plain values: the words between `operations` and what carries bytes.

Here: shapes only. Not here: what a path means (`operations`) or how bytes travel (`session`).
"""

from __future__ import annotations

from collections.abc import Mapping

import attrs

__all__ = ["Reply", "Request"]


@attrs.frozen
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


@attrs.frozen
class Reply:
    """
    One HTTP answer, read to its end.

    Attributes:
        status: The HTTP status.
        headers: Its header fields, looked up without regard to case.
        body: At most the first 1 MiB after decoding.
        complete: False when the answer was longer than that; its connection is closed then.
    """

    status: int
    headers: Mapping[str, str]
    body: bytes
    complete: bool = True
