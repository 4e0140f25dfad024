"""One exchange on the wire: what is sent, what is not followed or kept, and how much is read."""

from __future__ import annotations

import gzip
import tracemalloc
import zlib
from pathlib import Path

import pytest

from badges_async import (
    BadgesClient,
    BasicAuth,
    OAuth,
    RetryPolicy,
    SessionManager,
    UnreadableReplyError,
)
from badges_async.messages import Reply, Request
from badges_async.sandbox import Fault, Sandbox
from tests.answers import envelope, held
from tests.client.byte_server import ByteServer, Exchange, answer
from tests.client.byte_server import http as http_answer

pytestmark = pytest.mark.usefixtures("lane")

BADGE = "69381220cebb9648d8974518"
TARGET = f"/api_gateway/v1/badges/badgeMeta/{BADGE}"
GET = Request("get_badge", BADGE, "GET", TARGET)
POST = Request("claim", BADGE, "POST", f"{TARGET}/claim", b'{"ownerType": "Loyalty"}')
AUTH = BasicAuth("till.demo", "s3cret-Pass")
MEBIBYTE = 1 << 20


async def send(manager: SessionManager, request: Request = GET) -> Reply:
    return await manager.send(request, AUTH.headers(), seconds=10)


async def test_a_request_says_what_it_must_and_no_more() -> None:
    async with (
        ByteServer(answer(http_answer(b"{}"))) as server,
        SessionManager(server.url) as manager,
    ):
        await send(manager, GET)
        await send(manager, POST)
    read, claim = server.seen

    assert read.line == f"GET {TARGET} HTTP/1.1"
    assert claim.line == f"POST {TARGET}/claim HTTP/1.1"
    assert claim.body == POST.body
    assert (read.field("Content-Type"), claim.field("Content-Type")) == (None, "application/json")
    for exchange in server.seen:
        assert exchange.field("Authorization") == AUTH.headers()["Authorization"]
        assert exchange.field("Accept") == "application/json"
        assert (exchange.field("User-Agent") or "").startswith("badges-async/")
        assert exchange.field("Cookie") is None
        assert exchange.field("Host") == f"127.0.0.1:{server.port}"


async def test_credentials_that_change_are_used_at_once() -> None:
    async with (
        ByteServer(answer(http_answer(b"{}"))) as server,
        SessionManager(server.url) as manager,
    ):
        for token in ("one", "two", "one"):
            await manager.send(POST, {"X-CAP-API-OAUTH-TOKEN": token}, seconds=5)
        await manager.send(POST, {}, seconds=5)

    assert [exchange.field("X-CAP-API-OAUTH-TOKEN") for exchange in server.seen] == [
        "one",
        "two",
        "one",
        None,
    ]


@pytest.mark.parametrize("badge_id", ["a/b", "a?b=c", "a#b", "%2F", "a;x=1", "ü", "a b", "a%b"])
async def test_an_odd_id_is_one_segment_on_the_wire(badge_id: str) -> None:
    """F136: it opens no other path, query or header."""
    body = envelope(held(referenceId="1"))
    async with ByteServer(answer(http_answer(body))) as server, BadgesClient(server.url, AUTH) as c:
        await c.claim(badge_id, "Loyalty", "1")
    path = server.seen[0].line.split()[1]
    assert path.count("/") == TARGET.count("/") + 1
    assert path.endswith("/claim")
    assert not set(path) & set("?#; ")
    assert path.isascii()


@pytest.mark.parametrize("status", [301, 302, 303, 307, 308])
async def test_a_redirect_is_never_followed(status: int) -> None:
    """F037: whoever it names is not asked, nor shown a credential."""
    async with ByteServer(answer(http_answer(b"{}"))) as elsewhere:
        redirect = http_answer(b"", f"Location: {elsewhere.url}/", status=f"{status} Elsewhere")
        async with ByteServer(answer(redirect)) as server, BadgesClient(server.url, AUTH) as client:
            with pytest.raises(UnreadableReplyError) as caught:
                await client.claim(BADGE, "Loyalty", "1")
    assert caught.value.status == status
    assert caught.value.maybe_applied
    assert (len(server.seen), elsewhere.accepted) == (1, 0)


async def test_the_sandboxs_redirect_is_not_followed_either() -> None:
    async with Sandbox(faults=[Fault.REDIRECT]) as sandbox, BadgesClient(sandbox.url, AUTH) as c:
        with pytest.raises(UnreadableReplyError):
            await c.get_badge(BADGE)
    assert [record.operation for record in sandbox.requests] == ["get"]


async def test_no_cookie_is_kept() -> None:
    """F137: what the gateway sets is neither stored nor sent."""
    cookies = ("Set-Cookie: session=1; Path=/", "Set-Cookie: other=2")
    async with (
        ByteServer(answer(http_answer(b"{}", *cookies))) as server,
        SessionManager(server.url) as manager,
    ):
        await send(manager)
        await send(manager)
    assert server.seen[1].field("Cookie") is None


async def test_proxies_and_netrc_of_the_environment_are_not_read(
    monkeypatch: pytest.MonkeyPatch, tmp_path: Path
) -> None:
    """F134: whatever the environment holds, nobody but the service is spoken to."""
    netrc = tmp_path / "netrc"
    netrc.write_text("machine 127.0.0.1 login mallory password stolen\n")
    monkeypatch.setenv("NETRC", str(netrc))
    async with (
        ByteServer(answer(http_answer(b"{}"))) as proxy,
        ByteServer(answer(http_answer(b"{}"))) as server,
    ):
        for name in ("HTTP_PROXY", "HTTPS_PROXY", "ALL_PROXY"):
            monkeypatch.setenv(name, proxy.url)
            monkeypatch.setenv(name.lower(), proxy.url)
        monkeypatch.delenv("NO_PROXY", raising=False)
        monkeypatch.delenv("no_proxy", raising=False)
        async with SessionManager(server.url) as manager:
            await send(manager)
            await manager.send(GET, {}, seconds=5)
    assert proxy.accepted == 0
    assert server.seen[0].field("Authorization") == AUTH.headers()["Authorization"]
    assert server.seen[1].field("Authorization") is None


