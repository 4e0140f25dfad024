"""What the worker's commands hardly ever meet: quotas in use, answers that never come, no extra."""

# ruff: noqa: SLF001 - small parts, each by itself

from __future__ import annotations

import asyncio
import io
from collections.abc import AsyncIterator, Callable
from pathlib import Path
from types import SimpleNamespace
from typing import Any

import pytest
from rich.console import Console

from badges_async import ClaimStatus
from badges_async.cli.exits import Exit, OutputError, UsageError
from badges_async.cli.files import RowFile
from badges_async.cli.fleet import enqueueing, gauging, running, standing
from badges_async.cli.fleet.enqueueing import EnqueueOptions
from badges_async.cli.fleet.options import with_extra
from badges_async.cli.fleet.showing import RunEnding, WorkerView
from badges_async.cli.progress import Pace
from badges_async.cli.rows import Row
from badges_async.cli.tally import Tally
from badges_async.worker import QuotaUse, RedisStream, SourceError, WorkerReport
from badges_async.worker.standing import Consumer
from tests.cli.conftest import Tool, claims, write_csv

PLACE: Any = SimpleNamespace(stream="claims", group="claim-workers")


@pytest.fixture
def enqueueing_run(tmp_path: Path) -> Callable[[], enqueueing._Run]:
    """Give a function that makes a run for a file of three rows."""
    file = write_csv(tmp_path / "c.csv", claims(3))
    return lambda: enqueueing._Run(PLACE, RowFile(str(file)), EnqueueOptions())


# Enqueueing


async def test_a_quota_without_a_name_is_refused(tool: Tool, tmp_path: Path) -> None:
    file = write_csv(tmp_path / "c.csv", claims(1))
    ended = await tool("worker", "enqueue", file, "--quota-name", " ")
    assert (ended.code, ended.out) == (2, "")
    assert "--quota-name is the name" in ended.err


@pytest.mark.parametrize("how", [(), ("--json",)])
async def test_a_redis_that_refuses_the_rows_is_said(
    how: tuple[str, ...],
    tool: Tool,
    tmp_path: Path,
    redis_url: str,
    monkeypatch: pytest.MonkeyPatch,
) -> None:
    async def add(*_: object, **__: object) -> None:
        raise SourceError("Redis at h:1: OOM command not allowed")

    monkeypatch.setenv("BADGES_REDIS_URL", redis_url)
    monkeypatch.setattr(RedisStream, "add", add)
    ended = await tool("worker", "enqueue", write_csv(tmp_path / "c.csv", claims(1)), *how)
    assert ended.code == 2
    assert "OOM command not allowed" in ended.err
    said = '"stopped_by": {' if how else "Ended early; the same command goes on from here."
    assert said in ended.out


async def test_of_a_pipe_a_row_that_no_message_can_hold_is_a_bad_one(
    enqueueing_run: Callable[[], enqueueing._Run], monkeypatch: pytest.MonkeyPatch
) -> None:
    async def feed(_: RowFile, tally: Tally) -> AsyncIterator[Row]:
        for line, reference in enumerate(["1", "x" * 70_000, "3"], start=2):
            tally.pulled(row := Row("b", "Loyalty", reference, line))
            yield row

    monkeypatch.setattr(enqueueing, "Feed", feed)
    run = enqueueing_run()
    assert [event.reference_id async for event in run._arriving()] == ["1", "3"]
    assert (run.tally.good_rows, run.tally.bad_rows) == (2, 1)
    run.rows.close()


def test_how_far_a_file_is_shows_as_two_lines_or_one(
    enqueueing_run: Callable[[], enqueueing._Run],
) -> None:
    view = enqueueing._View(1500, 1200, 300, 2, 0.25, 10.0)
    pace = Pace(lambda: 0.0)
    assert view.line(pace) == (
        "1,500 rows, 25%, 0.0/s, 10 s, added 1,200, added before 300, bad rows 2"
    )
    file = io.StringIO()
    Console(file=file, width=120, color_system=None).print(view.picture("c.csv", pace))
    first, second = file.getvalue().splitlines()
    assert "1,500 rows" in first
    assert second.split("  ") == ["added 1,200", "added before 300", "bad rows 2"]
    run = enqueueing_run()
    assert list(run._events())
    assert run._view() == enqueueing._View(0, 0, 0, 0, 1.0, 0.0)
    run.rows.close()
    pipe = enqueueing._View(3, 3, 0, 0, None, 1.0)
    assert pipe.line(pace) == "3 rows, 0.0/s, 1.0 s, added 3"
    Console(file=file, width=120, color_system=None).print(pipe.picture("-", pace))
    assert "-  3 rows" in file.getvalue()


