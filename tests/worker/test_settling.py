"""Telling the source what is decided: how soon, how much at once, and how much at the most."""

from __future__ import annotations

import asyncio
from collections.abc import Sequence

import pytest
from hypothesis import given, settings
from hypothesis import strategies as st

from badges_async.worker import Delivery, MemorySource, Settlement, SourceError, Verdict
from badges_async.worker.settling import Settler
from tests.virtual_clock import START, now, on_virtual_clock
from tests.worker.watched import WatchedSource, an_event, fail, hang, rest

MOST = 1024
SOON = 0.05


def a_settlement() -> Settlement:
    return Settlement(Delivery(an_event(), object()), Verdict.SETTLE)


class Heard:
    """Hears what was told."""

    def __init__(self) -> None:
        self.settlements: list[Settlement] = []

    def __call__(self, settlements: Sequence[Settlement]) -> None:
        self.settlements += settlements


def a_settler(source: WatchedSource, heard: Heard | None = None) -> Settler:
    return Settler(source, heard or Heard(), batch=256)


class Notebook(MemorySource):
    """A source that settles whatever it is told."""

    async def settle(self, settlements: Sequence[Settlement]) -> None:
        pass


@on_virtual_clock
async def test_one_settlement_is_told_soon() -> None:
    source, heard = WatchedSource(Notebook()), Heard()
    settler = a_settler(source, heard)
    async with asyncio.TaskGroup() as group:
        group.create_task(settler.run())
        await asyncio.sleep(5)
        assert settler.idle
        settlement = a_settlement()
        settler.add(settlement)
        assert not settler.idle
        assert settler.deliveries == [settlement.delivery]
        await asyncio.sleep(SOON)
        assert source.settled == [[settlement]]
        assert heard.settlements == [settlement]
        assert settler.idle
        assert settler.deliveries == []
        settler.end()


@on_virtual_clock
async def test_what_is_decided_together_is_told_together_and_in_its_order() -> None:
    source, heard = WatchedSource(Notebook()), Heard()
    settler = a_settler(source, heard)
    settlements = [a_settlement() for _ in range(20)]
    async with asyncio.TaskGroup() as group:
        group.create_task(settler.run())
        for settlement in settlements:
            settler.add(settlement)
            await asyncio.sleep(0)
        await asyncio.sleep(SOON)
        settler.end()
    assert source.settled == [settlements]
    assert heard.settlements == settlements


@on_virtual_clock
async def test_a_full_batch_does_not_wait_for_more() -> None:
    source = WatchedSource(Notebook())
    settler = a_settler(source)
    async with asyncio.TaskGroup() as group:
        group.create_task(settler.run())
        await asyncio.sleep(1)
        began = now()
        for _ in range(600):
            settler.add(a_settlement())
            await asyncio.sleep(0)
        assert now() == began
        assert len(source.settlements) >= 256
        settler.end()
    assert len(source.settlements) == 600


@on_virtual_clock
async def test_while_one_batch_is_told_the_next_one_gathers() -> None:
    source = WatchedSource(Notebook(), settle=rest(1.0))
    settler = a_settler(source)
    async with asyncio.TaskGroup() as group:
        group.create_task(settler.run())
        settler.add(a_settlement())
        await asyncio.sleep(0.5)
        assert not settler.idle  # the source does not know it yet
        for _ in range(100):
            settler.add(a_settlement())
        assert len(settler.deliveries) == 101
        assert not settler.idle
        await asyncio.sleep(0.6)
        assert [len(batch) for batch in source.settled] == [1]
        assert len(settler.deliveries) == 100
        await asyncio.sleep(1.1)
        assert [len(batch) for batch in source.settled] == [1, 100]
        settler.end()


@on_virtual_clock
async def test_the_end_is_told_at_once_and_everything_before_it() -> None:
    source, heard = WatchedSource(Notebook()), Heard()
    settler = a_settler(source, heard)
    async with asyncio.TaskGroup() as group:
        group.create_task(settler.run())
        await asyncio.sleep(1)
        for _ in range(3):
            settler.add(a_settlement())
        settler.end()
        await asyncio.sleep(0)
        await asyncio.sleep(0)
    assert now() == START + 1
    assert len(heard.settlements) == 3


