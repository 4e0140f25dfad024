"""`bulk-claim` with a ledger: what is sent again and what is not, and what refuses a ledger."""

from __future__ import annotations

import asyncio
import json
import os
import signal
import sqlite3
import sys
import tempfile
from collections.abc import Sequence
from contextlib import closing
from pathlib import Path
from typing import Any

import pytest

from badges_async import (
    LedgerCorruptError,
    LedgerError,
    LedgerFullError,
    LedgerLostError,
    LedgerReader,
)
from badges_async.cli import running
from badges_async.cli.bulk import claim_file, conclude
from badges_async.cli.exits import UsageError
from badges_async.cli.files import RowFile
from badges_async.cli.keeper import Keeper, refused
from badges_async.cli.options import BulkOptions, Service
from badges_async.sandbox import Sandbox
from tests.cli.conftest import (
    BADGES,
    Starter,
    Tool,
    claims,
    make_ledger,
    write_csv,
)


def record_of(path: Path) -> dict[str, Any]:
    values: dict[str, Any] = json.loads(path.read_text())
    return values


def held(sandbox: Sandbox) -> set[tuple[str, str, str]]:
    return {claim for claim in sandbox.claims if claim[0] in BADGES}


def sent(sandbox: Sandbox) -> list[str | None]:
    return [request.reference_id for request in sandbox.requests]


async def test_a_second_run_sends_nothing(
    tool: Tool, badges_sandbox: Sandbox, tmp_path: Path
) -> None:
    """It says what was settled before, and that all is well."""
    path, ledger, report = (tmp_path / name for name in ("c.csv", "run.db", "r.json"))
    write_csv(path, claims(120))

    first = await tool("bulk-claim", path, "--ledger", ledger)
    again = await tool("bulk-claim", path, "--ledger", ledger, "--report", report)

    assert (first.code, again.code, again.err) == (0, 0, "")
    assert "The ledger: 120 claims, 120 settled\n" in first.out
    assert "settled before" not in first.out
    assert len(badges_sandbox.requests) == 120
    assert "  settled before  120\n" in again.out
    assert again.out.endswith("All well: the service holds all 120 rows.\n")
    record = record_of(report)
    assert (record["counts"]["skipped"], record["counts"]["claimed"]) == (120, 0)
    assert (record["complete"], record["exit_code"]) == (True, 0)
    assert record["ledger"] == {
        "file": "run.db",
        "claims": 120,
        "settled": 120,
        "unsettled": 0,
        "claimed": 120,
        "already_claimed": 0,
        "rejected": 0,
        "failed": 0,
        "recovered": 0,
        "pending": 0,
        "in_doubt": 0,
    }


async def test_what_was_rejected_before_is_not_sent_and_not_well(
    tool: Tool, badges_sandbox: Sandbox, tmp_path: Path
) -> None:
    """The exit code is that of the file, not that of the last run."""
    path = write_csv(tmp_path / "c.csv", [*claims(3), ("unknown", "Loyalty", "1")])
    ledger = tmp_path / "run.db"
    assert (await tool("bulk-claim", path, "--ledger", ledger)).code == 1

    again = await tool("bulk-claim", path, "--ledger", ledger)

    assert (again.code, len(badges_sandbox.requests)) == (1, 4)
    assert "  settled before  4   1 of them rejected\n" in again.out
    assert "The ledger: 4 claims, 4 settled (1 of them rejected)\n" in again.out
    assert again.out.endswith("Of 4 rows, 1 not claimed.\n")


async def test_failed_claims_get_a_new_chance(
    tool: Tool, badges_sandbox: Sandbox, tmp_path: Path
) -> None:
    """And nothing else is sent."""
    rows = [*claims(5), (BADGES[0], "Loyalty", "fail-1"), (BADGES[1], "Loyalty", "fail-2")]
    path, ledger = write_csv(tmp_path / "c.csv", rows), tmp_path / "run.db"
    await make_ledger(ledger, badges_sandbox, rows)
    before = len(badges_sandbox.requests)

    ended = await tool("bulk-claim", path, "--ledger", ledger)

    assert ended.code == 0
    assert sorted(map(str, sent(badges_sandbox)[before:])) == ["fail-1", "fail-2"]
    assert held(badges_sandbox) >= set(rows)


