"""A bulk run keeps its bounds: how many at once, how fast, and what a throttle costs."""

from __future__ import annotations

import asyncio
import itertools
from collections import deque
from collections.abc import Awaitable

import pytest

from badges_async import BadgesClient, BasicAuth, ClaimRequest, ClaimStatus, Quota, RetryPolicy
from badges_async.messages import Reply
from badges_async.sandbox import Sandbox, make_badge_ids
from tests.client.scripted import (
    ScriptedTransport,
    Sent,
    claim_each,
    make_client,
    make_rows,
    refused,
    take,
    well,
)
from tests.virtual_clock import START, now, on_virtual_clock

CLAIMED = ClaimStatus.CLAIMED


@pytest.mark.parametrize("concurrency", [1, 3, 16])
@on_virtual_clock
async def test_the_bound_is_reached_and_never_passed(concurrency: int) -> None:
    # Opens for as many as are allowed: with one less the run would wait for ever.
    door = asyncio.Barrier(concurrency)

    async def answer(sent: Sent) -> Reply:
        await door.wait()
        return well(sent)

    service = ScriptedTransport(then=answer)
    outcomes = await claim_each(
        make_client(service), make_rows(5 * concurrency), concurrency=concurrency
    )

    assert service.peak == concurrency
    assert len(outcomes) == 5 * concurrency


@pytest.mark.usefixtures("lane")
@pytest.mark.parametrize("concurrency", [1, 7])
async def test_the_service_sees_no_more_at_once_than_was_asked_for(concurrency: int) -> None:
    badges = list(make_badge_ids(10))
    async with Sandbox(badges=badges) as sandbox:
        auth = BasicAuth(sandbox.username, sandbox.password)
        sandbox.hold()
        async with BadgesClient(sandbox.url, auth) as client:
            rows = [ClaimRequest(badge, "Loyalty", str(n)) for badge in badges for n in range(20)]
            async with client.claim_many(rows, concurrency=concurrency) as run:
                await sandbox.wait_for_requests(concurrency)
                assert run.in_flight == concurrency
                sandbox.release()
                assert len([outcome async for outcome in run]) == 200
                assert run.in_flight == 0
    assert sandbox.peak_in_flight == concurrency


@on_virtual_clock
async def test_a_worker_takes_the_next_row_as_soon_as_it_is_free() -> None:
    slow, *quick = make_rows(40)

    async def answer(sent: Sent) -> Reply:
        if sent.key[0] == slow.badge_id:
            await asyncio.sleep(10)
        return well(sent)

    client = make_client(ScriptedTransport(then=answer))
    outcomes = await claim_each(client, [slow, *quick], concurrency=2)

    # One slow row holds up one worker, and is the last to come.
    assert outcomes[-1].request is slow
    assert now() == pytest.approx(START + 10.05)


@pytest.mark.parametrize("retry_after", [None, 3])
@on_virtual_clock
async def test_throttles_pause_all_workers_and_cost_no_row_its_attempts(
    retry_after: int | None,
) -> None:
    def answer(sent: Sent) -> Reply:
        # Ten requests go well, then the door is shut for a while.
        reply = refused(429, 1, retry_after=retry_after) if sent.number % 12 >= 10 else well
        answered = reply(sent)
        assert isinstance(answered, Reply)
        return answered

    service = ScriptedTransport(then=answer)
    client = make_client(service, retry=RetryPolicy(max_attempts=1))
    rows = make_rows(100)

    report = await client.claim_all(rows, concurrency=4)

    assert (report.claimed, report.failed, report.ok) == (100, 0, True)
    assert report.throttled == len(service.sent) - 100 == report.retries
    assert report.throttled >= 10


@on_virtual_clock
async def test_nothing_is_sent_while_the_service_asks_to_wait_and_then_no_burst() -> None:
    service = ScriptedTransport(*[well] * 8, *[refused(429, 1, retry_after=30)] * 4)
    await claim_each(make_client(service), make_rows(400), concurrency=4)

    gaps = [later - earlier for earlier, later in itertools.pairwise(service.times)]
    assert gaps[11] == max(gaps) >= 30
    # One tests the water; then they go one by one, slowly at first.
    probe, *after = service.times[12:]
    assert after[0] >= probe + 0.05
    assert all(gap > 0 for gap in gaps[12:20])
    for start in after:
        assert sum(start <= time < start + 0.05 for time in after[:20]) <= 4
    # And soon as fast as before.
    assert service.times[-1] - after[0] < 30


@on_virtual_clock
async def test_throttles_without_a_time_make_short_waits_that_grow() -> None:
    """F065: from a tenth of a second on, by a quarter each time, to 50 s and a little more."""
    service = ScriptedTransport(*[refused(429, 1)] * 40)
    await claim_each(make_client(service), make_rows(1))

    gaps = [later - earlier - 0.05 for earlier, later in itertools.pairwise(service.times)]
    # One or two say nothing of the others, but the same row waits a little.
    assert all(0.05 <= gap <= 0.15 for gap in gaps[:2])
    for number, gap in enumerate(gaps[2:]):
        bound = min(0.1 * 1.25**number, 50.0)
        assert bound - 1e-6 <= gap <= max(1.1 * bound, 0.15) + 1e-6


@on_virtual_clock
async def test_throttles_without_a_time_teach_a_rate() -> None:
    """F065: a run slows down to what the service takes, though it names no time."""
    taken: deque[float] = deque()

    def at_most_ten_a_second(sent: Sent) -> Reply | Awaitable[Reply]:
        while taken and taken[0] <= now() - 1.0:
            taken.popleft()
        if len(taken) >= 10:
            return refused(429, 1)(sent)
        taken.append(now())
        return well(sent)

    service = ScriptedTransport(then=at_most_ten_a_second)
    report = await make_client(service).claim_all(make_rows(3000), concurrency=32)

    assert (report.claimed, report.ok) == (3000, True)
    assert report.elapsed < 300 / 0.85
    assert report.throttled < 0.08 * 3000
    assert report.waits["pace"] > report.waits["gate"]


@on_virtual_clock
async def test_a_day_of_throttles_ends_well() -> None:
    service = ScriptedTransport(*[refused(429, 1)] * 2000)
    outcomes = await claim_each(make_client(service), make_rows(3), concurrency=1)
    assert [outcome.status for outcome in outcomes] == [CLAIMED] * 3
    assert now() - START > 86_400


@on_virtual_clock
async def test_waiting_for_the_quota_does_not_eat_a_rows_time() -> None:
    service = ScriptedTransport()
    client = make_client(service, quota=Quota(10, per=60.0))

    outcomes = await claim_each(client, make_rows(100), concurrency=32)

    assert {outcome.status for outcome in outcomes} == {CLAIMED}
    assert {sent.seconds for sent in service.sent} == {15.0}
    for first, eleventh in zip(service.times, service.times[10:], strict=False):
        assert eleventh - first >= 60
    assert now() - START < 9 * 60.4 + 1


@on_virtual_clock
async def test_waiting_for_a_connection_does_not_eat_a_rows_time() -> None:
    service = ScriptedTransport(then=take(14.0))
    client = make_client(service, max_connections=1)

    outcomes = await claim_each(client, make_rows(20), concurrency=16)

    assert {outcome.status for outcome in outcomes} == {CLAIMED}
    assert len(service.sent) == 20
    assert {sent.seconds for sent in service.sent} == {15.0}
