"""One row for each thing measured, and how they are printed."""

from __future__ import annotations

from collections.abc import Iterable

import attrs

__all__ = ["Row", "note", "show"]

_HEAD = f"{'what':<66} {'ratio':>7} {'absolute':>16}   {'the ratio is to'}"


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

    @property
    def figure_as_shown(self) -> str:
        """The figure as the table has it."""
        return f"{self.figure:.1f}"


def note(text: str) -> None:
    """Print what a reader of the table must know."""
    print(f"# {text}", flush=True)


def show(rows: Iterable[Row], *, head: bool) -> list[Row]:
    """Print *rows* as they come, below a head if it is wanted; give them when all are there."""
    shown = []
    if head:
        print(_HEAD)
        print("-" * len(_HEAD))
    for row in rows:
        absolute = f"{row.figure_as_shown} {row.unit}"
        print(f"{row.name:<66} {row.ratio:>6.2f}x {absolute:>16}   {row.baseline}", flush=True)
        shown.append(row)
    return shown
