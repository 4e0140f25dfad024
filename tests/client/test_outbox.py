"""The queue of outcomes: bounded, in order, and nothing is lost when a producer is cancelled."""

from __future__ import annotations

import asyncio

import pytest

from badges_async import InvalidInputError
from badges_async.outbox import Outbox
from tests.virtual_clock import on_virtual_clock


@on_virtual_clock
async def test_items_come_in_their_order_and_then_the_end() -> None:
    outbox: Outbox[int] = Outbox(3)
    for number in range(3):
        await outbox.put(number)
    outbox.end()
    assert [await outbox.get() for _ in range(5)] == [0, 1, 2, None, None]


@on_virtual_clock
async def test_a_producer_waits_for_room_and_a_consumer_for_an_item() -> None:
    outbox: Outbox[int] = Outbox(1)
    taking = asyncio.create_task(outbox.get())
    await asyncio.sleep(1)
    assert not taking.done()
    await outbox.put(1)
    assert await taking == 1

    await outbox.put(2)
    putting = asyncio.create_task(outbox.put(3))
    await asyncio.sleep(1)
    assert not putting.done()
    assert [await outbox.get(), await outbox.get()] == [2, 3]
    await putting


@on_virtual_clock
async def test_the_end_wakes_a_consumer_that_waits() -> None:
    outbox: Outbox[int] = Outbox(1)
    taking = asyncio.create_task(outbox.get())
    await asyncio.sleep(1)
    outbox.end()
    assert await taking is None


@on_virtual_clock
async def test_a_second_consumer_is_told_and_takes_nothing_from_the_first() -> None:
    outbox: Outbox[int] = Outbox(1)
    taking = asyncio.create_task(outbox.get())
    await asyncio.sleep(1)
    for second in (outbox.get, outbox.get_all):
        with pytest.raises(InvalidInputError, match="for one consumer"):
            await second()
    await outbox.put(1)
    assert await taking == 1


@on_virtual_clock
async def test_room_that_a_cancelled_producer_was_given_goes_to_the_next() -> None:
    outbox: Outbox[int] = Outbox(1)
    await outbox.put(0)
    first, second = (asyncio.create_task(outbox.put(number)) for number in (1, 2))
    await asyncio.sleep(1)

    assert await outbox.get() == 0  # wakes the first
    first.cancel()
    with pytest.raises(asyncio.CancelledError):
        await first
    await second
    assert await outbox.get() == 2


@on_virtual_clock
async def test_an_item_outlives_the_consumer_that_was_cancelled_for_it() -> None:
    outbox: Outbox[int] = Outbox(1)
    taking = asyncio.create_task(outbox.get())
    await asyncio.sleep(1)
    await outbox.put(1)
    taking.cancel()
    with pytest.raises(asyncio.CancelledError):
        await taking
    assert await outbox.get() == 1
