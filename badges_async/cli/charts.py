"""
The plots of a run: claims settled, requests and pauses, latency, and what the workers did.

Here: which numbers are drawn, and what is said beside them. Not here: how that is done (`plots`).
"""

from __future__ import annotations

import math
from collections.abc import Iterator, Sequence
from itertools import accumulate

import attrs

from badges_async import ClaimStatus
from badges_async.cli.axes import brief, linear, logarithmic
from badges_async.cli.ending import Ending
from badges_async.cli.markup import Markup, tag
from badges_async.cli.plots import Layer, Line, Shade, Span, Time, plot, stacked
from badges_async.cli.summary import duration, rate
from badges_async.cli.timeline import Bucket
from badges_async.cli.waiting import OTHER, in_order

__all__ = ["Course", "charts", "course_of", "legend"]

# From the bottom of a stack to its top: what went well carries the rest.
STATUSES = (
    (ClaimStatus.CLAIMED, "claimed"),
    (ClaimStatus.ALREADY_CLAIMED, "already claimed"),
    (ClaimStatus.FAILED, "failed"),
    (ClaimStatus.REJECTED, "rejected"),
)
_TROUBLE = (
    ("lost", "errors: 5xx, lost, timed out"),
    ("throttled", "throttled (429)"),
    ("pause", "pause asked by the service"),
)


@attrs.frozen
class Course:
    """The slices of a run that hold anything, and their times."""

    time: Time
    buckets: Sequence[Bucket]
    workers: int

    def seconds(self, place: int) -> float:
        """Give how long a slice was."""
        span = self.time.spans[place]
        return span.end - span.start


def course_of(ending: Ending, most: int) -> Course | None:
    """Give the run in at most *most* slices; None where nothing happened."""
    width, buckets = ending.timeline.width, list(ending.timeline.buckets)
    if not any(bucket.requests or bucket.settled for bucket in buckets):
        return None
    while len(buckets) > most:
        buckets = [_joined(buckets[place : place + 2]) for place in range(0, len(buckets), 2)]
        width *= 2
    seconds = max(ending.report.elapsed, (len(buckets) - 0.75) * width)
    # Nothing comes in while a run waits in vain, and that is to be seen.
    buckets += [Bucket() for _ in range(math.ceil(seconds / width) - len(buckets))]
    spans = [
        Span(place * width, min((place + 1) * width, seconds)) for place in range(len(buckets))
    ]
    return Course(Time(ending.began.astimezone(), seconds, spans), buckets, ending.workers)


def charts(course: Course) -> Iterator[Markup]:
    """Yield the plots."""
    yield _settled(course)
    yield _pace(course)
    yield _requests(course)
    if any(bucket.errors or bucket.throttled or bucket.paused for bucket in course.buckets):
        yield _trouble(course)
    if any(bucket.latencies for bucket in course.buckets):
        yield _latency(course)
    if any(bucket.waits for bucket in course.buckets):
        yield _workers(course)


def legend(items: Sequence[tuple[str, str]]) -> Markup:
    """Give what the colours of a plot mean: kinds and words."""
    keys = [tag("li", tag("span", class_=f"key {kind}"), words) for kind, words in items]
    return tag("ul", keys, class_="legend")


def _settled(course: Course) -> Markup:
    kinds = _statuses(course)
    sums = [[0.0, *accumulate(_counts(course, status))] for status, _, _ in kinds]
    total = sum(column[-1] for column in sums)
    notes = [
        "\n".join(
            [
                _when(course, n),
                *(
                    f"{_count(column[n + 1])} {words}"
                    for (_, _, words), column in zip(kinds, sums, strict=True)
                ),
            ]
        )
        for n in range(len(course.buckets))
    ]
    picture = plot(
        course.time,
        linear(total, whole=True),
        stacked([kind for _, kind, _ in kinds], sums, slanted=True),
        notes=notes,
        words=f"Claims settled since the start, by status: {_count(total)} in the end.",
    )
    return _figure("Claims settled", "since the start", [(k, w) for _, k, w in kinds], picture)


def _pace(course: Course) -> Markup:
    kinds = _statuses(course)
    columns = [_per_second(course, _counts(course, status)) for status, _, _ in kinds]
    tops = [sum(values) for values in zip(*columns, strict=True)]
    notes = [
        "\n".join(
            [
                _when(course, n),
                *(
                    f"{rate(column[n])} {words} per second"
                    for (_, _, words), column in zip(kinds, columns, strict=True)
                    if column[n]
                ),
            ]
        )
        for n in range(len(course.buckets))
    ]
    best = max(tops, default=0.0)
    picture = plot(
        course.time,
        linear(best),
        stacked([kind for _, kind, _ in kinds], columns),
        notes=notes,
        words=f"Claims settled per second, by status: at most {rate(best)}.",
    )
    return _figure("Pace", "claims settled per second", [(k, w) for _, k, w in kinds], picture)


