"""A service that is down costs no row, and ends a run when patience is at its end."""

from __future__ import annotations

import asyncio
import itertools
import random
from collections import Counter
from collections.abc import AsyncIterator, Callable

import pytest

from badges_async import (
    BulkReport,
    ClaimOutcome,
    ClaimRequest,
    ClaimStatus,
    ConnectError,
    OutageError,
    ServerError,
    UnreadableReplyError,
)
from badges_async.messages import Reply
from badges_async.outage import Outage
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
    unreachable,
    well,
)
from tests.virtual_clock import START, now, on_virtual_clock

CLAIMED, FAILED = ClaimStatus.CLAIMED, ClaimStatus.FAILED

down = pytest.mark.parametrize(
    "trouble",
    [unreachable, lost_before, hang, html(503), html(404), html(200), refused(503, 4001)],
    ids=["unreachable", "lost", "hangs", "html 503", "html 404", "challenge", "json 503"],
)


def broken(trouble: Step, when: Callable[[float], bool]) -> ScriptedTransport:
    """Give a service that is in *trouble* at the times that *when* says."""

    async def answer(sent: Sent) -> Reply:
        reply = (trouble if when(sent.at - START) else well)(sent)
        return reply if isinstance(reply, Reply) else await reply

    return ScriptedTransport(then=answer)


async def run_into_outage(
    service: ScriptedTransport, rows: list[ClaimRequest], **options: float
) -> tuple[OutageError, list[ClaimOutcome], BulkReport]:
    seen: list[ClaimOutcome] = []
    run = make_client(service).claim_many(rows, **options)  # type: ignore[arg-type]
    with pytest.raises(OutageError) as caught:  # noqa: PT012
        async with run:
            async for outcome in run:
                seen.append(outcome)  # noqa: PERF401 - it raises
    return caught.value, seen, run.report


@down
@pytest.mark.parametrize("count", [1, 3, 500])
@on_virtual_clock
async def test_a_service_that_is_down_from_the_start_ends_in_an_outage(
    trouble: Step, count: int
) -> None:
    service = ScriptedTransport(then=trouble)

    error, seen, report = await run_into_outage(service, make_rows(count), outage_patience=600)

    # The silence begins with the first failure; the last probe asks twice.
    assert 600 <= now() - START <= 600 + 3 * 15 + 1
    assert "answered nobody for 600 s" in str(error)
    assert error.__cause__ is not None
    assert str(error).endswith(f"; the last failure: {error.__cause__}")
    assert seen == []
    assert report.total == 0
    assert 1 <= report.unsettled <= count
    assert len(service.sent) < 200


@down
@on_virtual_clock
async def test_thirty_seconds_of_outage_cost_no_row(trouble: Step) -> None:
    """F031: a challenge page to everybody is an outage like any other."""
    service = broken(trouble, lambda time: 2 <= time < 32)
    rows = make_rows(2000)

    outcomes = await claim_each(make_client(service), rows, concurrency=16)

    assert Counter(o.request for o in outcomes) == Counter(rows)
    assert {outcome.status for outcome in outcomes} <= {CLAIMED, ClaimStatus.ALREADY_CLAIMED}
    assert all(service.holds(row) for row in rows)
    assert now() - START < 32 + 30 + 15 + 2000 * 0.05 / 16 + 5


@pytest.mark.parametrize(("since", "until"), [(0, 60), (2, 32)])
@pytest.mark.parametrize("concurrency", [1, 8])
@on_virtual_clock
async def test_where_claims_alone_are_down_no_row_is_to_blame(
    concurrency: int, since: float, until: float
) -> None:
    """Badges are still read meanwhile, which tells bad rows from a bad service too early."""

    def answer(sent: Sent) -> Reply:
        if sent.request.operation == "claim" and since <= now() - START < until:
            return lost_before(sent)
        return well(sent)

    rows = make_rows(1000)
    client = make_client(ScriptedTransport(then=answer))
    outcomes = await claim_each(client, rows, concurrency=concurrency)

    assert {outcome.status for outcome in outcomes} == {CLAIMED}


