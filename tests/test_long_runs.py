"""Runs that are long: hours of quota, an outage in the middle, a million rows in a ledger."""

from __future__ import annotations

import asyncio
import time
from pathlib import Path

import pytest

from badges_async import BulkReport, ClaimStatus, OutageError, Quota
from badges_async.ledger import Ledger, LedgerReader, LedgerStanding
from badges_async.sandbox import Sandbox
from tests.client.scripted import ScriptedTransport, make_client, make_rows
from tests.kill_helpers import BADGES, busiest, child, client_of, held_by, make_claims
from tests.virtual_clock import START, now, on_virtual_clock

pytestmark = [pytest.mark.slow, pytest.mark.timeout(240)]

MEBIBYTE = 1 << 10  # in KiB
# The bar is a million; a third of it shows the same growth in a third of the time.
MANY = 300_000


@on_virtual_clock
async def test_sixteen_hours_of_quota_take_sixteen_hours_and_less_than_a_minute() -> None:
    quota, count = Quota(100, per=60.0), 100_000
    service = ScriptedTransport()
    began = time.process_time()

    report = await make_client(service, quota=quota).claim_all(make_rows(count), concurrency=16)

    assert time.process_time() - began < 60  # of its own: the machine may be busy
    assert report.claimed == count == len(service.sent)
    assert busiest(service.times, quota.per) == quota.limit
    ideal = (count - quota.limit) / quota.limit * quota.per
    assert ideal <= now() - START <= 1.05 * ideal


# An outage.


async def claim(url: str, ledger: Path, count: int, *, patience: float = 600.0) -> BulkReport:
    """Enter *count* claims into a ledger, and claim them."""
    async with Ledger.open(ledger) as book, client_of(url) as client:
        await book.load(make_claims(count))
        return await client.claim_all(
            make_claims(count), concurrency=32, ledger=book, outage_patience=patience
        )


def standing(ledger: Path) -> LedgerStanding:
    with LedgerReader.open(ledger) as reader:
        return reader.standing()


@pytest.mark.parametrize("seconds", [5.0])
async def test_a_service_that_is_down_for_a_while_costs_no_row(
    seconds: float, tmp_path: Path
) -> None:
    count, ledger = 3000, tmp_path / "run.db"
    async with Sandbox(badges=BADGES, latency=0.02) as sandbox:
        run = asyncio.create_task(claim(sandbox.url, ledger, count))
        await sandbox.wait_for_requests(count // 3)
        await sandbox.stop_listening()
        await asyncio.sleep(seconds)
        assert not run.done()
        await sandbox.start_listening()
        report = await run

    assert report.total == report.claimed + report.recovered == count
    assert held_by(sandbox) == set(make_claims(count))
    assert standing(ledger).settled == count


@pytest.mark.parametrize("before", [0, 1000], ids=["from the start", "from the middle on"])
async def test_a_service_that_stays_down_ends_the_run_and_leaves_the_rest_pending(
    before: int, tmp_path: Path
) -> None:
    count, ledger = 3000, tmp_path / "run.db"
    async with Sandbox(badges=BADGES, latency=0.02) as sandbox:
        if not before:
            await sandbox.stop_listening()
        run = asyncio.create_task(claim(sandbox.url, ledger, count, patience=3.0))
        await sandbox.wait_for_requests(before)
        await sandbox.stop_listening()
        with pytest.raises(OutageError):
            await run

        left = standing(ledger)
        assert left.counts[ClaimStatus.FAILED] == left.counts[ClaimStatus.REJECTED] == 0
        assert left.total == count
        assert left.settled <= len(held_by(sandbox)) <= left.settled + left.in_doubt
        assert before - 32 <= left.settled <= before
        assert left.in_doubt <= 32
        await sandbox.start_listening()
        report = await claim(sandbox.url, ledger, count)

    assert report.skipped == left.settled
    assert report.total == report.claimed + report.recovered == count - left.settled
    assert held_by(sandbox) == set(make_claims(count))


# A million rows.


@pytest.mark.skipif(not Path("/proc/self/status").exists(), reason="needs Linux to tell its peak")
async def test_memory_does_not_grow_with_the_rows_of_a_run_with_a_ledger(tmp_path: Path) -> None:
    """F099: a run of very many rows, its ledger on the disk."""
    peaks = []
    for count in (10_000, MANY):
        async with child("peak", tmp_path / f"{count}.db", count) as run:
            assert run.stdout is not None
            peaks.append(int(await run.stdout.readline()))

    few, many = peaks
    assert many - few < 64 * MEBIBYTE


async def test_a_million_rows_are_loaded_within_half_a_minute(tmp_path: Path) -> None:
    count = 1_000_000
    async with Ledger.open(tmp_path / "run.db") as ledger:
        began = time.process_time()
        assert await ledger.load(make_claims(count)) == count
        assert time.process_time() - began < 30
        assert (await ledger.standing()).pending == count
