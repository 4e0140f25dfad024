"""
Outcomes on their way from a worker to the consumer.

Here: the way as a protocol, and the straight one. Not here: the one through a ledger (`journal`).
"""

from __future__ import annotations

from typing import Protocol

from badges_async.claims import ClaimOutcome
from badges_async.outbox import Outbox
from badges_async.report import Tally

__all__ = ["Delivery", "Straight"]


class Delivery(Protocol):
    """Takes outcomes, each once."""

    def offer(self, outcome: ClaimOutcome) -> bool:
        """Take an outcome; False when there is no room, and `put` must follow."""
        ...

    async def put(self, outcome: ClaimOutcome) -> None:
        """Take an outcome that `offer` had no room for, when there is some."""
        ...

    def end(self) -> None:
        """Hear that nothing more comes."""
        ...


class Straight:
    """Counts an outcome and gives it to the consumer."""

    def __init__(self, outbox: Outbox[ClaimOutcome], tally: Tally) -> None:
        self._tally = tally
        self._outbox = outbox
        self.put = outbox.put
        self.end = outbox.end

    def offer(self, outcome: ClaimOutcome) -> bool:
        """See `Delivery`; an outcome without room counts as well."""
        self._tally.add(outcome)
        return self._outbox.offer(outcome)