@pytest.mark.parametrize("takes", [0.3, 1.0])
@pytest.mark.parametrize("concurrency", [2, 4, 8])
@on_virtual_clock
async def test_no_row_that_is_fetched_to_probe_with_is_lost(concurrency: int, takes: float) -> None:
    async def source() -> AsyncIterator[ClaimRequest]:
        for row in make_rows(60):
            await asyncio.sleep(takes)
            yield row

    client = make_client(broken(lost_before, lambda time: 5 <= time < 40))
    async with client.claim_many(source(), concurrency=concurrency) as run:
        outcomes = [outcome async for outcome in run]

    assert {outcome.status for outcome in outcomes} == {CLAIMED}
    assert Counter(outcome.request for outcome in outcomes) == Counter(make_rows(60))
    assert run.report.unsettled == 0


@on_virtual_clock
async def test_a_no_to_every_row_is_an_answer() -> None:
    def answer(sent: Sent) -> Reply:
        if 1 <= now() - START < 20:
            return lost_before(sent)
        reply = (refused(400, 717) if sent.request.operation == "claim" else well)(sent)
        assert isinstance(reply, Reply)
        return reply

    client = make_client(ScriptedTransport(then=answer))
    outcomes = await claim_each(client, make_rows(300), concurrency=4, outage_patience=60)

    assert Counter(outcome.status for outcome in outcomes) == {ClaimStatus.REJECTED: 300}
    assert now() - START < 60


@on_virtual_clock
async def test_an_outage_at_the_end_of_the_rows_costs_none() -> None:
    service = broken(lost_before, lambda time: 0.3 < time < 45)
    rows = make_rows(100)

    outcomes = await claim_each(make_client(service), rows, concurrency=16)

    assert len(outcomes) == 100
    assert FAILED not in {outcome.status for outcome in outcomes}


@on_virtual_clock
async def test_probes_go_one_at_a_time_with_growing_rests() -> None:
    service = broken(unreachable, lambda _: True)
    await run_into_outage(service, make_rows(500), concurrency=16, outage_patience=300)

    probes = [time for time in service.times if time > START + 1]
    rests = [later - earlier - 0.05 for earlier, later in itertools.pairwise(probes)]
    bounds = [0.5 * 2**n for n in range(30)]
    first = round(rests[0] / 0.5).bit_length()
    assert all(gap > 0.2 for gap in rests)
    assert max(rests) <= 30.0 + 1e-6
    assert sum(rest >= 15 for rest in rests) >= 5
    # Each rest is at least half of its bound, and the bounds double.
    for rest, bound in zip(rests[:-1], bounds[first:], strict=False):
        assert min(bound, 30.0) / 4 <= rest
    after = [sent for sent in service.sent if sent.at > START + 1]
    assert len(after) < 40


@on_virtual_clock
async def test_one_probe_at_a_time_also_when_they_hang() -> None:
    service = ScriptedTransport(then=hang)
    together: list[int] = []
    begin = service.send

    async def send(*args: object, **options: object) -> Reply:
        together.append(service.in_flight)
        return await begin(*args, **options)  # type: ignore[arg-type]

    service.send = send  # type: ignore[method-assign]
    await run_into_outage(service, make_rows(100), concurrency=8, outage_patience=300)

    assert together[:8] == list(range(8))
    assert set(together[8:]) == {0}


@on_virtual_clock
async def test_all_workers_go_on_at_once_when_the_service_is_back() -> None:
    """F001: twenty seconds of refused connections, and the run resumes by itself."""
    service = broken(unreachable, lambda time: time < 20)
    back = 0.0
    async with make_client(service).claim_many(make_rows(800), concurrency=16) as run:
        async for outcome in run:
            assert outcome.status is CLAIMED
            back = back or now()
        ended = now()

    # 800 claims of 50 ms by 16 workers.
    assert ended - back < 2 * 800 * 0.05 / 16
    assert service.peak == 16


@on_virtual_clock
async def test_no_patience_ends_the_run_with_the_first_failure() -> None:
    error, seen, report = await run_into_outage(
        ScriptedTransport(then=unreachable), make_rows(50), concurrency=4, outage_patience=0
    )

    assert now() - START < 1
    assert isinstance(error.__cause__, ConnectError)
    assert seen == []
    assert report.unsettled >= 1


