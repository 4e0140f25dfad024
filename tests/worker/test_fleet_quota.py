"""
One quota for many processes, on the virtual clock: no window above it, and none of it wasted.

The scripts are run by fakeredis; `test_fleet_quota_redis` does it with a server and processes.
"""

from __future__ import annotations

import asyncio
import logging
import math
from collections.abc import AsyncIterator, Sequence
from contextlib import AsyncExitStack, asynccontextmanager, suppress
from random import Random

import attrs
import pytest
from hypothesis import given, settings
from hypothesis import strategies as st

from badges_async import ClientClosedError, InvalidInputError, Limiter, Quota, Slot
from badges_async.worker import FleetQuota, SourceError
from badges_async.worker.fleet_quota import QuotaUse, quota_uses
from badges_async.worker.places import Place, Waiting
from tests.kill_helpers import busiest
from tests.virtual_clock import START, now, on_virtual_clock
from tests.worker.virtual_redis import VirtualRedis, dice

GUARD = 0.35
NETWORK = 0.3  # what the way to the service may take, at the most


@asynccontextmanager
async def fleet(
    server: VirtualRedis, count: int, *quotas: Quota
) -> AsyncIterator[list[FleetQuota]]:
    async with AsyncExitStack() as stack:
        members = [FleetQuota(server.client(), *quotas, name="x") for _ in range(count)]
        for member in members:
            await stack.enter_async_context(member)
        yield members


async def take(limiter: Limiter, count: int, *, patient: bool = False) -> list[Slot]:
    """Take so many places at once, and send."""
    async with asyncio.TaskGroup() as group:
        tasks = [group.create_task(limiter.acquire(patient=patient)) for _ in range(count)]
    slots = [task.result() for task in tasks]
    for slot in slots:
        limiter.sent(slot)
        limiter.done(slot)
    return slots


async def is_waiting(task: asyncio.Task[Slot], seconds: float) -> bool:
    await asyncio.sleep(seconds)
    return not task.done()


# The windows.


@attrs.frozen
class Ask:
    """
    One request.

    Attributes:
        worker: Who makes it.
        after: Seconds from the one before.
        connecting: Seconds from its place to its first byte.
        network: Seconds from there to the service.
        fate: What happens instead of a request, if anything.
    """

    worker: int
    after: float
    connecting: float
    network: float
    fate: str


def demand() -> st.SearchStrategy[list[Ask]]:
    soon = st.sampled_from([0.0, 0.0, 0.0, 0.001, 0.03, 0.3])
    return st.lists(
        st.builds(
            Ask,
            worker=st.integers(0, 2),
            after=st.one_of(soon, st.floats(0, 2)),
            connecting=st.one_of(soon, st.floats(0, 5)),
            network=st.floats(0, NETWORK),
            fate=st.sampled_from(["", "", "", "", "cancelled", "given back", "never sent"]),
        ),
        min_size=20,
        max_size=80,
    )


async def make(limiter: Limiter, ask: Ask, arrivals: list[float]) -> None:
    asking = asyncio.current_task()
    assert asking is not None
    if ask.fate == "cancelled":
        asyncio.get_running_loop().call_later(ask.connecting, asking.cancel)
    slot = await limiter.acquire(patient=ask.worker == 0)
    assert slot.at <= now()
    if ask.fate == "given back":
        limiter.give_back(slot)
        return
    try:
        await asyncio.sleep(ask.connecting)
        if ask.fate == "never sent":
            return
        limiter.sent(slot)
        arrivals.append(now() + ask.network)
    finally:
        limiter.done(slot)


CASES = given(
    demand=demand(),
    quotas=st.sampled_from([("5/1s",), ("8/4s",), ("1/0.5s",), ("12/10s", "3/1s")]),
    seed=st.integers(0, 9),
    delay=st.sampled_from([0.0, 0.002, 0.02]),
)


async def meet(demand: list[Ask], quotas: tuple[str, ...], seed: int, delay: float) -> None:
    arrivals: list[float] = []
    kept = [Quota.parse(text) for text in quotas]
    server = VirtualRedis(seed, delay)
    async with fleet(server, 3, *kept) as members, asyncio.TaskGroup() as group:
        for ask in demand:
            await asyncio.sleep(ask.after)
            group.create_task(make(members[ask.worker], ask, arrivals))
    for quota in kept:
        assert busiest(arrivals, quota.per) <= quota.limit


