"""
Where a ledger stands, in words and as JSON values.

Here: one line for a person, one object for a machine. Not here: the whole picture that the command
``ledger`` draws, or how a ledger is read.
"""

from __future__ import annotations

from typing import Any

import attrs

from badges_async import ClaimStatus, LedgerStanding

__all__ = ["Standing", "claims"]


@attrs.frozen
class Standing:
    """
    The sums of the ledger of that *name*.

    Attributes:
        name: Of its file.
    """

    name: str
    sums: LedgerStanding

    def in_words(self) -> str:
        """Give it as one line, with what to do next."""
        sums, failed = self.sums, self.sums.counts[ClaimStatus.FAILED]
        parts = [f"{claims(sums.total)}, {sums.settled:,} settled"]
        if rejected := sums.counts[ClaimStatus.REJECTED]:
            parts[0] += f" ({rejected:,} of them rejected)"
        others = ((failed, "failed"), (sums.in_doubt, "in doubt"), (sums.pending, "pending"))
        parts += [f"{count:,} {what}" for count, what in others if count]
        return f"The ledger: {', '.join(parts)}{self._next()}"

    def as_values(self) -> dict[str, Any]:
        """Give it as JSON values; keys are only ever added."""
        sums = self.sums
        return {
            "file": self.name,
            "claims": sums.total,
            "settled": sums.settled,
            "unsettled": sums.unsettled,
            **{str(status): count for status, count in sums.counts.items()},
            "recovered": sums.recovered,
            "pending": sums.pending,
            "in_doubt": sums.in_doubt,
        }

    def _next(self) -> str:
        if not self.sums.unsettled:
            return ""
        only_failed = self.sums.unsettled == self.sums.counts[ClaimStatus.FAILED]
        return ": run again to try those" if only_failed else ": run again to go on"


def claims(count: int) -> str:
    """Give *count* with its noun."""
    return "1 claim" if count == 1 else f"{count:,} claims"
