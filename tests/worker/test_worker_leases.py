"""Leases: renewed while claims take their time, let go of when somebody else has them."""

from __future__ import annotations

import asyncio
import gc
import weakref

import pytest
from hypothesis import given, settings
from hypothesis import strategies as st

from badges_async import ClaimStatus, Quota, RetryPolicy, Timeout
from badges_async.worker import ClaimEvent, ClaimWorker, Delivery, MemorySource, Verdict
from tests.client.scripted import ScriptedTransport, make_client, take, well
from tests.virtual_clock import START, now, on_virtual_clock
from tests.worker.watched import (
    WatchedSource,
    a_client,
    a_worker,
    an_event,
    events,
    filled,
    hang,
    rest,
)

SETTLE = Verdict.SETTLE


def steal(memory: MemorySource, *which: int | str) -> None:
    """Let somebody else have leases, by number or by the event's id."""
    thief = memory.sibling()
    for entry in memory._store.timed:  # noqa: SLF001 - or a test had to wait for slow renewals
        event = entry.event
        if not isinstance(event, ClaimEvent) or {event.id, int(event.badge_id, 16)} & {*which}:
            entry.holder, entry.free_at = thief, now() + 1e6


def _reference(delivery: Delivery) -> str:
    return delivery.event.reference_id if isinstance(delivery.event, ClaimEvent) else "?"


@on_virtual_clock
async def test_all_that_is_held_is_renewed_every_third_of_the_lease() -> None:
    service = ScriptedTransport(then=take(100))
    source = await filled(MemorySource(lease=9.0), events(30))
    moments: list[float] = []

    async def note() -> None:
        moments.append(now() - START)

    source.hooks["renew"] = note
    client = a_client(service, timeout=Timeout(total=500, attempt=200))
    worker = ClaimWorker(client, source, concurrency=8)
    async with asyncio.TaskGroup() as group:
        group.create_task(worker.run())
        await asyncio.sleep(50)
        worker.drain()
        await asyncio.sleep(19)
    assert moments[:6] == pytest.approx([3.0, 6.0, 9.0, 12.0, 15.0, 18.0])
    assert [{_reference(one) for one in batch} for batch in source.renewed[:3]] == [
        {f"r{number}" for number in range(10)}
    ] * 3
    assert len(source.fetched) == 10


@pytest.mark.parametrize("seconds", [4.0, 8.0, 30.0])
@on_virtual_clock
async def test_claims_that_take_longer_than_the_lease_are_not_repeated(seconds: float) -> None:
    memory = MemorySource(lease=5.0)
    await filled(memory, events(64))
    service = ScriptedTransport(then=take(seconds))
    client = a_client(service, timeout=Timeout(total=200, attempt=100))
    workers = [ClaimWorker(client, memory.sibling(), concurrency=8, once=True) for _ in range(2)]
    async with asyncio.TaskGroup() as group:
        for worker in workers:
            group.create_task(worker.run())
    assert len(service.sent) == 64
    assert [worker.report.lost for worker in workers] == [0, 0]
    assert sum(worker.report.counts[ClaimStatus.CLAIMED] for worker in workers) == 64


@on_virtual_clock
async def test_what_waits_for_its_turn_is_not_taken_over() -> None:
    """At a quota of one in ten seconds an event waits for many leases."""
    memory = MemorySource(lease=5.0)
    await filled(memory, events(40))
    service = ScriptedTransport()
    client = a_client(service, quota=Quota(1, per=10.0))
    workers = [ClaimWorker(client, memory.sibling(), concurrency=8, once=True) for _ in range(2)]
    async with asyncio.TaskGroup() as group:
        for worker in workers:
            group.create_task(worker.run())
    assert len(service.sent) == 40
    assert now() - START >= 390


@on_virtual_clock
async def test_what_is_decided_and_not_told_is_renewed_as_well() -> None:
    memory = MemorySource(lease=5.0)
    source = await filled(memory, events(100))
    back = asyncio.Event()
    source.hooks["settle"] = back.wait
    other = WatchedSource(memory.sibling())
    service = ScriptedTransport()
    first, second = a_worker(service, source, concurrency=50), a_worker(service, other)
    async with asyncio.TaskGroup() as group:
        group.create_task(first.run())
        await asyncio.sleep(1)
        group.create_task(second.run())
        await asyncio.sleep(60)
        back.set()
    assert len(service.sent) == 100
    assert source.verdicts() == {SETTLE: 100}
    assert other.fetched == []


