"""How fast: no window above the quota, the quota used, and nobody left waiting for ever."""

from __future__ import annotations

import asyncio
import math
import random
from collections.abc import Sequence

import pytest
from hypothesis import given, settings
from hypothesis import strategies as st

from badges_async import InvalidInputError, Quota
from badges_async.quota import Slot, WindowLimiter
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


async def send(limiter: WindowLimiter, *, patient: bool = False) -> float:
    """Take a place and use it at once; give the moment."""
    slot = await limiter.acquire(patient=patient)
    limiter.sent(slot)
    limiter.done(slot)
    return now()


@on_virtual_clock
async def test_a_quota_is_used_and_never_passed() -> None:
    """A day of asking as fast as possible, at the service's own default."""
    limiter, granted = WindowLimiter(Quota(100, 60.0)), []
    while now() < START + 86_400:
        granted.append(await send(limiter))

    assert busiest(granted, 60.0) == 100
    assert len(granted) >= 0.95 * 100 * 24 * 60
    assert len(limiter._counted) <= 100, "what a day remembers"  # noqa: SLF001


@pytest.mark.parametrize("text", ["1/1s", "1/60s", "3/0.1s", "100/1s", "5000/1h"])
@on_virtual_clock
async def test_at_least_95_percent_of_any_quota_is_used(text: str) -> None:
    quota = Quota.parse(text)
    limiter, granted = WindowLimiter(quota), []
    while now() < START + 40 * quota.per:
        granted.append(await send(limiter))

    assert busiest(granted, quota.per) == quota.limit
    assert len(granted) >= 0.95 * 40 * quota.limit


@on_virtual_clock
async def test_permits_that_come_early_cost_no_time() -> None:
    limiter = WindowLimiter(Quota(5, 60.0))
    for _ in range(5):
        await send(limiter)
    assert now() == START


@on_virtual_clock
async def test_what_the_network_pushes_together_still_fits_the_window() -> None:
    """Requests arrive up to 0.3 s closer to each other than they left."""
    limiter = WindowLimiter(Quota(10, 60.0))
    # The last one of each ten is slow, the first one of the next ten is quick.
    delays = [*[0.0] * 9, 0.29] * 10
    arrived = [await send(limiter) + delay for delay in delays]

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
    limiter, granted = WindowLimiter(Quota(limit, per)), []

    async def ask(number: int, patience: float | None) -> None:
        try:
            async with asyncio.timeout(patience):
                await send(limiter)
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
    limiter, order = WindowLimiter(Quota(2, 60.0)), []

    async def ask(number: int) -> None:
        await send(limiter)
        order.append(number)

    async with asyncio.TaskGroup() as group:
        for number in range(20):
            group.create_task(ask(number))

    assert order == list(range(20))


@on_virtual_clock
async def test_calls_that_went_while_no_run_waited_are_not_held_against_the_next_ones() -> None:
    limiter, order = WindowLimiter(Quota(1, 1.0)), []

    async def ask(name: str, *, patient: bool = False) -> None:
        limiter.sent(await limiter.acquire(patient=patient))
        order.append(name)

    async with asyncio.TaskGroup() as group:
        for _ in range(5):
            group.create_task(ask("alone"))
        await asyncio.sleep(4.5)
        group.create_task(ask("run", patient=True))
        for _ in range(4):
            group.create_task(ask("call"))

    assert order == ["alone"] * 5 + ["call"] * 3 + ["run", "call"]


@on_virtual_clock
async def test_when_the_run_gives_up_its_turn_the_calls_go_on() -> None:
    limiter, order = WindowLimiter(Quota(1, 1.0)), []

    async def ask(number: int) -> None:
        limiter.sent(await limiter.acquire())
        order.append(number)

    async with asyncio.TaskGroup() as group:
        await ask(0)
        run = group.create_task(limiter.acquire(patient=True))
        for number in range(1, 6):
            group.create_task(ask(number))
        await asyncio.sleep(3.5)  # three of them went ahead, and the next place is the run's
        assert order == [0, 1, 2, 3]
        run.cancel()

    assert order == [0, 1, 2, 3, 4, 5]


@on_virtual_clock
async def test_a_cancelled_wait_costs_no_permit_and_no_time() -> None:
    limiter, granted = WindowLimiter(Quota(1, 60.0)), []

    async def ask() -> None:
        granted.append(await send(limiter))

    async with asyncio.TaskGroup() as group:
        await ask()
        waiters = [group.create_task(ask()) for _ in range(10)]
        await asyncio.sleep(30)
        for waiter in waiters[:9]:  # the one whose turn it is, and those behind it
            waiter.cancel()

    assert granted == pytest.approx([START, START + 60.3])


@on_virtual_clock
async def test_a_wait_that_is_cancelled_in_its_last_moment_costs_none_either() -> None:
    limiter = WindowLimiter(Quota(1, 60.0))
    await send(limiter)
    for _ in range(3):
        with pytest.raises(TimeoutError):
            async with asyncio.timeout(60.3):
                await send(limiter)
        await send(limiter)
        assert now() - START < 4 * 61
    assert now() == pytest.approx(START + 3 * 60.3)


