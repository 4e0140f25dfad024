"""
How far a run of a file is, and how long the rest will take.

Here: sums and estimates. Not here: how they are shown (`progress`).
"""

from __future__ import annotations

import attrs

from badges_async import BulkReport, LedgerStanding, Quota
from badges_async.cli.files import RowFile
from badges_async.cli.tally import Tally

__all__ = ["Headway", "quota_seconds"]


@attrs.define
class Headway:
    """
    What the progress of a run is told by.

    Attributes:
        known: Good rows of the whole file, once they were counted.
        share_settled: Of the ledger's claims, those that were settled before this run.
    """

    rows: RowFile
    tally: Tally
    quota: Quota | None = None
    known: int | None = None
    share_settled: float = 0.0

    def count(self, rows: int, before: LedgerStanding) -> None:
        """Hear how many good *rows* there are, and where the ledger stands *before* the run."""
        self.known = rows
        self.share_settled = before.settled / before.total if before.total else 0.0

    def done(self, report: BulkReport) -> float | None:
        """Give the part of the file that is accounted for, 0 to 1; None where nobody can tell."""
        accounted = report.total + report.skipped
        if self.known is not None:
            return min(accounted / self.known, 1.0) if self.known else 0.0
        read, pulled = self._part_read(), self.tally.good_rows
        if read is None:
            return None
        # What was read and waits for an answer is not done.
        return read * accounted / pulled if pulled else 0.0

    def left(self, report: BulkReport) -> float | None:
        """Give the seconds that the rest will take, at the rate so far and within the quota."""
        rows = self._rows_left(report)
        if rows is None:
            return None
        least = quota_seconds(rows, self.quota)
        if not report.total:
            return least or None
        return max(rows * report.elapsed / report.total, least)

    def _rows_left(self, report: BulkReport) -> float | None:
        """Give how many rows will be sent yet: those that the ledger has are no work."""
        if self.tally.exhausted:
            return max(self.tally.good_rows - report.skipped - report.total, 0)
        rows = self._rows_in_all()
        if rows is None:
            return None
        skipped = max(report.skipped, rows * self.share_settled)
        return max(rows - skipped - report.total, 0)

    def _rows_in_all(self) -> float | None:
        if self.known is not None:
            return self.known
        read = self._part_read()
        return self.tally.good_rows / read if read else None

    def _part_read(self) -> float | None:
        size = self.rows.size
        return min(self.rows.consumed / size, 1.0) if size else None  # a file may grow meanwhile


def quota_seconds(requests: float, quota: Quota | None) -> float:
    """Give the seconds that *requests* take within *quota*, at the least."""
    if quota is None:
        return 0.0
    # The first window's worth may go at once; every further one has to wait for its turn.
    return max(requests - quota.limit, 0) * quota.per / quota.limit
