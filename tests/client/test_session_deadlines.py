"""How long an exchange may take: the attempt, the connection, and closing."""

from __future__ import annotations

import asyncio
import socket
import time
from collections.abc import Iterator
from typing import Any

import pytest

from badges_async import (
    BadgesClient,
    BasicAuth,
    ConnectError,
    DeadlineError,
    RetryPolicy,
    SessionManager,
    Timeout,
)
from badges_async.messages import Reply, Request
from badges_async.sandbox import Fault, Sandbox
from tests.client.black_hole import black_hole
from tests.client.byte_server import Answer, ByteServer, Exchange, answer, http, until
from tests.virtual_clock import START, now, on_virtual_clock

pytestmark = pytest.mark.usefixtures("lane")

BADGE = "69381220cebb9648d8974518"
POST = Request("claim", BADGE, "POST", f"/api_gateway/v1/badges/badgeMeta/{BADGE}/claim", b"{}")
AUTH = BasicAuth("till.demo", "s3cret-Pass")
LATE = 0.25
EARLY = 0.002  # uvloop's clock has whole milliseconds, and is read once in a turn


async def send(manager: SessionManager, seconds: float) -> Reply:
    return await manager.send(POST, AUTH.headers(), seconds=seconds)


@pytest.fixture
def nowhere() -> Iterator[int]:
    """Give a port that answers no knock."""
    with black_hole() as port:
        yield port


async def stall_after_the_head(exchange: Exchange) -> None:
    await exchange.say(http(b"", length=10))
    await exchange.hang()


async def drip(exchange: Exchange) -> None:
    await exchange.say(http(b"", length=100_000))
    while not exchange.writer.is_closing():
        await exchange.say(b"x")
        await asyncio.sleep(0.02)


async def drip_the_head(exchange: Exchange) -> None:
    await exchange.say(b"HTTP/1.1 200 OK\r\n")
    while not exchange.writer.is_closing():
        await exchange.say(b"X-A: 1\r\n")
        await asyncio.sleep(0.02)


async def say_nothing(exchange: Exchange) -> None:
    await exchange.hang()


@pytest.mark.parametrize("step", [say_nothing, stall_after_the_head, drip, drip_the_head])
async def test_an_attempt_ends_when_its_time_is_over(step: Answer) -> None:
    """F015, F016, F017: also where each byte comes in time, and whatever was said before."""
    async with ByteServer(step) as server, SessionManager(server.url) as manager:
        began = time.monotonic()
        with pytest.raises(DeadlineError, match=r"no whole answer within 0\.3 s") as caught:
            await send(manager, 0.3)
        took = time.monotonic() - began
        assert 0.3 - EARLY <= took <= 0.3 + LATE
        assert caught.value.maybe_applied
        # Its connection is not used again: who knows what would still come on it.
        await until(lambda: server.open == 0)


@pytest.mark.slow
@pytest.mark.parametrize("fault", [Fault.HANG_BEFORE, Fault.HANG_AFTER, Fault.STALLED])
async def test_a_hang_of_the_service_is_recovered_from(fault: Fault) -> None:
    """F016, F017: whether the claim took effect or not."""
    async with (
        Sandbox(faults=[fault]) as sandbox,
        BadgesClient(sandbox.url, AUTH, timeout=Timeout(attempt=0.3)) as client,
    ):
        result = await client.claim(BADGE, "Loyalty", "1")
    assert (result.attempts, result.already_claimed) == (2, fault.commits)


async def test_an_attempt_that_ends_in_time_leaves_its_connection_usable() -> None:
    async with ByteServer(answer(http(b"{}"))) as server, SessionManager(server.url) as manager:
        await send(manager, 0.2)
        await asyncio.sleep(0.25)  # past the bound of the first
        await send(manager, 0.2)
        assert server.accepted == 1


async def test_a_connection_that_takes_too_long_was_never_reached(nowhere: int) -> None:
    """F004: a knock that nobody answers is given up in time, and nothing was sent."""
    manager = SessionManager(f"http://127.0.0.1:{nowhere}", timeout=Timeout(connect=0.3))
    async with manager:
        began = time.monotonic()
        with pytest.raises(ConnectError, match=r"could not connect within 0\.3 s") as caught:
            await send(manager, 5)
        assert 0.3 - EARLY <= time.monotonic() - began <= 0.3 + LATE
    assert not caught.value.maybe_applied


async def test_an_attempt_that_ends_while_connecting_was_never_sent(nowhere: int) -> None:
    manager = SessionManager(f"http://127.0.0.1:{nowhere}", timeout=Timeout(connect=4))
    async with manager:
        began = time.monotonic()
        with pytest.raises(DeadlineError, match=r"no connection within 0\.3 s") as caught:
            await send(manager, 0.3)
        assert time.monotonic() - began <= 0.3 + LATE
    assert not caught.value.maybe_applied


async def test_a_tls_handshake_counts_as_connecting() -> None:
    """F006: a peer that takes the connection and never shakes hands was never reached."""
    with socket.socket() as silent:
        silent.bind(("127.0.0.1", 0))
        silent.listen()
        url = f"https://127.0.0.1:{silent.getsockname()[1]}"
        async with SessionManager(url, timeout=Timeout(connect=0.3)) as manager:
            began = time.monotonic()
            with pytest.raises(ConnectError) as caught:
                await send(manager, 5)
            assert time.monotonic() - began <= 0.3 + LATE
    assert (caught.value.maybe_applied, caught.value.certificate_refused) == (False, False)


@pytest.mark.parametrize("connect", [0.7, 5.3, 11.9])
@on_virtual_clock
async def test_the_bound_of_a_connection_is_not_rounded(connect: float) -> None:
    # aiohttp would round what is above five seconds up to a whole one.
    loop = asyncio.get_running_loop()

    async def never(*_: Any, **__: Any) -> Any:
        await loop.create_future()

    loop.getaddrinfo = never  # type: ignore[method-assign]
    async with SessionManager("badges.example.com", timeout=Timeout(connect=connect)) as manager:
        with pytest.raises(ConnectError):
            await send(manager, 60)
        assert now() == START + connect


@pytest.mark.parametrize("seconds", [0.7, 5.3, 11.9])
@on_virtual_clock
async def test_the_bound_of_an_attempt_is_not_rounded(seconds: float) -> None:
    loop = asyncio.get_running_loop()

    async def never(*_: Any, **__: Any) -> Any:
        await loop.create_future()

    loop.getaddrinfo = never  # type: ignore[method-assign]
    manager = SessionManager("badges.example.com", timeout=Timeout(connect=60))
    async with manager:
        with pytest.raises(DeadlineError):
            await send(manager, seconds)
        assert now() == START + seconds


async def test_a_slow_answer_to_one_call_does_not_hurt_another() -> None:
    async def odd_ones_hang(exchange: Exchange) -> None:
        if b"odd" in exchange.body:
            await exchange.hang()
        else:
            await exchange.say(
                http(b'{"data":{"ownerType":"Loyalty","referenceId":"even"},"errors":[]}')
            )

    async with (
        ByteServer(odd_ones_hang) as server,
        BadgesClient(
            server.url, AUTH, timeout=Timeout(attempt=0.3), retry=RetryPolicy(max_attempts=1)
        ) as client,
    ):
        calls = [client.claim(BADGE, "Loyalty", name) for name in ["odd", "even"] * 5]
        results = await asyncio.gather(*calls, return_exceptions=True)

    assert [isinstance(result, DeadlineError) for result in results] == [True, False] * 5
