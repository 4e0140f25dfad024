"""The learned pace one step at a time: what each throttle and each acceptance does to it."""

from __future__ import annotations

import asyncio
import itertools
import math
import random

import pytest

from badges_async.gate import Gate
from badges_async.pace import Pace
from badges_async.quota import Quota
from tests.chance import Lowest
from tests.virtual_clock import START, now, on_virtual_clock


def make_pace(quota: Quota | None = None) -> tuple[Gate, Pace]:
    chance = Lowest(0)
    gate = Gate(chance)
    return gate, Pace(gate, chance, quota)


async def accept(pace: Pace, number: int, *, every: float) -> None:
    for _ in range(number):
        pace.sent()
        pace.accepted(now())
        await asyncio.sleep(every)


async def turns(pace: Pace, number: int) -> list[float]:
    moments = []
    for _ in range(number):
        await pace.turn()
        moments.append(now() - START)
    return moments


@on_virtual_clock
async def test_without_throttles_nobody_waits() -> None:
    _, pace = make_pace()
    await accept(pace, 1000, every=0.01)
    began = now()
    await pace.turn()
    assert pace.free
    assert (pace.rate, now()) == (None, began)


@on_virtual_clock
async def test_a_burst_of_throttles_is_one_pause_as_long_as_the_longest() -> None:
    gate, pace = make_pace()
    for seconds in (7.0, 9.0, 8.0):
        pace.refused(now(), seconds)
    assert gate.remaining() == 9.0
    assert not pace.free


@on_virtual_clock
async def test_one_probe_at_a_time_until_one_is_accepted() -> None:
    gate, pace = make_pace()
    await accept(pace, 100, every=0.01)
    for _ in range(10):
        pace.refused(now(), 5.0)
    waiting = [asyncio.create_task(pace.turn()) for _ in range(10)]
    await asyncio.sleep(5.5)
    assert [task.done() for task in waiting] == [True] + [False] * 9

    pace.refused(now(), 3.0)  # the probe; the next one goes after the pause
    assert gate.remaining() == 3.0
    await asyncio.sleep(3.5)
    assert [task.done() for task in waiting] == [True] * 2 + [False] * 8

    pace.accepted(now())
    await asyncio.gather(*waiting)
    assert pace.rate is not None


@on_virtual_clock
async def test_a_probe_that_is_never_answered_holds_nobody_up() -> None:
    _, pace = make_pace()
    pace.refused(now(), 5.0)
    assert await turns(pace, 3) == pytest.approx([5.0, 6.0, 7.0])


@on_virtual_clock
async def test_what_was_sent_before_a_probe_was_asked_to_wait_prolongs_that_no_more() -> None:
    gate, pace = make_pace()
    pace.refused(now(), 5.0)
    await pace.turn()
    probed = now()
    await asyncio.sleep(0.1)
    pace.refused(probed, 2.0)
    await asyncio.sleep(1.95)
    pace.refused(probed, None)
    assert gate.remaining() == pytest.approx(0.05)


@on_virtual_clock
async def test_unexplained_throttles_are_probed_at_growing_distances_up_to_a_minute() -> None:
    gate, pace = make_pace()
    for _ in range(2):
        pace.refused(now(), None)
        assert gate.remaining() == 0.0, "one or two may be stray ones"
    holds = list[float]()
    for _ in range(40):
        pace.refused(now(), None)
        holds.append(gate.remaining())
        await pace.turn()
        pace.sent()

    assert now() - START == pytest.approx(sum(holds)), "one probe at the end of each"
    assert holds[:4] == pytest.approx([0.1, 0.125, 0.15625, 0.1953125])
    assert holds[-1] == 50.0
    assert gate.remaining() == 0.0


@on_virtual_clock
async def test_what_was_sent_before_a_pause_says_nothing_about_what_came_after() -> None:
    gate, pace = make_pace()
    await accept(pace, 100, every=0.01)
    early = now()
    await asyncio.sleep(0.01)
    pace.refused(now(), 2.0)
    pace.accepted(early)  # was on its way: no end of the pause
    assert gate.remaining() == 2.0
    assert not pace.free

    await pace.turn()
    pace.sent()
    pace.accepted(now())
    found = pace.rate
    for _ in range(5):
        pace.refused(early, None)  # late answers
    assert pace.rate == found
    assert gate.remaining() == 0.0


