"""
What fuzzing found, each as the bytes that show it; all of it is mended.

Here: bytes, and what went wrong with them. They are run with every test run, so that none of it
comes back. What was a mistake of a target's own expectations is not listed.
"""

from __future__ import annotations

import attrs

__all__ = ["FINDS", "Find"]


@attrs.frozen
class Find:
    """Bytes for the target of that name, and what they did."""

    target: str
    data: bytes
    what: str


_DEEP = b"[" * 1000 + b"]" * 1000
_CHUNKS = b"HTTP/1.1 200 OK\r\nTransfer-Encoding: chunked\r\n\r\n2\r\n{}\r\n0\r\n"
_HEADER = b"badgeMetaId\towner_type\treference_id\n"

FINDS = (
    Find(
        "input",
        b'e{"badgeId": "b", "ownerType": "Loyalty", "referenceId": "7", "v": ' + _DEEP + b"}",
        "the text of the version was a RecursionError, which ended the worker",
    ),
    Find(
        "input",
        b'e{"badgeId": "b", "ownerType": "Loyalty", "referenceId": "7", "id": "\\ud800"}',
        "an event that was read could not be written: a TypeError of orjson",
    ),
    Find(
        "wire",
        b"\2\7" + _CHUNKS + b"X: a\0b\r\n\r\n",
        "a broken trailer failed the next request on its connection",
    ),
    Find(
        "wire",
        b"\2\0" + _CHUNKS + b"Retry-After: 99\r\n\r\n",
        "the last field of a trailer was taken for one of the next answer",
    ),
    Find(
        "wire",
        b"\2\7" + _CHUNKS + b"Connection: close\r\n\r\n",
        "the next request on a connection whose answer ended so was lost",
    ),
    Find("input", b"j\xef\xbb\xbf", "a byte order mark alone was a bad row"),
    Find(
        "calls",
        b"\x81500\nRetry-After: 5\n\n{}",
        "what the token endpoint asked for with a 500 was not waited for",
    ),
    Find("input", b"c" + _HEADER + b'b\t"a"b\t7\n', "the reason for a bad row held a raw tab"),
)
