"""What the lanes write, and what becomes of their connections."""

from __future__ import annotations

import asyncio
import socket
import ssl
import time
from collections.abc import Callable
from contextlib import ExitStack, suppress
from pathlib import Path
from threading import Event, Thread
from typing import Any

import pytest

from badges_async import (
    BadgesClient,
    BadgesError,
    BasicAuth,
    ConnectionLostError,
    InvalidInputError,
    OAuth,
    SessionManager,
)
from badges_async.messages import Reply, Request
from tests.answers import envelope, held
from tests.client.byte_server import ByteServer, Exchange, answer, http, until
from tests.client.certificates import server_context, trusting_context
from tests.client.leftovers import leaving_nothing

AUTH = BasicAuth("till.demo", "s3cret-Pass")
BADGE = "69381220cebb9648d8974518"
GET = Request("get_badge", BADGE, "GET", "/b?c=d")
POST = Request("claim", BADGE, "POST", "/b/claim", b'{"ownerType": "Loyalty"}')
WELL = answer(http(b"{}"))


async def send(manager: SessionManager, request: Request = POST, **options: Any) -> Reply:
    return await manager.send(request, AUTH.headers(), **{"seconds": 5.0, **options})


# Heads


def parts(exchange: Exchange) -> tuple[str, dict[str, str], bytes]:
    """Give the request line, the header fields and the body."""
    line, *lines = exchange.head.strip().split("\r\n")
    parted = [text.partition(": ") for text in lines]
    fields = {name.lower(): value for name, _, value in parted}
    assert len(fields) == len(lines), "a field came twice"
    return line, fields, exchange.body


@pytest.mark.parametrize("host", ["127.0.0.1", "localhost", "LocalHost", "[::1]"])
@pytest.mark.parametrize("request_", [GET, POST], ids=["get", "post"])
async def test_both_lanes_write_the_same_to_each_host(host: str, request_: Request) -> None:
    async with ByteServer(WELL) as server:
        listening, port = None, server.port
        if host == "[::1]":
            try:
                listening = await asyncio.start_server(server._serve, "::1", 0)  # noqa: SLF001
            except OSError:
                pytest.skip("no IPv6 here")
            port = listening.sockets[0].getsockname()[1]
        for lane in ("session", "wire"):
            async with SessionManager(f"http://{host}:{port}", lane=lane) as manager:
                await send(manager, request_)
        if listening is not None:
            listening.close()
    by_session, by_wire = map(parts, server.seen)
    assert by_wire == by_session
    assert by_wire[1]["host"] == f"{host.lower()}:{port}"


@pytest.mark.parametrize(
    "credentials",
    [
        {},
        {"X-CAP-API-OAUTH-TOKEN": "t~1"},
        {"X-Name": "\u00e9\t~"},
        {"accept": "text/x", "user-agent": "me", "ACCEPT-ENCODING": "identity"},
        {"Host": "other.example.com", "Connection": "close"},
    ],
)
async def test_both_lanes_write_the_same_with_any_credentials(credentials: dict[str, str]) -> None:
    async with ByteServer(WELL) as server:
        for lane in ("session", "wire"):
            async with SessionManager(server.url, lane=lane) as manager:
                await manager.send(POST, credentials, seconds=5)
    by_session, by_wire = map(parts, server.seen)
    assert by_wire == by_session


@pytest.mark.parametrize("kind", [BasicAuth, OAuth])
async def test_both_lanes_ask_the_same_of_the_service(kind: type[BasicAuth | OAuth]) -> None:
    async def serve(exchange: Exchange) -> None:
        token = {"accessToken": "t", "ttlSeconds": 600}
        body = envelope(token) if "token" in exchange.line else envelope(held(referenceId="1"))
        await exchange.say(http(body))

    seen = []
    async with ByteServer(serve) as server:
        for lane in ("session", "wire"):
            server.seen.clear()
            async with BadgesClient(server.url, kind("a", "b"), lane=lane) as client:
                await client.claim(BADGE, "Loyalty", "1")
                await client.claim(BADGE, "Loyalty", "1")
            seen.append([parts(exchange) for exchange in server.seen])
    assert seen[0] == seen[1]
    assert len(seen[0]) == (2 if kind is BasicAuth else 3)


# Nothing is smuggled


@pytest.mark.parametrize(
    "target",
    ["/a b", "/a\r\nX: 1", "/a\n", "/a\x00", "/a\x7f", "/\u00fc", "a", "http://x/", "/\t", ""],
)
async def test_a_target_that_would_end_early_is_refused(target: str) -> None:
    request = Request("get_badge", BADGE, "GET", target)
    async with ByteServer(WELL) as server, SessionManager(server.url, lane="wire") as manager:
        with pytest.raises(InvalidInputError, match="percent-encoded"):
            await send(manager, request)
        assert server.accepted == 0


@pytest.mark.parametrize(
    "field",
    [
        ("X", "a\r\nY: 1"),
        ("X", "a\nb"),
        ("X", "a\x00"),
        ("X", "\x01"),
        ("X\r\nY", "1"),
        ("X", "\ud800"),
    ],
)
@leaving_nothing
async def test_a_field_that_would_end_early_is_refused(field: tuple[str, str]) -> None:
    async with ByteServer(WELL) as server, SessionManager(server.url, lane="wire") as manager:
        for _ in range(2):  # what was refused is not kept for the next
            with pytest.raises(InvalidInputError, match="header field"):
                await manager.send(GET, dict([field]), seconds=5)
        assert server.accepted == 0
        await send(manager)


