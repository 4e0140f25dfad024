"""The same claim several times in a run with a ledger: sent once, told each time."""

from __future__ import annotations

import asyncio
from collections import Counter
from collections.abc import AsyncIterator, Iterator
from pathlib import Path

import pytest

from badges_async import ClaimRequest, ClaimStatus, RetryPolicy
from badges_async.messages import Reply
from tests.client.ledgers import kept, make_ports
from tests.client.scripted import (
    ScriptedTransport,
    Sent,
    lost_before,
    make_rows,
    refused,
    take,
    unreachable,
    well,
)
from tests.ledger.support import Inline
from tests.virtual_clock import START, now, on_virtual_clock

CLAIMED, FAILED, REJECTED = ClaimStatus.CLAIMED, ClaimStatus.FAILED, ClaimStatus.REJECTED


def twin(row: ClaimRequest) -> ClaimRequest:
    """Give the same claim as another object."""
    return ClaimRequest(row.badge_id, row.owner_type, row.reference_id)


@pytest.mark.parametrize("concurrency", [1, 8])
@pytest.mark.parametrize("seconds", [0.0, 0.03])
@on_virtual_clock
async def test_each_gets_its_own_outcome_and_one_is_sent(
    tmp_path: Path, concurrency: int, seconds: float
) -> None:
    """F119: whichever line asks again; the report counts every line."""
    rows = make_rows(100)
    # In the same batch, at the same time in flight, and long after it was settled.
    asked = [*rows[:50], *map(twin, rows[:50]), *rows[50:], *map(twin, reversed(rows))]
    service = ScriptedTransport()
    ports = make_ports(service, executor=Inline(seconds))
    async with kept(tmp_path / "run.db", service, ports=ports) as (client, ledger):
        async with client.claim_many(asked, concurrency=concurrency, ledger=ledger) as run:
            outcomes = [outcome async for outcome in run]
        standing = await ledger.standing()

    assert len(service.sent) == 100
    assert Counter(id(outcome.request) for outcome in outcomes) == Counter(map(id, asked))
    assert {outcome.status for outcome in outcomes} == {CLAIMED}
    assert (run.report.claimed, run.report.unsettled) == (250, 0)
    assert standing.counts[CLAIMED] == standing.total == 100


@on_virtual_clock
async def test_claims_that_only_look_alike_are_claims_of_their_own(tmp_path: Path) -> None:
    """F123: blanks, case and the forms of Unicode are the service's to compare."""
    references = ["Zoë", "Zoe\u0308", "zoë", " Zoë", "Zoë ", "7", "07", "7.0"]
    rows = [ClaimRequest("badge", "Loyalty", reference) for reference in references]
    service = ScriptedTransport()

    async with kept(tmp_path / "run.db", service) as (client, ledger):
        report = await client.claim_all([*rows, *rows], ledger=ledger)
        standing = await ledger.standing()

    assert [sent.key[1] for sent in service.sent] == references
    assert (report.claimed, standing.total) == (16, 8)


@pytest.mark.parametrize("concurrency", [1, 8])
@on_virtual_clock
async def test_the_very_same_object_several_times(tmp_path: Path, concurrency: int) -> None:
    rows = make_rows(20)
    asked = [*rows, *rows, rows[3], rows[3], *reversed(rows)]
    service = ScriptedTransport()
    async with kept(tmp_path / "run.db", service) as (client, ledger):
        async with client.claim_many(asked, concurrency=concurrency, ledger=ledger) as run:
            outcomes = [outcome async for outcome in run]
        # Once more, after all are settled in an earlier run.
        report = await client.claim_all(asked, ledger=ledger)
    assert len(service.sent) == 20
    assert Counter(id(outcome.request) for outcome in outcomes) == Counter(map(id, asked))
    assert (run.report.total, run.report.unsettled, list(run.unsettled)) == (62, 0, [])
    assert (report.total, report.skipped) == (0, 62)


@pytest.mark.parametrize(("status", "codes"), [(REJECTED, (717,)), (FAILED, ())])
@on_virtual_clock
async def test_one_that_came_to_nothing_is_told_again_and_not_sent_again(
    tmp_path: Path, status: ClaimStatus, codes: tuple[int, ...]
) -> None:
    bad, *good = make_rows(200)

    def step(sent: Sent) -> Reply:
        if sent.key[0] != bad.badge_id or sent.request.operation != "claim":
            return well(sent)
        return refused(400 if codes else 500, *codes)(sent)  # type: ignore[return-value]

    service = ScriptedTransport(then=step)
    asked = [bad, twin(bad), *good, twin(bad), bad]
    async with (
        kept(tmp_path / "run.db", service, retry=RetryPolicy(2)) as (client, ledger),
        client.claim_many(asked, concurrency=4, ledger=ledger) as run,
    ):
        outcomes = [outcome async for outcome in run]
    told = [outcome for outcome in outcomes if outcome.status is status]
    assert Counter(id(each.request) for each in told) == Counter(map(id, [*asked[:2], *asked[-2:]]))
    assert len({str(each.error) for each in told}) == 1
    assert {each.attempts for each in told} == {len(service.sent_for(bad))}
    (key,) = run.report.errors
    assert run.report.errors[key] == 4


