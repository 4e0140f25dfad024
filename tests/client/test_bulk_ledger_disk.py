"""A ledger that cannot be written, for a while or for ever: nothing is sent, nothing is lost."""

from __future__ import annotations

import asyncio
import contextlib
from pathlib import Path

import pytest

from badges_async import (
    BulkRun,
    ClaimOutcome,
    ClaimStatus,
    LedgerError,
    LedgerFullError,
    Quota,
)
from badges_async.ledger.records import State
from badges_async.messages import Reply
from tests.client.ledgers import Failing, disk, kept, make_ports
from tests.client.scripted import ScriptedTransport, Sent, lost_before, make_rows, take, well
from tests.virtual_clock import START, now, on_virtual_clock

ROWS = 400


def sometimes(sent: Sent) -> Reply:
    return (lost_before if sent.number % 9 == 0 else well)(sent)


async def collect(run: BulkRun, told: list[ClaimOutcome]) -> None:
    """Add each outcome to *told*, also those before the run breaks off."""
    async for outcome in run:
        told.append(outcome)  # noqa: PERF401


async def consume(run: BulkRun, told: list[ClaimOutcome]) -> None:
    """Enter the run and collect."""
    async with run:
        await collect(run, told)


@pytest.mark.parametrize("quota", [None, Quota(2000, per=60.0)])
@pytest.mark.parametrize("seconds", [0.0, 0.02])
@on_virtual_clock
async def test_sending_stops_while_it_stalls_and_goes_on_when_it_is_well(
    tmp_path: Path, quota: Quota | None, seconds: float
) -> None:
    """F110, F111: nothing is sent meanwhile, and what was in flight keeps its outcome."""
    path, rows = tmp_path / "run.db", make_rows(ROWS)
    service, executor = ScriptedTransport(then=sometimes), Failing(seconds)
    ports = make_ports(service, executor=executor)
    loop = asyncio.get_running_loop()
    yielded: list[tuple[float, ClaimOutcome]] = []
    async with kept(path, service, ports=ports, quota=quota) as (client, ledger):
        async with client.claim_many(rows, concurrency=8, ledger=ledger) as run:
            loop.call_at(START + 0.3, executor.break_down)
            loop.call_at(START + 12, executor.get_well)
            async for outcome in run:
                yielded.append((now(), outcome))  # noqa: PERF401 - when each came
        standing = await ledger.standing()
    assert executor.failures > 10
    # A request that had its permit before the disk failed may still be on its way.
    assert not [time for time in service.times if START + 0.35 + seconds < time < START + 12]
    assert not [time for time, _ in yielded if START + 0.3 + seconds < time < START + 12]
    assert len(yielded) == ROWS == standing.settled
    assert {outcome.request for _, outcome in yielded} == set(rows)
    assert run.report.ok
    assert run.report.waits["ledger"] > 8 * 10
    assert run.report.elapsed < 20


@pytest.mark.parametrize("moment", [0.0, 0.04, 0.05, 0.06, 0.1, 0.16, 0.3])
@on_virtual_clock
async def test_for_ever_it_ends_the_run_and_nothing_is_told_that_is_not_on_disk(
    tmp_path: Path, moment: float
) -> None:
    path, rows = tmp_path / "run.db", make_rows(ROWS)
    service, executor = ScriptedTransport(then=sometimes), Failing(0.01)
    ports = make_ports(service, executor=executor)
    yielded: list[ClaimOutcome] = []
    async with kept(path, service, ports=ports) as (client, ledger):
        run = client.claim_many(rows, concurrency=8, ledger=ledger)
        asyncio.get_running_loop().call_later(moment, executor.break_down)
        with pytest.raises(LedgerFullError) as caught:
            await consume(run, yielded)
        assert "cannot be written" in str(caught.value)
        assert now() < START + 30
    with disk(path) as on_disk:
        for outcome in yielded:
            assert on_disk.state(outcome.request) is State[outcome.status.name]
        counts = on_disk.counts()
    report = run.report
    assert report.total == len(yielded)
    assert report.claimed == counts[State.CLAIMED]
    assert report.unsettled == len(run.unsettled)
    assert bool(report.unsettled) is bool(moment)  # at once, nothing was pulled
    sent = len(service.sent)
    await asyncio.sleep(100)
    assert len(service.sent) == sent

    # The next one goes on; what was held and not recorded is in doubt, so it is recovered.
    later = ScriptedTransport()
    later.held = set(service.held)
    async with kept(path, later) as (client, ledger):
        outcomes: list[ClaimOutcome] = []
        report = await client.claim_all(rows, ledger=ledger, on_outcome=outcomes.append)
    assert report.ok
    assert report.skipped + report.total == ROWS
    again = {each.request for each in outcomes if each.status is ClaimStatus.ALREADY_CLAIMED}
    assert all(each.recovered for each in outcomes if each.request in again)
    assert again <= {row for row in rows if service.holds(row)}


