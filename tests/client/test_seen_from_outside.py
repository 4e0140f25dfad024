"""What users do that no room of the package expects of another."""

from __future__ import annotations

import asyncio
from collections import Counter
from typing import Any

import aiohttp
import pytest

from badges_async import (
    AttemptEvent,
    AuthenticationError,
    BadgesClient,
    BasicAuth,
    ClaimRequest,
    ClaimStatus,
    InvalidInputError,
    InvalidRequestError,
    OAuth,
    RetryPolicy,
    UnreadableReplyError,
)
from badges_async.sandbox import Answer, Fault, Sandbox
from tests.client.scripted import ScriptedTransport, html, make_client, make_rows, well
from tests.virtual_clock import START, now, on_virtual_clock

BADGE = "662749408fe258516a88fe89"
ACCOUNT = BasicAuth("till.demo", "s3cret-Pass")
TOKEN = "dGlsbC5kZW1vOjg2M2JlODE0NDViYTFmYzhmZGJlMTk3NzQ5MjE5N2E5"


@on_virtual_clock
async def test_a_long_block_of_bad_rows_does_not_end_a_run_whose_service_answers() -> None:
    """A file that is sorted by badge, and one badge that the service cannot bear."""
    rows = make_rows(800)
    bad = {row.badge_id for row in rows[100:500]}
    service = ScriptedTransport(
        then=lambda sent: (
            html(502)(sent)
            if sent.request.operation == "claim" and sent.key[0] in bad
            else well(sent)
        )
    )
    client = make_client(service)
    async with client.claim_many(rows, concurrency=8, outage_patience=60) as run:
        counts = Counter([outcome.status async for outcome in run])
    assert counts == {ClaimStatus.CLAIMED: 400, ClaimStatus.FAILED: 400}
    assert now() - START < 3600


# With a session that is passed in there is one lane.
async def test_a_session_that_raises_for_status_changes_nothing(badges_sandbox: Sandbox) -> None:
    async with aiohttp.ClientSession(raise_for_status=True) as session:
        client = BadgesClient(badges_sandbox.url, ACCOUNT, session=session)
        with pytest.raises(InvalidRequestError) as caught:
            await client.claim(BADGE, "Membercare", "1")
    assert caught.value.code == 714


@pytest.mark.usefixtures("lane")
async def test_two_consumers_of_one_run_are_told(badges_client: BadgesClient) -> None:
    rows = [ClaimRequest(BADGE, "Loyalty", str(number)) for number in range(50)]

    async def consume(run: Any) -> int:
        return len([outcome async for outcome in run])

    async with badges_client.claim_many(rows) as run:
        first, second = await asyncio.gather(consume(run), consume(run), return_exceptions=True)
    assert isinstance(second, InvalidInputError) or isinstance(first, InvalidInputError)


@pytest.mark.usefixtures("lane")
@pytest.mark.parametrize("status", [400, 502, 200])
async def test_an_answer_that_echoes_the_credentials_tells_nobody(
    badges_sandbox: Sandbox, status: int
) -> None:
    bodies = {
        400: f'{{"errors": [{{"code": 400, "message": "bad header Basic {TOKEN}"}}]}}',
        502: f"<html>Authorization: Basic {TOKEN}</html>",
        200: f"<html>Authorization: Basic {TOKEN}</html>",
    }
    badges_sandbox.set_faults(lambda _: Answer(status, bodies[status].encode()))
    once = RetryPolicy(max_attempts=1)
    async with BadgesClient(badges_sandbox.url, ACCOUNT, retry=once) as client:
        with pytest.raises((InvalidRequestError, UnreadableReplyError)) as caught:
            await client.claim(BADGE, "Loyalty", "1")
    error = caught.value
    for one in (error, error.__cause__, error.__context__):
        assert TOKEN not in f"{one} {one!r} {vars(one) if one else ''}"
    assert "***" in str(vars(error))


@pytest.mark.usefixtures("lane")
async def test_a_key_that_is_refused_is_not_quoted(badges_sandbox: Sandbox) -> None:
    body = b'{"errors": [{"code": 1, "message": "bad secret demo-sEcret"}]}'
    badges_sandbox.set_faults(lambda _: Answer(401, body))
    async with BadgesClient(badges_sandbox.url, OAuth("demo-key", "demo-sEcret")) as client:
        with pytest.raises(AuthenticationError) as caught:
            await client.get_badge(BADGE)
    assert "demo-sEcret" not in f"{caught.value} {vars(caught.value)}"
    assert caught.value.code == 1


@pytest.mark.usefixtures("lane")
async def test_a_read_on_a_stale_connection_is_counted_like_any_other(
    badges_sandbox: Sandbox,
) -> None:
    """Left to itself, aiohttp repeats it, past the quota and unseen."""
    events: list[AttemptEvent] = []
    badges_sandbox.set_faults([Fault.STALE_KEEP_ALIVE])
    async with BadgesClient(badges_sandbox.url, ACCOUNT, observers=[events.append]) as client:
        await client.get_badge(BADGE)
        await client.get_badge(BADGE)
    assert [event.attempt for event in events] == [1, 1, 2]


@pytest.mark.parametrize(
    "wrong",
    [
        {"timeout": "5"},
        {"retry": 3},
        {"retry": None},
        {"quota": "100/60s"},
        {"observers": print},
        {"observers": [5]},
    ],
)
def test_an_option_of_the_wrong_kind_is_refused_at_once(wrong: dict[str, Any]) -> None:
    with pytest.raises(InvalidInputError):
        BadgesClient("h", ACCOUNT, **wrong)


@pytest.mark.parametrize("auth", [None, ("till", "password")])
def test_credentials_of_the_wrong_kind_are_refused_at_once(auth: Any) -> None:
    with pytest.raises(InvalidInputError):
        BadgesClient("h", auth)


def test_a_number_is_a_bound_for_every_call() -> None:
    assert "BadgesClient" in repr(BadgesClient("h", ACCOUNT, timeout=5))
