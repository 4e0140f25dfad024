"""The retry budget of a run: what a sick service sees, and that no row is lost over it."""

from __future__ import annotations

import asyncio
import random
from collections.abc import Callable

import pytest

from badges_async import BulkReport, ClaimOutcome, ClaimStatus, RetryPolicy
from badges_async.messages import Reply
from tests.client.scripted import (
    ScriptedTransport,
    Sent,
    claim_each,
    lost_after,
    lost_before,
    make_client,
    make_rows,
    refused,
    unreachable,
    well,
)
from tests.virtual_clock import START, VirtualClockLoop, now, on_virtual_clock

CLAIMED, ALREADY = ClaimStatus.CLAIMED, ClaimStatus.ALREADY_CLAIMED
FAILED = ClaimStatus.FAILED
MANY = 3000


def fails_at_random(share: float, seed: int) -> Callable[[Sent], Reply]:
    chance = random.Random(seed)  # noqa: S311 - dice of a test

    def step(sent: Sent) -> Reply:
        if sent.request.operation == "claim" and chance.random() < share:
            how = chance.choice([lost_before, lost_after, refused(503, 1), refused(500, 1)])
            return how(sent)  # type: ignore[return-value]
        return well(sent)

    return step


@pytest.mark.slow
@pytest.mark.parametrize("share", [0.2, 0.5, 0.9])
@pytest.mark.parametrize("concurrency", [1, 16])
@pytest.mark.parametrize("seed", [1, 2])
@on_virtual_clock
async def test_a_sick_service_sees_few_more_requests_than_claims(
    share: float, concurrency: int, seed: int
) -> None:
    service = ScriptedTransport(then=fails_at_random(share, seed))
    rows = make_rows(MANY)
    client = make_client(service, seed=seed)
    outcomes: list[ClaimOutcome] = []
    report = await client.claim_all(
        rows, concurrency=concurrency, on_outcome=outcomes.append, outage_patience=1e6
    )

    assert {outcome.request for outcome in outcomes} == set(rows)
    assert report.total == MANY
    claims = [sent for sent in service.sent if sent.request.operation == "claim"]
    extra = len(claims) / MANY - 1
    # One that fails nearly always is mostly taken to be down. Probes cost nothing, and are rare.
    assert extra <= {0.2: 0.27, 0.5: 0.27, 0.9: 0.6}[share] + 20 / MANY
    if share == 0.9:
        assert len(service.sent) / report.elapsed < 0.6 * concurrency / 0.05
    # What the budget can pay for does not fail.
    if share == 0.2:
        assert report.failed <= 0.02 * MANY
    for outcome in outcomes:
        assert (outcome.status in {CLAIMED, ALREADY}) <= service.holds(outcome.request)


@pytest.mark.parametrize("concurrency", [1, 4, 64])
@on_virtual_clock
async def test_when_every_second_attempt_succeeds_all_are_claimed(concurrency: int) -> None:
    tried: set[tuple[str, str]] = set()

    def step(sent: Sent) -> Reply:
        if sent.key in tried:
            return well(sent)
        tried.add(sent.key)
        return lost_before(sent)

    service = ScriptedTransport(then=step)
    report = await make_client(service).claim_all(make_rows(1000), concurrency=concurrency)

    assert (report.claimed, report.ok) == (1000, True)
    assert report.retries <= 1001  # and perhaps a probe


@pytest.mark.parametrize("concurrency", [4, 8])
@on_virtual_clock
async def test_who_had_to_wait_for_the_budget_works_on_when_the_service_is_well(
    concurrency: int,
) -> None:
    at_once: list[int] = []

    def answer(sent: Sent) -> Reply:
        at_once.append(sent.service.in_flight)
        sick = now() < START + 20 and int(sent.key[0], 16) % 2
        reply = (refused(500, 1) if sick else well)(sent)
        assert isinstance(reply, Reply)
        return reply

    client = make_client(ScriptedTransport(then=answer))
    await claim_each(client, make_rows(MANY), concurrency=concurrency)

    assert sum(at_once[-300:]) / 300 > 0.95 * concurrency


@on_virtual_clock
async def test_none_fails_as_long_as_there_is_a_budget() -> None:
    service = ScriptedTransport(then=fails_at_random(0.1, 3))
    client = make_client(service, retry=RetryPolicy(max_attempts=50))
    budget = client._dispatcher.budget  # noqa: SLF001
    lowest = budget.tokens
    async with client.claim_many(make_rows(2000), concurrency=16) as run:
        async for outcome in run:
            lowest = min(lowest, budget.tokens)
            assert outcome.status is not FAILED
    assert lowest > 5
    assert budget.tokens <= 100


