"""`demo`: the main job from beginning to end, and the proof that can also fail."""

from __future__ import annotations

import asyncio
import csv
import os
import signal
from collections.abc import Sequence
from datetime import UTC, datetime
from pathlib import Path

import aiohttp
import pytest

from badges_async import BulkReport, ClaimOutcome, ClaimStatus
from badges_async.cli import demo
from badges_async.cli.demo import DemoOptions, write_claims
from badges_async.cli.ending import Ending
from badges_async.cli.exits import Exit
from badges_async.cli.files import RowFile
from badges_async.cli.proof import Check, Witness, ask_for_state, prove
from badges_async.cli.rows import BadRow, Row
from badges_async.cli.tally import Tally
from tests.cli.conftest import Process, Starter

KEY = ("b1", "Loyalty", "2")


def ending(*, unsettled: Sequence[Row] = (), total: int = 1) -> Ending:
    counts = dict.fromkeys(ClaimStatus, 0) | {ClaimStatus.CLAIMED: total}
    now = datetime(2026, 1, 1, tzinfo=UTC)
    return Ending(
        file="claims.csv",
        host="",
        options={"concurrency": 16},
        report=BulkReport(counts=counts),
        tally=Tally(good_rows=1, exhausted=True),
        unsettled=unsettled,
        began=now,
        ended=now,
    )


def witness(*statuses: ClaimStatus) -> Witness:
    seen = Witness()
    for status in statuses:
        seen.note(ClaimOutcome(Row(*KEY, 2), status))
    return seen


def failures(seen: Witness, held: set[tuple[str, str, str]], **parts: object) -> list[str]:
    run = ending(**parts)  # type: ignore[arg-type]
    checks = prove(run, seen, rows=1, held=held, before=frozenset(), peak=16)
    return [check.sentence for check in checks if not check.holds]


def test_a_true_report_is_proved() -> None:
    """One row, one claim, held."""
    assert failures(witness(ClaimStatus.CLAIMED), {KEY}) == []
    assert failures(witness(ClaimStatus.FAILED), {KEY}) == []
    assert failures(Witness(), {KEY}, unsettled=[Row(*KEY, 2)]) == []


@pytest.mark.parametrize(
    ("seen", "held", "said"),
    [
        (witness(ClaimStatus.CLAIMED), set(), "every claim reported as held is held"),
        (witness(ClaimStatus.ALREADY_CLAIMED), set(), "every claim reported as held is held"),
        (Witness(), {KEY}, "every claim that is new was reported"),
        (witness(ClaimStatus.REJECTED), {KEY}, "no rejected claim is held"),
        (
            witness(ClaimStatus.CLAIMED, ClaimStatus.ALREADY_CLAIMED),
            {KEY},
            "a claim on several lines has one outcome",
        ),
    ],
)
def test_a_lie_is_found(seen: Witness, held: set[tuple[str, str, str]], said: str) -> None:
    """The proof would be worth nothing if it could not fail."""
    assert said in failures(seen, held)


def test_a_claim_on_two_lines_is_proved() -> None:
    """Sent once, and told of both."""
    twice = witness(ClaimStatus.CLAIMED, ClaimStatus.CLAIMED)
    checks = prove(ending(total=2), twice, rows=2, held={KEY}, before=set(), peak=1)

    assert [check.sentence for check in checks if not check.holds] == []
    assert [check.count for check in checks if "several lines" in check.sentence] == [1]


def test_a_claim_that_was_there_before_is_not_new() -> None:
    """Whoever says so has counted somebody else's."""
    checks = prove(ending(), witness(ClaimStatus.CLAIMED), rows=1, held={KEY}, before={KEY}, peak=1)

    assert [check.sentence for check in checks if not check.holds] == [
        "no claim that was held before is new"
    ]


def test_a_row_that_is_missing_and_a_crowd_are_found() -> None:
    """Every row has an outcome, and the bound on concurrency holds."""
    assert "every row of the file is accounted for" in failures(
        witness(ClaimStatus.CLAIMED), {KEY}, total=0
    )
    crowd = prove(ending(), Witness(), rows=1, held=set(), before=set(), peak=17)
    assert not crowd[-1].holds


def test_a_proof_that_fails_is_not_green(capsys: pytest.CaptureFixture[str]) -> None:
    """Exit 1 and a request to report it."""
    assert demo._judge(ending(), [Check("it is so", False, 3)]) is Exit.PROBLEMS  # noqa: SLF001, FBT003
    out = capsys.readouterr().out
    assert "NO  it is so" in out
    assert "That is a bug" in out


def test_the_file_is_one_that_people_have(tmp_path: Path) -> None:
    """Ids of every kind, rows that repeat, badges that do not exist, owners that do not exist."""
    file = tmp_path / "c.csv"
    write_claims(file, DemoOptions(rows=2000, seed=3))

    with file.open(encoding="utf-8-sig", newline="") as stream:
        assert len(list(csv.reader(stream))) == 2001
    rows = RowFile(str(file))
    found = list(rows)
    rows.close()
    keys = [
        (each.badge_id, each.owner_type, each.reference_id)
        for each in found
        if isinstance(each, Row)
    ]
    assert len(found) == 2000
    assert 0 < sum(isinstance(each, BadRow) for each in found) < 20
    assert len({badge for badge, _, _ in keys}) > 400
    assert len({owner for _, owner, _ in keys}) == 10
    assert len(set(keys)) < len(keys)


@pytest.mark.slow
async def test_the_demo_ends_green(start: Starter) -> None:
    """The main job, faults on, proved against what the sandbox holds."""
    process = await start("demo", "--rows", "400", "--seed", "7")

    ended = await process.end()

    assert ended.code == 0, ended
    assert "Proved: nothing lost, nothing doubled, nothing misreported." in ended.out
    assert "400 rows in" in ended.out
    assert "NO  " not in ended.out
    assert ended.err == ""


async def url_of(process: Process) -> str:
    """Read the first lines of a demo, up to the one that names the sandbox."""
    stdout = process.process.stdout
    assert stdout is not None
    while b"a sandbox in a process of its own" not in (line := await stdout.readline()):
        assert line
    return line.decode().split(", ")[1].split(": ")[0]


async def answers(url: str) -> bool:
    """Whether the sandbox is still there; the question takes a turn of the network."""
    try:
        await ask_for_state(url)
    except aiohttp.ClientConnectionError:
        return False
    return True


@pytest.mark.slow
@pytest.mark.parametrize("how", [signal.SIGINT, signal.SIGTERM, signal.SIGKILL])
async def test_the_demo_leaves_no_process_behind(
    how: signal.Signals, start: Starter, tmp_path: Path
) -> None:
    """However it ends, its sandbox ends too; after Ctrl-C with a proof of what was done."""
    environment = {**os.environ, "TMPDIR": str(tmp_path)}
    process = await start("demo", "--rows", "100000", env=environment, start_new_session=True)
    url = await url_of(process)
    while (await ask_for_state(url))["claims"] < 50:
        pass  # each question takes a turn of the network

    os.killpg(process.pid, how)  # as a terminal does: everything that is in the foreground
    ended = await process.end()

    async with asyncio.timeout(10):
        while await answers(url):
            pass
    if how is signal.SIGKILL:
        return
    assert ended.code == 130, ended
    assert "Interrupted, and true as far as it went." in ended.out
    assert "NO  " not in ended.out
    assert os.listdir(tmp_path) == []  # noqa: PTH208 - pathlib may not be used in a coroutine
