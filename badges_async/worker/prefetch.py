"""
How many deliveries a worker holds beside those that it is claiming.

Here: numbers. Not here: fetching (`worker`).

A trip to the source costs as much as five claims do, whatever it brings: a worker that claims
thousands a second takes many at once. One that may claim a hundred a minute takes few, or it would
keep from the others what it cannot claim for long.
"""

from __future__ import annotations

__all__ = ["Prefetch"]

_SECONDS = 0.06  # of work at hand
_MEASURE = 0.05  # seconds over which the pace is measured
_MOST = 1000


class Prefetch:
    """
    Bounds for the deliveries in hand, from the pace at which they are decided.

    Args:
        concurrency: Claims in flight at the most.
    """

    def __init__(self, concurrency: int) -> None:
        self._concurrency = concurrency
        self._least = max(1, concurrency // 4)
        self._ahead = self._least
        self._since: float | None = None
        self._decided = 0

    @property
    def most(self) -> int:
        """The most that are in hand."""
        return self._concurrency + self._ahead

    @property
    def enough(self) -> int:
        """With so many in hand there is no need for more."""
        return self._concurrency + self._ahead // 2

    def measure(self, decided: int, now: float) -> None:
        """Hear how many were decided so far."""
        if self._since is None or now - self._since >= _MEASURE:
            if self._since is not None:
                pace = (decided - self._decided) / (now - self._since)
                self._ahead = max(self._least, min(int(pace * _SECONDS), _MOST))
            self._since, self._decided = now, decided
