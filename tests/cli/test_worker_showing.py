"""What a worker shows while it works, and how its end is told."""

from __future__ import annotations

import io
import json
import logging

import pytest
from rich.console import Console

from badges_async import AuthenticationError, ClaimStatus, OutageError
from badges_async.cli.fleet.notices import said_by
from badges_async.cli.fleet.showing import RunEnding, WorkerView, document, json_text, summarise
from badges_async.cli.progress import Pace
from badges_async.worker import SourceError, WorkerReport


def report(claimed: int = 0, **sums: object) -> WorkerReport:
    counts = dict.fromkeys(ClaimStatus, 0) | {ClaimStatus.CLAIMED: claimed}
    return WorkerReport(counts=counts, elapsed=10.0, **sums)  # type: ignore[arg-type]


def shown(picture: object) -> list[str]:
    file = io.StringIO()
    Console(file=file, width=140, color_system=None).print(picture)
    return [line.rstrip() for line in file.getvalue().splitlines()]


def a_pace(idle: float = 0.0) -> Pace:
    clock = [0.0]
    pace = Pace(lambda: clock[0])
    clock[0] = idle
    return pace


def test_a_view_is_two_lines_or_one() -> None:
    """Settled, rate, what is in hand and what waits; the rest where there is any."""
    view = WorkerView(
        report=report(1200, buried={"rejected": 2, "invalid": 1}, retried=7),
        in_flight=64,
        held=100,
        waiting=5000,
    )
    numbers = "in flight 64  held 100  waiting 5,000  dead letters 3  retried 7"
    first, second = shown(view.picture("claims", a_pace()))
    assert first.split() == ["claims", "1,203", "settled", "0.0/s", "10", "s"]
    assert second == numbers
    assert view.line(a_pace()) == "1,203 settled, 0.0/s, 10 s, " + numbers.replace("  ", ", ")


def test_somebody_who_is_away_is_named() -> None:
    """Whoever looks at a standing worker learns why it stands."""
    view = WorkerView(report=report(), in_flight=1, held=1, service_down=True, redis_away=True)
    assert "Redis is away, no answer for 42 s" in view.line(a_pace(42.0))
    slow = WorkerView(report=report(), in_flight=1, held=1)
    assert "waiting for 42 s" in slow.line(a_pace(42.0))
    idle = WorkerView(report=report(), in_flight=0, held=0)
    assert "waiting" not in idle.line(a_pace(42.0))  # there is nothing to do


REFUSED = AuthenticationError("no", status=401)
UNUSABLE = SourceError("Redis at h:1: no")


@pytest.mark.parametrize(
    ("ending", "code", "words"),
    [
        (RunEnding(stream="s", report=report(3)), 0, "All settled."),
        (RunEnding(stream="s", report=report(3), stop="drained"), 0, "Drained"),
        (RunEnding(stream="s", report=report(3, buried={"invalid": 1})), 1, "dlq list"),
        (
            RunEnding(stream="s", report=report(3, buried={"x": 1}), stop="drained"),
            1,
            "Ended with dead letters",
        ),
        (RunEnding(stream="s", report=report(3), stop="at once"), 130, "comes again"),
        (RunEnding(stream="s", report=report(3), stopped_by=REFUSED), 3, "check the credentials"),
        (RunEnding(stream="s", report=report(3), stopped_by=OutageError("gone")), 3, "gone"),
        (RunEnding(stream="s", report=report(), stopped_by=UNUSABLE), 2, "Redis at h:1"),
        (RunEnding(stream="s", report=report(3), stopped_by=UNUSABLE), 3, "Redis at h:1"),
    ],
)
def test_an_end_has_its_exit_code_and_its_words(ending: RunEnding, code: int, words: str) -> None:
    assert ending.exit == code
    assert words in summarise(ending).plain
    assert json.loads(document(ending).plain)["exit_code"] == code


def test_json_is_shown_and_not_obeyed() -> None:
    """And is the same JSON."""
    values = {"a": "\x9b2J\u202e\U000e0001é[red]", "b": [1, None]}
    text = json_text(values).plain
    assert text.replace("\n", "").isprintable()
    assert "é" in text
    assert json.loads(text) == values
    assert "\n" not in json_text(values, indent=None).plain


def test_a_warning_of_the_library_is_said_once() -> None:
    """Several notice that Redis is away; nothing is said when nobody listens any more."""
    said: list[str] = []
    log = logging.getLogger("badges_async")
    with said_by(said.append):
        for _ in range(3):
            log.warning("Redis at %s is away", "h:1")
        try:
            int("a bug")
        except ValueError:
            log.exception("on_settled raised")
        log.info("chatter")
    before = list(said)
    assert before[0] == "Redis at h:1 is away"
    assert before[1].startswith("on_settled raised: ValueError(")
    assert len(before) == 2
    assert not [one for one in log.handlers if type(one).__name__ == "_Sayer"]
