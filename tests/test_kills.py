"""
The tool, killed again and again at any moment, and started again: nothing is lost or misreported.

A life is one process of `bulk-claim` with a ledger, against a sandbox in another process that has a
bad day. A life that ends before its kill is no kill.
"""

from __future__ import annotations

import contextlib
import csv
import json
import sqlite3
import subprocess
import time
from collections.abc import Callable, Iterator
from pathlib import Path
from random import Random
from typing import Any

import attrs
import pytest

from badges_async import ClaimRequest, ClaimStatus, OwnerType
from badges_async.ledger import LedgerEntry, LedgerReader
from badges_async.sandbox import Fault, Sandbox
from tests.kill_helpers import (
    BADGES,
    ROOT,
    TOOL,
    Service,
    child,
    environment,
    running_service,
)

pytestmark = [pytest.mark.slow, pytest.mark.timeout(300)]

CLAIMED, ALREADY = ClaimStatus.CLAIMED, ClaimStatus.ALREADY_CLAIMED
REJECTED, FAILED = ClaimStatus.REJECTED, ClaimStatus.FAILED
UNKNOWN = "f" * 24
LOOK_EVERY = 0.005
# Slow enough that a file lasts for all of its lives, on a fast machine too.
BAD_DAY = ("--fault", "everyday=0.1", "--latency", "0.05")


@attrs.frozen
class Rows:
    """
    A file of claims.

    Attributes:
        good: The claims of its good lines; a claim may be on several.
        bad: How many lines are none.
    """

    path: Path
    good: tuple[ClaimRequest, ...]
    bad: int

    @property
    def to_be_held(self) -> set[ClaimRequest]:
        return {claim for claim in self.good if claim.badge_id != UNKNOWN}

    @property
    def to_be_rejected(self) -> set[ClaimRequest]:
        return {claim for claim in self.good if claim.badge_id == UNKNOWN}


def write_rows(path: Path, count: int, dice: Random, *, clean: bool = False) -> Rows:
    """Write *count* lines: unless *clean*, some of them twice, some to be rejected, some bad."""
    good: list[ClaimRequest] = []
    lines, bad = [], 0
    for number in range(count):
        kind = 1.0 if clean else dice.random()
        badge = UNKNOWN if kind < 0.005 else dice.choice(BADGES)
        claim = ClaimRequest(badge, OwnerType.LOYALTY, f"member-{number}")
        if 0.005 <= kind < 0.015 and good:
            claim = dice.choice(good)
        if is_bad := 0.015 <= kind < 0.018:
            bad += 1
        else:
            good.append(claim)
        lines.append((claim.badge_id, "Nobody" if is_bad else "Loyalty", claim.reference_id))
    with path.open("w", encoding="utf-8", newline="") as file:
        csv.writer(file).writerows([("badge_id", "owner_type", "reference_id"), *lines])
    return Rows(path, tuple(good), bad)


@attrs.define
class Job:
    """
    A file that is claimed in many lives.

    Attributes:
        kills: How many lives were ended.
        busy: How many of these had sent something.
    """

    rows: Rows
    service: Service
    folder: Path
    kills: int = 0
    busy: int = 0

    @property
    def ledger(self) -> Path:
        return self.folder / "run.db"

    @property
    def command(self) -> list[str]:
        """Give what is typed, the same in each life."""
        places = ["--ledger", str(self.ledger), "--report", str(self.folder / "out.json")]
        return [*TOOL, "bulk-claim", str(self.rows.path), *places, "--no-progress"]

    @contextlib.contextmanager
    def life(self) -> Iterator[subprocess.Popen[bytes]]:
        """Begin a life; it ends with the block."""
        with (self.folder / "said.txt").open("ab") as said:
            process = subprocess.Popen(  # noqa: S603 - our own tool
                [*self.command, "--concurrency", "32"],
                cwd=ROOT,
                env=environment(self.service.url),
                stdout=said,
                stderr=said,
            )
        with process:
            try:
                yield process
            finally:
                process.kill()

    def kill(self, wait: Callable[[Job, subprocess.Popen[bytes]], None]) -> None:
        """Live until *wait* is over, then look at what is left."""
        before = self.service.requests()
        with self.life() as process:
            wait(self, process)
            killed = process.poll() is None
        self.kills += killed
        self.busy += killed and self.service.requests() > before
        entries = self.entries()
        claimed = {each.request for each in entries if _status(each) in {CLAIMED, ALREADY}}
        in_doubt = {each.request for each in entries if each.in_doubt}
        assert claimed <= self.service.claims() <= claimed | in_doubt

    def entries(self) -> list[LedgerEntry]:
        """Give what the ledger says of each claim."""
        if not self.ledger.exists():
            return []
        with LedgerReader.open(self.ledger) as reader:
            return list(reader.entries())

    def finish(self) -> tuple[int, dict[str, Any]]:
        """Live to the natural end; give the exit code and the report."""
        (self.folder / "out.json").unlink(missing_ok=True)
        with self.life() as process:
            code = process.wait(120)
        return code, json.loads((self.folder / "out.json").read_text("utf-8"))


def _status(entry: LedgerEntry) -> ClaimStatus | None:
    return None if entry.outcome is None else entry.outcome.status


# When to kill.

Wait = Callable[[Job, subprocess.Popen[bytes]], None]


def after(seconds: float) -> Wait:
    """Wait for so long."""
    return lambda _, __: time.sleep(seconds)


def after_event(happened: Callable[[Job], Callable[[], bool]], seconds: float) -> Wait:
    """Wait until something has happened in this life, and then for so long."""

    def wait(job: Job, process: subprocess.Popen[bytes]) -> None:
        has_happened = happened(job)
        while process.poll() is None and not has_happened():
            time.sleep(LOOK_EVERY)
        time.sleep(seconds)

    return wait


