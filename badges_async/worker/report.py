"""
What a worker has done so far, as sums.

Here: the numbers. Not here: metrics for Prometheus (`metrics`), or printing (`cli`).
"""

from __future__ import annotations

from collections.abc import Mapping, Sequence

import attrs

from badges_async import ClaimStatus
from badges_async.worker.source import Settlement, Verdict

__all__ = ["Tally", "WorkerReport"]


@attrs.frozen(kw_only=True)
class WorkerReport:
    """
    The sums of one worker. A delivery counts when its source has done what was asked.

    Attributes:
        counts: Claims by status; FAILED ones were retried later or are among the dead letters.
        recovered: Those of ALREADY_CLAIMED that are most likely ours.
        retried: Deliveries that were put off.
        buried: Dead letters, by reason.
        released: Deliveries that were handed back.
        lost: Deliveries whose lease another worker took over.
        elapsed: Seconds since the worker began.
    """

    counts: Mapping[ClaimStatus, int]
    recovered: int = 0
    retried: int = 0
    buried: Mapping[str, int] = attrs.field(factory=dict)
    released: int = 0
    lost: int = 0
    elapsed: float = 0.0

    @property
    def settled(self) -> int:
        """Events that are done with, dead letters included."""
        return self.held + sum(self.buried.values())

    @property
    def held(self) -> int:
        """Claims that the service holds."""
        return self.counts[ClaimStatus.CLAIMED] + self.counts[ClaimStatus.ALREADY_CLAIMED]


@attrs.define
class Tally:
    """The sums so far, counted up as it goes."""

    counts: dict[ClaimStatus, int] = attrs.field(factory=lambda: dict.fromkeys(ClaimStatus, 0))
    recovered: int = 0
    retried: int = 0
    buried: dict[str, int] = attrs.field(factory=dict)
    released: int = 0
    lost: int = 0

    def add(self, settlements: Sequence[Settlement]) -> None:
        """Count settlements that were carried out."""
        claimed = 0  # nearly all are; finding the count of each would cost more than all else
        for settlement in settlements:
            outcome = settlement.outcome
            if outcome is not None:
                if outcome.status is ClaimStatus.CLAIMED:
                    claimed += 1
                else:
                    self.counts[outcome.status] += 1
                    self.recovered += outcome.recovered
            if settlement.verdict is not Verdict.SETTLE:
                self._add_other(settlement)
        self.counts[ClaimStatus.CLAIMED] += claimed

    def _add_other(self, settlement: Settlement) -> None:
        if settlement.verdict is Verdict.RETRY:
            self.retried += 1
        elif settlement.verdict is Verdict.BURY:
            self.buried[settlement.reason] = self.buried.get(settlement.reason, 0) + 1
        else:
            self.released += 1

    def report(self, elapsed: float) -> WorkerReport:
        """Give the sums."""
        return WorkerReport(
            counts=dict(self.counts),
            recovered=self.recovered,
            retried=self.retried,
            buried=dict(self.buried),
            released=self.released,
            lost=self.lost,
            elapsed=elapsed,
        )
