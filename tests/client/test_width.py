"""How many claims are in flight: fewer while a service is slow, all of them again afterwards."""

from __future__ import annotations

import asyncio
from bisect import bisect
from collections.abc import AsyncIterator, Awaitable, Callable

import pytest

from badges_async import ClaimRequest, ClaimStatus, Timeout
from badges_async.messages import Reply
from badges_async.width import Width
from tests.client.scripted import (
    ScriptedTransport,
    Sent,
    claim_each,
    hang,
    lost_before,
    make_client,
    make_rows,
    well,
)
from tests.virtual_clock import START, now, on_virtual_clock

CLAIMED = ClaimStatus.CLAIMED
QUICK = Timeout(attempt=5.0)


@on_virtual_clock
async def test_a_wave_of_timeouts_cuts_it_once_and_the_next_wave_again() -> None:
    width = Width(16)
    for _ in range(16):
        width.timed_out(START - 5)
    assert width.now == 11
    width.timed_out(START - 1)  # sent before the cut
    assert width.now == 11
    await asyncio.sleep(5)
    for _ in range(11):
        width.timed_out(START + 0.1)
    assert width.now == 7


@on_virtual_clock
async def test_it_never_comes_to_nothing() -> None:
    width = Width(16)
    for _ in range(50):
        width.timed_out(now())
        await asyncio.sleep(1)
    assert width.now == 1


@on_virtual_clock
async def test_as_many_answers_as_there_are_places_allow_one_more_up_to_the_most() -> None:
    width = Width(4)
    for _ in range(5):
        width.timed_out(now())
        await asyncio.sleep(1)
    assert width.is_cut
    grown = []
    for _ in range(12):
        width.answered()
        grown.append(width.now)
        assert width.is_cut is (width.now < 4), "who is not cut need not tell of answers"
    assert grown == [2, 2, 3, 3, 3, 4, 4, 4, 4, 4, 4, 4]


@on_virtual_clock
async def test_a_cut_makes_earlier_answers_void() -> None:
    width = Width(4)
    width.timed_out(now())
    width.answered()
    await asyncio.sleep(1)
    width.timed_out(now())
    width.answered()
    assert width.now == 1


@on_virtual_clock
async def test_as_many_as_were_too_many_are_not_soon_tried_again() -> None:
    width = Width(16)
    width.now = 5
    width.timed_out(now())
    assert width.now == 3
    for _ in range(3):
        width.answered()
    assert width.now == 4
    for _ in range(63):
        width.answered()
    assert width.now == 4
    width.answered()
    assert width.now == 5
    for _ in range(5):
        width.answered()
    assert width.now == 6


@on_virtual_clock
async def test_places_go_to_those_who_wait_and_none_is_lost_with_one_who_is_cancelled() -> None:
    width = Width(2)
    inside: set[int] = set()

    async def work(number: int) -> None:
        await width.enter()
        inside.add(number)

    tasks = [asyncio.create_task(work(number)) for number in range(6)]
    await asyncio.sleep(0.1)
    assert inside == {0, 1}
    width.leave()
    tasks[2].cancel()  # in the moment in which its turn has come
    await asyncio.sleep(0.1)
    assert inside == {0, 1, 3}
    tasks[4].cancel()
    await asyncio.sleep(0.1)
    width.leave()
    await asyncio.sleep(0.1)
    assert inside == {0, 1, 3, 5}
    await asyncio.gather(*tasks, return_exceptions=True)


@on_virtual_clock
async def test_a_place_that_is_taken_all_the_same_is_given_back_first() -> None:
    width = Width(1)
    await width.enter()
    width.take()
    assert width.taken > width.now
    waiting = asyncio.create_task(width.enter())
    await asyncio.sleep(0.1)
    width.leave()
    await asyncio.sleep(0.1)
    assert width.taken <= width.now
    assert not waiting.done()
    width.leave()
    await waiting


def hours(*spells: tuple[float, float]) -> Callable[[Sent], Awaitable[Reply]]:
    """Answer well, with a latency for so many seconds, then with the next one."""

    async def answer(sent: Sent) -> Reply:
        ends = START
        for seconds, latency in spells:
            ends += seconds
            if now() < ends:
                await asyncio.sleep(latency)
                break
        return well(sent)

    return answer


@on_virtual_clock
async def test_after_a_slow_spell_as_many_are_in_flight_as_before() -> None:
    answer, in_flight = hours((2, 0.02), (20, 8.0), (10_000, 0.02)), list[int]()

    async def note(sent: Sent) -> Reply:
        in_flight.append(sent.service.in_flight)
        return await answer(sent)

    client = make_client(ScriptedTransport(then=note, latency=0.0), timeout=QUICK)
    await client.claim_all(make_rows(4000), concurrency=8)

    assert now() > START + 22
    assert sum(in_flight[-200:]) / 200 > 7.5