@on_virtual_clock
async def test_the_way_back_from_a_pause_is_even() -> None:
    _, pace = make_pace()
    await accept(pace, 100, every=0.01)
    for _ in range(20):
        pace.refused(now(), 9.0)
    await pace.turn()
    pace.accepted(now())
    assert pace.rate == pytest.approx(9.8, rel=0.01), "100 in 10 seconds, and a little less"

    began = now() - START
    moments = await turns(pace, 20)
    gaps = [later - earlier for earlier, later in zip([began, *moments], moments, strict=False)]
    assert all(0.09 <= gap <= 0.11 for gap in gaps[:10])


@on_virtual_clock
async def test_after_a_pause_a_quota_is_used_evenly_for_a_window() -> None:
    _, pace = make_pace(Quota(60, 60.0))
    await accept(pace, 60, every=0.01)
    pace.refused(now(), 10.0)
    await pace.turn()
    pace.accepted(now())
    assert pace.rate is None, "one throttle teaches nothing"

    moments = await turns(pace, 30)
    assert moments[-1] - moments[0] == pytest.approx(29.0)
    await asyncio.sleep(40)
    pace.accepted(now())
    assert pace.free


@on_virtual_clock
async def test_what_an_earlier_process_had_learnt_is_kept_to_and_rises() -> None:
    _, pace = make_pace()
    pace.restore(10.0)
    assert pace.rate == 10.0
    moments = await turns(pace, 11)
    assert moments[-1] == pytest.approx(1.1, rel=0.02)
    await asyncio.sleep(120)
    assert pace.rate == pytest.approx(10 * math.exp(0.03 * (2 + 8)), rel=0.05)


@on_virtual_clock
async def test_after_a_pause_of_an_earlier_process_there_is_no_burst() -> None:
    gate, pace = make_pace()
    gate.restore(now() + 30.0)
    pace.restart(now() + 30.0)
    assert not pace.free
    moments = await turns(pace, 5)
    assert moments[0] >= 30.0
    assert all(later - earlier > 0.1 for earlier, later in itertools.pairwise(moments))
    assert pace.rate is None, "nothing is learnt"


@pytest.mark.parametrize("rate", [0.0, -1.0, math.inf, math.nan])
@on_virtual_clock
async def test_nonsense_of_an_earlier_process_is_nothing(rate: float) -> None:
    _, pace = make_pace()
    pace.restore(rate)
    assert pace.free


@on_virtual_clock
async def test_one_refusal_leaves_three_tenths_of_a_pace_that_was_learnt() -> None:
    _, pace = make_pace()
    pace.restore(100.0)
    pace.refused(now(), 5.0)  # before anything of this process was accepted
    await pace.turn()
    pace.accepted(now())
    assert pace.rate == pytest.approx(30.0, rel=0.1)


@on_virtual_clock
async def test_a_tenth_that_is_refused_slows_down_without_a_pause() -> None:
    gate, pace = make_pace()
    for number in range(400):
        pace.sent()
        if number % 10:
            pace.accepted(now())
        else:
            pace.refused(now(), None)
        assert gate.remaining() == 0
        await asyncio.sleep(0.01)
    assert pace.rate is not None, "it is learnt, so that the next run is told"
    assert 0 < pace.rate < 90


@on_virtual_clock
async def test_a_pace_that_nobody_wants_to_reach_is_forgotten() -> None:
    _, pace = make_pace()
    pace.restore(100.0)
    waiting = asyncio.create_task(turns(pace, 100_000))
    await accept(pace, 200, every=0.1)
    assert pace.free
    assert pace.rate is None
    await waiting  # nobody is left waiting


@on_virtual_clock
async def test_calls_go_ahead_of_a_run_and_a_cancelled_one_costs_no_turn() -> None:
    _, pace = make_pace()
    pace.restore(1.0)
    order = list[str]()

    async def ask(name: str, *, patient: bool) -> None:
        await pace.turn(patient=patient)
        order.append(f"{name} {now() - START:.1f}")

    tasks = [asyncio.create_task(ask("bulk", patient=True)) for _ in range(2)]
    tasks += [asyncio.create_task(ask("call", patient=False)) for _ in range(4)]
    await asyncio.sleep(0.5)
    tasks[2].cancel()
    await asyncio.gather(*tasks, return_exceptions=True)

    assert [name.split()[0] for name in order] == ["call", "call", "call", "bulk", "bulk"]
    assert order[0] == "call 1.0"
    assert order[-1] <= "bulk 5.0"