@on_virtual_clock
async def test_nothing_is_renewed_when_nothing_is_held() -> None:
    source = WatchedSource(MemorySource(lease=3.0))
    worker = a_worker(ScriptedTransport(), source, once=False)
    async with asyncio.TaskGroup() as group:
        group.create_task(worker.run())
        await asyncio.sleep(20)
        worker.drain()
    assert source.renewed == []


@on_virtual_clock
async def test_leases_are_renewed_until_a_drain_is_over() -> None:
    memory = MemorySource(lease=3.0)
    source = await filled(memory, events(8))
    other = memory.sibling()
    worker = a_worker(ScriptedTransport(then=take(9)), source, concurrency=8)
    async with asyncio.TaskGroup() as group:
        group.create_task(worker.run())
        await asyncio.sleep(1)
        worker.drain()
        assert await other.fetch(10, 8.0) == []
    assert source.verdicts() == {SETTLE: 8}


# Leases that are lost.


@on_virtual_clock
async def test_what_somebody_else_has_is_not_claimed_here_unless_it_is_sent() -> None:
    """Of ten, eight are on the wire: two of those and one of the others are lost."""
    source = await filled(memory := MemorySource(lease=9.0), events(10))
    service = ScriptedTransport(latency=4.0)
    worker = a_worker(service, source, concurrency=8, once=False)
    async with asyncio.TaskGroup() as group:
        group.create_task(worker.run())
        await asyncio.sleep(1)
        steal(memory, 0, 5, 9)
        await asyncio.sleep(2.5)
        assert worker.held == 9
        await asyncio.sleep(10)
        assert worker.held == 0
        worker.drain()
    assert {sent.key[1] for sent in service.sent} == {f"r{number}" for number in range(9)}
    assert worker.report.lost == 3
    assert source.verdicts() == {SETTLE: 9}
    assert worker.report.held == 9


@on_virtual_clock
async def test_a_lost_event_makes_room_for_another() -> None:
    source = await filled(memory := MemorySource(lease=9.0), events(20))
    worker = a_worker(ScriptedTransport(then=take(5)), source, concurrency=8, once=False)
    async with asyncio.TaskGroup() as group:
        group.create_task(worker.run())
        await asyncio.sleep(2.9)
        assert len(source.fetched) == 10
        steal(memory, 8, 9)
        await asyncio.sleep(0.2)
        assert len(source.fetched) == 12
        worker.drain()


@on_virtual_clock
async def test_of_two_events_of_one_claim_the_right_one_is_let_go() -> None:
    """Both wait behind others, and the second of them is somebody else's."""
    twins = [an_event(1, id="first"), an_event(1, id="second")]
    source = await filled(memory := MemorySource(lease=9.0), [*events(8, start=2), *twins])
    worker = a_worker(ScriptedTransport(then=take(5)), source, concurrency=8, once=False)
    async with asyncio.TaskGroup() as group:
        group.create_task(worker.run())
        await asyncio.sleep(1)
        assert worker.held == 10
        steal(memory, "second")
        await asyncio.sleep(20)
        assert worker.held == 0
        worker.drain()
    told = [one.delivery.event.id for one in source.settlements]  # type: ignore[union-attr]
    assert told == [None] * 8 + ["first"]
    assert worker.report.lost == 1


@on_virtual_clock
async def test_a_lease_is_lost_once_however_long_its_claim_takes() -> None:
    source = await filled(memory := MemorySource(lease=3.0), [an_event()])
    worker = a_worker(ScriptedTransport(then=take(9)), source, once=False)
    async with asyncio.TaskGroup() as group:
        group.create_task(worker.run())
        await asyncio.sleep(0.5)
        steal(memory, 0)
        await asyncio.sleep(8)
        assert worker.report.lost == 1
        assert len(source.renewed) == 1  # the others would have been in vain
        await asyncio.sleep(5)
        worker.drain()
    assert source.verdicts() == {SETTLE: 1}
    assert worker.report.lost == 1