@pytest.mark.slow
@CASES
@settings(max_examples=10, deadline=None)
@on_virtual_clock
async def test_no_window_at_the_service_is_above_the_quota(
    demand: list[Ask], quotas: tuple[str, ...], seed: int, delay: float
) -> None:
    await meet(demand, quotas, seed, delay)


@pytest.mark.slow
@pytest.mark.timeout(300)
@CASES
@settings(max_examples=60, deadline=None)
@on_virtual_clock
async def test_no_window_is_above_the_quota_whatever_is_asked(
    demand: list[Ask], quotas: tuple[str, ...], seed: int, delay: float
) -> None:
    await meet(demand, quotas, seed, delay)


async def keep_asking(
    limiter: Limiter, until: float, arrivals: list[float], chance: Random, network: float
) -> None:
    while now() < until:
        try:
            async with asyncio.timeout_at(until):
                slot = await limiter.acquire(patient=True)
        except TimeoutError:
            return
        limiter.sent(slot)
        await asyncio.sleep(chance.uniform(0, network))
        arrivals.append(now())
        limiter.done(slot)


async def crowd(
    members: Sequence[Limiter],
    width: int,
    seconds: float,
    seed: int,
    *,
    network: float = NETWORK,
) -> list[list[float]]:
    """Ask for as much as there is, with so many callers each; give when whose requests arrived."""
    arrivals: list[list[float]] = [[] for _ in members]
    chance = dice(seed)
    async with asyncio.TaskGroup() as group:
        for member, its in zip(members, arrivals, strict=True):
            for _ in range(width):
                group.create_task(keep_asking(member, now() + seconds, its, chance, network))
    return arrivals


@pytest.mark.slow
@pytest.mark.parametrize("quotas", [["100/10s"], ["20/1s"], ["100/10s", "20/1s"], ["5/3s"]])
@on_virtual_clock
async def test_the_quota_is_used_and_everybody_gets_a_share(quotas: list[str]) -> None:
    kept = [Quota.parse(text) for text in quotas]
    server, seconds = VirtualRedis(3, 0.002), 124.2
    async with fleet(server, 3, *kept) as members:
        shares = await crowd(members, 32, seconds, 5)
    arrivals = [moment for share in shares for moment in share]
    for quota in kept:
        assert busiest(arrivals, quota.per) <= quota.limit
    possible = min(quota.limit * seconds / quota.per for quota in kept)
    guarded = min(quota.limit * seconds / (quota.per + GUARD) for quota in kept)
    assert len(arrivals) >= 0.97 * guarded
    if kept[0].per == 10.0:
        assert len(arrivals) >= 0.9 * possible
    assert min(map(len, shares)) >= len(arrivals) / 3 / 2
    assert server.calls <= max(1.5 * len(arrivals), 1.5 * 3 * seconds)


@on_virtual_clock
async def test_a_quota_that_does_not_bind_costs_few_calls() -> None:
    server = VirtualRedis(3, 0.0003)
    async with fleet(server, 1, Quota(1_000_000, 60.0)) as members:
        arrivals = await crowd(members, 64, 1.0, 5, network=0.02)
    assert len(arrivals[0]) > 4000
    assert server.calls < 0.2 * len(arrivals[0])
    assert server.calls <= 510  # one every 2 ms


@on_virtual_clock
async def test_those_who_ask_at_once_are_served_by_one_call() -> None:
    server = VirtualRedis()
    async with fleet(server, 1, Quota(100)) as [limiter]:
        await take(limiter, 64)
        assert server.calls == 1
    assert server.log() == [START] * 64


@on_virtual_clock
async def test_a_place_is_never_early() -> None:
    server = VirtualRedis(2, 0.05)
    async with fleet(server, 1, Quota(1, 1.0)) as [limiter]:
        for _ in range(5):
            [slot] = await take(limiter, 1)
            assert slot.at >= server.log()[-1]


