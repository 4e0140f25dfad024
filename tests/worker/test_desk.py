"""Events on their way into a bulk run: the feed, and what is known of those never sent."""

from __future__ import annotations

import asyncio

import pytest
from hypothesis import given, settings
from hypothesis import strategies as st

from badges_async import BadgesError, ClaimOutcome, ClaimStatus
from badges_async.worker import ClaimEvent
from badges_async.worker.desk import Desk, Feed
from tests.client.scripted import ScriptedTransport, hang, lost_after, refused, unreachable
from tests.virtual_clock import START, now, on_virtual_clock
from tests.worker.watched import a_client, an_event, events

# The feed.


async def read(feed: Feed) -> list[ClaimEvent]:
    return [event async for event in feed]


@on_virtual_clock
async def test_a_feed_gives_what_was_put_in_and_ends_when_it_is_told_to() -> None:
    feed, some = Feed(), events(3)
    for event in some:
        feed.put(event)
    assert feed.events == some
    feed.end()
    assert await read(feed) == some
    assert feed.events == []


@on_virtual_clock
async def test_whoever_waits_gets_what_comes_and_hears_of_the_end() -> None:
    feed, some = Feed(), events(3)
    reading = asyncio.create_task(read(feed))
    for event in some:
        await asyncio.sleep(1)
        feed.put(event)
    await asyncio.sleep(1)
    assert not reading.done()
    feed.end()
    assert await reading == some


@on_virtual_clock
async def test_what_comes_at_once_wakes_whoever_waits_once() -> None:
    feed, some = Feed(), events(5)
    reading = asyncio.create_task(read(feed))
    await asyncio.sleep(1)
    for event in some:
        feed.put(event)
    feed.end()
    assert await reading == some


def test_what_is_at_hand_is_given_without_waiting() -> None:
    feed, event = Feed(), an_event()
    assert feed.take_ready() is None
    feed.put(event)
    assert feed.take_ready() is event
    assert feed.take_ready() is None


@on_virtual_clock
async def test_what_is_taken_from_under_somebody_who_waits_is_waited_for_again() -> None:
    feed, (one, other) = Feed(), events(2)
    waiting = asyncio.create_task(anext(feed))
    await asyncio.sleep(1)
    feed.put(one)
    assert feed.take_ready() is one
    await asyncio.sleep(1)
    assert not waiting.done()
    feed.put(other)
    assert await waiting is other


@on_virtual_clock
async def test_a_wait_that_is_cancelled_takes_no_event_with_it() -> None:
    feed, event = Feed(), an_event()
    waiting = asyncio.create_task(anext(feed))
    await asyncio.sleep(1)
    feed.put(event)
    waiting.cancel()
    with pytest.raises(asyncio.CancelledError):
        await waiting
    feed.put(an_event(1))  # nobody is there to be told
    assert await anext(feed) is event


def test_an_event_can_be_taken_out_again_and_no_other_of_its_claim() -> None:
    feed, one, other = Feed(), an_event(), an_event()
    feed.put(one)
    feed.put(other)
    assert feed.drop(other)
    assert not feed.drop(other)
    assert feed.events == [one]
    assert feed.take_ready() is one
    assert not feed.drop(one)


# The desk.


class Settled:
    """Takes outcomes, as a worker does."""

    def __init__(self) -> None:
        self.outcomes: list[ClaimOutcome] = []
        self.room = asyncio.Event()
        self.room.set()

    def __call__(self, outcome: ClaimOutcome) -> asyncio.Future[None] | None:
        self.outcomes.append(outcome)
        if self.room.is_set():
            return None
        return asyncio.ensure_future(self._wait())

    async def _wait(self) -> None:
        await self.room.wait()

    @property
    def events(self) -> set[int]:
        return {id(outcome.request) for outcome in self.outcomes}


def a_desk(service: ScriptedTransport, concurrency: int = 4, patience: float = 60.0) -> Desk:
    return Desk(a_client(service), concurrency=concurrency, patience=patience)


@on_virtual_clock
async def test_each_event_has_one_outcome_about_the_event_itself() -> None:
    desk, settled, some = a_desk(ScriptedTransport()), Settled(), events(20)
    for event in some:
        desk.feed.put(event)
    desk.feed.end()
    await desk.work(settled)
    assert settled.events == set(map(id, some))
    assert {outcome.status for outcome in settled.outcomes} == {ClaimStatus.CLAIMED}
    assert desk.unsent() == set()
    assert desk.in_flight == 0