@on_virtual_clock
async def test_nothing_is_kept_of_what_was_lost() -> None:
    class Mark:
        """What a weak reference can be made to."""

    memory = MemorySource(lease=3.0)
    gone = []
    for number in range(9):
        mark = Mark()
        gone.append(weakref.ref(mark))
        await memory.put(an_event(number, trace={"mark": mark}))
    del mark
    worker = a_worker(ScriptedTransport(latency=2.0), memory, once=False)
    async with asyncio.TaskGroup() as group:
        group.create_task(worker.run())
        await asyncio.sleep(0.5)
        steal(memory, *range(9))
        await asyncio.sleep(4)
        assert worker.report.lost == 9
        memory._store.timed.clear()  # noqa: SLF001 - the thief has settled it
        await memory.submit(an_event(99))  # the last ones that were told may be in hand
        await asyncio.sleep(4)
        gc.collect()
        assert len([mark for mark in gone if mark() is not None]) <= 2
        worker.drain()


@on_virtual_clock
async def test_a_dead_letter_whose_lease_is_lost_is_counted_only() -> None:
    source = await filled(memory := MemorySource(lease=3.0), [b"?"])
    back = asyncio.Event()
    source.hooks["settle"] = back.wait
    worker = a_worker(ScriptedTransport(), source, once=False)
    async with asyncio.TaskGroup() as group:
        group.create_task(worker.run())
        await asyncio.sleep(0.5)
        steal(memory)
        await asyncio.sleep(5)
        assert worker.report.lost == 1
        back.set()
        await asyncio.sleep(1)
        worker.drain()
    assert worker.report.buried == {"unreadable": 1}
    assert memory.letters == []  # it is for whoever has it now to say so


@on_virtual_clock
async def test_a_worker_that_stands_still_loses_its_leases_and_does_no_harm() -> None:
    """Its renewals do not arrive for a while; what it still sends is found claimed, or finds it."""
    memory = MemorySource(lease=3.0)
    source = await filled(memory, events(20))
    source.hooks["renew"] = rest(20.0)
    other = WatchedSource(memory.sibling())
    service = ScriptedTransport(then=take(4))
    workers = [
        a_worker(service, source, concurrency=4),
        a_worker(ScriptedTransport(), other, concurrency=4),
    ]
    async with asyncio.TaskGroup() as group:
        for worker in workers:
            group.create_task(worker.run())
    assert await memory.is_empty()
    assert all(worker.held == 0 for worker in workers)


@settings(deadline=None, max_examples=60)
@given(
    st.lists(st.tuples(st.floats(0, 9), st.floats(0, 9)), max_size=6),
    st.floats(0.1, 9),
    st.integers(1, 5),
)
@on_virtual_clock
async def test_however_late_renewals_come_every_event_ends(
    naps: list[tuple[float, float]], seconds: float, concurrency: int
) -> None:
    """Also of a worker that is handed again what it still has in hand."""
    memory = MemorySource(lease=3.0)
    source = await filled(memory, events(15))
    rests = iter(naps)

    async def nap() -> None:
        await asyncio.sleep(next(rests, (0.0, 0.0))[0])

    source.hooks["renew"] = nap
    service = ScriptedTransport(then=take(seconds, well))
    client = make_client(
        service, timeout=Timeout(total=90, attempt=30), retry=RetryPolicy(max_attempts=1)
    )
    worker = ClaimWorker(client, source, concurrency=concurrency, once=True, max_deliveries=100)
    report = await worker.run()
    assert len(service.held) == 15
    assert report.held == source.verdicts()[SETTLE] >= 15
    assert worker.held == 0


@on_virtual_clock
async def test_a_renewal_that_hangs_ends_with_the_worker() -> None:
    source = await filled(MemorySource(lease=3.0), events(9))
    source.hooks["renew"] = hang
    worker = a_worker(ScriptedTransport(then=take(2)), source, concurrency=4, once=False)
    async with asyncio.TaskGroup() as group:
        group.create_task(worker.run())
        await asyncio.sleep(30)
        worker.drain()
    assert set(source.verdicts()) == {SETTLE}