@on_virtual_clock
async def test_nobody_takes_what_a_dead_worker_cannot_use_longer_than_it_reserved() -> None:
    """It asks for very much, gets some, and is never heard of again."""
    server, quota = VirtualRedis(), Quota(20, 4.0)
    async with fleet(server, 2, quota) as [dead, alive]:
        await take(dead, 20)
        async with asyncio.TaskGroup() as group:
            waiting = [group.create_task(dead.acquire()) for _ in range(100)]
            await asyncio.sleep(3.0)  # the next places are due in 1.35 s, and reserved
            reserved = [moment for moment in server.log() if moment > now()]
            assert len(reserved) == 20
            assert max(reserved) <= now() + 2.0
            for task in waiting:
                task.cancel()
            server.away = True  # what it would give back never comes
            await asyncio.sleep(0.01)
            server.away = False
        await take(alive, 20)
        assert now() <= START + 2 * (4.0 + GUARD) + 0.01


# Servers and clocks.


@pytest.mark.parametrize("jump", [-3600.0, -0.5, 0.0])
@on_virtual_clock
async def test_a_servers_clock_that_is_set_back_opens_no_window(jump: float) -> None:
    server, quota = VirtualRedis(), Quota(5, 2.0)
    async with fleet(server, 2, quota) as members:
        arrivals = [slot.at for slot in await take(members[0], 5)]
        server.offset += jump
        for _ in range(3):
            arrivals += [slot.at for slot in await take(members[1], 5)]
    assert busiest(arrivals, 2.0) <= 5
    assert arrivals[-1] < START + 15.0


@on_virtual_clock
async def test_while_redis_is_away_everybody_waits() -> None:
    server = VirtualRedis()
    async with fleet(server, 1, Quota(5, 1.0)) as [limiter], asyncio.TaskGroup() as group:
        server.away = True
        task = group.create_task(limiter.acquire())
        assert await is_waiting(task, 3600.0)
        server.away = False
        assert not await is_waiting(task, 2.0)


@on_virtual_clock
async def test_places_at_hand_are_handed_out_while_redis_is_away() -> None:
    server = VirtualRedis()
    async with fleet(server, 1, Quota(5, 4.0)) as [limiter], asyncio.TaskGroup() as group:
        await take(limiter, 5)
        await asyncio.sleep(3.5)
        task = group.create_task(limiter.acquire())
        await asyncio.sleep(0.1)
        server.away = True
        assert not await is_waiting(task, 1.0)
        assert task.result().at == START + 4.35
        server.away = False


@on_virtual_clock
async def test_a_lost_answer_costs_no_place() -> None:
    server = VirtualRedis()
    async with fleet(server, 1, Quota(5, 60.0)) as [limiter]:
        server.answers_to_lose = 2
        await take(limiter, 5)
        assert now() < START + 1.0
        assert len(server.log()) == 5


@pytest.mark.parametrize("told", [True, False], ids=["broken connection", "only the log shows it"])
@on_virtual_clock
async def test_a_server_that_lost_its_last_second_is_told_again(told: bool) -> None:  # noqa: FBT001
    server, quota = VirtualRedis(), Quota(10, 10.0)
    async with fleet(server, 2, quota) as [one, other]:
        arrivals = [slot.at for slot in await take(other, 3)]
        await asyncio.sleep(0.5)
        arrivals += [slot.at for slot in await take(one, 5)]
        server.do(lambda: server.store.zremrangebyrank("{badges:quota:x}:log", 3, 7))
        if told:
            server.answers_to_lose = 1
        arrivals += [slot.at for slot in await take(one, 4)]
        assert sorted(server.log())[:8] == [START] * 3 + [START + 0.5] * 5
    assert busiest(arrivals, 10.0) <= 10
    assert arrivals[-1] >= START + 10.0


@on_virtual_clock
async def test_places_whose_answer_was_very_slow_are_not_used() -> None:
    """Meanwhile others may have relied on them being over."""
    server, quota = VirtualRedis(), Quota(2, 1.0)
    async with fleet(server, 2, quota) as [slow, quick], asyncio.TaskGroup() as group:
        usual, ways = server.travel, iter([0.0, 3.0])

        async def travel() -> None:
            await asyncio.sleep(next(ways))

        server.travel = travel  # type: ignore[method-assign]
        task = group.create_task(take(slow, 2))
        await asyncio.sleep(0.1)
        server.travel = usual  # type: ignore[method-assign]
        arrivals = [slot.at for _ in range(4) for slot in await take(quick, 2)]
        arrivals += [slot.at for slot in await task]
    assert arrivals[-1] > START + 3.0
    assert busiest(arrivals, 1.0) <= 2


# Requests that leave late.


