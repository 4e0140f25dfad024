"""One connection of a lane: whose answer it is, where it ends, and what comes after it."""

from __future__ import annotations

import asyncio
import gzip
import os
from typing import Any

import pytest

from badges_async import (
    BasicAuth,
    ConnectError,
    ConnectionLostError,
    DeadlineError,
    SessionManager,
)
from badges_async.messages import MOST_BYTES, Reply, Request
from tests.client.byte_server import ByteServer, Exchange, answer, http, until
from tests.client.leftovers import leaving_nothing

pytestmark = pytest.mark.usefixtures("lane")

AUTH = BasicAuth("till.demo", "s3cret-Pass")
POST = Request("claim", "b", "POST", "/b/claim", b"{}")
NEXT = http(b"the next one")
STRAY = http(b"for nobody", "X-Stray: 1")


async def send(manager: SessionManager, request: Request = POST, seconds: float = 10) -> Reply:
    return await manager.send(request, AUTH.headers(), seconds=seconds)


def in_chunks(parts: list[bytes], *fields: str) -> bytes:
    """Write an answer whose body comes in *parts*."""
    head = "\r\n".join(["HTTP/1.1 200 OK", "Transfer-Encoding: chunked", *fields, "", ""])
    chunks = b"".join(b"%x\r\n%s\r\n" % (len(part), part) for part in parts)
    return head.encode() + chunks + b"0\r\n\r\n"


async def a_few_turns() -> None:
    for _ in range(5):
        await asyncio.sleep(0)


# How much is read


# A stream of aiohttp stops reading at a number of parts: 32,768 with our limit.
@pytest.mark.parametrize("count", [32_768, 32_769, 32_770, 33_000, 70_000])
@leaving_nothing
async def test_an_answer_in_very_many_parts_is_whole_and_hurts_no_other(count: int) -> None:
    body = bytes(65 + place % 26 for place in range(count))
    parts = [body[place : place + 1] for place in range(count)]
    script = answer(in_chunks(parts)), answer(NEXT)
    async with ByteServer(*script) as server, SessionManager(server.url) as manager:
        first, second = await send(manager), await send(manager)
    assert (first.body, first.complete) == (body, True)
    assert second.body == b"the next one"


@leaving_nothing
async def test_a_compressed_answer_in_very_many_parts_is_whole() -> None:
    body = os.urandom(50_000)
    packed = gzip.compress(body)
    parts = [packed[place : place + 1] for place in range(len(packed))]
    data = in_chunks(parts, "Content-Encoding: gzip")
    async with ByteServer(answer(data)) as server, SessionManager(server.url) as manager:
        reply = await send(manager)
    assert (reply.body == body, reply.complete) == (True, True)


def framed(body: bytes, way: str) -> tuple[bytes, bool]:
    """Write an answer with *body*, and say whether its end is that of the connection."""
    if way == "length":
        return http(body), False
    if way == "gzip":
        return http(gzip.compress(body, 1), "Content-Encoding: gzip"), False
    if way == "chunks":
        return in_chunks([body[:1000], body[1000:]]), False
    return b"HTTP/1.1 200 OK\r\n\r\n" + body, True


@pytest.mark.parametrize("way", ["length", "gzip", "chunks", "close"])
@pytest.mark.parametrize(("size", "complete"), [(MOST_BYTES, True), (MOST_BYTES + 1, False)])
@leaving_nothing
async def test_a_mebibyte_is_read_and_not_a_byte_more(
    way: str, size: int, *, complete: bool
) -> None:
    body = os.urandom(1024) * 1024 + b"!" * (size - MOST_BYTES)
    data, ends = framed(body, way)

    async def step(exchange: Exchange) -> None:
        await exchange.say(data)
        if ends:
            exchange.close()

    async with ByteServer(step, answer(NEXT)) as server, SessionManager(server.url) as manager:
        first, second = await send(manager), await send(manager)
    assert first.complete is complete
    assert first.body == body[:MOST_BYTES]
    assert second.body == b"the next one"


@leaving_nothing
async def test_a_mebibyte_is_no_end() -> None:
    async def go_on(exchange: Exchange) -> None:
        body = bytes(MOST_BYTES)
        await exchange.say(in_chunks([body])[:-5])  # all but the last chunk
        await asyncio.sleep(0.01)
        await exchange.say(b"1\r\n!\r\n0\r\n\r\n")

    async with ByteServer(go_on) as server, SessionManager(server.url) as manager:
        reply = await send(manager)
    assert (len(reply.body), reply.complete) == (MOST_BYTES, False)


