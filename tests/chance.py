"""Chance that is none: draws that a test can foretell."""

from __future__ import annotations

import random


class Lowest(random.Random):
    """Draws the lower bound, always."""

    def uniform(self, a: float, b: float) -> float:  # noqa: ARG002 - as its base
        return a


class Highest(random.Random):
    """Draws the upper bound, always."""

    def uniform(self, a: float, b: float) -> float:  # noqa: ARG002 - as its base
        return b