@on_virtual_clock
async def test_a_request_that_leaves_late_counts_from_then() -> None:
    server = VirtualRedis()
    async with fleet(server, 1, Quota(1, 4.0)) as [limiter]:
        slot = await limiter.acquire()
        await asyncio.sleep(0.7)
        limiter.sent(slot)
        assert slot.at == START + 0.7
        limiter.done(slot)
        await asyncio.sleep(0.3)
        assert server.log() == pytest.approx([START + 0.7], abs=1e-5)
        [after] = await take(limiter, 1)
        assert after.at == pytest.approx(START + 0.7 + 4.35, abs=1e-3)


@on_virtual_clock
async def test_a_request_that_leaves_at_once_tells_nobody() -> None:
    server = VirtualRedis()
    async with fleet(server, 1, Quota(1, 4.0)) as [limiter]:
        slot = await limiter.acquire()
        await asyncio.sleep(GUARD / 9)
        limiter.sent(slot)
        await asyncio.sleep(60.0)
        assert server.calls == 1


@on_virtual_clock
async def test_a_request_that_connects_for_ages_is_never_forgotten() -> None:
    server = VirtualRedis()
    async with fleet(server, 2, Quota(1, 2.0)) as [one, other], asyncio.TaskGroup() as group:
        slot = await one.acquire()
        task = group.create_task(other.acquire())
        assert await is_waiting(task, 60.0)
        one.sent(slot)
        one.done(slot)
        left = now()
        assert (await task).at >= left + 2.0


@on_virtual_clock
async def test_a_request_that_never_left_counts_from_its_grant() -> None:
    server = VirtualRedis()
    async with fleet(server, 1, Quota(1, 4.0)) as [limiter]:
        slot = await limiter.acquire()
        await asyncio.sleep(0.7)
        limiter.done(slot)
        [after] = await take(limiter, 1)
        assert after.at == pytest.approx(START + 4.35, abs=1e-3)


@on_virtual_clock
async def test_a_late_request_is_told_even_if_the_log_forgot_it() -> None:
    """The process stood still for longer than a window, or Redis was away for so long."""
    server = VirtualRedis()
    async with fleet(server, 2, Quota(1, 2.0)) as [one, other]:
        slot = await one.acquire()
        server.away = True
        await asyncio.sleep(10.0)
        server.store.flushall()
        one.sent(slot)
        one.done(slot)
        left = now()
        server.away = False
        await asyncio.sleep(2.1)  # it finds Redis again within two seconds
        [after] = await take(other, 1)
        assert after.at >= left + 2.0


# Places that nobody uses.


@on_virtual_clock
async def test_a_place_given_back_is_free_at_once() -> None:
    server = VirtualRedis()
    async with fleet(server, 2, Quota(1, 60.0)) as [one, other]:
        slot = await one.acquire()
        one.give_back(slot)
        one.give_back(slot)
        one.done(slot)
        await asyncio.sleep(0.01)
        await take(other, 1)
        assert now() < START + 0.1
        assert len(server.log()) == 1


@on_virtual_clock
async def test_whoever_is_cancelled_takes_no_place() -> None:
    server = VirtualRedis()
    async with fleet(server, 1, Quota(2, 4.0)) as [limiter], asyncio.TaskGroup() as group:
        await take(limiter, 2)
        first, second, third = [group.create_task(limiter.acquire()) for _ in range(3)]
        await asyncio.sleep(3.9)  # two places are at hand
        first.cancel()
        await asyncio.sleep(0.5)
        assert second.done()
        assert third.done()
        ats = [second.result().at, third.result().at]
        assert ats == pytest.approx([START + 4.35] * 2, abs=1e-5)


@on_virtual_clock
async def test_the_places_of_all_who_were_cancelled_go_back() -> None:
    server = VirtualRedis()
    async with fleet(server, 1, Quota(2, 4.0)) as [limiter], asyncio.TaskGroup() as group:
        await take(limiter, 2)
        tasks = [group.create_task(limiter.acquire()) for _ in range(2)]
        await asyncio.sleep(3.9)
        assert len(server.log()) == 4
        for task in tasks:
            task.cancel()
        await asyncio.sleep(0.01)
        assert len(server.log()) == 2


@on_virtual_clock
async def test_a_place_that_comes_in_the_moment_of_being_cancelled_goes_back() -> None:
    spared: list[Place] = []
    waiting = Waiting(lambda _: None, spared.append, 0.5)
    place = Place(at=now(), member="m", stands_for=now())
    async with asyncio.TaskGroup() as group:
        task = group.create_task(waiting.wait(patient=False))
        await asyncio.sleep(0)
        waiting.add([place])
        task.cancel()
    assert task.cancelled()
    assert spared == [place]


