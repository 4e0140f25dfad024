"""
A limit that nobody told is found, kept to, and found again when it has changed.

The gateways are models (`tests.gateways`): a number of workers sends to them as fast as gate, pace
and quota let them. Hours take a second.
"""

from __future__ import annotations

import asyncio
from collections import Counter

import pytest

from badges_async.quota import Quota
from tests.gateways import Bucket, FixedWindows, Gateway, Load, ShutForTenMinutes, Unlimited
from tests.virtual_clock import on_virtual_clock

EXPLAINED = pytest.mark.parametrize("explains", [True, False], ids=["Retry-After", "bare"])
Kind = type[Gateway]
KINDS = pytest.mark.parametrize("kind", [Gateway, FixedWindows, Bucket])


# The limit is found, and used.


@EXPLAINED
@KINDS
@pytest.mark.parametrize("latency", [0.001, 0.005, 0.02])
@on_virtual_clock
async def test_a_short_run_against_an_unknown_limit_takes_hardly_longer_than_it_must(
    kind: Kind,
    latency: float,
    explains: bool,  # noqa: FBT001 - a parameter
) -> None:
    load = Load(kind(200, 1.0, explains), workers=64, latency=latency)
    await load.claims(3000)

    assert load.answered <= 15.8, "90 % of the rate would be 16.6"
    assert load.share_refused() <= 0.05


@pytest.mark.slow
@EXPLAINED
@KINDS
@pytest.mark.parametrize("workers", [1, 16, 64])
@on_virtual_clock
async def test_hours_against_an_unknown_limit_use_it_and_rarely_meet_it(
    kind: Kind,
    workers: int,
    explains: bool,  # noqa: FBT001 - a parameter
) -> None:
    load = Load(kind(100, 60.0, explains), workers=workers)
    await load.seconds(3 * 3600)

    assert load.taken() >= 0.95 * 180 * 100
    assert load.share_refused() <= (0.02 if explains else 0.04)


@pytest.mark.slow
@EXPLAINED
@pytest.mark.parametrize("phase", [25.0, 40.0, 55.0])
@on_virtual_clock
async def test_a_window_that_is_met_near_its_end_is_found_all_the_same(
    phase: float,
    explains: bool,  # noqa: FBT001 - a parameter
) -> None:
    load = Load(FixedWindows(100, 60.0, explains, phase))
    await load.seconds(3 * 3600)

    assert load.taken() >= 0.93 * 180 * 100
    assert load.share_refused() <= 0.03


@EXPLAINED
@pytest.mark.parametrize("workers", [1, 8, 32])
@on_virtual_clock
async def test_a_quota_above_the_true_one_is_corrected(
    workers: int,
    explains: bool,  # noqa: FBT001 - a parameter
) -> None:
    load = Load(Gateway(60, 60.0, explains), workers=workers, quota=Quota(100, 60.0))
    await load.seconds(600)

    assert load.taken() >= 0.95 * 600
    assert load.share_refused() < 0.05


@EXPLAINED
@pytest.mark.parametrize("kind", [Gateway, FixedWindows])
@pytest.mark.parametrize("seed", range(4, 9))
@on_virtual_clock
async def test_a_quota_above_the_true_one_is_found_in_one_burst_and_no_second(
    kind: Kind,
    seed: int,
    explains: bool,  # noqa: FBT001 - a parameter
) -> None:
    """The quota lets nobody go for the rest of the window, which is no lack of demand."""
    gateway = kind(60, 60.0, explains)
    if isinstance(gateway, FixedWindows):
        gateway.phase = 7.3 * seed
    load = Load(gateway, quota=Quota(100, 60.0), latency=0.01, jitter=0.045, seed=seed)
    await load.seconds(300)

    assert max(Counter(int(moment) for moment in load.refused if moment >= 1).values()) <= 3
    assert load.share_refused(1) < 0.055
    assert load.taken() >= 0.95 * 300


