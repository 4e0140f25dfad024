"""
Plots over time, as SVG that needs no script.

Here: shapes, axes and words of one plot. Not here: which plots there are (`charts`), their colours
(`style`). A plot is as wide as its place: the shapes are stretched, the text beside them is not.
"""

from __future__ import annotations

from collections.abc import Iterable, Sequence
from datetime import datetime

import attrs

from badges_async.cli.axes import Scale, clock, time_ticks
from badges_async.cli.markup import Child, Markup, number, tag

__all__ = ["Layer", "Line", "Shade", "Span", "Time", "plot", "stacked"]

_WIDE, _HIGH = 1000.0, 100.0


@attrs.frozen
class Span:
    """A slice of time, in seconds since the start of the run."""

    start: float
    end: float


@attrs.frozen
class Time:
    """The x axis that all plots of a page share."""

    began: datetime
    seconds: float
    spans: Sequence[Span]

    def x(self, moment: float) -> float:
        """Give the place of *moment*."""
        return _WIDE * moment / self.seconds

    def said(self, moment: float) -> str:
        """Give the time of day."""
        return clock(self.began, moment, 1.0, 0.0)


@attrs.frozen
class Layer:
    """
    An area, from *bottoms* to *tops*.

    Args:
        kind: Its colour's name.
        slanted: The values belong to the slices' ends, the first ones to the start; else they hold
            for a whole slice.
    """

    kind: str
    bottoms: Sequence[float | None]
    tops: Sequence[float | None]
    slanted: bool = False


@attrs.frozen
class Line:
    """A line of one value for each slice; it has a gap where there is none."""

    kind: str
    values: Sequence[float | None]


@attrs.frozen
class Shade:
    """How dark the background of each slice is, from 0 to 1."""

    kind: str
    parts: Sequence[float]


def plot(
    time: Time,
    scale: Scale,
    marks: Sequence[Layer | Line | Shade],
    *,
    notes: Sequence[str],
    words: str,
) -> Markup:
    """
    Give a plot.

    Args:
        time: Its x axis.
        scale: Its y axis.
        marks: What is drawn, the hindmost first.
        notes: What stands in the tooltip of each slice.
        words: The plot for those who cannot see it.
    """
    shapes = tag(
        "svg",
        [_draw(mark, time, scale) for mark in marks],
        _hints(time, notes),
        width="100%",
        height="100%",
        viewBox=f"0 0 {number(_WIDE)} {number(_HIGH)}",
        preserveAspectRatio="none",
    )
    return tag(
        "div",
        tag("svg", _y_axis(scale), _x_axis(time), shapes, role="img", aria_label=words),
        class_="plot",
    )


def stacked(
    kinds: Iterable[str], columns: Sequence[Sequence[float]], *, slanted: bool = False
) -> list[Layer]:
    """Pile up one layer for each kind; *columns* holds the values of each."""
    layers: list[Layer] = []
    below: Sequence[float] = [0.0] * (len(columns[0]) if columns else 0)
    for kind, column in zip(kinds, columns, strict=True):
        tops = [base + value for base, value in zip(below, column, strict=True)]
        if any(column):
            layers.append(Layer(kind, below, tops, slanted))
        below = tops
    return layers


def _draw(mark: Layer | Line | Shade, time: Time, scale: Scale) -> list[Markup]:
    match mark:
        case Layer(kind=kind):
            return [tag("path", d=_area(mark, time, scale), class_=f"area {kind}")]
        case Line(kind=kind):
            return [tag("path", d=_steps(mark.values, time, scale), class_=f"line {kind}")]
        case Shade():  # pragma: no branch - there are no other marks
            return list(_shades(mark, time))


def _area(layer: Layer, time: Time, scale: Scale) -> str:
    if layer.slanted:
        moments = [0.0, *(span.end for span in time.spans)]
        tops = [_point(time.x(m), scale, v) for m, v in zip(moments, layer.tops, strict=True)]
        rests = [_point(time.x(m), scale, v) for m, v in zip(moments, layer.bottoms, strict=True)]
        return f"M{'L'.join(tops)}L{'L'.join(reversed(rests))}Z"
    parts = []
    for span, bottom, top in zip(time.spans, layer.bottoms, layer.tops, strict=True):
        if bottom is not None and top is not None and top > bottom:
            left, right = number(time.x(span.start)), number(time.x(span.end))
            low, high = number(_y(scale, bottom)), number(_y(scale, top))
            parts.append(f"M{left} {low}V{high}H{right}V{low}Z")
    return "".join(parts)


def _steps(values: Sequence[float | None], time: Time, scale: Scale) -> str:
    parts = []
    pen_is_down = False
    for span, value in zip(time.spans, values, strict=True):
        if value is not None:
            start = _point(time.x(span.start), scale, value)
            parts.append(f"{'L' if pen_is_down else 'M'}{start}H{number(time.x(span.end))}")
        pen_is_down = value is not None
    return "".join(parts)


def _shades(shade: Shade, time: Time) -> Iterable[Markup]:
    for span, part in zip(time.spans, shade.parts, strict=True):
        if part > 0:
            # A second of a pause in a slice of minutes must still be seen.
            yield _column(time, span, class_=shade.kind, opacity=0.15 + 0.85 * min(part, 1.0))


def _hints(time: Time, notes: Sequence[str]) -> Iterable[Markup]:
    for span, note in zip(time.spans, notes, strict=True):
        yield _column(time, span, tag("title", note), class_="hint")


def _column(time: Time, span: Span, inner: Child = None, **attributes: str | float) -> Markup:
    name = "rect" if inner is None else "g"
    left = time.x(span.start)
    box = {"x": left, "y": 0.0, "width": time.x(span.end) - left, "height": _HIGH}
    if name == "rect":
        return tag("rect", **box, **attributes)
    return tag("g", inner, tag("rect", **box), **attributes)


def _point(x: float, scale: Scale, value: float | None) -> str:
    return f"{number(x)} {number(_y(scale, value or 0.0))}"


def _y(scale: Scale, value: float) -> float:
    return _HIGH * (1 - scale.place(value))


def _y_axis(scale: Scale) -> Iterable[Markup]:
    for tick in scale.ticks:
        y = f"{number(100 * (1 - tick.at))}%"
        yield tag("line", x1="0", x2="100%", y1=y, y2=y, class_="grid")
        yield tag("text", tick.label, x="-8", y=y, dy="0.32em", class_="y")


def _x_axis(time: Time) -> Iterable[Markup]:
    ticks = time_ticks(time.seconds)
    step = ticks[1].value if len(ticks) > 1 else time.seconds
    for place, tick in enumerate(ticks):
        x = f"{number(100 * tick.at)}%"
        odd = " odd" if place % 2 else ""
        now = clock(time.began, tick.value, step, time.seconds)
        yield tag("line", x1=x, x2=x, y1="0", y2="100%", class_=f"grid{odd}")
        yield tag("text", tick.label, x=x, y="100%", dy="1.5em", class_=f"x{odd}")
        yield tag("text", now, x=x, y="100%", dy="2.8em", class_=f"x clock{odd}")
