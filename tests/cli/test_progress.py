"""What standard error shows while a run goes on."""

from __future__ import annotations

import asyncio
import io

import pytest
from rich.console import Console

from badges_async import BulkReport, ClaimStatus
from badges_async.cli import progress
from badges_async.cli.output import console
from badges_async.cli.progress import Pace, Snapshot


def snapshot(total: int, *, done: float | None = 0.25, elapsed: float = 10.0) -> Snapshot:
    counts = dict.fromkeys(ClaimStatus, 0) | {ClaimStatus.CLAIMED: total}
    report = BulkReport(counts=counts, elapsed=elapsed, throttled=3)
    return Snapshot(report, 16, 2, done, left=None if done is None else 30.0)


def shown(picture: object, width: int = 100) -> list[str]:
    file = io.StringIO()
    Console(file=file, width=width, color_system=None).print(picture)
    return [line.rstrip() for line in file.getvalue().splitlines()]


def a_pace(clock: list[float]) -> Pace:
    return Pace(lambda: clock[0])


def test_the_rate_is_that_of_the_last_seconds() -> None:
    """A slow start is forgotten; a halt shows."""
    clock = [0.0]
    pace = a_pace(clock)
    for total in range(0, 1000, 10):
        clock[0] += 0.1
        pace.look(snapshot(total).report)
    assert pace.per_second == pytest.approx(100)
    assert pace.idle == 0

    for _ in range(100):
        clock[0] += 0.1
        pace.look(snapshot(990).report)
    assert pace.per_second == 0
    assert pace.idle == pytest.approx(10)


@pytest.mark.parametrize("width", [80, 120])
def test_the_picture_has_two_lines(width: int) -> None:
    """A bar, part, rate, time and time left; below it the counts that are not zero."""
    lines = shown(progress._picture("claims.csv", snapshot(500), a_pace([0.0])), width)  # noqa: SLF001

    assert len(lines) == 2
    assert lines[0].startswith("claims.csv  ━━━━━")
    assert lines[0].split()[-7:] == ["500", "25%", "0.0/s", "10", "s", "30", "s", "left"][-7:]
    assert lines[1] == "claimed 500  bad rows 2  in flight 16  throttled 3"


def test_without_a_size_there_is_no_bar_and_no_time_left() -> None:
    """A pipe has no known end."""
    first, _ = shown(progress._picture("pipe", snapshot(500, done=None), a_pace([0.0])))  # noqa: SLF001

    assert "━" not in first
    assert "left" not in first
    assert "500" in first


def test_a_silent_service_is_named() -> None:
    """Somebody who looks at a standing bar learns why it stands."""
    clock = [0.0]
    pace = a_pace(clock)
    clock[0] = 42.0
    down = Snapshot(snapshot(500).report, 1, 0, 0.5, service_down=True)

    assert "no answer for 42 s" in shown(progress._picture("c.csv", down, pace))[0]  # noqa: SLF001


@pytest.mark.parametrize("kind", ["_Lines", "_Bar"])
async def test_it_is_drawn_again_and_again_and_ends(
    kind: str, monkeypatch: pytest.MonkeyPatch
) -> None:
    """Lines for a log, a picture on a terminal; nothing is drawn after the block."""
    file = io.StringIO()
    screen = Console(file=file, width=100, force_terminal=kind == "_Bar", color_system=None)
    monkeypatch.setattr(progress, "_LOOKS_FOR_A_LINE", 1)
    monkeypatch.setattr(getattr(progress, kind), "_every", 0.001)
    asked = asyncio.Event()
    count = 0

    def look() -> Snapshot:
        nonlocal count
        count += 1
        if count > 5:
            asked.set()
        return snapshot(count)

    with getattr(progress, kind)(screen, "claims.csv", look) as view:
        await asyncio.wait_for(asked.wait(), 10)
        view.say("a [bold] word\x1b")
    before = count
    await asyncio.sleep(0.01)

    assert count == before
    assert r"a [bold] word\x1b" in file.getvalue()
    assert "claimed 3" in file.getvalue()


@pytest.mark.parametrize("error", [BrokenPipeError(), OSError(28, "No space left on device")])
async def test_standard_error_that_cannot_be_written_does_not_end_the_run(error: OSError) -> None:
    """Its reader may have left, its disk may be full."""

    class Gone(io.StringIO):
        def isatty(self) -> bool:
            return True

        def write(self, _: str) -> int:
            raise error

    for kind in (progress._Lines, progress._Bar):  # noqa: SLF001
        screen = console(Gone())
        with kind(screen, "c", lambda: snapshot(1)) as view:
            view.say("hello")


def test_a_file_that_was_counted_shows_how_many_of_how_many() -> None:
    """Rows that were settled before are done, too, and named."""
    counts = dict.fromkeys(ClaimStatus, 0) | {ClaimStatus.CLAIMED: 1200}
    report = BulkReport(counts=counts, skipped=2800, elapsed=10.0)
    known = Snapshot(report, 16, 0, 0.5, rows=8000, left=61.0)

    first, second = shown(progress._picture("claims.csv", known, a_pace([0.0])))  # noqa: SLF001

    assert "4,000 of 8,000" in first
    assert "50%" in first
    assert "1:01 left" in first
    assert second == "claimed 1,200  settled before 2,800  in flight 16"


def test_a_ledger_that_is_loaded_shows_how_far_it_is() -> None:
    """Nothing is sent meanwhile, so there is nothing else to count."""
    loading = Snapshot(snapshot(0).report, 0, 7, 0.4, loading=120_000)

    first, second = shown(progress._picture("claims.csv", loading, a_pace([0.0])))  # noqa: SLF001

    assert first.split()[-3:] == ["loading", "120,000", "40%"]
    assert second == "bad rows 7  throttled 3"


async def test_a_log_has_a_line_for_loading_and_for_claiming(
    monkeypatch: pytest.MonkeyPatch,
) -> None:
    """One every ten looks."""
    file = io.StringIO()
    monkeypatch.setattr(progress, "_LOOKS_FOR_A_LINE", 1)
    lines = progress._Lines(Console(file=file, width=200), "c.csv", lambda: snapshot(1))  # noqa: SLF001

    lines._draw(Snapshot(snapshot(0).report, 0, 0, 0.4, loading=1000))  # noqa: SLF001
    lines._draw(Snapshot(snapshot(5).report, 0, 0, 0.5, rows=10, left=4.0))  # noqa: SLF001

    assert file.getvalue().splitlines() == [
        "loading 1,000 rows",
        "5 of 10 settled, 50%, 0.0/s, 10 s, 4.0 s left, claimed 5, in flight 0, throttled 3",
    ]
