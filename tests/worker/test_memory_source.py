"""The source in memory: putting, submitting, withdrawing, siblings, the end."""

from __future__ import annotations

import asyncio
import gc
import weakref
from collections.abc import Awaitable

import pytest
from hypothesis import given, settings
from hypothesis import strategies as st

from badges_async import InvalidInputError
from badges_async.worker import (
    ClaimEvent,
    Delivery,
    MemorySource,
    Settlement,
    SourceError,
    UnreadableEventError,
    Verdict,
)
from tests.virtual_clock import START, now, on_virtual_clock
from tests.worker.watched import an_event, events

SETTLE, RETRY, BURY, RELEASE = Verdict.SETTLE, Verdict.RETRY, Verdict.BURY, Verdict.RELEASE


async def one(source: MemorySource, wait: float = 0.0) -> Delivery:
    (delivery,) = await source.fetch(1, wait)
    return delivery


async def told(source: MemorySource, delivery: Delivery, verdict: Verdict) -> None:
    await source.settle([Settlement(delivery, verdict, reason="rejected")])


def is_empty(source: MemorySource) -> bool:
    """See that nothing at all is left of any event."""
    store = source._store  # noqa: SLF001 - its memory is what is looked at
    return not (store.ready or store.timed or store.arrivals)


@pytest.mark.parametrize("options", [{"lease": 0.0}, {"lease": float("nan")}, {"most": 0}])
def test_options_without_a_meaning_are_refused(options: dict[str, float]) -> None:
    with pytest.raises(InvalidInputError, match="lease must be above 0 seconds, and most"):
        MemorySource(**options)  # type: ignore[arg-type]


# Waiting for what comes.


@on_virtual_clock
async def test_a_fetch_waits_as_long_as_it_was_told_to() -> None:
    source = MemorySource()
    assert await source.fetch(5, 0.5) == []
    assert now() == START + 0.5


@pytest.mark.parametrize("most", [0, -1, -5])
@on_virtual_clock
async def test_a_fetch_of_nothing_gives_nothing_at_once(most: int) -> None:
    source = MemorySource(lease=3.0)
    for event in events(9):
        await source.put(event)
    await source.fetch(8, 0.0)
    await asyncio.sleep(4)
    assert await source.fetch(most, 5.0) == []
    assert now() == START + 4


@on_virtual_clock
async def test_a_fetch_ends_when_something_comes_and_when_a_lease_ends() -> None:
    source = MemorySource(lease=3.0)
    async with asyncio.TaskGroup() as group:
        first = group.create_task(source.fetch(5, 60.0))
        await asyncio.sleep(1)
        await source.put(an_event())
        await first
        assert now() == START + 1
        assert (await one(source.sibling(), 60.0)).deliveries == 2
        assert now() == START + 4


@on_virtual_clock
async def test_what_comes_in_the_last_moment_of_a_wait_is_no_trouble() -> None:
    source = MemorySource()
    asyncio.get_running_loop().call_at(START + 1, source._store.announce)  # noqa: SLF001
    assert await source.fetch(5, 1.0) == []
    assert now() == START + 1


@on_virtual_clock
async def test_several_that_wait_share_what_comes() -> None:
    source = MemorySource()
    async with asyncio.TaskGroup() as group:
        fetches = [group.create_task(source.sibling().fetch(1, 10.0)) for _ in range(3)]
        await asyncio.sleep(1)
        for event in events(2):
            await source.put(event)
    assert sorted(len(fetch.result()) for fetch in fetches) == [0, 1, 1]
    assert now() == START + 10


@on_virtual_clock
async def test_leases_that_ended_come_before_what_is_new() -> None:
    source = MemorySource(lease=3.0)
    old, new = events(2)
    await source.put(old)
    await one(source)
    await source.put(new)
    await asyncio.sleep(3)
    assert [delivery.event for delivery in await source.fetch(5, 0.0)] == [old, new]


