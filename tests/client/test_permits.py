"""A permit is lost to nobody, whatever is cancelled when."""

from __future__ import annotations

import asyncio
import random

import pytest

from badges_async.permits import Permits
from tests.virtual_clock import on_virtual_clock


async def use(permits: Permits, inside: list[int], turns: int) -> None:
    if not permits.take():
        await permits.wait()
    try:
        inside.append(len(inside))
        for _ in range(turns):
            await asyncio.sleep(0)
    finally:
        inside.pop()
        permits.release()


def all_are_back(permits: Permits, number: int) -> bool:
    taken = [permits.take() for _ in range(number + 1)]
    return taken == [True] * number + [False]


@on_virtual_clock
async def test_permits_go_out_in_the_order_in_which_they_were_asked_for() -> None:
    permits, order = Permits(1), list[int]()
    assert permits.take()

    async def ask(number: int) -> None:
        await permits.wait()
        order.append(number)
        permits.release()

    tasks = [asyncio.create_task(ask(number)) for number in range(5)]
    await asyncio.sleep(0)
    permits.release()
    assert not permits.take()  # those who wait come first
    await asyncio.gather(*tasks)

    assert order == [0, 1, 2, 3, 4]
    assert all_are_back(permits, 1)


@on_virtual_clock
async def test_nobody_waits_for_a_permit_that_is_free() -> None:
    permits = Permits(1)
    await permits.wait()
    assert not permits.take()


@pytest.mark.parametrize("order", ["cancel, release", "release, cancel"])
@on_virtual_clock
async def test_a_permit_given_in_the_moment_of_a_cancellation_goes_on_to_the_next(
    order: str,
) -> None:
    permits = Permits(1)
    assert permits.take()
    first, second = (asyncio.create_task(permits.wait()) for _ in range(2))
    await asyncio.sleep(0)

    if order == "cancel, release":
        first.cancel()
        permits.release()
    else:
        permits.release()
        first.cancel()

    with pytest.raises(asyncio.CancelledError):
        await first
    await second
    permits.release()
    assert all_are_back(permits, 1)


@pytest.mark.parametrize("seed", range(20))
@on_virtual_clock
async def test_a_storm_of_cancellations_leaves_every_permit_free(seed: int) -> None:
    chance = random.Random(seed)  # noqa: S311 - a schedule
    permits, inside, peak = Permits(3), list[int](), 0
    tasks = [asyncio.create_task(use(permits, inside, chance.randrange(4))) for _ in range(40)]

    for task in chance.sample(tasks, 25):
        for _ in range(chance.randrange(3)):
            await asyncio.sleep(0)
        task.cancel()
        peak = max(peak, len(inside))
    results = await asyncio.gather(*tasks, return_exceptions=True)

    assert peak <= 3
    assert {type(result) for result in results} <= {type(None), asyncio.CancelledError}
    assert all_are_back(permits, 3)
