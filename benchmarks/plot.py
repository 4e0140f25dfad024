"""
The table of `claims` as a picture: an SVG with a bar for each contender and loop.

Here: what goes into it and where it stands. Not here: measuring; the figures are those of the rows.

It has a background of its own, light or dark as the reader prefers, since a picture in a page does
not know the page's.
"""

from __future__ import annotations

from collections.abc import Iterable, Iterator, Sequence
from html import escape
from itertools import groupby
from pathlib import Path

from benchmarks.claims import MANY, OURS, ClaimRow

__all__ = ["draw", "write"]

_WIDTH, _LEFT, _RIGHT = 860, 210, 700
_TOP, _BAR, _GAP = 66, 15, 11
_LINE = 16
_MOST = 2.2  # the longest bar in full, as a multiple of the baseline's; a longer one is cut
_FOOT_CHARACTERS = 125
_EXPLAINED = "Factors are to post + gather + semaphore on the same loop. A bar with a slash is cut."
_STYLE = """\
text { font: 12px -apple-system, "Segoe UI", Helvetica, Arial, sans-serif; fill: #1f2328 }
.title { font-size: 15px; font-weight: 600 }
.foot, .said { fill: #59636e; font-size: 11px }
.ours, .ours-said { font-weight: 600 }
.ground { fill: #ffffff; stroke: #d1d9e0 }
.bar { fill: #afb8c1 }
.bar-ours { fill: #0969da }
.cut { stroke: #ffffff; stroke-width: 3 }
@media (prefers-color-scheme: dark) {
  text { fill: #f0f6fc }
  .foot, .said { fill: #9198a1 }
  .ground { fill: #0d1117; stroke: #3d444d }
  .bar { fill: #59636e }
  .bar-ours { fill: #4493f8 }
  .cut { stroke: #0d1117 }
}"""


def write(path: Path, rows: Iterable[object]) -> None:
    """
    Draw *rows* into a file.

    Raises:
        ValueError: None of them is of what the picture shows.
    """
    path.write_text(draw(rows), encoding="utf-8")


def draw(rows: Iterable[object]) -> str:
    """Give the SVG of those of *rows* that are claims with many at once."""
    shown = [
        row
        for row in rows
        if isinstance(row, ClaimRow) and row.concurrency == MANY and not row.one_badge
    ]
    if not shown:
        raise ValueError(f"there is no claim at a concurrency of {MANY} to draw")
    costs: dict[str, float] = {}  # of each contender, with the loop that comes first
    for row in shown:
        costs.setdefault(row.way, row.figure)
    shown.sort(key=lambda row: -costs[row.way])
    baseline = max(row.figure for row in shown if row.way == row.baseline)
    bars, height = _bars(shown, (_RIGHT - _LEFT) / (baseline * _MOST))
    return "\n".join(_page(bars, height, shown[0].conditions)) + "\n"


def _page(bars: Sequence[str], height: int, conditions: str) -> Iterator[str]:
    title = (
        f"CPU time of the client for one claim, {MANY} at once, in microseconds (less is better)"
    )
    foot = [*_folded(conditions, _FOOT_CHARACTERS), _EXPLAINED]
    total = height + _LINE * len(foot) + 12
    yield (
        f'<svg xmlns="http://www.w3.org/2000/svg" viewBox="0 0 {_WIDTH} {total}" '
        f'width="{_WIDTH}" height="{total}" role="img" aria-labelledby="title">'
    )
    yield f'<title id="title">{escape(title)}</title>'
    yield f"<style>{_STYLE}</style>"
    yield (
        f'<rect class="ground" x="0.5" y="0.5" width="{_WIDTH - 1}" height="{total - 1}" rx="6"/>'
    )
    yield _text(20, 30, title, "title")
    yield _text(20, 49, "user and kernel time of its process, all threads included", "foot")
    yield from bars
    for number, line in enumerate(foot):
        yield _text(20, height + _LINE * (number + 1) - 4, line, "foot")
    yield "</svg>"


def _bars(rows: list[ClaimRow], scale: float) -> tuple[list[str], int]:
    """Give the bars, and where they end."""
    parts, y = [], _TOP
    for way, group in groupby(rows, key=lambda row: row.way):
        ours = "ours" if way in OURS else ""
        same = list(group)
        middle = y + len(same) * (_BAR + 2) / 2 + 3
        parts.append(_text(_LEFT - 10, middle, way, ours, anchor="end"))
        for row in same:
            parts += _bar(row, y, scale)
            y += _BAR + 2
        y += _GAP
    return parts, y


def _bar(row: ClaimRow, y: float, scale: float) -> Iterator[str]:
    full = row.figure * scale
    length = min(full, _RIGHT - _LEFT)
    ours = row.way in OURS
    yield (
        f'<rect class="{"bar-ours" if ours else "bar"}" x="{_LEFT}" y="{y}" '
        f'width="{length:.1f}" height="{_BAR}" rx="2"/>'
    )
    if full > length:
        x = _LEFT + length * 0.93
        yield f'<path class="cut" d="M{x:.1f} {y + _BAR + 2} l8 -{_BAR + 4}"/>'
    said = row.figure_as_shown + (f" {row.loop}" if row.loop else "")
    if row.way != row.baseline:
        said += f", {_factor(row.ratio)}"
    yield _text(_LEFT + length + 6, y + 12, said, "ours-said" if ours else "said")


def _factor(ratio: float) -> str:
    as_shown = f"{ratio:.1f}x"
    return as_shown if ratio > 1 or as_shown == "1.0x" else f"{1 / ratio:.1f}x less"


def _text(x: float, y: float, text: str, kind: str, *, anchor: str = "start") -> str:
    kind = f' class="{kind}"' if kind else ""
    return f'<text x="{x:.1f}" y="{y:.1f}" text-anchor="{anchor}"{kind}>{escape(text)}</text>'


def _folded(text: str, width: int) -> list[str]:
    lines = [""]
    for word in text.split():
        if len(lines[-1]) + len(word) > width:
            lines.append("")
        lines[-1] += f" {word}" if lines[-1] else word
    return lines
