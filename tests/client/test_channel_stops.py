"""One connection of a lane, and a request that ends otherwise than with its answer."""

from __future__ import annotations

import asyncio
import os
import socket
import time
from collections.abc import AsyncIterator
from contextlib import asynccontextmanager, suppress
from pathlib import Path
from typing import Any

import pytest

from badges_async import BasicAuth, DeadlineError, SessionManager
from badges_async.messages import Reply, Request
from tests.client.byte_server import Answer, ByteServer, Exchange, answer, http, until
from tests.client.leftovers import leaving_nothing, nothing_left_behind

pytestmark = pytest.mark.usefixtures("lane")

AUTH = BasicAuth("till.demo", "s3cret-Pass")
POST = Request("claim", "b", "POST", "/b/claim", b"{}")
NEXT = http(b"the next one")
LATE = 0.25
EARLY = 0.002  # uvloop's clock has whole milliseconds, and is read once in a turn


async def send(manager: SessionManager, request: Request = POST, seconds: float = 10) -> Reply:
    return await manager.send(request, AUTH.headers(), seconds=seconds)


async def hang(exchange: Exchange) -> None:
    await exchange.hang()


# Cancelling


async def slowly(exchange: Exchange) -> None:
    """Answer in parts, so that there are turns in between."""
    data = http(exchange.body)
    for place in range(0, len(data), 7):
        if not exchange.writer.is_closing():
            await exchange.say(data[place : place + 7])
        await asyncio.sleep(0)


@pytest.mark.parametrize("warm", [False, True], ids=["new connection", "old connection"])
async def test_cancelling_in_any_turn_leaves_nothing(*, warm: bool) -> None:
    """Until the call is done before it is cancelled."""
    turns, done = 0, False
    async with nothing_left_behind(), ByteServer(slowly) as server:
        while not done:
            async with SessionManager(server.url, max_connections=1) as manager:
                if warm:
                    await send(manager)
                mine = Request("claim", "b", "POST", "/b/claim", b"mine")
                call = asyncio.create_task(send(manager, mine))
                for _ in range(turns):
                    await asyncio.sleep(0)
                done = call.done()
                call.cancel()
                await asyncio.wait([call])
                assert call.cancelled() or call.result().body == b"mine"
                assert (await send(manager)).body == b"{}"
            turns += 1
    assert turns > 5


async def nothing(_: Exchange) -> None:
    pass


@leaving_nothing
async def test_a_call_cancelled_in_the_tick_of_its_answer_hurts_no_other(lane: str) -> None:
    if lane == "session":
        pytest.skip("when aiohttp's session hears of an answer is its own affair")
    script = nothing, answer(NEXT)
    async with ByteServer(*script) as server, SessionManager(server.url) as manager:
        call = asyncio.create_task(send(manager))
        await until(lambda: len(server.seen) == 1)
        other = asyncio.create_task(send(manager))
        deadlines: Any = manager._deadlines  # noqa: SLF001
        [channel] = deadlines._open  # noqa: SLF001
        channel.data_received(http(b"in this tick"))
        call.cancel()
        assert (await other).body == b"the next one"  # on the same connection, which is good
        assert call.cancelled()
        assert server.accepted == 1


# Deadlines


@pytest.mark.slow
@leaving_nothing
async def test_many_deadlines_are_all_kept() -> None:
    count = 40

    async def bounded(manager: SessionManager, seconds: float) -> tuple[float, float]:
        began = time.monotonic()
        with pytest.raises(DeadlineError):
            await send(manager, seconds=seconds)
        return seconds, time.monotonic() - began

    async with ByteServer(hang) as server, SessionManager(server.url) as manager:
        bounds = [0.3 + 0.4 * (place * 7 % count) / count for place in range(count)]
        for seconds, took in await asyncio.gather(*(bounded(manager, bound) for bound in bounds)):
            assert seconds - EARLY <= took <= seconds + LATE
        await until(lambda: server.open == 0)


@leaving_nothing
async def test_a_bounded_call_needs_no_task_of_its_own() -> None:
    async with ByteServer(hang) as server, SessionManager(server.url) as manager:
        before = len(asyncio.all_tasks())
        call = asyncio.create_task(send(manager, seconds=0.3))
        await until(lambda: len(server.seen) == 1)
        assert len(asyncio.all_tasks()) == before + 2  # the call, and the server's
        with pytest.raises(DeadlineError):
            await call


# A request that is not read


@asynccontextmanager
async def peer(step: Answer) -> AsyncIterator[tuple[str, list[asyncio.StreamWriter]]]:
    """Give a server that reads the head of a request, answers, and reads no more."""
    writers: list[asyncio.StreamWriter] = []

    async def serve(reader: asyncio.StreamReader, writer: asyncio.StreamWriter) -> None:
        writers.append(writer)
        head = (await reader.readuntil(b"\r\n\r\n")).decode()
        writer.transport.pause_reading()  # type: ignore[attr-defined]
        await step(Exchange(len(writers), head, b"", writer, reader))

    server = await asyncio.start_server(serve, "127.0.0.1", 0, limit=1000)
    try:
        yield f"http://127.0.0.1:{server.sockets[0].getsockname()[1]}", writers
    finally:
        server.close()
        for writer in writers:
            writer.transport.abort()
        await server.wait_closed()


LARGE = Request("claim", "b", "POST", "/b/claim", bytes(16_000_000))


@pytest.mark.filterwarnings("ignore:Sending a large body:ResourceWarning")
async def test_a_peer_that_does_not_read_is_bounded_and_holds_nothing(lane: str) -> None:
    async with peer(nothing) as (url, writers):
        async with SessionManager(url, max_connections=1) as manager:
            for number in (1, 2):  # the second has the one slot again
                began = time.monotonic()
                with pytest.raises(DeadlineError) as caught:
                    await send(manager, LARGE, seconds=0.2)
                assert time.monotonic() - began <= 0.2 + LATE
                assert caught.value.maybe_applied
                assert len(writers) == number
        if lane == "wire":  # aiohttp's session waits for the peer to read what it was sent
            await until(lambda: not connected_to(url))


def connected_to(url: str) -> list[str]:
    """List our own ends of connections to *url*."""
    port = int(url.rpartition(":")[2])
    ends = []
    for path in Path("/proc/self/fd").iterdir():
        with suppress(OSError, IndexError), socket.socket(fileno=os.dup(int(path.name))) as end:
            if end.getpeername()[1] == port:
                ends.append(path.name)
    return ends


@pytest.mark.filterwarnings("ignore:Sending a large body:ResourceWarning")
async def test_an_answer_that_comes_before_the_request_was_read_is_taken() -> None:
    async def refuse(exchange: Exchange) -> None:
        await exchange.say(http(b"too large", status="413 Content Too Large"))

    async with peer(refuse) as (url, writers), SessionManager(url, max_connections=1) as manager:
        for number in (1, 2):  # what was not written went with the first connection
            reply = await send(manager, LARGE, seconds=5)
            assert (reply.status, reply.body) == (413, b"too large")
            assert len(writers) == number
