"""Where a run's time went: the seconds of all causes add up to those of its workers."""

from __future__ import annotations

from pathlib import Path

import pytest

from badges_async import BulkReport, Quota, RetryPolicy
from badges_async.messages import Reply
from tests.client.ledgers import Failing, kept, make_ports
from tests.client.scripted import (
    ScriptedTransport,
    Sent,
    lost_before,
    make_client,
    make_rows,
    refused,
    unreachable,
    well,
)
from tests.virtual_clock import START, now, on_virtual_clock


def check(report: BulkReport, workers: int, *, within: float = 0.05) -> None:
    assert sum(report.waits.values()) == pytest.approx(workers * report.elapsed, rel=within)
    assert all(seconds > 0 for seconds in report.waits.values())


@pytest.mark.parametrize("workers", [1, 8])
@on_virtual_clock
async def test_service(workers: int) -> None:
    report = await make_client(ScriptedTransport()).claim_all(make_rows(400), concurrency=workers)
    check(report, workers)
    assert set(report.waits) == {"service"}


@pytest.mark.parametrize("workers", [1, 8])
@on_virtual_clock
async def test_quota(workers: int) -> None:
    client = make_client(ScriptedTransport(), quota=Quota(10, per=10.0))
    report = await client.claim_all(make_rows(200), concurrency=workers)
    check(report, workers)
    assert report.waits["quota"] > 0.9 * workers * report.elapsed


@pytest.mark.parametrize("workers", [1, 8])
@on_virtual_clock
async def test_gate_and_pace(workers: int) -> None:
    def step(sent: Sent) -> Reply:
        throttled = sent.number % 100 == 50
        return (refused(429, 1, retry_after=30) if throttled else well)(sent)  # type: ignore[return-value]

    client = make_client(ScriptedTransport(then=step))
    report = await client.claim_all(make_rows(500), concurrency=workers)
    check(report, workers)
    assert report.waits["gate"] + report.waits.get("pace", 0.0) > 100 * workers
    assert set(report.waits) <= {"gate", "pace", "service"}


@pytest.mark.parametrize("workers", [1, 8])
@on_virtual_clock
async def test_backoff(workers: int) -> None:
    def step(sent: Sent) -> Reply:
        return (
            lost_before if len(sent.service.sent_for(rows[int(sent.key[0], 16)])) < 3 else well
        )(sent)

    rows = make_rows(60)
    service = ScriptedTransport(then=step)
    client = make_client(service, retry=RetryPolicy(base=4.0))
    client._dispatcher.budget.tokens = client._dispatcher.budget.capacity = 1e9  # noqa: SLF001
    report = await client.claim_all(rows, concurrency=workers)
    check(report, workers, within=0.25)
    assert report.waits["backoff"] > 10


@pytest.mark.parametrize("workers", [1, 8])
@on_virtual_clock
async def test_outage(workers: int) -> None:
    def step(sent: Sent) -> Reply:
        return unreachable(sent) if now() < START + 300 else well(sent)

    client = make_client(ScriptedTransport(then=step))
    report = await client.claim_all(make_rows(100), concurrency=workers)
    check(report, workers)
    assert report.waits["outage"] > 0.9 * 300 * workers


@on_virtual_clock
async def test_slot() -> None:
    client = make_client(ScriptedTransport(), max_connections=2)
    report = await client.claim_all(make_rows(400), concurrency=8)
    check(report, 8)
    assert report.waits["slot"] == pytest.approx(0.75 * 8 * report.elapsed, rel=0.05)


@on_virtual_clock
async def test_ledger(tmp_path: Path) -> None:
    service = ScriptedTransport()
    ports = make_ports(service, executor=Failing(0.3))
    quota = Quota(10_000, per=10.0)
    async with kept(tmp_path / "run.db", service, ports=ports, quota=quota) as (client, ledger):
        report = await client.claim_all(make_rows(400), concurrency=8, ledger=ledger)
    # Opening the run and recording the last outcomes is nobody's wait.
    check(report, 8, within=0.1)
    assert report.waits["ledger"] > report.waits["service"]
