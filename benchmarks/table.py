"""One row for each thing measured, and how they are printed."""

from __future__ import annotations

from collections.abc import Iterable

import attrs

__all__ = ["Row", "show"]

_HEAD = f"{'what':<56} {'ratio':>7} {'absolute':>16}   {'the ratio is to'}"


@attrs.frozen
class Row:
    """
    One measurement.

    Attributes:
        name: What was measured.
        ratio: Its cost as a multiple of the baseline's, both taken in this run: compare these.
        figure: The cost itself, which depends on the machine and on what else it does.
        unit: What `figure` is in.
        baseline: What `ratio` is relative to.
    """

    name: str
    ratio: float
    figure: float
    unit: str
    baseline: str


def show(rows: Iterable[Row], *, head: bool) -> None:
    """Print *rows* as they come, below a head if it is wanted."""
    if head:
        print(_HEAD)
        print("-" * len(_HEAD))
    for row in rows:
        absolute = f"{row.figure:.1f} {row.unit}"
        print(f"{row.name:<56} {row.ratio:>6.2f}x {absolute:>16}   {row.baseline}", flush=True)
