"""Whoever gives up waiting is forgotten at once: neither a future nor a timer stays for it."""

from __future__ import annotations

import asyncio
import gc
from collections.abc import Awaitable, Callable

import pytest

from badges_async import Quota
from badges_async.permits import Permits
from badges_async.quota import WindowLimiter
from tests.virtual_clock import on_virtual_clock, pending_timers

Wait = Callable[[], Awaitable[object]]


async def permits() -> Wait:
    """Give the wait for a connection, all of which are taken."""
    places = Permits(1)
    assert places.take()
    return places.wait


async def quota() -> Wait:
    """Give the wait for a place in a window that is full."""
    limiter = WindowLimiter(Quota(1, 60.0))
    limiter.sent(await limiter.acquire())
    return limiter.acquire


def given_up() -> int:
    """Count the futures of waits that were cancelled."""
    gc.collect()
    futures = (thing for thing in gc.get_objects() if type(thing) is asyncio.Future)
    return sum(future.cancelled() for future in futures)


@pytest.mark.parametrize("line", [permits, quota])
@on_virtual_clock
async def test_a_thousand_who_gave_up_cost_no_memory(line: Callable[[], Awaitable[Wait]]) -> None:
    wait, before = await line(), given_up()
    first, *others, last = [asyncio.ensure_future(wait()) for _ in range(1000)]
    await asyncio.sleep(1)

    for other in others:
        other.cancel()
    await asyncio.wait(others)
    del other, others

    assert given_up() == before  # while those before and behind them still wait
    first.cancel()
    last.cancel()
    await asyncio.wait([first, last])
    assert pending_timers() == 0
