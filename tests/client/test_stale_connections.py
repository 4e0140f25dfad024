"""Connections that the service closed while they were idle: nobody gets to see them."""

from __future__ import annotations

import asyncio
from typing import Any

import pytest

from badges_async import (
    AttemptEvent,
    BadgesClient,
    BasicAuth,
    ConnectionLostError,
    RetryPolicy,
)
from badges_async.connector import Connector
from badges_async.sandbox import Fault, Sandbox
from tests.answers import envelope, held
from tests.client.byte_server import Answer, ByteServer, Exchange, http

pytestmark = pytest.mark.usefixtures("lane")

BADGE = "69381220cebb9648d8974518"
AUTH = BasicAuth("till.demo", "s3cret-Pass")
ONCE = RetryPolicy(max_attempts=1)
WELL = http(envelope(held(referenceId="1")))


@pytest.fixture
def events() -> list[AttemptEvent]:
    """Give a list for what an observer sees."""
    return []


@pytest.mark.parametrize("operation", ["get", "claim"])
async def test_a_connection_found_stale_is_replaced_at_once_and_not_counted(
    operation: str, events: list[AttemptEvent]
) -> None:
    """F008, F009: one retry, on a new connection, at once."""
    async with (
        Sandbox(faults=[Fault.STALE_KEEP_ALIVE]) as sandbox,
        BadgesClient(sandbox.url, AUTH, retry=ONCE, observers=[events.append]) as client,
    ):
        await client.claim(BADGE, "Loyalty", "1")
        if operation == "get":
            await client.get_badge(BADGE)
        else:
            result = await client.claim(BADGE, "Loyalty", "2")
            # It may have been applied: had it been, this would be called recovered in bulk.
            assert (result.attempts, result.already_claimed) == (2, False)
            assert [event.error and event.error.maybe_applied for event in events[1:]] == [
                True,
                None,
            ]
    assert all("backoff" not in event.waits for event in events)


async def test_many_stale_connections_are_replaced_by_one_fresh_one_for_each_call() -> None:
    count = 8
    async with (
        Sandbox(faults=[Fault.STALE_KEEP_ALIVE] * count) as sandbox,
        BadgesClient(sandbox.url, AUTH, retry=ONCE) as client,
    ):
        sandbox.hold()
        calls = [asyncio.create_task(client.claim(BADGE, "Loyalty", str(n))) for n in range(count)]
        await sandbox.wait_for_requests(count)
        sandbox.release()
        await asyncio.gather(*calls)

        results = await asyncio.gather(
            *(client.claim(BADGE, "Loyalty", f"again {n}") for n in range(count))
        )
    assert len(sandbox.claims) >= 2 * count
    assert {result.attempts for result in results} <= {1, 2}


async def test_a_connection_that_was_closed_after_its_answer_is_not_used_again() -> None:
    """F009: closed after its answer, it is not written to."""
    async with (
        Sandbox(faults=[Fault.IDLE_CLOSE] * 3) as sandbox,
        BadgesClient(sandbox.url, AUTH, retry=ONCE) as client,
    ):
        for number in range(6):
            await client.claim(BADGE, "Loyalty", str(number))
    assert len(sandbox.claims) >= 6


def script(*second: Answer) -> list[Answer]:
    """Answer the first request well, and the next ones otherwise."""

    async def well(exchange: Exchange) -> None:
        await exchange.say(WELL)

    return [well, *second, well]


async def reset(exchange: Exchange) -> None:
    exchange.reset()


async def close(exchange: Exchange) -> None:
    exchange.close()


async def begin_and_reset(exchange: Exchange) -> None:
    await exchange.say(WELL[:-10])
    await asyncio.sleep(0)
    exchange.reset()


@pytest.mark.parametrize("ending", [reset, close])
async def test_an_old_connection_that_says_nothing_counts_as_stale(ending: Answer) -> None:
    async with (
        ByteServer(*script(ending)) as server,
        BadgesClient(server.url, AUTH, retry=ONCE) as client,
    ):
        await client.claim(BADGE, "Loyalty", "1")
        result = await client.claim(BADGE, "Loyalty", "1")
    assert result.attempts == 2
    assert [exchange.connection for exchange in server.seen] == [1, 1, 2]


async def test_an_old_connection_that_begins_to_answer_is_not_stale() -> None:
    async with (
        ByteServer(*script(begin_and_reset)) as server,
        BadgesClient(server.url, AUTH, retry=ONCE) as client,
    ):
        await client.claim(BADGE, "Loyalty", "1")
        with pytest.raises(ConnectionLostError) as caught:
            await client.claim(BADGE, "Loyalty", "1")
    assert (caught.value.attempts, caught.value.stale) == (1, False)


async def test_a_new_connection_that_says_nothing_is_not_stale() -> None:
    async with (
        ByteServer(close) as server,
        BadgesClient(server.url, AUTH, retry=ONCE) as client,
    ):
        with pytest.raises(ConnectionLostError) as caught:
            await client.claim(BADGE, "Loyalty", "1")
    assert (caught.value.attempts, caught.value.stale) == (1, False)
    assert len(server.seen) == 1


@pytest.mark.parametrize("given_up", [True, False])
async def test_a_new_connection_that_ends_before_it_is_used_is_none(
    given_up: bool,  # noqa: FBT001
    lane: str,
    monkeypatch: pytest.MonkeyPatch,
) -> None:
    """Nothing is written to it."""
    if lane != "wire":
        pytest.skip("what aiohttp's session does with it is its own affair")
    own_connect = Connector.connect

    async def connect(*args: Any) -> Any:
        connection = await own_connect(*args)
        assert connection.transport is not None
        if given_up:
            connection.close()
        else:
            connection.transport.abort()
        return connection

    async with (
        ByteServer() as server,
        BadgesClient(server.url, AUTH, retry=ONCE) as client,
    ):
        monkeypatch.setattr(Connector, "connect", connect)
        with pytest.raises(ConnectionLostError):
            await client.claim(BADGE, "Loyalty", "1")
    assert server.seen == []


async def test_the_second_try_takes_a_new_connection_though_others_are_idle() -> None:
    count = 5
    release = asyncio.Event()

    async def together(exchange: Exchange) -> None:
        await release.wait()
        await exchange.say(WELL)

    steps = [*[together] * count, close]

    async def then(exchange: Exchange) -> None:
        await exchange.say(WELL)

    async with (
        ByteServer(*steps, then) as server,
        BadgesClient(server.url, AUTH, retry=ONCE) as client,
    ):
        calls = [asyncio.create_task(client.claim(BADGE, "Loyalty", "1")) for _ in range(count)]
        while len(server.seen) < count:  # noqa: ASYNC110 - the server has no event
            await asyncio.sleep(0)
        release.set()
        await asyncio.gather(*calls)
        result = await client.claim(BADGE, "Loyalty", "1")
    assert result.attempts == 2
    assert server.seen[-1].connection == count + 1
