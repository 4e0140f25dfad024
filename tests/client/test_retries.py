"""A single call: what is tried again, how often, how long it may take, and how it ends."""

from __future__ import annotations

import itertools

import pytest

from badges_async import (
    APIError,
    ConflictError,
    ConnectError,
    ConnectionLostError,
    DeadlineError,
    InvalidRequestError,
    RateLimitedError,
    RetryPolicy,
    ServerError,
    Timeout,
    UnreadableReplyError,
)
from tests.client.scripted import (
    ScriptedTransport,
    Sent,
    Step,
    hang,
    html,
    lost_after,
    lost_before,
    make_client,
    refused,
    stale,
    unreachable,
)
from tests.virtual_clock import START, now, on_virtual_clock

BADGE = "662749408fe258516a88fe89"
NO_WAIT = RetryPolicy(base=0)

TRANSIENT = [408, 425, 429, 500, 502, 503, 504, 520, 521, 522, 523, 524]
FINAL = [400, 401, 403, 404, 405, 406, 409, 410, 413, 415, 418, 422, 431, 451, 501, 505]


@pytest.mark.parametrize("status", TRANSIENT)
@on_virtual_clock
async def test_a_passing_state_is_tried_again(status: int) -> None:
    service = ScriptedTransport(refused(status, 1), refused(status))
    result = await make_client(service).claim(BADGE, "Loyalty", "1")

    assert (result.attempts, len(service.sent)) == (3, 3)


@pytest.mark.parametrize("status", FINAL)
@on_virtual_clock
async def test_a_refusal_is_not_tried_again(status: int) -> None:
    service = ScriptedTransport(then=refused(status, 1))

    with pytest.raises(APIError) as caught:
        await make_client(service).claim(BADGE, "Loyalty", "1")

    assert (caught.value.status, caught.value.attempts, len(service.sent)) == (status, 1, 1)


@pytest.mark.parametrize(
    "step", [lost_before, lost_after, unreachable, hang, html(502), html(503), html(200)]
)
@on_virtual_clock
async def test_no_usable_answer_is_tried_again(step: Step) -> None:
    service = ScriptedTransport(step, step)
    result = await make_client(service).claim(BADGE, "Loyalty", "1")

    assert (result.attempts, len(service.sent)) == (3, 3)


@pytest.mark.parametrize("operation", ["get", "unclaim"])
@on_virtual_clock
async def test_every_operation_is_tried_again(operation: str) -> None:
    service = ScriptedTransport(lost_before, then=refused(404, 404))
    client = make_client(service)

    with pytest.raises(APIError) as caught:
        await (
            client.get_badge(BADGE) if operation == "get" else client.unclaim(BADGE, "Loyalty", "1")
        )

    assert (caught.value.attempts, caught.value.maybe_applied) == (2, True)


@pytest.mark.parametrize("most", [1, 2, 5])
@on_virtual_clock
async def test_attempts_are_bounded_and_the_last_error_is_raised(most: int) -> None:
    service = ScriptedTransport(*[refused(500, 1)] * (most - 1), then=html(502))
    client = make_client(service, retry=RetryPolicy(max_attempts=most))

    with pytest.raises(UnreadableReplyError) as caught:
        await client.claim(BADGE, "Loyalty", "1")

    assert (caught.value.status, caught.value.attempts, len(service.sent)) == (502, most, most)


@on_virtual_clock
async def test_waits_between_attempts_grow_and_stay_below_the_cap() -> None:
    longest: list[float] = [0.0] * 5
    for seed in range(200):
        service = ScriptedTransport(then=refused(503, 1), latency=0)
        policy = RetryPolicy(max_attempts=6, base=1.0, cap=4.0)
        with pytest.raises(ServerError):
            await make_client(service, seed=seed, retry=policy).claim(BADGE, "Loyalty", "1")
        gaps = [later - earlier for earlier, later in itertools.pairwise(service.times)]
        longest = list(map(max, longest, gaps))

    for bound, gap in zip([1, 2, 4, 4, 4], longest, strict=True):
        assert 0.9 * bound < gap <= bound + 1e-9


@on_virtual_clock
async def test_a_stale_connection_is_tried_again_at_once_and_uncounted() -> None:
    service = ScriptedTransport(stale)
    result = await make_client(service, retry=RetryPolicy(max_attempts=1)).claim(
        BADGE, "Loyalty", "1"
    )

    assert [sent.fresh for sent in service.sent] == [False, True]
    assert service.times == [START, START + 0.05]  # the first answer's latency, and no wait
    assert result.attempts == 2


@on_virtual_clock
async def test_a_fresh_connection_that_is_lost_as_well_counts() -> None:
    service = ScriptedTransport(then=stale)

    with pytest.raises(ConnectionLostError) as caught:
        await make_client(service, retry=RetryPolicy(max_attempts=2)).claim(BADGE, "Loyalty", "1")

    assert [sent.fresh for sent in service.sent] == [False, True, False, True]
    assert caught.value.attempts == 4


# Time


@on_virtual_clock
async def test_an_attempt_never_outlives_what_is_left_of_the_call() -> None:
    service = ScriptedTransport(then=hang)
    client = make_client(service, timeout=Timeout(total=10, attempt=6), retry=NO_WAIT)

    with pytest.raises(DeadlineError) as caught:
        await client.claim(BADGE, "Loyalty", "1")

    assert [sent.seconds for sent in service.sent] == [6, 4]
    assert now() == START + 10
    assert (caught.value.attempts, caught.value.maybe_applied) == (2, True)


