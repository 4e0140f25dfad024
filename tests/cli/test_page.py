"""The page of a run: one file that is complete, safe and true."""

from __future__ import annotations

import json
import re
from datetime import UTC, datetime, timedelta
from html.parser import HTMLParser
from pathlib import Path
from typing import Any
from xml.etree import ElementTree as ET

import pytest

from badges_async import (
    AttemptEvent,
    BadgeNotFoundError,
    BulkReport,
    Claim,
    ClaimOutcome,
    ClaimResult,
    ClaimStatus,
    Notice,
    OutageError,
    RateLimitedError,
)
from badges_async.cli import page, record
from badges_async.cli.axes import brief, compact, linear, logarithmic, time_ticks
from badges_async.cli.ending import Ending
from badges_async.cli.markup import tag
from badges_async.cli.rows import BadRow, Row
from badges_async.cli.summary import summarise
from badges_async.cli.tally import Tally
from badges_async.cli.timeline import Timeline
from badges_async.cli.waiting import time_by_cause

BEGAN = datetime(2026, 1, 2, 18, 30, tzinfo=UTC)
NASTY = "<script>alert('x')</script> & \"quoted\" \x1b[31m \u202e ]]> -->"


class Clock:
    """A clock that goes when it is told to."""

    def __init__(self) -> None:
        self.now = 0.0

    def __call__(self) -> float:
        return self.now


def event(**parts: Any) -> AttemptEvent:
    whole: dict[str, Any] = {
        "operation": "claim",
        "badge_id": "b",
        "attempt": 1,
        "status": 200,
        "error": None,
        "seconds": 0.04,
        "waits": {},
    }
    return AttemptEvent(**(whole | parts))


def ending_of(hours: float = 1.0, **parts: Any) -> Ending:
    """Give a run with a bit of everything, its texts of the worst kind."""
    clock = Clock()
    timeline, books = Timeline(clock), Tally()
    gone = BadgeNotFoundError(NASTY, status=404, errors=(Notice(404, NASTY),))
    counts = dict.fromkeys(ClaimStatus, 0)
    for line in range(2, 302):
        clock.now += hours * 12
        badge_id = NASTY.replace("\x1b", "") if line == 2 else f"b{line}"
        row = Row(badge_id, "Loyalty", f"ref-{line}", line)
        books.pulled(row)
        rejected = line % 2 == 0
        error = gone if rejected else None
        result = None if rejected else ClaimResult("b", Claim("Loyalty", "1"))
        status = ClaimStatus.REJECTED if rejected else ClaimStatus.CLAIMED
        outcome = ClaimOutcome(row, status, result=result, error=error)
        books.settled(outcome)
        timeline(event(error=error, status=404 if error else 200, waits={"quota": 8.0}))
        timeline.settled(outcome)
        counts[status] += 1
    timeline(event(status=429, error=RateLimitedError("slow down", status=429)))
    timeline(event(seconds=1.25, waits={"gate": 20.0}))
    books.refused(BadRow(302, NASTY))
    left = Row("open-badge", "Journeys", "open-reference", 303)
    books.pulled(left)
    books.exhausted = True
    report = BulkReport(
        counts=counts,
        recovered=11,
        skipped=1234,
        rejected_before=17,
        unsettled=1,
        retries=4321,
        throttled=97,
        errors={"404": 150, NASTY: 3},
        waits={"quota": 2400.0, "gate": 20.0, "service": 13.25, "unheard-of": 60.0},
        elapsed=clock.now,
    )
    whole: dict[str, Any] = {
        "file": f"{NASTY}.csv",
        "host": "https://eu.example.com",
        "options": {"concurrency": 16, "quota": "100/60s", "lane": "auto"},
        "report": report,
        "tally": books,
        "timeline": timeline,
        "unsettled": [left],
        "began": BEGAN,
        "ended": BEGAN + timedelta(seconds=clock.now),
    }
    return Ending(**(whole | parts))


def empty() -> Ending:
    counts = dict.fromkeys(ClaimStatus, 0)
    report = BulkReport(counts=counts)
    return ending_of(tally=Tally(), timeline=Timeline(Clock()), report=report, unsettled=())


def tree_of(ending: Ending) -> ET.Element:
    return ET.fromstring(page.render(ending).removeprefix("<!DOCTYPE html>"))  # noqa: S314 - ours


def text_of(tree: ET.Element) -> str:
    return " ".join(part.strip() for part in tree.itertext())


EVERY = pytest.mark.parametrize(
    "ending",
    [
        ending_of(),
        ending_of(16.0),
        ending_of(0.00001),
        ending_of(stop="drained"),
        ending_of(stopped_by=OutageError(NASTY)),
        empty(),
    ],
    ids=["hour", "night", "instant", "interrupted", "outage", "empty"],
)


