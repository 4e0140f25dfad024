"""A worker at work: what becomes of events, how many it holds, what it tells."""

from __future__ import annotations

import asyncio
import gc
import logging
import random
import weakref
from typing import Any

import pytest
from hypothesis import given, settings
from hypothesis import strategies as st

from badges_async import BadgesClient, BasicAuth, ClaimStatus, InvalidInputError, RetryPolicy
from badges_async.sandbox import Fault, Sandbox, make_badge_ids
from badges_async.worker import (
    ClaimEvent,
    ClaimWorker,
    MemorySource,
    Settlement,
    Verdict,
    WorkerReport,
)
from tests.client.leftovers import leaving_nothing
from tests.client.scripted import (
    ScriptedTransport,
    Sent,
    Step,
    hang,
    html,
    lost_after,
    lost_before,
    refused,
    take,
    unreachable,
    well,
)
from tests.virtual_clock import START, now, on_virtual_clock
from tests.worker.watched import (
    WatchedSource,
    a_client,
    a_worker,
    an_event,
    by_event,
    events,
    filled,
    rest,
    work_off,
)

SETTLE, RETRY, BURY, RELEASE = Verdict.SETTLE, Verdict.RETRY, Verdict.BURY, Verdict.RELEASE
CLAIMED, ALREADY = ClaimStatus.CLAIMED, ClaimStatus.ALREADY_CLAIMED
REJECTED, FAILED = ClaimStatus.REJECTED, ClaimStatus.FAILED

# What becomes of events.


@on_virtual_clock
async def test_events_are_claimed_and_settled() -> None:
    service, source = ScriptedTransport(), await filled(MemorySource(), events(300))
    worker, report = await work_off(service, source)
    assert len(service.held) == len(service.sent) == 300
    assert source.verdicts() == {SETTLE: 300}
    assert report.counts == {CLAIMED: 300, ALREADY: 0, REJECTED: 0, FAILED: 0}
    assert (report.held, report.settled, report.recovered) == (300, 300, 0)
    assert (report.retried, report.buried, report.released, report.lost) == (0, {}, 0, 0)
    assert (worker.held, worker.in_flight) == (0, 0)
    assert source.calls[0] == "open"
    assert source.calls[-1] == "close"
    assert source.calls.count("is_empty") <= 2
    assert source.calls.count("open") == source.calls.count("close") == 1


@pytest.mark.parametrize(("deliveries", "recovered"), [(0, 0), (1, 1), (4, 1)])
@on_virtual_clock
async def test_what_stood_already_is_ours_if_it_was_delivered_before(
    deliveries: int, recovered: int
) -> None:
    source = await filled(MemorySource(), [an_event()], deliveries=deliveries)
    service = ScriptedTransport()
    service.held.add((an_event().badge_id, "r0"))
    _, report = await work_off(service, source)
    assert report.counts[ALREADY] == report.held == 1
    assert report.recovered == recovered
    assert source.verdicts() == {SETTLE: 1}


@on_virtual_clock
async def test_a_claim_whose_answer_was_lost_in_every_attempt_is_recovered_next_time() -> None:
    """The first delivery claims it and hears nothing; the second one finds it claimed."""
    times = 0

    def lost_once(sent: Any) -> Any:
        nonlocal times
        times += 1
        return lost_after(sent) if times == 1 else well(sent)

    service = ScriptedTransport(then=by_event({3: lost_once}))
    source = await filled(MemorySource(), events(20))
    _, report = await work_off(service, source, concurrency=20)
    assert source.verdicts() == {SETTLE: 20, RETRY: 1}
    assert report.counts == {CLAIMED: 19, ALREADY: 1, REJECTED: 0, FAILED: 1}
    assert (report.recovered, report.retried, report.held) == (1, 1, 20)


