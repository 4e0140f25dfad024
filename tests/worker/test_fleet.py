"""Several workers, each a process, on one stream and one quota: kills, stops, restarts."""

from __future__ import annotations

import asyncio
import json
import math
import signal
import sys
import time
from collections import Counter
from collections.abc import AsyncIterator, Awaitable, Callable
from contextlib import asynccontextmanager
from pathlib import Path
from typing import Any

import attrs
import pytest

from badges_async import Quota
from badges_async.sandbox import Fault, Sandbox
from badges_async.worker import ClaimEvent, RedisStream, connect
from tests.kill_helpers import arrivals, beyond, busiest, lag
from tests.worker.redis_servers import RedisServer
from tests.worker.worker_process import Facts

ROOT = Path(__file__).parents[2]
pytestmark = pytest.mark.slow
_UNTOLD = 0.1  # seconds; an answer waits 20 ms until it is told, and then for Redis
_GUARD = 0.35  # seconds; the default of `FleetQuota`


@attrs.define(eq=False)
class Worker:
    """A worker's process."""

    process: asyncio.subprocess.Process

    async def end(self, how: signal.Signals | None = None) -> dict[str, Any]:
        """Send a signal, if one is given; give the report that was printed, {} of a killed one."""
        if how is not None:
            self.process.send_signal(how)
        printed, complained = await self.process.communicate()
        if how is signal.SIGKILL:
            return {}
        assert self.process.returncode == 0, complained.decode()
        report: dict[str, Any] = json.loads(printed.splitlines()[-1])
        return report


@attrs.define(eq=False)
class Fleet:
    """Workers on one stream, and what they work on."""

    service: Sandbox
    redis: str
    workers: list[Worker] = attrs.field(factory=list)

    async def start(self, **facts: Any) -> Worker:
        """Start one more worker; it works when this returns."""
        told = Facts(
            **{
                "service": self.service.url,
                "redis": self.redis,
                "username": self.service.username,
                "password": self.service.password,
                **facts,
            }
        )
        process = await asyncio.create_subprocess_exec(
            sys.executable,
            "-m",
            "tests.worker.worker_process",
            json.dumps(attrs.asdict(told)),
            cwd=ROOT,
            stdout=asyncio.subprocess.PIPE,
            stderr=asyncio.subprocess.PIPE,
        )
        worker = Worker(process)
        self.workers.append(worker)
        assert process.stdout is not None
        assert await process.stdout.readline() == b"working\n"
        return worker

    def asked(self, since: float = -math.inf, until: float = math.inf) -> Counter[tuple[str, str]]:
        """How often each claim was asked for in that time, by badge and reference."""
        return Counter(
            (request.badge_id, str(request.reference_id))
            for request in self.service.requests
            if request.operation == "claim" and since <= request.arrived <= until
        )


@asynccontextmanager
async def fleet(server: RedisServer, **options: Any) -> AsyncIterator[Fleet]:
    """Give a fleet without workers; those that are started are ended with it."""
    async with Sandbox(**options) as service:
        ours = Fleet(service, server.url)
        try:
            yield ours
        finally:
            for worker in ours.workers:
                if worker.process.returncode is None:
                    worker.process.kill()
                    await worker.process.wait()


async def until(what: Callable[[], bool | Awaitable[bool]], seconds: float = 60.0) -> None:
    """Wait until something is so."""
    async with asyncio.timeout(seconds):
        while True:
            so = what()
            if so if isinstance(so, bool) else await so:
                return
            await asyncio.sleep(0.02)


def events_of(service: Sandbox, count: int) -> list[ClaimEvent]:
    """Give so many claims that the service accepts, each of another reference."""
    badge = "662749408fe258516a88fe89"
    assert badge in service.badges
    return [ClaimEvent(badge, "Loyalty", f"member-{number}") for number in range(count)]


