"""`ledger`: where a ledger stands, and claims of it as a file that can be claimed again."""

from __future__ import annotations

import contextlib
import csv
import io
import json
import os
import signal
import stat
import time
from collections.abc import Sequence
from pathlib import Path
from typing import Any

import pytest

from badges_async import ClaimStatus, LedgerError, LedgerReader, LedgerStanding
from badges_async.cli import export, ledger
from badges_async.cli.app import run
from badges_async.cli.exits import UsageError
from badges_async.cli.export import read_statuses
from badges_async.sandbox import Sandbox
from tests.cli.conftest import BADGES, Starter, Tool, claims, make_ledger, names_in, write_csv

HEADER = "badge_id,owner_type,reference_id,status,cause,message,attempts,escaped"


async def a_ledger(folder: Path, sandbox: Sandbox) -> Path:
    """Give a ledger with a bit of everything but doubt."""
    path = folder / "run.db"
    done = [
        *claims(5),
        ("unknown", "Loyalty", "=1+1"),
        ("unknown", "Loyalty", "7"),
        (BADGES[0], "Loyalty", "fail-1"),
    ]
    await make_ledger(path, sandbox, done, rest=[(BADGES[3], "Loyalty", "later")])
    return path


def read_csv(text: str) -> list[dict[str, str]]:
    return list(csv.DictReader(io.StringIO(text)))


async def test_it_shows_where_a_ledger_stands(
    tool: Tool, badges_sandbox: Sandbox, tmp_path: Path
) -> None:
    """Counts, causes with an example, whose it is, and what to do next."""
    path = await a_ledger(tmp_path, badges_sandbox)

    ended = await tool("ledger", path)

    assert (ended.code, ended.err) == (1, "")
    assert ended.out.startswith(f"run.db: 9 claims for {badges_sandbox.url}\n\n")
    assert "  claimed         5\n" in ended.out
    assert "  rejected        2\n" in ended.out
    assert "  failed          1   may be held or not; a run sends them again\n" in ended.out
    assert "  in doubt        0\n" in ended.out
    assert "  pending         1   not sent yet\n" in ended.out
    assert "2  such as Loyalty =1+1, badge unknown: The badge passed is not found" in ended.out
    assert f"1  such as Loyalty fail-1, badge {BADGES[0]}: " in ended.out
    assert ended.out.endswith(
        "2 of 9 claims not settled: the same bulk-claim command goes on with them.\n"
    )
    assert "uses it" not in ended.out


async def test_it_is_an_object_for_machines(
    tool: Tool, badges_sandbox: Sandbox, tmp_path: Path
) -> None:
    """The same, and the exit code too."""
    path = await a_ledger(tmp_path, badges_sandbox)

    ended = await tool("ledger", path, "--json")

    assert ended.code == 1
    values = json.loads(ended.out)
    errors = values.pop("errors")
    assert values == {
        "schema": "badges_async.ledger/1",
        "file": "run.db",
        "claims": 9,
        "settled": 7,
        "unsettled": 2,
        "claimed": 5,
        "already_claimed": 0,
        "rejected": 2,
        "failed": 1,
        "recovered": 0,
        "pending": 1,
        "in_doubt": 0,
        "host": badges_sandbox.url,
        "in_use": False,
        "paused_until": None,
    }
    assert sorted(each["count"] for each in errors.values()) == [1, 2]
    examples = {each["example"]["reference_id"]: each["example"] for each in errors.values()}
    assert examples.keys() == {"=1+1", "fail-1"}
    assert examples["fail-1"]["attempts"] >= 1
    assert examples["=1+1"]["message"].startswith("The badge passed is not found")


async def test_a_ledger_that_is_done_is_exit_0(tool: Tool, tmp_path: Path) -> None:
    """So that a script can ask whether there is anything left to do."""
    path, run_db = write_csv(tmp_path / "c.csv", claims(5)), tmp_path / "run.db"
    await tool("bulk-claim", path, "--ledger", run_db)

    ended = await tool("ledger", run_db)

    assert ended.code == 0
    assert ended.out.endswith("All settled: no run would send any of the 5 claims.\n")


async def test_an_empty_ledger_has_nothing_to_do(
    tool: Tool, badges_sandbox: Sandbox, tmp_path: Path
) -> None:
    await make_ledger(tmp_path / "run.db", badges_sandbox, [])

    ended = await tool("ledger", tmp_path / "run.db")

    assert ended.code == 0
    assert ended.out.endswith("\nIt holds no claim.\n")