@pytest.mark.slow
@on_virtual_clock
async def test_a_slow_spell_costs_few_requests_and_is_soon_forgotten() -> None:
    """F019: 20 ms, then 8 s for 30 s, then 20 ms."""
    spells = hours((30, 0.02), (30, 8.0), (10_000, 0.02))
    service = ScriptedTransport(then=spells, latency=0.0)
    rows = make_rows(25_000)
    moments: list[float] = []

    async with make_client(service, timeout=QUICK).claim_many(rows, concurrency=4) as run:
        async for outcome in run:
            assert outcome.status in {CLAIMED, ClaimStatus.ALREADY_CLAIMED}
            moments.append(now() - START)

    assert len(service.sent) < 1.1 * len(rows)
    # In the slow spell hardly anything is sent, so that the service can get well.
    slow = [time for time in service.times if 30 <= time - START < 60]
    assert len(slow) < 0.1 * 30 * 4 / 0.02
    full = 4 / 0.02
    for second in range(120, int(moments[-1]) - 1):
        done = bisect(moments, second + 1) - bisect(moments, second)
        assert done >= 0.95 * full, second


@pytest.mark.parametrize("takes", [None, 0.0, 0.005])
@on_virtual_clock
async def test_while_answers_are_late_fewer_are_asked_for_at_once(takes: float | None) -> None:
    """However long the source *takes* for a row, if it may take its time at all."""

    async def source() -> AsyncIterator[ClaimRequest]:
        for row in make_rows(2000):
            if takes:
                await asyncio.sleep(takes)
            yield row

    in_flight: list[int] = []

    async def overloaded(sent: Sent) -> Reply:
        # Up to four at once are answered soon; more of them take the longer.
        in_flight.append(sent.service.in_flight)
        await asyncio.sleep(0.1 if sent.service.in_flight <= 4 else sent.service.in_flight)
        return well(sent)

    service = ScriptedTransport(then=overloaded)
    client = make_client(service, timeout=QUICK)
    rows = make_rows(2000) if takes is None else source()
    report = await client.claim_all(rows, concurrency=32)

    assert (report.failed, report.unsettled) == (0, 0)
    assert sum(in_flight[-500:]) / 500 < 4.5
    assert report.retries < 0.15 * 2000


@pytest.mark.parametrize("size", [2, 3, 16])
@on_virtual_clock
async def test_the_last_row_is_no_prisoner_of_a_width_that_nobody_widens(size: int) -> None:
    *quick, slow = make_rows(size)

    async def answer(sent: Sent) -> Reply:
        if sent.key[0] != slow.badge_id or now() > START + 100:
            return well(sent)
        return await hang(sent)

    client = make_client(ScriptedTransport(then=answer), timeout=QUICK)
    outcomes = await claim_each(client, [*quick, slow], concurrency=size)

    assert {outcome.status for outcome in outcomes} == {CLAIMED}
    assert now() < START + 200


@on_virtual_clock
async def test_rows_that_wait_for_the_service_do_not_wait_for_rows_that_are_yet_to_come() -> None:
    async def rows() -> AsyncIterator[ClaimRequest]:
        for row in make_rows(8):
            yield row
        await asyncio.sleep(10_000)
        for row in make_rows(8, start=8):
            yield row

    async def answer(sent: Sent) -> Reply:
        # Those that were pulled last time out, again and again.
        if int(sent.key[0], 16) >= 4 and now() < START + 100:
            return await hang(sent)
        return well(sent)

    client = make_client(ScriptedTransport(then=answer), timeout=QUICK)
    done: dict[str, float] = {}
    async with client.claim_many(rows(), concurrency=8) as run:
        async for outcome in run:
            assert outcome.status is CLAIMED
            done[outcome.request.badge_id] = now()
    assert len(done) == 16
    assert sorted(done.values())[7] < START + 200


@pytest.mark.parametrize("concurrency", [1, 2, 8])
@on_virtual_clock
async def test_one_bad_row_of_a_source_that_takes_its_time_is_no_outage(concurrency: int) -> None:
    async def rows() -> AsyncIterator[ClaimRequest]:
        for row in make_rows(10):
            yield row
            await asyncio.sleep(3600)

    def answer(sent: Sent) -> Reply:
        bad = sent.key[0] == make_rows(10)[4].badge_id and sent.request.operation == "claim"
        return (lost_before if bad else well)(sent)

    client = make_client(ScriptedTransport(then=answer))
    report = await client.claim_all(rows(), concurrency=concurrency)
    assert (report.claimed, report.failed) == (9, 1)
