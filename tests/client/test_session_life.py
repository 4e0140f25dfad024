"""The session manager: what it opens, what it closes, and to whom it belongs."""

from __future__ import annotations

import asyncio
import gc
import subprocess
import sys
import textwrap
from collections.abc import Coroutine
from typing import Any

import aiohttp
import pytest

from badges_async import (
    BadgesClient,
    BadgesError,
    BasicAuth,
    ClaimRequest,
    ClientClosedError,
    ConnectionLostError,
    DeadlineError,
    InvalidInputError,
    RetryPolicy,
    SessionManager,
    Timeout,
)
from badges_async.messages import Reply, Request
from badges_async.sandbox import Fault, Sandbox
from tests.client.byte_server import ByteServer, Exchange, answer, http, until

BADGE = "69381220cebb9648d8974518"
GET = Request("get_badge", BADGE, "GET", f"/api_gateway/v1/badges/badgeMeta/{BADGE}")
AUTH = BasicAuth("till.demo", "s3cret-Pass")


async def send(manager: SessionManager, **options: Any) -> Reply:
    return await manager.send(GET, AUTH.headers(), seconds=5, **options)


@pytest.mark.usefixtures("lane")
async def test_it_opens_with_the_first_request_and_can_be_made_anywhere() -> None:
    """F094: made in a thread without a loop, it opens with its first request."""
    manager = await asyncio.to_thread(SessionManager, "http://127.0.0.1:1")
    await manager.close()  # nothing was opened

    async with Sandbox() as sandbox:
        lazy = SessionManager(sandbox.url)
        assert (await send(lazy)).status == 200
        await lazy.close()
        assert lazy.closed


def test_a_client_that_was_never_used_needs_no_loop_and_leaves_nothing() -> None:
    client = BadgesClient("badges.example.com", AUTH)
    del client
    gc.collect()


@pytest.mark.usefixtures("lane")
async def test_one_connection_serves_many_requests() -> None:
    async with ByteServer(answer(http(b"{}"))) as server, SessionManager(server.url) as manager:
        for _ in range(5):
            await send(manager)
        assert server.accepted == 1


@pytest.mark.usefixtures("lane")
async def test_closing_closes_the_connections_and_may_be_repeated() -> None:
    """F095: closed twice, and at once."""
    async with ByteServer(answer(http(b"{}"))) as server:
        async with SessionManager(server.url) as manager:
            await asyncio.gather(*(send(manager) for _ in range(4)))
            assert server.open == 4
        await until(lambda: server.open == 0)
        await manager.close()
        await asyncio.gather(manager.close(), manager.close())


@pytest.mark.usefixtures("lane")
async def test_no_more_connections_than_were_allowed() -> None:
    async def hang(exchange: Exchange) -> None:
        await exchange.hang()

    async with (
        ByteServer(hang) as server,
        BadgesClient(server.url, AUTH, max_connections=3) as client,
    ):
        calls = [asyncio.create_task(client.get_badge(BADGE)) for _ in range(10)]
        await until(lambda: len(server.seen) == 3)
        for _ in range(50):
            await asyncio.sleep(0)
        assert server.accepted == 3
        for call in calls:
            call.cancel()
        await asyncio.gather(*calls, return_exceptions=True)


@pytest.mark.usefixtures("lane")
async def test_after_closing_every_use_is_a_clear_error() -> None:
    """F095: used after it was closed."""
    async with Sandbox() as sandbox:
        async with BadgesClient(sandbox.url, AUTH) as client:
            await client.get_badge(BADGE)
        calls: list[Coroutine[Any, Any, object]] = [
            client.get_badge(BADGE),
            client.claim(BADGE, "Loyalty", "1"),
            client.unclaim(BADGE, "Loyalty", "1"),
            client.claim_all([ClaimRequest(BADGE, "Loyalty", "1")]),
            client.__aenter__(),
        ]
        for call in calls:
            with pytest.raises(ClientClosedError, match="the client is closed"):
                await call


@pytest.mark.usefixtures("lane")
def test_use_on_another_loop_is_a_clear_error() -> None:
    """F094: a client belongs to the loop of its first request, and says so elsewhere."""
    sandbox_client: list[BadgesClient] = []

    async def first() -> None:
        async with Sandbox() as sandbox:
            client = BadgesClient(sandbox.url, AUTH)
            await client.get_badge(BADGE)
            sandbox_client.append(client)

    async def second() -> None:
        (client,) = sandbox_client
        with pytest.raises(ClientClosedError, match="another event loop"):
            await client.get_badge(BADGE)
        with pytest.raises(ClientClosedError, match="another event loop"):
            await client.claim_all([])
        # Nor does closing touch what belongs to the other loop.
        await client.close()

    with asyncio.Runner() as runner:
        runner.run(first())
        asyncio.run(second())
        runner.run(sandbox_client[0].close())  # else aiohttp warns of a session left open


