"""A way to claim, in a process of its own: what a claim costs it in CPU seconds, in each round."""

from __future__ import annotations

import asyncio
import gc
import json
import sys
import time
from importlib import import_module
from pkgutil import resolve_name
from typing import Any

from benchmarks.orders import orders_for
from benchmarks.processes import serve_rounds

WARM_UP = 1_000


def main(facts: str) -> None:
    """Be a contender; *facts* are the keywords of `_be` as JSON."""
    _be(**json.loads(facts))


def _be(
    *,
    url: str,
    claim: str,
    prepare: str | None,
    loop: str,
    concurrency: int,
    claims: int,
    one_badge: bool,
) -> None:
    way = resolve_name(claim)
    orders: list[Any] = orders_for(claims, one_badge=one_badge)
    if prepare is not None:
        orders = resolve_name(prepare)(url, orders)
    factory = import_module(loop).new_event_loop

    def cost(orders: list[Any]) -> float:
        async def all_of_it() -> None:
            await way(url, orders, concurrency)

        gc.collect()
        with asyncio.Runner(loop_factory=factory) as runner:
            started = time.process_time()
            runner.run(all_of_it())
            return (time.process_time() - started) / len(orders)

    serve_rounds(lambda: cost(orders[:WARM_UP]), lambda: cost(orders))


if __name__ == "__main__":
    main(*sys.argv[1:])
