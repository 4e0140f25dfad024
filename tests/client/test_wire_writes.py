"""When the wire lane writes: together with others of the same turn, and never for nobody."""

from __future__ import annotations

import asyncio

import pytest

from badges_async import BasicAuth, ConnectionLostError, DeadlineError, SessionManager
from badges_async.channel import Channel
from badges_async.messages import Reply, Request
from tests.client.byte_server import ByteServer, Exchange, http
from tests.client.leftovers import leaving_nothing

AUTH = BasicAuth("till.demo", "s3cret-Pass")
POST = Request("claim", "b", "POST", "/b/claim", b"{}")
WELL = http(b"well")


async def say_well(exchange: Exchange) -> None:
    await exchange.say(WELL)


async def send(manager: SessionManager, **options: object) -> Reply:
    return await manager.send(POST, AUTH.headers(), seconds=10, **options)  # type: ignore[arg-type]


async def warm_up(manager: SessionManager, connections: int) -> None:
    await asyncio.gather(*(send(manager) for _ in range(connections)))


def queued(manager: SessionManager) -> list[Channel]:
    wire = manager._by_wire  # noqa: SLF001 - nothing else tells
    assert wire is not None
    return [channel for channel, _ in wire._unwritten]  # noqa: SLF001 - likewise


@leaving_nothing
async def test_the_requests_of_a_turn_are_written_together_and_one_alone_at_once() -> None:
    async with (
        ByteServer(*[say_well] * 8) as server,
        SessionManager(server.url, lane="wire") as manager,
    ):
        await warm_up(manager, 3)
        tasks = [asyncio.create_task(send(manager)) for _ in range(3)]
        await asyncio.sleep(0)
        assert len(queued(manager)) == 2
        assert [reply.body for reply in await asyncio.gather(*tasks)] == [b"well"] * 3

        alone = asyncio.create_task(send(manager))
        await asyncio.sleep(0)
        assert not queued(manager)
        await alone


@leaving_nothing
async def test_where_the_first_byte_is_counted_nothing_waits() -> None:
    """A quota counts a request from when it leaves."""
    async with (
        ByteServer(*[say_well] * 6) as server,
        SessionManager(server.url, lane="wire") as manager,
    ):
        await warm_up(manager, 3)
        left: list[int] = []
        tasks = [
            asyncio.create_task(send(manager, on_sent=lambda number=number: left.append(number)))
            for number in range(3)
        ]
        await asyncio.sleep(0)
        assert left == [0, 1, 2]
        assert not queued(manager)
        await asyncio.gather(*tasks)


@leaving_nothing
async def test_what_a_peer_says_just_before_it_is_asked_is_no_answer() -> None:
    async with (
        ByteServer(*[say_well] * 4) as server,
        SessionManager(server.url, lane="wire") as manager,
    ):
        await warm_up(manager, 2)
        first, second = (asyncio.create_task(send(manager)) for _ in range(2))
        await asyncio.sleep(0)
        [channel] = queued(manager)
        channel.data_received(http(b"for nobody"))
        with pytest.raises(ConnectionLostError) as caught:
            await second
        assert caught.value.stale
        assert (await first).body == b"well"
        assert len(server.seen) == 3


@leaving_nothing
async def test_a_request_whose_time_is_over_before_it_is_written_is_not_written() -> None:
    async with (
        ByteServer(*[say_well] * 4) as server,
        SessionManager(server.url, lane="wire") as manager,
    ):
        await warm_up(manager, 2)
        first, second = (asyncio.create_task(send(manager)) for _ in range(2))
        await asyncio.sleep(0)
        [channel] = queued(manager)
        channel.expire()
        with pytest.raises(DeadlineError):
            await second
        await first
        assert (await send(manager)).body == b"well"
        assert len(server.seen) == 4


@leaving_nothing
async def test_a_connection_that_ends_before_the_request_is_written_is_stale() -> None:
    async with (
        ByteServer(*[say_well] * 4) as server,
        SessionManager(server.url, lane="wire") as manager,
    ):
        await warm_up(manager, 2)
        first, second = (asyncio.create_task(send(manager)) for _ in range(2))
        await asyncio.sleep(0)
        [channel] = queued(manager)
        transport = channel.transport
        assert transport is not None
        transport.abort()
        with pytest.raises(ConnectionLostError) as caught:
            await second
        assert caught.value.stale
        await first
