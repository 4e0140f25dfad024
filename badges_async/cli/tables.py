"""
The tables of a run's page: counts, causes, waits, the course of the run, problems.

Here: rows and columns. Not here: where they stand on the page (`page`).
"""

from __future__ import annotations

from collections.abc import Iterable, Sequence

from badges_async.cli.axes import brief
from badges_async.cli.charts import STATUSES, Course
from badges_async.cli.ending import Ending
from badges_async.cli.markup import Child, Markup, number, tag
from badges_async.cli.summary import duration, rate
from badges_async.cli.tally import PROBLEMS_KEPT, Problem
from badges_async.cli.waiting import Wait, meaning_of, time_by_cause

__all__ = [
    "counts_table",
    "course_table",
    "errors_table",
    "problems_table",
    "unsettled_table",
    "waits_table",
]

_SHOWN = 100
_LETTERS = 400  # of a text; a service may say more than anybody reads


def counts_table(ending: Ending) -> Markup:
    """Give what became of the rows, with their shares."""
    report, tally = ending.report, ending.tally
    recovered = f"{report.recovered:,} recovered after a lost answer" if report.recovered else ""
    before = f"{report.rejected_before:,} of them rejected" if report.rejected_before else ""
    notes = {"already_claimed": recovered, "failed": "may be held or not; run them again"}
    lines = [(str(s), words, report.counts[s], notes.get(str(s), "")) for s, words in STATUSES]
    lines += [
        ("bad_rows", "bad rows", tally.bad_rows, "nothing was sent for them"),
        ("skipped", "settled before", report.skipped, before),
        ("unsettled", "unsettled", report.unsettled, "no answer when the run ended"),
    ]
    shown = [line for line in lines if line[2] or line[0] not in {"skipped", "unsettled"}]
    rows = max(sum(count for _, _, count, _ in shown), 1)
    parts = [(kind, words, count / rows) for kind, words, count, _ in shown if count]
    bar = _bar(parts) if parts else None
    body = [
        _row(
            [_key(kind), words],
            (f"{count:,}", _share(count / rows)),
            note if count else "",
            none=not count,
        )
        for kind, words, count, note in shown
    ]
    return tag("div", bar, _table(("status", "rows", "share", ""), body))


def errors_table(ending: Ending) -> Markup:
    """Give the causes of errors, each with an example."""
    body = []
    causes = sorted(ending.report.errors.items(), key=lambda item: (-item[1], item[0]))
    for cause, count in causes[:_SHOWN]:
        example = ending.tally.examples.get(cause)
        line, message = (f"{example.line:,}", example.message) if example else ("", "")
        name = f"code {cause}" if cause.isdigit() else cause
        body.append(_row([_shortened(name)], (f"{count:,}", line), _shortened(message)))
    caption = f"The first {_SHOWN} of {len(causes):,}." if len(causes) > _SHOWN else None
    return _table(("cause", "rows", "such as line", "which says"), body, caption=caption)


def waits_table(ending: Ending) -> Markup | None:
    """Give where the workers' time went, as a bar and in numbers; None where none went by."""
    waits = time_by_cause(ending)
    if not waits:
        return None
    bar = _bar([(f"cause-{wait.cause}", wait.cause, wait.share) for wait in waits])
    body = [_waited(wait) for wait in waits]
    whose = "one worker" if ending.workers == 1 else f"{ending.workers:,} workers together"
    caption = f"All the time of {whose}."
    return tag("div", bar, _table(("waiting for", "share", "time", ""), body, caption=caption))


def course_table(course: Course) -> Markup:
    """Give the course of the run in numbers."""
    body = []
    for place, bucket in enumerate(course.buckets):
        span = course.time.spans[place]
        settled = sum(bucket.settled.values())
        half, most = bucket.latency(0.5), bucket.latency(0.95)
        numbers = (
            course.time.said(span.start),
            f"{settled:,}",
            rate(settled / course.seconds(place)),
            f"{bucket.requests:,}",
            f"{bucket.throttled:,}",
            f"{bucket.errors:,}",
            duration(bucket.paused),
            "" if half is None else brief(half),
            "" if most is None else brief(most),
        )
        body.append(_row([duration(span.start) if span.start else "0 s"], numbers))
    head = ("from", "time of day", "settled", "a second", "requests", "throttled", "errors")
    return _table((*head, "paused", "p50", "p95"), body)