@pytest.mark.parametrize(
    "step", [refused(404, 717), refused(400, 714), refused(410, 1), refused(422, 1)]
)
@on_virtual_clock
async def test_what_is_refused_for_good_is_a_dead_letter_at_once(step: Step) -> None:
    source = await filled(memory := MemorySource(), events(20))
    service = ScriptedTransport(then=by_event({3: step, 5: step}))
    _, report = await work_off(service, source)
    assert len(service.sent) == 20
    assert source.verdicts() == {SETTLE: 18, BURY: 2}
    assert {letter.reason for letter in memory.letters} == {"rejected"}
    assert all(letter.error for letter in memory.letters)
    assert report.buried == {"rejected": 2}
    assert (report.held, report.settled, report.counts[REJECTED]) == (18, 20, 2)


@pytest.mark.parametrize(
    "step", [refused(500, 1), html(502), lost_before, lost_after, hang], ids=range(5)
)
@on_virtual_clock
async def test_what_fails_is_put_off_for_longer_each_time_and_ends_as_a_dead_letter(
    step: Step,
) -> None:
    source = await filled(memory := MemorySource(), events(40))
    service = ScriptedTransport(then=by_event({3: step}))
    _, report = await work_off(service, source)
    put_off = [one for one in source.settlements if one.verdict is RETRY]
    assert [one.delay for one in put_off] == [1.0, 2.0, 4.0, 8.0]
    assert [letter.reason for letter in memory.letters] == ["exhausted"]
    assert [one.delivery.deliveries for one in put_off] == [1, 2, 3, 4]
    assert memory.letters[0].delivery.deliveries == 5
    assert report.counts[FAILED] == 5
    assert (report.retried, report.buried, report.held) == (4, {"exhausted": 1}, 39)
    times = [sent.at for sent in service.sent_for(an_event(3)) if sent.request.operation == "claim"]
    assert times[-1] - times[0] >= 15


@on_virtual_clock
async def test_nothing_is_put_off_for_longer_than_the_lease() -> None:
    source = await filled(MemorySource(lease=3.0), events(20))
    service = ScriptedTransport(then=by_event({3: refused(500, 1)}))
    await work_off(service, source, max_deliveries=4)
    put_off = [one.delay for one in source.settlements if one.verdict is RETRY]
    assert put_off == [1.0, 2.0, 3.0]


@on_virtual_clock
async def test_what_cannot_be_read_is_a_dead_letter_and_nothing_is_sent_for_it() -> None:
    messages = [b"?", b'{"v":2}', b"{}", an_event(1).to_json()]
    source = await filled(memory := MemorySource(), messages)
    service = ScriptedTransport()
    told: list[Settlement] = []
    _, report = await work_off(service, source, on_settled=told.append)
    assert len(service.sent) == 1
    assert [letter.reason for letter in memory.letters] == [
        "unreadable",
        "unknown_version",
        "invalid",
    ]
    assert report.buried == {"unreadable": 1, "unknown_version": 1, "invalid": 1}
    assert (report.settled, sum(report.counts.values())) == (4, 1)
    assert len(told) == 4


@pytest.mark.parametrize(("before", "sent"), [(4, 1), (5, 0), (9, 0)])
@on_virtual_clock
async def test_what_came_too_often_without_an_outcome_is_not_tried_again(
    before: int, sent: int
) -> None:
    source = await filled(memory := MemorySource(), [an_event()], deliveries=before)
    service = ScriptedTransport()
    _, report = await work_off(service, source)
    assert len(service.sent) == sent
    assert report.held == sent
    assert [letter.reason for letter in memory.letters] == ["abandoned"] * (1 - sent)


@on_virtual_clock
async def test_a_throttle_costs_no_delivery() -> None:
    throttles = [refused(429, 1, retry_after=30)] * 3
    source = await filled(MemorySource(lease=10.0), events(30))
    _, report = await work_off(ScriptedTransport(*throttles), source)
    assert source.verdicts() == {SETTLE: 30}
    assert {one.deliveries for one in source.fetched} == {1}
    assert report.elapsed >= 30


@on_virtual_clock
async def test_a_service_that_is_away_is_waited_for() -> None:
    source = await filled(MemorySource(lease=10.0), events(30))
    service = ScriptedTransport(*[unreachable] * 12)
    worker = a_worker(service, source, concurrency=4)
    async with asyncio.TaskGroup() as group:
        running = group.create_task(worker.run())
        await asyncio.sleep(2)
        assert worker.waiting_for_service
    assert source.verdicts() == {SETTLE: 30}
    assert running.result().held == 30
    assert not worker.waiting_for_service