@on_virtual_clock
async def test_a_ledger_that_is_closed_under_a_run_ends_it(tmp_path: Path) -> None:
    path, rows = tmp_path / "run.db", make_rows(ROWS)
    service = ScriptedTransport()
    told: list[ClaimOutcome] = []
    async with contextlib.AsyncExitStack() as stack:
        async with kept(path, service) as (client, ledger):
            run = await stack.enter_async_context(client.claim_many(rows, ledger=ledger))
            told.append(await anext(run))
        with pytest.raises(LedgerError, match="closed"):
            await collect(run, told)
    assert run.report.total == len(told)
    with disk(path) as on_disk:
        assert on_disk.counts()[State.CLAIMED] == len(told)


@pytest.mark.parametrize("stop", ["drain", "cancel"])
@on_virtual_clock
async def test_a_run_can_be_stopped_while_the_disk_is_full(tmp_path: Path, stop: str) -> None:
    path, rows = tmp_path / "run.db", make_rows(ROWS)
    service, executor = ScriptedTransport(), Failing()
    ports = make_ports(service, executor=executor)
    async with kept(path, service, ports=ports) as (client, ledger):
        run = client.claim_many(rows, concurrency=8, ledger=ledger)

        task = asyncio.create_task(consume(run, []))
        await asyncio.sleep(0.3)
        executor.broken = True
        await asyncio.sleep(5)
        if stop == "cancel":
            task.cancel()
            with pytest.raises(asyncio.CancelledError):
                await task
            assert now() == START + 5.3
        else:
            run.drain()
            await asyncio.sleep(1)
            assert not task.done()  # its outcomes are yet to be recorded
        executor.broken = False
        await asyncio.wait([task])
        standing = await ledger.standing()
    assert standing.counts[ClaimStatus.CLAIMED] == run.report.claimed == len(service.held)
    assert run.report.unsettled == standing.pending + standing.in_doubt
    assert standing.in_doubt == 0


@on_virtual_clock
async def test_a_single_call_goes_on_when_the_ledger_of_a_run_beside_it_fails(
    tmp_path: Path,
) -> None:
    service, executor = ScriptedTransport(then=take(2.0)), Failing()
    ports = make_ports(service, executor=executor)
    path, rows = tmp_path / "run.db", make_rows(10)
    quota = Quota(1000, per=60.0)
    async with kept(path, service, ports=ports, quota=quota) as (client, ledger):
        run = client.claim_many(make_rows(50, start=100), concurrency=4, ledger=ledger)

        task = asyncio.create_task(consume(run, []))
        await asyncio.sleep(0.3)
        executor.broken = True
        await asyncio.sleep(3)
        assert ledger.stalled
        # While it is not known whether it fails, a call waits, and no longer than it may.
        with pytest.raises(TimeoutError, match="ledger"):
            await client.claim(rows[0].badge_id, "Loyalty", "1", timeout=5.0)
        assert now() == START + 8.3
        result = await client.claim(rows[1].badge_id, "Loyalty", "1", timeout=60.0)
        assert result.attempts == 1
        with pytest.raises(LedgerFullError):
            await task
        await client.claim(rows[2].badge_id, "Loyalty", "1", timeout=5.0)
