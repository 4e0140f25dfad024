"""
The physical lines of a byte stream, one at a time.

Here: numbers, encoding and the bound on a line's length, so that no file, however broken, is ever
held in memory. Not here: what a line means (`rows`).
"""

from __future__ import annotations

from collections import deque
from collections.abc import Iterable
from typing import BinaryIO

import attrs

from badges_async.cli.exits import UsageError

__all__ = ["LINE_LIMIT", "Line", "Lines"]

# Also the csv module's own bound for a field, so that no record passes one and breaks the other.
LINE_LIMIT = 128 * 1024

# A file that begins like this holds no text that we read; saying what it is beats a wrong header.
_FOREIGN = {
    b"\xff\xfe": "is UTF-16 text; save it as UTF-8",
    b"\xfe\xff": "is UTF-16 text; save it as UTF-8",
    b"PK\x03\x04": "is an Excel workbook or another zip archive; save it as CSV (UTF-8)",
    b"\x1f\x8b": "is compressed by gzip; unpack it, or pipe it: gzip -dc FILE | badges-async ... -",
}
_BOM = b"\xef\xbb\xbf"


@attrs.frozen
class Line:
    """
    One line as it stands in the file.

    Attributes:
        number: Its place in the file, from 1.
        text: With its end; empty when the line is too long to be kept.
        fault: Why it must not be used, or None.
    """

    number: int
    text: str
    fault: str | None = None


class Lines:
    """
    An iterator over the lines of *stream* that can take lines back.

    Raises:
        UsageError: From the first `next()`: the file is no UTF-8 text at all.

    Attributes:
        consumed: Bytes read so far, for a progress bar.
    """

    def __init__(self, stream: BinaryIO) -> None:
        self.consumed = 0
        self._stream = stream
        self._number = 0
        self._returned: deque[Line] = deque()

    def __iter__(self) -> Lines:
        return self

    def __next__(self) -> Line:
        if self._returned:
            return self._returned.popleft()
        raw = self._stream.readline(LINE_LIMIT + 1)
        if not raw:
            raise StopIteration
        self._number += 1
        self.consumed += len(raw)
        if self._number == 1:
            raw = _without_mark(raw)
        if len(raw) > LINE_LIMIT:
            self._skip_rest(raw)
            return Line(self._number, "", f"longer than {LINE_LIMIT:,} bytes")
        return _decoded(self._number, raw)

    def put_back(self, lines: Iterable[Line]) -> None:
        """Let *lines*, the last ones that were given, come again in their order."""
        self._returned.extendleft(reversed(list(lines)))

    def _skip_rest(self, raw: bytes) -> None:
        while raw and not raw.endswith(b"\n"):
            raw = self._stream.readline(LINE_LIMIT)
            self.consumed += len(raw)


def _without_mark(raw: bytes) -> bytes:
    for beginning, what in _FOREIGN.items():
        if raw.startswith(beginning):
            raise UsageError(f"the file {what}")
    return raw.removeprefix(_BOM)


def _decoded(number: int, raw: bytes) -> Line:
    try:
        return Line(number, raw.decode())
    except UnicodeDecodeError as error:
        # Escaped, never replaced: the text is only used to find where the record ends.
        text = raw.decode(errors="surrogateescape")
        byte = raw[error.start]
        return Line(number, text, f"not UTF-8: byte 0x{byte:02X} at position {error.start + 1}")
