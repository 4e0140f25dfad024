"""How fast: no window above the quota, the quota used, and the one pause that all calls keep."""

from __future__ import annotations

import asyncio
import math
import random
from collections.abc import Sequence

import pytest
from hypothesis import given, settings
from hypothesis import strategies as st

from badges_async import InvalidInputError, Quota
from badges_async.quota import Gate, Limiter
from tests.virtual_clock import START, now, on_virtual_clock


def busiest(moments: Sequence[float], per: float) -> int:
    """Count the most *moments* that lie in any window of *per* seconds, its ends included."""
    most = first = 0
    for last, moment in enumerate(moments):
        while moments[first] < moment - per:
            first += 1
        most = max(most, last - first + 1)
    return most


# The value.


@pytest.mark.parametrize(
    ("text", "quota"),
    [
        ("100/60s", Quota(100, 60.0)),
        ("100/60", Quota(100, 60.0)),
        ("100/m", Quota(100, 60.0)),
        ("100/1min", Quota(100, 60.0)),
        ("5000/1h", Quota(5000, 3600.0)),
        ("5000/h", Quota(5000, 3600.0)),
        ("10/s", Quota(10, 1.0)),
        ("10/0.5s", Quota(10, 0.5)),
        ("10/.5", Quota(10, 0.5)),
        (" 100 / 60 s ", Quota(100, 60.0)),
        ("007/060s", Quota(7, 60.0)),
    ],
)
def test_a_quota_is_read_as_people_write_it(text: str, quota: Quota) -> None:
    assert Quota.parse(text) == quota


@pytest.mark.parametrize(
    "text",
    [
        "",
        "100",
        "100/",
        "/60s",
        "0/60s",
        "100/0s",
        "100/0",
        "-1/60s",
        "100/-60s",
        "1.5/60s",
        "1e3/60s",
        "100/60d",
        "100/60S",
        "100/60s/2",
        "100 per minute",
        "\u0667/60s",
        "1000000000000/60s",
        "100/999999999h",
        "x" * 10_000,
        None,
        100,
        b"100/60s",
    ],
)
def test_anything_else_is_no_quota(text: object) -> None:
    with pytest.raises(InvalidInputError) as caught:
        Quota.parse(text)  # type: ignore[arg-type]
    assert len(str(caught.value)) < 100


@pytest.mark.parametrize("limit", [0, -1, 1.0, True, "100", None])
def test_a_limit_is_a_whole_number_of_at_least_one(limit: object) -> None:
    with pytest.raises(InvalidInputError, match="limit"):
        Quota(limit)  # type: ignore[arg-type]


@pytest.mark.parametrize("per", [0, -1.0, math.nan, math.inf, 1e9, True, "60", None])
def test_a_window_is_a_positive_number_of_seconds(per: object) -> None:
    with pytest.raises(InvalidInputError, match="window"):
        Quota(100, per)  # type: ignore[arg-type]


def test_a_quota_reads_as_what_parse_takes() -> None:
    assert str(Quota(100)) == "100/60s"
    assert str(Quota(100, 0.5)) == "100/0.5s"
    assert str(Quota(5000, 3_600_000.0)) == "5000/3600000s"


@given(limit=st.integers(1, 10**9 - 1), per=st.floats(1e-9, 1e9, exclude_max=True))
def test_every_quota_survives_being_written_down(limit: int, per: float) -> None:
    quota = Quota(limit, per)
    assert Quota.parse(str(quota)) == quota


# The limiter.


@on_virtual_clock
async def test_a_quota_is_used_and_never_passed() -> None:
    """A day of asking as fast as possible, at the service's own default."""
    limiter, granted = Limiter(Quota(100, 60.0)), []
    while now() < START + 86_400:
        await limiter.acquire()
        granted.append(now())

    assert busiest(granted, 60.0) == 100
    assert len(granted) >= 0.95 * 100 * 24 * 60


@pytest.mark.parametrize("text", ["1/1s", "1/60s", "3/0.1s", "100/1s", "5000/1h"])
@on_virtual_clock
async def test_at_least_95_percent_of_any_quota_is_used(text: str) -> None:
    quota = Quota.parse(text)
    limiter, granted = Limiter(quota), []
    while now() < START + 40 * quota.per:
        await limiter.acquire()
        granted.append(now())

    assert busiest(granted, quota.per) == quota.limit
    assert len(granted) >= 0.95 * 40 * quota.limit


@on_virtual_clock
async def test_permits_that_come_early_cost_no_time() -> None:
    limiter = Limiter(Quota(5, 60.0))
    for _ in range(5):
        await limiter.acquire()
    assert now() == START


@on_virtual_clock
async def test_what_the_network_pushes_together_still_fits_the_window() -> None:
    """Requests arrive up to 0.3 s closer to each other than they left."""
    limiter, arrived = Limiter(Quota(10, 60.0)), []
    for number in range(100):
        await limiter.acquire()
        # The last one of each ten is slow, the first one of the next ten is quick.
        arrived.append(now() + (0.29 if number % 10 == 9 else 0.0))

    assert busiest(sorted(arrived), 60.0) <= 10


