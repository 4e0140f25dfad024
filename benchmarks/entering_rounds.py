"""Rows into a stream, in a process of its own: seconds of the clock for each row."""

from __future__ import annotations

import asyncio
import gc
import json
import sys
import time
from collections.abc import Awaitable, Callable

from redis.asyncio import Redis

from badges_async.worker import ClaimEvent, RedisStream, connect
from benchmarks.orders import Order, orders_for
from benchmarks.processes import serve_rounds

WARM_UP = 2_000
_BATCH = 1_000


def main(facts: str) -> None:
    """Be a contender; *facts* are the keywords of `_be` as JSON."""
    _be(**json.loads(facts))


def _be(*, redis: str, way: str, n: int) -> None:
    orders = orders_for(n)

    def seconds(orders: list[Order]) -> float:
        return asyncio.run(_measure(redis, _WAYS[way], orders)) / len(orders)

    serve_rounds(lambda: seconds(orders[:WARM_UP]), lambda: seconds(orders))


async def _measure(
    url: str, enter: Callable[[Redis, list[Order]], Awaitable[object]], orders: list[Order]
) -> float:
    async with connect(url) as redis:
        await redis.flushall()
        gc.collect()
        started = time.perf_counter()
        await enter(redis, orders)
        taken = time.perf_counter() - started
        if await redis.xlen("{badges:claims}") != len(orders):
            raise AssertionError("every row is in the stream, once")
    return taken


async def _add(redis: Redis, orders: list[Order]) -> None:
    await RedisStream(redis).add(ClaimEvent(*order) for order in orders)


async def _by_hand(redis: Redis, orders: list[Order]) -> None:
    for start in range(0, len(orders), _BATCH):
        pipeline = redis.pipeline(transaction=False)
        for order in orders[start : start + _BATCH]:
            pipeline.xadd("{badges:claims}", {"d": ClaimEvent(*order).to_json()})
        await pipeline.execute()


_WAYS = {"add": _add, "by_hand": _by_hand}

if __name__ == "__main__":
    main(*sys.argv[1:])
