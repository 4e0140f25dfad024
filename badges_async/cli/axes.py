"""
Axes: which numbers stand at them, and how they are written.

Here: arithmetic on numbers and times. Not here: SVG (`plots`).
"""

from __future__ import annotations

import math
from collections.abc import Callable
from datetime import datetime, timedelta

import attrs

__all__ = [
    "Scale",
    "Tick",
    "brief",
    "clock",
    "compact",
    "elapsed_label",
    "linear",
    "logarithmic",
    "time_ticks",
]

_MINUTE, _HOUR, _DAY = 60, 3600, 86400
_MARKS = (1.0, 2.0, 2.5, 5.0, 10.0)
_WHOLE_MARKS = (1.0, 2.0, 5.0, 10.0)
_TIME_STEPS = (
    *(0.01, 0.02, 0.05, 0.1, 0.2, 0.5, 1, 2, 5, 10, 15, 30),
    *(_MINUTE, 2 * _MINUTE, 5 * _MINUTE, 10 * _MINUTE, 15 * _MINUTE, 30 * _MINUTE),
    *(_HOUR, 2 * _HOUR, 3 * _HOUR, 6 * _HOUR, 12 * _HOUR, _DAY, 2 * _DAY, 7 * _DAY),
)


@attrs.frozen
class Tick:
    """A mark at an axis: where, from 0 to 1, and what stands there."""

    at: float
    label: str
    value: float = 0.0


@attrs.frozen
class Scale:
    """Numbers to places from 0 (the axis's start) to 1."""

    place: Callable[[float], float]
    ticks: tuple[Tick, ...]


def linear(
    most: float, *, whole: bool = False, label: Callable[[float], str] | None = None
) -> Scale:
    """Give a scale from 0 to a round number that is not below *most*."""
    step = _round_up(max(most, 1e-9) / 4, _WHOLE_MARKS if whole else _MARKS)
    step = max(step, 1.0) if whole else step
    steps = max(math.ceil(most / step - 1e-9), 1)
    top = steps * step
    say = label or compact
    ticks = tuple(Tick(n / steps, say(n * step), n * step) for n in range(steps + 1))
    return Scale(lambda value: value / top, ticks)


def logarithmic(least: float, most: float, label: Callable[[float], str]) -> Scale:
    """Give a scale over the decades, or the parts of them, between two positive numbers."""
    marks = (1.0, 2.0, 5.0)
    steps = [m * 10.0**e for e in range(-7, 8) for m in marks]
    below = max((s for s in steps if s <= least), default=steps[0])
    above = min((s for s in steps if s >= most and s > below), default=steps[-1])
    low, high = math.log(below), math.log(above)

    def place(value: float) -> float:
        return min(max((math.log(max(value, below)) - low) / (high - low), 0.0), 1.0)

    inside = [s for s in steps if below <= s <= above]
    if len(inside) > 6:  # noqa: PLR2004 - more would touch each other
        inside = [
            s
            for s in inside
            if math.isclose(math.log10(s) % 1, 0, abs_tol=1e-9)
            or math.isclose(math.log10(s) % 1, 1, abs_tol=1e-9)
        ]
    return Scale(place, tuple(Tick(place(s), label(s), s) for s in inside))


def time_ticks(span: float, most: int = 8) -> tuple[Tick, ...]:
    """Give the marks of elapsed time, from 0 on."""
    step = next((step for step in _TIME_STEPS if span / step <= most), None)
    if step is None:
        step = math.ceil(span / most / (7 * _DAY)) * 7 * _DAY
    count = int(span / step + 1e-9)
    return tuple(
        Tick(n * step / span, elapsed_label(n * step, step), n * step) for n in range(count + 1)
    )


def elapsed_label(seconds: float, step: float) -> str:
    """Give an elapsed time as exact as *step* asks for."""
    if not seconds:
        return "0"
    if step < 1:
        return f"{seconds:.2f}".rstrip("0").rstrip(".") + " s"
    minutes, rest = divmod(round(seconds), _MINUTE)
    hours, minutes = divmod(minutes, 60)
    if step >= _HOUR:
        days, hours = divmod(hours, 24)
        return " ".join(f"{n} {unit}" for n, unit in ((days, "d"), (hours, "h")) if n)
    if step >= _MINUTE:
        return f"{hours}:{minutes:02} h" if hours else f"{minutes} min"
    if hours:
        return f"{hours}:{minutes:02}:{rest:02}"
    return f"{minutes}:{rest:02}" if minutes else f"{rest} s"


def clock(began: datetime, seconds: float, step: float, span: float) -> str:
    """Give the time of day *seconds* after *began*, with its weekday in a run of days."""
    moment = (began + timedelta(seconds=seconds)).astimezone(began.tzinfo)
    if step < _MINUTE:
        return f"{moment:%H:%M:%S}"
    return f"{moment:%a %H:%M}" if span > _DAY else f"{moment:%H:%M}"


def compact(value: float) -> str:
    """Give a number for an axis: ``0.5``, ``20``, ``1,500``, ``20k``, ``1.5M``."""
    for size, letter in ((1e6, "M"), (1e4, "k")):
        if value >= size:
            return f"{value / min(size, 1e6 if letter == 'M' else 1e3):.10g}{letter}"
    return f"{value:,.10g}"


def brief(seconds: float) -> str:
    """Give a short time with the digits that mean something: ``0.4 ms``, ``34 ms``, ``1.2 s``."""
    for size, unit in ((1.0, "s"), (1e-3, "ms")):
        if seconds >= size * 0.9995:
            value = seconds / size
            return f"{value:.0f} {unit}" if value >= 10 else f"{value:.2g} {unit}"  # noqa: PLR2004
    return f"{seconds * 1e3:.1g} ms"


def _round_up(value: float, marks: tuple[float, ...]) -> float:
    power: float = 10.0 ** math.floor(math.log10(value))
    return next(m * power for m in marks if m * power >= value * (1 - 1e-9))