@on_virtual_clock
async def test_a_settler_that_ends_before_it_began_tells_all_the_same() -> None:
    source, heard = WatchedSource(Notebook()), Heard()
    settler = a_settler(source, heard)
    settler.add(a_settlement())
    settler.end()
    await settler.run()
    assert len(heard.settlements) == 1


@on_virtual_clock
async def test_a_settler_without_work_ends() -> None:
    source = WatchedSource(Notebook())
    settler = a_settler(source)
    async with asyncio.TaskGroup() as group:
        group.create_task(settler.run())
        await asyncio.sleep(1)
        settler.end()
    assert source.settled == []


@on_virtual_clock
async def test_there_is_room_for_a_thousand_and_then_none_until_the_source_takes_some() -> None:
    back = asyncio.Event()
    source = WatchedSource(Notebook(), settle=back.wait)
    settler = a_settler(source)
    async with asyncio.TaskGroup() as group:
        group.create_task(settler.run())
        settler.add(a_settlement())
        await asyncio.sleep(1)  # that one is on its way
        for _ in range(MOST):
            assert not settler.full
            await settler.room()
            settler.add(a_settlement())
        assert settler.full
        waiting = group.create_task(settler.room())
        await asyncio.sleep(100)
        assert not waiting.done()
        back.set()
        await waiting
        assert not settler.full
        settler.end()
    assert len(source.settlements) == MOST + 1


@on_virtual_clock
async def test_when_nothing_new_is_taken_nobody_waits_for_room() -> None:
    settler = a_settler(WatchedSource(Notebook(), settle=hang))
    async with asyncio.TaskGroup() as group:
        running = group.create_task(settler.run())
        settler.add(a_settlement())
        await asyncio.sleep(1)  # that one is on its way
        for _ in range(MOST):
            settler.add(a_settlement())
        waiting = group.create_task(settler.room())
        await asyncio.sleep(1)
        assert settler.full
        assert not waiting.done()
        settler.take_all()
        await waiting
        for _ in range(2 * MOST):
            settler.add(a_settlement())
        assert not settler.full
        running.cancel()


@on_virtual_clock
async def test_nobody_waits_for_a_source_that_cannot_be_used() -> None:
    heard = Heard()
    source = WatchedSource(Notebook(), settle=fail(SourceError("gone"), after=1))
    settler = a_settler(source, heard)
    settler.add(a_settlement())
    async with asyncio.TaskGroup() as group:
        running = group.create_task(_raised(settler))
        await asyncio.sleep(1)
        for _ in range(2 * MOST):
            settler.add(a_settlement())
        assert str(await running) == "gone"
        for _ in range(2 * MOST):
            settler.add(a_settlement())
        assert not settler.full
        await settler.room()
    assert len(heard.settlements) == 1
    assert len(settler.deliveries) == 4 * MOST  # as they are: not told


async def _raised(settler: Settler) -> BaseException:
    with pytest.raises(SourceError) as caught:
        await settler.run()
    return caught.value


@pytest.mark.slow
@settings(deadline=None)  # of the wall's clock
@given(
    st.lists(
        st.tuples(st.integers(0, 300) | st.just(1200), st.floats(0, 0.1)),
        max_size=8,
    ),
    st.floats(0, 0.5),
)
@on_virtual_clock
async def test_everything_is_told_once_in_its_order_whenever_it_comes(
    arrivals: list[tuple[int, float]], slow: float
) -> None:
    source, heard = WatchedSource(Notebook(), settle=rest(slow)), Heard()
    settler = a_settler(source, heard)
    added = []
    async with asyncio.TaskGroup() as group:
        group.create_task(settler.run())
        for count, pause in arrivals:
            for _ in range(count):
                await settler.room()
                added.append(a_settlement())
                settler.add(added[-1])
                assert len(settler._waiting) <= MOST  # noqa: SLF001 - nobody else can see it
            await asyncio.sleep(pause)
        settler.end()
    assert source.settlements == heard.settlements == added
    assert settler.idle
    assert all(source.settled)