async def test_it_can_be_asked_while_a_run_goes_on_and_after_a_kill(
    start: Starter, tool: Tool, badges_sandbox: Sandbox, tmp_path: Path
) -> None:
    """The run is not disturbed, and what was cut off is in doubt."""
    badges_sandbox.hold()
    path, run_db = write_csv(tmp_path / "c.csv", claims(500)), tmp_path / "run.db"
    process = await start("bulk-claim", path, "--ledger", run_db, "--concurrency", "4")
    await badges_sandbox.wait_for_requests(4)

    for running in (True, False):
        if not running:
            process.interrupt(signal.SIGKILL)
            await process.end()
        ended = await tool("ledger", run_db)
        assert ended.code == 1
        assert "run.db: 500 claims for " in ended.out
        assert "perhaps sent, no answer known; a run asks again" in ended.out
        assert "  A run uses it now, or the last one was cut off.\n" in ended.out
    values = json.loads((await tool("ledger", run_db, "--json")).out)
    assert values["in_doubt"] >= 4
    assert values["in_use"] is True


@pytest.mark.slow
@pytest.mark.parametrize(
    ("arguments", "said"),
    [
        (["missing.db"], "missing.db: No such file or directory"),
        (["text.db"], "is no ledger: not a SQLite database"),
        (["."], "not a regular file"),
        (["run.db", "--status", "FAILED"], "--status says what --export FILE writes"),
        (["run.db", "--json", "--export", "-"], "would both write to standard output"),
        (["run.db", "--export", "x.csv", "--status", "DONE"], "not 'done'"),
        (["run.db", "--export", "x.csv", "--status", " , "], "--status is some of CLAIMED, "),
        (["run.db", "--export", "run.db"], "are one file"),
        (["run.db", "--export", "run.db-wal"], "are one file"),
        (["run.db", "--export", "missing/x.csv"], "there is no folder"),
        (["run.db", "--export", "."], "is a folder"),
    ],
)
async def test_what_cannot_be_is_one_line(
    arguments: Sequence[str], said: str, tool: Tool, badges_sandbox: Sandbox, tmp_path: Path
) -> None:
    """Exit 2, and nothing is written."""
    await a_ledger(tmp_path, badges_sandbox)
    (tmp_path / "text.db").write_text("text")
    before = names_in(tmp_path)

    with contextlib.chdir(tmp_path):
        ended = await tool("ledger", *arguments)

    assert (ended.code, ended.out) == (2, "")
    assert said in ended.err
    assert ended.err.count("\n") == 1
    assert names_in(tmp_path) == before


async def test_an_export_can_be_claimed_again(
    tool: Tool, badges_sandbox: Sandbox, tmp_path: Path
) -> None:
    """Its owner's only, harmless in a spreadsheet, and the ids arrive as they were."""
    path, file = await a_ledger(tmp_path, badges_sandbox), tmp_path / "failed.csv"
    file.write_text("old")

    ended = await tool("ledger", path, "--export", file, "--status", "failed,REJECTED")

    assert (ended.code, ended.err) == (0, "")
    assert ended.out.endswith("\n\n3 claims written to " + str(file) + ".\n")
    assert stat.S_IMODE(file.stat().st_mode) == 0o600
    assert file.read_text().splitlines()[0] == HEADER
    rows = {row["reference_id"]: row for row in read_csv(file.read_text())}
    assert rows.keys() == {"'=1+1", "7", "fail-1"}
    assert [rows["'=1+1"][name] for name in ("status", "escaped")] == ["rejected", "reference_id"]
    assert rows["fail-1"]["status"] == "failed"
    assert int(rows["fail-1"]["attempts"]) >= 1
    assert rows["7"]["message"].startswith("The badge passed is not found")
    badges_sandbox.add_badges(["unknown"])
    assert (await tool("bulk-claim", file)).code == 0
    assert {("unknown", "Loyalty", "=1+1"), (BADGES[0], "Loyalty", "fail-1")} <= set(
        badges_sandbox.claims
    )


@pytest.mark.parametrize(
    ("status", "references"),
    [
        (None, {"fail-1"}),
        ("Pending", {"later"}),
        ("in_doubt,IN-DOUBT", set()),
        ("PENDING, failed", {"fail-1", "later"}),
        ("claimed,already_claimed", {row[2] for row in claims(5)}),
    ],
)
async def test_an_export_to_standard_output_is_nothing_but_csv(
    status: str | None, references: set[str], tool: Tool, badges_sandbox: Sandbox, tmp_path: Path
) -> None:
    """Of the statuses that were asked for, in any case."""
    path = await a_ledger(tmp_path, badges_sandbox)

    ended = await tool("ledger", path, "--export", "-", *(["--status", status] if status else []))

    assert (ended.code, ended.err) == (0, "")
    assert ended.out.startswith(f"{HEADER}\n")
    assert {row["reference_id"] for row in read_csv(ended.out)} == references


