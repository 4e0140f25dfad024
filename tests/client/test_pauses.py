"""The one gate and the one quota of a client: who waits for whom, and at whose cost."""

from __future__ import annotations

import asyncio

import pytest

from badges_async import (
    AttemptEvent,
    DeadlineError,
    Quota,
    RateLimitedError,
    RetryPolicy,
    ServerError,
    Timeout,
)
from tests.client.scripted import ScriptedTransport, Step, html, make_client, refused
from tests.virtual_clock import START, now, on_virtual_clock

BADGE = "662749408fe258516a88fe89"


@pytest.mark.parametrize("step", [refused(429, 1, retry_after=7), refused(503, 1, retry_after=7)])
@on_virtual_clock
async def test_a_throttle_of_one_call_holds_back_all(step: Step) -> None:
    """F049: a 503 with Retry-After is a pause for every call, as a 429 is."""
    service = ScriptedTransport(step)
    client = make_client(service)

    throttled = asyncio.create_task(client.claim(BADGE, "Loyalty", "throttled"))
    await asyncio.sleep(0.1)
    await client.get_badge(BADGE)
    await throttled

    first, second, third = service.times
    assert first == START
    # What the service asked for is a floor; jitter only adds to it.
    assert START + 0.05 + 7 <= second <= START + 0.05 + 7 + 1
    # Then they go one after the other: the first one tells whether the pause is over.
    assert second + 0.05 <= third <= second + 2


@on_virtual_clock
async def test_three_throttles_in_a_row_close_the_gate_whoever_meets_them() -> None:
    events: list[AttemptEvent] = []
    service = ScriptedTransport(*[refused(429, 1)] * 3)
    client = make_client(service, retry=RetryPolicy(max_attempts=1), observers=[events.append])
    for number in range(3):
        with pytest.raises(RateLimitedError):
            await client.claim(BADGE, "Loyalty", str(number))
    await client.claim(BADGE, "Loyalty", "4")
    assert [event.waits for event in events[:3]] == [{}] * 3
    assert events[3].waits["gate"] > 0


@pytest.mark.parametrize("status", [429, 503])
@on_virtual_clock
async def test_a_pause_is_no_attempt(status: int) -> None:
    """F064: a pause that the service asked for is not charged to the call."""
    service = ScriptedTransport(*[refused(status, 1, retry_after=2)] * 8)
    client = make_client(service, retry=RetryPolicy(max_attempts=1))

    result = await client.claim(BADGE, "Loyalty", "1")

    assert result.attempts == len(service.sent) == 9


@on_virtual_clock
async def test_a_pause_said_by_a_page_is_kept_as_well() -> None:
    service = ScriptedTransport(html(503, retry_after=9))
    await make_client(service).claim(BADGE, "Loyalty", "1")
    assert service.times[1] >= START + 9


@on_virtual_clock
async def test_a_throttle_without_a_time_is_an_attempt_like_others() -> None:
    """F065: a single call backs off after a bare 429 as after any passing error."""
    service = ScriptedTransport(then=refused(429, 1))

    with pytest.raises(RateLimitedError) as caught:
        await make_client(service).claim(BADGE, "Loyalty", "1")

    assert (caught.value.attempts, caught.value.retry_after) == (5, None)
    assert not caught.value.maybe_applied


@pytest.mark.parametrize("status", [500, 502, 504])
@on_virtual_clock
async def test_another_error_with_a_time_holds_back_its_own_call_only(status: int) -> None:
    service = ScriptedTransport(refused(status, 1, retry_after=9))
    client = make_client(service)

    failed = asyncio.create_task(client.claim(BADGE, "Loyalty", "1"))
    await asyncio.sleep(0.1)
    await client.get_badge(BADGE)
    assert now() < START + 1
    await failed

    assert START + 9 <= service.times[2] <= START + 9 + 1.1