@pytest.mark.parametrize("concurrency", [1, 4, 32, 250])
@on_virtual_clock
async def test_when_no_retry_can_be_paid_rows_fail_one_by_one_and_without_a_spin(
    concurrency: int,
) -> None:
    # One of ten succeeds at all, so it is no outage; the others never do.
    def step(sent: Sent) -> Reply:
        if sent.request.operation == "get_badge" or int(sent.key[0], 16) % 10 == 0:
            return well(sent)
        return refused(503, 1)(sent)  # type: ignore[return-value]

    loop = asyncio.get_running_loop()
    assert isinstance(loop, VirtualClockLoop)
    steps = count_steps(loop)
    service = ScriptedTransport(then=step)
    client = make_client(service)
    client._dispatcher.budget.take(100.0)  # noqa: SLF001 - nothing is left of it
    outcomes = await claim_each(client, make_rows(1000), concurrency=concurrency)

    assert len(outcomes) == 1000
    assert sum(outcome.status is CLAIMED for outcome in outcomes) == 100
    assert len(service.sent) <= 2000
    # However many workers there are: they are woken one by one.
    assert steps() < 10 * 1000
    assert all(outcome.attempts >= 1 for outcome in outcomes)


def count_steps(loop: VirtualClockLoop) -> Callable[[], int]:
    """Count the callbacks of *loop* from here on."""
    done = 0
    call_soon = loop.call_soon

    def counted(*args: object, **kwargs: object) -> object:
        nonlocal done
        done += 1
        return call_soon(*args, **kwargs)  # type: ignore[arg-type]

    loop.call_soon = counted  # type: ignore[method-assign, assignment]
    return lambda: done


@pytest.mark.parametrize("concurrency", [1, 8])
@on_virtual_clock
async def test_rows_that_nobody_can_pay_for_outlive_an_outage(concurrency: int) -> None:
    def step(sent: Sent) -> Reply:
        if START + 2 <= now() < START + 200:
            return unreachable(sent)
        first = len(sent.service.sent_for(rows[int(sent.key[0], 16)])) == 1
        failing = sent.request.operation == "claim" and first and now() < START + 2
        return (lost_before if failing and sent.number % 3 else well)(sent)

    rows = make_rows(600)
    service = ScriptedTransport(then=step)
    client = make_client(service)
    client._dispatcher.budget.take(100.0)  # noqa: SLF001 - nothing is left of it
    report: BulkReport = await client.claim_all(rows, concurrency=concurrency)

    assert report.claimed + report.failed == 600
    assert report.failed <= 20 * concurrency
    assert report.waits["outage"] > 100


@pytest.mark.parametrize("moment", [0.05, 0.06, 0.3, 1.0])
@on_virtual_clock
async def test_a_drain_while_rows_wait_to_be_paid_for(moment: float) -> None:
    service = ScriptedTransport(
        then=lambda sent: (well if int(sent.key[0], 16) % 3 == 0 else lost_before)(sent)
    )
    client = make_client(service)
    client._dispatcher.budget.take(100.0)  # noqa: SLF001 - nothing is left of it
    outcomes: list[ClaimOutcome] = []
    async with client.claim_many(make_rows(1000), concurrency=8) as run:
        asyncio.get_running_loop().call_later(moment, run.drain)
        async for outcome in run:
            outcomes.append(outcome)  # noqa: PERF401
    assert now() < START + moment + 0.1
    assert run.report.total == len(outcomes)
    assert run.report.unsettled == len(run.unsettled)
    asked = {sent.key for sent in service.sent}
    told = {(outcome.request.badge_id, outcome.request.reference_id) for outcome in outcomes}
    left = {(row.badge_id, row.reference_id) for row in run.unsettled}
    assert asked <= told | left
    assert not told & left


@on_virtual_clock
async def test_single_calls_share_the_budget_and_fail_at_once_without_one() -> None:
    service = ScriptedTransport(then=refused(503, 1))
    client = make_client(service)
    client._dispatcher.budget.take(100.0)  # noqa: SLF001 - nothing is left of it
    with pytest.raises(Exception, match="503"):
        await client.claim("662749408fe258516a88fe89", "Loyalty", "1")
    assert len(service.sent) == 1
