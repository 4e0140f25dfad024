"""
What a run of a file tells beyond the library's sums: lines, reasons and what was left.

Bounded, whatever the file holds: the first problems are kept, and one example of each cause.
"""

from __future__ import annotations

from collections.abc import Callable
from typing import Literal

import attrs

from badges_async import (
    APIError,
    BadgesError,
    ClaimOutcome,
    ClaimStatus,
    UnreadableReplyError,
)
from badges_async.cli.rows import BadRow, Row

__all__ = ["PROBLEMS_KEPT", "Problem", "Tally", "cause_of", "message_of"]

PROBLEMS_KEPT = 1000
# A service that invents codes must not fill the memory.
_CAUSES_KEPT = 100
_BAD_SHOWN = 5


@attrs.frozen
class Problem:
    """
    One row that the service does not hold for certain.

    Attributes:
        kind: Why it is listed; a ``bad_row`` has no ids.
        cause: As in `BulkReport.errors`; None for a bad row.
    """

    line: int
    kind: Literal["bad_row", "rejected", "failed"]
    cause: str | None
    message: str
    row: Row | None = None


def cause_of(error: BadgesError) -> str:
    """Give the key under which `BulkReport.errors` counts *error*."""
    if isinstance(error, APIError) and error.code is not None:
        return str(error.code)
    if isinstance(error, APIError | UnreadableReplyError):
        return f"HTTP {error.status}"
    return type(error).__name__


@attrs.define
class Tally:
    """
    The books of one run, kept while it goes.

    Attributes:
        good_rows: Rows that went into the run.
        bad_rows: Rows that were refused; nothing was sent for them.
        last_line: The last line that was looked at.
        last_settled: The last line with an outcome.
        exhausted: Whether the whole file was read.
        problems: The first `PROBLEMS_KEPT`.
        examples: One problem for each cause.
        first_bad: The first few bad rows, for the summary.
        on_problem: Told every problem, kept or not.
    """

    good_rows: int = 0
    bad_rows: int = 0
    last_line: int = 0
    last_settled: int = 0
    exhausted: bool = False
    problems: list[Problem] = attrs.field(factory=list)
    examples: dict[str, Problem] = attrs.field(factory=dict)
    first_bad: list[Problem] = attrs.field(factory=list)
    on_problem: Callable[[Problem], None] | None = None

    def pulled(self, row: Row) -> None:
        """Enter a row that goes into the run."""
        self.good_rows += 1
        self.last_line = row.line

    def refused(self, bad: BadRow) -> None:
        """Enter a row that does not."""
        self.bad_rows += 1
        self.last_line = bad.line
        problem = Problem(bad.line, "bad_row", None, bad.reason)
        if len(self.first_bad) < _BAD_SHOWN:
            self.first_bad.append(problem)
        self._keep(problem)

    def settled(self, outcome: ClaimOutcome) -> None:
        """Enter what became of a row that was pulled."""
        row = outcome.request
        if not isinstance(row, Row):
            raise TypeError(f"a Row went in, {type(row).__name__} came out")
        self.last_settled = max(self.last_settled, row.line)
        if outcome.error is None:
            return
        cause = cause_of(outcome.error)
        kind: Literal["rejected", "failed"] = (
            "rejected" if outcome.status is ClaimStatus.REJECTED else "failed"
        )
        problem = Problem(row.line, kind, cause, message_of(outcome.error), row)
        if len(self.examples) < _CAUSES_KEPT:
            self.examples.setdefault(cause, problem)
        self._keep(problem)

    def _keep(self, problem: Problem) -> None:
        if len(self.problems) < PROBLEMS_KEPT:
            self.problems.append(problem)
        if self.on_problem is not None:
            self.on_problem(problem)


def message_of(error: BadgesError) -> str:
    """Give what the service said, else what went wrong in our words."""
    return error.message if isinstance(error, APIError) else str(error)