async def test_claims_in_doubt_can_be_exported(
    start: Starter, tool: Tool, badges_sandbox: Sandbox, tmp_path: Path
) -> None:
    """After a second Ctrl-C these are the ones to look at."""
    badges_sandbox.hold()
    path, run_db = write_csv(tmp_path / "c.csv", claims(50)), tmp_path / "run.db"
    process = await start(
        *("bulk-claim", path, "--ledger", run_db, "--concurrency", "4", "--grace", "0")
    )
    await badges_sandbox.wait_for_requests(4)
    process.interrupt()
    await process.end()

    ended = await tool("ledger", run_db, "--export", "-", "--status", "in_doubt")

    assert {row["reference_id"] for row in read_csv(ended.out)} == {row[2] for row in claims(4)}
    assert {row["status"] for row in read_csv(ended.out)} == {"in_doubt"}


async def test_an_export_that_fails_leaves_the_old_file(
    tool: Tool, badges_sandbox: Sandbox, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    """The new one or the old one, and never a half."""
    path, file = await a_ledger(tmp_path, badges_sandbox), tmp_path / "failed.csv"
    file.write_text("old")

    def full(_: int) -> None:
        raise OSError(28, "No space left on device")

    with monkeypatch.context() as patch:
        patch.setattr("os.fsync", full)
        ended = await tool("ledger", path, "--export", file)
    assert ended.code == 1
    assert ended.err == f"badges-async: {file} was not written: No space left on device\n"

    def damaged(*_: object) -> Any:
        raise LedgerError("run.db: the ledger is damaged")

    monkeypatch.setattr(LedgerReader, "entries", damaged)
    monkeypatch.setattr(ledger, "_examples", lambda *_: {})
    ended = await tool("ledger", path, "--export", file)
    assert ended.code == 2
    assert "damaged" in ended.err
    assert file.read_text() == "old"
    assert names_in(tmp_path) == {"run.db", "run.db-lock", "failed.csv"}


async def test_standard_output_that_is_full_is_said(
    start: Starter, badges_sandbox: Sandbox, tmp_path: Path
) -> None:
    """And a reader who has gone is no error."""
    path = await a_ledger(tmp_path, badges_sandbox)
    read, gone = os.pipe()
    os.close(read)
    with open("/dev/full", "wb") as full:  # noqa: ASYNC230, PTH123 - a device
        first = await start("ledger", path, "--export", "-", stdout=full)
    second = await start("ledger", path, "--export", "-", stdout=gone)
    os.close(gone)

    ended = await first.end()
    assert ended.code == 1
    assert ended.err == "badges-async: standard output: No space left on device\n"
    ended = await second.end()
    assert (ended.code, ended.err) == (0, "")


async def test_closed_streams_are_no_error(
    badges_sandbox: Sandbox, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    """Whoever closes them does not want to hear."""
    path = await a_ledger(tmp_path, badges_sandbox)
    monkeypatch.setattr("sys.stdout", None)

    assert run(["ledger", str(path), "--export", "-"]) == 0


def test_statuses_are_words_in_any_case() -> None:
    assert read_statuses("FAILED, rejected,,In-Doubt") == {"failed", "rejected", "in_doubt"}
    with pytest.raises(UsageError, match="CLAIMED, ALREADY_CLAIMED, REJECTED, FAILED, PENDING"):
        read_statuses("failed,nothing")


def sums(**parts: Any) -> LedgerStanding:
    counts = {status: parts.pop(status.value, 0) for status in ClaimStatus}
    return LedgerStanding(counts=counts, **parts)


class Reader:
    """Stands in for a reader whose ledger has no examples."""

    def entries(self, _: object) -> Any:
        return iter(())


def picture(standing: LedgerStanding) -> str:
    return ledger._picture(Path("run.db"), standing, Reader()).plain  # type: ignore[arg-type] # noqa: SLF001


def test_a_pause_is_told_while_it_lasts(monkeypatch: pytest.MonkeyPatch) -> None:
    """As what is left of it; the object has the moment."""
    monkeypatch.setattr(time, "time", lambda: 1_000_000.0)

    assert "send nothing for 1:30 more" in picture(sums(paused_until=1_000_090.0))
    assert "send nothing" not in picture(sums(paused_until=999_999.0))
    text = ledger._document(Path("r"), sums(paused_until=0.0), Reader()).plain  # type: ignore[arg-type] # noqa: SLF001
    assert json.loads(text)["paused_until"] == "1970-01-01T00:00:00+00:00"


def test_many_causes_do_not_scroll_the_counts_away() -> None:
    """Eight of them, and how many more; one without an example is counted all the same."""
    said = picture(sums(rejected=30, errors={str(code): 1 for code in range(700, 730)}))

    assert said.count("  code 7") == 8
    assert "  and 22 more causes" in said


def test_recovered_claims_are_told() -> None:
    said = picture(sums(already_claimed=3, recovered=2))

    assert "  already claimed 3   2 recovered after a lost answer\n" in said


def test_all_statuses_of_the_library_can_be_exported() -> None:
    """A new one would have to be thought about here."""
    assert set(export._STATUSES) - {"pending", "in_doubt"} == set(map(str, ClaimStatus))  # noqa: SLF001
