"""What the command line hardly ever meets: closed descriptors, missing extras, odd columns."""

# ruff: noqa: SLF001 - small parts, each by itself

from __future__ import annotations

import asyncio
import builtins
import contextlib
import getpass
import io
import json
import os
import signal
import sys
from datetime import UTC, datetime
from importlib.metadata import PackageNotFoundError
from pathlib import Path
from types import SimpleNamespace
from typing import Any

import pytest

from badges_async import (
    Badge,
    BulkReport,
    Claim,
    ClaimOutcome,
    ClaimRequest,
    ClaimResult,
    ClaimStatus,
    ConnectError,
    LedgerEntry,
    Notice,
    Ownership,
)
from badges_async import __main__ as way_in
from badges_async.cli import (
    check,
    demo,
    ledger,
    options,
    output,
    plots,
    progress,
    record,
    single,
    tables,
    version,
)
from badges_async.cli.axes import elapsed_label, linear
from badges_async.cli.charts import Course, charts
from badges_async.cli.exits import UsageError
from badges_async.cli.files import RowFile
from badges_async.cli.matching import Piles
from badges_async.cli.options import BulkOptions
from badges_async.cli.plots import Line, Span, Time
from badges_async.cli.rows import Row
from badges_async.cli.running import FileRun, Listener
from badges_async.cli.tally import Tally
from badges_async.cli.timeline import Bucket
from badges_async.sandbox import Sandbox
from tests.cli.conftest import Tool, claims, make_ledger, write_csv


@pytest.mark.parametrize("missing", ["rich", "cyclopts", "badges_async.cli.app"])
def test_without_the_extra_it_is_said_what_to_install(
    missing: str, monkeypatch: pytest.MonkeyPatch, capsys: pytest.CaptureFixture[str]
) -> None:
    """But a fault of ours is not taken for that."""

    def find(name: str, *rest: Any) -> Any:
        if name == "badges_async.cli.app":
            raise ModuleNotFoundError(f"No module named {missing!r}", name=missing)
        return own_import(name, *rest)

    own_import = builtins.__import__
    monkeypatch.setattr(builtins, "__import__", find)
    if missing.startswith("badges_async"):
        with pytest.raises(ModuleNotFoundError):
            way_in.main()
        return
    assert way_in.main() == 2
    assert f"{missing} is not installed" in capsys.readouterr().err


def test_the_version_of_what_was_never_installed(monkeypatch: pytest.MonkeyPatch) -> None:
    def find(name: str) -> str:
        raise PackageNotFoundError(name)

    monkeypatch.setattr(version, "version", find)
    assert version.installed_version() == "unknown"


# Descriptors


class Gone(io.StringIO):
    """A stream whose other end is in trouble when it is written to for good."""

    def __init__(self, error: OSError) -> None:
        super().__init__()
        self._error = error
        self._flushed = 0

    def write(self, text: str) -> int:
        if not isinstance(self._error, BrokenPipeError):
            raise self._error
        return super().write(text)

    def flush(self) -> None:
        self._flushed += 1
        if self._flushed > 1:  # the console has printed by then
            raise self._error


def test_a_reader_that_goes_away_last_is_no_error(monkeypatch: pytest.MonkeyPatch) -> None:
    silenced: list[object] = []
    monkeypatch.setattr(output, "silence", silenced.append)
    monkeypatch.setattr(sys, "stdout", Gone(BrokenPipeError()))
    output.emit("text")
    assert silenced == [sys.stdout]


def test_nobody_to_complain_to(monkeypatch: pytest.MonkeyPatch) -> None:
    silenced: list[object] = []
    monkeypatch.setattr(output, "silence", silenced.append)
    monkeypatch.setattr(sys, "stderr", Gone(OSError(28, "No space left on device")))
    output.complain("what is wrong")
    assert silenced == [sys.stderr]


def test_where_standard_error_is_closed_no_progress_is_shown(
    monkeypatch: pytest.MonkeyPatch,
) -> None:
    def look() -> progress.View:
        raise AssertionError

    monkeypatch.setattr(sys, "stderr", None)
    with progress.progress_for("a.csv", look, shown=True) as nothing:
        nothing.say("words")