@EXPLAINED
@pytest.mark.parametrize("quota", [None, Quota(100, 60.0)])
@on_virtual_clock
async def test_a_limit_that_changes_is_followed_down_and_up(
    quota: Quota | None,
    explains: bool,  # noqa: FBT001 - a parameter
) -> None:
    gateway = Gateway(100, 60.0, explains)
    load = Load(gateway, quota=quota)

    async def change() -> None:
        await asyncio.sleep(3600)
        gateway.limit = 30
        await asyncio.sleep(3600)
        gateway.limit = 100

    await asyncio.gather(change(), load.seconds(3 * 3600))

    assert load.taken(0, 3600) >= 0.95 * 6000
    assert load.share_refused(0, 3600) <= 0.04
    assert load.share_refused(3600 + 120, 3600 + 600) <= 0.05
    assert load.taken(3600 + 120, 7200) >= 0.93 * 58 * 30
    assert load.taken(7200 + 840, 7200 + 900) >= 0.93 * 100
    assert load.share_refused(7200) <= 0.03


@pytest.mark.slow
@EXPLAINED
@pytest.mark.parametrize("kind", [Gateway, FixedWindows])
@pytest.mark.parametrize(("every", "burst"), [(1.2, 1), (60.0, 50)])
@on_virtual_clock
async def test_half_of_the_capacity_is_enough_when_another_client_has_the_other(
    kind: Kind,
    every: float,
    burst: int,
    explains: bool,  # noqa: FBT001 - a parameter
) -> None:
    gateway = kind(100, 60.0, explains)
    load = Load(gateway)

    async def other() -> None:
        while True:
            for _ in range(burst):
                gateway.admit()
            await asyncio.sleep(every)

    task = asyncio.create_task(other())
    await load.seconds(3 * 3600)
    task.cancel()

    assert load.taken() >= 0.95 * 180 * 50
    assert load.share_refused() <= 0.04


# What is no limit.


@EXPLAINED
@pytest.mark.parametrize("quota", [None, Quota(100, 60.0)])
@pytest.mark.parametrize("workers", [1, 64])
@on_virtual_clock
async def test_ten_minutes_of_throttles_are_no_storm_and_do_not_slow_what_follows(
    workers: int,
    quota: Quota | None,
    explains: bool,  # noqa: FBT001 - a parameter
) -> None:
    load = Load(ShutForTenMinutes(100, 60.0, explains), workers=workers, quota=quota)
    await load.seconds(3600)

    assert sum(900 <= moment < 1500 for moment in load.refused) <= workers + 25
    restart = next(moment for moment in load.accepted if moment > 1500)
    assert restart <= 1500 + 55
    assert load.taken(restart, restart + 120) >= 0.8 * 200
    assert load.taken(2100, 3600) >= 0.95 * 25 * 100


@pytest.mark.parametrize("workers", [1, 16])
@on_virtual_clock
async def test_a_stray_throttle_costs_its_pause(workers: int) -> None:
    load = Load(Unlimited(once=30.0), workers=workers)
    await load.seconds(60)

    full = 60 * workers / 0.05
    assert load.taken() >= full * (1 - 1.3 / 60)
    assert len(load.refused) == 1
    assert load.pace.free
    assert load.pace.rate is None


@pytest.mark.parametrize("workers", [1, 16])
@on_virtual_clock
async def test_random_bare_throttles_do_not_look_like_a_limit(workers: int) -> None:
    load = Load(Unlimited(explains=False, stray=0.02), workers=workers)
    await load.seconds(120)

    assert load.taken() >= 0.9 * 0.98 * 120 * workers / 0.05


@pytest.mark.xfail(
    strict=True,
    reason="the pace that is found is what was accepted, which chance makes less each time. Of 5 "
    "minutes at full speed 6 % are used where 6 % of requests meet a bare 429, 2 % where 10 % do, "
    "and 1 % where 0.5 % meet one that asks for a second",
)
@pytest.mark.parametrize(
    ("stray", "explains"), [(0.06, False), (0.1, False), (0.3, False), (0.005, True), (0.02, True)]
)
@on_virtual_clock
async def test_many_random_throttles_do_not_look_like_a_limit_either(
    stray: float,
    explains: bool,  # noqa: FBT001 - a parameter
) -> None:
    load = Load(Unlimited(explains=explains, stray=stray), workers=16)
    await load.seconds(300)

    open_for = 300 - 1.1 * len(load.refused) * explains
    assert load.taken() >= 0.5 * (1 - stray) * max(open_for, 30) * 16 / 0.05


@on_virtual_clock
async def test_a_service_that_is_full_from_the_first_request_on_is_no_slow_one() -> None:
    load = Load(Unlimited(opens=40.0), workers=32)
    await load.seconds(60)

    assert len(load.refused) == 32
    assert load.taken(50) >= 0.9 * 10 * 32 / 0.05
