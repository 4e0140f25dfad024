"""How far a run with a ledger runs ahead: a bounded number of rows, and never a wait for more."""

from __future__ import annotations

import asyncio
from collections.abc import AsyncIterator, Iterator
from pathlib import Path

import pytest

from badges_async import ClaimOutcome, ClaimRequest, Quota
from badges_async.messages import Reply
from tests.client.ledgers import Disk, disk, kept, make_ports
from tests.client.scripted import ScriptedTransport, Sent, make_rows, well
from tests.ledger.support import Inline
from tests.virtual_clock import START, now, on_virtual_clock

MANY = 100_000


class Forgetful(ScriptedTransport):
    """Keeps no list of what was sent."""

    async def send(self, *args: object, **kwargs: object) -> Reply:
        self.sent.clear()
        self.held.clear()
        return await super().send(*args, **kwargs)  # type: ignore[arg-type]


@pytest.mark.slow
@pytest.mark.timeout(120)
@pytest.mark.parametrize("settled_before", [True, False])
@on_virtual_clock
async def test_a_bounded_number_of_rows_is_pulled_ahead(
    tmp_path: Path, *, settled_before: bool
) -> None:
    path, service = tmp_path / "run.db", Forgetful(latency=0.001)
    pulled = done = most = 0

    def rows() -> Iterator[ClaimRequest]:
        nonlocal pulled
        for number in range(MANY):
            pulled += 1
            yield ClaimRequest(f"{number:024x}", "Loyalty", "r")

    def count(outcome: ClaimOutcome) -> None:
        nonlocal done, most
        del outcome
        done += 1
        most = max(most, pulled - done)

    if settled_before:
        async with kept(path, service) as (client, ledger):
            await client.claim_all(rows(), concurrency=64, ledger=ledger)
        pulled = 0
    async with kept(path, service) as (client, ledger):
        run = client.claim_many(rows(), concurrency=16, ledger=ledger)
        journal = run._journal  # noqa: SLF001 - what it remembers must not grow
        assert journal is not None
        async with run:
            async for outcome in run:
                count(outcome)
                if done % 1000 == 0:
                    assert len(run.unsettled) < 500
                    assert len(journal._entries) < 500  # noqa: SLF001
                    assert len(journal._by_request) < 500  # noqa: SLF001
    assert pulled == MANY
    if settled_before:
        assert (done, run.report.skipped) == (0, MANY)
    else:
        assert (done, run.report.claimed) == (MANY, MANY)
        assert most < 64 * 3 + 16 * 9


@pytest.mark.parametrize("skipped", [0, 5000])
@on_virtual_clock
async def test_a_consumer_that_stops_to_think_stops_the_source(
    tmp_path: Path, skipped: int
) -> None:
    path, service = tmp_path / "run.db", ScriptedTransport()
    async with kept(path, service) as (client, ledger):
        await client.claim_all(make_rows(skipped), ledger=ledger)
    pulled: list[float] = []

    def rows() -> Iterator[ClaimRequest]:
        for row in make_rows(20_000):
            pulled.append(now())
            yield row

    async with (
        kept(path, service) as (client, ledger),
        client.claim_many(rows(), concurrency=4, ledger=ledger) as run,
    ):
        await anext(run)
        await asyncio.sleep(100)
        assert len(pulled) - skipped < 64 * 3 + 4 * 9
        at = len(pulled)
        await asyncio.sleep(100)
        assert len(pulled) == at


