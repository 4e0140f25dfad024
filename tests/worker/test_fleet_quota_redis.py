"""One quota for many processes, with a real Redis: real scripts, real clocks, real kills."""

from __future__ import annotations

import asyncio
import json
import random
import sys
import time
from collections.abc import AsyncIterator, Sequence
from contextlib import asynccontextmanager, suppress
from pathlib import Path

import attrs
import pytest
from redis.asyncio import Redis

from badges_async import Quota
from badges_async.sandbox import Sandbox
from badges_async.worker import FleetQuota, SourceError, connect
from badges_async.worker.fleet_quota import quota_uses
from tests.kill_helpers import busiest
from tests.worker.quota_process import Facts

ROOT = Path(__file__).parents[2]
GUARD = 0.35
JITTER = 0.3


@asynccontextmanager
async def opened(url: str) -> AsyncIterator[Redis]:
    """Connect, and leave no connection behind."""
    redis = connect(url)
    try:
        yield redis
    finally:
        await redis.aclose(close_connection_pool=True)


# In one process.


@pytest.mark.slow
async def test_the_scripts_do_with_a_server_what_they_do_without(redis_url: str) -> None:
    quotas = Quota(8, 1.0), Quota(4, 0.5)
    async with opened(redis_url) as redis, opened(redis_url) as another:
        taken = []
        async with (
            FleetQuota(redis, *quotas, name="x", guard=0.1) as one,
            FleetQuota(another, *quotas, name="x", guard=0.1) as other,
        ):
            for limiter in (one, other) * 6:
                slot = await limiter.acquire()
                limiter.sent(slot)
                limiter.done(slot)
                taken.append(time.monotonic())
            spare = await one.acquire()
            one.give_back(spare)
            one.paused(asyncio.get_running_loop().time() + 30.0)
            heard = asyncio.get_running_loop().create_future()
            other.on_pause = heard.set_result
            await asyncio.sleep(0.05)
            async with asyncio.timeout(5.0), asyncio.TaskGroup() as group:
                waiting = group.create_task(other.acquire())
                assert 29.0 < await heard <= 30.0
                waiting.cancel()
            [use] = [use for use in await quota_uses(redis) if use.name == "x"]
        assert busiest(taken, 1.0) <= 8
        assert busiest(taken, 0.5) <= 4
        assert use.quotas == "8/1s 4/0.5s"
        assert use.taken[0] <= 8
        assert 29.0 < use.hold <= 30.0


async def test_answers_as_text_are_read_as_well(redis_url: str) -> None:
    url = f"{redis_url}{'&' if '?' in redis_url else '?'}decode_responses=true&protocol=3"
    async with opened(url) as redis, FleetQuota(redis, Quota(5, 1.0), name="text") as limiter:
        limiter.sent(await limiter.acquire())
        uses = {use.name: use for use in await quota_uses(redis)}
        assert uses["text"].taken == (1,)


async def test_nothing_stays_of_a_quota_that_nobody_uses(redis_url: str) -> None:
    async with opened(redis_url) as redis, FleetQuota(redis, Quota(5, 0.5), name="gone") as one:
        one.sent(await one.acquire())
        left = await redis.pttl("{badges:quota:gone}:log")
        assert 0 < left < 4000


async def test_a_key_of_another_kind_is_an_error_and_no_hang(redis_url: str) -> None:
    async with opened(redis_url) as redis:
        await redis.set("{badges:quota:odd}:log", "mine", px=10_000)
        async with FleetQuota(redis, Quota(5, 1.0), name="odd") as limiter:
            with pytest.raises(SourceError, match="WRONGTYPE"):
                await limiter.acquire()


# In several.


@attrs.define(eq=False)
class Peer:
    """
    A process that makes requests.

    Attributes:
        moments: When its requests arrived.
    """

    process: asyncio.subprocess.Process
    moments: list[float] = attrs.field(factory=list)

    async def listen(self) -> None:
        assert self.process.stdout is not None
        async for line in self.process.stdout:
            if line != b"ready\n":
                self.moments.append(float(line))
        await self.process.wait()

    async def end(self) -> None:
        if self.process.returncode is None:
            with suppress(ProcessLookupError):
                self.process.kill()
        await self.process.wait()


@asynccontextmanager
async def peers(count: int, facts: Facts) -> AsyncIterator[list[Peer]]:
    """Start so many; at the end all of them have ended."""
    started: list[Peer] = []
    command = [sys.executable, "-m", "tests.worker.quota_process", json.dumps(attrs.asdict(facts))]
    try:
        async with asyncio.TaskGroup() as group:
            for _ in range(count):
                process = await asyncio.create_subprocess_exec(
                    *command, cwd=ROOT, stdout=asyncio.subprocess.PIPE
                )
                started.append(Peer(process))
                group.create_task(started[-1].listen())
            yield started
    finally:
        for peer in started:
            await peer.end()


