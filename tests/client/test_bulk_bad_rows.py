"""Rows that fail whatever is done, among others and alone: they end, and hold nobody up."""

from __future__ import annotations

import asyncio
import random
from collections import Counter
from collections.abc import AsyncIterator

import pytest

from badges_async import ClaimRequest, ClaimStatus, Timeout
from badges_async.messages import Reply
from tests.client.scripted import (
    ScriptedTransport,
    Sent,
    Step,
    claim_each,
    hang,
    html,
    lost_before,
    make_client,
    make_rows,
    refused,
    well,
)
from tests.virtual_clock import START, now, on_virtual_clock

CLAIMED, FAILED = ClaimStatus.CLAIMED, ClaimStatus.FAILED


def with_bad_rows(bad: set[str], trouble: Step) -> ScriptedTransport:
    def answer(sent: Sent) -> Reply:
        claims = sent.request.operation == "claim"
        reply = (trouble if claims and sent.key[0] in bad else well)(sent)
        assert isinstance(reply, Reply)
        return reply

    return ScriptedTransport(then=answer)


@pytest.mark.parametrize("trouble", [html(502), lost_before, refused(500, 1)])
@pytest.mark.parametrize("concurrency", [1, 4, 16])
@pytest.mark.parametrize("place", ["first", "last", "scattered", "all over"])
@on_virtual_clock
async def test_bad_rows_fail_and_hold_nobody_up(
    trouble: Step, concurrency: int, place: str
) -> None:
    rows = make_rows(400)
    bad = {
        "first": rows[:40],
        "last": rows[-40:],
        "scattered": random.Random(7).sample(rows, 40),  # noqa: S311 - a schedule
        "all over": rows[::2],
    }[place]
    service = with_bad_rows({row.badge_id for row in bad}, trouble)

    outcomes = await claim_each(make_client(service), rows, concurrency=concurrency)

    assert Counter(outcome.request for outcome in outcomes) == Counter(rows)
    assert {o.request for o in outcomes if o.status is FAILED} == set(bad)
    assert {o.status for o in outcomes} == {CLAIMED, FAILED}
    # Within the patience by far, and without hammering: some attempts each, and probes.
    assert now() - START < 60 + 8 * len(bad) / concurrency
    assert len(service.sent) < 360 + len(bad) * 12 + 50


@pytest.mark.parametrize("count", [1, 5, 40])
@pytest.mark.parametrize("concurrency", [1, 16])
@on_virtual_clock
async def test_bad_rows_alone_fail_where_the_service_answers_other_questions(
    count: int, concurrency: int
) -> None:
    rows = make_rows(count)
    service = with_bad_rows({row.badge_id for row in rows}, html(502))

    outcomes = await claim_each(make_client(service), rows, concurrency=concurrency)

    assert Counter(outcome.request for outcome in outcomes) == Counter(rows)
    assert {outcome.status for outcome in outcomes} == {FAILED}
    assert now() - START < 120 + 8 * count / concurrency


@pytest.mark.parametrize("concurrency", [2, 8])
@on_virtual_clock
async def test_where_all_in_hand_are_bad_the_next_row_shows_that_the_service_is_up(
    concurrency: int,
) -> None:
    async def source() -> AsyncIterator[ClaimRequest]:
        for row in make_rows(100):
            yield row

    service = with_bad_rows({row.badge_id for row in make_rows(concurrency)}, lost_before)
    claimed: list[float] = []
    async with make_client(service).claim_many(source(), concurrency=concurrency) as run:
        async for outcome in run:
            claimed += [now() - START] * (outcome.status is CLAIMED)

    # To ask for a badge takes more than ten seconds of probes with the bad ones.
    assert min(claimed) < 3
    assert len(claimed) == 100 - concurrency


@pytest.mark.parametrize("concurrency", [2, 8])
@on_virtual_clock
async def test_the_row_that_shows_it_needs_no_place_among_those_that_were_cut(
    concurrency: int,
) -> None:
    """Rows that hang cut the width, and those who probe with them keep what places are left."""

    async def source() -> AsyncIterator[ClaimRequest]:
        for row in make_rows(100):
            yield row
            await asyncio.sleep(0.1)

    async def answer(sent: Sent) -> Reply:
        bad = int(sent.key[0], 16) < concurrency and sent.request.operation == "claim"
        return await hang(sent) if bad else well(sent)

    client = make_client(ScriptedTransport(then=answer), timeout=Timeout(attempt=5.0))
    claimed: list[float] = []
    async with client.claim_many(source(), concurrency=concurrency) as run:
        async for outcome in run:
            claimed += [now() - START] * (outcome.status is CLAIMED)

    assert min(claimed) < 20
    assert len(claimed) == 100 - concurrency


@on_virtual_clock
async def test_a_row_that_hangs_its_connection_fails_alone() -> None:
    bad, *rows = make_rows(300)

    async def answer(sent: Sent) -> Reply:
        return await hang(sent) if sent.key[0] == bad.badge_id else well(sent)

    service = ScriptedTransport(then=answer)
    outcomes = await claim_each(make_client(service), [bad, *rows], concurrency=4)

    assert [o.request for o in outcomes if o.status is FAILED] == [bad]
    assert now() - START < 60 + 15 + 1


@on_virtual_clock
async def test_rows_that_cannot_be_sent_wait_for_a_consumer_that_does_not_come() -> None:
    """However long a source takes for each of them, no more are pulled than have room."""
    pulled = 0

    async def source() -> AsyncIterator[ClaimRequest]:
        nonlocal pulled
        for number in range(100):
            await asyncio.sleep(0.001)
            pulled += 1
            yield ClaimRequest("..", "Loyalty", str(number))

    service = ScriptedTransport()
    async with make_client(service).claim_many(source(), concurrency=4) as run:
        await asyncio.sleep(10)
        assert pulled < 20
        outcomes = [outcome async for outcome in run]
    assert Counter(outcome.status for outcome in outcomes) == {ClaimStatus.REJECTED: 100}
    assert service.sent == []