async def test_an_answer_is_given_as_it_came() -> None:
    data = http_answer(b"body", "X-A: 1", "X-A: 2", status="418 Teapot")
    async with (
        ByteServer(answer(data)) as server,
        SessionManager(server.url, wall=lambda: 1234.5) as manager,
    ):
        reply = await send(manager)
    assert (reply.status, reply.body, reply.complete) == (418, b"body", True)
    assert reply.headers.getall("x-a") == ["1", "2"]
    assert reply.received_at == 1234.5


async def test_informational_answers_are_passed_over() -> None:
    """F026: they are passed over, however many."""
    early = b"HTTP/1.1 100 Continue\r\n\r\n" * 5 + b"HTTP/1.1 103 Early Hints\r\nLink: x\r\n\r\n"
    async with (
        ByteServer(answer(early + http_answer(b"{}"))) as server,
        SessionManager(server.url) as manager,
    ):
        assert (await send(manager, POST)).status == 200


async def test_an_answer_in_many_pieces_is_one() -> None:
    body = bytes(range(256)) * 40

    async def drip(exchange: Exchange) -> None:
        data = http_answer(body)
        for place in range(0, len(data), 1000):
            await exchange.say(data[place : place + 1000])

    async with ByteServer(drip) as server, SessionManager(server.url) as manager:
        assert (await send(manager)).body == body


# At most 1 MiB


@pytest.mark.parametrize(
    ("size", "complete"), [(MEBIBYTE - 1, True), (MEBIBYTE, True), (MEBIBYTE + 1, False)]
)
async def test_one_mebibyte_is_read_and_not_a_byte_more(size: int, *, complete: bool) -> None:
    async with (
        ByteServer(answer(http_answer(b"x" * size))) as server,
        SessionManager(server.url) as manager,
    ):
        reply = await send(manager)
    assert reply.complete is complete
    assert len(reply.body) == min(size, MEBIBYTE)


async def test_an_answer_that_is_too_long_costs_its_connection_and_no_more() -> None:
    """F050: the claim is asked for again on another one."""
    body = b"<html>" + b"x" * 10_000_000
    first = answer(http_answer(body, status="500 Oops"))
    async with (
        ByteServer(first, answer(http_answer(envelope(held(referenceId="1"))))) as server,
        BadgesClient(server.url, AUTH) as client,
    ):
        result = await client.claim(BADGE, "Loyalty", "1")
    assert result.attempts == 2
    assert [exchange.connection for exchange in server.seen] == [1, 2]


async def test_an_answer_that_is_too_long_is_told_with_its_beginning() -> None:
    async with (
        ByteServer(answer(http_answer(b"<html>" + b"x" * 10_000_000))) as server,
        BadgesClient(server.url, AUTH, retry=RetryPolicy(max_attempts=1)) as client,
    ):
        with pytest.raises(UnreadableReplyError, match="longer than 1 MiB") as caught:
            await client.claim(BADGE, "Loyalty", "1")
    error = caught.value
    assert error.body.startswith("<html>xxx")
    assert len(error.body) <= 500


@pytest.mark.slow
@pytest.mark.parametrize("coding", ["gzip", "deflate"])
async def test_a_decompression_bomb_takes_no_memory(coding: str) -> None:
    """F057: unpacking stops at a mebibyte."""
    compress = zlib.compressobj(9, zlib.DEFLATED, 31 if coding == "gzip" else 15)
    block = b"\0" * MEBIBYTE
    bomb = b"".join(compress.compress(block) for _ in range(200)) + compress.flush()
    data = http_answer(bomb, f"Content-Encoding: {coding}")
    async with ByteServer(answer(data)) as server, SessionManager(server.url) as manager:
        tracemalloc.start()
        try:
            reply = await send(manager)
            _, peak = tracemalloc.get_traced_memory()
        finally:
            tracemalloc.stop()
    assert (len(reply.body), reply.complete) == (MEBIBYTE, False)
    assert peak < 8 * MEBIBYTE


async def test_a_compressed_answer_is_read() -> None:
    data = http_answer(gzip.compress(b'{"a": 1}' * 1000), "Content-Encoding: gzip")
    async with ByteServer(answer(data)) as server, SessionManager(server.url) as manager:
        reply = await send(manager)
    assert (reply.body, reply.complete) == (b'{"a": 1}' * 1000, True)


# How it looks


async def test_nothing_shows_a_secret(lane: str) -> None:
    """F130, F131: no error of a lane does, and nothing that it logs."""
    oauth = OAuth("key", "client-secret")
    shown = [
        repr(thing)
        for thing in (
            AUTH,
            AUTH.headers(),
            oauth,
            BadgesClient("badges.example.com", AUTH),
            SessionManager("badges.example.com"),
        )
    ]
    for text in shown:
        assert "s3cret" not in text
        assert "client-secret" not in text
        assert AUTH.headers()["Authorization"] not in text
    assert repr(BadgesClient("badges.example.com", AUTH)) == (
        f"BadgesClient('https://badges.example.com', lane='{lane}')"
    )
