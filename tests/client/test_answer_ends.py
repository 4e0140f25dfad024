"""Where an answer ends, and whether the connection that it came on is good for another request."""

from __future__ import annotations

import asyncio

import pytest

from badges_async import (
    BadgesClient,
    BasicAuth,
    ConnectionLostError,
    RetryPolicy,
    SessionManager,
    UnreadableReplyError,
)
from badges_async.messages import Reply, Request
from tests.client.byte_server import ByteServer, Exchange, answer, http

pytestmark = pytest.mark.usefixtures("lane")

BADGE = "69381220cebb9648d8974518"
POST = Request("claim", BADGE, "POST", f"/api_gateway/v1/badges/badgeMeta/{BADGE}/claim", b"{}")
AUTH = BasicAuth("till.demo", "s3cret-Pass")
MINE, NEXT, NOBODYS = b'{"mine":1}', b'{"next":1}', b'{"nobodys":1}'
CHUNKS = b"HTTP/1.1 200 OK\r\nTransfer-Encoding: chunked\r\n\r\na\r\n" + MINE + b"\r\n0\r\n"


async def send(manager: SessionManager) -> Reply:
    return await manager.send(POST, AUTH.headers(), seconds=5)


async def settle() -> None:
    for _ in range(20):
        await asyncio.sleep(0)


@pytest.mark.parametrize(
    ("data", "body", "connection"),
    [
        pytest.param(http(MINE), MINE, 1, id="with its length"),
        pytest.param(CHUNKS + b"\r\n", MINE, 1, id="in chunks"),
        pytest.param(CHUNKS + b"X-Trailer: 1\r\n\r\n", MINE, 1, id="with a trailer"),
        pytest.param(http(b""), b"", 1, id="empty"),
        pytest.param(b"HTTP/1.1 204 No Content\r\n\r\n", b"", 1, id="204"),
        pytest.param(b"HTTP/1.1 304 Not Modified\r\nContent-Length: 9\r\n\r\n", b"", 1, id="304"),
        pytest.param(http(MINE, "Connection: close"), MINE, 2, id="the last one"),
        pytest.param(http(MINE).replace(b"1.1", b"1.0", 1), MINE, 2, id="of HTTP 1.0"),
        pytest.param(
            http(MINE, "Connection: keep-alive").replace(b"1.1", b"1.0", 1),
            MINE,
            1,
            id="of HTTP 1.0 that stays",
        ),
        pytest.param(http(MINE) + b"HTTP/1.1 100 Continue\r\n\r\n", MINE, 2, id="and an interim"),
    ],
)
async def test_an_answer_is_whole_and_the_next_request_gets_its_own(
    data: bytes, body: bytes, connection: int
) -> None:
    async with (
        ByteServer(answer(data), answer(http(NEXT))) as server,
        SessionManager(server.url) as manager,
    ):
        assert (await send(manager)).body == body
        assert (await send(manager)).body == NEXT
    assert [exchange.connection for exchange in server.seen] == [1, connection]


async def test_a_body_that_cannot_be_unpacked_is_not_waited_for() -> None:
    async def begin(exchange: Exchange) -> None:
        head = b"HTTP/1.1 200 OK\r\nContent-Encoding: gzip\r\nContent-Length: 999\r\n\r\n"
        await exchange.say(head + b"this is not packed at all")
        await exchange.hang()

    async with (
        ByteServer(begin, answer(http(NEXT))) as server,
        SessionManager(server.url) as manager,
    ):
        with pytest.raises(ConnectionLostError):  # and no deadline
            await send(manager)
        assert (await send(manager)).body == NEXT
    assert [exchange.connection for exchange in server.seen] == [1, 2]


@pytest.mark.parametrize("size", [0, 10, 100_000])
async def test_an_answer_without_a_length_ends_with_its_connection(size: int) -> None:
    async def until_the_end(exchange: Exchange) -> None:
        await exchange.say(b"HTTP/1.1 200 OK\r\n\r\n" + b"x" * size)
        exchange.close()

    async with ByteServer(until_the_end) as server, SessionManager(server.url) as manager:
        reply = await send(manager)
        assert (reply.body, reply.complete) == (b"x" * size, True)
        assert len((await send(manager)).body) == size
    assert [exchange.connection for exchange in server.seen] == [1, 2]


@pytest.mark.parametrize("late", [False, True], ids=["at once", "late"])
@pytest.mark.parametrize(
    "extra",
    [
        pytest.param(http(NOBODYS), id="whole"),
        pytest.param(http(NOBODYS)[:20], id="half"),
    ],
)
async def test_an_answer_to_nobody_is_not_one_to_the_next_request(
    extra: bytes, *, late: bool, lane: str, request: pytest.FixtureRequest
) -> None:
    if lane == "session" and extra != http(NOBODYS):
        # Nobody can look into the parser of a connection in its pool.
        request.applymarker(pytest.mark.xfail(reason="aiohttp's session goes on with it"))
    async with (
        ByteServer(answer(http(MINE) + (b"" if late else extra)), answer(http(NEXT))) as server,
        SessionManager(server.url) as manager,
    ):
        assert (await send(manager)).body == MINE
        if late:
            await server.seen[0].say(extra)
            await settle()
        assert (await send(manager)).body == NEXT
    assert [exchange.connection for exchange in server.seen] == [1, 2]


async def test_a_switch_of_protocols_is_no_answer() -> None:
    switch = b"HTTP/1.1 101 Switching Protocols\r\nUpgrade: x\r\nConnection: upgrade\r\n\r\nabc"
    once = RetryPolicy(max_attempts=1)
    async with (
        ByteServer(answer(switch)) as server,
        BadgesClient(server.url, AUTH, retry=once) as client,
    ):
        for _ in range(2):
            # To the wire it is broken HTTP, to a session an answer that is no envelope.
            with pytest.raises((ConnectionLostError, UnreadableReplyError)) as caught:
                await client.claim(BADGE, "Loyalty", "1")
            assert caught.value.maybe_applied
    assert [exchange.connection for exchange in server.seen] == [1, 2]