@on_virtual_clock
async def test_a_turn_given_in_the_moment_of_a_cancellation_goes_on_to_the_next() -> None:
    _, pace = make_pace()
    pace.restore(0.1)
    first = asyncio.create_task(pace.turn())
    second = asyncio.create_task(pace.turn())
    await asyncio.sleep(0)
    asyncio.get_running_loop().call_at(START + 9.996, first.cancel)  # behind the turn's own timer
    await asyncio.gather(first, second, return_exceptions=True)
    assert first.cancelled()
    assert now() - START == pytest.approx(10.0, abs=0.1)


@pytest.mark.parametrize("seed", range(10))
@on_virtual_clock
async def test_a_storm_of_cancellations_leaves_nobody_waiting(seed: int) -> None:
    chance = random.Random(seed)  # noqa: S311 - a schedule
    _, pace = make_pace()
    pace.restore(10.0)
    tasks = [
        asyncio.create_task(pace.turn(patient=chance.random() < 0.5))  # as they come
        for _ in range(60)
    ]
    while not all(task.done() for task in tasks):
        chance.choice(tasks).cancel()
        await asyncio.sleep(chance.choice([0.0, 0.05, 0.1]))
    await asyncio.gather(*tasks, return_exceptions=True)

    began = now()
    await pace.turn()
    assert now() - began <= 0.11


@on_virtual_clock
async def test_memory_does_not_grow_with_time() -> None:
    _, pace = make_pace()
    for _ in range(20_000):
        pace.accepted(now())
        await asyncio.sleep(1.0)
    assert len(pace._passed._spans) <= 130  # noqa: SLF001 - nothing else shows it


@on_virtual_clock
async def test_a_turn_that_comes_back_in_a_pause_leaves_the_probe_to_the_next() -> None:
    _, pace = make_pace()
    pace.refused(now(), 5.0)
    first, second = (asyncio.create_task(pace.turn()) for _ in range(2))
    await asyncio.sleep(0)
    asyncio.get_running_loop().call_at(START + 5.0, first.cancel)  # behind the turn's own timer
    await asyncio.gather(first, second, return_exceptions=True)
    assert first.cancelled()
    assert now() - START == pytest.approx(5.0, abs=0.1)


@on_virtual_clock
async def test_a_turn_that_comes_back_when_nobody_has_to_wait_any_more_is_nothing() -> None:
    _, pace = make_pace()
    pace.restore(0.1)
    first, second = (asyncio.create_task(pace.turn()) for _ in range(2))
    await asyncio.sleep(0)
    pace._forget()  # noqa: SLF001 - as it does when it looks
    first.cancel()
    await asyncio.gather(first, second, return_exceptions=True)
    assert (first.cancelled(), pace.free, pace.rate, now()) == (True, True, None, START)


@on_virtual_clock
async def test_a_late_pause_closes_the_gate_and_teaches_nothing() -> None:
    gate, pace = make_pace()
    await accept(pace, 100, every=0.01)
    early = now()
    await asyncio.sleep(0.01)
    pace.refused(now(), 2.0)
    await pace.turn()
    pace.sent()
    pace.accepted(now())
    found = pace.rate
    pace.refused(early, 3.0)
    assert gate.remaining() == 3.0
    assert pace.rate == found
    await asyncio.sleep(3.0)
    first, second = await turns(pace, 2)
    assert second - first < 0.5, "nobody probes"


@on_virtual_clock
async def test_an_earlier_pause_changes_nothing_of_a_pace_that_is_known() -> None:
    _, pace = make_pace()
    pace.restore(4.0)
    pace.restart(now() + 60.0)
    assert pace.rate == pytest.approx(4.0)
    assert await turns(pace, 2) == pytest.approx([0.25, 0.5], abs=0.02)


@on_virtual_clock
async def test_throttles_in_the_first_moment_after_a_silence_are_no_pace() -> None:
    _, pace = make_pace()
    await accept(pace, 100, every=0.1)
    pace.refused(now(), None)
    pace._share = 0.5  # noqa: SLF001 - as after very many
    await asyncio.sleep(1000)
    pace.accepted(now())
    pace.refused(now(), None)  # of how many a second nobody can say yet
    assert (pace.rate, pace.free) == (None, True)
