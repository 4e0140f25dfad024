"""429 in all its forms: who waits for how long, and what it costs."""

from __future__ import annotations

import asyncio
import gc
import itertools
import tracemalloc
from collections.abc import AsyncIterable

import attrs
import pytest
from multidict import CIMultiDict

from badges_async import (
    BadgesClient,
    BasicAuth,
    ClaimOutcome,
    ClaimStatus,
    DeadlineError,
    RateLimitedError,
    RetryPolicy,
    Timeout,
)
from badges_async.messages import Reply
from tests.answers import make_reply, refusal
from tests.catalogue.limited_service import LimitedService
from tests.client.byte_server import ByteServer, answer, http
from tests.client.scripted import (
    ScriptedTransport,
    Sent,
    Step,
    claim_each,
    make_client,
    make_rows,
    refused,
    well,
)
from tests.gateways import ShutForTenMinutes
from tests.virtual_clock import START, now, on_virtual_clock

BADGE = "662749408fe258516a88fe89"
NOON = "Sun, 06 Nov 1994 12:00:00 GMT"
SOON = "Sun, 06 Nov 1994 12:00:30 GMT"
PAST = "Sun, 06 Nov 1994 11:00:00 GMT"


@pytest.mark.parametrize("workers", [1, 8, 32])
@on_virtual_clock
async def test_a_throttle_stops_all_workers_and_ends_without_a_burst(workers: int) -> None:
    """F064: nothing leaves for 7 s, one goes first, the others follow at a pace; no row pays."""
    service = ScriptedTransport(*[well] * 320, *[refused(429, 1, retry_after=7)] * workers)
    client = make_client(service, retry=RetryPolicy(max_attempts=1))

    outcomes = await claim_each(client, make_rows(640), concurrency=workers)

    assert {outcome.status for outcome in outcomes} == {ClaimStatus.CLAIMED}
    throttled, after = service.times[320 : 320 + workers], service.times[320 + workers :]
    heard = throttled[-1] + 0.05
    assert all(throttled[0] <= at <= heard for at in throttled)  # those that were on their way
    probe, *others = after
    assert heard + 7 <= probe <= heard + 8
    assert others[0] >= probe + 0.05
    # Before, as many went at once as there are workers. Now each goes by itself.
    assert all(later > earlier for earlier, later in itertools.pairwise(others[:32]))
    before = 320 / (throttled[0] - START)
    assert others[19] - others[0] >= 19 / before


@pytest.mark.usefixtures("lane")
@pytest.mark.parametrize(
    ("fields", "asked"),
    [
        ([f"Retry-After: {SOON}", f"Date: {NOON}"], 30.0),
        ([f"Retry-After: {PAST}", f"Date: {NOON}"], 0.0),
        (["Retry-After: 9999999"], 9_999_999.0),
        (["Retry-After: 7", "Retry-After: 30"], 30.0),
        (["Retry-After: 30", "Retry-After: soon", "Retry-After: 7"], 30.0),
        *[([f"Retry-After: {text}"], None) for text in ("soon", "-5", "1.5", "", "7, 9")],
        ([], None),
    ],
    ids=str,
)
async def test_what_a_throttle_asks_for_is_read_from_the_bytes(
    fields: list[str], asked: float | None
) -> None:
    """F066, F067, F068: a call that may not wait so long says at once what was asked for."""
    refusing = answer(http(refusal(1), *fields, status="429 Too Many Requests"))
    async with ByteServer(refusing) as server:
        client = BadgesClient(
            server.url,
            BasicAuth("till", "password"),
            retry=RetryPolicy(max_attempts=1),
            # Less than the shortest pause: only an answer that asks for none is told as it is.
            timeout=Timeout(total=0.9),
        )
        async with client:
            with pytest.raises((RateLimitedError, DeadlineError)) as caught:
                await client.claim(BADGE, "Loyalty", "1")

    assert len(server.seen) == 1
    error = caught.value
    if asked is None:
        assert isinstance(error, RateLimitedError)
        assert error.retry_after is None
        return
    assert isinstance(error, DeadlineError)
    assert isinstance(error.__cause__, RateLimitedError)
    assert error.__cause__.retry_after == asked
    assert error.retry_after == pytest.approx(min(max(asked, 1.0), 900.0), abs=1.1)


