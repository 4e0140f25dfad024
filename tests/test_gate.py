"""The one pause that all calls of a client keep: as long as asked, and never shorter."""

from __future__ import annotations

import asyncio
import random

import pytest
from hypothesis import given, settings
from hypothesis import strategies as st

from badges_async.gate import Gate
from tests.virtual_clock import START, now, on_virtual_clock


class Fixed(random.Random):
    """Draws the same share of every range."""

    def __init__(self, share: float) -> None:
        super().__init__(0)
        self.share = share

    def uniform(self, a: float, b: float) -> float:
        return a + (b - a) * self.share


@pytest.mark.parametrize("share", [0.0, 0.5, 1.0])
@pytest.mark.parametrize(
    ("asked", "least"),
    [(7, 7), (0, 1), (-5, 1), (0.2, 1), (900, 900), (9_999_999, 900), (1e9, 900)],
)
@on_virtual_clock
async def test_a_pause_is_as_asked_within_bounds_and_jitter_only_adds(
    asked: float, least: float, share: float
) -> None:
    gate = Gate(Fixed(share))
    gate.pause(asked)

    await gate.opened()

    paused = now() - START
    assert paused == pytest.approx(least + share * min(1.0, least / 10))
    assert gate.remaining() == 0.0


@on_virtual_clock
async def test_an_open_gate_costs_no_time() -> None:
    gate = Gate(Fixed(0.5))

    assert gate.remaining() == 0.0
    await gate.opened()
    assert now() == START


@on_virtual_clock
async def test_a_pause_only_ever_moves_the_opening_later() -> None:
    gate = Gate(Fixed(0.0))
    gate.pause(100)
    await asyncio.sleep(10)
    gate.pause(5)
    assert gate.remaining() == 90.0
    gate.pause(200)
    assert gate.remaining() == 200.0


@on_virtual_clock
async def test_everybody_who_waits_keeps_a_pause_that_is_prolonged() -> None:
    gate, opened = Gate(Fixed(0.0)), []

    async def wait() -> None:
        await gate.opened()
        opened.append(now() - START)

    gate.pause(10)
    async with asyncio.TaskGroup() as group:
        for _ in range(5):
            group.create_task(wait())
        await asyncio.sleep(9)
        gate.pause(20)

    assert opened == [29.0] * 5


@pytest.mark.parametrize("seconds", [0.05, 1.0, 5000.0])
@on_virtual_clock
async def test_our_own_decision_is_kept_as_it_is(seconds: float) -> None:
    gate = Gate(Fixed(1.0))
    gate.hold(seconds)
    assert gate.remaining() == pytest.approx(seconds)


@pytest.mark.parametrize("seconds", [0.0, -3.0])
@on_virtual_clock
async def test_to_close_for_no_time_is_not_to_close(seconds: float) -> None:
    gate, told = Gate(Fixed(0.0)), list[float]()
    gate.on_close = told.append
    gate.hold(seconds)
    assert (gate.remaining(), told) == (0.0, [])


@on_virtual_clock
async def test_each_time_the_opening_moves_later_is_told() -> None:
    gate, told = Gate(Fixed(0.5)), list[float]()
    gate.on_close = told.append
    gate.pause(10)
    gate.pause(3)
    gate.hold(5)
    gate.hold(20)
    assert told == [START + 10.5, START + 20]


@on_virtual_clock
async def test_a_pause_of_an_earlier_process_is_kept_to_its_moment() -> None:
    gate, told = Gate(Fixed(1.0)), list[float]()
    gate.on_close = told.append
    gate.restore(START + 30)
    gate.restore(START + 10)
    assert gate.remaining() == 30

    await gate.opened()
    assert (now(), told) == (START + 30, [])


@pytest.mark.parametrize(("opens_at", "left"), [(START - 5, 0), (START, 0), (START + 1e9, 900)])
@on_virtual_clock
async def test_a_pause_of_an_earlier_process_is_over_or_not_too_long(
    opens_at: float, left: float
) -> None:
    gate = Gate(Fixed(1.0))
    gate.restore(opens_at)
    assert gate.remaining() == left


@given(
    steps=st.lists(
        st.tuples(st.sampled_from(["pause", "hold", "restore", "wait"]), st.floats(0, 1000)),
        max_size=30,
    ),
    seed=st.integers(0, 1000),
)
@settings(deadline=None)
@on_virtual_clock
async def test_no_sequence_of_events_opens_the_gate_early(
    steps: list[tuple[str, float]], seed: int
) -> None:
    gate, promised = Gate(random.Random(seed)), START  # noqa: S311 - a test

    for step, seconds in steps:
        if step == "pause":
            gate.pause(seconds)
            promised = max(promised, now() + min(max(seconds, 1), 900))
        elif step == "hold":
            gate.hold(seconds)
            promised = max(promised, now() + seconds)
        elif step == "restore":
            gate.restore(now() + seconds)
            promised = max(promised, now() + min(seconds, 900))
        else:
            await asyncio.sleep(seconds)
        assert now() + gate.remaining() >= promised - 1e-6
        assert gate.remaining() <= 1000 + 1e-9  # the sum of two times is rounded
    await gate.opened()
    assert now() >= promised - 1e-6