@on_virtual_clock
async def test_a_message_is_read_and_an_unreadable_one_is_delivered_as_that() -> None:
    source = MemorySource()
    await source.put(an_event(7).to_json())
    await source.put(b"?")
    event, trouble = [delivery.event for delivery in await source.fetch(5, 0.0)]
    assert isinstance(event, ClaimEvent)
    assert event.reference_id == "r7"
    assert isinstance(trouble, UnreadableEventError)


@on_virtual_clock
async def test_what_is_handed_back_wakes_whoever_waits() -> None:
    source = MemorySource(lease=30.0)
    await source.put(an_event())
    delivery = await one(source)
    async with asyncio.TaskGroup() as group:
        fetching = group.create_task(source.sibling().fetch(5, 20.0))
        await asyncio.sleep(1)
        await told(source, delivery, RELEASE)
        assert len(await fetching) == 1
    assert now() == START + 1


@on_virtual_clock
async def test_of_leases_that_ended_the_one_that_was_given_out_first_comes_first() -> None:
    source = MemorySource(lease=3.0)
    some = events(2)
    for event in some:
        await source.put(event)
    await source.fetch(2, 0.0)
    came = []
    for _ in range(4):
        await asyncio.sleep(3)
        came.append((await one(source)).event)
    assert came == some * 2


@on_virtual_clock
async def test_what_nobody_has_is_not_lost() -> None:
    source = MemorySource(lease=3.0)
    for event in events(2):
        await source.put(event)
    settled, put_off = await source.fetch(2, 0.0)
    await told(source, settled, SETTLE)
    await source.settle([Settlement(put_off, RETRY, delay=3.0)])
    assert await source.renew([settled, put_off]) == []


# Submitting.


@on_virtual_clock
async def test_whoever_submits_hears_how_it_ended() -> None:
    source = MemorySource()
    async with asyncio.TaskGroup() as group:
        answers = [group.create_task(source.submit(event)) for event in events(2)]
        first, second = await one(source, 1.0), await one(source, 1.0)
        await told(source, first, SETTLE)
        await told(source, second, BURY)
    assert [answer.result().verdict for answer in answers] == [SETTLE, BURY]
    assert answers[0].result().delivery is first
    assert source.letters == []  # somebody knows of it
    assert is_empty(source)


@on_virtual_clock
async def test_whoever_submits_waits_through_retries_and_hand_backs() -> None:
    source = MemorySource()
    async with asyncio.TaskGroup() as group:
        answer = group.create_task(source.submit(an_event()))
        for verdict, count in ((RETRY, 1), (RELEASE, 2), (RETRY, 2), (SETTLE, 3)):
            delivery = await one(source, 1.0)
            assert delivery.deliveries == count
            assert not answer.done()
            await told(source, delivery, verdict)
    assert is_empty(source)


@on_virtual_clock
async def test_a_dead_letter_that_nobody_waits_for_is_kept() -> None:
    source = MemorySource()
    await source.put(an_event())
    delivery = await one(source)
    await told(source, delivery, BURY)
    assert [(letter.delivery, letter.reason) for letter in source.sibling().letters] == [
        (delivery, "rejected")
    ]


@on_virtual_clock
async def test_a_submission_that_is_cancelled_in_time_is_withdrawn() -> None:
    source = MemorySource()
    submitting = asyncio.create_task(source.submit(an_event()))
    await asyncio.sleep(1)
    submitting.cancel()
    await asyncio.gather(submitting, return_exceptions=True)
    assert is_empty(source)


@on_virtual_clock
async def test_a_submission_that_is_put_off_can_still_be_withdrawn() -> None:
    source = MemorySource()
    submitting = asyncio.create_task(source.submit(an_event()))
    delivery = await one(source, 1.0)
    await source.settle([Settlement(delivery, RETRY, delay=30.0)])
    submitting.cancel()
    await asyncio.gather(submitting, return_exceptions=True)
    assert is_empty(source)