@pytest.mark.parametrize("first", ["cancelled", "failed"])
@on_virtual_clock
async def test_who_is_cancelled_in_the_moment_of_a_refusal_is_cancelled(first: str) -> None:
    spared: list[Place] = []
    waiting = Waiting(lambda _: None, spared.append, 0.5)
    async with asyncio.TaskGroup() as group:
        task = group.create_task(waiting.wait(patient=False))
        await asyncio.sleep(0)
        if first == "cancelled":
            task.cancel()
        waiting.fail(lambda: SourceError("no"))
        task.cancel()
    assert task.cancelled()
    assert (spared, waiting.wanted) == ([], 0)


@on_virtual_clock
async def test_places_asked_for_and_then_not_wanted_go_back() -> None:
    server = VirtualRedis(1, 0.1)
    async with fleet(server, 1, Quota(5, 60.0)) as [limiter], asyncio.TaskGroup() as group:
        tasks = [group.create_task(limiter.acquire()) for _ in range(5)]
        await asyncio.sleep(0.001)
        for task in tasks:
            task.cancel()
        await asyncio.sleep(1.0)
        assert server.calls == 2
        assert server.log() == []


# Whose turn it is.


@on_virtual_clock
async def test_calls_that_somebody_waits_for_go_ahead_but_not_for_ever() -> None:
    server, order = VirtualRedis(), list[str]()

    async def ask(name: str) -> None:
        slot = await limiter.acquire(patient=name == "run")
        order.append(name)
        limiter.done(slot)

    async with fleet(server, 1, Quota(1, 0.1)) as [limiter], asyncio.TaskGroup() as group:
        await take(limiter, 1)
        for name in ["run"] * 2 + ["call"] * 7:
            group.create_task(ask(name))
            await asyncio.sleep(0)
    assert order == ["call"] * 3 + ["run"] + ["call"] * 3 + ["run"] + ["call"]


@on_virtual_clock
async def test_a_place_that_grew_stale_at_hand_is_not_used() -> None:
    """The process stood still: nobody else could know that its place was not over."""
    spared: list[Place] = []
    waiting = Waiting(lambda _: None, spared.append, 0.5)
    place = Place(at=START + 1.0, member="m", stands_for=START + 1.0)
    async with asyncio.TaskGroup() as group:
        task = group.create_task(waiting.wait(patient=False))
        await asyncio.sleep(0)
        waiting.add([place])
        asyncio.get_running_loop()._set(START + 2.0)  # type: ignore[attr-defined]  # noqa: SLF001
        await asyncio.sleep(0.1)
        assert spared == [place]
        assert not task.done()
        task.cancel()


# Pauses.


@on_virtual_clock
async def test_a_pause_holds_the_whole_fleet() -> None:
    server, heard = VirtualRedis(), list[float]()
    async with fleet(server, 3, Quota(100)) as [one, other, idle], asyncio.TaskGroup() as group:
        other.on_pause = heard.append
        idle.on_pause = heard.append
        one.paused(now() + 20.0)
        await asyncio.sleep(1.0)
        tasks = [group.create_task(limiter.acquire()) for limiter in (one, other)]
        await asyncio.sleep(18.9)
        assert not any(task.done() for task in tasks)
        await asyncio.sleep(0.2)
        assert [task.result().at for task in tasks] == pytest.approx([START + 20.0] * 2, abs=1e-4)
    assert heard == pytest.approx([19.0], abs=1e-4)


@on_virtual_clock
async def test_a_pause_that_comes_while_redis_is_asked_is_told_with_the_next_question() -> None:
    server = VirtualRedis(1, 0.1)
    async with fleet(server, 2, Quota(5, 1.0)) as [one, other], asyncio.TaskGroup() as group:
        task = group.create_task(one.acquire())
        await asyncio.sleep(0.001)
        one.paused(now() + 7.0)
        one.give_back(await task)  # as whoever heard of the pause does
        await asyncio.sleep(0.5)
        await take(other, 1)
        assert now() >= START + 7.0


