"""OAuth in a client: one fetch for all, renewal, refusals, and a token endpoint that is sick."""

from __future__ import annotations

import asyncio
import itertools
from collections.abc import Awaitable, Iterator

import pytest

from badges_async import (
    AttemptEvent,
    AuthenticationError,
    BadgesClient,
    BasicAuth,
    ClaimStatus,
    DeadlineError,
    OAuth,
    RetryPolicy,
    ServerError,
    Timeout,
)
from badges_async.messages import Reply
from badges_async.sandbox import Fault, Sandbox, make_badge_ids
from tests.client.scripted import (
    ScriptedTransport,
    Sent,
    Step,
    claim_each,
    hang,
    lost_before,
    make_client,
    make_rows,
    refused,
    unreachable,
    well,
)
from tests.client.token_service import TokenService, oauth
from tests.virtual_clock import START, now, on_virtual_clock

BADGE = "662749408fe258516a88fe89"


@on_virtual_clock
async def test_one_fetch_serves_all_calls_that_wait_for_it() -> None:
    events: list[AttemptEvent] = []
    service = TokenService()
    client = make_client(service, auth=oauth(), observers=[events.append])

    await asyncio.gather(*(client.claim(BADGE, "Loyalty", str(n)) for n in range(32)))

    assert service.operations == ["token"] + ["claim"] * 32
    assert [event.operation for event in events] == service.operations
    assert [event.waits["token"] for event in events[1:]] == pytest.approx([0.05] * 32)


@on_virtual_clock
async def test_a_token_is_renewed_before_it_ends() -> None:
    service = TokenService(ttl=300)
    client = make_client(service, auth=oauth())

    for _ in range(12):
        await client.claim(BADGE, "Loyalty", "1")
        await asyncio.sleep(30)

    assert service.fetched == 2
    assert service.operations.count("claim") == 12  # none of them was refused


@on_virtual_clock
async def test_a_token_that_ends_with_32_in_flight_is_renewed_once() -> None:
    """F078: one refresh for all, one retry for each, and none of it is an attempt that counts."""
    service = TokenService()
    client = make_client(service, auth=oauth(), retry=RetryPolicy(max_attempts=1))
    await client.claim(BADGE, "Loyalty", "first")
    service.valid = "of another day"

    results = await asyncio.gather(
        *(client.claim(BADGE, "Loyalty", str(number)) for number in range(32))
    )

    assert service.fetched == 2
    assert {result.attempts for result in results} == {2}
    assert service.operations[2:] == ["claim"] * 32 + ["token"] + ["claim"] * 32


@on_virtual_clock
async def test_a_token_that_is_refused_again_is_an_authentication_error() -> None:
    """F079: a single call asks for one more token, and for no third."""
    service = TokenService(then=refused(401, 401))

    with pytest.raises(AuthenticationError) as caught:
        await make_client(service, auth=oauth()).claim(BADGE, "Loyalty", "1")

    assert service.operations == ["token", "claim", "token", "claim"]
    assert caught.value.attempts == 2


@on_virtual_clock
async def test_a_password_that_is_refused_is_not_sent_again() -> None:
    service = ScriptedTransport(then=refused(401, 401))

    with pytest.raises(AuthenticationError):
        await make_client(service, auth=BasicAuth("till", "wrong")).claim(BADGE, "Loyalty", "1")
    assert len(service.sent) == 1


@on_virtual_clock
async def test_a_client_key_that_is_refused_is_an_authentication_error() -> None:
    service = TokenService(*[refused(400, 400)] * 9)

    with pytest.raises(AuthenticationError, match="the client key was refused") as caught:
        await make_client(service, auth=oauth()).claim(BADGE, "Loyalty", "1")

    assert service.operations == ["token"]
    assert (caught.value.attempts, caught.value.maybe_applied) == (0, False)


@on_virtual_clock
async def test_a_sick_token_endpoint_is_tried_again_within_the_calls_attempts() -> None:
    """F080: a call asks for its token as often as it may ask for anything."""
    service = TokenService(refused(503, 1), refused(500, 1))
    await make_client(service, auth=oauth()).claim(BADGE, "Loyalty", "1")
    assert service.operations == ["token", "token", "token", "claim"]

    service = TokenService(*[refused(500, 1)] * 9)
    with pytest.raises(ServerError) as caught:
        await make_client(service, auth=oauth()).claim(BADGE, "Loyalty", "1")
    assert service.operations == ["token"] * 5
    assert not caught.value.maybe_applied


@on_virtual_clock
async def test_a_sick_token_endpoint_costs_nothing_of_the_retry_budget() -> None:
    """It was no operation that failed: those that fail afterwards are tried again as ever."""
    service = TokenService(*[refused(500, 1)] * 1000)
    client = make_client(service, auth=oauth())
    calls = (client.claim(BADGE, "Loyalty", str(number)) for number in range(40))
    failed = await asyncio.gather(*calls, return_exceptions=True)
    assert {type(error) for error in failed} == {ServerError}

    service.script.clear()
    steps: Iterator[Step] = iter([lost_before])

    def fails_once(sent: Sent) -> Reply | Awaitable[Reply]:
        return next(steps, well)(sent)

    service.operation = fails_once
    assert (await client.claim(BADGE, "Loyalty", "x")).attempts == 2


