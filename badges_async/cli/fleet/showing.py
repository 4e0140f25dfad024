"""
What ``worker run`` shows: a view of the worker while it goes, and the summary of its end.

Here: numbers as lines, for people and as JSON. Not here: where the numbers come from (`running`,
`gauging`), or how often a view is drawn (`progress`).
"""

from __future__ import annotations

import json
from collections.abc import Iterator
from typing import Any, Literal

import attrs
from rich.console import RenderableType
from rich.text import Text

from badges_async import ClaimStatus
from badges_async.cli.exits import Exit, exit_for, in_words
from badges_async.cli.output import clean
from badges_async.cli.progress import Pace, picture_of
from badges_async.cli.summary import duration, rate
from badges_async.worker import SourceError, WorkerReport

__all__ = ["RunEnding", "WorkerView", "document", "json_text", "summarise"]

_STALLED = 3.0  # seconds without an outcome after which a person begins to wonder


def json_text(values: object, *, indent: int | None = 2) -> Text:
    """Give JSON that a terminal shows and does not obey: what does not print is escaped."""
    text = json.dumps(values, ensure_ascii=False, indent=indent)
    if text.replace("\n", "").isprintable():
        return Text(text)
    shown = (one if one.isprintable() or one == "\n" else json.dumps(one)[1:-1] for one in text)
    return Text("".join(shown))


@attrs.frozen(kw_only=True)
class WorkerView:
    """
    A worker at one moment; a `View`.

    Attributes:
        waiting: Events in the stream that nobody has taken, where that is known.
        service_down: The service answers nobody.
        redis_away: Redis does not answer.
    """

    report: WorkerReport
    in_flight: int
    held: int
    waiting: int | None = None
    service_down: bool = False
    redis_away: bool = False

    @property
    def total(self) -> int:
        """Events that are done with."""
        return self.report.settled

    def line(self, pace: Pace) -> str:
        """Give a line for a log."""
        numbers = (f"{label} {count:,}" for label, count, _ in self._numbers())
        return ", ".join([f"{self.total:,} settled", *self._position(pace), *numbers])

    def picture(self, name: str, pace: Pace) -> RenderableType:
        """Give two lines for a terminal."""
        settled = Text(f"{self.total:,} settled", style="bold")
        return picture_of(name, [settled], self._position(pace), list(self._numbers()))

    def _position(self, pace: Pace) -> list[str]:
        parts = [f"{rate(pace.per_second)}/s", duration(self.report.elapsed)]
        if self.redis_away:
            parts.append("Redis is away")
        if self.service_down:
            parts.append(f"no answer for {duration(pace.idle)}")
        elif self.in_flight and pace.idle > _STALLED:
            parts.append(f"waiting for {duration(pace.idle)}")
        return parts

    def _numbers(self) -> Iterator[tuple[str, int, str]]:
        report = self.report
        yield "in flight", self.in_flight, ""
        yield "held", self.held, ""
        if self.waiting is not None:
            yield "waiting", self.waiting, ""
        if buried := sum(report.buried.values()):
            yield "dead letters", buried, "red"
        if report.retried:
            yield "retried", report.retried, "yellow"
        if report.recovered:
            yield "recovered", report.recovered, "dim"
        if report.lost:
            yield "lost leases", report.lost, "yellow"


@attrs.frozen(kw_only=True)
class RunEnding:
    """
    How a worker ended.

    Attributes:
        stop: Whether somebody asked for the end, and whether what was in flight could finish.
        stopped_by: The error that ended it, if one did.
    """

    stream: str
    report: WorkerReport
    stop: Literal["no", "drained", "at once"] = "no"
    stopped_by: Exception | None = None

    @property
    def exit(self) -> Exit:
        """The exit code."""
        if self.stop == "at once":
            return Exit.INTERRUPTED
        error = self.stopped_by
        if error is not None:
            # Redis that could not be used from the start is a wrong URL; later it ended a worker.
            worked = self.report.settled or self.report.retried or self.report.released
            return Exit.STOPPED if isinstance(error, SourceError) and worked else exit_for(error)
        return Exit.PROBLEMS if self.report.buried else Exit.OK


def document(ending: RunEnding) -> Text:
    """Give the ending as one JSON object."""
    report, error = ending.report, ending.stopped_by
    values: dict[str, Any] = {
        "stream": ending.stream,
        "counts": {status.value: report.counts[status] for status in ClaimStatus},
        "recovered": report.recovered,
        "retried": report.retried,
        "buried": dict(sorted(report.buried.items())),
        "released": report.released,
        "lost": report.lost,
        "elapsed": round(report.elapsed, 3),
        "interrupted": ending.stop != "no",
        "stopped_by": None
        if error is None
        else {"error": type(error).__name__, "message": str(error)},
        "exit_code": int(ending.exit),
    }
    return json_text(values)


def summarise(ending: RunEnding) -> Text:
    """Give the summary for people."""
    return Text("\n\n").join(
        [Text("\n").join([_headline(ending), *_counts(ending.report)]), _verdict(ending)]
    )


def _headline(ending: RunEnding) -> Text:
    report = ending.report
    per_second = report.settled / report.elapsed if report.elapsed else 0.0
    events = "1 event" if report.settled == 1 else f"{report.settled:,} events"
    numbers = f": {events} settled in {duration(report.elapsed)}, {rate(per_second)}/s"
    return Text.assemble((clean(ending.stream), "bold"), numbers)


def _counts(report: WorkerReport) -> Iterator[Text]:
    counts = report.counts
    recovered = f"{report.recovered:,} recovered after a lost answer" if report.recovered else ""
    buried = sum(report.buried.values())
    reasons = ", ".join(f"{count:,} {clean(why)}" for why, count in sorted(report.buried.items()))
    lines = [
        ("claimed", counts[ClaimStatus.CLAIMED], "green", ""),
        ("already claimed", counts[ClaimStatus.ALREADY_CLAIMED], "green", recovered),
        ("dead letters", buried, "red", reasons),
        ("retried", report.retried, "yellow", "put off after a failure" * bool(report.retried)),
        ("handed back", report.released, "", "for whoever comes next" * bool(report.released)),
        ("lost leases", report.lost, "yellow", "another worker has them" * bool(report.lost)),
    ]
    width = max(len(f"{count:,}") for _, count, _, _ in lines)
    for name, count, style, note in lines:
        text = f"  {name:<15} {count:>{width},}"
        yield Text.assemble((text, style if count else "dim"), (note and f"   {note}", "dim"))


def _verdict(ending: RunEnding) -> Text:
    if ending.stop == "at once":
        return Text("Stopped at once: what was on the wire comes again.", "bold yellow")
    if ending.stopped_by is not None:
        kept = "What was not settled is in the stream."
        return Text(f"Stopped: {clean(in_words(ending.stopped_by))}. {kept}", "bold red")
    if ending.report.buried:
        see = "badges-async worker dlq list shows why."
        return Text(f"Ended with dead letters; {see}", "bold yellow")
    end = "Drained: what was not sent is handed back." if ending.stop != "no" else "All settled."
    return Text(end, "green")