@on_virtual_clock
async def test_the_wait_at_the_gate_is_told_and_does_not_eat_the_attempts_clock() -> None:
    events: list[AttemptEvent] = []
    service = ScriptedTransport(refused(429, 1, retry_after=20))
    client = make_client(service, timeout=Timeout(attempt=15), observers=[events.append])

    await client.claim(BADGE, "Loyalty", "1")

    assert [sent.seconds for sent in service.sent] == [15, 15]
    assert set(events[1].waits) == {"gate"}
    assert 20 <= events[1].waits["gate"] <= 21
    assert events[1].seconds == pytest.approx(0.05)


@on_virtual_clock
async def test_a_call_that_cannot_wait_so_long_fails_at_once_also_when_others_caused_it() -> None:
    """F068: a pause that others were asked for is not waited for in vain either."""
    service = ScriptedTransport(refused(429, 1, retry_after=30))
    client = make_client(service)
    patient = asyncio.create_task(client.claim(BADGE, "Loyalty", "1"))
    await asyncio.sleep(1)

    with pytest.raises(DeadlineError) as caught:
        await client.claim(BADGE, "Loyalty", "2", timeout=5)

    assert now() == START + 1
    assert (caught.value.attempts, caught.value.__cause__) == (0, None)
    assert caught.value.retry_after is not None
    assert caught.value.retry_after > 28
    await patient


@on_virtual_clock
async def test_a_pause_that_is_prolonged_ends_the_wait_of_a_call_that_has_no_time_for_it() -> None:
    service = ScriptedTransport(refused(429, 1, retry_after=5), refused(429, 1, retry_after=50))
    client = make_client(service, timeout=Timeout(total=20))

    with pytest.raises(DeadlineError) as caught:
        await client.claim(BADGE, "Loyalty", "1")

    assert now() < START + 7
    assert isinstance(caught.value.__cause__, RateLimitedError)
    assert caught.value.attempts == 2


@on_virtual_clock
async def test_the_quota_spreads_calls_and_does_not_eat_the_attempts_clock() -> None:
    events: list[AttemptEvent] = []
    service = ScriptedTransport()
    quota = Quota(2, per=30.0)
    client = make_client(service, quota=quota, timeout=Timeout(total=99), observers=[events.append])

    await asyncio.gather(*(client.claim(BADGE, "Loyalty", str(n)) for n in range(4)))

    begun = [time - START for time in service.times]
    assert begun[:2] == [0, 0]
    assert all(30 <= time <= 32 for time in begun[2:])
    assert {sent.seconds for sent in service.sent} == {15.0}
    assert [event.waits.get("quota", 0.0) for event in events] == pytest.approx(begun)


@on_virtual_clock
async def test_no_place_in_the_quota_in_time_is_a_deadline_and_costs_none() -> None:
    """F076: a full window is waited for as long as the call may take; a short one fails fast."""
    service = ScriptedTransport()
    client = make_client(service, quota=Quota(1, per=30.0))
    await client.claim(BADGE, "Loyalty", "1")

    with pytest.raises(DeadlineError, match="waiting for the quota") as caught:
        await client.claim(BADGE, "Loyalty", "2", timeout=5)
    assert (caught.value.attempts, now()) == (0, START + 5.05)

    await client.claim(BADGE, "Loyalty", "3")
    assert service.times[1] <= START + 32


@on_virtual_clock
async def test_a_gate_that_closes_while_the_quota_is_waited_for_is_kept() -> None:
    service = ScriptedTransport(refused(429, 1, retry_after=60))
    client = make_client(service, quota=Quota(1, per=20.0), timeout=Timeout(total=300))

    await asyncio.gather(client.claim(BADGE, "Loyalty", "1"), client.claim(BADGE, "Loyalty", "2"))

    assert service.times[1] >= START + 60


@on_virtual_clock
async def test_a_server_error_after_a_pause_backs_off_as_usual() -> None:
    service = ScriptedTransport(refused(429, 1, retry_after=2), then=refused(500, 1))

    with pytest.raises(ServerError) as caught:
        await make_client(service).claim(BADGE, "Loyalty", "1")

    assert caught.value.attempts == 1 + 5
