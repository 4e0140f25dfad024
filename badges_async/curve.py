"""
A pace that was found, and how it rises from there.

Here: the requests a second at each moment, as a value. Not here: when a pace is found or forgotten,
and who keeps it (`pace`).
"""

from __future__ import annotations

import math

import attrs

__all__ = ["Curve"]

# How the pace rises: its logarithm by so much times (x + x**3), x units after it was found.
_RISE = 0.03
_STEEPEST = 8.0


@attrs.define(eq=False)
class Curve:
    """
    A pace, and how it rises.

    Attributes:
        base: Requests a second when it was found.
        since: When that was.
        unit: Seconds in which it rises by 6 %; in twice that it is a third higher.
        learnt: It is the service's limit, and not only the way back to full speed after a pause.
        ends: When it is forgotten at the latest.
    """

    base: float
    since: float
    unit: float
    learnt: bool
    ends: float = math.inf

    def rate(self, now: float) -> float:
        """Give the requests a second at this moment."""
        x = min(max(now - self.since, 0.0) / self.unit, _STEEPEST)
        return self.base * math.exp(_RISE * (x + x**3))
