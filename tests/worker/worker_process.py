"""
A worker in a process of its own, as a program of our users would have it: killed, told to stop.

``python -m tests.worker.worker_process FACTS`` with the fields of `Facts` as JSON; SIGTERM drains.
The report is printed when it ends.
"""

from __future__ import annotations

import asyncio
import json
import signal
import sys
from contextlib import AsyncExitStack

import attrs

from badges_async import BadgesClient, BasicAuth, Quota
from badges_async.worker import ClaimWorker, FleetQuota, RedisSource, connect

__all__ = ["Facts"]


@attrs.frozen(kw_only=True)
class Facts:
    """What a worker is to do; `quota` is one that all workers share."""

    service: str
    redis: str
    username: str
    password: str
    quota: str | None = None
    lease: float = 2.0
    concurrency: int = 32
    grace: float = 5.0
    once: bool = False


async def work(facts: Facts) -> None:
    """Work until SIGTERM, or until there is nothing more if it is for once."""
    async with connect(facts.redis) as redis, AsyncExitStack() as stack:
        quota = None
        if facts.quota is not None:
            shared = FleetQuota(redis, Quota.parse(facts.quota), name="fleet")
            quota = await stack.enter_async_context(shared)
        auth = BasicAuth(facts.username, facts.password)
        client = await stack.enter_async_context(BadgesClient(facts.service, auth, quota=quota))
        worker = ClaimWorker(
            client,
            RedisSource(redis, lease=facts.lease),
            concurrency=facts.concurrency,
            grace=facts.grace,
            once=facts.once,
        )
        asyncio.get_running_loop().add_signal_handler(signal.SIGTERM, worker.drain)
        print("working", flush=True)  # noqa: T201 - whoever started it waits for this
        report = await worker.run()
    counts = {status.value: count for status, count in report.counts.items()}
    print(  # noqa: T201 - likewise
        json.dumps({**attrs.asdict(report), "counts": counts}), flush=True
    )


if __name__ == "__main__":
    asyncio.run(work(Facts(**json.loads(sys.argv[1]))))