arrivals = st.lists(
    st.tuples(st.floats(0.0, 3.0), st.none() | st.floats(0.0, 2.0)), min_size=1, max_size=60
)


@given(limit=st.integers(1, 8), per=st.floats(0.1, 5.0), arrivals=arrivals)
@settings(deadline=None)
@on_virtual_clock
async def test_no_pattern_of_arrivals_and_cancellations_passes_the_quota(
    limit: int, per: float, arrivals: list[tuple[float, float | None]]
) -> None:
    """Each arrival comes a while after the one before, and may lose its patience."""
    limiter, granted = Limiter(Quota(limit, per)), []

    async def ask(number: int, patience: float | None) -> None:
        try:
            async with asyncio.timeout(patience):
                await limiter.acquire()
        except TimeoutError:
            return
        granted.append((now(), number))

    async with asyncio.TaskGroup() as group:
        for number, (gap, patience) in enumerate(arrivals):
            await asyncio.sleep(gap * per)
            group.create_task(ask(number, patience))

    moments = [moment for moment, _ in granted]
    assert busiest(moments, per) <= limit
    numbers = [number for _, number in granted]
    assert numbers == sorted(numbers), "permits go out in the order in which they were asked for"
    patient = {number for number, (_, patience) in enumerate(arrivals) if patience is None}
    assert patient <= set(numbers)


@on_virtual_clock
async def test_permits_go_out_in_the_order_in_which_they_were_asked_for() -> None:
    limiter, order = Limiter(Quota(2, 60.0)), []

    async def ask(number: int) -> None:
        await limiter.acquire()
        order.append(number)

    async with asyncio.TaskGroup() as group:
        for number in range(20):
            group.create_task(ask(number))

    assert order == list(range(20))


@on_virtual_clock
async def test_a_cancelled_wait_costs_no_permit_and_no_time() -> None:
    limiter, granted = Limiter(Quota(1, 60.0)), []

    async def ask() -> None:
        await limiter.acquire()
        granted.append(now())

    async with asyncio.TaskGroup() as group:
        await ask()
        waiters = [group.create_task(ask()) for _ in range(10)]
        await asyncio.sleep(30)
        for waiter in waiters[:9]:  # the one whose turn it is, and those behind it
            waiter.cancel()

    assert granted == pytest.approx([START, START + 60.3])


@on_virtual_clock
async def test_a_wait_that_is_cancelled_in_its_last_moment_costs_none_either() -> None:
    limiter = Limiter(Quota(1, 60.0))
    await limiter.acquire()
    for _ in range(3):
        with pytest.raises(TimeoutError):
            async with asyncio.timeout(60.3):
                await limiter.acquire()
        await limiter.acquire()
        assert now() - START < 4 * 61
    assert now() == pytest.approx(START + 3 * 60.3)


# The gate.


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


async def back_off(gate: Gate) -> float:
    """Throttle without a time, wait for the end of it, and give its length."""
    began = now()
    gate.back_off()
    await gate.opened()
    return now() - began


@on_virtual_clock
async def test_throttles_without_a_time_are_answered_with_longer_and_longer_pauses() -> None:
    gate = Gate(Fixed(0.0))
    assert [await back_off(gate) for _ in range(8)] == [1, 2, 4, 8, 16, 32, 60, 60]

    gate.succeeded()
    assert await back_off(gate) == 1


@on_virtual_clock
async def test_the_jitter_of_a_back_off_adds_up_to_half() -> None:
    gate = Gate(Fixed(1.0))
    assert [await back_off(gate) for _ in range(3)] == [1.5, 3.0, 6.0]


@on_virtual_clock
async def test_a_burst_of_throttles_is_one_throttle() -> None:
    gate = Gate(Fixed(0.0))
    for _ in range(32):
        gate.back_off()

    assert gate.remaining() == 1.0
    await gate.opened()
    assert await back_off(gate) == 2


@on_virtual_clock
async def test_a_week_of_throttles_does_not_break_it() -> None:
    gate = Gate(Fixed(0.0))
    while now() < START + 7 * 86_400:
        assert await back_off(gate) <= 60


@given(
    steps=st.lists(
        st.tuples(st.sampled_from(["pause", "back_off", "succeeded", "wait"]), st.floats(0, 1000)),
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
        elif step == "back_off":
            if not gate.remaining():
                promised = now() + 1
            gate.back_off()
        elif step == "succeeded":
            gate.succeeded()
        else:
            await asyncio.sleep(seconds)
        assert now() + gate.remaining() >= promised - 1e-6
        assert gate.remaining() <= 901
    await gate.opened()
    assert now() >= promised - 1e-6
