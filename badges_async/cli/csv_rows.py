"""
Claims as CSV: the header, and the rows below it.

Here: where a record ends, also when its quotes are broken, and which columns it has. Comma,
semicolon or tab, whichever the header is written with. Of a file that `export` wrote, the
apostrophes that keep a spreadsheet from calculating are taken off.
"""

from __future__ import annotations

import csv
from collections.abc import Iterator, Sequence

import attrs

from badges_async.cli.escapes import COLUMN, unescape
from badges_async.cli.exits import UsageError
from badges_async.cli.lines import LINE_LIMIT, Line, Lines
from badges_async.cli.rows import FIELDS, BadRow, Row, field_of, make_row

__all__ = ["Header", "read_csv", "read_header"]

# Excel writes what the country's list separator is; no name of a column holds one of these.
_DELIMITERS = (",", ";", "\t")
_SHOWN = 100


@attrs.frozen
class Header:
    """
    What the first line says of the others.

    Attributes:
        width: Columns of every row.
        places: Of the `FIELDS`, in their order.
        names: Of all columns; of the `FIELDS` as we spell them.
        escaped: The place of the column that names those with an apostrophe; None without one.
    """

    delimiter: str
    width: int
    places: Sequence[int]
    names: Sequence[str]
    escaped: int | None = None


def read_header(lines: Lines) -> Header:
    """
    Read the first of *lines*.

    Raises:
        UsageError: It does not name the three columns.
    """
    line = next(lines, None)
    if line is None:
        raise UsageError(f"the file is empty; a first line with {_wanted()} is expected")
    if "\0" in line.text:
        raise UsageError("line 1 holds NUL bytes: UTF-16 text or no text at all; save it as UTF-8")
    if line.fault:
        raise UsageError(f"line 1 is {line.fault}; a header with {_wanted()} is expected")
    for delimiter in _DELIMITERS:
        columns = _split(line.text, delimiter)
        names = [field_of(column) or column.strip().lower() for column in columns]
        if set(FIELDS) <= set(names):
            _refuse_twice(names)
            places = [names.index(field) for field in FIELDS]
            escaped = names.index(COLUMN) if COLUMN in names else None
            return Header(delimiter, len(names), places, names, escaped)
    raise _no_header(line.text)


def _split(text: str, delimiter: str) -> list[str]:
    try:
        return next(csv.reader([text], delimiter=delimiter, strict=True), [])
    except csv.Error:
        return []


def _refuse_twice(names: Sequence[str]) -> None:
    for field in (*FIELDS, COLUMN):
        if names.count(field) > 1:
            raise UsageError(f"line 1 names the column {field} more than once")


def _no_header(text: str) -> UsageError:
    if text.lstrip().startswith("{"):
        return UsageError("line 1 is JSON, not a CSV header; say --format jsonl")
    if "\r" in text.rstrip("\r\n"):
        return UsageError("its lines end in a bare carriage return; save it with LF or CRLF")
    found = _shown(text.rstrip("\r\n"))
    return UsageError(f"line 1 must be a header with {_wanted()}; found {found}")


def _wanted() -> str:
    return "the columns badge_id, owner_type, reference_id"


def _shown(text: str) -> str:
    shown = repr(text[:_SHOWN])
    return f"{shown} ..." if len(text) > _SHOWN else shown


class _Feed:
    """
    What csv.reader pulls: the lines of one record, and no more than a bound.

    A quote that is never closed would make the rest of the file one field, and csv bounds only
    fields, not records; here the record just ends early, and csv says so.
    """

    def __init__(self, lines: Lines) -> None:
        self.pulled: list[Line] = []
        self._lines = lines
        self._left = LINE_LIMIT

    def begin(self) -> None:
        self.pulled.clear()
        self._left = LINE_LIMIT

    def __iter__(self) -> _Feed:
        return self

    def __next__(self) -> str:
        if self._left <= 0:
            raise StopIteration
        line = next(self._lines)
        self.pulled.append(line)
        self._left -= len(line.text) or 1
        return line.text


def read_csv(lines: Lines, header: Header) -> Iterator[Row | BadRow]:
    """Yield the rows below the header; blank lines are none."""
    feed = _Feed(lines)
    reader = csv.reader(feed, delimiter=header.delimiter, strict=True)
    while True:
        feed.begin()
        try:
            values = next(reader)
        except StopIteration:
            return
        except csv.Error as error:
            # The record has no certain end. Only its first line is given up: a quote that
            # somebody forgot to close must not take the rows below it along.
            first, *rest = feed.pulled
            lines.put_back(rest)
            yield BadRow(first.number, first.fault or _csv_reason(str(error), len(rest)))
            continue
        if fault := next((line for line in feed.pulled if line.fault), None):
            yield BadRow(feed.pulled[0].number, str(fault.fault))
        elif values:
            yield _csv_row(feed.pulled[0].number, values, header)


def _csv_reason(said: str, more_lines: int) -> str:
    if more_lines or said == "unexpected end of data":
        return "a quote opens in this line and is not closed as CSV has it"
    if said.startswith("new-line character"):
        return "a bare carriage return within the row"
    return f"no CSV: {said}".replace("\t", "\\t")  # the delimiter, as it stands


def _csv_row(line: int, values: Sequence[str], header: Header) -> Row | BadRow:
    if len(values) != header.width:
        columns = "column" if len(values) == 1 else "columns"
        return BadRow(line, f"{len(values)} {columns}, the header has {header.width}")
    if header.escaped is not None and (changed := values[header.escaped].split()):
        try:
            values = unescape(header.names, values, changed)
        except ValueError as error:
            return BadRow(line, str(error))
    badge, owner, reference = header.places
    return make_row(line, values[badge], values[owner], values[reference])
