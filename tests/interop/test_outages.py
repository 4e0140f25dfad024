"""A server whose upstream is gone: what its own error page is taken for, and what comes after."""

from __future__ import annotations

import asyncio

import pytest

from badges_async import (
    AttemptEvent,
    BadgesClient,
    BasicAuth,
    ClaimRequest,
    RetryPolicy,
    UnreadableReplyError,
)
from badges_async.sandbox import Sandbox
from tests.interop.servers import Server
from tests.interop.work import BADGE, arrived, as_held, make_requests

pytestmark = pytest.mark.usefixtures("lane")

# nginx answers 502 where the others answer 503; a request that was cut off is 502 everywhere but
# at lighttpd, which says 500 or 503.
GONE = {502, 503}
CUT_OFF = {500, 502, 503}
ONCE = RetryPolicy(max_attempts=1)
QUICK = RetryPolicy(base=0.01, cap=0.02)


@pytest.mark.slow
async def test_an_error_page_is_no_answer_and_the_next_claim_gets_one(
    server: Server, badges_sandbox: Sandbox, auth: BasicAuth
) -> None:
    badges_sandbox.add_badges([BADGE])
    await badges_sandbox.stop_listening()
    async with BadgesClient(server.url, auth, retry=ONCE) as client:
        with pytest.raises(UnreadableReplyError) as caught:
            await client.claim(BADGE, "Loyalty", "Zoë")
    await badges_sandbox.start_listening()
    async with BadgesClient(server.url, auth, retry=QUICK) as client:
        # In bulk: lighttpd looks only once a second whether its upstream is back.
        asked = ClaimRequest(BADGE, "Loyalty", "Zoë")
        report = await client.claim_all([asked], outage_patience=10)
    error = caught.value
    # Nobody but the server knows that its upstream had not got the claim.
    assert (error.status in GONE, error.maybe_applied, error.attempts) == (True, True, 1)
    assert "<html" in error.body.lower()
    assert (report.claimed, report.total) == (1, 1)
    assert arrived(badges_sandbox) == [(BADGE, "Loyalty", "Zoë")]


async def test_a_claim_whose_answer_was_cut_off_is_recovered(
    server: Server, badges_sandbox: Sandbox, auth: BasicAuth
) -> None:
    requests = make_requests(badges_sandbox, 1)
    events: list[AttemptEvent] = []
    async with BadgesClient(server.url, auth, retry=QUICK, observers=[events.append]) as client:
        badges_sandbox.hold()
        run = asyncio.create_task(client.claim_all(requests, outage_patience=10))
        await badges_sandbox.wait_for_requests(1)
        await badges_sandbox.stop_listening()  # the claim stands, its answer is lost
        await badges_sandbox.start_listening()
        badges_sandbox.release()
        report = await run
    assert events[0].status in CUT_OFF
    assert (report.already_claimed, report.recovered, report.total) == (1, 1, 1)
    assert as_held(requests) <= badges_sandbox.claims


@pytest.mark.slow
async def test_a_bulk_run_waits_for_an_upstream_and_goes_on(
    server: Server, badges_sandbox: Sandbox, auth: BasicAuth
) -> None:
    requests = make_requests(badges_sandbox, 40)
    refused = asyncio.Event()

    def watch(event: AttemptEvent) -> None:
        if event.status in GONE:
            refused.set()

    async with BadgesClient(server.url, auth, retry=QUICK, observers=[watch]) as client:
        await badges_sandbox.stop_listening()
        run = asyncio.create_task(client.claim_all(requests, concurrency=8, outage_patience=20))
        await refused.wait()
        await badges_sandbox.start_listening()
        report = await run
    assert (report.claimed, report.total) == (40, 40)
    assert report.retries > 0
    assert sorted(arrived(badges_sandbox)) == sorted(as_held(requests))