@on_virtual_clock
async def test_a_wait_that_would_pass_the_total_fails_at_once_with_the_cause() -> None:
    service = ScriptedTransport(then=refused(503, 1))
    policy = RetryPolicy(max_attempts=50, base=8, cap=8)
    client = make_client(service, timeout=Timeout(total=10), retry=policy)

    with pytest.raises(DeadlineError, match="the next attempt is due in") as caught:
        await client.claim(BADGE, "Loyalty", "1")

    assert now() < START + 10
    assert isinstance(caught.value.__cause__, ServerError)
    assert caught.value.attempts == len(service.sent)
    assert caught.value.maybe_applied
    assert caught.value.retry_after is None


@pytest.mark.parametrize("status", [429, 503])
@on_virtual_clock
async def test_a_pause_longer_than_the_call_fails_at_once_and_is_told(status: int) -> None:
    service = ScriptedTransport(then=refused(status, 1, retry_after=30))
    client = make_client(service, timeout=Timeout(total=10))

    with pytest.raises(DeadlineError, match="the service asked to wait") as caught:
        await client.claim(BADGE, "Loyalty", "1")

    assert now() == START + 0.05
    assert isinstance(caught.value.__cause__, RateLimitedError | ServerError)
    assert caught.value.retry_after is not None
    assert 30 <= caught.value.retry_after <= 31
    assert caught.value.attempts == 1
    assert caught.value.maybe_applied is (status == 503)


@on_virtual_clock
async def test_a_timeout_of_one_call_is_its_own() -> None:
    service = ScriptedTransport(then=hang)
    client = make_client(service, retry=NO_WAIT)

    with pytest.raises(DeadlineError):
        await client.claim(BADGE, "Loyalty", "1", timeout=3)
    assert now() == START + 3

    with pytest.raises(DeadlineError):
        await client.get_badge(BADGE, timeout=Timeout(total=5, attempt=2))
    assert [sent.seconds for sent in service.sent[-3:]] == [2, 2, 1]


# What is said at the end


@on_virtual_clock
async def test_doubt_of_an_earlier_attempt_is_kept_when_the_service_says_no() -> None:
    service = ScriptedTransport(lost_before, refused(400, 717))

    with pytest.raises(InvalidRequestError) as caught:
        await make_client(service).claim(BADGE, "Loyalty", "1")

    assert (caught.value.maybe_applied, caught.value.attempts) == (True, 2)


@pytest.mark.parametrize("step", [unreachable, refused(429, 1), refused(408, 1)])
@on_virtual_clock
async def test_without_doubt_there_is_none(step: Step) -> None:
    service = ScriptedTransport(step, then=refused(409, 815))

    with pytest.raises(ConflictError) as caught:
        await make_client(service).claim(BADGE, "Loyalty", "1")

    assert (caught.value.maybe_applied, caught.value.attempts) == (False, 2)


@on_virtual_clock
async def test_not_reached_at_last_is_no_never_reached() -> None:
    service = ScriptedTransport(lost_after, then=unreachable)

    with pytest.raises(ConnectionLostError, match="may have been applied") as caught:
        await make_client(service).claim(BADGE, "Loyalty", "1")

    assert caught.value.maybe_applied
    assert isinstance(caught.value.__cause__, ConnectError)


@on_virtual_clock
async def test_never_reached_is_said_so() -> None:
    with pytest.raises(ConnectError) as caught:
        await make_client(ScriptedTransport(then=unreachable)).claim(BADGE, "Loyalty", "1")

    assert (caught.value.maybe_applied, caught.value.attempts) == (False, 5)


@on_virtual_clock
async def test_a_certificate_that_is_refused_is_not_tried_again() -> None:
    def impostor(_: Sent) -> None:
        raise ConnectError("the service's certificate was refused", certificate_refused=True)

    service = ScriptedTransport(then=impostor)  # type: ignore[arg-type]  # it never returns

    with pytest.raises(ConnectError):
        await make_client(service).claim(BADGE, "Loyalty", "1")
    assert len(service.sent) == 1


# The budget


@on_virtual_clock
async def test_a_sick_service_sees_the_retries_stop() -> None:
    service = ScriptedTransport(then=refused(500, 1))
    client = make_client(service)

    for _ in range(40):
        with pytest.raises(ServerError):
            await client.claim(BADGE, "Loyalty", "1")

    assert len(service.sent) == 40 + 20  # 100 tokens, 5 for a retry


@on_virtual_clock
async def test_a_healthy_service_earns_the_retries_back() -> None:
    service = ScriptedTransport(*[refused(500, 1)] * 60)
    client = make_client(service)
    for _ in range(40):
        with pytest.raises(ServerError):
            await client.claim(BADGE, "Loyalty", "1")

    for _ in range(5):
        await client.claim(BADGE, "Loyalty", "1")
    before = len(service.sent)
    service._script.append(refused(500, 1))  # noqa: SLF001 - one more of the script

    await client.claim(BADGE, "Loyalty", "1")
    assert len(service.sent) == before + 2


@on_virtual_clock
async def test_a_service_that_cannot_be_reached_costs_no_budget() -> None:
    service = ScriptedTransport(then=unreachable)
    client = make_client(service, retry=NO_WAIT)

    for _ in range(40):
        with pytest.raises(ConnectError):
            await client.claim(BADGE, "Loyalty", "1")
    assert len(service.sent) == 40 * 5
