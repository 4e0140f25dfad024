"""
``--report run.json``: the run for machines; and how a report comes to stand in its place.

Whole or not there: written beside its place and then moved. It never holds credentials; it does
hold customers' references, so only its owner may read it.
"""

from __future__ import annotations

import contextlib
import json
import os
import tempfile
from collections.abc import Iterator, Mapping
from pathlib import Path
from types import TracebackType
from typing import Any, BinaryIO, Self, TextIO

from badges_async.cli.ending import Ending
from badges_async.cli.exits import UsageError
from badges_async.cli.rows import Row
from badges_async.cli.tally import Problem
from badges_async.cli.timeline import Bucket, Timeline
from badges_async.cli.version import installed_version

__all__ = [
    "SCHEMA",
    "ProblemFile",
    "check_apart",
    "check_writable",
    "document",
    "write",
    "write_whole",
    "written_whole",
]

SCHEMA = "badges_async.bulk-claim/1"

_QUANTILES = {"p50": 0.5, "p95": 0.95, "p99": 0.99}


def check_writable(path: Path) -> None:
    """
    Find out before the run what would be annoying after it.

    Raises:
        UsageError: There is no such folder, or nothing may be written there.
    """
    folder = path.resolve().parent
    if path.is_dir():
        raise UsageError(f"{path} is a folder")
    if not folder.is_dir():
        raise UsageError(f"cannot write {path}: there is no folder {folder}")
    if not os.access(folder, os.W_OK):
        raise UsageError(f"cannot write {path}: the folder {folder} is not writable")


def check_apart(*paths: Path | None) -> None:
    """
    Find out whether one file would be written over another of the same run.

    Raises:
        UsageError: Two of *paths* are one file, by whatever name.
    """
    seen: dict[Path, Path] = {}
    for path in paths:
        if path is None:
            continue
        real = path.resolve()
        if real in seen and not real.is_char_device():
            raise UsageError(f"{path} and {seen[real]} are one file: it would be overwritten")
        seen[real] = path


def document(ending: Ending) -> dict[str, Any]:
    """Give the record as JSON values; keys are only ever added within one schema."""
    report, tally = ending.report, ending.tally
    return {
        "schema": SCHEMA,
        "version": installed_version(),
        "file": ending.file,
        "host": ending.host,
        "options": ending.options,
        "began": ending.began.isoformat(),
        "ended": ending.ended.isoformat(),
        "elapsed_seconds": round(report.elapsed, 3),
        "claims_per_second": round(report.claims_per_second, 3),
        "exit_code": int(ending.exit),
        "complete": ending.complete,
        "interrupted": ending.stop != "no",
        "stopped_by": _stopped_by(ending),
        "last_line": tally.last_line,
        "counts": {
            "rows": tally.good_rows + tally.bad_rows,
            **{str(status): count for status, count in report.counts.items()},
            "recovered": report.recovered,
            "skipped": report.skipped,
            "rejected_before": report.rejected_before,
            "unsettled": report.unsettled,
            "bad_rows": tally.bad_rows,
            "retries": report.retries,
            "throttled": report.throttled,
        },
        "waits": {cause: round(seconds, 3) for cause, seconds in ending.waits.items()},
        "latency_seconds": _latency(ending.timeline.total(), _QUANTILES),
        "timeline": _timeline(ending.timeline),
        "errors": {cause: _error(ending, cause) for cause in report.errors},
        "problems": [problem_values(problem) for problem in tally.problems],
        "problems_in_all": report.rejected + report.failed + tally.bad_rows,
        "unsettled": [
            {"line": row.line, **_ids(row)} for row in sorted(ending.unsettled, key=_line)
        ],
        "ledger": None if ending.ledger is None else ending.ledger.as_values(),
    }


def problem_values(problem: Problem) -> dict[str, Any]:
    """Give one problem as JSON values; with its ids it can be fed to `bulk-claim` again."""
    return {
        "line": problem.line,
        "status": problem.kind,
        "cause": problem.cause,
        "message": problem.message,
        **_ids(problem.row),
    }