@on_virtual_clock
async def test_a_pause_only_ever_moves_forward() -> None:
    server = VirtualRedis()
    async with fleet(server, 2, Quota(100)) as [one, other]:
        one.paused(now() + 20.0)
        await asyncio.sleep(0.1)
        other.paused(now() + 5.0)
        one.paused(now() + 5.0)
        await asyncio.sleep(0.1)
        await take(other, 1)
        assert now() >= START + 20.0


@on_virtual_clock
async def test_a_pause_holds_for_a_quarter_of_an_hour_at_the_most() -> None:
    server = VirtualRedis()
    async with fleet(server, 2, Quota(100)) as [one, other]:
        one.paused(now() + 1e6)
        await asyncio.sleep(0.1)
        await take(other, 1)
        assert now() == pytest.approx(START + 900.0, abs=0.1)


@on_virtual_clock
async def test_places_that_are_due_within_a_new_pause_are_reserved_anew() -> None:
    server, heard = VirtualRedis(), list[tuple[float, float]]()
    async with fleet(server, 2, Quota(2, 10.0)) as [one, other], asyncio.TaskGroup() as group:
        other.on_pause = lambda seconds: heard.append((now(), seconds))
        await take(other, 2)
        await asyncio.sleep(9.0)
        task = group.create_task(other.acquire())
        await asyncio.sleep(0.1)
        assert len(server.log()) == 3  # reserved for START + 10.35
        one.paused(now() + 5.0)
        until = now() + 5.0
        await asyncio.sleep(0.5)
        assert len([at for at in server.log() if START < at < until]) == 0
        assert (await task).at == pytest.approx(until, abs=1e-3)
    [(when, _)] = heard
    assert when <= START + 9.1 + 0.25


@on_virtual_clock
async def test_ones_own_pause_takes_back_the_places_at_hand() -> None:
    server = VirtualRedis()
    async with fleet(server, 1, Quota(2, 10.0)) as [limiter], asyncio.TaskGroup() as group:
        await take(limiter, 2)
        await asyncio.sleep(9.0)
        task = group.create_task(limiter.acquire())
        await asyncio.sleep(0.1)
        limiter.paused(START + 20.0)
        assert (await task).at == pytest.approx(START + 20.0, abs=1e-3)


@on_virtual_clock
async def test_a_pause_that_one_was_told_is_not_told_again() -> None:
    server = VirtualRedis(4, 0.02)
    async with fleet(server, 3, Quota(5, 2.0)) as members:
        for member in members:
            # As a client would that took it for its own: the gate closes, and says so.
            member.on_pause = lambda seconds, its=member: its.paused(now() + seconds)
        members[0].paused(now() + 5.0)
        for _ in range(3):
            await crowd(members, 4, 10.0, 1)
        assert server.calls < 500
        [use] = await quota_uses(server.client())
        assert use.hold == 0.0


@on_virtual_clock
async def test_a_listener_that_fails_disturbs_nothing(caplog: pytest.LogCaptureFixture) -> None:
    def fail(_: float) -> None:
        raise RuntimeError("mine")

    server = VirtualRedis()
    async with fleet(server, 2, Quota(5, 2.0)) as [one, other]:
        other.on_pause = fail
        one.paused(now() + 5.0)
        await asyncio.sleep(0.1)
        await take(other, 1)
    assert "mine" in caplog.text


# Coming, going and being refused.


@on_virtual_clock
async def test_a_refusal_reaches_those_who_wait() -> None:
    server = VirtualRedis()
    async with fleet(server, 1, Quota(5, 1.0)) as [limiter]:
        server.refusal = "WRONGTYPE Operation against a key holding the wrong kind of value"
        for _ in range(3):
            with pytest.raises(SourceError, match="wrong kind"):
                await limiter.acquire()
        assert now() == START
        server.refusal = None
        await take(limiter, 5)
        assert len(server.log()) == 5


@on_virtual_clock
async def test_what_cannot_be_told_does_not_keep_anybody_busy() -> None:
    server = VirtualRedis()
    async with fleet(server, 1, Quota(5, 1.0)) as [limiter]:
        slot = await limiter.acquire()
        server.refusal = "NOPERM this user has no permissions"
        limiter.give_back(slot)
        asked = 0

        async def count(command: object, run=server.run) -> object:  # type: ignore[no-untyped-def]  # noqa: ANN001
            nonlocal asked
            asked += 1
            return await run(command)

        server.run = count  # type: ignore[method-assign]
        await asyncio.sleep(10.0)
        assert 5 <= asked <= 11
        server.refusal = None
        await asyncio.sleep(1.5)
        assert server.log() == []


