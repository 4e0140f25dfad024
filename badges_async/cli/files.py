"""
A file of claims, opened and read as a stream, never held in memory.

Only a file that cannot be understood as a whole is an error; a row that cannot is a `BadRow`.
"""

from __future__ import annotations

import os
import sys
from collections.abc import Iterator, Mapping
from pathlib import Path
from typing import BinaryIO, Literal

from badges_async.cli.csv_rows import read_csv, read_header
from badges_async.cli.exits import UsageError
from badges_async.cli.jsonl_rows import read_jsonl
from badges_async.cli.lines import LINE_LIMIT, Lines
from badges_async.cli.rows import BadRow, Row

__all__ = ["Format", "RowFile"]

Format = Literal["csv", "jsonl"]

_SUFFIXES: Mapping[str, Format] = {".csv": "csv", ".jsonl": "jsonl", ".ndjson": "jsonl"}


class RowFile:
    """
    The rows of one file, or of standard input when *path* is ``-``.

    Read lazily and once. The header is read when this is made.

    Args:
        path: Its suffix tells the format, unless *form* does.
        form: The format; standard input is CSV unless this says otherwise.

    Raises:
        UsageError: The file cannot be opened, is no UTF-8 text, has no usable header, or its
            format is not known.

    Attributes:
        name: For people.
        path: Where it is; None for standard input.
        size: Bytes, or None where that is not known before the end.
        is_regular: Whether reading never waits for another process.
    """

    name: str
    path: Path | None
    form: Format
    size: int | None
    is_regular: bool

    def __init__(self, path: str, form: Format | None = None) -> None:
        self.name = "standard input" if path == "-" else Path(path).name
        self.path = None if path == "-" else Path(path)
        self.form = form or _format_of(path)
        self._in_use = False
        self._stream = _open(path)
        self.is_regular = Path(path).is_file() if path != "-" else False
        self.size = Path(path).stat().st_size if self.is_regular else None
        self._lines = Lines(self._stream)
        try:
            self._header = read_header(self._lines) if self.form == "csv" else None
        except UsageError as error:
            self.close()
            raise UsageError(f"{self.name}: {error}") from None

    def __iter__(self) -> Iterator[Row | BadRow]:
        """Yield every row in the order of the file; blank lines are none."""
        self._in_use = True
        try:
            if self._header is None:
                yield from read_jsonl(self._lines)
            else:
                yield from read_csv(self._lines, self._header)
        except UsageError as error:
            raise UsageError(f"{self.name}: {error}") from None
        finally:
            self._in_use = False

    @property
    def consumed(self) -> int:
        """Bytes read so far."""
        return self._lines.consumed

    def close(self) -> None:
        """Close the file; standard input stays open, and a pipe that is still being read too."""
        # Closing would wait for the thread that waits for the pipe.
        if self.is_regular or not self._in_use:
            self._stream.close()


def _format_of(path: str) -> Format:
    if path == "-":
        return "csv"
    form = _SUFFIXES.get(Path(path).suffix.lower())
    if form is None:
        if not Path(path).exists():
            raise UsageError(f"cannot read {path}: No such file or directory")
        raise UsageError(f"{Path(path).name}: say --format csv or --format jsonl")
    return form


def _open(path: str) -> BinaryIO:
    try:
        if path != "-":
            return Path(path).open("rb", buffering=LINE_LIMIT)
        if sys.stdin is None:  # how Python shows a descriptor that was closed
            raise UsageError("standard input is closed")
        # A buffer of our own: Python's is locked while a thread waits in it, and a process that
        # ends then is aborted.
        return os.fdopen(sys.stdin.fileno(), "rb", buffering=LINE_LIMIT, closefd=False)
    except (OSError, ValueError) as error:  # ValueError: a NUL in the name
        reason = getattr(error, "strerror", None) or error
        raise UsageError(f"cannot read {path}: {reason}") from None
