"""
What becomes of a connection between two requests: ended, dead, or spoken on by nobody's leave.

Here: that the next request never suffers from it, or only once. Not here: connections that end in
the middle of an answer (`test_cut_answers`).
"""

from __future__ import annotations

import asyncio
import json

import pytest

from badges_async import (
    AttemptEvent,
    BadgesClient,
    BadgesError,
    BasicAuth,
    ClaimRequest,
    ClaimStatus,
    DeadlineError,
    RetryPolicy,
    Timeout,
)
from badges_async.sandbox import Sandbox
from tests.answers import envelope, held
from tests.catalogue.tcp_proxy import TcpProxy
from tests.client.byte_server import ByteServer, Exchange, http, until

pytestmark = pytest.mark.usefixtures("lane")

BADGE = "69381220cebb9648d8974518"
AUTH = BasicAuth("till.demo", "s3cret-Pass")
ONCE = RetryPolicy(max_attempts=1)
TIMED_OUT = b"HTTP/1.1 408 Request Timeout\r\nContent-Length: 0\r\nConnection: close\r\n\r\n"
TIMED_OUT_AND_STAYS = TIMED_OUT.replace(b"Connection: close\r\n", b"")


async def well(exchange: Exchange) -> None:
    """Answer what was asked."""
    reference = json.loads(exchange.body)["referenceId"]
    await exchange.say(http(envelope(held(referenceId=reference))))


async def settle() -> None:
    """Let everybody hear of what was said."""
    for _ in range(20):
        await asyncio.sleep(0)


@pytest.mark.parametrize("heard", [False, True], ids=["just now", "a while ago"])
@pytest.mark.parametrize("ending", ["close", "reset"])
async def test_a_connection_that_ended_while_idle_is_nobodys_trouble(
    ending: str, *, heard: bool
) -> None:
    """F009: also when the request is written in the moment in which the connection ends."""
    async with (
        ByteServer(well) as server,
        BadgesClient(server.url, AUTH, retry=ONCE) as client,
    ):
        await client.claim(BADGE, "Loyalty", "1")
        getattr(server.seen[0], ending)()
        if heard:
            await settle()
        async with client.claim_many([ClaimRequest(BADGE, "Loyalty", "2")]) as run:
            (end,) = [outcome async for outcome in run]
    assert end.status is ClaimStatus.CLAIMED
    assert end.attempts <= (1 if heard else 2)
    # At once, and not as the failure of a service that seems to be down.
    assert not run.report.waits.keys() & {"backoff", "outage"}
    assert server.seen[-1].connection == 2


async def test_a_connection_that_died_in_silence_costs_one_attempt() -> None:
    """F018: the first request on it times out, the others do not, and it is not used again."""
    failed: list[BadgesError] = []

    def hear(event: AttemptEvent) -> None:
        if event.error is not None:
            failed.append(event.error)

    rows = [ClaimRequest(BADGE, "Loyalty", f"row {number}") for number in range(40)]
    async with (
        Sandbox() as sandbox,
        TcpProxy(sandbox.url) as proxy,
        BadgesClient(
            proxy.url,
            AUTH,
            timeout=Timeout(attempt=0.4),
            retry=RetryPolicy(base=0),
            observers=[hear],
        ) as client,
    ):
        sandbox.hold()
        calls = [asyncio.create_task(client.claim(BADGE, "Loyalty", n)) for n in "123"]
        await sandbox.wait_for_requests(3)
        sandbox.release()
        await asyncio.gather(*calls)
        dead = proxy.links[1]
        dead.silent = True
        asked = dead.asked

        report = await client.claim_all(rows, concurrency=3)
        await until(lambda: dead.left)
        assert len(proxy.links) <= 4
    assert (report.claimed, report.retries) == (40, 1)
    (error,) = failed
    assert isinstance(error, DeadlineError)
    assert error.maybe_applied
    # One request was written on it, about as long as the one before.
    assert dead.asked < 2.2 * asked


@pytest.mark.parametrize("data", [TIMED_OUT, TIMED_OUT_AND_STAYS], ids=["closes", "stays"])
@pytest.mark.parametrize("late", [False, True], ids=["with the answer", "while idle"])
async def test_an_answer_to_nobody_does_not_answer_the_next_request(
    data: bytes, *, late: bool
) -> None:
    """F052: an unasked 408 costs its connection and no more."""

    async def say_twice(exchange: Exchange) -> None:
        await well(exchange)
        if not late:
            await exchange.say(data)

    async with (
        ByteServer(say_twice, well) as server,
        BadgesClient(server.url, AUTH, retry=ONCE) as client,
    ):
        await client.claim(BADGE, "Loyalty", "1")
        if late:
            await server.seen[0].say(data)
            await settle()
        if data is TIMED_OUT:
            server.seen[0].close()
        for reference in "234":
            result = await client.claim(BADGE, "Loyalty", reference)
            assert (result.claim.reference_id, result.attempts) == (reference, 1)
    assert [exchange.connection for exchange in server.seen] == [1, 2, 2, 2]


@pytest.mark.parametrize("last", [TIMED_OUT, TIMED_OUT_AND_STAYS], ids=["closes", "stays"])
async def test_a_timeout_that_crosses_a_request_is_taken_for_its_answer_and_asked_again(
    last: bytes,
) -> None:
    """F052: nobody can tell it from an answer; the true one that follows is not the next one's."""

    async def both(exchange: Exchange) -> None:
        await exchange.say(last)
        await settle()
        await well(exchange)

    async with (
        ByteServer(well, both, well) as server,
        BadgesClient(server.url, AUTH, retry=RetryPolicy(base=0)) as client,
    ):
        for reference in "1234":
            result = await client.claim(BADGE, "Loyalty", reference)
            assert result.claim.reference_id == reference
            assert result.attempts == (2 if reference == "2" else 1)
    assert server.seen[2].body == server.seen[1].body
