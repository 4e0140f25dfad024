"""
Rows that have to wait for something other than a worker.

Here: which wait for what, and how many may. Not here: when their turn comes (`crew`, `probing`).
"""

from __future__ import annotations

from collections import deque

import attrs

from badges_async.row import Row

__all__ = ["Parking"]


@attrs.define(eq=False)
class Parking:
    """
    A bounded number of rows, so that no more are pulled when too many wait.

    Attributes:
        most: How many there may be before no more are pulled.
        unanswered: Rows for a service that answers nobody, the oldest first.
        unpaid: Rows whose next attempt the retry budget does not allow yet, likewise.
    """

    most: int
    unanswered: deque[Row] = attrs.field(factory=deque)
    unpaid: deque[Row] = attrs.field(factory=deque)

    def has_room(self) -> bool:
        """Whether more rows may be pulled."""
        return len(self.unanswered) + len(self.unpaid) < self.most

    def take_unanswered(self) -> Row | None:
        """Give the row that has waited longest for the service, with its time given back."""
        return self.unanswered.popleft().renewed() if self.unanswered else None

    def take_any(self) -> Row | None:
        """Give a row to probe with, which costs nothing of the retry budget."""
        if not self.unanswered and self.unpaid:
            return self.unpaid.popleft().renewed()
        return self.take_unanswered()