# Several quotas.


@on_virtual_clock
async def test_one_client_claims_under_whatever_quota() -> None:
    some = [an_event(0), an_event(1, quota="brand"), an_event(2, quota="another")]
    source = await filled(MemorySource(), some)
    _, report = await work_off(ScriptedTransport(), source)
    assert report.held == 3


@on_virtual_clock
async def test_each_quota_has_its_own_client_and_one_without_is_a_dead_letter() -> None:
    services = {"a": ScriptedTransport(), "b": ScriptedTransport()}
    some = [an_event(number, quota=quota) for number, quota in enumerate(["a", "b", "b", "c"])]
    source = await filled(memory := MemorySource(), [*some, an_event(9)])
    clients = {name: a_client(service) for name, service in services.items()}
    report = await ClaimWorker(clients, source, once=True).run()
    assert [len(service.sent) for service in services.values()] == [1, 2]
    assert (report.held, report.buried) == (3, {"unknown_quota": 2})
    assert [letter.error for letter in memory.letters] == [
        "no quota 'c' is kept here",
        "no quota is named",
    ]


@on_virtual_clock
async def test_events_that_name_no_quota_may_have_a_client_as_well() -> None:
    services: dict[str | None, ScriptedTransport] = {None: ScriptedTransport()}
    services["a"] = ScriptedTransport(then=hang)
    source = await filled(MemorySource(), [an_event(0), an_event(1, quota="a"), an_event(2)])
    worker = ClaimWorker({name: a_client(one) for name, one in services.items()}, source)
    async with asyncio.TaskGroup() as group:
        group.create_task(worker.run())
        await asyncio.sleep(1)
        assert worker.in_flight == 1
        assert len(services[None].held) == 2
        worker.drain()


# How many.


