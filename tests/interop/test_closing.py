"""Servers that end connections which a client would like to keep."""

from __future__ import annotations

import asyncio

import pytest

from badges_async import BadgesClient, BasicAuth, RetryPolicy
from badges_async.sandbox import Sandbox
from tests.interop.configurations import Settings
from tests.interop.servers import Server
from tests.interop.tap import Tap
from tests.interop.work import BADGE, arrived, as_held, make_requests

pytestmark = pytest.mark.usefixtures("lane")

FEW = pytest.mark.parametrize("settings", [Settings(requests=3)], ids=["3-requests"])
SHORT = pytest.mark.parametrize("settings", [Settings(idle=300)], ids=["300-ms"])
ONCE = RetryPolicy(max_attempts=1)


@FEW
async def test_a_connection_that_serves_three_requests_is_left_in_time(
    tap: Tap, badges_sandbox: Sandbox, auth: BasicAuth
) -> None:
    badges_sandbox.add_badges([BADGE])
    async with BadgesClient(tap.url, auth, retry=ONCE) as client:
        results = [await client.claim(BADGE, "Loyalty", f"card {n}") for n in range(20)]
    assert {(result.attempts, result.already_claimed) for result in results} == {(1, False)}
    assert arrived(badges_sandbox) == [(BADGE, "Loyalty", f"card {n}") for n in range(20)]
    served = [len(connection.heads) for connection in tap.connections]
    # HAProxy's table counts a connection's requests, lighttpd those after the first.
    assert sum(served) == 20
    assert max(served) <= 4
    assert len(served) >= 5


@FEW
async def test_a_bulk_run_goes_on_over_connections_that_end(
    server: Server, badges_sandbox: Sandbox, auth: BasicAuth
) -> None:
    requests = make_requests(badges_sandbox, 150)
    async with BadgesClient(server.url, auth) as client:
        report = await client.claim_all(requests, concurrency=8, outage_patience=5)
    assert (report.claimed, report.total, report.retries) == (150, 150, 0)
    assert sorted(arrived(badges_sandbox)) == sorted(as_held(requests))


@pytest.mark.slow
@SHORT
async def test_connections_that_were_closed_while_idle_are_not_missed(
    tap: Tap, badges_sandbox: Sandbox, auth: BasicAuth
) -> None:
    requests = make_requests(badges_sandbox, 40)
    async with BadgesClient(tap.url, auth) as client:
        badges_sandbox.hold()  # so that each of the first claims has a connection
        run = asyncio.create_task(client.claim_all(requests[:4], concurrency=4))
        await badges_sandbox.wait_for_requests(4)
        badges_sandbox.release()
        first = await run
        await asyncio.gather(*(connection.ended.wait() for connection in tap.connections))
        opened = len(tap.connections)
        second = await client.claim_all(requests[4:], concurrency=4, outage_patience=5)
    assert (first.claimed, second.claimed, second.already_claimed) == (4, 36, 0)
    assert sorted(arrived(badges_sandbox)) == sorted(as_held(requests))
    assert (opened, len(tap.connections) > opened) == (4, True)