@on_virtual_clock
async def test_an_outcome_that_has_to_wait_holds_up_the_next_ones() -> None:
    service, settled = ScriptedTransport(), Settled()
    desk = a_desk(service)
    settled.room.clear()
    for event in events(200):
        desk.feed.put(event)
    desk.feed.end()
    async with asyncio.TaskGroup() as group:
        group.create_task(desk.work(settled))
        await asyncio.sleep(100)
        assert len(settled.outcomes) == 1
        assert len(service.sent) < 50
        settled.room.set()
    assert len(settled.outcomes) == 200


@on_virtual_clock
async def test_a_desk_without_a_run_has_sent_nothing() -> None:
    desk, some = a_desk(ScriptedTransport()), events(2)
    for event in some:
        desk.feed.put(event)
    assert desk.unsent() == set(map(id, some))
    assert (desk.in_flight, desk.waiting_for_service) == (0, False)


@on_virtual_clock
async def test_a_drain_before_the_run_sends_nothing() -> None:
    service, some = ScriptedTransport(), events(9)
    desk = a_desk(service)
    for event in some:
        desk.feed.put(event)
    desk.drain(5.0)
    await desk.work(Settled())
    assert service.sent == []
    assert desk.unsent() == set(map(id, some))
    assert now() == START


@on_virtual_clock
async def test_a_drain_lets_finish_what_is_sent_and_knows_what_is_not() -> None:
    service, settled, some = ScriptedTransport(latency=2.0), Settled(), events(10)
    desk = a_desk(service)
    async with asyncio.TaskGroup() as group:
        group.create_task(desk.work(settled))
        await asyncio.sleep(0)
        for event in some:
            desk.feed.put(event)
        await asyncio.sleep(1)
        assert desk.in_flight == 4
        desk.drain(5.0)
    assert now() == START + 2
    assert settled.events == set(map(id, some[:4]))
    assert desk.unsent() == set(map(id, some[4:]))


@on_virtual_clock
async def test_what_is_cut_off_after_the_grace_may_have_been_sent() -> None:
    settled, some = Settled(), events(10)
    desk = a_desk(ScriptedTransport(then=hang))
    for event in some:
        desk.feed.put(event)
    async with asyncio.TaskGroup() as group:
        group.create_task(desk.work(settled))
        await asyncio.sleep(1)
        desk.drain(3.0)
    assert now() == START + 4
    assert settled.outcomes == []
    assert desk.unsent() == set(map(id, some[4:]))


@on_virtual_clock
async def test_what_the_service_never_saw_counts_as_unsent() -> None:
    """Nobody is reached, and what waits for a probe was never sent."""
    some = events(3)
    desk = a_desk(ScriptedTransport(then=unreachable), patience=5.0)
    for event in some:
        desk.feed.put(event)
    with pytest.raises(BadgesError, match="answered nobody for 5 s"):
        await desk.work(Settled())
    assert desk.unsent() == set(map(id, some))


@on_virtual_clock
async def test_what_was_sent_before_it_waits_again_is_in_doubt() -> None:
    some = events(8)
    desk = a_desk(ScriptedTransport(*[lost_after] * 5, then=unreachable), patience=5.0)
    for event in some:
        desk.feed.put(event)
    async with asyncio.TaskGroup() as group:
        task = group.create_task(_ends(desk))
        await asyncio.sleep(2)
        assert desk.waiting_for_service
        assert await task
    assert len(desk.unsent()) in {3, 4, 5}  # one may have been sent twice
    assert desk.unsent() < set(map(id, some))


async def _ends(desk: Desk) -> bool:
    with pytest.raises(BadgesError):
        await desk.work(Settled())
    return True


@settings(deadline=None)
@given(
    st.lists(st.sampled_from(["put", "rest", "well", "lost"]), max_size=30),
    st.floats(0, 3),
    st.sampled_from([0.0, 0.05, 1.0]),
)
@on_virtual_clock
async def test_every_event_is_settled_unsent_or_in_doubt(
    steps: list[str], until: float, grace: float
) -> None:
    """In a run that is drained at any moment; and what is said to be unsent never was."""
    script = [lost_after if step == "lost" else refused(429, 1) for step in steps if step != "well"]
    service, settled = ScriptedTransport(*script, latency=0.3), Settled()
    desk, put = a_desk(service, 2), []
    async with asyncio.TaskGroup() as group:
        group.create_task(desk.work(settled))
        for number, step in enumerate(steps):
            if step == "rest":
                await asyncio.sleep(0.1)
            put.append(an_event(number))
            desk.feed.put(put[-1])
        await asyncio.sleep(until)
        desk.drain(grace)
    assert settled.events | desk.unsent() <= set(map(id, put))
    assert not settled.events & desk.unsent()
    for event in put:
        if id(event) in desk.unsent():
            assert not service.holds(event)