@pytest.mark.parametrize("concurrency", [1, 16])
@on_virtual_clock
async def test_a_row_that_arrives_alone_is_sent_at_once(tmp_path: Path, concurrency: int) -> None:
    path, service = tmp_path / "run.db", ScriptedTransport()
    arrived: list[float] = []

    async def rows() -> AsyncIterator[ClaimRequest]:
        for row in make_rows(20):
            await asyncio.sleep(100)
            arrived.append(now())
            yield row

    told: list[float] = []
    ports = make_ports(service, executor=Inline(0.01))
    async with (
        kept(path, service, ports=ports) as (client, ledger),
        client.claim_many(rows(), concurrency=concurrency, ledger=ledger) as run,
    ):
        async for _ in run:
            told.append(now())  # noqa: PERF401 - when each came
    assert service.times == pytest.approx([moment + 0.01 for moment in arrived])
    assert told == pytest.approx([moment + 0.01 + 0.05 + 0.01 for moment in arrived])


@on_virtual_clock
async def test_a_slow_disk_does_not_slow_down_a_run(tmp_path: Path) -> None:
    took = {}
    for seconds in (0.0, 0.01):
        began = now()
        service = ScriptedTransport()
        ports = make_ports(service, executor=Inline(seconds))
        async with kept(tmp_path / f"{seconds}.db", service, ports=ports) as (client, ledger):
            await client.claim_all(make_rows(5000), concurrency=16, ledger=ledger)
        took[seconds] = now() - began
    assert took[0.0] == pytest.approx(5000 / 16 * 0.05, rel=0.02)
    assert took[0.01] < 1.1 * took[0.0]


@on_virtual_clock
async def test_the_disk_holds_each_send_of_a_quota_before_it_leaves(tmp_path: Path) -> None:
    path, reading, quota = tmp_path / "run.db", list[Disk](), Quota(10, per=10.0)

    def sends() -> list[float]:
        rows = reading[0]._connection.execute("SELECT loop FROM send ORDER BY number")  # noqa: SLF001
        return [loop for (loop,) in rows]

    def step(sent: Sent) -> Reply:
        stamps = sends()
        assert len(stamps) >= min(sent.number, 10)
        assert any(sent.at - 0.0101 <= stamp <= sent.at for stamp in stamps)
        return well(sent)

    service = ScriptedTransport(then=step)
    ports = make_ports(service, executor=Inline(0.005))
    async with kept(path, service, ports=ports, quota=quota) as (client, ledger):
        with disk(path) as now_on_disk:
            reading.append(now_on_disk)
            report = await client.claim_all(make_rows(60), concurrency=8, ledger=ledger)
    assert report.claimed == 60
    for first, eleventh in zip(service.times, service.times[10:], strict=False):
        assert eleventh - first >= 10.0


@on_virtual_clock
async def test_a_quota_holds_across_a_restart(tmp_path: Path) -> None:
    path, quota = tmp_path / "run.db", Quota(10, per=10.0)
    times: list[float] = []
    for part in range(1, 5):
        service = ScriptedTransport()
        ports = make_ports(service, seed=part, executor=Inline(0.005))
        async with kept(path, service, ports=ports, quota=quota) as (client, ledger):
            await client.claim_all(make_rows(13 * part), concurrency=8, ledger=ledger)
        times += service.times
    assert len(times) == 52
    for first, eleventh in zip(times, times[10:], strict=False):
        assert eleventh - first >= 10.0
    assert now() - START < 1.06 * 50 + 1


@on_virtual_clock
async def test_nothing_is_pulled_after_a_drain(tmp_path: Path) -> None:
    pulled: list[float] = []

    async def rows() -> AsyncIterator[ClaimRequest]:
        for row in make_rows(1000):
            pulled.append(now())
            yield row
            await asyncio.sleep(0.01)

    async def slowly(sent: Sent) -> Reply:
        await asyncio.sleep(5)
        return well(sent)

    path, service = tmp_path / "run.db", ScriptedTransport(then=slowly)
    async with (
        kept(path, service) as (client, ledger),
        client.claim_many(rows(), concurrency=4, ledger=ledger) as run,
    ):
        asyncio.get_running_loop().call_later(0.1, run.drain)
        assert len([outcome async for outcome in run]) == 4
    assert max(pulled) <= START + 0.1
