"""Claims from a list or from a stream, in a process of its own: CPU seconds for each claim."""

from __future__ import annotations

import asyncio
import gc
import json
import sys
import time
from collections.abc import Iterable
from importlib import import_module

from badges_async import BadgesClient, BasicAuth, ClaimStatus
from badges_async.worker import (
    ClaimEvent,
    ClaimWorker,
    MemorySource,
    RedisSource,
    RedisStream,
    connect,
)
from benchmarks.orders import Order, orders_for
from benchmarks.ours import by_wire
from benchmarks.processes import serve_rounds

WARM_UP = 1_000


def main(facts: str) -> None:
    """Be a contender; *facts* are the keywords of `_be` as JSON."""
    _be(**json.loads(facts))


def _be(*, url: str, redis: str, way: str, loop: str, concurrency: int, claims: int) -> None:
    orders = orders_for(claims)
    factory = import_module(loop).new_event_loop

    def cost(orders: list[Order]) -> float:
        with asyncio.Runner(loop_factory=factory) as runner:
            if way == "redis":
                runner.run(_enqueue(redis, orders))
            gc.collect()
            started = time.process_time()
            runner.run(_WAYS[way](url, redis, orders, concurrency))
            return (time.process_time() - started) / len(orders)

    serve_rounds(lambda: cost(orders[:WARM_UP]), lambda: cost(orders))


async def _enqueue(redis: str, orders: Iterable[Order]) -> None:
    server = connect(redis)
    await server.flushall()
    await RedisStream(server).add(ClaimEvent(*order) for order in orders)
    await server.aclose()


async def _from_list(url: str, redis: str, orders: list[Order], concurrency: int) -> None:
    del redis
    await by_wire(url, orders, concurrency)


async def _from_memory(url: str, redis: str, orders: list[Order], concurrency: int) -> None:
    del redis
    source = MemorySource(most=len(orders))
    for order in orders:
        await source.put(ClaimEvent(*order))
    await _work(url, source, orders, concurrency)


async def _from_redis(url: str, redis: str, orders: list[Order], concurrency: int) -> None:
    server = connect(redis)
    await _work(url, RedisSource(server), orders, concurrency)
    await server.aclose()


async def _work(
    url: str, source: MemorySource | RedisSource, orders: list[Order], concurrency: int
) -> None:
    async with BadgesClient(url, BasicAuth("till.demo", "password"), lane="wire") as client:
        worker = ClaimWorker(client, source, concurrency=concurrency, once=True)
        report = await worker.run()
    if report.counts[ClaimStatus.CLAIMED] != len(orders):
        raise AssertionError("a worker that claims everything is measured, no other")


_WAYS = {"list": _from_list, "memory": _from_memory, "redis": _from_redis}

if __name__ == "__main__":
    main(*sys.argv[1:])