# Places whose requests take a while to leave.


@pytest.mark.parametrize("connecting", [0.0, 0.5, 2.0, 7.0])
@on_virtual_clock
async def test_slow_connecting_pushes_no_two_windows_together(connecting: float) -> None:
    """The first ten requests need a connection first, the others find one."""
    limiter, left = WindowLimiter(Quota(10, 3.0)), []

    async def request(number: int) -> None:
        slot = await limiter.acquire()
        await asyncio.sleep(connecting if number < 10 else 0.0)
        limiter.sent(slot)
        left.append(now())
        limiter.done(slot)

    await asyncio.gather(*map(request, range(40)))

    assert busiest(left, 3.0) == 10
    assert now() - START == pytest.approx(connecting + 3 * 3.12)


@given(
    limit=st.integers(1, 5),
    delays=st.lists(st.tuples(st.floats(0, 2), st.floats(0, 3), st.booleans()), max_size=40),
)
@settings(deadline=None)
@on_virtual_clock
async def test_whatever_requests_do_before_they_leave_no_window_is_above_the_quota(
    limit: int, delays: list[tuple[float, float, bool]]
) -> None:
    """Some connect for long, some never get there; each is asked for a while after another."""
    limiter, left = WindowLimiter(Quota(limit, 1.0)), []

    async def request(connecting: float, *, fails: bool) -> None:
        slot = await limiter.acquire()
        await asyncio.sleep(connecting)
        if not fails:
            limiter.sent(slot)
            left.append(now())
        limiter.done(slot)

    async with asyncio.TaskGroup() as group:
        for gap, connecting, fails in delays:
            await asyncio.sleep(gap / 10)
            group.create_task(request(connecting, fails=fails))

    assert busiest(left, 1.0) <= limit


@on_virtual_clock
async def test_a_place_on_its_way_is_waited_for_and_its_end_wakes_the_next() -> None:
    limiter = WindowLimiter(Quota(1, 1.0))
    slot = await limiter.acquire()
    assert (slot.at, slot.on_its_way) == (START, True)
    waiter = asyncio.create_task(limiter.acquire())
    await asyncio.sleep(100)
    assert not waiter.done()

    limiter.sent(slot)
    assert (slot.at, slot.on_its_way) == (START + 100, False)
    limiter.done(slot)
    second = await waiter
    assert now() == pytest.approx(START + 101.04)

    # It never left: its grant counts, and that is more than a window ago.
    waiter = asyncio.create_task(limiter.acquire())
    await asyncio.sleep(50)
    limiter.done(second)
    await waiter
    assert now() == pytest.approx(START + 151.04)
    assert second.at == pytest.approx(START + 101.04)


@on_virtual_clock
async def test_a_place_that_never_left_counts_from_its_grant_among_later_ones() -> None:
    limiter = WindowLimiter(Quota(2, 10.0))
    slow = await limiter.acquire()
    await asyncio.sleep(4)
    await send(limiter)
    waiters = [asyncio.create_task(send(limiter)) for _ in range(2)]
    await asyncio.sleep(2)
    limiter.done(slow)
    limiter.done(slow)  # said twice, it counts once

    assert await asyncio.gather(*waiters) == pytest.approx([START + 10.3, START + 14.3])


@on_virtual_clock
async def test_a_place_that_is_given_back_goes_to_the_next_at_once() -> None:
    limiter = WindowLimiter(Quota(1, 60.0))
    slot = await limiter.acquire()
    waiter = asyncio.create_task(limiter.acquire())
    await asyncio.sleep(1)
    limiter.give_back(slot)
    limiter.give_back(slot)  # said twice, it is given once

    await waiter
    assert now() == START + 1
    third = asyncio.create_task(limiter.acquire())
    await asyncio.sleep(1)
    assert not third.done()
    third.cancel()


@on_virtual_clock
async def test_a_request_that_is_said_to_leave_twice_counts_once() -> None:
    limiter = WindowLimiter(Quota(2, 10.0))
    slot = await limiter.acquire()
    limiter.sent(slot)
    await asyncio.sleep(1)
    limiter.sent(slot)
    assert slot.at == START

    granted = [await send(limiter) for _ in range(2)]
    assert granted == pytest.approx([START + 1, START + 10.3])


# Who goes first.


@on_virtual_clock
async def test_calls_that_somebody_waits_for_go_ahead_of_a_run_which_still_moves() -> None:
    limiter, order = WindowLimiter(Quota(1, 1.0)), list[str]()

    async def ask(name: str, *, patient: bool) -> None:
        await send(limiter, patient=patient)
        order.append(name)

    await send(limiter)
    async with asyncio.TaskGroup() as group:
        for number in range(4):
            group.create_task(ask(f"bulk {number}", patient=True))
        for number in range(8):
            group.create_task(ask(str(number), patient=False))

    expected = ["0", "1", "2", "bulk 0", "3", "4", "5", "bulk 1", "6", "7", "bulk 2", "bulk 3"]
    assert order == expected