def opened(job: Job) -> Callable[[], bool]:
    """Look whether the ledger is locked anew."""
    lock = job.ledger.with_name("run.db-lock")

    def written() -> int:
        return lock.stat().st_mtime_ns if lock.exists() else 0

    before = written()
    return lambda: written() > before


def sending(job: Job) -> Callable[[], bool]:
    """Look whether a request has arrived."""
    before = job.service.requests()
    return lambda: job.service.requests() > before


def all_held(job: Job) -> Callable[[], bool]:
    """Look whether there is nothing left to claim."""
    return lambda: len(job.service.claims()) == len(job.rows.to_be_held)


# What must hold in the end.


def finish_and_check(job: Job) -> None:
    """Leave the job to finish, and compare ledger, report and service."""
    code, report = job.finish()
    if any(_status(each) is FAILED for each in job.entries()):
        # Five attempts that all went wrong: by chance one claim in a few hundred thousand.
        code, report = job.finish()
    _check_ledger(job)
    _check_report(job, report)
    assert code == report["exit_code"] == int(bool(job.rows.bad or job.rows.to_be_rejected))

    before = job.service.requests()
    code_again, report_again = job.finish()
    assert job.service.requests() == before
    assert code_again == code
    assert report_again["counts"]["skipped"] == len(job.rows.good)
    _check_report(job, report_again)
    _check_ledger(job)


def _check_ledger(job: Job) -> None:
    by_status: dict[ClaimStatus | None, set[ClaimRequest]] = {}
    for each in job.entries():
        by_status.setdefault(_status(each), set()).add(each.request)
        # Nobody else claims here: what stood already is ours.
        assert each.outcome is None or each.outcome.recovered is (_status(each) is ALREADY)
    held = by_status.pop(CLAIMED, set()) | by_status.pop(ALREADY, set())
    assert held == job.service.claims() == job.rows.to_be_held
    assert by_status.pop(REJECTED, set()) == job.rows.to_be_rejected
    assert not by_status, "all are settled, none has failed"
    with contextlib.closing(sqlite3.connect(f"{job.ledger.as_uri()}?mode=ro", uri=True)) as ledger:
        assert ledger.execute("PRAGMA integrity_check").fetchall() == [("ok",)]


def _check_report(job: Job, report: dict[str, Any]) -> None:
    counts = report["counts"]
    settled = sum(counts[each] for each in ("claimed", "already_claimed", "rejected", "failed"))
    assert report["complete"]
    assert (counts["failed"], counts["unsettled"]) == (0, 0)
    assert counts["already_claimed"] == counts["recovered"]
    assert settled + counts["skipped"] == len(job.rows.good)
    assert counts["bad_rows"] == job.rows.bad
    assert counts["rows"] == len(job.rows.good) + job.rows.bad
    rejected_lines = sum(claim.badge_id == UNKNOWN for claim in job.rows.good)
    assert counts["rejected"] + counts["rejected_before"] == rejected_lines


def test_a_file_of_8000_rows_survives_kills_at_random_moments(tmp_path: Path) -> None:
    dice = Random(8000)  # noqa: S311 - a schedule
    rows = write_rows(tmp_path / "rows.csv", 8000, dice)
    with running_service(*BAD_DAY) as service:
        job = Job(rows, service, tmp_path)
        while job.kills < 10:
            job.kill(after(dice.uniform(0.2, 2.5)))
        finish_and_check(job)


KINDS: dict[str, Callable[[Random], Wait]] = {
    "starting": lambda dice: after(dice.uniform(0.05, 0.6)),
    "opening": lambda dice: after_event(opened, dice.uniform(0.0, 0.05)),
    "sending": lambda dice: after_event(sending, dice.uniform(0.0, 0.6)),
    "closing": lambda dice: after_event(all_held, dice.uniform(0.0, 0.15)),
}


@pytest.mark.parametrize("seed", range(10))
def test_twenty_kills_at_every_kind_of_moment(seed: int, tmp_path: Path) -> None:
    """F103: the tool, killed twenty times in one job, ends with a report that is true."""
    dice = Random(seed)  # noqa: S311 - a schedule
    rows = write_rows(tmp_path / "rows.csv", 3000, dice, clean=seed % 3 == 0)
    kinds = dice.sample(["starting", "opening", "sending"], 17, counts=[2, 3, 12])
    with running_service(*BAD_DAY, "--seed", str(seed)) as service:
        job = Job(rows, service, tmp_path)
        for kind in ["opening", *kinds, "closing"]:
            job.kill(KINDS[kind](dice))
        while job.kills < 20:
            job.kill(KINDS["opening"](dice))
        finish_and_check(job)
    assert job.busy >= 10


async def test_what_was_told_is_in_the_ledger(tmp_path: Path) -> None:
    """An outcome that the consumer has seen survives the kill that comes right after it."""
    dice = Random(77)  # noqa: S311 - a schedule
    told: set[str] = set()
    async with Sandbox(badges=BADGES, latency=(0.0, 0.05), faults=Fault.everyday(0.1)) as sandbox:
        for _ in range(10):
            async with child("tell", sandbox.url, tmp_path / "run.db", 5000) as run:
                assert run.stdout is not None
                for _ in range(dice.randint(1, 300)):
                    told.add((await run.stdout.readline()).decode().strip())
                run.kill()
                told |= set((await run.stdout.read()).decode().split())
            with LedgerReader.open(tmp_path / "run.db") as ledger:
                known = {each.request.reference_id for each in ledger.entries([CLAIMED, ALREADY])}
            assert told <= known
            assert len(known) < 5000, "it was killed"
