"""Cancelled by whoever calls: in a storm, by a deadline of their own, in the tick of an answer."""

from __future__ import annotations

import asyncio
import random
from pathlib import Path

import pytest

from badges_async import AttemptEvent, BadgesClient, BasicAuth, ClaimResult
from badges_async.ledger.records import State
from badges_async.sandbox import Fault, Sandbox, make_badge_ids
from tests.client.byte_server import until
from tests.client.ledgers import disk, kept, make_ports
from tests.client.leftovers import leaving_nothing
from tests.client.scripted import ScriptedTransport, hang, make_client, make_rows
from tests.virtual_clock import on_virtual_clock

(BADGE,) = make_badge_ids(1)
AUTH = BasicAuth("till.demo", "s3cret-Pass")
CONNECTIONS = 16
MANY = pytest.param(5000, marks=[pytest.mark.slow, pytest.mark.timeout(120)])


def descriptors() -> int:
    return sum(1 for _ in Path("/proc/self/fd").iterdir())


async def all_permits_are_back(client: BadgesClient, sandbox: Sandbox) -> None:
    """See that as many calls as ever can be in flight, and are."""
    await until(lambda: sandbox.counters()["inFlight"] == 0)
    before = int(str(sandbox.counters()["requests"]))
    sandbox.hold()
    calls = [
        asyncio.create_task(client.claim(BADGE, "Loyalty", f"after {number}"))
        for number in range(CONNECTIONS + 1)
    ]
    await sandbox.wait_for_requests(before + CONNECTIONS)
    sandbox.release()
    await asyncio.gather(*calls)


async def storm(number: int) -> None:
    """Let *number* callers begin, and half of them leave."""
    chance = random.Random(number)  # noqa: S311 - a schedule
    async with (
        Sandbox(badges=[BADGE]) as sandbox,
        BadgesClient(sandbox.url, AUTH, max_connections=CONNECTIONS) as client,
    ):
        tasks = [
            asyncio.create_task(client.claim(BADGE, "Loyalty", str(each))) for each in range(number)
        ]
        left = set()
        for task in chance.sample(tasks, number // 2):
            if chance.random() < 0.2:
                await asyncio.sleep(0)
            if task.cancel():
                left.add(task)
        results = await asyncio.gather(*tasks, return_exceptions=True)

        assert len(left) > number // 4
        assert [type(each) for each in results] == [
            asyncio.CancelledError if task in left else ClaimResult for task in tasks
        ]
        stayed = {str(place) for place, task in enumerate(tasks) if task not in left}
        assert stayed <= {reference for badge, _, reference in sandbox.claims if badge == BADGE}
        await all_permits_are_back(client, sandbox)


@pytest.mark.skipif(not Path("/proc/self/fd").exists(), reason="needs Linux to count descriptors")
@pytest.mark.usefixtures("lane")
@pytest.mark.parametrize("number", [60, MANY])
@leaving_nothing
async def test_of_a_storm_of_cancellations_nothing_is_left(number: int) -> None:
    """F087: half of the callers leave at random moments; the others get what they asked for."""
    await storm(20)  # an event loop opens some descriptors late, and keeps them
    before = descriptors()
    await storm(number)
    await until(lambda: descriptors() <= before)


@pytest.mark.usefixtures("lane")
@pytest.mark.parametrize("fault", [Fault.HANG_BEFORE, Fault.HANG_AFTER, Fault.STALLED])
@leaving_nothing
async def test_a_callers_own_deadline_is_told_as_theirs(fault: Fault) -> None:
    """F088: the caller's 50 ms end the call; no task, connection or permit outlives it."""
    async with (
        Sandbox(badges=[BADGE], faults=[fault]) as sandbox,
        BadgesClient(sandbox.url, AUTH, max_connections=CONNECTIONS) as client,
    ):
        with pytest.raises(TimeoutError) as caught:
            async with asyncio.timeout(0.05) as deadline:
                await client.claim(BADGE, "Loyalty", "1")
        assert deadline.expired()
        assert type(caught.value) is TimeoutError  # and no DeadlineError, which is ours
        await all_permits_are_back(client, sandbox)


@on_virtual_clock
async def test_a_callers_own_deadline_leaves_rows_in_doubt(tmp_path: Path) -> None:
    """F088: what was in flight may be held, and the ledger says so of nothing else."""
    path, service = tmp_path / "run.db", ScriptedTransport(then=hang)
    async with kept(path, service) as (client, ledger):
        with pytest.raises(TimeoutError):
            async with asyncio.timeout(0.05):
                await client.claim_all(make_rows(50), concurrency=4, ledger=ledger)
        assert service.in_flight == 0
    with disk(path) as on_disk:
        assert on_disk.doubtful() == {"r0", "r1", "r2", "r3"}


@on_virtual_clock
async def test_a_cancellation_in_the_tick_of_an_answer_is_one(tmp_path: Path) -> None:
    """F089: at every turn it comes out as a cancellation, and no answer that was read is lost."""
    path, service = tmp_path / "run.db", ScriptedTransport(latency=0)
    answered: list[AttemptEvent] = []
    ports = make_ports(service)
    ended = set()
    async with kept(path, service, ports=ports, observers=[answered.append]) as (client, ledger):
        for turns in range(35):
            rows, before = make_rows(3, start=turns * 3), len(answered)
            task = asyncio.create_task(client.claim_all(rows, concurrency=2, ledger=ledger))
            for _ in range(turns):
                await asyncio.sleep(0)
            cancelled = task.cancel()
            (result,) = await asyncio.gather(task, return_exceptions=True)
            assert isinstance(result, asyncio.CancelledError) is cancelled
            ended.add((cancelled, len(answered) - before))
    with disk(path) as on_disk:
        claimed, doubtful = on_disk.in_state(State.CLAIMED), on_disk.doubtful()
    assert {f"r{int(event.badge_id, 16)}" for event in answered} == claimed
    assert {reference for _, reference in service.held} <= claimed | doubtful
    assert {(True, 0), (True, 3), (False, 3)} <= ended
    assert len(ended) > 3


@on_virtual_clock
async def test_a_call_that_is_cancelled_in_the_tick_of_its_answer_is_cancelled() -> None:
    """F089: the one that `asyncio.wait_for` swallows on Python 3.11, which is not in the way."""
    ended = set()
    for turns in range(30):
        client = make_client(ScriptedTransport(latency=0))
        task = asyncio.create_task(client.claim(BADGE, "Loyalty", "1"))
        for _ in range(turns):
            await asyncio.sleep(0)
        cancelled = task.cancel()
        (result,) = await asyncio.gather(task, return_exceptions=True)
        assert isinstance(result, asyncio.CancelledError) is cancelled
        ended.add(cancelled)
    assert ended == {True, False}