@on_virtual_clock
async def test_a_call_waits_for_no_more_than_one_claim_of_a_run() -> None:
    """F077: one slot behind a run, however many of its claims wait."""
    limiter, order = WindowLimiter(Quota(1, 1.0)), list[str]()

    async def ask(name: str, *, patient: bool) -> None:
        await send(limiter, patient=patient)
        order.append(name)

    async with asyncio.TaskGroup() as group:
        for _ in range(20):
            group.create_task(ask("bulk", patient=True))
        await asyncio.sleep(5)
        group.create_task(ask("call", patient=False))

    assert order.index("call") == 5


# Cancelling.


@pytest.mark.parametrize("order", ["cancel, free", "free, cancel"])
@on_virtual_clock
async def test_a_place_given_in_the_moment_of_a_cancellation_goes_on_to_the_next(
    order: str,
) -> None:
    limiter = WindowLimiter(Quota(1, 60.0))
    slot = await limiter.acquire()
    first, second = (asyncio.create_task(limiter.acquire()) for _ in range(2))
    await asyncio.sleep(0)

    if order == "cancel, free":
        first.cancel()
        limiter.give_back(slot)
    else:
        limiter.give_back(slot)
        first.cancel()

    with pytest.raises(asyncio.CancelledError):
        await first
    await second
    assert now() == START


@pytest.mark.parametrize("seed", range(20))
@on_virtual_clock
async def test_a_storm_of_cancellations_costs_no_place_and_leaves_nobody_waiting(
    seed: int,
) -> None:
    chance = random.Random(seed)  # noqa: S311 - a schedule
    limiter, left = WindowLimiter(Quota(3, 1.0)), list[float]()

    async def request() -> None:
        slot = await limiter.acquire(patient=chance.random() < 0.5)
        try:
            await asyncio.sleep(chance.choice([0.0, 0.3]))
            limiter.sent(slot)
            left.append(now())
        finally:
            limiter.done(slot)

    tasks = [asyncio.create_task(request()) for _ in range(60)]
    while not all(task.done() for task in tasks):
        await asyncio.sleep(chance.choice([0.0, 0.0, 0.5, 1.04]))
        chance.choice(tasks).cancel()
    await asyncio.gather(*tasks, return_exceptions=True)

    assert busiest(left, 1.0) <= 3
    await asyncio.sleep(2)
    began = now()
    for _ in range(3):
        await send(limiter)
    assert now() == began
    assert await send(limiter) == pytest.approx(began + 1.04)


# An earlier process.


@on_virtual_clock
async def test_places_that_an_earlier_process_took_are_counted() -> None:
    limiter = WindowLimiter(Quota(3, 60.0))
    limiter.prime([START - 100, START - 10, START - 50])

    granted = [await send(limiter) for _ in range(4)]
    assert granted == pytest.approx(
        [START, START - 50 + 60.3, START - 10 + 60.3, START + 60.3], abs=1e-3
    )


@on_virtual_clock
async def test_places_taken_in_the_future_count_from_now() -> None:
    """A clock that was set back must not lock anybody out for longer than a window."""
    limiter = WindowLimiter(Quota(2, 60.0))
    limiter.prime([START + 9999, START + 10])
    assert await send(limiter) == pytest.approx(START + 60.3)


@on_virtual_clock
async def test_an_earlier_process_may_have_had_a_larger_quota() -> None:
    limiter = WindowLimiter(Quota(2, 10.0))
    limiter.prime(START - 9 + second for second in range(8))
    granted = [await send(limiter) for _ in range(2)]
    # Less than two of the eight are in a window only when the seventh has left it.
    assert granted == pytest.approx([START - 3 + 10.3, START - 2 + 10.3])


@on_virtual_clock
async def test_places_that_become_known_late_hold_back_who_waits() -> None:
    limiter = WindowLimiter(Quota(1, 10.0))
    await send(limiter)
    waiter = asyncio.create_task(send(limiter))
    await asyncio.sleep(5)
    limiter.prime([now() - 1])
    assert await waiter == pytest.approx(START + 14.3)


@pytest.mark.parametrize(("text", "claims"), [("100/2s", 1000), ("7/1s", 60)])
@on_virtual_clock
async def test_a_short_run_takes_hardly_longer_than_the_quota_asks(text: str, claims: int) -> None:
    quota, left = Quota.parse(text), list[float]()
    limiter, rows = WindowLimiter(quota), iter(range(claims))

    async def work() -> None:
        for _ in rows:
            left.append(await send(limiter, patient=True))
            await asyncio.sleep(0.005)

    await asyncio.gather(*(work() for _ in range(16)))

    ideal = math.ceil((claims - quota.limit) / quota.limit) * quota.per
    assert (len(left), busiest(left, quota.per)) == (claims, quota.limit)
    assert ideal <= now() - START <= 1.06 * ideal


@on_virtual_clock
async def test_a_free_place_is_taken_without_a_step_of_the_loop() -> None:
    taking = WindowLimiter(Quota(1, 60.0)).acquire()
    with pytest.raises(StopIteration) as caught:
        taking.send(None)
    assert isinstance(caught.value.value, Slot)
