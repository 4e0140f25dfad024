"""
The last commits are gone, as after a power cut: what was in them is asked for again.

Here: what a run makes of such a ledger. Not here: which commits a torn file still has
(`tests/ledger/test_copies.py`), and when SQLite is told to sync (`tests/ledger/test_claims.py`).
"""

from __future__ import annotations

import random
from pathlib import Path

import pytest

from badges_async import ClaimStatus
from tests.client.ledgers import kept
from tests.client.scripted import ScriptedTransport, make_rows
from tests.ledger.support import beside, copy, entries
from tests.virtual_clock import on_virtual_clock

ROWS = 200


@pytest.mark.parametrize("seed", range(4))
@on_virtual_clock
async def test_commits_that_vanish_are_made_again(tmp_path: Path, seed: int) -> None:
    """F105, F115: a prefix of the commits is left; the rest is sent again and told as it is."""
    chance = random.Random(seed)  # noqa: S311 - where it is cut
    service = ScriptedTransport()
    path = tmp_path / "run.db"
    async with kept(path, service) as (client, ledger):
        await client.claim_all(make_rows(ROWS), concurrency=4, ledger=ledger)
        cut_off = copy(path, tmp_path / "after", "-wal")
    [wal] = beside(cut_off, "-wal")
    whole = wal.read_bytes()
    wal.write_bytes(whole[: chance.randrange(len(whole) // 4, len(whole))])
    left = entries(cut_off)
    recorded = sum(entry.outcome is not None for entry in left.values())
    assert 0 < recorded < ROWS

    later = ScriptedTransport()
    later.held = set(service.held)
    async with kept(cut_off, later) as (client, ledger):
        report = await client.claim_all(make_rows(ROWS), ledger=ledger)
        standing = await ledger.standing()
    assert report.ok
    assert report.skipped == recorded
    assert len(later.sent) == report.already_claimed == ROWS - recorded
    # Ours without a doubt where the intent is still there; held before, as far as is known, else.
    assert report.recovered == sum(entry.in_doubt for entry in left.values())
    assert standing.settled == standing.total == ROWS
    assert standing.counts[ClaimStatus.CLAIMED] == recorded


@on_virtual_clock
async def test_other_input_for_the_same_ledger_is_added_to_it(tmp_path: Path) -> None:
    """F116: rows are told apart by their claim, so another file costs and confuses nothing."""
    service = ScriptedTransport()
    for first, skipped in ((0, 0), (5, 5), (100, 0)):
        async with kept(tmp_path / "run.db", service) as (client, ledger):
            report = await client.claim_all(make_rows(10, start=first), ledger=ledger)
        assert (report.skipped, report.claimed) == (skipped, 10 - skipped)
    assert len(service.sent) == len(service.held) == 25