# Working


async def test_a_redis_that_does_not_answer_the_look_is_away(
    monkeypatch: pytest.MonkeyPatch,
) -> None:
    async def answer() -> None:
        await asyncio.Event().wait()

    seen: list[object] = []
    stream: Any = SimpleNamespace(standing=answer)
    metrics: Any = SimpleNamespace(stands=seen.append)
    monkeypatch.setattr(gauging, "_AWAY_AFTER", 0.01)
    watch = gauging.Watch(stream, lambda: None, seen.append, metrics, waiting=7)
    await watch._look()
    assert (watch.redis_away, watch.waiting, seen) == (True, 7, [None])


@pytest.mark.parametrize("name", ["badges_async.worker.room", None])
def test_a_fault_of_ours_is_not_taken_for_a_missing_extra(name: str | None) -> None:
    with pytest.raises(ImportError, match="odd"), with_extra():
        raise ImportError("odd", name=name)
    with pytest.raises(UsageError, match="redis is not installed"), with_extra():
        raise ImportError("odd", name="redis.asyncio")


@pytest.mark.parametrize(("buried", "stop"), [({}, "no"), ({}, "at once"), ({"x": 1}, "no")])
def test_an_end_that_cannot_be_printed_is_no_success(
    buried: dict[str, int], stop: Any, monkeypatch: pytest.MonkeyPatch
) -> None:
    """And whatever else went wrong stays the exit code."""

    def emit(_: object) -> None:
        raise OutputError("standard output: No space left on device")

    said: list[str] = []
    monkeypatch.setattr(running, "emit", emit)
    monkeypatch.setattr(running, "complain", said.append)
    counts = dict.fromkeys(ClaimStatus, 1)
    ending = RunEnding(stream="s", report=WorkerReport(counts=counts, buried=buried), stop=stop)
    code = running._conclude(ending, running.RunOptions())
    assert code == (ending.exit or Exit.PROBLEMS)
    assert said == ["standard output: No space left on device"]


async def test_who_stops_before_there_is_a_worker_waits_for_none() -> None:
    account: Any = None
    run = running._Run(PLACE, account, running.RunOptions())
    assert (run._view().held, run._view().waiting) == (0, None)
    progress: Any = None
    run._drain(progress)  # nothing has begun
    run._working = asyncio.create_task(asyncio.sleep(60))
    run._drain(progress)
    await asyncio.wait([run._working])
    assert (run.stop, run._working.cancelled()) == ("drained", True)


# What is shown


def test_what_was_recovered_and_lost_is_shown() -> None:
    counts = dict.fromkeys(ClaimStatus, 0)
    report = WorkerReport(counts=counts, recovered=4, lost=5)
    line = WorkerView(report=report, in_flight=0, held=0).line(Pace(lambda: 0.0))
    assert line.endswith("recovered 4, lost leases 5")


def test_of_many_workers_those_are_shown_that_were_heard_of_last() -> None:
    most = standing._CONSUMERS_SHOWN
    workers = [Consumer(f"w-{number}", number, float(number)) for number in range(most + 3)]
    lines = [line.plain for line in standing._consumers(workers[::-1])]
    assert len(lines) == most + 2
    assert lines[1].split()[0] == "w-0"
    assert lines[-1] == "  and 3 more"


def test_quotas_in_use_are_shown_with_their_holds() -> None:
    uses = [
        QuotaUse("brand-a", "100/10s 20/1s", (50, 1), 0.0),
        QuotaUse("b\x1b[31m", "5/1s", (5,), 30.0),
    ]
    head, first, second = (line.plain for line in standing._quotas(uses))
    assert head == "  Quotas in use"
    assert (
        first.split("  ")[1:] == ["brand-a   50 of 100/10s, 1 of 20/1s"] or "50 of 100/10s" in first
    )
    assert second.endswith("5 of 5/1s   on hold for 30 s")
    assert second.isprintable()