@EVERY
def test_the_page_is_well_formed(ending: Ending) -> None:
    """As XML, and so that a browser needs to mend nothing."""
    opened: list[str] = []

    class Reader(HTMLParser):
        def handle_starttag(self, tag: str, attrs: list[tuple[str, str | None]]) -> None:
            assert len(dict(attrs)) == len(attrs)
            opened.append(tag)

        def handle_startendtag(self, tag: str, attrs: list[tuple[str, str | None]]) -> None:
            assert tag in {"meta", "path", "rect", "line"}
            assert len(dict(attrs)) == len(attrs)

        def handle_endtag(self, tag: str) -> None:
            assert opened.pop() == tag

    Reader().feed(page.render(ending))

    assert opened == []
    assert [child.tag for child in tree_of(ending)] == ["head", "body"]


@EVERY
def test_the_page_needs_nothing_and_runs_nothing(ending: Ending) -> None:
    """No script, no address to fetch, and a policy that would forbid both."""
    tree = tree_of(ending)
    tags = {node.tag for node in tree.iter()}
    names = {name for node in tree.iter() for name in node.attrib}
    [style] = tree.iter("style")

    assert not tags & {"script", "link", "img", "image", "use", "a", "iframe", "object", "base"}
    assert not {name for name in names if name.startswith("on") or name in {"src", "href", "style"}}
    assert not re.search(r"url|@import|//|expression", style.text or "")
    policies = [node for node in tree.iter("meta") if node.get("http-equiv")]
    assert (
        policies[0].get("content", "").startswith("default-src 'none'; style-src 'unsafe-inline'")
    )


def test_text_of_others_stays_text() -> None:
    """A file's name, an error's message, an id: shown as they are, with what is unseen escaped."""
    written = page.render(ending_of())

    assert "<script" not in written
    assert "\x1b" not in written
    assert "\u202e" not in written
    shown = "<script>alert('x')</script> & \"quoted\" \\x1b[31m \\u202e ]]> -->"
    text = text_of(tree_of(ending_of()))
    assert text.count(shown) > 100


def test_text_in_an_attribute_cannot_leave_it() -> None:
    written = tag("rect", aria_label='" onload="x&\x00')

    assert ET.fromstring(written).attrib == {"aria-label": '" onload="x&\\x00'}  # noqa: S314 - ours


def test_what_a_ledger_knew_as_rejected_is_not_claimed() -> None:
    """On the page as in the summary: 150 of this run, 17 before it, one bad row."""
    text = text_of(tree_of(ending_of()))

    assert "Of 302 rows, 168 not claimed, 1 in doubt." in text
    assert "17 of them rejected" in text
    assert "17 of them rejected" in summarise(ending_of()).plain


def test_a_share_is_never_rounded_to_all_or_nothing() -> None:
    report = BulkReport(
        counts=dict.fromkeys(ClaimStatus, 0) | {ClaimStatus.CLAIMED: 99_999, ClaimStatus.FAILED: 1}
    )
    text = text_of(tree_of(ending_of(report=report, tally=Tally(good_rows=100_000))))

    assert "99.9 %" in text
    assert "< 0.1 %" in text
    assert "100.0 %" not in text


def test_every_number_of_the_record_is_on_the_page() -> None:
    ending = ending_of()
    text = text_of(tree_of(ending))
    values = record.document(ending)

    for name, count in values["counts"].items():
        assert re.search(rf"(?<![\d,]){count:,}(?![\d,])", text), name
    for error in values["errors"].values():
        assert f"{error['count']:,}" in text
    for cause in values["waits"]:
        assert cause in text
    for seconds in values["latency_seconds"].values():
        assert brief(seconds) in text or seconds == values["latency_seconds"]["p99"]
    assert "open-reference" in text
    assert "100/60s" in text


def test_the_plots_have_words_for_those_who_cannot_see_them() -> None:
    pictures = [node for node in tree_of(ending_of()).iter("svg") if node.get("role") == "img"]

    words = [node.get("aria-label", "") for node in pictures]
    assert [each.split()[0] for each in words] == [
        "Claims",
        "Claims",
        "Requests",
        "Requests",
        "Seconds",
        "What",
    ]
    assert "1 throttled, 0 errors" in words[3]
    assert "20 s" in words[3]
    assert "from 39 ms to 1.2 s" in words[4]  # the middle of a bin
    for node in pictures:
        assert [t.text for t in node.iter("title")]


def test_the_shares_of_time_add_up() -> None:
    """What no cause is known for is said as well; an unknown cause is not left out."""
    waits = {wait.cause: wait.share for wait in time_by_cause(ending_of())}

    assert sum(waits.values()) == pytest.approx(1.0)
    assert waits["quota"] == pytest.approx(2400 / (16 * 3600))
    assert list(waits) == ["service", "quota", "gate", "unheard-of", "other"]


def test_more_seconds_than_there_were_are_still_a_whole() -> None:
    report = BulkReport(counts=dict.fromkeys(ClaimStatus, 0), waits={"gate": 10.0}, elapsed=0.1)
    [wait] = time_by_cause(ending_of(report=report))

    assert (wait.cause, wait.share) == ("gate", 1.0)


def test_a_run_without_a_request_has_no_plots() -> None:
    tree = tree_of(empty())

    assert "Nothing was sent." in text_of(tree)
    assert tree.find(".//svg") is None


