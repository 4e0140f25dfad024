"""
Links that carry little, and peers that are slow to leave.

Here: that a run goes on or ends cleanly, holds little, and that closing does not wait. Not here:
answers that stop (`test_cut_answers`), or a service that is slow (`tests.client.test_width`).
"""

from __future__ import annotations

import asyncio
import os
from collections.abc import Iterator
from pathlib import Path

import pytest

from badges_async import (
    AttemptEvent,
    BadgesClient,
    BadgesError,
    BasicAuth,
    ClaimOutcome,
    ClaimRequest,
    ClaimStatus,
    DeadlineError,
    RetryPolicy,
    Timeout,
)
from badges_async.messages import Reply
from badges_async.sandbox import Sandbox
from tests.answers import envelope, held
from tests.catalogue.tcp_proxy import TcpProxy
from tests.client.byte_server import ByteServer, answer, http, until
from tests.client.certificates import server_context, trusting_context
from tests.client.scripted import ScriptedTransport, Sent, make_client, make_rows, well
from tests.virtual_clock import on_virtual_clock

BADGE = "69381220cebb9648d8974518"
AUTH = BasicAuth("till.demo", "s3cret-Pass")
KILOBYTE = 1000
EXCHANGE = 600  # bytes of a claim and its answer, heads included


@pytest.mark.parametrize(("concurrency", "late"), [(16, 0), (64, 0.2)])
@on_virtual_clock
async def test_a_run_fits_itself_to_a_link_of_a_kilobyte_a_second(
    concurrency: int, late: float
) -> None:
    """F020: what fits is all claimed; of what does not, some time out until fewer are asked for."""
    link = asyncio.Lock()
    rows, pulled, most_ahead = make_rows(500), 0, 0

    async def carry(sent: Sent) -> Reply:
        async with link:
            await asyncio.sleep(EXCHANGE / KILOBYTE)
        return well(sent)

    def pull() -> Iterator[ClaimRequest]:
        nonlocal pulled
        for row in rows:
            pulled += 1
            yield row

    service = ScriptedTransport(then=carry, latency=0.0)
    outcomes: list[ClaimOutcome] = []
    async with make_client(service).claim_many(pull(), concurrency=concurrency) as run:
        async for outcome in run:
            outcomes.append(outcome)
            most_ahead = max(most_ahead, pulled - len(outcomes))
    failed = [outcome for outcome in outcomes if outcome.status is ClaimStatus.FAILED]
    assert {outcome.request for outcome in outcomes} == set(rows)
    assert all(service.holds(each.request) for each in outcomes if each not in failed)
    assert all(isinstance(outcome.error, DeadlineError) for outcome in failed)
    assert len(failed) <= late * len(rows)
    assert len(service.sent) - len(rows) <= late * len(rows)
    # Rows are read as they can be sent, however slowly that is.
    assert most_ahead <= 2 * concurrency


@pytest.mark.usefixtures("lane")
async def test_an_answer_that_a_slow_link_does_not_carry_in_time_is_a_clean_timeout() -> None:
    """F020: it is asked for again as a claim in doubt, and read once there is time enough."""
    failed: list[BadgesError] = []

    def hear(event: AttemptEvent) -> None:
        if event.error is not None:
            failed.append(event.error)

    async with (
        Sandbox() as sandbox,
        TcpProxy(sandbox.url, bytes_per_second=KILOBYTE) as proxy,
        BadgesClient(
            proxy.url,
            AUTH,
            timeout=Timeout(attempt=0.1),
            retry=RetryPolicy(base=0),
            observers=[hear],
        ) as client,
        client.claim_many([ClaimRequest(BADGE, "Loyalty", "1")], outage_patience=60) as run,
    ):
        await until(lambda: bool(failed))
        proxy.bytes_per_second = None
        (end,) = [outcome async for outcome in run]
    assert {type(error) for error in failed} == {DeadlineError}
    assert all(error.maybe_applied for error in failed)
    assert (end.status, end.recovered) == (ClaimStatus.ALREADY_CLAIMED, True)
    assert end.attempts == len(failed) + 1


@pytest.mark.usefixtures("lane")
@pytest.mark.parametrize("tls", [False, True], ids=["plain", "TLS"])
async def test_closing_does_not_wait_for_a_peer_that_does_not_close(
    tmp_path: Path, *, tls: bool
) -> None:
    """F021: the peer is never told, nor tells: what is ours is given back all the same."""
    context = server_context(tmp_path) if tls else None
    trusted = trusting_context() if tls else None
    loop = asyncio.get_running_loop()
    well = answer(http(envelope(held(referenceId="1"))))
    async with ByteServer(well, tls=context) as server, TcpProxy(server.url) as proxy:
        before = _descriptors()
        client = BadgesClient(proxy.url, AUTH, ssl=trusted)
        await client.claim(BADGE, "Loyalty", "1")
        (link,) = proxy.links
        link.silent = True
        began = loop.time()
        await client.close()
        took = loop.time() - began
        await until(lambda: link.left)
        # Three of the four ends of the two connections are the proxy's and the server's.
        assert _descriptors() - before == 3
    assert took < 2.5


def _descriptors() -> int:
    return len(os.listdir("/proc/self/fd"))  # noqa: PTH208 - a path would open one more
