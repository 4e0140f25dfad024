"""Stopping a bulk run in order: what waits is let go, what is on the wire is finished."""

from __future__ import annotations

import asyncio
from collections.abc import AsyncIterator
from typing import Any

import pytest

from badges_async import BulkRun, ClaimOutcome, ClaimRequest, ClaimStatus, OAuth, Quota
from badges_async.messages import Reply
from tests.client.scripted import (
    ScriptedTransport,
    Sent,
    hang,
    lost_before,
    make_client,
    make_rows,
    refused,
    take,
    unreachable,
    well,
)
from tests.virtual_clock import START, now, on_virtual_clock, pending_timers

CLAIMED = ClaimStatus.CLAIMED


async def drain_after(seconds: float, run: BulkRun) -> list[ClaimOutcome]:
    """Drain a run so late, and give its outcomes."""
    async with run:
        asyncio.get_running_loop().call_later(seconds, run.drain)
        return [outcome async for outcome in run]


@on_virtual_clock
async def test_what_is_on_the_wire_is_finished_and_yielded() -> None:
    service = ScriptedTransport(then=take(9.95))
    run = make_client(service).claim_many(make_rows(100), concurrency=4)

    outcomes = await drain_after(5, run)

    assert [outcome.status for outcome in outcomes] == [CLAIMED] * 4
    assert len(service.sent) == 4
    assert now() == pytest.approx(START + 10)
    assert (run.report.claimed, run.report.unsettled) == (4, 0)
    assert run.report.ok


@on_virtual_clock
async def test_nothing_is_pulled_or_sent_after_it() -> None:
    pulled: list[float] = []

    async def rows() -> AsyncIterator[ClaimRequest]:
        for row in make_rows(1000):
            pulled.append(now())
            yield row
            await asyncio.sleep(0.01)

    service = ScriptedTransport()
    await drain_after(2, make_client(service).claim_many(rows(), concurrency=4))

    assert max(pulled) <= START + 2
    assert max(service.times) <= START + 2


@pytest.mark.parametrize(
    "trouble", ["between attempts", "gate", "quota", "slot", "token", "outage", "source"]
)
@on_virtual_clock
async def test_what_waits_is_let_go_unsent_and_counted(trouble: str) -> None:
    async def slow_rows() -> AsyncIterator[ClaimRequest]:
        for row in make_rows(3):
            yield row
        await asyncio.sleep(1000)

    def sometimes(sent: Sent) -> Reply:
        return well(sent) if sent.number == 1 else lost_before(sent)

    service = {
        "between attempts": ScriptedTransport(then=sometimes),
        "gate": ScriptedTransport(*[refused(429, 1, retry_after=500)] * 3),
        "slot": ScriptedTransport(then=take(9)),
        "token": ScriptedTransport(then=hang),
        "outage": ScriptedTransport(then=unreachable),
    }.get(trouble, ScriptedTransport())
    settings: dict[str, dict[str, Any]] = {
        "quota": {"quota": Quota(1, per=500.0)},
        "slot": {"max_connections": 1},
        "token": {"auth": OAuth("key", "secret")},
    }
    options = settings.get(trouble, {})
    rows = slow_rows() if trouble == "source" else make_rows(3)
    run = make_client(service, **options).claim_many(rows, concurrency=3)

    outcomes = await drain_after(5.01, run)

    sent = len(service.sent)
    await asyncio.sleep(10_000)
    assert len(service.sent) == sent
    assert run.report.unsettled == 3 - len(outcomes)
    assert len(outcomes) == {"quota": 1, "slot": 1, "source": 3}.get(trouble, len(outcomes))
    assert {outcome.status for outcome in outcomes} <= {CLAIMED, ClaimStatus.FAILED}
    if trouble in {"gate", "token", "outage"}:
        assert outcomes == []


@on_virtual_clock
async def test_an_attempt_on_the_wire_that_fails_is_not_tried_again() -> None:
    service = ScriptedTransport(then=take(10, lost_before))
    run = make_client(service).claim_many(make_rows(10), concurrency=2)

    outcomes = await drain_after(5, run)

    assert outcomes == []
    assert len(service.sent) == 2
    assert run.report.unsettled == 2
    assert not run.report.ok


@on_virtual_clock
async def test_outcomes_that_wait_for_a_slow_consumer_are_all_yielded() -> None:
    run = make_client(ScriptedTransport()).claim_many(make_rows(1000), concurrency=4)
    outcomes = []
    async with run:
        async for outcome in run:
            outcomes.append(outcome)
            await asyncio.sleep(10)
            if len(outcomes) == 3:
                run.drain()
    assert len(outcomes) == run.report.total == 3 + 4 + 4
    assert run.report.unsettled == 0


@on_virtual_clock
async def test_a_run_can_be_drained_before_it_has_begun_and_again_and_again() -> None:
    service = ScriptedTransport()
    run = make_client(service).claim_many(make_rows(10))
    async with run:
        run.drain()
        run.drain()
        assert [outcome async for outcome in run] == []
        run.drain()
    run.drain()
    assert service.sent == []
    assert (run.report.total, run.report.unsettled) == (0, 0)


@on_virtual_clock
async def test_a_drain_at_any_moment_leaves_nothing_in_doubt() -> None:
    for moment in range(60):
        service = ScriptedTransport(
            then=lambda sent: (lost_before if sent.number % 5 == 0 else well)(sent)
        )
        run = make_client(service, seed=moment).claim_many(make_rows(30), concurrency=3)
        outcomes = await drain_after(moment / 50, run)

        assert run.report.total == len(outcomes)
        settled = {outcome.request for outcome in outcomes}
        # Held or not, each claim that the service was asked for is settled or counted.
        held = {row for row in make_rows(30) if service.holds(row)}
        assert held == {outcome.request for outcome in outcomes if outcome.status is CLAIMED}
        pulled = len(settled) + run.report.unsettled
        assert {sent.key[0] for sent in service.sent} <= {
            row.badge_id for row in make_rows(30)[:pulled]
        }


@on_virtual_clock
async def test_one_object_that_was_pulled_twice_is_unsettled_twice() -> None:
    (row,) = make_rows(1)
    run = make_client(ScriptedTransport(then=hang)).claim_many([row, row, row], concurrency=3)

    async with run:
        asyncio.get_running_loop().call_later(5, lambda: run.drain(grace=1))
        assert [outcome async for outcome in run] == []

    assert run.report.unsettled == len(run.unsettled) == 3
    assert list(run.in_doubt) == list(run.unsettled)


@on_virtual_clock
async def test_a_run_that_is_over_before_its_grace_time_leaves_no_timer() -> None:
    run = make_client(ScriptedTransport()).claim_many(make_rows(10), concurrency=2)

    async with run:
        asyncio.get_running_loop().call_soon(lambda: run.drain(grace=1000))
        assert len([outcome async for outcome in run]) <= 2

    assert now() < START + 1
    assert pending_timers() == 0


@on_virtual_clock
async def test_an_outcome_that_nobody_has_taken_yet_outlives_the_grace_time() -> None:
    """Or it would be counted and never told."""
    run = make_client(ScriptedTransport()).claim_many(make_rows(10), concurrency=2)

    async with run:
        await asyncio.sleep(5)  # two outcomes wait, and a worker with one for each
        run.drain(grace=1)
        await asyncio.sleep(5)
        outcomes = [outcome async for outcome in run]

    assert [outcome.status for outcome in outcomes] == [CLAIMED] * 4
    assert (run.report.total, run.report.unsettled) == (4, 0)