def _requests(course: Course) -> Markup:
    sent = _per_second(course, [bucket.requests for bucket in course.buckets])
    lost = _per_second(course, [bucket.errors for bucket in course.buckets])
    refused = _per_second(course, [bucket.throttled for bucket in course.buckets])
    fine = [a - b - c for a, b, c in zip(sent, lost, refused, strict=True)]
    picture = plot(
        course.time,
        linear(max(sent)),
        [_pauses(course), *stacked(["sent", "lost", "throttled"], [fine, lost, refused])],
        notes=_request_notes(course),
        words=f"Requests per second: at most {rate(max(sent))}.",
    )
    there = {"lost": any(lost), "throttled": any(refused), "pause": _is_paused(course)}
    keys = [("sent", "answered"), *(key for key in _TROUBLE if there[key[0]])]
    return _figure("Requests", "per second", keys, picture)


def _trouble(course: Course) -> Markup:
    """Give what would be too small to be seen among all requests."""
    lost = [float(bucket.errors) for bucket in course.buckets]
    refused = [float(bucket.throttled) for bucket in course.buckets]
    most = max(a + b for a, b in zip(lost, refused, strict=True))
    paused = sum(bucket.paused for bucket in course.buckets)
    words = (
        f"Requests without a decision: {_count(sum(refused))} throttled, {_count(sum(lost))} "
        f"errors. Pauses that the service asked for: {duration(paused)}."
    )
    picture = plot(
        course.time,
        linear(max(most, 1.0), whole=True),
        [_pauses(course), *stacked(["lost", "throttled"], [lost, refused])],
        notes=_request_notes(course),
        words=words,
    )
    unit = f"requests in {duration(course.seconds(0))}"
    return _figure("Throttles, errors and pauses", unit, _TROUBLE, picture)


def _is_paused(course: Course) -> bool:
    return any(bucket.paused for bucket in course.buckets)


def _pauses(course: Course) -> Shade:
    return Shade("pause", [b.paused / course.seconds(n) for n, b in enumerate(course.buckets)])


def _request_notes(course: Course) -> list[str]:
    return [
        f"{_when(course, n)}\n{b.requests:,} requests\n{b.throttled:,} throttled (429)\n"
        f"{b.errors:,} errors\n{duration(b.paused)} paused"
        for n, b in enumerate(course.buckets)
    ]


def _latency(course: Course) -> Markup:
    half = [bucket.latency(0.5) for bucket in course.buckets]
    most = [bucket.latency(0.95) for bucket in course.buckets]
    known = [value for value in (*half, *most) if value is not None]
    notes = [
        _when(course, n)
        + (
            f"\np50 {brief(a)}\np95 {brief(b)}\nslowest {brief(course.buckets[n].slowest)}"
            if a is not None and b is not None
            else "\nno answer"
        )
        for n, (a, b) in enumerate(zip(half, most, strict=True))
    ]
    picture = plot(
        course.time,
        logarithmic(min(known), max(known), brief),
        [Layer("between", half, most), Line("p95", most), Line("p50", half)],
        notes=notes,
        words=f"Seconds on the wire, p50 and p95: from {brief(min(known))} to {brief(max(known))}.",
    )
    keys = [("p50", "p50: half of the requests are faster"), ("p95", "p95: 19 of 20 are")]
    return _figure("Latency", "of an answer, logarithmic", keys, picture)


def _workers(course: Course) -> Markup:
    causes = in_order({cause: 0.0 for bucket in course.buckets for cause in bucket.waits})
    columns = [
        [
            bucket.waits.get(cause, 0.0) / (course.workers * course.seconds(n))
            for n, bucket in enumerate(course.buckets)
        ]
        for cause in causes
    ]
    notes = [
        "\n".join(
            [
                _when(course, n),
                *(
                    f"{cause} {column[n]:.0%}"
                    for cause, column in zip(causes, columns, strict=True)
                    if column[n]
                ),
            ]
        )
        for n in range(len(course.buckets))
    ]
    picture = plot(
        course.time,
        attrs.evolve(linear(1.0, label="{:.0%}".format), place=lambda value: min(value, 1.0)),
        stacked([f"cause-{cause}" for cause in causes], columns),
        notes=notes,
        words=f"What the workers waited for, by share: {', '.join(causes)}.",
    )
    keys = [(f"cause-{cause}", cause) for cause in causes if cause != OTHER]
    return _figure("Workers", "what they waited for", keys, picture)


def _figure(title: str, unit: str, keys: Sequence[tuple[str, str]], picture: Markup) -> Markup:
    caption = tag("figcaption", tag("strong", title), " ", tag("span", unit))
    return tag("figure", tag("div", caption, legend(keys), class_="head"), picture)


def _statuses(course: Course) -> list[tuple[ClaimStatus, str, str]]:
    seen = {status for bucket in course.buckets for status in bucket.settled}
    return [(s, str(s), words) for s, words in STATUSES if s in seen or s is ClaimStatus.CLAIMED]


def _counts(course: Course, status: ClaimStatus) -> list[float]:
    return [float(bucket.settled.get(status, 0)) for bucket in course.buckets]


def _per_second(course: Course, counts: Sequence[float]) -> list[float]:
    return [count / course.seconds(place) for place, count in enumerate(counts)]


def _when(course: Course, place: int) -> str:
    span = course.time.spans[place]
    return f"{duration(span.start)} to {duration(span.end)}, {course.time.said(span.start)}"


def _count(value: float) -> str:
    return f"{value:,.0f}"


def _joined(buckets: Sequence[Bucket]) -> Bucket:
    whole = Bucket()
    for bucket in buckets:
        whole.add(bucket)
    return whole
