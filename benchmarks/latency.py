"""
What a single claim takes on the clock, one at a time: the median of a block of calls.

The baseline is `session.post` and `read` of a bare aiohttp session, which looks at nothing that
comes back. The contenders take turns on one core, each in a process of its own, nginx on the other.
"""

from __future__ import annotations

import asyncio
import gc
import sys
import time
from collections.abc import AsyncIterator, Awaitable, Callable, Iterator
from contextlib import AbstractAsyncContextManager, asynccontextmanager
from functools import partial
from importlib import import_module
from statistics import median

import aiohttp

from badges_async import BadgesClient, BasicAuth
from benchmarks.cores import pinned
from benchmarks.orders import HEADERS, PATH, Order, orders_for
from benchmarks.processes import cores, medians, serve_rounds, take_turns
from benchmarks.serving import serving
from benchmarks.table import Row

CALLS = 2_000
ROUNDS = 9
WARM_UP = 100
LOOPS = ("asyncio", "uvloop")

Claim = Callable[[Order], Awaitable[object]]
_BARE = "session.post + read"
_LANES = {"client.claim, wire lane": "wire", "client.claim, session lane": "session"}


def rows(calls: int = CALLS, rounds: int = ROUNDS) -> Iterator[Row]:
    """Give a row for each loop and contender."""
    client, service = cores()
    with serving(service) as served, pinned(client):
        for loop in LOOPS:
            commands: dict[str, tuple[object, ...]] = {
                name: ("benchmarks.latency", name, loop, served.url, calls)
                for name in (_BARE, *_LANES)
            }
            took = take_turns(commands, rounds)
            for name, ratio, seconds in medians(took, _BARE):
                yield Row(f"latency, {loop}, 1 at once: {name}", ratio, seconds * 1e6, "us", _BARE)


@asynccontextmanager
async def _bare(url: str) -> AsyncIterator[Claim]:
    async with aiohttp.ClientSession() as session:

        async def claim(order: Order) -> None:
            badge_id, owner_type, reference_id = order
            async with session.post(
                f"{url}{PATH}/{badge_id}/claim",
                json={"ownerType": owner_type, "referenceId": reference_id},
                headers=HEADERS,
            ) as response:
                await response.read()

        yield claim


@asynccontextmanager
async def _ours(lane: str, url: str) -> AsyncIterator[Claim]:
    async with BadgesClient(url, BasicAuth("till.demo", "password"), lane=lane) as client:
        yield lambda order: client.claim(*order)


async def _median(opened: AbstractAsyncContextManager[Claim], orders: list[Order]) -> float:
    """Give the median of what the calls take; those of the warm-up are left out."""
    took = []
    async with opened as claim:
        for order in orders:
            began = time.perf_counter()
            await claim(order)
            took.append(time.perf_counter() - began)
    return median(took[WARM_UP:] or took)


def main(name: str, loop: str, url: str, calls: str) -> None:
    """Be a contender."""
    opens = partial(_ours, _LANES[name]) if name in _LANES else _bare
    orders = orders_for(int(calls) + WARM_UP)
    factory = import_module(loop).new_event_loop

    def run() -> float:
        gc.collect()
        with asyncio.Runner(loop_factory=factory) as runner:
            return runner.run(_median(opens(url), orders))

    serve_rounds(run, run)


if __name__ == "__main__":
    main(*sys.argv[1:])
