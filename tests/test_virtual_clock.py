"""The tool that tests time must itself be right about it."""

from __future__ import annotations

import asyncio
import time

import pytest
from hypothesis import given
from hypothesis import strategies as st

from tests.virtual_clock import START, StalledError, now, on_virtual_clock, run_virtually


@on_virtual_clock
async def test_a_year_passes_at_once() -> None:
    began = time.monotonic()
    await asyncio.sleep(365 * 86_400.0)
    assert now() == START + 365 * 86_400.0
    assert time.monotonic() - began < 5


@given(delays=st.lists(st.floats(0.001, 1e6), min_size=1, max_size=8))
@on_virtual_clock
async def test_no_timer_is_early_or_late(delays: list[float]) -> None:
    async def nap(seconds: float) -> float:
        due = now() + seconds
        await asyncio.sleep(seconds)
        return now() - due

    assert set(await asyncio.gather(*map(nap, delays))) == {0.0}


@pytest.mark.parametrize("seconds", [1.0, 60.0])
@on_virtual_clock
async def test_parameters_and_fixtures_arrive(
    seconds: float, monkeypatch: pytest.MonkeyPatch
) -> None:
    assert monkeypatch is not None
    with pytest.raises(TimeoutError):
        async with asyncio.timeout(seconds):
            await asyncio.sleep(seconds * 2)
    assert now() == START + seconds


def test_a_test_where_everything_waits_fails_and_says_who() -> None:
    async def wait_for_nobody() -> None:
        await asyncio.Event().wait()

    with pytest.raises(StalledError, match=r"Task-\d+ at .*test_virtual_clock.py:\d+"):
        run_virtually(wait_for_nobody)


def test_a_test_that_leaves_a_task_behind_fails() -> None:
    async def leave() -> None:
        left.append(asyncio.get_running_loop().create_task(asyncio.sleep(9)))

    left: list[asyncio.Task[None]] = []
    with pytest.raises(AssertionError, match="left behind"):
        run_virtually(leave)


def test_a_test_with_an_exception_that_nobody_caught_fails() -> None:
    async def stumble() -> None:
        asyncio.get_running_loop().call_soon(lambda: 1 // 0)
        await asyncio.sleep(1)

    with pytest.raises(AssertionError, match="ZeroDivisionError"):
        run_virtually(stumble)


def test_the_result_and_the_exception_of_what_ran_are_given() -> None:
    async def answer() -> int:
        return 42

    async def fail() -> None:
        raise LookupError("here")

    assert run_virtually(answer) == 42
    with pytest.raises(LookupError, match="here"):
        run_virtually(fail)
