"""
What a run of many claims adds up to.

Here: the numbers and the rule for "all well". Not here: how they are printed (`cli`) or counted
(`bulk`).
"""

from __future__ import annotations

from collections.abc import Mapping

import attrs

from badges_async.enums import ClaimStatus

__all__ = ["BulkReport"]


@attrs.frozen(kw_only=True)
class BulkReport:
    """
    The sums of one bulk run.

    Attributes:
        counts: Outcomes by status; every status is a key.
        recovered: Those of ALREADY_CLAIMED that are most likely ours, see `ClaimOutcome`.
        skipped: Requests that a ledger knew to be settled before this run; nothing was sent.
        unsettled: Requests that were pulled and got no outcome, because the run was stopped.
        retries: Attempts beyond the first of each request.
        throttled: Answers that said "too many requests" (429).
        errors: Requests that ended REJECTED or FAILED, by cause: the API's code as text, such as
            ``"717"``, else the HTTP status, such as ``"HTTP 502"``, else the error's class name.
        elapsed: Seconds from the start of the run to its end, or to now while it runs.
    """

    counts: Mapping[ClaimStatus, int] = attrs.field(hash=False)
    recovered: int = 0
    skipped: int = 0
    unsettled: int = 0
    retries: int = 0
    throttled: int = 0
    errors: Mapping[str, int] = attrs.field(factory=dict, hash=False)
    elapsed: float = 0.0

    @property
    def claimed(self) -> int:
        """Claims that are new with this run."""
        return self.counts[ClaimStatus.CLAIMED]

    @property
    def already_claimed(self) -> int:
        """Claims that stood when the answer was given, `recovered` ones included."""
        return self.counts[ClaimStatus.ALREADY_CLAIMED]

    @property
    def rejected(self) -> int:
        """Claims that were refused for good."""
        return self.counts[ClaimStatus.REJECTED]

    @property
    def failed(self) -> int:
        """Claims whose attempts are exhausted; what the service holds of them is not known."""
        return self.counts[ClaimStatus.FAILED]

    @property
    def total(self) -> int:
        """Outcomes, of any status."""
        return sum(self.counts.values())

    @property
    def claims_per_second(self) -> float:
        """Outcomes for each second of the run; 0.0 before any time has passed."""
        return self.total / self.elapsed if self.elapsed > 0 else 0.0

    @property
    def ok(self) -> bool:
        """Whether every request that was pulled is held by the service now."""
        return not (self.rejected or self.failed or self.unsettled)