# Connections


@leaving_nothing
async def test_what_served_last_goes_first() -> None:
    meet = asyncio.Barrier(3)

    async def together(exchange: Exchange) -> None:
        if exchange.line.startswith("POST"):
            await meet.wait()
        await exchange.say(http(b"%d" % exchange.connection))

    async with (
        ByteServer(together) as server,
        SessionManager(server.url, lane="wire") as manager,
    ):
        replies = await asyncio.gather(*(send(manager) for _ in range(3)))
        assert sorted(reply.body for reply in replies) == [b"1", b"2", b"3"]
        last = {(await send(manager, GET)).body for _ in range(5)}
        assert len(last) == 1
        assert server.accepted == 3


async def test_what_is_at_rest_for_15_seconds_is_ended(monkeypatch: pytest.MonkeyPatch) -> None:
    loop = asyncio.get_running_loop()
    clock, timers = loop.time, []
    ahead = 0.0
    call_later, call_at = loop.call_later, loop.call_at

    def later(delay: float, callback: Callable[[], None], *args: Any) -> asyncio.TimerHandle:
        timers.append((loop.time() + delay, callback))
        return call_later(delay + 1000, callback, *args)

    def at(when: float, callback: Callable[[], None], *args: Any) -> asyncio.TimerHandle:
        timers.append((when, callback))
        return call_at(when + 1000, callback, *args)

    async with ByteServer(WELL) as server, SessionManager(server.url, lane="wire") as manager:
        await send(manager)  # opens, and its deadline has a timer
        monkeypatch.setattr(loop, "time", lambda: clock() + ahead)
        monkeypatch.setattr(loop, "call_later", later)
        monkeypatch.setattr(loop, "call_at", at)
        wire: Any = manager._by_wire  # noqa: SLF001
        began = loop.time()
        assert wire._sweeper.when() - began == pytest.approx(15, abs=0.5)  # noqa: SLF001
        ahead = 14.5
        wire._sweep()  # noqa: SLF001 - as its timer does
        [(when, sweep)] = timers
        assert when - began == pytest.approx(15, abs=0.5)
        assert server.open == 1
        ahead = 15.5
        sweep()
        await until(lambda: server.open == 0)
        assert len(timers) == 1  # nothing is at rest, so nothing is to be looked at
        monkeypatch.undo()
        await send(manager)
        assert server.accepted == 2
        sweeper = wire._sweeper  # noqa: SLF001
        assert sweeper.when() - loop.time() == pytest.approx(15, abs=0.5)
        await send(manager)
        assert wire._sweeper is sweeper, "one timer for all"  # noqa: SLF001


@pytest.mark.usefixtures("lane")
@leaving_nothing
async def test_no_more_connections_than_allowed_though_each_is_to_be_fresh() -> None:
    async with (
        ByteServer(WELL) as server,
        SessionManager(server.url, max_connections=2) as manager,
    ):
        await asyncio.gather(send(manager), send(manager))
        for _ in range(4):
            await asyncio.gather(*(send(manager, fresh=True) for _ in range(2)))
            await until(lambda: server.open <= 2)
    assert server.accepted == 10


async def busy(exchange: Exchange) -> None:
    if exchange.line.startswith("POST"):
        await exchange.hang()
    await exchange.say(http(b"{}"))


@pytest.mark.usefixtures("lane")
@leaving_nothing
async def test_closing_ends_what_is_out_and_what_is_at_rest() -> None:
    async with ByteServer(busy) as server:
        manager = SessionManager(server.url)
        await asyncio.gather(send(manager, GET), send(manager, GET))
        calls = [asyncio.create_task(send(manager, seconds=60)) for _ in range(3)]
        await until(lambda: len(server.seen) == 5)
        began = time.monotonic()
        await manager.close()
        ended = await asyncio.gather(*calls, return_exceptions=True)
        assert time.monotonic() - began < 2
        assert {type(error) for error in ended} == {ConnectionLostError}
        await until(lambda: server.open == 0)


def never_end_tls(listening: socket.socket, context: ssl.SSLContext, done: Event) -> None:
    """Answer the GET of a first connection, nothing else; never answer the end of one."""
    with ExitStack() as sockets, suppress(OSError):
        for _ in range(2):
            raw, _ = listening.accept()
            raw.settimeout(5)
            sock = sockets.enter_context(context.wrap_socket(raw, server_side=True))
            if b"GET" in sock.recv(65_536):
                sock.sendall(http(b"{}"))
        done.wait(10)


@pytest.mark.usefixtures("lane")
async def test_closing_does_not_wait_for_a_tls_peer_that_never_ends(tmp_path: Path) -> None:
    done = Event()
    with socket.create_server(("127.0.0.1", 0)) as listening:
        listening.settimeout(5)
        thread = Thread(target=never_end_tls, args=(listening, server_context(tmp_path), done))
        thread.start()
        try:
            url = f"https://127.0.0.1:{listening.getsockname()[1]}"
            manager = SessionManager(url, ssl=trusting_context())
            call = asyncio.create_task(send(manager, seconds=60))
            await send(manager, GET)
            began = time.monotonic()
            await manager.close()
            with pytest.raises(BadgesError):
                await call
            assert time.monotonic() - began < 2.5
        finally:
            done.set()
            await asyncio.to_thread(thread.join)