@pytest.mark.parametrize("verdict", [SETTLE, BURY])
@on_virtual_clock
async def test_a_claim_that_was_begun_goes_on_when_nobody_waits_any_more(verdict: Verdict) -> None:
    source = MemorySource()
    submitting = asyncio.create_task(source.submit(an_event()))
    delivery = await one(source, 1.0)
    submitting.cancel()
    await asyncio.gather(submitting, return_exceptions=True)
    assert not await source.is_empty()
    await told(source, delivery, verdict)
    assert is_empty(source)


# How much may wait.


@on_virtual_clock
async def test_more_than_the_most_waits_for_room() -> None:
    source = MemorySource(most=2)
    async with asyncio.TaskGroup() as group:
        puts = [group.create_task(source.put(event)) for event in events(5)]
        await asyncio.sleep(1)
        assert [put.done() for put in puts] == [True, True, False, False, False]
        await source.fetch(1, 0.0)
        await asyncio.sleep(1)
        assert sum(put.done() for put in puts) == 3
        await source.fetch(2, 0.0)
    assert now() == START + 2


@on_virtual_clock
async def test_waiting_for_room_waits() -> None:
    """A lease that ended long ago makes no room, and is nothing to look at again and again."""
    source = MemorySource(lease=3.0, most=1)
    await source.put(an_event())
    await one(source)
    await source.put(an_event(1))
    looks = 0
    something = source._something  # noqa: SLF001 - it is what must not spin

    def counted(deadline: float | None) -> Awaitable[None]:
        nonlocal looks
        looks += 1
        assert looks < 10
        return something(deadline)

    source._something = counted  # type: ignore[method-assign,assignment] # noqa: SLF001
    putting = asyncio.create_task(source.put(an_event(2)))
    await asyncio.sleep(100)
    assert not putting.done()
    assert len(await source.fetch(2, 0.0)) == 2
    await putting


@on_virtual_clock
async def test_what_is_withdrawn_makes_room() -> None:
    source = MemorySource(most=1)
    submitting = asyncio.create_task(source.submit(an_event()))
    await asyncio.sleep(0)
    putting = asyncio.create_task(source.put(an_event(1)))
    await asyncio.sleep(1)
    submitting.cancel()
    await putting
    await asyncio.gather(submitting, return_exceptions=True)
    assert now() == START + 1


@on_virtual_clock
async def test_a_wait_for_room_that_is_cancelled_leaves_nothing() -> None:
    source = MemorySource(most=1)
    await source.put(an_event())
    for what in (source.put, source.submit):
        waiting = asyncio.ensure_future(what(an_event(1)))
        await asyncio.sleep(1)
        waiting.cancel()
        await asyncio.gather(waiting, return_exceptions=True)
    await told(source, await one(source), SETTLE)
    assert is_empty(source)


# The end.


@on_virtual_clock
async def test_when_the_worker_ends_whoever_waits_is_told_and_keeps_the_event() -> None:
    source = MemorySource(most=2, lease=5.0)
    await source.open()
    submits = [asyncio.create_task(source.submit(event)) for event in events(4)]
    await asyncio.sleep(1)
    delivery = await one(source)  # that of one is being claimed
    await asyncio.sleep(1)
    await source.close()
    await source.close()
    for failure in await asyncio.gather(*submits, return_exceptions=True):
        assert isinstance(failure, SourceError)
    with pytest.raises(SourceError, match="the worker has ended"):
        await source.submit(an_event())
    assert is_empty(source)
    await told(source, delivery, SETTLE)  # too late to matter


@on_virtual_clock
async def test_what_was_put_stays_for_the_next_worker() -> None:
    source = MemorySource(lease=5.0)
    await source.open()
    await source.put(an_event())
    await source.put(an_event(1))
    await one(source)
    await source.close()
    await source.put(an_event(2))
    assert len(await source.sibling().fetch(9, 0.0)) == 2
    await asyncio.sleep(5)
    assert len(await source.sibling().fetch(9, 0.0)) == 3