@on_virtual_clock
async def test_what_nobody_expected_reaches_those_who_wait() -> None:
    server = VirtualRedis()
    async with fleet(server, 1, Quota(5, 1.0)) as [limiter]:

        async def fail(_: object) -> object:
            raise ArithmeticError("odd")

        server.run = fail  # type: ignore[method-assign, assignment]
        with pytest.raises(SourceError, match="odd"):
            await limiter.acquire()


@on_virtual_clock
async def test_an_answer_that_is_none_reaches_those_who_wait() -> None:
    server = VirtualRedis()
    async with fleet(server, 1, Quota(5, 1.0)) as [limiter]:

        async def say_nothing(_: object) -> object:
            return []

        with pytest.MonkeyPatch.context() as patched:
            patched.setattr(server, "run", say_nothing)
            with pytest.raises(SourceError, match="the fleet's quota: ValueError"):
                await limiter.acquire()
        await take(limiter, 5)


@on_virtual_clock
async def test_it_is_used_within_its_context() -> None:
    server = VirtualRedis()
    limiter = FleetQuota(server.client(), Quota(5), name="x")
    with pytest.raises(ClientClosedError):
        await limiter.acquire()
    limiter.paused(now() + 5.0)
    async with limiter:
        await take(limiter, 1)
    with pytest.raises(ClientClosedError):
        await limiter.acquire()
    with pytest.raises(ClientClosedError):
        await limiter.__aenter__()
    await limiter.__aexit__(None, None, None)


@on_virtual_clock
async def test_closing_wakes_those_who_wait_and_gives_back_what_was_reserved() -> None:
    server = VirtualRedis()
    async with asyncio.TaskGroup() as group:
        async with fleet(server, 1, Quota(2, 4.0)) as [limiter]:
            await take(limiter, 2)
            tasks = [group.create_task(_closed_while_waiting(limiter)) for _ in range(3)]
            await asyncio.sleep(3.9)
            assert len(server.log()) == 4
        assert len(server.log()) == 2
        assert all([await task for task in tasks])


async def _closed_while_waiting(limiter: Limiter) -> bool:
    try:
        await limiter.acquire()
    except ClientClosedError:
        return True
    return False


@on_virtual_clock
async def test_closing_gives_back_what_was_asked_for_and_not_answered() -> None:
    server = VirtualRedis(1, 0.2)
    async with asyncio.TaskGroup() as group:
        async with fleet(server, 1, Quota(50, 4.0)) as [limiter]:
            task = group.create_task(_closed_while_waiting(limiter))
            while not server.log():  # noqa: ASYNC110 - the virtual clock moves by that
                await asyncio.sleep(0.001)
        assert server.log() == []
        assert await task


@on_virtual_clock
async def test_closing_tells_what_left_late() -> None:
    server = VirtualRedis()
    async with fleet(server, 1, Quota(2, 4.0)) as [limiter]:
        slot = await limiter.acquire()
        await asyncio.sleep(0.5)
        limiter.sent(slot)
    assert server.log() == pytest.approx([START + 0.5], abs=1e-5)


@on_virtual_clock
async def test_closing_does_not_wait_for_a_redis_that_is_away() -> None:
    server = VirtualRedis()
    async with asyncio.TaskGroup() as group:
        async with fleet(server, 1, Quota(2, 4.0)) as [limiter]:
            server.away = True
            task = group.create_task(_closed_while_waiting(limiter))
            await asyncio.sleep(5.0)
        assert await task
    assert now() <= START + 6.1


@pytest.mark.parametrize("refusal", [None, "NOPERM this user has no permissions"])
@on_virtual_clock
async def test_closing_does_not_rely_on_cancelling_a_command(refusal: str | None) -> None:
    """On Python 3.11 a cancellation is lost in the moment that redis-py has sent a command."""
    server = VirtualRedis(1, 0.1)

    async def keep_cancellation() -> None:
        with suppress(asyncio.CancelledError):
            await asyncio.sleep(0.1)

    async with asyncio.TaskGroup() as group:
        async with fleet(server, 1, Quota(2, 4.0)) as [limiter]:
            server.travel = keep_cancellation  # type: ignore[method-assign]
            task = group.create_task(_closed_while_waiting(limiter))
            await asyncio.sleep(0.05)
            server.refusal = refusal
        assert await task
        assert server.log() == []