class ProblemFile:
    """
    ``--problems FILE``: a JSON object a line for every row that is not claimed, while it runs.

    JSON lines and not CSV: byte for byte what the input had, harmless in a spreadsheet, and
    `bulk-claim` reads it. A disk that is full does not end a run; `lost` then says why.

    Args:
        path: None for no file.

    Raises:
        UsageError: On entering: it cannot be made.
    """

    def __init__(self, path: Path | None) -> None:
        self.lost: OSError | None = None
        self._path = path
        self._file: TextIO | None = None

    def __enter__(self) -> Self:
        if self._path is not None:
            try:
                flags = os.O_WRONLY | os.O_CREAT | os.O_TRUNC
                handle = os.open(self._path, flags, 0o600)
            except OSError as error:
                raise UsageError(f"cannot write {self._path}: {error.strerror}") from None
            self._file = os.fdopen(handle, "w", encoding="utf-8", errors="backslashreplace")
        return self

    def __exit__(
        self,
        kind: type[BaseException] | None,
        error: BaseException | None,
        trace: TracebackType | None,
    ) -> None:
        if self._file is not None:
            try:
                self._file.close()
            except OSError as lost:
                self.lost = lost

    def add(self, problem: Problem) -> None:
        """Write one problem."""
        if self._file is None or self.lost is not None:
            return
        try:
            self._file.write(json.dumps(problem_values(problem), ensure_ascii=False) + "\n")
        except OSError as error:
            self.lost = error


def write(path: Path, ending: Ending) -> None:
    """
    Write the record to *path*.

    Raises:
        OSError: It could not be written; what stood there before still does.
    """
    write_whole(path, json.dumps(document(ending), ensure_ascii=False, indent=2) + "\n")


def write_whole(path: Path, text: str) -> None:
    """
    Write *text* to *path*, for its owner only; there is the old file or the new, never a half.

    Raises:
        OSError: It could not be written; what stood there before still does.
    """
    # A lone surrogate in a file's name is the one thing that UTF-8 cannot carry.
    with written_whole(path) as file:
        file.write(text.encode(errors="backslashreplace"))


@contextlib.contextmanager
def written_whole(path: Path) -> Iterator[BinaryIO]:
    """
    Give a file that comes to stand at *path* when the block ends well, see `write_whole`.

    Raises:
        OSError: It could not be written; what stood there before still does.
    """
    target = path.resolve()
    if target.exists() and not target.is_file():  # /dev/stdout, a named pipe: nothing to replace
        with target.open("wb") as file:
            yield file
        return
    handle, name = tempfile.mkstemp(dir=target.parent, prefix=f".{target.name}.")
    try:
        with os.fdopen(handle, "wb") as file:
            yield file
            file.flush()
            os.fsync(file.fileno())
        Path(name).replace(target)
    except BaseException:
        with contextlib.suppress(OSError):
            Path(name).unlink()
        raise


def _timeline(timeline: Timeline) -> dict[str, Any]:
    slices = [_slice(bucket) for bucket in timeline.buckets]
    return {"bucket_seconds": timeline.width, "buckets": slices}


def _slice(bucket: Bucket) -> dict[str, Any]:
    return {
        "settled": {str(status): count for status, count in bucket.settled.items()},
        "requests": bucket.requests,
        "throttled": bucket.throttled,
        "errors": bucket.errors,
        "paused_seconds": round(bucket.paused, 3),
        "waits": {cause: round(seconds, 3) for cause, seconds in bucket.waits.items()},
        "latency_seconds": _latency(bucket, {"p50": 0.5, "p95": 0.95}),
    }


def _latency(bucket: Bucket, shares: Mapping[str, float]) -> dict[str, float] | None:
    """Give nothing where there was no answer: 0 would be a lie."""
    if not bucket.latencies:
        return None
    seconds = {name: bucket.latency(share) or 0.0 for name, share in shares.items()}
    return {name: round(value, 6) for name, value in [*seconds.items(), ("max", bucket.slowest)]}


def _stopped_by(ending: Ending) -> dict[str, str] | None:
    error = ending.stopped_by
    return None if error is None else {"error": type(error).__name__, "message": str(error)}


def _error(ending: Ending, cause: str) -> dict[str, Any]:
    example = ending.tally.examples.get(cause)
    return {
        "count": ending.report.errors[cause],
        "example": None if example is None else {"line": example.line, "message": example.message},
    }


def _line(row: Row) -> int:
    return row.line


def _ids(row: Row | None) -> dict[str, str]:
    if row is None:
        return {}
    return {
        "badge_id": row.badge_id,
        "owner_type": str(row.owner_type),
        "reference_id": row.reference_id,
    }