@pytest.mark.parametrize("concurrency", [1, 2, 8, 64])
@on_virtual_clock
async def test_never_more_is_in_flight_or_held_than_is_allowed(concurrency: int) -> None:
    """A quarter more is held than is in flight, where the service takes its time."""
    service = ScriptedTransport(latency=4.0)
    source = await filled(MemorySource(), events(5 * concurrency))
    worker = a_worker(service, source, concurrency=concurrency)
    most = concurrency + max(1, concurrency // 4)
    seen = []

    async def look() -> None:
        seen.append(worker.held)
        assert worker.held + source.asked[-1] <= most

    source.hooks["fetch"] = look
    async with asyncio.TaskGroup() as group:
        running = group.create_task(worker.run())
        while not running.done():
            assert worker.held <= most
            assert worker.in_flight <= concurrency
            seen.append(worker.held)
            await asyncio.sleep(0.5)
    assert service.peak == concurrency
    assert max(seen) == most
    assert all(asked >= 1 for asked in source.asked)
    assert running.result().held == 5 * concurrency


@pytest.mark.slow
@on_virtual_clock
async def test_of_a_quick_service_more_is_held_but_not_more_than_a_thousand() -> None:
    service = ScriptedTransport(latency=0.0001)
    source = await filled(MemorySource(most=50_000), events(20_000))
    worker = a_worker(service, source, concurrency=16)
    seen = []

    async def look() -> None:
        seen.append(worker.held + source.asked[-1])

    source.hooks["fetch"] = look
    await worker.run()
    assert 20 < max(seen) <= 1016
    assert service.peak <= 16
    assert len(service.held) == 20_000


@on_virtual_clock
async def test_when_a_quick_service_becomes_slow_less_is_asked_for_and_never_none() -> None:
    service = ScriptedTransport(*[well] * 3000, then=take(2), latency=0.0005)
    source = await filled(MemorySource(), events(3200))
    _, report = await work_off(service, source, concurrency=16)
    assert report.held == 3200
    assert min(source.asked) >= 1
    assert source.asked[-1] < 100 < max(source.asked)


@on_virtual_clock
async def test_the_source_is_not_asked_more_often_than_it_has_to_be() -> None:
    service = ScriptedTransport(latency=0.2)
    source = await filled(MemorySource(), events(1000))
    await work_off(service, source, concurrency=50)
    assert len(source.asked) < 150
    assert len(source.settled) < 150
    assert len(source.settlements) == 1000
    assert now() - START < 1.2 * 1000 / 50 * 0.2 + 1


@on_virtual_clock
async def test_events_are_taken_several_at_once_also_when_claims_end_one_by_one() -> None:
    dice = random.Random(3)  # noqa: S311 - latencies

    def uneven(sent: Sent) -> Any:
        return take(dice.uniform(0, 4))(sent)

    source = await filled(MemorySource(), events(2000))
    await work_off(ScriptedTransport(then=uneven), source, concurrency=64)
    assert len([most for most in source.asked if most < 8]) < 10
    assert len(source.asked) < 2000 / 6


@on_virtual_clock
async def test_a_source_that_is_away_when_it_is_told_something_stops_the_claims() -> None:
    back = asyncio.Event()
    service = ScriptedTransport(latency=0.001)
    source = await filled(MemorySource(), events(5000))
    source.hooks["settle"] = back.wait
    worker = a_worker(service, source, concurrency=8)
    async with asyncio.TaskGroup() as group:
        running = group.create_task(worker.run())
        await asyncio.sleep(30)
        sent = len(service.sent)
        assert 1024 <= sent <= 1024 + 256 + 3 * 8
        assert worker.held <= 8 + 1000
        await asyncio.sleep(30)
        assert len(service.sent) == sent
        back.set()
    assert running.result().held == 5000
    assert source.verdicts() == {SETTLE: 5000}


@on_virtual_clock
async def test_dead_letters_wait_for_the_source_as_well() -> None:
    back = asyncio.Event()
    source = await filled(memory := MemorySource(), [b"?"] * 5000)
    source.hooks["settle"] = back.wait
    worker = a_worker(ScriptedTransport(), source, concurrency=8)
    async with asyncio.TaskGroup() as group:
        group.create_task(worker.run())
        await asyncio.sleep(30)
        assert len(source.fetched) <= 2 * (1024 + 10)  # as many again are being told
        back.set()
    assert len(memory.letters) == 5000


@on_virtual_clock
async def test_a_slow_source_only_makes_it_slower() -> None:
    source = await filled(MemorySource(lease=5.0), events(100))
    source.hooks.update(fetch=rest(2.0), settle=rest(2.0), renew=rest(1.0), is_empty=rest(1.0))
    _, report = await work_off(ScriptedTransport(), source, concurrency=8)
    assert report.held == 100
    assert source.verdicts() == {SETTLE: 100}
    assert {one.deliveries for one in source.fetched} == {1}


# One loop, several workers, and who hears of it.


@on_virtual_clock
async def test_workers_share_the_events_and_all_end_when_there_are_none() -> None:
    memory = MemorySource()
    await filled(memory, events(200))
    service = ScriptedTransport(latency=0.2)
    sources = [WatchedSource(memory.sibling()) for _ in range(3)]
    async with asyncio.TaskGroup() as group:
        runs = [
            group.create_task(a_worker(service, source, concurrency=4).run()) for source in sources
        ]
    assert sum(run.result().held for run in runs) == len(service.sent) == 200
    assert all(run.result().held > 40 for run in runs)


@on_virtual_clock
async def test_once_waits_for_what_somebody_else_holds_or_has_put_off() -> None:
    memory = MemorySource(lease=30.0)
    await filled(memory, events(2))
    other = memory.sibling()
    held, put_off = await other.fetch(2, 0.0)
    await other.settle([Settlement(put_off, RETRY, delay=10.0)])
    service = ScriptedTransport()
    async with asyncio.TaskGroup() as group:
        running = group.create_task(a_worker(service, memory).run())
        await asyncio.sleep(9)
        assert service.sent == []
        await asyncio.sleep(10)
        assert len(service.sent) == 1
        assert not running.done()
        await other.settle([Settlement(held, SETTLE)])
        await asyncio.sleep(1)
        assert running.done()


@on_virtual_clock
async def test_a_worker_without_an_end_waits_for_what_comes() -> None:
    memory, service = MemorySource(), ScriptedTransport()
    worker = ClaimWorker(a_client(service), memory)
    async with asyncio.TaskGroup() as group:
        running = group.create_task(worker.run())
        for number in range(5):
            await asyncio.sleep(50)
            assert (await memory.submit(an_event(number))).verdict is SETTLE
        assert now() < START + 251
        worker.drain()
    assert running.result().held == 5


@on_virtual_clock
async def test_others_in_the_same_loop_go_on_meanwhile() -> None:
    ticks = 0

    async def tick() -> None:
        nonlocal ticks
        while True:
            await asyncio.sleep(0.01)
            ticks += 1

    source = await filled(MemorySource(), events(500))
    async with asyncio.TaskGroup() as group:
        ticking = group.create_task(tick())
        report = await a_worker(ScriptedTransport(), source).run()
        ticking.cancel()
    assert report.held == 500
    assert ticks == pytest.approx((now() - START) / 0.01, abs=2)


@on_virtual_clock
async def test_the_same_event_left_twice_is_two_events() -> None:
    event = an_event()
    source = await filled(MemorySource(), [event, event, event])
    service = ScriptedTransport(latency=1.0)
    _, report = await work_off(service, source)
    assert report.held == 3
    assert source.verdicts() == {SETTLE: 3}
    assert len(service.sent) == 3


@on_virtual_clock
async def test_settlements_are_told_once_the_source_has_carried_them_out() -> None:
    source = await filled(MemorySource(), [*events(50), b"?"])
    told: list[Settlement] = []

    def hear(settlement: Settlement) -> None:
        assert settlement in source.settlements
        told.append(settlement)

    await work_off(ScriptedTransport(), source, on_settled=hear)
    assert told == source.settlements
    assert len(told) == 51


@on_virtual_clock
async def test_whoever_raises_when_told_disturbs_nothing(
    caplog: pytest.LogCaptureFixture,
) -> None:
    def stumble(settlement: Settlement) -> None:
        raise LookupError(settlement.verdict)

    source = await filled(MemorySource(), events(5))
    with caplog.at_level(logging.ERROR, "badges_async"):
        _, report = await work_off(ScriptedTransport(), source, on_settled=stumble)
    assert report.held == 5
    messages = [record.getMessage() for record in caplog.records]
    assert messages == ["on_settled raised; the worker goes on"] * 5
    assert caplog.records[0].exc_info


@on_virtual_clock
async def test_the_report_grows_as_it_goes_and_stands_at_the_end() -> None:
    source = await filled(MemorySource(), events(40))
    worker = a_worker(ScriptedTransport(latency=1.0), source, concurrency=4)
    assert worker.report == WorkerReport(counts=dict.fromkeys(ClaimStatus, 0))
    async with asyncio.TaskGroup() as group:
        running = group.create_task(worker.run())
        await asyncio.sleep(5.5)
        assert worker.report.held == 20
        assert worker.report.elapsed == 5.5
        assert worker.in_flight == 4
    elapsed = worker.report.elapsed
    assert 10 <= elapsed < 11
    await asyncio.sleep(100)
    assert worker.report == running.result()
    assert worker.report.elapsed == elapsed


@pytest.mark.parametrize(
    ("options", "what"),
    [
        ({"concurrency": 0}, "concurrency must be a whole number from 1 to 10000"),
        ({"concurrency": 10_001}, "concurrency must be"),
        ({"concurrency": 1.5}, "concurrency must be"),
        ({"concurrency": True}, "concurrency must be"),
        ({"max_deliveries": 0}, "max_deliveries must be a whole number from 1 to 1000000"),
        ({"grace": -1}, "grace must be a number of seconds, 0 or more"),
        ({"grace": float("nan")}, "grace must be"),
        ({"grace": "1"}, "grace must be"),
        ({"grace": True}, "grace must be"),
        ({"outage_patience": -1}, "outage_patience must be a number of seconds, 0 or more"),
        ({"outage_patience": None}, "outage_patience must be"),
    ],
)
def test_options_without_a_meaning_are_refused(options: dict[str, Any], what: str) -> None:
    with pytest.raises(InvalidInputError, match=what):
        ClaimWorker(a_client(ScriptedTransport()), MemorySource(), **options)


def test_no_client_at_all_is_refused_and_buries_nothing() -> None:
    with pytest.raises(InvalidInputError, match="no client is there"):
        ClaimWorker({}, MemorySource())


@on_virtual_clock
async def test_a_worker_runs_once() -> None:
    source = await filled(MemorySource(), events(1))
    worker, _ = await work_off(ScriptedTransport(), source)
    calls = len(source.calls)
    with pytest.raises(InvalidInputError, match="a worker runs once"):
        await worker.run()
    assert len(source.calls) == calls


@on_virtual_clock
async def test_a_second_run_does_not_disturb_the_first() -> None:
    source = await filled(MemorySource(), events(10))
    worker = a_worker(ScriptedTransport(), source)
    async with asyncio.TaskGroup() as group:
        running = group.create_task(worker.run())
        await asyncio.sleep(0.01)
        with pytest.raises(InvalidInputError):
            await worker.run()
    assert running.result().held == 10


@on_virtual_clock
async def test_nothing_is_left_of_events_that_are_settled() -> None:
    """Neither here nor in the bulk run: a worker lives for months."""
    service = ScriptedTransport(then=by_event({3: lost_after, 4: refused(404, 717)}))
    memory = MemorySource()
    worker = ClaimWorker(a_client(service), memory, max_deliveries=2)
    async with asyncio.TaskGroup() as group:
        group.create_task(worker.run())
        gone = [await _settled(memory, number) for number in range(30)]
        await asyncio.sleep(60)
        memory.letters.clear()
        gc.collect()
        left = [ref() for ref in gone if ref() is not None]
        assert len(left) <= 1  # the last one lies in a worker's hands
        run = worker._desks[None]._run  # noqa: SLF001 - its memory is what is looked at
        assert run is not None
        tally = run._tally  # noqa: SLF001
        assert not any((tally.open, tally.doubtful, tally.again, worker.held))
        worker.drain()


class _Mark:
    """What a weak reference can be made to."""


async def _settled(memory: MemorySource, number: int) -> weakref.ref[_Mark]:
    mark = _Mark()
    await memory.submit(an_event(number, trace={"mark": mark}))
    return weakref.ref(mark)


# Whatever happens.

OUTCOMES: dict[str, Step] = {
    "well": well,
    "500": refused(500, 1),
    "502 after": html(502, after=True),
    "timeout": hang,
    "reset": lost_before,
    "reset after": lost_after,
    "429": refused(429, 1),
    "429 for long": refused(429, 1, retry_after=7),
    "no connection": unreachable,
}
COUNT, MISSING = 25, {3, 11}


@settings(deadline=None, max_examples=60)
@given(
    st.lists(st.sampled_from(sorted(OUTCOMES)), max_size=60),
    st.lists(
        st.tuples(st.sampled_from(["drain", "cancel", "vanish"]), st.floats(0, 20)), max_size=5
    ),
    st.integers(1, 8),
    st.integers(0, 9),
)
@on_virtual_clock
async def test_nothing_is_lost_and_nothing_settled_twice(
    script: list[str], ends: list[tuple[str, float]], concurrency: int, seed: int
) -> None:
    """Workers come and go while the service does what it likes; the last one finishes the work."""
    outcomes = [OUTCOMES[name] for name in script]

    def fate(sent: Any) -> Any:
        return outcomes.pop()(sent) if outcomes else well(sent)

    service = ScriptedTransport(then=by_event(dict.fromkeys(MISSING, refused(404, 717)), fate))
    memory = MemorySource(lease=6.0)
    await filled(memory, events(COUNT))
    told: list[Settlement] = []
    carried_out: list[Settlement] = []

    def hire(source: WatchedSource, **options: Any) -> ClaimWorker:
        client = a_client(service, seed=seed, retry=RetryPolicy(max_attempts=2))
        return ClaimWorker(
            client,
            source,
            concurrency=concurrency,
            grace=2.0,
            max_deliveries=20,
            on_settled=told.append,
            **options,
        )

    for end, seconds in ends:
        source = WatchedSource(memory.sibling())
        worker = hire(source)
        running = asyncio.create_task(worker.run())
        await asyncio.sleep(seconds)
        if end == "vanish":
            source.hooks["settle"] = rest(1e6)
        if end == "drain":
            worker.drain()
        else:
            running.cancel()
        await asyncio.gather(running, return_exceptions=True)
        carried_out += source.settlements
    source = WatchedSource(memory.sibling())
    await hire(source, once=True).run()
    carried_out += source.settlements

    final = [one for one in carried_out if one.verdict in {SETTLE, BURY}]
    references = [_reference(one) for one in final]
    assert sorted(references) == sorted(f"r{number}" for number in range(COUNT))
    held = {_reference(one) for one in final if one.verdict is SETTLE}
    assert {reference for _, reference in service.held} == held
    letters = {_reference(one): one.reason for one in memory.letters}
    assert letters == {f"r{number}": "rejected" for number in MISSING}
    # Of a worker that vanished, nobody was told what the source did.
    assert set(map(id, told)) <= set(map(id, carried_out))
    assert await memory.is_empty()


def _reference(settlement: Settlement) -> str:
    assert isinstance(settlement.delivery.event, ClaimEvent)
    return settlement.delivery.event.reference_id


# On a socket.

BADGES = list(make_badge_ids(3))


@pytest.mark.parametrize("lane_name", ["session", "wire"])
@leaving_nothing
async def test_two_workers_and_a_service_that_misbehaves(lane_name: str) -> None:
    memory = MemorySource(lease=20.0)
    for number in range(300):
        await memory.put(ClaimEvent(BADGES[number % 3], "Loyalty", f"member-{number}"))
    await memory.put(ClaimEvent("f" * 24, "Loyalty", "nobody"))
    faults = Fault.everyday(0.1)
    async with Sandbox(badges=BADGES, faults=faults, fault_delay=0.0, seed=5) as sandbox:
        auth = BasicAuth(sandbox.username, sandbox.password)
        retry, before = RetryPolicy(base=0.01), set(sandbox.claims)
        async with BadgesClient(sandbox.url, auth, retry=retry, lane=lane_name) as client:
            workers = [ClaimWorker(client, memory.sibling(), once=True) for _ in range(2)]
            async with asyncio.TaskGroup() as group:
                runs = [group.create_task(worker.run()) for worker in workers]
        reports = [run.result() for run in runs]
        assert sum(report.held for report in reports) == 300
        assert sum(report.settled for report in reports) == 301
        assert [letter.reason for letter in memory.letters] == ["rejected"]
        assert len(sandbox.claims - before) == 300


@leaving_nothing
async def test_a_worker_is_stopped_and_another_one_goes_on() -> None:
    memory, dice = MemorySource(lease=20.0), random.Random(3)  # noqa: S311 - moments
    for number in range(400):
        await memory.put(ClaimEvent(BADGES[number % 3], "Loyalty", f"member-{number}"))
    held = repeated = 0
    async with Sandbox(badges=BADGES) as sandbox:
        before = set(sandbox.claims)
        auth = BasicAuth(sandbox.username, sandbox.password)
        async with BadgesClient(sandbox.url, auth) as client:
            for _ in range(4):
                worker = ClaimWorker(client, memory.sibling(), concurrency=8)
                running = asyncio.create_task(worker.run())
                await sandbox.wait_for_requests(
                    int(str(sandbox.counters()["requests"])) + dice.randrange(1, 60)
                )
                worker.drain()
                report = await running
                held += report.held
                repeated += report.counts[ALREADY]
            report = await ClaimWorker(client, memory, once=True).run()
        assert held + report.held == len(sandbox.claims - before) == 400
        assert repeated + report.counts[ALREADY] == 0