@pytest.mark.parametrize("same", [True, False])
@pytest.mark.parametrize("concurrency", [1, 4])
@on_virtual_clock
async def test_thousands_of_one_neither_block_nor_pile_up(
    tmp_path: Path, *, same: bool, concurrency: int
) -> None:
    (row,) = make_rows(1)
    pulled = done = most = 0

    def rows() -> Iterator[ClaimRequest]:
        nonlocal pulled
        for number in range(5000):
            pulled += 1
            yield row if same else ClaimRequest(row.badge_id, row.owner_type, row.reference_id)
            if number % 1000 == 0:
                yield from make_rows(1, start=number + 1)

    service = ScriptedTransport(then=take(5.0))
    async with (
        kept(tmp_path / "run.db", service) as (client, ledger),
        client.claim_many(rows(), concurrency=concurrency, ledger=ledger) as run,
    ):
        async for _ in run:
            done += 1
            most = max(most, pulled - done)
    assert done == 5005
    assert len(service.sent) == 6
    assert most < 10 * 64


@pytest.mark.parametrize("concurrency", [1, 2, 8])
@on_virtual_clock
async def test_thousands_of_one_while_the_first_waits_for_a_service_that_is_down(
    tmp_path: Path, concurrency: int
) -> None:
    def step(sent: Sent) -> Reply:
        return unreachable(sent) if now() < START + 100 else well(sent)

    (row,) = make_rows(1)
    service = ScriptedTransport(then=step)
    asked = [twin(row) for _ in range(3000)]
    async with kept(tmp_path / "run.db", service) as (client, ledger):
        report = await client.claim_all(asked, concurrency=concurrency, ledger=ledger)
    assert (report.claimed, report.unsettled) == (3000, 0)
    assert now() < START + 150


@pytest.mark.parametrize("concurrency", [1, 2, 8])
@on_virtual_clock
async def test_thousands_of_one_whose_retry_nobody_can_pay(
    tmp_path: Path, concurrency: int
) -> None:
    def step(sent: Sent) -> Reply:
        bad = int(sent.key[0], 16) >= 900
        return (lost_before if bad and sent.request.operation == "claim" else well)(sent)

    (row,) = make_rows(1, start=999)
    service = ScriptedTransport(then=step)
    asked = [*make_rows(5), *make_rows(40, start=900), *[twin(row) for _ in range(3000)]]
    async with kept(tmp_path / "run.db", service) as (client, ledger):
        client._dispatcher.budget.take(100.0)  # noqa: SLF001 - nothing is left of it
        report = await client.claim_all(asked, concurrency=concurrency, ledger=ledger)
    assert (report.claimed, report.failed, report.unsettled) == (5, 3040, 0)
    assert now() < START + 120


@on_virtual_clock
async def test_a_source_that_waits_for_the_outcome_before_it_goes_on(tmp_path: Path) -> None:
    told = asyncio.Event()

    async def rows() -> AsyncIterator[ClaimRequest]:
        for row in make_rows(20):
            yield row
            await told.wait()
            told.clear()

    service = ScriptedTransport(
        then=lambda sent: well(sent) if sent.number % 2 else lost_before(sent)
    )
    async with kept(tmp_path / "run.db", service) as (client, ledger):
        client._dispatcher.budget.take(100.0)  # noqa: SLF001 - nothing is left of it
        async with client.claim_many(rows(), ledger=ledger, concurrency=4) as run:
            statuses = []
            async for outcome in run:
                statuses.append(outcome.status)
                told.set()
    assert len(statuses) == 20
    assert statuses.count(CLAIMED) >= 10


@on_virtual_clock
async def test_twins_of_one_that_is_let_go_are_unsettled_with_it(tmp_path: Path) -> None:
    rows = make_rows(10)
    service = ScriptedTransport(then=take(100))
    async with kept(tmp_path / "run.db", service) as (client, ledger):
        async with client.claim_many([*rows, *rows, *rows], ledger=ledger) as run:
            await asyncio.sleep(1)
        assert (run.report.total, run.report.unsettled) == (0, 30)
        assert len(run.unsettled) == 30
        standing = await ledger.standing()
        assert (standing.total, standing.in_doubt) == (10, 10)
