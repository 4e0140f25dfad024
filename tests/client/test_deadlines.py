"""Our deadlines mean what `asyncio.timeout` means: each test runs with both."""

from __future__ import annotations

import asyncio
import contextlib
from collections.abc import AsyncIterator, Callable
from contextlib import AbstractAsyncContextManager

import pytest

from badges_async.deadlines import Deadlines
from tests.virtual_clock import (
    START,
    VirtualClockLoop,
    now,
    on_virtual_clock,
    pending_timers,
)

Within = Callable[[float], AbstractAsyncContextManager[object]]


def ours() -> Within:
    deadlines = Deadlines(asyncio.get_running_loop())

    @contextlib.asynccontextmanager
    async def within(seconds: float) -> AsyncIterator[None]:
        with deadlines.within(seconds):
            yield

    return within


def asyncios() -> Within:
    return asyncio.timeout


twins = pytest.mark.parametrize("make", [ours, asyncios])


async def forever() -> None:
    await asyncio.get_running_loop().create_future()


@twins
@on_virtual_clock
async def test_time_runs_out_exactly_when_it_should(make: Callable[[], Within]) -> None:
    with pytest.raises(TimeoutError) as caught:
        async with make()(7.3):
            await forever()

    assert now() == START + 7.3
    assert isinstance(caught.value.__cause__, asyncio.CancelledError)
    task = asyncio.current_task()
    assert task is not None
    assert task.cancelling() == 0


@twins
@on_virtual_clock
async def test_what_ends_in_time_is_not_disturbed_later(make: Callable[[], Within]) -> None:
    async with make()(1.0):
        await asyncio.sleep(0.9)

    await asyncio.sleep(5)


@twins
@on_virtual_clock
async def test_no_time_at_all_still_runs_what_does_not_wait(make: Callable[[], Within]) -> None:
    async with make()(0.0):
        reached = True
    assert reached

    with pytest.raises(TimeoutError):
        async with make()(0.0):
            await forever()
    assert now() == START


@twins
@on_virtual_clock
async def test_a_cancellation_from_outside_stays_one(make: Callable[[], Within]) -> None:
    async def work() -> None:
        async with make()(10):
            await forever()

    task = asyncio.create_task(work())
    await asyncio.sleep(1)
    task.cancel("from outside")

    with pytest.raises(asyncio.CancelledError):
        await task
    assert now() == START + 1


@twins
@pytest.mark.parametrize("order", ["time first", "outside first"])
@on_virtual_clock
async def test_a_cancellation_in_the_same_tick_wins_over_the_deadline(
    make: Callable[[], Within], order: str
) -> None:
    loop = asyncio.get_running_loop()

    async def work() -> None:
        async with make()(1.0):
            await forever()

    task = asyncio.create_task(work())
    if order == "outside first":
        loop.call_at(START + 1.0, task.cancel)
    await asyncio.sleep(0)
    if order == "time first":
        loop.call_at(START + 1.0, task.cancel)

    with pytest.raises(asyncio.CancelledError):
        await task
    assert task.cancelled()


@twins
@pytest.mark.parametrize(("outer", "inner", "first"), [(1, 2, "outer"), (2, 1, "inner")])
@on_virtual_clock
async def test_the_earlier_of_two_nested_deadlines_ends_the_work(
    make: Callable[[], Within], outer: float, inner: float, first: str
) -> None:
    within, ended = make(), []

    async def work() -> None:
        async with within(outer):
            try:
                async with within(inner):
                    await forever()
            except TimeoutError:
                ended.append("inner")
                raise
            except asyncio.CancelledError:
                ended.append("outer")
                raise

    with pytest.raises(TimeoutError):
        await work()

    assert ended == [first]
    assert now() == START + 1


@twins
@on_virtual_clock
async def test_nested_deadlines_at_the_same_moment_are_one_timeout(
    make: Callable[[], Within],
) -> None:
    within = make()

    with pytest.raises(TimeoutError):
        async with within(1), within(1):
            await forever()

    task = asyncio.current_task()
    assert task is not None
    assert task.cancelling() == 0
    await asyncio.sleep(5)


@twins
@on_virtual_clock
async def test_work_that_turns_its_end_into_another_error_keeps_that_error(
    make: Callable[[], Within],
) -> None:
    async def work() -> None:
        async with make()(1):
            try:
                await forever()
            except asyncio.CancelledError:
                raise LookupError from None

    with pytest.raises(LookupError):
        await work()

    task = asyncio.current_task()
    assert task is not None
    assert task.cancelling() == 0


@twins
@on_virtual_clock
async def test_work_that_takes_its_time_to_end_is_told_once(make: Callable[[], Within]) -> None:
    cleaned: list[float] = []

    async def work() -> None:
        async with make()(1):
            try:
                await forever()
            finally:
                await asyncio.sleep(3)
                cleaned.append(now())

    with pytest.raises(TimeoutError):
        await work()

    assert cleaned == [START + 4]


@twins
@on_virtual_clock
async def test_a_timeout_of_somebody_else_passes_through(make: Callable[[], Within]) -> None:
    with pytest.raises(TimeoutError, match="of the network"):
        async with make()(9):
            raise TimeoutError("of the network")


@twins
@on_virtual_clock
async def test_many_tasks_end_each_at_its_own_time(make: Callable[[], Within]) -> None:
    within = make()

    async def work(seconds: float) -> float:
        with contextlib.suppress(TimeoutError):
            async with within(seconds):
                await forever()
        return now() - START

    bounds = [5.0, 0.5, 3.0, 0.5, 8.0, 0.25, 5.0]

    assert await asyncio.gather(*map(work, bounds)) == bounds


@on_virtual_clock
async def test_many_deadlines_need_one_timer() -> None:
    deadlines = Deadlines(asyncio.get_running_loop())
    before = pending_timers()

    with contextlib.ExitStack() as open_scopes:
        for number in range(50):
            open_scopes.enter_context(deadlines.within(60 - number))
        assert pending_timers() == before + 1

    deadlines.close()
    assert pending_timers() == before


@on_virtual_clock
async def test_a_timer_that_fires_for_nobody_is_set_for_the_next_one() -> None:
    deadlines = Deadlines(asyncio.get_running_loop())
    with deadlines.within(1.0):
        pass  # its timer stays and fires at 1.0

    with pytest.raises(TimeoutError), deadlines.within(3.0):
        await forever()
    assert now() == START + 3.0

    with pytest.raises(TimeoutError), deadlines.within(2.0):
        await forever()
    assert now() == START + 5.0
    assert pending_timers() == 0


@on_virtual_clock
async def test_closing_leaves_no_timer_and_breaks_no_bound_that_is_open() -> None:
    deadlines = Deadlines(asyncio.get_running_loop())

    asyncio.get_running_loop().call_soon(deadlines.close)

    with pytest.raises(TimeoutError), deadlines.within(3.0):
        await forever()

    assert now() == START + 3.0
    with deadlines.within(60):
        pass
    assert pending_timers() == 0


def test_a_deadline_needs_a_task() -> None:
    loop = VirtualClockLoop()
    problems: list[Exception] = []

    def callback() -> None:
        try:
            with Deadlines(loop).within(1):
                pass
        except RuntimeError as error:
            problems.append(error)

    loop.call_soon(callback)
    loop.call_later(1, loop.stop)
    loop.run_forever()
    loop.close()

    assert len(problems) == 1