def test_standard_input_that_is_closed_holds_no_rows(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(sys, "stdin", None)
    with pytest.raises(UsageError, match="standard input is closed"):
        RowFile("-")


def test_a_password_that_nobody_types(monkeypatch: pytest.MonkeyPatch) -> None:
    def ask(_: str) -> str:
        raise EOFError

    for name in ("stdin", "stderr"):
        monkeypatch.setattr(getattr(sys, name), "isatty", lambda: True)
    monkeypatch.setattr(getpass, "getpass", ask)
    with pytest.raises(UsageError, match="no password was typed"):
        options._secret("password", "till.demo", None, {})


def test_a_folder_that_may_not_be_written_to(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    with (
        pytest.raises(UsageError, match=r"cannot write .*: No such file"),
        record.ProblemFile(tmp_path / "none" / "problems.jsonl"),
    ):
        pass
    monkeypatch.setattr(os, "access", lambda *_: False)
    with pytest.raises(UsageError, match="is not writable"):
        record.check_writable(tmp_path / "report.json")


# Rows


def test_blanks_are_counted_and_few_of_them_shown() -> None:
    findings = check._Findings()
    with Piles() as piles:
        for line in range(2, 22):
            findings.look_at(Row("b ", "Loyalty", str(line), line), piles)
    assert (findings.blanks_in_all, findings.blanks) == (20, [2, 3, 4, 5, 6])


def test_what_did_not_come_from_a_file_is_refused() -> None:
    outcome = ClaimOutcome(ClaimRequest("b", "Loyalty", "1"), ClaimStatus.CLAIMED)
    with pytest.raises(TypeError, match="a Row went in, ClaimRequest came out"):
        Tally().settled(outcome)


# Pictures


def test_an_hour_and_seconds_are_told_in_full() -> None:
    assert elapsed_label(3725, 5) == "1:02:05"


def test_a_run_that_sent_nothing_has_the_plots_that_it_can_have() -> None:
    time = Time(datetime(2026, 1, 2, tzinfo=UTC), 10.0, [Span(0.0, 10.0)])
    assert len(list(charts(Course(time, [Bucket()], 4)))) == 3


def test_a_line_has_a_gap_where_nothing_is_known() -> None:
    spans = [Span(float(place), place + 1.0) for place in range(4)]
    time = Time(datetime(2026, 1, 2, tzinfo=UTC), 4.0, spans)
    [drawn] = plots._draw(Line("fast", [1.0, 2.0, None, 3.0]), time, linear(3.0))
    assert (str(drawn).count("M"), str(drawn).count("L")) == (2, 1)


def test_a_bar_shows_no_share_of_nothing() -> None:
    bar = str(tables._bar([("a", "all", 1.0), ("b", "none", 0.0)]))
    assert ("all" in bar, "none" in bar) == (True, False)


def test_a_long_list_of_claims_is_cut_short() -> None:
    claims = tuple(Claim("Loyalty", str(number)) for number in range(25))
    badge = Badge(id="b", name="name", ownership=Ownership(claims=claims))
    lines = [line.plain for line in single._card(badge)]
    assert lines[-1] == "    and 5 more; --json shows all"


def test_what_the_service_remarks_is_shown() -> None:
    result = ClaimResult("b", Claim("Loyalty", "1"), warnings=(Notice(12, "soon\nover"),))
    assert single._line("claimed", result).plain.endswith("warning 12: soon\\nover")


def test_a_wait_for_whatever_it_is_shows() -> None:
    clock = [0.0]
    pace = progress.Pace(lambda: clock[0])
    report = BulkReport(counts=dict.fromkeys(ClaimStatus, 0))
    snapshot = progress.Snapshot(report, 1, 0, None)
    pace.look(report)
    clock[0] += 90
    assert "waiting for 1:30" in progress._position(snapshot, pace)


# Runs and ledgers


def test_a_file_of_another_encoding_is_named(tmp_path: Path) -> None:
    path = tmp_path / "claims.jsonl"
    path.write_bytes('{"badge_id": "b"}'.encode("utf-16"))
    wrong = pytest.raises(UsageError, match=r"claims\.jsonl: the file ")
    with contextlib.closing(RowFile(str(path))) as rows, wrong:
        list(rows)


async def test_who_was_reached_late_is_not_given_up(tmp_path: Path) -> None:
    with contextlib.closing(RowFile(str(write_csv(tmp_path / "c.csv", claims(1))))) as rows:
        run = FileRun(rows, BulkOptions(progress=False), Tally(), Listener())
        task = asyncio.create_task(asyncio.sleep(60))
        run.listener.reached = True
        run._give_up_if_unreached(task)
        assert run._timer is None
        run.listener.error = ConnectError("could not connect")
        for whose in (None, task, task):
            run._give_up_if_unreached(whose)
        await asyncio.wait([task])
        assert (task.cancelled(), task.cancelling()) == (True, 1)
        assert run.stopped_by is run.listener.error


def test_of_many_unsettled_rows_the_first_are_shown() -> None:
    rows = [Row("b", "Loyalty", str(number), number + 2) for number in range(150)]
    ending: Any = SimpleNamespace(unsettled=rows[::-1])
    page = str(tables.unsettled_table(ending))
    assert "The first 100 of 150." in page
    assert page.count("Loyalty") == 100


async def test_a_ledger_is_exported_and_shown_as_json(
    tool: Tool, badges_sandbox: Sandbox, tmp_path: Path
) -> None:
    path, target = tmp_path / "run.db", tmp_path / "failed.csv"
    await make_ledger(path, badges_sandbox, claims(2), rest=[])
    ended = await tool("ledger", path, "--json", "--export", target)
    assert (ended.code, ended.err) == (0, "")
    assert json.loads(ended.out)["claimed"] == 2
    assert len(target.read_text().splitlines()) == 1


def test_a_cause_whose_claims_are_far_down_has_no_example() -> None:
    """A failed claim without an error is what an older release may have left."""
    request = ClaimRequest("b", "Loyalty", "1")
    bare = LedgerEntry(request, ClaimOutcome(request, ClaimStatus.FAILED), False, None)  # noqa: FBT003
    reader: Any = SimpleNamespace(entries=lambda _: [bare])
    sums: Any = SimpleNamespace(errors={"717": 1})
    assert ledger._examples(reader, sums) == {}
    assert ledger._example(None) is None


# The demonstration


async def test_a_sandbox_that_ends_at_once_did_not_start() -> None:
    process = await start("pass")
    with pytest.raises(OSError, match="the sandbox did not start"):
        await demo._exports(process)
    await demo._end(process)


async def test_a_sandbox_that_does_not_end_is_killed(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(demo, "_END_WITHIN", 0.01)
    process = await start(
        "import signal, sys; signal.signal(signal.SIGTERM, signal.SIG_IGN);"
        "print('BADGES_PASSWORD=x', flush=True); signal.pause()"
    )
    assert await demo._exports(process) == {"BADGES_PASSWORD": "x"}
    await demo._end(process)
    assert process.returncode == -signal.SIGKILL


async def start(code: str) -> asyncio.subprocess.Process:
    pipe = asyncio.subprocess.PIPE
    return await asyncio.create_subprocess_exec(
        sys.executable, "-I", "-S", "-c", code, stdin=pipe, stdout=pipe
    )
