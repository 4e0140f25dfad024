"""When the wire lane writes: together with others of the same turn, and never for nobody."""

from __future__ import annotations

import asyncio
from pathlib import Path
from typing import Any

import pytest

from badges_async import BasicAuth, ConnectionLostError, DeadlineError, SessionManager
from badges_async.channel import Channel
from badges_async.messages import Reply, Request
from tests.client.byte_server import ByteServer, Exchange, http
from tests.client.certificates import server_context, trusting_context
from tests.client.leftovers import leaving_nothing

AUTH = BasicAuth("till.demo", "s3cret-Pass")
POST = Request("claim", "b", "POST", "/b/claim", b"{}")
WELL = http(b"well")


async def say_well(exchange: Exchange) -> None:
    await exchange.say(WELL)


async def send(manager: SessionManager, **options: object) -> Reply:
    return await manager.send(POST, AUTH.headers(), seconds=10, **options)  # type: ignore[arg-type]


class Broken:
    """A transport that ends in the turn in which it is written to, as uvloop's say it."""

    def __init__(self, transport: Any) -> None:
        self._transport = transport

    def __getattr__(self, name: str) -> Any:
        return getattr(self._transport, name)

    def write(self, _: bytes) -> None:
        raise RuntimeError("unable to perform operation; the handler is closed")


async def warm_up(manager: SessionManager, connections: int) -> None:
    await asyncio.gather(*(send(manager) for _ in range(connections)))


def queued(manager: SessionManager) -> list[Channel]:
    wire = manager._by_wire  # noqa: SLF001 - nothing else tells
    assert wire is not None
    return [channel for channel, *_ in wire._unwritten]  # noqa: SLF001 - likewise


async def two_of_a_turn(
    manager: SessionManager,
) -> tuple[asyncio.Task[Reply], asyncio.Task[Reply], Channel]:
    """Begin two requests: the first is written, the second waits on the channel that is given."""
    await warm_up(manager, 2)
    first, second = (asyncio.create_task(send(manager)) for _ in range(2))
    await asyncio.sleep(0)
    [channel] = queued(manager)
    return first, second, channel


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
        first, second, channel = await two_of_a_turn(manager)
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
        first, second, channel = await two_of_a_turn(manager)
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
        first, second, channel = await two_of_a_turn(manager)
        transport = channel.transport
        assert transport is not None
        transport.abort()
        with pytest.raises(ConnectionLostError) as caught:
            await second
        assert caught.value.stale
        await first


@leaving_nothing
async def test_a_failure_to_write_is_that_requests_and_no_others() -> None:
    async with (
        ByteServer(*[say_well] * 6) as server,
        SessionManager(server.url, lane="wire") as manager,
    ):
        await warm_up(manager, 3)
        tasks = [asyncio.create_task(send(manager)) for _ in range(3)]
        await asyncio.sleep(0)
        broken, _ = queued(manager)
        broken.transport = Broken(broken.transport)  # type: ignore[assignment]
        results = await asyncio.gather(*tasks, return_exceptions=True)
        lost = [result for result in results if isinstance(result, ConnectionLostError)]
        assert [error.maybe_applied for error in lost] == [True]
        assert (await send(manager)).body == b"well"


@leaving_nothing
async def test_what_is_told_of_sending_may_fail_and_leaves_the_connection_to_nobody() -> None:
    def fail() -> None:
        raise RuntimeError("told in vain")

    async with (
        ByteServer(*[say_well] * 3) as server,
        SessionManager(server.url, lane="wire", max_connections=1) as manager,
    ):
        await send(manager)
        with pytest.raises(ConnectionLostError):
            await send(manager, on_sent=fail)
        assert (await send(manager)).body == b"well"
        assert server.accepted == 2


@leaving_nothing
async def test_closing_waits_for_the_connections_at_rest(tmp_path: Path) -> None:
    """Over TLS the end of a connection takes some turns."""
    async with ByteServer(*[say_well] * 3, tls=server_context(tmp_path)) as server:
        manager = SessionManager(server.url, lane="wire", ssl=trusting_context())
        await warm_up(manager, 3)
        wire = manager._by_wire  # noqa: SLF001 - nothing else tells
        assert wire is not None
        at_rest = list(wire._idle)  # noqa: SLF001 - likewise
        await manager.close()
        assert [channel.transport for channel in at_rest] == [None] * 3


@leaving_nothing
async def test_a_connection_that_is_ending_is_given_to_nobody() -> None:
    async with (
        ByteServer(*[say_well] * 3) as server,
        SessionManager(server.url, lane="wire") as manager,
    ):
        await warm_up(manager, 2)
        wire = manager._by_wire  # noqa: SLF001 - nothing else tells
        assert wire is not None
        wire._idle[-1].data_received(b"a word too many")  # noqa: SLF001 - in this very turn
        assert (await send(manager)).body == b"well"
        assert [exchange.connection for exchange in server.seen] == [1, 2, 1]


@leaving_nothing
async def test_who_finds_no_free_connection_waits_for_the_next_that_comes_to_rest() -> None:
    async with (
        ByteServer(*[say_well] * 7) as server,
        SessionManager(server.url, lane="wire", max_connections=2) as manager,
    ):
        replies = await asyncio.gather(*(send(manager) for _ in range(7)))
        assert [reply.body for reply in replies] == [b"well"] * 7
        assert server.accepted == 2


@leaving_nothing
async def test_waiting_for_a_free_connection_is_bounded_and_can_be_cancelled() -> None:
    async def hang(exchange: Exchange) -> None:
        await exchange.hang()

    async with (
        ByteServer(hang, say_well) as server,
        SessionManager(server.url, lane="wire", max_connections=1) as manager,
    ):
        busy = asyncio.create_task(send(manager))
        cancelled = asyncio.create_task(send(manager))
        await asyncio.sleep(0)
        with pytest.raises(DeadlineError, match="no free connection") as caught:
            await manager.send(POST, AUTH.headers(), seconds=0.05)
        assert not caught.value.maybe_applied
        cancelled.cancel()
        busy.cancel()
        await asyncio.wait([busy, cancelled])
        assert (await send(manager)).body == b"well"