@pytest.mark.parametrize("data", [b"\0\1\2 no HTTP\r\n\r\n", b"220 mail.example ready\r\n"])
@leaving_nothing
async def test_what_is_no_http_is_a_lost_connection_and_no_complaint(data: bytes) -> None:
    async def say(exchange: Exchange) -> None:
        await exchange.say(data)
        await exchange.hang()

    async with ByteServer(say) as server, SessionManager(server.url) as manager:
        with pytest.raises(ConnectionLostError):
            await send(manager)


# Whose answer it is


@pytest.mark.parametrize("stray", [STRAY, b"HTTP/1.1 100 Continue\r\n\r\n", STRAY[:9], b"\0" * 99])
@leaving_nothing
async def test_what_comes_while_idle_is_for_nobody(stray: bytes, lane: str) -> None:
    if lane == "session" and stray == STRAY[:9]:
        pytest.skip("aiohttp's pool keeps a connection with a part of an answer in its parser")
    async with (
        ByteServer(answer(http(b"first")), answer(NEXT)) as server,
        SessionManager(server.url) as manager,
    ):
        assert (await send(manager)).body == b"first"
        await server.seen[0].say(stray)
        await a_few_turns()
        if lane == "wire":
            await until(lambda: server.open == 0)  # it cost the connection at once
        assert (await send(manager)).body == b"the next one"
        assert server.accepted == 2


@leaving_nothing
async def test_what_is_glued_to_an_answer_is_for_nobody_wherever_it_is_cut(lane: str) -> None:
    if lane == "session":
        pytest.skip("aiohttp's pool keeps a connection with a part of an answer in its parser")
    for size in range(1, len(STRAY) + 1):
        glued = http(b"first") + STRAY[:size]
        async with (
            ByteServer(answer(glued), answer(NEXT)) as server,
            SessionManager(server.url) as manager,
        ):
            assert (await send(manager)).body == b"first"
            assert (await send(manager)).body == b"the next one"
            assert [exchange.connection for exchange in server.seen] == [1, 2]


@leaving_nothing
async def test_a_whole_answer_glued_to_an_answer_is_for_nobody() -> None:
    script = answer(http(b"first") + STRAY), answer(NEXT)
    async with ByteServer(*script) as server, SessionManager(server.url) as manager:
        assert (await send(manager)).body == b"first"
        assert (await send(manager)).body == b"the next one"


@leaving_nothing
async def test_what_comes_before_anybody_asked_is_for_nobody(
    monkeypatch: pytest.MonkeyPatch,
) -> None:
    greeters: list[asyncio.StreamWriter] = []

    async def greet(_: asyncio.StreamReader, writer: asyncio.StreamWriter) -> None:
        greeters.append(writer)
        writer.write(STRAY)

    loop = asyncio.get_running_loop()
    connect = loop.create_connection

    async def connect_and_hear(*args: Any, **options: Any) -> Any:
        made = await connect(*args, **options)
        await until(lambda: bool(greeters))
        await asyncio.sleep(0.01)  # the greeting is read before the connection is handed over
        return made

    server = await asyncio.start_server(greet, "127.0.0.1", 0)
    url = f"http://127.0.0.1:{server.sockets[0].getsockname()[1]}"
    monkeypatch.setattr(loop, "create_connection", connect_and_hear)
    async with server, SessionManager(url) as manager:
        with pytest.raises(ConnectError) as caught:
            await send(manager)
        for writer in greeters:
            writer.transport.abort()
    assert not caught.value.maybe_applied


async def hang(exchange: Exchange) -> None:
    await exchange.hang()


@leaving_nothing
async def test_an_answer_that_comes_too_late_is_for_nobody() -> None:
    async with ByteServer(hang, answer(NEXT)) as server, SessionManager(server.url) as manager:
        with pytest.raises(DeadlineError):
            await send(manager, seconds=0.3)  # in which a busy machine gets it there
        await server.seen[0].say(STRAY)
        assert (await send(manager)).body == b"the next one"


@leaving_nothing
async def test_an_answer_that_comes_after_a_cancellation_is_for_nobody() -> None:
    async with ByteServer(hang, answer(NEXT)) as server, SessionManager(server.url) as manager:
        call = asyncio.create_task(send(manager))
        await until(lambda: len(server.seen) == 1)
        call.cancel()
        with pytest.raises(asyncio.CancelledError):
            await call
        await server.seen[0].say(STRAY)
        assert (await send(manager)).body == b"the next one"