def problems_table(ending: Ending) -> Markup:
    """Give the first rows that are not claimed, bad ones included."""
    report, tally = ending.report, ending.tally
    every = report.rejected + report.failed + tally.bad_rows
    body = [_problem(problem) for problem in tally.problems[:_SHOWN]]
    more = f"the JSON report has the first {PROBLEMS_KEPT:,}, --problems has all"
    caption = f"The first {len(body):,} of {every:,}; {more}." if every > len(body) else None
    head = ("line", "what", "badge", "owner", "reference", "because")
    return _table(head, body, caption=caption, names=1)


def unsettled_table(ending: Ending) -> Markup:
    """Give the first rows that were pulled and have no outcome."""
    rows = sorted(ending.unsettled, key=lambda row: row.line)
    body = [
        _row([f"{row.line:,}"], (), row.badge_id, str(row.owner_type), row.reference_id)
        for row in rows[:_SHOWN]
    ]
    caption = "They may be held or not; run them again."
    if len(rows) > len(body):
        caption += f" The first {len(body):,} of {len(rows):,}."
    return _table(("line", "badge", "owner", "reference"), body, caption=caption, names=1)


def _shortened(text: str) -> str:
    return text if len(text) <= _LETTERS else f"{text[:_LETTERS]} ..."


def _waited(wait: Wait) -> Markup:
    name = [_key(f"cause-{wait.cause}"), wait.cause]
    return _row(name, (_share(wait.share), duration(wait.seconds)), meaning_of(wait.cause))


def _problem(problem: Problem) -> Markup:
    row = problem.row
    ids = ["", "", ""] if row is None else [row.badge_id, str(row.owner_type), row.reference_id]
    kind = problem.kind.replace("_", " ")
    badge, *others = ids
    cells = [tag("td", text, class_="text") for text in map(_shortened, (*others, problem.message))]
    line = tag("th", f"{problem.line:,}", scope="row")
    return tag("tr", line, tag("td", kind), tag("td", _shortened(badge), class_="id"), cells)


def _bar(parts: Iterable[tuple[str, str, float]]) -> Markup:
    """Give a bar of shares; whoever cannot see it has the table below."""
    rects, left = [], 0.0
    for kind, words, share in parts:
        if share > 0:
            hint = tag("title", f"{words} {_share(share)}")
            box = {"x": f"{number(left * 100)}%", "width": f"{number(share * 100)}%"}
            rects.append(tag("g", hint, tag("rect", y="0", height="100%", **box), class_=kind))
        left += share
    return tag("svg", rects, class_="bar", aria_hidden="true")


def _key(kind: str) -> Markup:
    return tag("span", class_=f"key {kind}")


def _share(share: float) -> str:
    """Give a share that is never rounded to all or nothing."""
    percent = share * 100
    if 0 < percent < 0.05:  # noqa: PLR2004 - what one digit can say
        return "< 0.1 %"
    return f"{min(percent, 99.9) if share < 1 else 100:.1f} %"


def _row(name: Child, numbers: Sequence[str], *texts: str, none: bool = False) -> Markup:
    cells = [tag("td", value, class_="n") for value in numbers]
    cells += [tag("td", text, class_="text") for text in texts]
    return tag("tr", tag("th", name, scope="row"), cells, class_="none" if none else None)


def _table(
    head: Sequence[str], body: Sequence[Markup], *, caption: str | None = None, names: int = 0
) -> Markup:
    """
    Give a table.

    Args:
        head: Names of the columns; numbers stand at the right.
        body: Its rows.
        caption: What is said above it.
        names: How many columns, from the left, hold no numbers; 0 finds that out from the body.
    """
    numbers = 0 if names else (body[0].count('class="n"') if body else 0)
    cells = [
        tag("th", name, scope="col", class_="n" if 0 < place <= numbers else None)
        for place, name in enumerate(head)
    ]
    said = tag("caption", caption) if caption else None
    table = tag("table", said, tag("thead", tag("tr", cells)), tag("tbody", body))
    return tag("div", table, class_="scroll")
