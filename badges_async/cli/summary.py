"""
What a person reads at the end of a run.

Here: an `Ending` as text, nothing wrapped, so that a line can be searched for in a log.
"""

from __future__ import annotations

from collections.abc import Iterator

from rich.text import Text

from badges_async import LedgerError
from badges_async.cli.axes import brief
from badges_async.cli.ending import Ending
from badges_async.cli.exits import Exit, in_words
from badges_async.cli.output import clean
from badges_async.cli.tally import Problem
from badges_async.cli.waiting import OTHER, Wait, meaning_of, time_by_cause

__all__ = ["bad_row_lines", "duration", "rate", "shortened", "summarise", "verdict"]

_CAUSES_SHOWN = 8
_MESSAGE_SHOWN = 110
_ROWS_NAMED = 5
_WORTH_SAYING = 0.01  # of the workers' time


def summarise(ending: Ending) -> Text:
    """Give the summary: what, counts, causes, bad rows, waiting, ledger, verdict."""
    parts = (
        _headline(ending),
        _counts(ending),
        _causes(ending),
        _bad_rows(ending),
        _waiting(ending),
        _ledger(ending),
    )
    blocks = [Text("\n").join(lines) for part in parts if (lines := list(part))]
    return Text("\n\n").join([*blocks, verdict(ending)])


def duration(seconds: float) -> str:
    """Give *seconds* as a person says them: ``0.4 s``, ``12 s``, ``3:05``, ``16:40:00``."""
    if seconds < 10:  # noqa: PLR2004 - from here on tenths are noise
        return f"{seconds:.1f} s"
    whole = round(seconds)
    if whole < 60:  # noqa: PLR2004 - seconds of a minute
        return f"{whole} s"
    minutes, rest = divmod(whole, 60)
    hours, minutes = divmod(minutes, 60)
    return f"{hours}:{minutes:02}:{rest:02}" if hours else f"{minutes}:{rest:02}"


def rate(per_second: float) -> str:
    """Give a number per second with the digits that mean something."""
    return f"{per_second:,.0f}" if per_second >= 10 else f"{per_second:.1f}"  # noqa: PLR2004


def _headline(ending: Ending) -> Iterator[Text]:
    report = ending.report
    pace = f"{rate(report.claims_per_second)} claims/s"
    numbers = f": {_rows(_seen(ending))} in {duration(report.elapsed)}, {pace}"
    yield Text.assemble((clean(ending.file), "bold"), numbers)


def _counts(ending: Ending) -> Iterator[Text]:
    report, tally = ending.report, ending.tally
    recovered = f"{report.recovered:,} recovered after a lost answer" if report.recovered else ""
    lines = [
        ("claimed", report.claimed, "green", ""),
        ("already claimed", report.already_claimed, "green", recovered),
        ("rejected", report.rejected, "red", ""),
        (
            "failed",
            report.failed,
            "yellow",
            "may be held or not; run them again" * bool(report.failed),
        ),
        ("bad rows", tally.bad_rows, "red", "nothing was sent for them" * bool(tally.bad_rows)),
    ]
    if report.skipped:
        before = f"{report.rejected_before:,} of them rejected" if report.rejected_before else ""
        lines.append(("settled before", report.skipped, "green", before))
    if report.unsettled:
        lines.append(("unsettled", report.unsettled, "yellow", _unsettled_lines(ending)))
    extra = [("retries", report.retries, "", ""), ("throttled", report.throttled, "", "")]
    width = max(len(f"{count:,}") for _, count, _, _ in lines + extra)
    for name, count, style, note in lines:
        yield _count(name, count, width, style if count else "dim", note)
    for name, count, _, note in extra:
        yield _count(name, count, width, "dim", note)


def _count(name: str, count: int, width: int, style: str, note: str) -> Text:
    tail = f"   {note}" if note else ""
    return Text.assemble((f"  {name:<15} {count:>{width},}", style), (tail, "dim"))


def _unsettled_lines(ending: Ending) -> str:
    numbers = sorted(row.line for row in ending.unsettled)
    named = ", ".join(str(number) for number in numbers[:_ROWS_NAMED])
    more = f" and {len(numbers) - _ROWS_NAMED:,} more" if len(numbers) > _ROWS_NAMED else ""
    return f"lines {named}{more}{_doubt(ending)}" if numbers else ""


def _doubt(ending: Ending) -> str:
    """Give how many of the unsettled rows the service may hold: most were only read ahead."""
    match ending.in_doubt:
        case None:
            return ""
        case 0:
            return "; none of them in doubt"
        case count:  # an earlier run's are among them
            return f"; at most {min(count, len(ending.unsettled)):,} of them in doubt"


