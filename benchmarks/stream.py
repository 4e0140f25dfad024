"""
What a stream in front of the claims costs a worker, and what it takes to fill one.

The first rows are CPU time of the worker's process for each claim, with everything on: fetched from
Redis in batches, read, claimed by the wire, acknowledged and deleted, leases renewed. The baseline
is `claim_many` over a list of the same claims. Redis and the service share the other core.

The last rows are seconds of the clock for each row that is entered, Redis's own time included.
"""

from __future__ import annotations

import json
from collections.abc import Iterator

from benchmarks.claims import LOOPS, MANY
from benchmarks.cores import pinned
from benchmarks.processes import cores, medians, take_turns
from benchmarks.redis_server import path_of_redis, redis_version, running_redis
from benchmarks.serving import serving
from benchmarks.table import Row, note

__all__ = ["rows"]

CLAIMS = 10_000
ROUNDS = 5
ENTERED = 100_000

_LIST, _MEMORY, _REDIS = "claim_many over a list", "worker, in memory", "worker, Redis Streams"
_WAYS = {_LIST: "list", _MEMORY: "memory", _REDIS: "redis"}
_HAND, _ADD = "pipelines of XADD, by hand", "RedisStream.add"
_ENTERING = {_HAND: "by_hand", _ADD: "add"}


def rows(claims: int = CLAIMS, rounds: int = ROUNDS, entered: int = ENTERED) -> Iterator[Row]:
    """Give a row for each loop and way to claim, and for each way to enter rows."""
    if path_of_redis() is None:
        note("redis-server is not installed: no rows about streams")
        return
    client, service = cores()
    with serving(service) as served, running_redis(service) as redis, pinned(client):
        note(f"{redis_version()} beside it; median of {rounds} rounds of {claims:,} claims")
        for loop in LOOPS:
            yield from _claims(served.url, redis, loop, claims, rounds)
        yield from _entering(redis, entered, rounds)


def _claims(url: str, redis: str, loop: str, claims: int, rounds: int) -> Iterator[Row]:
    facts = {"url": url, "redis": redis, "loop": loop, "concurrency": MANY, "claims": claims}
    commands = {
        name: ("benchmarks.stream_rounds", json.dumps({**facts, "way": way}))
        for name, way in _WAYS.items()
    }
    for name, ratio, cost in medians(take_turns(commands, rounds), _LIST):
        yield Row(f"claim, {loop}, {MANY} at once: {name}", ratio, cost * 1e6, "us CPU", _LIST)


def _entering(redis: str, entered: int, rounds: int) -> Iterator[Row]:
    commands = {
        name: ("benchmarks.entering_rounds", json.dumps({"redis": redis, "way": way, "n": entered}))
        for name, way in _ENTERING.items()
    }
    for name, ratio, cost in medians(take_turns(commands, rounds), _HAND):
        yield Row(f"row entered: {name}", ratio, cost * 1e6, "us", _HAND)