@pytest.mark.slow
@on_virtual_clock
async def test_endless_patience_waits() -> None:
    service = broken(unreachable, lambda time: time < 7 * 86_400)
    outcomes = await claim_each(
        make_client(service), make_rows(30), concurrency=4, outage_patience=float("inf")
    )
    assert {outcome.status for outcome in outcomes} == {CLAIMED}


@pytest.mark.parametrize("trouble", [refused(503, 4001, retry_after=5), html(503, retry_after=5)])
@on_virtual_clock
async def test_a_service_that_asks_for_patience_for_ever_does_not_get_it(trouble: Step) -> None:
    service = ScriptedTransport(then=trouble)

    error, seen, _ = await run_into_outage(service, make_rows(50), concurrency=4)

    assert 600 <= now() - START <= 700
    assert isinstance(error.__cause__, ServerError | UnreadableReplyError)
    assert seen == []


@pytest.mark.parametrize("count", [1, 40])
@on_virtual_clock
async def test_a_polite_pause_is_no_outage_and_costs_no_attempt(count: int) -> None:
    service = broken(refused(503, 4001, retry_after=20), lambda time: 1 < time < 300 or time < 0.1)
    outcomes = await claim_each(make_client(service), make_rows(count), concurrency=4)
    assert {outcome.status for outcome in outcomes} == {CLAIMED}


@on_virtual_clock
async def test_a_slow_source_does_not_hold_up_rows_when_the_service_is_back() -> None:
    async def rows() -> AsyncIterator[ClaimRequest]:
        for row in make_rows(8):
            yield row
        await asyncio.sleep(86_400)
        yield make_rows(1, start=8)[0]

    service = broken(unreachable, lambda time: time < 20)
    client = make_client(service)
    async with client.claim_many(rows(), concurrency=4) as run:
        times = [now() - START async for _ in run]

    assert len(times) == 9
    assert max(times[:8]) < 120


@on_virtual_clock
async def test_patience_begins_anew_with_each_outage() -> None:
    service = broken(unreachable, lambda time: 1 < time < 400 or 460 < time < 900)

    async def rows() -> AsyncIterator[ClaimRequest]:
        for row in make_rows(1000):
            yield row
            await asyncio.sleep(1)

    outcomes = await claim_each(make_client(service), rows(), concurrency=4, outage_patience=600)

    assert {outcome.status for outcome in outcomes} == {CLAIMED}
    assert len(outcomes) == 1000


@on_virtual_clock
async def test_a_row_that_is_asked_to_wait_again_and_again_is_not_failed() -> None:
    asked, *others = make_rows(200)
    pauses = 12

    def answer(sent: Sent) -> Reply:
        again = sent.key[0] == asked.badge_id and len(service.sent_for(asked)) <= pauses
        reply = (refused(503, 4001, retry_after=1) if again else well)(sent)
        assert isinstance(reply, Reply)
        return reply

    service = ScriptedTransport(then=answer)
    outcomes = await claim_each(make_client(service), [asked, *others], concurrency=2)

    assert {outcome.status for outcome in outcomes} == {CLAIMED}
    assert len(service.sent_for(asked)) == pauses + 1


@pytest.mark.parametrize(("in_hand", "needed"), [(1, 5), (5, 5), (16, 16)])
@on_virtual_clock
async def test_a_few_failures_or_one_of_each_row_in_hand_are_an_outage(
    in_hand: int, needed: int
) -> None:
    outage = Outage(600.0, random.Random(1))  # noqa: S311 - jitter
    closed = []
    for _ in range(needed):
        outage.failed(in_hand)
        closed.append(outage.closed)
    assert closed == [False] * (needed - 1) + [True]


@on_virtual_clock
async def test_a_silence_that_nobody_has_measured_begins_when_the_run_closes() -> None:
    outage = Outage(10.0, random.Random(1))  # noqa: S311 - jitter
    await asyncio.sleep(60)
    assert outage.patience_left() == 10.0
    outage.close()
    await asyncio.sleep(4)
    assert (outage.closed, outage.patience_left()) == (True, 6.0)
    outage.close()
    assert outage.patience_left() == 6.0