@on_virtual_clock
async def test_a_source_can_be_opened_again() -> None:
    source = MemorySource()
    await source.open()
    await source.close()
    await source.open()
    async with asyncio.TaskGroup() as group:
        group.create_task(source.submit(an_event()))
        await told(source, await one(source, 1.0), SETTLE)
    await source.close()


@on_virtual_clock
async def test_whoever_submits_before_the_worker_begins_waits_for_it() -> None:
    source = MemorySource()
    async with asyncio.TaskGroup() as group:
        group.create_task(source.submit(an_event()))
        await asyncio.sleep(100)
        await source.open()
        await told(source, await one(source), SETTLE)
    await source.close()


@on_virtual_clock
async def test_as_long_as_one_sibling_works_nobody_is_told_of_an_end() -> None:
    first = MemorySource(lease=5.0)
    second = first.sibling()
    await first.open()
    await second.open()
    async with asyncio.TaskGroup() as group:
        answers = [group.create_task(first.submit(event)) for event in events(2)]
        await one(first, 1.0)
        await first.close()
        answers.append(group.create_task(first.submit(an_event(2))))
        for _ in range(3):
            await told(second, await one(second, 10.0), SETTLE)
    assert [answer.result().verdict for answer in answers] == [SETTLE] * 3
    await second.close()
    with pytest.raises(SourceError):
        await second.submit(an_event())


@on_virtual_clock
async def test_a_submission_that_is_cancelled_as_the_worker_ends_complains_to_nobody() -> None:
    source = MemorySource()
    await source.open()
    submitting = asyncio.create_task(source.submit(an_event()))
    await asyncio.sleep(1)
    await source.close()
    submitting.cancel()
    with pytest.raises((asyncio.CancelledError, SourceError)):
        await submitting
    del submitting
    gc.collect()  # the virtual clock fails for what the loop is told
    assert is_empty(source)


@on_virtual_clock
async def test_nothing_is_left_of_an_event_that_is_settled() -> None:
    source = MemorySource()

    class Mark:
        """What a weak reference can be made to."""

    marks = [Mark() for _ in range(100)]
    gone = [weakref.ref(mark) for mark in marks]
    for number, mark in enumerate(marks):
        await source.put(an_event(number, trace={"mark": mark}))
    marks.clear()
    del mark
    for verdict in (RETRY, SETTLE):
        for delivery in await source.fetch(100, 0.0):
            await told(source, delivery, verdict)
    del delivery
    gc.collect()
    assert [ref() for ref in gone if ref() is not None] == []
    assert is_empty(source)


@settings(deadline=None)
@given(
    st.lists(
        st.tuples(
            st.integers(0, 2), st.sampled_from([*Verdict, "keep", "cancel"]), st.floats(0, 4)
        ),
        max_size=40,
    )
)
@on_virtual_clock
async def test_however_it_is_used_each_event_ends_once(
    steps: list[tuple[int, Verdict | str, float]],
) -> None:
    root = MemorySource(lease=3.0, most=5)
    sources = [root, root.sibling(), root.sibling()]
    for source in sources:
        await source.open()
    ends: list[int] = []
    submits = [asyncio.create_task(root.submit(event)) for event in events(8)]
    for number, task in enumerate(submits):
        task.add_done_callback(lambda _, number=number: ends.append(number))  # type: ignore[misc]
    cancelled = 0
    for who, what, pause in steps:
        await asyncio.sleep(pause)
        if what == "cancel":
            submits[cancelled % 8].cancel()
            cancelled += 1
            continue
        for delivery in await sources[who].fetch(2, 0.0):
            if isinstance(what, Verdict):
                await told(sources[who], delivery, what)
    await asyncio.sleep(3)
    while not all(task.done() for task in submits) or not await root.is_empty():
        for delivery in await root.fetch(8, 3.0):
            await told(root, delivery, SETTLE)
    await asyncio.gather(*submits, return_exceptions=True)
    assert sorted(ends) == list(range(8))
    for source in sources:
        await source.close()
    assert is_empty(root)
