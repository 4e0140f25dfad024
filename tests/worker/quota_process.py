"""
A process that takes places in a fleet's quota until a moment, or claims badges under it.

``python -m tests.worker.quota_process FACTS`` with the fields of `Facts` as JSON. When it is ready
it says so; then each request is a line: the moment of its arrival, on the machine's clock.
"""

from __future__ import annotations

import asyncio
import itertools
import json
import random
import sys
import time
from collections.abc import Iterator

import attrs

from badges_async import BadgesClient, BasicAuth, ClaimRequest, ClaimStatus, OwnerType, Quota
from badges_async.worker import FleetQuota, connect

__all__ = ["Facts"]


@attrs.frozen(kw_only=True)
class Facts:
    """
    What it does.

    Attributes:
        quotas: That it keeps.
        until: Stop then, on the machine's monotonic clock.
        jitter: Seconds that the way to the service may take; without a service.
        width: How many requests it makes at once.
        service: Where it claims badges, if it does.
    """

    redis: str
    quotas: list[str]
    until: float
    jitter: float = 0.3
    width: int = 32
    service: str | None = None
    username: str = ""
    password: str = ""
    badge: str = ""


def say(what: object) -> None:
    """Tell whoever started it, at once: the next thing may be its end."""
    print(what, flush=True)  # noqa: T201


async def ask(limiter: FleetQuota, facts: Facts) -> None:
    """Make requests to a service that only takes note of when they arrive."""
    chance = random.Random()  # noqa: S311 - the network's
    while True:
        slot = await limiter.acquire(patient=True)
        limiter.sent(slot)
        await asyncio.sleep(chance.uniform(0, facts.jitter))
        say(time.monotonic())
        limiter.done(slot)


def claims(facts: Facts) -> Iterator[ClaimRequest]:
    """Give claims without an end."""
    for number in itertools.count():
        yield ClaimRequest(facts.badge, OwnerType.LOYALTY, f"{id(facts)}-{number}")


async def claim(limiter: FleetQuota, service: str, facts: Facts) -> None:
    """Claim badges; each that was claimed is a line."""
    auth = BasicAuth(facts.username, facts.password)
    async with (
        BadgesClient(service, auth, quota=limiter) as client,
        client.claim_many(claims(facts), concurrency=facts.width) as outcomes,
    ):
        async for outcome in outcomes:
            assert outcome.status is ClaimStatus.CLAIMED, outcome
            say(time.monotonic())


async def main(facts: Facts) -> None:
    """Work until it is time."""
    quotas = [Quota.parse(text) for text in facts.quotas]
    async with (
        connect(facts.redis) as redis,
        FleetQuota(redis, *quotas, name="fleet") as limiter,
    ):
        say("ready")
        left = facts.until - time.monotonic()
        try:
            async with asyncio.timeout(left) as bound:
                if facts.service is not None:
                    await claim(limiter, facts.service, facts)
                async with asyncio.TaskGroup() as group:
                    for _ in range(facts.width):
                        group.create_task(ask(limiter, facts))
        except TimeoutError:
            if not bound.expired():
                raise


if __name__ == "__main__":
    asyncio.run(main(Facts(**json.loads(sys.argv[1]))))
