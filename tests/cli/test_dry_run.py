"""`--dry-run`: what a run would send, and what a ledger would spare it."""

from __future__ import annotations

import random
import time
from collections import Counter
from pathlib import Path
from typing import Any

import pytest
from hypothesis import given
from hypothesis import strategies as st

from badges_async import (
    BadgeNotFoundError,
    ClaimOutcome,
    ClaimRequest,
    ClaimStatus,
    LedgerEntry,
    LedgerStanding,
    Quota,
)
from badges_async.cli import check, matching
from badges_async.cli.matching import Known, Piles
from badges_async.cli.rows import Row
from badges_async.sandbox import Sandbox
from tests.cli.conftest import BADGES, Tool, claims, make_ledger, names_in, write_csv

REJECTED = ("unknown", "Loyalty", "1")
FAILED = (BADGES[0], "Loyalty", "fail-1")


async def test_a_ledger_says_what_is_skipped_and_what_is_sent_again(
    tool: Tool, badges_sandbox: Sandbox, tmp_path: Path
) -> None:
    """Nothing is sent, nothing is written, and the exit code is that of the run."""
    done = [*claims(200), REJECTED, FAILED]
    await make_ledger(tmp_path / "run.db", badges_sandbox, done, rest=claims(210)[205:])
    path = write_csv(tmp_path / "c.csv", [*done, *claims(500)[200:], FAILED])
    before = (tmp_path / "run.db").read_bytes()
    sent = len(badges_sandbox.requests)

    ended = await tool(
        *("bulk-claim", path, "--dry-run", "--ledger", tmp_path / "run.db", "--quota", "100/60s")
    )

    assert (ended.code, ended.err) == (1, "")
    assert "  good rows   503\n" in ended.out
    assert "  repeated      1   line 504 repeats 203\n" in ended.out
    assert f"  Of run.db, the ledger for {badges_sandbox.url}\n" in ended.out
    assert "  settled     201   not sent again; 1 of them rejected\n" in ended.out
    assert "  failed        2   sent again\n" in ended.out
    assert "  in doubt      0\n" in ended.out
    assert "  new         300\n" in ended.out
    assert ended.out.endswith(
        "A run would send 301 claims, 1 of them again, which takes about 2:01 with 100/60s.\n"
    )
    assert len(badges_sandbox.requests) == sent
    assert (tmp_path / "run.db").read_bytes() == before


async def test_a_ledger_that_is_not_there_is_not_made(tool: Tool, tmp_path: Path) -> None:
    """A run would make it."""
    path = write_csv(tmp_path / "c.csv", claims(3))

    ended = await tool("bulk-claim", path, "--dry-run", "--ledger", tmp_path / "run.db")

    assert ended.code == 0
    assert "  run.db is not there yet; a run would make it.\n" in ended.out
    assert ended.out.endswith("A run would send 3 claims.\n")
    assert names_in(tmp_path) == {"c.csv"}


async def test_when_all_is_settled_nothing_would_be_sent(
    tool: Tool, badges_sandbox: Sandbox, tmp_path: Path
) -> None:
    await make_ledger(tmp_path / "run.db", badges_sandbox, claims(3))
    path = write_csv(tmp_path / "c.csv", claims(2))

    ended = await tool("bulk-claim", path, "--dry-run", "--ledger", tmp_path / "run.db")

    assert ended.code == 0
    assert ended.out.endswith("A run would send nothing: every claim is settled.\n")


async def test_what_is_no_ledger_or_the_file_itself_is_refused(tool: Tool, tmp_path: Path) -> None:
    """Exit 2, before a long file is looked at."""
    path = write_csv(tmp_path / "c.csv", claims(3))
    (tmp_path / "text").write_text("text")

    ended = await tool("bulk-claim", path, "--dry-run", "--ledger", tmp_path / "text")
    assert (ended.code, ended.out) == (2, "")
    assert "is no ledger" in ended.err
    ended = await tool("bulk-claim", path, "--dry-run", "--ledger", path)
    assert (ended.code, ended.out) == (2, "")
    assert "are one file" in ended.err


def sums(**parts: Any) -> LedgerStanding:
    return LedgerStanding(counts=dict.fromkeys(ClaimStatus, 0), **parts)


def test_a_pause_and_a_quota_take_time(monkeypatch: pytest.MonkeyPatch) -> None:
    """Of a pause that is over nothing is said."""
    monkeypatch.setattr(time, "time", lambda: 1000.0)
    takes = check._takes  # noqa: SLF001
    quota = Quota(100, 60)

    assert takes(200, None, None) == ""
    assert takes(200, sums(paused_until=999.0), None) == ""
    assert takes(200, sums(paused_until=1090.0), None) == (
        " after a pause of 1:30 that the service asked for"
    )
    assert takes(200, sums(), quota) == ", which takes about 1:00 with 100/60s"


def entry(request: ClaimRequest, status: ClaimStatus | None, *, in_doubt: bool) -> LedgerEntry:
    if status is None:
        return LedgerEntry(request, None, in_doubt, None)
    error = BadgeNotFoundError("gone")
    return LedgerEntry(request, ClaimOutcome(request, status, error=error), in_doubt, 1.0)


def known(status: ClaimStatus | None, *, in_doubt: bool) -> Known:
    if status is None:
        return Known.IN_DOUBT if in_doubt else Known.NOTHING
    names = {ClaimStatus.REJECTED: Known.REJECTED, ClaimStatus.FAILED: Known.FAILED}
    return names.get(status, Known.HELD)


numbers = st.integers(0, 12)
states = st.tuples(st.none() | st.sampled_from(ClaimStatus), st.booleans())


@given(st.dictionaries(numbers, states), st.lists(numbers, max_size=40))
def test_any_file_is_compared_with_any_ledger(
    ledger: dict[int, tuple[ClaimStatus | None, bool]], file: list[int]
) -> None:
    """As if both were held in memory."""

    def claim(number: int) -> ClaimRequest:
        return ClaimRequest("b1", "Loyalty", str(number))

    with Piles() as piles:
        piles.add_entries(
            entry(claim(n), status, in_doubt=doubt) for n, (status, doubt) in ledger.items()
        )
        for line, number in enumerate(file, 2):
            piles.add_row(Row("b1", "Loyalty", str(number), line))
        match = piles.match()

    fates = {n: known(status, in_doubt=doubt) for n, (status, doubt) in ledger.items()}
    expected = Counter(fates.get(number, Known.NOTHING) for number in file)
    assert {fate: count for fate, count in match.rows.items() if count} == expected
    once = Counter(fates.get(number, Known.NOTHING) for number in set(file))
    assert {fate: count for fate, count in match.claims.items() if count} == once
    repeats = [
        (line, file.index(number) + 2)
        for line, number in enumerate(file, 2)
        if file.index(number) + 2 != line
    ]
    assert match.repeats_in_all == len(repeats)
    assert match.repeats == repeats[: matching.REPEATS_KEPT]
    assert match.to_send + len(repeats) + match.settled >= len(file)


def test_piles_that_grow_go_to_the_disk(monkeypatch: pytest.MonkeyPatch) -> None:
    """A million rows need no more memory than a thousand; none is lost on the way."""
    monkeypatch.setattr(matching, "_IN_MEMORY", 100)
    lines = list(range(2, 5002))
    random.Random(1).shuffle(lines)  # noqa: S311
    with Piles() as piles:
        for line in lines:
            piles.add_row(Row("b1", "Loyalty", str(line % 4000), line))
        match = piles.match()

    assert match.repeats_in_all == 1000
    assert match.to_send == 4000
