"""
A service, or what stands in front of it, that says the same to everybody.

Here: when a run stops sending for it, and what that costs. Not here: one row among others that go
well (`test_foreign_answers`, `test_refusals`), or services that cannot be reached.
"""

from __future__ import annotations

from collections.abc import Callable

import pytest

from badges_async import (
    APIError,
    BadgesClient,
    BasicAuth,
    ClaimOutcome,
    ClaimStatus,
    DeadlineError,
    OutageError,
    RetryPolicy,
    ServerError,
    UnreadableReplyError,
)
from badges_async.messages import Reply
from tests.answers import HTML, gateway
from tests.client.byte_server import ByteServer, answer, http
from tests.client.scripted import (
    ScriptedTransport,
    Sent,
    Step,
    claim_each,
    html,
    make_client,
    make_rows,
    refused,
    well,
)
from tests.virtual_clock import START, now, on_virtual_clock

BADGE = "662749408fe258516a88fe89"
WORKERS = 4


TO_ANY = [405, 406, 415, 421, 501, 505, 599]
TO_EVERYBODY = [
    *(pytest.param(html(status), id=f"{status} page") for status in (200, 302, 418, *TO_ANY)),
    *(pytest.param(refused(status), id=f"{status} bare") for status in TO_ANY),
    *(pytest.param(refused(status, 1), id=f"{status} code") for status in TO_ANY),
]


@pytest.mark.parametrize("step", TO_EVERYBODY)
@on_virtual_clock
async def test_what_everybody_is_told_closes_the_run_and_costs_no_row(step: Step) -> None:
    """F031, F036, F040, F044, F047, F051: after five in a row one claim at a time looks again."""

    def challenge(sent: Sent) -> Reply:
        reply = (step if sent.at < START + 60 else well)(sent)
        assert isinstance(reply, Reply)
        return reply

    service = ScriptedTransport(then=challenge)
    outcomes = await claim_each(make_client(service), make_rows(500), concurrency=WORKERS)

    assert {outcome.status for outcome in outcomes} == {ClaimStatus.CLAIMED}
    assert len(outcomes) == 500
    in_vain = [sent for sent in service.sent if sent.at < START + 60]
    claims = [sent for sent in in_vain if sent.request.operation == "claim"]
    # Five in a row and what is on the wire then; a minute of probes: 0.5, 1, 2 ... 30 s apart.
    assert 5 <= len(claims) <= 5 + WORKERS + 12
    assert len(in_vain) <= 2 * len(claims)


@pytest.mark.parametrize("say", [html, refused, lambda status: refused(status, 1)])
@pytest.mark.parametrize("status", [405, 415, 501, 505])
@on_virtual_clock
async def test_what_everybody_is_told_for_ever_ends_the_run(
    say: Callable[[int], Step], status: int
) -> None:
    """F040, F047: the catalogue ends it at once; it ends after `outage_patience`, rows open."""
    service = ScriptedTransport(then=say(status))
    seen: list[ClaimOutcome] = []

    with pytest.raises(OutageError) as caught:
        await make_client(service).claim_all(
            make_rows(500), concurrency=WORKERS, outage_patience=30, on_outcome=seen.append
        )

    assert isinstance(caught.value.__cause__, UnreadableReplyError | APIError)
    assert caught.value.__cause__.status == status
    assert seen == []
    assert now() - START < 40


@on_virtual_clock
async def test_a_pause_is_kept_by_every_worker() -> None:
    """F049: a 503 with Retry-After holds back all of a run; what is on the wire is not cut."""
    service = ScriptedTransport(*[refused(503, 4001, retry_after=20)])
    outcomes = await claim_each(make_client(service), make_rows(50), concurrency=WORKERS)

    assert {outcome.status for outcome in outcomes} == {ClaimStatus.CLAIMED}
    pause = START + 0.05, START + 0.05 + 20
    assert [sent for sent in service.sent if pause[0] < sent.at < pause[1]] == []
    assert len([time for time in service.times if time <= pause[0]]) <= 2 * WORKERS


@pytest.mark.usefixtures("lane")
@pytest.mark.parametrize("body", [gateway(503, 4001), HTML], ids=["gateway", "page"])
async def test_a_pause_is_heard_on_both_lanes(body: bytes) -> None:
    """F049: and kept by the next call, which has no time for it, without another request."""
    busy = http(body, "Retry-After: 30", status="503 Unavailable")
    async with (
        ByteServer(answer(busy)) as server,
        BadgesClient(server.url, BasicAuth("a", "b"), retry=RetryPolicy(base=0)) as client,
    ):
        ends: list[DeadlineError] = []
        for reference in ("1", "2"):
            with pytest.raises(DeadlineError) as caught:
                await client.claim(BADGE, "Loyalty", reference, timeout=20)
            ends.append(caught.value)
        assert len(server.seen) == 1
    assert [end.attempts for end in ends] == [1, 0]
    assert [end.maybe_applied for end in ends] == [True, False]
    assert isinstance(ends[0].__cause__, ServerError | UnreadableReplyError)
    assert all(end.retry_after is not None and end.retry_after > 20 for end in ends)