@on_virtual_clock
async def test_an_error_of_the_body_stays_what_it_is() -> None:
    with pytest.raises(KeyError):
        async with fleet(VirtualRedis(), 1, Quota(2)):
            raise KeyError("mine")


@on_virtual_clock
async def test_a_redis_that_is_not_there_at_all_is_an_error() -> None:
    server = VirtualRedis()
    server.away = True
    with pytest.raises(SourceError, match="does not answer"):
        await FleetQuota(server.client(), Quota(2), name="x").__aenter__()


@on_virtual_clock
async def test_what_an_earlier_process_sent_is_in_the_log_already() -> None:
    async with fleet(VirtualRedis(), 1, Quota(2)) as [limiter]:
        limiter.prime([now(), now()])
        await take(limiter, 2)
        assert now() == START


@on_virtual_clock
async def test_a_foreign_slot_is_none_of_ours() -> None:
    async with fleet(VirtualRedis(), 1, Quota(2)) as [limiter]:
        slot = Slot(now())
        limiter.sent(slot)
        limiter.done(slot)
        limiter.give_back(slot)


# What is kept, and looking at it.


@on_virtual_clock
async def test_the_quotas_in_use_can_be_looked_at() -> None:
    server = VirtualRedis()
    quotas = Quota(100, 10.0), Quota(20, 1.0)
    async with fleet(server, 2, *quotas) as [one, other]:
        assert one.quota == Quota(100, 10.0)
        async with FleetQuota(server.client(), Quota(5, 60.0), name="brand b") as third:
            await take(one, 15)
            await asyncio.sleep(1.5)
            await take(other, 4)
            await take(third, 2)
            one.paused(now() + 30.0)
            await asyncio.sleep(1.0)
            uses = await quota_uses(server.client())
    assert uses == [
        QuotaUse("brand b", "5/60s", (2,), 0.0),
        QuotaUse("x", "100/10s 20/1s", (19, 0), uses[1].hold),
    ]
    assert uses[1].hold == pytest.approx(29.0, abs=1e-3)


@on_virtual_clock
async def test_a_quota_that_changed_is_remarked(caplog: pytest.LogCaptureFixture) -> None:
    caplog.set_level(logging.WARNING, "badges_async")
    server = VirtualRedis()
    for quota in (Quota(5), Quota(5), Quota(6)):
        async with fleet(server, 1, quota):
            pass
    assert [record.getMessage() for record in caplog.records] == [
        "the quota x was 5/60s, and is now 6/60s"
    ]
    assert [use.quotas for use in await quota_uses(server.client())] == ["6/60s"]


@on_virtual_clock
async def test_an_endless_log_is_cut_into_shares() -> None:
    server = VirtualRedis()
    async with fleet(server, 1, Quota(1_000_000)) as [limiter]:
        assert limiter.quota == Quota(1_000_000)
        assert [use.quotas for use in await quota_uses(server.client())] == ["10000/0.6s"]


@given(limit=st.integers(1, 10**7), per=st.floats(0.1, 1e5))
def test_a_share_implies_the_whole(limit: int, per: float) -> None:
    limiter = FleetQuota(VirtualRedis().client(), Quota(limit, per), name="x")
    [share] = limiter._kept  # noqa: SLF001 - what is kept is all that is asked here
    assert share.limit <= 10_000
    shares = math.ceil(per / share.per - 1e-6)
    assert shares * share.limit <= limit
    assert shares * share.limit > 0.99 * limit - shares


@pytest.mark.parametrize("name", ["", " ", "a{b", "a}b", "a\nb", "x" * 81, None, b"x", " x"])
def test_a_name_is_plain(name: str) -> None:
    with pytest.raises(InvalidInputError, match="name"):
        FleetQuota(VirtualRedis().client(), Quota(5), name=name)


@pytest.mark.parametrize("seconds", [0, -1, math.inf, math.nan])
@pytest.mark.parametrize("option", ["guard", "max_wait"])
def test_spans_are_above_zero(option: str, seconds: float) -> None:
    with pytest.raises(InvalidInputError, match=option):
        FleetQuota(VirtualRedis().client(), Quota(5), name="x", **{option: seconds})


def test_there_is_something_to_keep() -> None:
    with pytest.raises(InvalidInputError, match="at least one"):
        FleetQuota(VirtualRedis().client(), name="x")
