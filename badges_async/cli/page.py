"""
``--report run.html``: the run as one page that needs nothing else, no script and no network.

Here: what stands on the page and in which order. Not here: its plots (`charts`), its looks
(`style`), the words that the terminal has as well (`summary`).
"""

from __future__ import annotations

from collections.abc import Iterator, Sequence
from pathlib import Path

from badges_async.cli import record
from badges_async.cli.axes import brief
from badges_async.cli.charts import charts, course_of
from badges_async.cli.ending import Ending
from badges_async.cli.exits import Exit
from badges_async.cli.markup import Markup, tag
from badges_async.cli.style import STYLE
from badges_async.cli.summary import duration, rate, verdict
from badges_async.cli.tables import (
    counts_table,
    course_table,
    errors_table,
    problems_table,
    unsettled_table,
    waits_table,
)
from badges_async.cli.version import installed_version

__all__ = ["render", "write"]

_POINTS = 240
_ROWS = 24  # of the table beside the plots
_POLICY = "default-src 'none'; style-src 'unsafe-inline'; base-uri 'none'; form-action 'none'"
_TONES = {
    Exit.OK: ("good", "\N{CHECK MARK}"),
    Exit.PROBLEMS: ("warn", "!"),
    Exit.INTERRUPTED: ("warn", "!"),
}
_NAPPED = 5.0  # seconds by which the clocks of a run may differ for other reasons


def write(path: Path, ending: Ending) -> None:
    """
    Write the page to *path*, whole or not at all, for its owner only.

    Raises:
        OSError: It could not be written; what stood there before still does.
    """
    record.write_whole(path, render(ending))


def render(ending: Ending) -> str:
    """Give the page."""
    head = tag(
        "head",
        tag("meta", charset="utf-8"),
        tag("meta", http_equiv="Content-Security-Policy", content=_POLICY),
        tag("meta", name="viewport", content="width=device-width, initial-scale=1"),
        tag("meta", name="robots", content="noindex"),
        tag("title", f"{ending.file}: {_words(ending)}"),
        tag("style", Markup(STYLE)),
    )
    page = tag("html", head, tag("body", tag("main", list(_main(ending)))), lang="en")
    return f"<!DOCTYPE html>\n{page}\n"


def _main(ending: Ending) -> Iterator[Markup]:
    yield tag("header", list(_header(ending)))
    yield _tiles(ending)
    yield _section("What became of the rows", counts_table(ending))
    if ending.report.errors:
        yield _section("Errors by cause", errors_table(ending))
    waits = waits_table(ending)
    if waits is not None:
        yield _section("Where the time went", waits)
    yield _section("Over time", *_over_time(ending), kind="long")
    if ending.tally.problems:
        yield _section("Rows that are not claimed", problems_table(ending), kind="long")
    if ending.unsettled:
        yield _section("Rows without an answer", unsettled_table(ending), kind="long")
    yield _section("The run", _particulars(ending))
    yield tag("footer", "badges-async ", installed_version(), ". Times of day are ", _zone(ending))


def _section(title: str, *parts: Markup, kind: str | None = None) -> Markup:
    return tag("section", tag("h2", title), parts, class_=kind)


def _header(ending: Ending) -> Iterator[Markup]:
    began, ended = ending.began.astimezone(), ending.ended.astimezone()
    until = f"{ended:%H:%M:%S}" if ended.date() == began.date() else f"{ended:%d %b %H:%M:%S}"
    yield tag("p", "badges-async bulk-claim", class_="eyebrow")
    yield tag("h1", ending.file)
    yield tag("p", f"{ending.host}, {began:%a %d %b %Y, %H:%M:%S} to {until}", class_="soft text")
    tone, mark = _TONES.get(ending.exit, ("bad", "\N{BALLOT X}"))
    yield tag("p", f"{mark} {_words(ending)}", class_=f"verdict {tone}")


def _words(ending: Ending) -> str:
    return verdict(ending).plain


def _tiles(ending: Ending) -> Markup:
    report, whole = ending.report, ending.timeline.total()
    half, most = whole.latency(0.5), whole.latency(0.95)
    rows = ending.tally.good_rows + ending.tally.bad_rows
    took = brief(report.elapsed) if 0 < report.elapsed < 1 else duration(report.elapsed)
    tiles = [
        ("Rows", f"{rows:,}", "the whole file" if ending.tally.exhausted else "of them looked at"),
        ("Settled", f"{report.total:,}", f"{rate(report.claims_per_second)} a second"),
        ("Took", took, _crew(ending)),
        (
            "Latency",
            "none" if half is None else brief(half),
            "nothing was answered"
            if most is None
            else f"p50; p95 {brief(most)}, max {brief(whole.slowest)}",
        ),
        ("Throttled", f"{report.throttled:,}", f"of {_many(whole.requests, 'request')}"),
        ("Retries", f"{report.retries:,}", f"{_many(report.recovered, 'claim')} recovered"),
    ]
    return tag(
        "dl",
        [
            tag("div", tag("dt", name), tag("dd", value), tag("dd", note), class_="tile")
            for name, value, note in tiles
        ],
        class_="tiles",
    )


def _crew(ending: Ending) -> str:
    return _many(ending.workers, "worker")


def _many(count: int, what: str) -> str:
    return f"1 {what}" if count == 1 else f"{count:,} {what}s"


def _over_time(ending: Ending) -> Sequence[Markup]:
    course = course_of(ending, _POINTS)
    coarse = course_of(ending, _ROWS)
    if course is None or coarse is None:
        return [tag("p", "Nothing was sent.", class_="soft")]
    table = tag("details", tag("summary", "The same as a table"), course_table(coarse))
    return [*_nap(ending), *charts(course), table]


def _nap(ending: Ending) -> Sequence[Markup]:
    asleep = (ending.ended - ending.began).total_seconds() - ending.report.elapsed
    if asleep < _NAPPED:
        return []
    words = (
        f"This machine seems to have slept for {duration(asleep)}, which the plots leave out; "
        "times of day after that are off."
    )
    return [tag("p", words, class_="soft")]


def _particulars(ending: Ending) -> Markup:
    values = {
        "file": ending.file,
        "host": ending.host,
        **{name: "none" if value is None else str(value) for name, value in ending.options.items()},
        "began": ending.began.isoformat(timespec="seconds"),
        "ended": ending.ended.isoformat(timespec="seconds"),
        "last line": f"{ending.tally.last_line:,}",
        "exit code": str(int(ending.exit)),
    }
    rows = [
        tag("tr", tag("th", name, scope="row"), tag("td", value, class_="text"))
        for name, value in values.items()
    ]
    return tag("table", tag("tbody", rows))


def _zone(ending: Ending) -> str:
    return f"those of this machine, {ending.began.astimezone():UTC%z}."