def test_only_the_first_problems_are_listed() -> None:
    text = text_of(tree_of(ending_of()))

    assert "The first 100 of 151; the JSON report has the first 1,000, --problems has all." in text
    assert "ref-200" in text
    assert "ref-202" not in text


def test_the_page_stays_small_whatever_a_service_says() -> None:
    """Made-up codes by the thousand, a message of a megabyte."""
    long = BadgeNotFoundError("x" * 1_000_000, errors=(Notice(404, "x" * 1_000_000),))
    books = Tally()
    row = Row("b", "Loyalty", "1", 2)
    books.pulled(row)
    books.settled(ClaimOutcome(row, ClaimStatus.REJECTED, error=long))
    errors = {"404": 1, **{f"made-up-{n}": 1 for n in range(5000)}}
    report = BulkReport(counts=dict.fromkeys(ClaimStatus, 0), errors=errors)
    written = page.render(ending_of(tally=books, report=report))

    assert "The first 100 of 5,001." in written
    assert len(written) < 300_000


def test_a_machine_that_slept_is_said() -> None:
    """Plots leave it out, so their times of day are off."""
    slept = ending_of(ended=BEGAN + timedelta(hours=9))

    assert "slept for 8:00:00" in text_of(tree_of(slept))
    assert "slept" not in text_of(tree_of(ending_of()))


def test_a_page_is_written_whole_or_not_at_all(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    path = tmp_path / "run.html"
    page.write(path, ending_of())
    before = path.read_text()
    assert path.stat().st_mode & 0o777 == 0o600
    assert before.endswith("</html>\n")

    def full(_: int) -> None:
        raise OSError(28, "No space left on device")

    monkeypatch.setattr("os.fsync", full)
    with pytest.raises(OSError, match="No space left"):
        page.write(path, empty())
    assert path.read_text() == before
    assert list(tmp_path.iterdir()) == [path]


def test_a_name_that_is_no_text_can_be_written(tmp_path: Path) -> None:
    path = tmp_path / "run.html"
    page.write(path, ending_of(file="\udcff.csv"))

    assert "\\udcff.csv" in path.read_text()
    assert json.loads(json.dumps(record.document(ending_of(file="\udcff.csv"))))


@pytest.mark.parametrize(
    ("span", "labels"),
    [
        (0.03, ["0", "0.01 s", "0.02 s", "0.03 s"]),
        (0.9, ["0", "0.2 s", "0.4 s", "0.6 s", "0.8 s"]),
        (75, ["0", "10 s", "20 s", "30 s", "40 s", "50 s", "1:00", "1:10"]),
        (600, ["0", "2 min", "4 min", "6 min", "8 min", "10 min"]),
        (4000, ["0", "10 min", "20 min", "30 min", "40 min", "50 min", "1:00 h"]),
        (57600, ["0", "2 h", "4 h", "6 h", "8 h", "10 h", "12 h", "14 h", "16 h"]),
        (3 * 86400, ["0", "12 h", "1 d", "1 d 12 h", "2 d", "2 d 12 h", "3 d"]),
        (365 * 86400, ["0", "49 d", "98 d", "147 d", "196 d", "245 d", "294 d", "343 d"]),
    ],
)
def test_marks_of_time_are_round(span: float, labels: list[str]) -> None:
    assert [tick.label for tick in time_ticks(span)][:9] == labels


@pytest.mark.parametrize(
    ("most", "whole", "labels"),
    [
        (1.67, False, ["0", "0.5", "1", "1.5", "2"]),
        (3, True, ["0", "1", "2", "3"]),
        (0, True, ["0", "1"]),
        (89_800, True, ["0", "50k", "100k"]),
        (1_400_000, True, ["0", "500k", "1M", "1.5M"]),
    ],
)
def test_marks_of_counts_are_round(most: float, *, whole: bool, labels: list[str]) -> None:
    scale = linear(most, whole=whole)

    assert [tick.label for tick in scale.ticks] == labels
    assert 0 <= scale.place(most) <= 1 + 1e-9


def test_a_logarithmic_scale_holds_both_ends() -> None:
    near, far = logarithmic(0.03, 0.04, brief), logarithmic(0.0004, 20, brief)

    assert [tick.label for tick in near.ticks] == ["20 ms", "50 ms"]
    assert [tick.label for tick in far.ticks] == ["1 ms", "10 ms", "100 ms", "1 s", "10 s"]
    assert 0 < near.place(0.03) < near.place(0.04) < 1
    assert far.place(0) == 0
    assert far.place(1e9) == 1


@pytest.mark.parametrize(
    ("seconds", "said"),
    [(0.0004, "0.4 ms"), (0.034, "34 ms"), (0.0034, "3.4 ms"), (0.9999, "1 s"), (12.4, "12 s")],
)
def test_a_short_time_has_the_digits_that_mean_something(seconds: float, said: str) -> None:
    assert brief(seconds) == said


def test_a_count_is_short() -> None:
    assert [compact(n) for n in (0.5, 1500, 20_000, 1.5e6)] == ["0.5", "1,500", "20k", "1.5M"]
