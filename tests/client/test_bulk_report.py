"""What the report of a bulk run says, and what a run wants to be given."""

from __future__ import annotations

import asyncio
from collections import Counter

import pytest

from badges_async import (
    AttemptEvent,
    BulkReport,
    ClaimOutcome,
    ClaimRequest,
    ClaimStatus,
    InvalidInputError,
    RetryPolicy,
)
from badges_async.messages import Reply
from tests.answers import make_reply
from tests.client.scripted import (
    ScriptedTransport,
    Sent,
    Step,
    claim_each,
    html,
    lost_after,
    lost_before,
    make_client,
    make_rows,
    refused,
    well,
)
from tests.virtual_clock import START, now, on_virtual_clock


@on_virtual_clock
async def test_the_report_adds_up_what_was_yielded() -> None:
    rows = make_rows(60)
    steps: dict[str, Step] = {
        rows[0].badge_id: refused(400, 717),
        rows[1].badge_id: refused(400, 717),
        rows[2].badge_id: refused(404, 404),
        rows[3].badge_id: html(502),
        rows[4].badge_id: refused(409),
        rows[5].badge_id: lost_before,
    }

    def answer(sent: Sent) -> Reply:
        first = len(service.sent_for(by_badge[sent.key[0]])) == 1
        if sent.key[0] == rows[6].badge_id and first:
            return lost_after(sent)
        if sent.key[0] == rows[7].badge_id and first:
            return make_reply(429, b"", {"Retry-After": "3"})
        reply = steps.get(sent.key[0], well)(sent)
        assert isinstance(reply, Reply)
        return reply

    by_badge = {row.badge_id: row for row in rows}
    service = ScriptedTransport(then=answer)
    seen: list[ClaimOutcome] = []
    report = await make_client(service).claim_all(rows, concurrency=4, on_outcome=seen.append)

    assert report.counts == {**dict.fromkeys(ClaimStatus, 0), **Counter(o.status for o in seen)}
    assert (report.claimed, report.already_claimed, report.rejected, report.failed) == (53, 1, 3, 3)
    assert report.errors == {
        "717": 2,
        "404": 1,
        "HTTP 502": 1,
        "HTTP 409": 1,
        "ConnectionLostError": 1,
    }
    assert (report.recovered, report.unsettled, report.throttled, report.skipped) == (1, 0, 1, 0)
    assert report.retries == len(service.sent) - len(rows)
    assert report.total == 60
    assert report.elapsed == now() - START
    assert report.claims_per_second == pytest.approx(60 / report.elapsed)
    assert not report.ok


@on_virtual_clock
async def test_a_run_without_rows_is_well() -> None:
    report = await make_client(ScriptedTransport()).claim_all([])
    assert report == BulkReport(counts=dict.fromkeys(ClaimStatus, 0))
    assert report.ok


@on_virtual_clock
async def test_the_report_grows_while_the_run_goes_on() -> None:
    client = make_client(ScriptedTransport())
    async with client.claim_many(make_rows(6), concurrency=1) as run:
        totals = [run.report.total async for _ in run]
        assert all(total <= place + 3 for place, total in enumerate(totals))
        assert run.report.unsettled == 0
    assert run.report.claimed == 6


@on_virtual_clock
async def test_what_is_done_after_the_last_outcome_is_not_the_runs_time() -> None:
    async with make_client(ScriptedTransport()).claim_many(make_rows(10), concurrency=1) as run:
        outcomes = [outcome async for outcome in run]
        took = now() - START
        await asyncio.sleep(100)

    assert len(outcomes) == 10
    assert run.report.elapsed == took < 100


@on_virtual_clock
async def test_attempts_of_a_row_are_the_policys() -> None:
    odd, *others = make_rows(20)

    def answer(sent: Sent) -> Reply:
        return lost_before(sent) if sent.key[0] == odd.badge_id else well(sent)

    service = ScriptedTransport(then=answer)
    client = make_client(service, retry=RetryPolicy(max_attempts=2))

    outcomes = await claim_each(client, [odd, *others], concurrency=4)

    assert len(service.sent_for(odd)) == 2
    assert next(o for o in outcomes if o.request is odd).attempts == 2


@on_virtual_clock
async def test_observers_see_the_claims_of_a_run() -> None:
    events: list[AttemptEvent] = []
    client = make_client(ScriptedTransport(lost_before), observers=[events.append])

    await claim_each(client, make_rows(3), concurrency=1)

    assert [(event.operation, event.attempt, event.status) for event in events] == [
        ("claim", 1, None),
        ("claim", 2, 200),
        ("claim", 1, 200),
        ("claim", 1, 200),
    ]


@pytest.mark.parametrize("concurrency", [0, -1, 1.5, True, "4", None])
def test_a_concurrency_that_makes_no_sense_is_refused(concurrency: int) -> None:
    with pytest.raises(InvalidInputError, match="concurrency"):
        make_client(ScriptedTransport()).claim_many([], concurrency=concurrency)


@pytest.mark.parametrize("patience", [-1, float("nan"), True, "600"])
def test_a_patience_that_makes_no_sense_is_refused(patience: float) -> None:
    with pytest.raises(InvalidInputError, match="outage_patience"):
        make_client(ScriptedTransport()).claim_many([], outage_patience=patience)


@pytest.mark.parametrize("requests", [7, None, "662749408fe258516a88fe89", b"x"])
def test_what_is_no_iterable_of_requests_is_refused(requests: list[ClaimRequest]) -> None:
    with pytest.raises(InvalidInputError, match="iterable"):
        make_client(ScriptedTransport()).claim_many(requests)


@on_virtual_clock
async def test_a_run_is_for_one_time_and_for_async_with() -> None:
    run = make_client(ScriptedTransport()).claim_many(make_rows(1))
    with pytest.raises(InvalidInputError, match="async with"):
        await anext(run)
    async with run:
        pass
    with pytest.raises(InvalidInputError, match="once"):
        async with run:
            pass


@on_virtual_clock
async def test_runs_of_one_client_share_its_connections() -> None:
    service = ScriptedTransport()
    client = make_client(service, max_connections=3)

    await asyncio.gather(
        client.claim_all(make_rows(20), concurrency=8),
        client.claim_all(make_rows(20, start=20), concurrency=8),
    )

    assert service.peak == 3
    assert len(service.held) == 40
