"""
How a run of a file ended: one value that the summary and the report file are made of.

Here: facts and the rule for the exit code. Not here: words on a screen (`summary`), JSON
(`record`).
"""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from datetime import datetime
from typing import Literal

import attrs

from badges_async import BulkReport
from badges_async.cli.exits import Exit, exit_for
from badges_async.cli.rows import Row
from badges_async.cli.standing import Standing
from badges_async.cli.tally import Tally
from badges_async.cli.timeline import Timeline

__all__ = ["Ending", "Stop"]

# Whether somebody interrupted the run, and whether what was in flight could still finish.
Stop = Literal["no", "drained", "at once"]


@attrs.frozen(kw_only=True)
class Ending:
    """
    Everything that is known at the end of `bulk-claim`.

    Attributes:
        file: The file's name.
        host: As it was given; a client refuses one that holds credentials.
        options: What else the run was asked for, for the record.
        timeline: What happened when.
        unsettled: Rows that were read and have no outcome: a few, those that were in hand or next.
        in_doubt: How many claims may have been sent and have no known answer, if that is known.
        ledger: Where the ledger stands that was asked for, if one was and it could be read.
        resumes: Whether the same command goes on from here.
        stopped_by: The error that ended the run early, if one did.
        problems_lost: Why the file of problems is not complete, if it is not.
        began: Aware, UTC; `ended` likewise.
    """

    file: str
    host: str
    options: dict[str, str | int | float | None]
    report: BulkReport
    tally: Tally
    timeline: Timeline = attrs.field(factory=Timeline)
    unsettled: Sequence[Row] = ()
    in_doubt: int | None = None
    ledger: Standing | None = None
    resumes: bool = False
    stop: Stop = "no"
    stopped_by: Exception | None = None
    problems_lost: OSError | None = None
    began: datetime
    ended: datetime

    @property
    def complete(self) -> bool:
        """Whether every row of the file was looked at and every good one is accounted for."""
        return self.tally.exhausted and not self.unsettled

    @property
    def workers(self) -> int:
        """How many claims were in flight at the most; of a few rows, no more than these."""
        return min(int(self.options.get("concurrency") or 1), max(self.tally.good_rows, 1))

    @property
    def waits(self) -> Mapping[str, float]:
        """Seconds by cause; what the attempts told is the second-best source: it lacks the last."""
        return self.report.waits or self.timeline.total().waits

    @property
    def exit(self) -> Exit:
        """What the shell is told."""
        if self.stopped_by is not None:
            return exit_for(self.stopped_by)
        if self.stop != "no":
            return Exit.INTERRUPTED
        if not self.tally.good_rows:
            return Exit.USAGE
        return Exit.PROBLEMS if self.tally.bad_rows or not self.report.ok else Exit.OK