def _causes(ending: Ending) -> Iterator[Text]:
    causes = sorted(ending.report.errors.items(), key=lambda item: (-item[1], item[0]))
    if not causes:
        return
    yield Text("  Errors", "bold")
    shown = causes[:_CAUSES_SHOWN]
    named = [(f"code {cause}" if cause.isdigit() else clean(cause), cause) for cause, _ in shown]
    name_width = max(len(name) for name, _ in named)
    width = max(len(f"{count:,}") for _, count in shown)
    for (name, cause), (_, count) in zip(named, shown, strict=True):
        example = ending.tally.examples.get(cause)
        said = f"such as line {example.line}: {shortened(example.message)}" if example else ""
        yield Text(f"  {name:<{name_width}}  {count:>{width},}  {said}".rstrip())
    if len(causes) > _CAUSES_SHOWN:
        yield Text(f"  and {len(causes) - _CAUSES_SHOWN} more causes", "dim")


def _bad_rows(ending: Ending) -> Iterator[Text]:
    tally = ending.tally
    if not tally.bad_rows:
        return
    yield Text("  Bad rows", "bold")
    yield from bad_row_lines(tally.first_bad, tally.bad_rows)


def bad_row_lines(shown: list[Problem], total: int) -> Iterator[Text]:
    """Yield one line for each of *shown* and, when there are more, one that counts the rest."""
    width = max(len(str(problem.line)) for problem in shown)
    for problem in shown:
        yield Text(f"  line {problem.line:>{width}}: {shortened(problem.message)}")
    if total > len(shown):
        yield Text(f"  and {total - len(shown):,} more", "dim")


def _waiting(ending: Ending) -> Iterator[Text]:
    every = time_by_cause(ending)
    if not any(w.share >= _WORTH_SAYING for w in every if w.cause not in {"service", OTHER}):
        return
    waits = [w for w in every if w.share >= _WORTH_SAYING or w.cause == "service"]
    whose = "1 worker" if ending.workers == 1 else f"{ending.workers:,} workers"
    yield Text(f"  Time of {whose}", "bold")
    width = max(len(wait.cause) for wait in waits)
    for wait in sorted(waits, key=lambda wait: (wait.cause == OTHER, -wait.share)):
        share = f"  {clean(wait.cause):<{width}}  {wait.share * 100:>3.0f} %"
        yield Text.assemble(share, (f"   {_waited_for(wait, ending)}", "dim"))


def _ledger(ending: Ending) -> Iterator[Text]:
    if ending.ledger is not None:
        yield Text(f"  {ending.ledger.in_words()}")


def _waited_for(wait: Wait, ending: Ending) -> str:
    whole = ending.timeline.total()
    half, most = whole.latency(0.5), whole.latency(0.95)
    if wait.cause != "service" or half is None or most is None:
        return meaning_of(wait.cause)
    return f"{meaning_of(wait.cause)}: {brief(half)} (p50), {brief(most)} (p95)"


def shortened(message: str) -> str:
    """Give *message* in one line of bounded length."""
    message = clean(message)
    return message if len(message) <= _MESSAGE_SHOWN else f"{message[:_MESSAGE_SHOWN]} ..."


def verdict(ending: Ending) -> Text:
    """Give the one sentence that matters."""
    match ending.exit:
        case Exit.OK:
            return Text(f"All well: the service holds all {_rows(_seen(ending))}.", "green")
        case Exit.PROBLEMS:
            return Text(f"Of {_rows(_seen(ending))}, {_missing(ending)}.", "bold red")
        case Exit.INTERRUPTED:
            return Text(f"Interrupted. {_not_attempted(ending)}{_resumes(ending)}", "bold yellow")
        case Exit.USAGE if ending.stopped_by is None:
            return Text(f"{clean(ending.file)} holds no row to claim.", "bold red")
        case _:
            reason = clean(in_words(ending.stopped_by)) if ending.stopped_by else ""
            rest = f"{_not_attempted(ending)}{_resumes(ending)}"
            return Text(f"Stopped: {reason}. {rest}", "bold red")


def _seen(ending: Ending) -> int:
    return ending.tally.good_rows + ending.tally.bad_rows


def _missing(ending: Ending) -> str:
    report = ending.report
    refused = report.rejected + report.rejected_before + ending.tally.bad_rows
    # Attempts without a readable answer: the service may hold the claim all the same.
    in_doubt = report.failed + report.unsettled
    parts = ((refused, "not claimed"), (in_doubt, "in doubt"))
    return ", ".join(f"{count:,} {what}" for count, what in parts if count)


def _not_attempted(ending: Ending) -> str:
    tally = ending.tally
    if not tally.last_line:
        return "Nothing was sent."
    if tally.exhausted:
        return "The whole file was read."
    if ending.in_doubt == 0:  # of what was read ahead, nothing was claimed either
        after = f" after line {tally.last_settled:,}" if tally.last_settled else ""
        return f"Nothing{after} was claimed."
    return f"Nothing after line {tally.last_line:,} was attempted."


def _resumes(ending: Ending) -> str:
    # A ledger that stopped the run says itself what is to be done first.
    if not ending.resumes or isinstance(ending.stopped_by, LedgerError):
        return ""
    return " The same command goes on from here."


def _rows(count: int) -> str:
    return "1 row" if count == 1 else f"{count:,} rows"