def report(what: str, moments: Sequence[float], quota: Quota, end: float) -> tuple[float, float]:
    """Print and give which part was used of what is possible, and of that with the guard."""
    first = min(moments)
    period = quota.per + GUARD
    # Whole periods only: the one that has begun has most of its requests already.
    seconds = (end - first) // period * period
    count = sum(moment < first + seconds - JITTER for moment in moments)
    used = count / (quota.limit * seconds / quota.per)
    guarded = used * period / quota.per
    print(  # noqa: T201 - figures to be read with -s
        f"{what}: {quota}, worst window {busiest(moments, quota.per)}, {count} requests in "
        f"{seconds:.2f} s, {used:.1%} of the possible, {guarded:.1%} of that with the guard"
    )
    return used, guarded


@pytest.mark.slow
async def test_three_processes_keep_one_quota(redis_url: str) -> None:
    quota, until = Quota(20, 1.0), time.monotonic() + 8.5
    facts = Facts(redis=redis_url, quotas=[str(quota)], until=until, jitter=JITTER)
    async with peers(3, facts) as three:
        pass
    assert all(peer.process.returncode == 0 for peer in three)
    moments = [moment for peer in three for moment in peer.moments]
    _, guarded = report("three processes", moments, quota, until)
    assert busiest(moments, 1.0) <= 20
    assert guarded >= 0.9
    assert min(len(peer.moments) for peer in three) >= len(moments) / 10


@pytest.mark.slow
async def test_a_killed_process_takes_little_of_the_quota_along(redis_url: str) -> None:
    quota, until = Quota(20, 1.0), time.monotonic() + 9.0
    facts = Facts(redis=redis_url, quotas=[str(quota)], until=until, jitter=JITTER)
    async with peers(3, facts) as three:
        await asyncio.sleep(until - 4.5 - time.monotonic())
        three[0].process.kill()
    assert three[0].moments
    moments = [moment for peer in three for moment in peer.moments]
    _, guarded = report("one killed", moments, quota, until)
    assert busiest(moments, 1.0) <= 20
    assert guarded >= 0.65
    assert [moment for moment in moments if moment > until - 2.0]


# The done-when of the fleet's quota: clients, a service, and a network between them.


@asynccontextmanager
async def slow_network(port: int, jitter: float) -> AsyncIterator[int]:
    """Hold up whatever is sent to *port* for a random time, in order; give the port to use."""
    chance = random.Random(7)  # noqa: S311 - the network's

    async def pass_on(
        reader: asyncio.StreamReader, writer: asyncio.StreamWriter, longest: float
    ) -> None:
        with suppress(ConnectionError):
            while chunk := await reader.read(65536):
                await asyncio.sleep(chance.uniform(0, longest))
                writer.write(chunk)
                await writer.drain()
        writer.close()

    async def connected(reader: asyncio.StreamReader, writer: asyncio.StreamWriter) -> None:
        far_reader, far_writer = await asyncio.open_connection("127.0.0.1", port)
        async with asyncio.TaskGroup() as group:
            group.create_task(pass_on(reader, far_writer, jitter))
            group.create_task(pass_on(far_reader, writer, 0.0))

    server = await asyncio.start_server(connected, "127.0.0.1", 0)
    async with server:
        yield server.sockets[0].getsockname()[1]


@pytest.mark.slow
@pytest.mark.timeout(120)
async def test_a_fleet_of_three_keeps_100_in_10_seconds(redis_url: str) -> None:
    quota, until = Quota(100, 10.0), time.monotonic() + 36.0
    # The service allows what is asked for, and would say so if more came.
    async with Sandbox(quota=quota) as sandbox:
        port = int(sandbox.url.rpartition(":")[2])
        async with slow_network(port, JITTER) as near:
            facts = Facts(
                redis=redis_url,
                quotas=[str(quota)],
                until=until,
                service=f"http://127.0.0.1:{near}",
                username=sandbox.username,
                password=sandbox.password,
                badge=next(iter(sandbox.badges)),
            )
            async with peers(3, facts) as three:
                pass
        requests = list(sandbox.requests)
    assert all(peer.process.returncode == 0 for peer in three)
    moments = [request.arrived for request in requests]
    used, _ = report("clients and a service", moments, quota, until)
    print([len(peer.moments) for peer in three])  # noqa: T201 - figures likewise
    assert busiest(moments, quota.per) <= quota.limit
    assert not [request for request in requests if request.status == 429]
    assert used >= 0.9