FORK = """
    import asyncio, os, sys
    from badges_async import BadgesClient, BasicAuth, ClientClosedError
    from badges_async.sandbox import Sandbox

    BADGE = "69381220cebb9648d8974518"

    async def in_the_child(client):
        try:
            await client.get_badge(BADGE)
        except ClientClosedError as error:
            assert "forked" in str(error), error
        else:
            raise AssertionError("the child used its parent's connection")
        await client.close()

    async def main():
        async with Sandbox() as sandbox:
            auth = BasicAuth("till.demo", "s3cret-Pass")
            async with BadgesClient(sandbox.url, auth, lane=sys.argv[1]) as client:
                await client.get_badge(BADGE)
                child = os.fork()
                if child == 0:
                    asyncio.events._set_running_loop(None)
                    try:
                        asyncio.run(in_the_child(client))
                    except BaseException as error:
                        print(repr(error), file=sys.stderr, flush=True)
                        os._exit(1)
                    os._exit(0)
                _, status = os.waitpid(child, 0)
                assert status == 0, status
                # The child's close did not end the connection that it shares with us.
                await client.get_badge(BADGE)
                assert len(sandbox.requests) == 2
        print("well")

    asyncio.run(main())
"""


@pytest.mark.skipif(not hasattr(__import__("os"), "fork"), reason="no fork here")
def test_use_after_a_fork_is_a_clear_error_and_spares_the_parents_connection(
    lane: str,
) -> None:
    ended = subprocess.run(  # noqa: S603 - our own script
        [sys.executable, "-W", "error", "-c", textwrap.dedent(FORK), lane],
        capture_output=True,
        text=True,
        check=False,
        timeout=25,
    )
    assert (ended.stdout, ended.stderr, ended.returncode) == ("well\n", "", 0)


# A session that was passed in, which is what the session lane is for


async def test_a_session_that_was_passed_in_is_used_and_never_closed() -> None:
    async with Sandbox() as sandbox, aiohttp.ClientSession() as session:
        async with BadgesClient(sandbox.url, AUTH, session=session) as client:
            await client.get_badge(BADGE)
        assert not session.closed
        async with session.get(f"{sandbox.url}/sandbox/state") as response:
            assert (await response.json())["requests"] == 1


async def test_a_session_that_was_passed_in_and_closed_is_a_clear_error() -> None:
    session = aiohttp.ClientSession()
    client = BadgesClient("http://127.0.0.1:1", AUTH, session=session)
    with pytest.raises(BadgesError):
        await client.get_badge(BADGE, timeout=0.2)
    await session.close()

    with pytest.raises(ClientClosedError, match="the session that was passed in is closed"):
        await client.get_badge(BADGE)


async def test_the_deadlines_hold_on_a_session_that_was_passed_in() -> None:
    loop = asyncio.get_running_loop()
    async with (
        Sandbox(faults=[Fault.HANG_BEFORE] * 9) as sandbox,
        aiohttp.ClientSession(timeout=aiohttp.ClientTimeout(total=0.01)) as session,
    ):
        client = BadgesClient(
            sandbox.url,
            AUTH,
            session=session,
            timeout=Timeout(attempt=0.3),
            retry=RetryPolicy(max_attempts=1),
        )
        began = loop.time()
        call = asyncio.create_task(client.get_badge(BADGE))
        await sandbox.wait_for_requests(1)
        await client.close()  # ends no call on a session that is not ours
        with pytest.raises(DeadlineError):
            await call
        assert 0.3 <= loop.time() - began <= 0.55


# Closing while calls are on their way


@pytest.mark.usefixtures("lane")
async def test_calls_on_their_way_end_when_the_client_is_closed() -> None:
    """F095: calls that are in flight when the client is closed are in doubt."""
    async with Sandbox(faults=[Fault.HANG_AFTER] * 9) as sandbox:
        client = BadgesClient(sandbox.url, AUTH, retry=RetryPolicy(base=0))
        calls = [
            asyncio.create_task(client.claim(BADGE, "Loyalty", str(number))) for number in range(3)
        ]
        await sandbox.wait_for_requests(3)
        await client.close()
        results = await asyncio.gather(*calls, return_exceptions=True)

    assert {type(result) for result in results} <= {ConnectionLostError, ClientClosedError}
    assert all(isinstance(result, BadgesError) and result.maybe_applied for result in results)
    assert len(sandbox.requests) == 3


@pytest.mark.parametrize("lane", ["", "fast", "Session", None])
def test_a_lane_that_nobody_knows_is_refused(lane: str) -> None:
    with pytest.raises(InvalidInputError, match="lane"):
        SessionManager("badges.example.com", lane=lane)


@pytest.mark.parametrize("number", [0, -1, True, 2.0, "5"])
def test_a_number_of_connections_that_makes_no_sense_is_refused(number: int) -> None:
    with pytest.raises(InvalidInputError, match="max_connections"):
        SessionManager("badges.example.com", max_connections=number)


@pytest.mark.parametrize("ssl", [False, True, "no"])
def test_verification_cannot_be_switched_off_by_a_flag(ssl: Any) -> None:
    with pytest.raises(InvalidInputError, match="SSLContext"):
        SessionManager("badges.example.com", ssl=ssl)


async def test_a_connection_that_does_not_close_keeps_nobody_for_long(
    monkeypatch: pytest.MonkeyPatch, caplog: pytest.LogCaptureFixture
) -> None:
    own_close = aiohttp.ClientSession.close

    async def close(session: aiohttp.ClientSession) -> None:
        await own_close(session)
        await asyncio.Event().wait()

    monkeypatch.setattr("badges_async.session._CLOSING_SECONDS", 0.01)
    monkeypatch.setattr(aiohttp.ClientSession, "close", close)
    manager = SessionManager("badges.example.com")
    manager.ensure_usable()
    await manager.close()
    assert "a connection did not close within 0.01 s" in caplog.text
