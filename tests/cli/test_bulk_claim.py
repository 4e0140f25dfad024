"""`bulk-claim`, from the command line to what the service holds."""

from __future__ import annotations

import asyncio
import json
import os
import re
import signal
from collections.abc import Iterator
from pathlib import Path
from typing import Any

import pytest

from badges_async.cli import running
from badges_async.cli.app import run
from badges_async.cli.rows import Row
from badges_async.sandbox import Sandbox
from tests.cli.conftest import BADGES, Starter, Tool, claims, write_csv


def record_of(path: Path) -> dict[str, Any]:
    values: dict[str, Any] = json.loads(path.read_text())
    return values


async def test_every_row_is_claimed(tool: Tool, badges_sandbox: Sandbox, tmp_path: Path) -> None:
    """All well: the service holds exactly the file, and the exit code is 0."""
    before = set(badges_sandbox.claims)
    path = write_csv(tmp_path / "c.csv", claims(120))

    ended = await tool("bulk-claim", path, "--concurrency", "8", "--report", tmp_path / "r.json")

    assert ended.code == 0
    assert set(badges_sandbox.claims) - before == set(claims(120))
    assert badges_sandbox.peak_in_flight <= 8
    assert "All well: the service holds all 120 rows." in ended.out
    assert ended.err == ""
    record = record_of(tmp_path / "r.json")
    assert (record["counts"]["claimed"], record["complete"], record["exit_code"]) == (120, True, 0)


async def test_problems_are_counted_named_and_written_down(
    tool: Tool, badges_sandbox: Sandbox, tmp_path: Path
) -> None:
    """Nothing is sent for a bad row, the rest goes on, and the exit code is 1."""
    rows = [*claims(3), ("unknown", "Loyalty", "1"), ("b", "Loyalty"), claims(1)[0]]
    path = write_csv(tmp_path / "c.csv", rows)
    problems = tmp_path / "p.jsonl"

    ended = await tool("bulk-claim", path, "--report", tmp_path / "r.json", "--problems", problems)

    assert ended.code == 1
    assert "Of 6 rows, 2 not claimed." in ended.out
    assert "such as line 5: The badge passed is not found" in ended.out
    assert "line 6: 2 columns, the header has 3" in ended.out
    assert len(badges_sandbox.requests) == 4
    counts = record_of(tmp_path / "r.json")["counts"]
    assert (counts["claimed"], counts["already_claimed"]) == (4, 0)
    assert (counts["rejected"], counts["bad_rows"], counts["rows"]) == (1, 1, 6)
    written = [json.loads(line) for line in problems.read_text().splitlines()]
    assert {(each["line"], each["status"]) for each in written} == {(5, "rejected"), (6, "bad_row")}


async def test_a_file_of_problems_can_be_claimed_again(
    tool: Tool, badges_sandbox: Sandbox, tmp_path: Path
) -> None:
    """What was rejected for a reason that is gone needs no new file."""
    path = write_csv(tmp_path / "c.csv", [("later", "Loyalty", "007")])
    problems = tmp_path / "p.jsonl"
    assert (await tool("bulk-claim", path, "--problems", problems)).code == 1
    badges_sandbox.add_badges(["later"])

    assert (await tool("bulk-claim", problems)).code == 0
    assert ("later", "Loyalty", "007") in badges_sandbox.claims


async def test_a_dry_run_sends_nothing(tool: Tool, badges_sandbox: Sandbox, tmp_path: Path) -> None:
    """Counts, bad rows, repeats, odd blanks and the time that the quota takes."""
    rows = [*claims(300), claims(3)[2], ("b",), (" x", "Loyalty", "1")]
    path = write_csv(tmp_path / "c.csv", rows)

    ended = await tool("bulk-claim", path, "--dry-run", "--quota", "100/60s")

    assert ended.code == 1
    assert list(badges_sandbox.requests) == []
    assert "  good rows   302\n" in ended.out
    assert "  repeated      1   line 302 repeats 4\n" in ended.out
    assert "line 303: 1 column, the header has 3" in ended.out
    assert "kept as they are: line 304" in ended.out
    assert "send 301 claims, which takes about 2:01 with 100/60s." in ended.out


@pytest.mark.parametrize(("rows", "code"), [([], 2), ([("b",)], 2), ([claims(1)[0]], 0)])
async def test_a_dry_run_ends_as_the_run_would(
    rows: list[Any], code: int, tool: Tool, tmp_path: Path
) -> None:
    """Without credentials, too."""
    path = write_csv(tmp_path / "c.csv", rows)

    assert (await tool("bulk-claim", path, "--dry-run")).code == code
    assert (await tool("bulk-claim", path)).code == code