@on_virtual_clock
async def test_a_throttled_token_endpoint_closes_the_gate() -> None:
    service = TokenService(refused(429, 1, retry_after=8))

    await make_client(service, auth=oauth()).claim(BADGE, "Loyalty", "1")

    assert service.operations == ["token", "token", "claim"]
    assert service.times[1] >= START + 8


@on_virtual_clock
async def test_no_token_in_time_is_a_deadline() -> None:
    """F080: a call waits for its token no longer than it may take itself."""
    service = ScriptedTransport(then=hang)
    client = make_client(service, auth=oauth(), timeout=Timeout(total=4))

    with pytest.raises(DeadlineError) as caught:
        await client.claim(BADGE, "Loyalty", "1")

    assert now() == START + 4
    assert (caught.value.attempts, caught.value.maybe_applied) == (0, False)


@on_virtual_clock
async def test_a_token_that_fails_after_a_pause_is_asked_for_with_rests() -> None:
    # The claim was throttled and its token ended meanwhile: the fetches back off all the same.
    service = TokenService(ttl=60, then=refused(429, 1, retry_after=100))
    client = make_client(service, auth=oauth(), timeout=Timeout(total=500))
    call = asyncio.create_task(client.claim(BADGE, "Loyalty", "1"))
    await asyncio.sleep(1)
    service.script[:] = [refused(500, 1)] * 99

    with pytest.raises(ServerError):
        await call

    fetches = service.fetches[1:]
    assert len(fetches) == 5
    assert all(later - earlier > 0.05 for earlier, later in itertools.pairwise(fetches))


@pytest.mark.parametrize("trouble", [refused(500, 1), unreachable, hang])
@on_virtual_clock
async def test_a_bulk_run_survives_a_sick_token_endpoint(trouble: Step) -> None:
    """F080: the fetch is repeated, one at a time, and costs no row."""
    service = TokenService(*[trouble] * 3)
    outcomes = await claim_each(make_client(service, auth=oauth()), make_rows(20), concurrency=4)

    assert {outcome.status for outcome in outcomes} == {ClaimStatus.CLAIMED}
    assert len(service.held) == 20
    assert (len(service.fetches), service.fetched, service.at_once) == (4, 1, 1)


@on_virtual_clock
async def test_a_bulk_run_does_not_hammer_a_token_endpoint_that_fails_after_a_pause() -> None:
    """F080: it backs off, however many rows want a token."""
    service = TokenService(ttl=60)
    client = make_client(service, auth=oauth())
    await client.claim(BADGE, "Loyalty", "first")
    service.operation = refused(429, 1, retry_after=100)

    async def break_later() -> None:
        await asyncio.sleep(1)
        service.script[:] = [refused(500, 1)] * 40
        service.operation = well

    breaking = asyncio.create_task(break_later())
    outcomes = await claim_each(client, make_rows(1))
    await breaking

    assert [outcome.status for outcome in outcomes] == [ClaimStatus.CLAIMED]
    fetches = service.fetches[1:]
    assert len(fetches) == 41
    assert fetches[-1] - fetches[0] > 60  # not within two seconds


@pytest.mark.usefixtures("lane")
async def test_tokens_of_the_sandbox_that_expire_cost_one_refresh_and_one_retry_each() -> None:
    """F078: of 32 requests in flight each is refused, and one of them renews the token."""
    badge, *badges = make_badge_ids(33)
    async with Sandbox(badges=[badge, *badges]) as sandbox:
        auth = OAuth(sandbox.client_key, sandbox.client_secret)
        async with BadgesClient(sandbox.url, auth) as client:
            await client.claim(badge, "Loyalty", "1")
            sandbox.revoke_tokens()
            sandbox.hold()
            calls = [asyncio.create_task(client.claim(badge, "Loyalty", "1")) for badge in badges]
            await sandbox.wait_for_requests(2 + 32)
            sandbox.release()
            results = await asyncio.gather(*calls)

    assert sandbox.tokens_issued == 2
    assert {result.attempts for result in results} == {2}
    assert sandbox.claims >= {(badge, "Loyalty", "1") for badge in badges}


@pytest.mark.usefixtures("lane")
async def test_an_expired_token_of_the_sandbox_is_renewed_out_of_sight() -> None:
    async with Sandbox(faults=[Fault.EXPIRED_TOKEN]) as sandbox:
        auth = OAuth(sandbox.client_key, sandbox.client_secret)
        async with BadgesClient(sandbox.url, auth) as client:
            result = await client.claim(next(iter(sandbox.badges)), "Loyalty", "1")

    assert (result.attempts, sandbox.tokens_issued) == (2, 2)