@pytest.mark.timeout(180)
async def test_one_is_killed_one_is_stopped_and_a_third_goes_on(redis_server: RedisServer) -> None:
    """20,000 claims, none lost; repeats only of what was in flight; no window above the quota."""
    claims, concurrency, quota = 20_000, 32, Quota(6_000, per=5.0)
    async with (
        # So that the one that is killed has something on the wire.
        fleet(redis_server, latency=0.01) as ours,
        connect(redis_server.url) as redis,
        lag() as late,
    ):
        stream = RedisStream(redis)
        await stream.add(events_of(ours.service, claims))
        facts = {"quota": str(quota), "concurrency": concurrency}
        victim = await ours.start(**facts)
        leaver = await ours.start(**facts)
        await ours.service.wait_for_requests(claims // 4)
        await victim.end(signal.SIGKILL)
        killed = time.monotonic()
        await ours.service.wait_for_requests(claims // 2)
        left = await leaver.end(signal.SIGTERM)
        last = await ours.start(**facts, once=True)
        report = await last.end()

        asked = ours.asked()
        assert len(asked) == claims
        assert held_by_fleet(ours.service) == asked.keys()
        # On the wire when the one was killed, or answered so shortly before that it was not told.
        repeats = asked.total() - claims
        doubt = _UNTOLD + max(late)
        doubtful = ours.asked(killed - doubt, killed + doubt).keys()
        assert {claim for claim, times in asked.items() if times > 1} <= doubtful
        assert repeats <= len(doubtful)
        # Not all of them: its connection's end may have stopped some before they were held.
        again = left["counts"]["already_claimed"] + report["counts"]["already_claimed"]
        assert 0 < left["recovered"] + report["recovered"] == again <= repeats
        assert left["counts"]["claimed"] + report["counts"]["claimed"] <= claims
        standing = await stream.standing()
        assert (standing.waiting, standing.pending, standing.dead_letters) == (0, 0, 0)
        # The guard covers what holds up requests, a service that stands still included.
        window = quota.per - beyond(_GUARD, late)
        assert busiest(arrivals(ours.service), window) <= quota.limit


@pytest.mark.timeout(180)
async def test_redis_is_killed_and_comes_back(tmp_path: Path) -> None:
    """What Redis has taken is on its disk; the workers wait for it, and settle everything."""
    claims = 4_000
    with RedisServer(tmp_path, appendonly=True, appendfsync="always") as server:
        async with fleet(server, latency=0.01) as ours:
            async with connect(server.url) as redis:
                await RedisStream(redis).add(events_of(ours.service, claims))
            workers = [await ours.start(once=True, concurrency=16) for _ in range(2)]
            for share in (4, 2):
                await ours.service.wait_for_requests(claims // share)
                server.kill()
                await asyncio.sleep(0.5)
                server.restart()
            reports = [await worker.end() for worker in workers]

            assert len(ours.asked()) == claims
            assert len(held_by_fleet(ours.service)) == claims
            assert sum(sum(one["counts"].values()) for one in reports) >= claims
            async with connect(server.url) as redis:
                standing = await RedisStream(redis).standing()
            assert (standing.waiting, standing.pending, standing.dead_letters) == (0, 0, 0)


@pytest.mark.timeout(120)
async def test_poison_is_put_aside_with_its_reason_and_settles_when_its_cause_is_mended(
    redis_server: RedisServer,
) -> None:
    missing = f"{0xBAD:024x}"
    async with fleet(redis_server) as ours, connect(redis_server.url) as redis:
        stream = RedisStream(redis)
        good = events_of(ours.service, 1_980)
        poison = [ClaimEvent(missing, "Loyalty", f"poison-{number}") for number in range(20)]
        await stream.add(mixed(good, poison))
        report = await (await ours.start(once=True)).end()
        assert report["buried"] == {"rejected": 20}

        letters = [letter async for letter in stream.letters()]
        assert {letter.reason for letter in letters} == {"rejected"}
        assert {letter.code for letter in letters} == {404}
        assert {letter.event.reference_id for letter in letters if letter.event} == {
            event.reference_id for event in poison
        }

        ours.service.add_badges([missing])
        assert await stream.requeue() == 20
        report = await (await ours.start(once=True)).end()
        assert report["counts"]["claimed"] == 20
        standing = await stream.standing()
        assert (standing.waiting, standing.pending, standing.dead_letters) == (0, 0, 0)
    assert len(held_by_fleet(ours.service)) == 2_000


@pytest.mark.timeout(120)
async def test_calls_that_outlast_the_lease_are_not_repeated(redis_server: RedisServer) -> None:
    async with fleet(redis_server, latency=3.0) as ours, connect(redis_server.url) as redis:
        await RedisStream(redis).add(events_of(ours.service, 64))
        workers = [await ours.start(once=True, lease=1.0, concurrency=32) for _ in range(2)]
        reports = [await worker.end() for worker in workers]
    assert set(ours.asked().values()) == {1}
    assert sum(report["counts"]["claimed"] for report in reports) == 64
    assert sum(report["lost"] for report in reports) == 0


@pytest.mark.timeout(120)
async def test_a_bad_day_of_the_service_loses_nothing(redis_server: RedisServer) -> None:
    faults = Fault.everyday(0.1)
    async with (
        fleet(redis_server, faults=faults, seed=5) as ours,
        connect(redis_server.url) as redis,
    ):
        stream = RedisStream(redis)
        await stream.add(events_of(ours.service, 3_000))
        reports = [await worker.end() for worker in [await ours.start(once=True) for _ in range(2)]]
        letters = [letter async for letter in stream.letters()]
    settled = sum(one["counts"]["claimed"] + one["counts"]["already_claimed"] for one in reports)
    assert settled + len(letters) == 3_000
    assert {letter.reason for letter in letters} <= {"exhausted"}
    told = {letter.event.reference_id for letter in letters if letter.event}
    everybody = {f"member-{number}" for number in range(3_000)}
    assert {reference for _, reference in held_by_fleet(ours.service)} >= everybody - told


def held_by_fleet(service: Sandbox) -> set[tuple[str, str]]:
    """Give the claims that the service holds, but those it began with."""
    return {
        (badge, reference)
        for badge, _, reference in service.claims
        if reference.startswith(("member-", "poison-"))
    }


def mixed(good: list[ClaimEvent], bad: list[ClaimEvent]) -> list[ClaimEvent]:
    """Put one of *bad* behind every so many of *good*."""
    step = len(good) // len(bad)
    rows: list[ClaimEvent] = []
    for number, one in enumerate(bad):
        rows += [*good[number * step : (number + 1) * step], one]
    return [*rows, *good[len(bad) * step :]]