async def test_a_wrong_password_is_one_line(
    tool: Tool, badges_sandbox: Sandbox, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    """Exit 3, no secret anywhere, nothing claimed, and a true report all the same."""
    monkeypatch.setenv("BADGES_PASSWORD", "geheim")
    before = set(badges_sandbox.claims)
    path = write_csv(tmp_path / "c.csv", claims(200))

    ended = await tool("bulk-claim", path, "--report", tmp_path / "r.json")

    assert ended.code == 3
    assert ended.out == ""
    assert ended.err == (
        "badges-async: HTTP 401: Authentication failed (code 401); check the credentials. "
        "Nothing was claimed.\n"
    )
    assert set(badges_sandbox.claims) == before
    record = record_of(tmp_path / "r.json")
    assert record["stopped_by"]["error"] == "AuthenticationError"
    assert record["counts"]["unsettled"] == len(record["unsettled"]) > 0
    assert "geheim" not in (tmp_path / "r.json").read_text()


async def test_a_password_that_is_changed_meanwhile_stops_the_run(
    tool: Tool, badges_sandbox: Sandbox, tmp_path: Path
) -> None:
    """What was settled is in the summary; what is left is named."""
    badges_sandbox.set_faults([None] * 20 + ["401"] * 50)
    path = write_csv(tmp_path / "c.csv", claims(200))

    ended = await tool("bulk-claim", path, "--concurrency", "4", "--report", tmp_path / "r.json")

    assert ended.code == 3
    assert "Stopped: HTTP 401" in ended.out
    assert "Nothing after line" in ended.out
    counts = record_of(tmp_path / "r.json")["counts"]
    assert counts["claimed"] >= 16
    assert counts["claimed"] + counts["unsettled"] == counts["rows"] < 200


async def test_a_service_that_was_never_there_ends_the_run_soon(
    tool: Tool, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    """A mistyped host is not waited for; a service that goes away is."""
    monkeypatch.setattr(running, "_REACH_WITHIN", 0.05)
    path = write_csv(tmp_path / "c.csv", claims(5))

    ended = await tool("bulk-claim", path, "--host", "http://127.0.0.1:1")

    assert ended.code == 3
    assert ended.err.startswith("badges-async: could not connect: ")
    assert ended.err.endswith(". Nothing was claimed.\n")
    assert ended.err.count("\n") == 1


async def test_input_that_breaks_off_is_no_end_of_the_file(
    tool: Tool, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    """What was claimed by then is told, and nobody takes it for the whole."""

    def breaking(*_: object) -> Iterator[Row]:
        yield from (Row(*claim, line) for line, claim in enumerate(claims(1000), 2))
        raise OSError(5, "Input/output error")

    monkeypatch.setattr("badges_async.cli.files.read_csv", breaking)
    path, report = write_csv(tmp_path / "c.csv", claims(9)), tmp_path / "r.json"

    ended = await tool("bulk-claim", path, "--concurrency", "1", "--report", report)

    assert ended.code == 2
    record = record_of(report)
    claimed, unsettled = record["counts"]["claimed"], record["unsettled"]
    assert 0 < claimed < 1000
    assert ended.out.endswith(
        f"Stopped: Input/output error. Nothing after line {claimed + 1} was claimed.\n"
    )
    assert [each["line"] for each in unsettled] == list(range(claimed + 2, 1002))
    assert not record["complete"]


async def test_faults_do_not_make_the_report_lie(
    tool: Tool, badges_sandbox: Sandbox, tmp_path: Path
) -> None:
    """What the report counts as held is what the service holds."""
    badges_sandbox.set_faults({"reset-after": 0.1, "502-before": 0.1})
    before = len(badges_sandbox.claims)
    path = write_csv(tmp_path / "c.csv", claims(150))

    ended = await tool("bulk-claim", path, "--report", tmp_path / "r.json")

    counts = record_of(tmp_path / "r.json")["counts"]
    held = counts["claimed"] + counts["already_claimed"]
    assert counts["recovered"] > 0
    assert counts["retries"] > 0
    assert held <= len(badges_sandbox.claims) - before <= held + counts["failed"]
    assert ended.code == (1 if counts["failed"] else 0)


async def test_a_run_is_told_as_a_page_and_as_a_record(
    tool: Tool, badges_sandbox: Sandbox, tmp_path: Path
) -> None:
    """One run, several reports: the name tells which kind, and each is for its owner only."""
    badges_sandbox.set_faults([None, "502-before"])
    path = write_csv(tmp_path / "c.csv", [*claims(30), ("unknown", "Loyalty", "1")])
    files = [tmp_path / name for name in ("run.json", "run.html", "RUN.HTM", "run")]

    ended = await tool("bulk-claim", path, *(part for file in files for part in ("--report", file)))

    assert ended.code == 1
    assert [file.read_text().startswith("<!DOCTYPE html>") for file in files] == [
        False,
        True,
        True,
        False,
    ]
    assert {file.stat().st_mode & 0o777 for file in files} == {0o600}
    record = record_of(files[0])
    slices = record["timeline"]["buckets"]
    assert sum(each["requests"] for each in slices) == len(badges_sandbox.requests)
    assert sum(each["errors"] for each in slices) == 1
    assert sum(sum(each["settled"].values()) for each in slices) == 31
    assert record["waits"]["service"] > 0
    latency = record["latency_seconds"]
    assert 0 < latency["p50"] <= latency["p95"] <= latency["p99"] <= latency["max"]


async def test_the_summary_says_where_the_time_went(tool: Tool, tmp_path: Path) -> None:
    """A quota that holds back is named; a run without one has nothing to say."""
    path = write_csv(tmp_path / "c.csv", claims(8))

    held_back = await tool("bulk-claim", path, "--quota", "4/0.3s")
    assert "  Time of 8 workers\n" in held_back.out
    for words in (r"quota +\d+ %   the quota that was asked for$", r"service +\d+ %   answers of"):
        assert re.search(f"^  {words}", held_back.out, re.MULTILINE)
    assert "Time of" not in (await tool("bulk-claim", path)).out


@pytest.mark.parametrize("suffix", [".json", ".html"])
async def test_a_report_that_cannot_be_written_is_said(
    suffix: str, tool: Tool, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    """The run is done, the summary is there, and the exit code is not 0."""

    def full(_: int) -> None:
        raise OSError(28, "No space left on device")

    monkeypatch.setattr("os.fsync", full)
    path, report = write_csv(tmp_path / "c.csv", claims(2)), tmp_path / f"r{suffix}"

    ended = await tool("bulk-claim", path, "--report", report)

    assert ended.code == 1
    assert (
        ended.err == f"badges-async: the report {report} was not written: No space left on device\n"
    )
    assert "All well" in ended.out


async def test_problems_that_are_lost_are_said(tool: Tool, tmp_path: Path) -> None:
    """A file that is not complete must not pass for one that is."""
    path = write_csv(tmp_path / "c.csv", [*claims(1), ("b",)])

    ended = await tool("bulk-claim", path, "--problems", "/dev/full")

    assert ended.code == 1
    assert "badges-async: /dev/full is not complete: No space left on device" in ended.err


async def test_standard_input_is_read_as_it_comes(start: Starter, badges_sandbox: Sandbox) -> None:
    """F128: a row is claimed while the pipe is still open."""
    process = await start("bulk-claim", "-", "--format", "jsonl")
    stdin = process.process.stdin
    assert stdin is not None
    line = {"badgeId": BADGES[0], "ownerType": "Loyalty", "referenceId": "007"}
    stdin.write(json.dumps(line).encode() + b"\n")

    await badges_sandbox.wait_for_requests(1)
    stdin.close()
    ended = await process.end()

    assert ended.code == 0
    assert "standard input: 1 row in" in ended.out
    assert (BADGES[0], "Loyalty", "007") in badges_sandbox.claims


@pytest.mark.parametrize("how", [signal.SIGINT, signal.SIGTERM, signal.SIGHUP])
async def test_the_first_signal_drains(
    how: signal.Signals, start: Starter, badges_sandbox: Sandbox, tmp_path: Path
) -> None:
    """F090: what is in flight is answered, nothing more is sent, and the report says the rest."""
    if signal.getsignal(how) is signal.SIG_IGN:
        pytest.skip("the tests were started with nohup, which holds for the command as well")
    before = set(badges_sandbox.claims)
    badges_sandbox.hold()
    path, report = write_csv(tmp_path / "c.csv", claims(500)), tmp_path / "r.json"
    process = await start("bulk-claim", path, "--concurrency", "4", "--report", report)
    await badges_sandbox.wait_for_requests(4)

    process.interrupt(how)
    assert "4 in flight may finish within 10 s" in await process.said("Stopping")
    badges_sandbox.release()
    ended = await process.end()

    assert ended.code == 130
    assert len(badges_sandbox.requests) == 4
    assert set(badges_sandbox.claims) - before == set(claims(4))
    counts = record_of(report)["counts"]
    assert (counts["claimed"], counts["rows"]) == (4, 4 + counts["unsettled"])
    assert "; none of them in doubt" in ended.out
    assert "Interrupted. Nothing after line 5 was claimed.\n" in ended.out
    assert "Traceback" not in ended.err


async def test_the_second_signal_stops_at_once(
    start: Starter, badges_sandbox: Sandbox, tmp_path: Path
) -> None:
    """F090: the answers are not waited for, and the rows in doubt are named."""
    badges_sandbox.hold()
    path, report = write_csv(tmp_path / "c.csv", claims(500)), tmp_path / "r.json"
    process = await start("bulk-claim", path, "--concurrency", "4", "--report", report)
    await badges_sandbox.wait_for_requests(4)

    process.interrupt()
    await process.said("Stopping")
    process.interrupt()
    async with asyncio.timeout(8):  # the sandbox still holds back what an attempt waits 15 s for
        ended = await process.end()

    assert ended.code == 130
    record = record_of(report)
    assert record["counts"]["claimed"] == 0
    assert [each["line"] for each in record["unsettled"]][:4] == [2, 3, 4, 5]
    assert "   lines 2, 3, 4, 5, 6 and " in ended.out
    assert "; at most 4 of them in doubt\n" in ended.out
    assert "Traceback" not in ended.err


async def test_a_silent_pipe_does_not_keep_it_from_ending(
    start: Starter, badges_sandbox: Sandbox
) -> None:
    """Ctrl-C ends a run whose input never says another word."""
    process = await start("bulk-claim", "-")
    stdin, stdout = process.process.stdin, process.process.stdout
    assert stdin is not None
    assert stdout is not None
    stdin.write(f"badge_id,owner_type,reference_id\n{BADGES[0]},Loyalty,1\n".encode())
    await badges_sandbox.wait_for_requests(1)

    process.interrupt()
    await process.said("Stopping")
    said = await stdout.read()  # not communicate(): that would close its standard input

    assert await process.process.wait() == 130
    assert b"Interrupted. Nothing after line 2 was claimed." in said


@pytest.mark.parametrize(("rows", "code"), [(1, 1), (0, 2)])
async def test_a_summary_that_cannot_be_printed_is_said(
    rows: int, code: int, start: Starter, tmp_path: Path
) -> None:
    """A full disk is one line, and hides no worse end."""
    path = write_csv(tmp_path / "c.csv", claims(rows))
    with open("/dev/full", "wb") as full:  # noqa: ASYNC230, PTH123 - a device
        process = await start("bulk-claim", path, stdout=full)

    ended = await process.end()

    assert ended.code == code
    assert ended.err == "badges-async: standard output: No space left on device\n"


def test_closed_streams_are_no_error(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    """Whoever closes them does not want to hear."""
    path = write_csv(tmp_path / "c.csv", claims(1))
    monkeypatch.setattr("sys.stdout", None)
    monkeypatch.setattr("sys.stderr", None)

    assert run(["bulk-claim", str(path), "--dry-run"]) == 0
    assert run(["bulk-claim", "missing.csv"]) == 2


async def test_a_reader_who_has_gone_is_no_error(start: Starter, tmp_path: Path) -> None:
    """`bulk-claim ... | head -0` claims all the same, and complains of nothing."""
    path = write_csv(tmp_path / "c.csv", claims(3))
    read, write = os.pipe()
    os.close(read)
    process = await start("bulk-claim", path, stdout=write)
    os.close(write)

    ended = await process.end()

    assert (ended.code, ended.err) == (0, "")


@pytest.mark.parametrize("option", ["--report", "--problems"])
async def test_the_file_of_claims_is_never_written_over(
    tool: Tool, tmp_path: Path, option: str
) -> None:
    """Not by its own name, and not by another one of it."""
    path = write_csv(tmp_path / "c.csv", claims(3))
    before = path.read_bytes()
    other = tmp_path / "other.csv"
    other.symlink_to(path)
    for name in (path, other):
        ended = await tool("bulk-claim", path, option, name)
        assert ended.code == 2
        assert "one file" in ended.err
    assert path.read_bytes() == before


async def test_a_report_and_a_list_of_problems_are_two_files(tool: Tool, tmp_path: Path) -> None:
    path = write_csv(tmp_path / "c.csv", claims(3))
    same = tmp_path / "same.json"
    for option in ("--problems", "--report"):
        ended = await tool("bulk-claim", path, "--report", same, option, same)
        assert ended.code == 2
        assert "one file" in ended.err


@pytest.mark.parametrize("options", [["--port", "99999"], ["--port=-1"], ["--badges=-1"]])
async def test_a_sandbox_that_cannot_be_is_one_line(tool: Tool, options: list[str]) -> None:
    ended = await tool("sandbox", *options)
    assert ended.code == 2
    assert len(ended.err.splitlines()) == 1