async def test_bad_rows_are_told_once(tool: Tool, tmp_path: Path) -> None:
    """The file is read twice, which is nobody's business."""
    path = write_csv(tmp_path / "c.csv", [*claims(2), ("b",), *claims(1)])
    report, problems = tmp_path / "r.json", tmp_path / "p.jsonl"

    ended = await tool(
        *("bulk-claim", path, "--ledger", tmp_path / "run.db"),
        *("--report", report, "--problems", problems),
    )

    assert ended.code == 1
    counts = record_of(report)["counts"]
    assert (counts["rows"], counts["bad_rows"], counts["claimed"]) == (4, 1, 3)
    assert len(problems.read_text().splitlines()) == 1


@pytest.mark.parametrize("with_ledger", [True, False])
async def test_a_claim_on_several_lines_is_sent_once(
    with_ledger: bool,  # noqa: FBT001
    tool: Tool,
    badges_sandbox: Sandbox,
    tmp_path: Path,
    monkeypatch: pytest.MonkeyPatch,
) -> None:
    """And every line is reported, with a ledger of its own or one that nobody asked for."""
    temporary = tmp_path / "temporary"
    temporary.mkdir()
    monkeypatch.setattr(tempfile, "tempdir", str(temporary))
    rows = [("unknown", "Loyalty", "1"), *claims(2)] * 40
    path, problems = write_csv(tmp_path / "c.csv", rows), tmp_path / "p.jsonl"
    report = tmp_path / "r.json"
    ledger = ["--ledger", str(tmp_path / "run.db")] if with_ledger else []

    ended = await tool("bulk-claim", path, "--problems", problems, "--report", report, *ledger)

    assert ended.code == 1
    assert len(badges_sandbox.requests) == 3
    written = [json.loads(line) for line in problems.read_text().splitlines()]
    assert sorted(each["line"] for each in written) == list(range(2, 122, 3))
    record = record_of(report)
    assert (record["counts"]["claimed"], record["counts"]["rejected"]) == (80, 40)
    assert (record["ledger"] is not None) == with_ledger
    assert list(temporary.iterdir()) == []