@pytest.mark.parametrize(
    ("value", "least"), [(SOON, 30.0), (PAST, 1.0), ("0", 1.0), ("9999999", 900.0)]
)
@on_virtual_clock
async def test_a_run_waits_as_long_as_it_is_asked_within_bounds(value: str, least: float) -> None:
    """F066, F068: a past date is the shortest pause; the longest ends with a single probe."""
    headers = {"Retry-After": value, "Date": NOON}
    refusing: Step = lambda _: make_reply(429, refusal(1), headers)  # noqa: E731 - a step
    service = ScriptedTransport(*[refusing] * 16)
    client = make_client(service, retry=RetryPolicy(max_attempts=1))

    async with client.claim_many(make_rows(100), concurrency=16) as run:
        consuming = asyncio.create_task(_consume(run))
        await asyncio.sleep(0.5)
        # That it waits, and for whom, can be seen from outside.
        assert (run.in_flight, run.report.throttled, run.report.total) == (0, 16, 0)
        await consuming

    probe, second = service.times[16:18]
    assert least <= probe - START - 0.05 <= least + 1.0
    assert second >= probe + 0.05
    assert run.report.claimed == 100
    assert run.report.waits["gate"] >= 16 * least


async def _consume(run: AsyncIterable[ClaimOutcome]) -> None:
    async for _ in run:
        pass


@on_virtual_clock
async def test_a_time_to_wait_in_an_answer_that_says_yes_is_not_waited_for() -> None:
    """F069: only a refusal pauses; what a proxy adds to every answer does not."""

    def yes(sent: Sent) -> Reply:
        return attrs.evolve(well(sent), headers=CIMultiDict({"Retry-After": "60"}))

    client = make_client(ScriptedTransport(then=yes))
    await client.claim(BADGE, "Loyalty", "1")
    await client.get_badge(BADGE)
    report = await client.claim_all(make_rows(32), concurrency=16)

    assert (report.claimed, report.throttled, set(report.waits)) == (32, 0, {"service"})
    assert now() - START == pytest.approx(4 * 0.05)


@pytest.mark.parametrize("workers", [1, 32])
@pytest.mark.parametrize("explains", [True, False], ids=["Retry-After", "bare"])
@on_virtual_clock
async def test_ten_minutes_of_throttles_cost_time_and_nothing_else(
    workers: int,
    explains: bool,  # noqa: FBT001 - a parameter
) -> None:
    """F074: no task or byte is added while a service refuses, and it is noticed when it ends."""
    gateway = ShutForTenMinutes(limit=100, per=60.0, explains=explains)
    service = LimitedService(gateway)
    client = make_client(service)
    tasks: list[int] = []
    added: list[int] = []

    async def measure() -> None:
        await asyncio.sleep(900 + 120)
        tasks.append(len(asyncio.all_tasks()))
        tracemalloc.start()
        try:
            await asyncio.sleep(420)
            gc.collect()
            added.append(tracemalloc.get_traced_memory()[0])
        finally:
            tracemalloc.stop()
        tasks.append(len(asyncio.all_tasks()))

    measuring = asyncio.create_task(measure())
    report = await client.claim_all(make_rows(2000), concurrency=workers)
    await measuring

    assert (report.claimed, report.failed) == (2000, 0)
    assert tasks[0] == tasks[1]
    # What the service keeps of each request that it saw meanwhile is not the client's.
    assert added[0] < 128_000
    assert len([at for at in service.refused if 900 <= at < 1500]) <= workers + 25
    restart = next(at for at in service.admitted if at >= 1500)
    assert restart <= 1500 + 60
    assert service.taken(restart, restart + 300) >= 0.8 * 500
