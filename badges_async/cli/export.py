"""
``ledger --export``: claims of a ledger as CSV, for people to look at and for `bulk-claim` to read.

Here: which claims, their columns, and where they go. Not here: reading a ledger, or what a
spreadsheet would make of a cell (`escapes`).
"""

from __future__ import annotations

import csv
import io
import sys
from collections.abc import Collection, Iterable, Iterator
from pathlib import Path
from typing import BinaryIO

from badges_async import ClaimStatus, LedgerEntry, LedgerReader
from badges_async.cli.escapes import COLUMN, escape
from badges_async.cli.exits import OutputError, UsageError
from badges_async.cli.record import written_whole
from badges_async.cli.rows import FIELDS
from badges_async.cli.tally import cause_of, message_of

__all__ = ["export", "read_statuses"]

_PENDING, _IN_DOUBT = "pending", "in_doubt"
_STATUSES = (*map(str, ClaimStatus), _PENDING, _IN_DOUBT)
_COLUMNS = (*FIELDS, "status", "cause", "message", "attempts")


def read_statuses(text: str) -> frozenset[str]:
    """
    Read ``FAILED,REJECTED``, in any case.

    Raises:
        UsageError: There is no such status, or none is named.
    """
    words = {word.strip().lower().replace("-", "_") for word in text.split(",")} - {""}
    unknown = sorted(words - set(_STATUSES))
    if unknown or not words:
        known = ", ".join(_STATUSES).upper()
        found = f", not {unknown[0][:40]!r}" if unknown else ""
        raise UsageError(f"--status is some of {known}{found}")
    return frozenset(words)


def export(reader: LedgerReader, path: str, statuses: Collection[str]) -> int:
    """
    Write the claims with one of these *statuses* to *path*, or to standard output for ``-``.

    The file is its owner's only, and whole or not there. Gives how many claims that were.

    Raises:
        OutputError: They could not be written.
        LedgerError: They could not be read; no file was written.
    """
    try:
        if path != "-":
            with written_whole(Path(path)) as file:
                return _write(file, _wanted(reader, statuses))
        if sys.stdout is None:  # how Python shows a descriptor that was closed
            return 0
        sys.stdout.flush()
        count = _write(sys.stdout.buffer, _wanted(reader, statuses))
        sys.stdout.flush()
    except BrokenPipeError:  # nobody wants it any more
        raise
    except OSError as error:
        name = "standard output" if path == "-" else f"{path} was not written"
        raise OutputError(f"{name}: {error.strerror or error}") from None
    return count


def _wanted(reader: LedgerReader, statuses: Collection[str]) -> Iterator[tuple[str, LedgerEntry]]:
    # Claims without an outcome have none to be asked for by.
    ask_all = {_PENDING, _IN_DOUBT} & set(statuses)
    outcomes = None if ask_all else [ClaimStatus(each) for each in statuses]
    for entry in reader.entries(outcomes):
        status = _status_of(entry)
        if status in statuses:
            yield status, entry


def _status_of(entry: LedgerEntry) -> str:
    if entry.outcome is not None:
        return str(entry.outcome.status)
    return _IN_DOUBT if entry.in_doubt else _PENDING


def _write(file: BinaryIO, entries: Iterable[tuple[str, LedgerEntry]]) -> int:
    text = io.StringIO()
    writer = csv.writer(text, lineterminator="\n")
    writer.writerow([*_COLUMNS, COLUMN])
    count = 0
    for count, (status, entry) in enumerate(entries, 1):  # noqa: B007 - how many it was
        writer.writerow(escape(_COLUMNS, _cells(status, entry)))
        _pass_on(text, file)
    _pass_on(text, file)
    return count


def _pass_on(text: io.StringIO, file: BinaryIO) -> None:
    file.write(text.getvalue().encode())
    text.seek(0)
    text.truncate()


def _cells(status: str, entry: LedgerEntry) -> list[str]:
    request, outcome = entry.request, entry.outcome
    error = None if outcome is None else outcome.error
    return [
        request.badge_id,
        str(request.owner_type),
        request.reference_id,
        status,
        "" if error is None else cause_of(error),
        "" if error is None else message_of(error),
        "" if outcome is None else str(outcome.attempts),
    ]