async def test_without_room_for_a_temporary_ledger_it_runs_all_the_same(
    tool: Tool, badges_sandbox: Sandbox, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    """One line says what that means."""
    monkeypatch.setattr(tempfile, "tempdir", str(tmp_path / "missing"))
    path = write_csv(tmp_path / "c.csv", claims(1) * 2)

    ended = await tool("bulk-claim", path)

    assert (ended.code, len(badges_sandbox.requests)) == (0, 2)
    assert ended.err.startswith(
        "badges-async: a claim that is on several lines is sent for each of them: no temporary "
    )
    assert ended.err.count("\n") == 1


@pytest.mark.slow
async def test_standard_input_continues_too(start: Starter, badges_sandbox: Sandbox) -> None:
    """It cannot be loaded in advance, and is skipped as it comes."""
    text = "badge_id,owner_type,reference_id\n" + "".join(
        f"{','.join(claim)}\n" for claim in claims(20)
    )
    with tempfile.TemporaryDirectory() as folder:
        for _ in range(2):
            process = await start("bulk-claim", "-", "--ledger", Path(folder) / "run.db")
            out, err = await process.process.communicate(text.encode())
            assert process.process.returncode == 0, err
    assert b"settled before  20" in out
    assert len(badges_sandbox.requests) == 20


@pytest.mark.parametrize("kills", [pytest.param(4, marks=pytest.mark.slow), 1])
async def test_a_killed_command_goes_on_when_it_is_run_again(
    kills: int, start: Starter, badges_sandbox: Sandbox, tmp_path: Path
) -> None:
    """Every row is settled, the report is what the service holds, and a further run is idle."""
    rows = claims(300 + 300 * kills)
    path, ledger = write_csv(tmp_path / "c.csv", [*rows, *rows[:20]]), tmp_path / "run.db"
    report = tmp_path / "r.json"
    command = ("bulk-claim", path, "--ledger", ledger, "--report", report)
    badges_sandbox.set_faults({"reset-after": 0.03, "502-before": 0.03})
    for kill in range(1, kills + 1):
        process = await start(*command)
        await badges_sandbox.wait_for_requests(250 * kill)
        process.interrupt(signal.SIGKILL)
        assert (await process.end()).code == -signal.SIGKILL
    badges_sandbox.set_faults(None)

    ended = await (await start(*command)).end()

    assert ended.code == 0, ended
    assert held(badges_sandbox) == set(rows)
    counts = record_of(report)["counts"]
    assert counts["rows"] == len(rows) + 20
    assert counts["claimed"] + counts["already_claimed"] + counts["skipped"] == counts["rows"]
    assert counts["skipped"] > 0
    assert record_of(report)["ledger"]["settled"] == len(rows)
    before = len(badges_sandbox.requests)
    assert (await (await start(*command)).end()).code == 0
    assert len(badges_sandbox.requests) == before
    with closing(sqlite3.connect(ledger)) as database:
        assert database.execute("PRAGMA integrity_check").fetchall() == [("ok",)]


async def test_a_ledger_that_is_in_use_names_who_uses_it(
    start: Starter, tool: Tool, badges_sandbox: Sandbox, tmp_path: Path
) -> None:
    """Exit 2, nothing is sent, and neither reports nor problems of the other run are touched."""
    badges_sandbox.hold()
    path, ledger = write_csv(tmp_path / "c.csv", claims(50)), tmp_path / "run.db"
    process = await start("bulk-claim", path, "--ledger", ledger, "--concurrency", "2")
    await badges_sandbox.wait_for_requests(2)
    problems = tmp_path / "p.jsonl"
    problems.write_text("of another run\n")

    ended = await tool("bulk-claim", path, "--ledger", ledger, "--problems", problems)

    assert (ended.code, ended.out) == (2, "")
    assert f"{ledger} is in use by process {process.pid} on " in ended.err
    assert "badges-async ledger FILE" in ended.err
    assert ended.err.count("\n") == 1
    assert len(badges_sandbox.requests) == 2
    assert problems.read_text() == "of another run\n"


@pytest.mark.parametrize(
    ("variable", "said"),
    [
        (
            ("BADGES_HOST", "http://localhost:{port}"),
            "belongs to another service: http://127.0.0.1",
        ),
        (("BADGES_USERNAME", "till.other"), "belongs to another account; use another ledger"),
    ],
)
async def test_anothers_ledger_is_refused(
    variable: tuple[str, str],
    said: str,
    tool: Tool,
    tmp_path: Path,
    monkeypatch: pytest.MonkeyPatch,
) -> None:
    """Exit 2 and one line; nothing is sent to anybody."""
    path, ledger = write_csv(tmp_path / "c.csv", claims(5)), tmp_path / "run.db"
    assert (await tool("bulk-claim", path, "--ledger", ledger)).code == 0
    name, value = variable
    monkeypatch.setenv(name, value.format(port=os.environ["BADGES_HOST"].rpartition(":")[2]))

    ended = await tool("bulk-claim", path, "--ledger", ledger)

    assert (ended.code, ended.out) == (2, "")
    assert said in ended.err
    assert ended.err.endswith(". Nothing was claimed.\n")
    assert ended.err.count("\n") == 1


async def test_a_copy_without_its_latest_entries_is_refused(
    start: Starter, tool: Tool, badges_sandbox: Sandbox, tmp_path: Path
) -> None:
    """Claims that it does not know of would be taken for new ones."""
    badges_sandbox.hold()
    path, ledger = write_csv(tmp_path / "c.csv", claims(50)), tmp_path / "run.db"
    await start("bulk-claim", path, "--ledger", ledger, "--concurrency", "2")
    await badges_sandbox.wait_for_requests(2)
    copy = tmp_path / "copy.db"
    # By another process, as people do it.
    copying = await asyncio.create_subprocess_exec("cp", ledger, copy)
    assert await copying.wait() == 0

    ended = await tool("bulk-claim", path, "--ledger", copy)

    assert (ended.code, len(badges_sandbox.requests)) == (2, 2)
    assert "lacks its latest entries" in ended.err


@pytest.mark.parametrize("content", ["no database at all", ""])
async def test_what_is_no_ledger_stays_as_it_is(
    content: str, tool: Tool, badges_sandbox: Sandbox, tmp_path: Path
) -> None:
    """F106: refused before anything is sent."""
    path, ledger = write_csv(tmp_path / "c.csv", claims(5)), tmp_path / "run.db"
    ledger.write_text(content)

    ended = await tool("bulk-claim", path, "--ledger", ledger)

    assert (ended.code, len(badges_sandbox.requests)) == (2, 0)
    assert "no ledger: not a SQLite database; it is left as it is" in ended.err
    assert ledger.read_text() == content


@pytest.mark.parametrize("name", ["c.csv", "run.db-wal", "run.db-lock", "run.db-shm", "run.db"])
@pytest.mark.parametrize("option", ["--report", "--problems", "FILE"])
async def test_a_ledger_is_a_file_of_its_own(
    name: str, option: str, tool: Tool, tmp_path: Path
) -> None:
    """None of its names may be written by anything else."""
    path = write_csv(tmp_path / "c.csv", claims(1))
    if option == "FILE":
        taken = path if name == "c.csv" else write_csv(tmp_path / name, claims(1))
        arguments: Sequence[str | Path] = (taken, "--format", "csv")
    else:
        arguments = (path, option, tmp_path / name)
    ledger = tmp_path / ("c.csv" if name == "c.csv" else "run.db")

    ended = await tool("bulk-claim", *arguments, "--ledger", ledger)

    assert ended.code == 2
    assert "are one file" in ended.err


async def test_a_ledger_where_there_is_no_folder(tool: Tool, tmp_path: Path) -> None:
    """Exit 2 and one line."""
    path = write_csv(tmp_path / "c.csv", claims(1))

    ended = await tool("bulk-claim", path, "--ledger", tmp_path / "missing" / "run.db")

    assert ended.code == 2
    assert ended.err.count("\n") == 1
    assert "missing" in ended.err


@pytest.mark.parametrize(
    ("error", "raised"),
    [
        (LedgerFullError("full"), LedgerFullError),
        (LedgerLostError("lost"), LedgerLostError),
        (LedgerCorruptError("damaged"), UsageError),
        (LedgerError("cannot make it"), UsageError),
    ],
)
def test_no_room_is_nobodys_fault(error: LedgerError, raised: type[Exception]) -> None:
    """Exit 3, which a script may try again later; every other refusal is exit 2."""
    with pytest.raises(raised), refused():
        raise error


# A disk of so many bytes for a file, and a writer that does not wait long for room.
_SMALL_DISK = """
import resource, sys
import badges_async.ledger.writer as writer
from badges_async.__main__ import main
resource.setrlimit(resource.RLIMIT_FSIZE, (int(sys.argv.pop(1)),) * 2)
writer._PATIENCE = writer._REST = 0.1
sys.exit(main())
"""


@pytest.mark.slow
@pytest.mark.parametrize("source", ["-", "c.csv"])
async def test_a_full_disk_stops_the_run_and_loses_nothing(
    source: str, tool: Tool, badges_sandbox: Sandbox, tmp_path: Path
) -> None:
    """Exit 3, one line with what to do next; then the same command goes on. A file is loaded."""
    rows = claims(3000)
    path, ledger = write_csv(tmp_path / "c.csv", rows), tmp_path / "run.db"
    room, options = ("400000", "-") if source == "-" else ("70000", str(path))
    process = await asyncio.create_subprocess_exec(
        *(sys.executable, "-c", _SMALL_DISK, room),
        *("bulk-claim", options, "--ledger", str(ledger), "--no-progress"),
        # Coverage would find the disk full as well.
        env={name: value for name, value in os.environ.items() if not name.startswith("COV")},
        stdin=asyncio.subprocess.PIPE,
        stdout=asyncio.subprocess.PIPE,
        stderr=asyncio.subprocess.PIPE,
    )
    out, err = (text.decode() for text in await process.communicate(path.read_bytes()))

    assert process.returncode == 3, err
    assert ("Stopped: " in out) == (source == "-")
    assert ("Nothing was claimed." in err) == (source != "-")
    assert "make room and run the same command again, it goes on from there" in out + err
    assert "Traceback" not in err
    assert (len(held(badges_sandbox)) > 0) == (source == "-")
    ended = await tool("bulk-claim", path, "--ledger", ledger)
    assert ended.code == 0, ended
    assert held(badges_sandbox) == set(rows)


@pytest.mark.slow
async def test_the_grace_time_ends_a_wait_for_a_silent_service(
    start: Starter, badges_sandbox: Sandbox, tmp_path: Path
) -> None:
    """Ctrl-C once, and no answer ever: the claims are in doubt, and the next run settles them."""
    badges_sandbox.hold()
    rows = claims(200)
    path, ledger = write_csv(tmp_path / "c.csv", rows), tmp_path / "run.db"
    command = ("bulk-claim", path, "--ledger", ledger, "--concurrency", "4")
    process = await start(*command, "--grace", "0.3")
    await badges_sandbox.wait_for_requests(4)

    process.interrupt()
    assert "4 in flight may finish within 0.3 s" in await process.said("Stopping")
    async with asyncio.timeout(8):
        ended = await process.end()

    assert ended.code == 130
    assert "at most 4 of them in doubt" in ended.out
    assert "The ledger: 200 claims, 0 settled, 4 in doubt, 196 pending: run again" in ended.out
    assert ended.out.endswith(" was attempted. The same command goes on from here.\n")
    badges_sandbox.release()
    ended = await (await start(*command)).end()
    assert ended.code == 0
    assert "already claimed   4   4 recovered after a lost answer" in ended.out
    assert held(badges_sandbox) == set(rows)


@pytest.mark.slow
async def test_a_second_signal_leaves_a_ledger_that_goes_on(
    start: Starter, badges_sandbox: Sandbox, tmp_path: Path
) -> None:
    """F090: at once, without waiting for the grace time, and resumable."""
    badges_sandbox.hold()
    rows = claims(100)
    path, ledger = write_csv(tmp_path / "c.csv", rows), tmp_path / "run.db"
    command = ("bulk-claim", path, "--ledger", ledger, "--concurrency", "4")
    process = await start(*command, "--grace", "100")
    await badges_sandbox.wait_for_requests(4)
    process.interrupt()
    await process.said("Stopping")
    process.interrupt(signal.SIGTERM)
    async with asyncio.timeout(8):
        ended = await process.end()

    assert ended.code == 130
    assert "The same command goes on from here." in ended.out
    with LedgerReader.open(ledger) as reader:
        assert (reader.standing().in_doubt, reader.standing().in_use) == (4, False)
    badges_sandbox.release()
    assert (await (await start(*command)).end()).code == 0
    assert held(badges_sandbox) == set(rows)


async def test_an_account_that_is_refused_leaves_a_ledger_that_goes_on(
    tool: Tool, badges_sandbox: Sandbox, tmp_path: Path
) -> None:
    """A password that was changed meanwhile: exit 3, and after it is put right nothing is lost."""
    rows = claims(200)
    path, ledger = write_csv(tmp_path / "c.csv", rows), tmp_path / "run.db"
    badges_sandbox.set_faults([None] * 20 + ["401"] * 500)

    ended = await tool("bulk-claim", path, "--ledger", ledger, "--concurrency", "4")

    assert ended.code == 3
    assert "Stopped: HTTP 401" in ended.out
    assert ended.out.endswith("The same command goes on from here.\n")
    badges_sandbox.set_faults(None)
    assert (await tool("bulk-claim", path, "--ledger", ledger)).code == 0
    assert held(badges_sandbox) == set(rows)


@pytest.mark.parametrize("value", ["-1", "nan", "inf"])
async def test_a_grace_time_is_a_number_of_seconds(value: str, tool: Tool, tmp_path: Path) -> None:
    path = write_csv(tmp_path / "c.csv", claims(1))

    ended = await tool("bulk-claim", path, f"--grace={value}")

    assert ended.code == 2
    assert "--grace is a number of seconds" in ended.err


async def test_an_interrupted_load_sends_nothing_and_goes_on(
    badges_sandbox: Sandbox,
    service_env: Any,
    tmp_path: Path,
    monkeypatch: pytest.MonkeyPatch,
    capsys: pytest.CaptureFixture[str],
) -> None:
    """Ctrl-C while the ledger is filled."""
    service_env(badges_sandbox)
    path, options = write_csv(tmp_path / "c.csv", claims(9)), BulkOptions(ledger=tmp_path / "r.db")

    async def load(*_: object) -> int:
        os.kill(os.getpid(), signal.SIGINT)
        return await asyncio.Event().wait()

    with monkeypatch.context() as patch, closing(RowFile(str(path))) as rows:
        patch.setattr(Keeper, "load", load)
        ending = await claim_file(Service().client(), "h", rows, options)

    assert conclude(ending, options) == 130
    out, err = capsys.readouterr()
    assert "Stopping: nothing was sent yet." in err
    assert out.endswith("Interrupted. Nothing was sent. The same command goes on from here.\n")
    assert not badges_sandbox.requests


async def test_a_file_that_cannot_be_read_again_is_said(
    tool: Tool, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    """Whatever happens while the ledger is filled is one line."""

    async def load(*_: object) -> int:
        raise OSError(5, "Input/output error")

    monkeypatch.setattr(Keeper, "load", load)
    path = write_csv(tmp_path / "c.csv", claims(1))

    ended = await tool("bulk-claim", path, "--ledger", tmp_path / "run.db")

    assert ended.code == 2
    assert ended.err == "badges-async: Input/output error. Nothing was claimed.\n"


async def test_a_first_attempt_that_comes_late_is_waited_for(
    tool: Tool, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    """A host that is not there is still told from one that goes away."""
    monkeypatch.setattr(running, "_REACH_WITHIN", 0.0)
    path = write_csv(tmp_path / "c.csv", claims(5))

    ended = await tool("bulk-claim", path, "--host", "http://127.0.0.1:1")

    assert ended.code == 3
    assert ended.err.endswith(". Nothing was claimed.\n")
