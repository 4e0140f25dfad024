"""A bulk run left early, in any way and at any stage: no task, connection or warning remains."""

from __future__ import annotations

import asyncio
import itertools
from collections.abc import AsyncIterator, Iterator
from typing import Any

import pytest

from badges_async import (
    BadgesClient,
    BasicAuth,
    ClaimOutcome,
    ClaimRequest,
    ClaimStatus,
    ClientClosedError,
    OAuth,
    Quota,
    RetryPolicy,
)
from badges_async.sandbox import Fault, Sandbox, make_badge_ids
from tests.client.byte_server import until
from tests.client.leftovers import leaving_nothing
from tests.client.scripted import (
    ScriptedTransport,
    hang,
    lost_before,
    make_client,
    refused,
    take,
    unreachable,
    well,
)
from tests.client.scripted import make_rows as make_scripted_rows
from tests.virtual_clock import now, on_virtual_clock

(BADGE,) = make_badge_ids(1)


def open_sandbox(**options: Any) -> Sandbox:
    return Sandbox(badges=[BADGE], **options)


def client_of(sandbox: Sandbox, **options: Any) -> BadgesClient:
    return BadgesClient(sandbox.url, BasicAuth(sandbox.username, sandbox.password), **options)


def rows() -> Iterator[ClaimRequest]:
    return (ClaimRequest(BADGE, "Loyalty", f"r{number}") for number in itertools.count())


async def idle(sandbox: Sandbox) -> None:
    await until(lambda: sandbox.counters()["inFlight"] == 0)


async def goes_on(client: BadgesClient, sandbox: Sandbox) -> None:
    """See that every permit came back: as many as there are can be in flight, and are."""
    sandbox.set_faults(None)
    await idle(sandbox)
    before = int(str(sandbox.counters()["requests"]))
    sandbox.hold()
    calls = [asyncio.create_task(client.claim(BADGE, "Loyalty", f"x{n}")) for n in range(4)]
    await sandbox.wait_for_requests(before + 4)
    sandbox.release()
    await asyncio.gather(*calls)


# On sockets


@pytest.mark.usefixtures("lane")
@leaving_nothing
async def test_a_consumer_that_leaves_early_cancels_what_is_on_the_wire() -> None:
    async with open_sandbox() as sandbox, client_of(sandbox, max_connections=4) as client:
        async with client.claim_many(rows(), concurrency=4) as run:
            async for _ in run:
                break
            sandbox.hold()
            await asyncio.sleep(0)
        assert run.in_flight == 0
        total = sandbox.counters()["requests"]
        await idle(sandbox)
        assert sandbox.counters()["requests"] == total
        sandbox.release()
        await goes_on(client, sandbox)


@pytest.mark.usefixtures("lane")
@leaving_nothing
async def test_a_consumer_that_raises_gets_its_own_error_and_no_group() -> None:
    """F097: a callback that raises stops the run with its own error."""
    async with open_sandbox() as sandbox, client_of(sandbox, max_connections=4) as client:
        with pytest.raises(LookupError, match="mine"):  # noqa: PT012
            async with client.claim_many(rows(), concurrency=4) as run:
                async for _ in run:
                    raise LookupError("mine")

        def stumble(_: ClaimOutcome) -> None:
            raise LookupError("mine")

        with pytest.raises(LookupError, match="mine"):
            await client.claim_all(rows(), on_outcome=stumble)
        await goes_on(client, sandbox)


@pytest.mark.usefixtures("lane")
@pytest.mark.parametrize("fault", [Fault.HANG_BEFORE, Fault.HANG_AFTER, Fault.STALLED])
@leaving_nothing
async def test_a_run_cancelled_with_requests_on_the_wire_closes_their_connections(
    fault: Fault,
) -> None:
    async with (
        open_sandbox(faults=itertools.repeat(fault)) as sandbox,
        client_of(sandbox, max_connections=4) as client,
    ):
        task = asyncio.create_task(client.claim_all(rows(), concurrency=8))
        await sandbox.wait_for_requests(4)
        task.cancel()
        with pytest.raises(asyncio.CancelledError):
            await task
        await idle(sandbox)
        assert sandbox.counters()["requests"] == 4
        await goes_on(client, sandbox)


@pytest.mark.slow
@pytest.mark.usefixtures("lane")
@leaving_nothing
async def test_many_runs_cancelled_at_once_leave_a_client_that_works() -> None:
    faults = {**Fault.everyday(0.2), Fault.HANG_AFTER: 0.05}
    async with (
        open_sandbox(faults=faults, fault_delay=0.0) as sandbox,
        client_of(sandbox, max_connections=4, retry=RetryPolicy(base=0.01)) as client,
    ):
        for turns in range(0, 120, 6):
            runs = [asyncio.create_task(client.claim_all(rows(), concurrency=3)) for _ in range(4)]
            for _ in range(turns):
                await asyncio.sleep(0)
            for run in runs:
                run.cancel()
            results = await asyncio.gather(*runs, return_exceptions=True)
            assert {type(result) for result in results} == {asyncio.CancelledError}
        await goes_on(client, sandbox)


@pytest.mark.usefixtures("lane")
@leaving_nothing
async def test_a_client_closed_in_the_middle_of_a_run_ends_it_with_a_clear_error() -> None:
    async with open_sandbox() as sandbox, client_of(sandbox) as client:
        seen = 0
        with pytest.raises(ClientClosedError):  # noqa: PT012
            async with client.claim_many(rows(), concurrency=4) as run:
                async for _ in run:
                    seen += 1
                    if seen == 10:
                        await client.close()
        assert seen >= 10
        assert run.report.unsettled <= 4


# At each stage, on the virtual clock: it fails for any task that is left


STAGES: dict[str, Any] = {
    "sent": lambda: (ScriptedTransport(then=hang), {}),
    "reading": lambda: (ScriptedTransport(then=take(9)), {}),
    "between retries": lambda: (ScriptedTransport(then=refused(500, 1)), {}),
    "at the gate": lambda: (ScriptedTransport(then=refused(429, 1, retry_after=90)), {}),
    "for the quota": lambda: (ScriptedTransport(), {"quota": Quota(1, per=900.0)}),
    "for a slot": lambda: (ScriptedTransport(then=take(9)), {"max_connections": 1}),
    "for a token": lambda: (ScriptedTransport(then=hang), {"auth": OAuth("key", "secret")}),
    "in an outage": lambda: (ScriptedTransport(then=unreachable), {}),
    "probing": lambda: (ScriptedTransport(*[lost_before] * 9, then=hang), {}),
    "for the consumer": lambda: (ScriptedTransport(latency=0), {}),
}


@pytest.mark.parametrize("stage", STAGES)
@pytest.mark.parametrize("leave", ["cancel", "break", "raise", "cancel twice"])
@on_virtual_clock
async def test_a_run_can_be_left_at_each_stage(stage: str, leave: str) -> None:
    service, options = STAGES[stage]()
    client = make_client(service, **options)
    run = client.claim_many(make_scripted_rows(500), concurrency=4)
    ready = asyncio.Event()

    async def consume() -> None:
        async with run:
            if leave in {"break", "raise"}:
                await asyncio.sleep(5.01)
                if leave == "raise":
                    raise LookupError
                return
            ready.set()
            await asyncio.get_running_loop().create_future()

    task = asyncio.create_task(consume())
    if leave.startswith("cancel"):
        await ready.wait()
        await asyncio.sleep(5.01)
        task.cancel()
        if leave == "cancel twice":
            await asyncio.sleep(0)
            task.cancel()
    (result,) = await asyncio.gather(task, return_exceptions=True)

    expected = {"break": type(None), "raise": LookupError}.get(leave, asyncio.CancelledError)
    assert type(result) is expected
    assert service.in_flight == 0
    sent = len(service.sent)
    elapsed = run.report.elapsed
    await asyncio.sleep(10_000)
    assert len(service.sent) == sent
    assert run.report.elapsed == elapsed
    assert run.report.total + run.report.unsettled > 0


@on_virtual_clock
async def test_a_run_cancelled_while_it_is_being_left_is_cancelled() -> None:
    released = asyncio.Event()

    async def stubborn() -> AsyncIterator[ClaimRequest]:
        try:
            for row in make_scripted_rows(500):
                yield row
                await asyncio.sleep(3)
        finally:
            await released.wait()  # it takes its time to end

    run = make_client(ScriptedTransport()).claim_many(stubborn(), concurrency=2)

    async def consume() -> None:
        async with run:
            await asyncio.sleep(1)

    task = asyncio.create_task(consume())
    await asyncio.sleep(2)
    assert not task.done()
    task.cancel()
    await asyncio.sleep(1)
    released.set()
    with pytest.raises(asyncio.CancelledError):
        await task
    elapsed = run.report.elapsed
    await asyncio.sleep(100)
    assert run.report.elapsed == elapsed
    assert (run.report.claimed, run.report.unsettled) == (1, 0)


@on_virtual_clock
async def test_a_consumer_cancelled_while_it_waits_for_an_outcome_can_go_on() -> None:
    service = ScriptedTransport(then=take(10))
    outcomes = []
    async with make_client(service).claim_many(make_scripted_rows(8), concurrency=4) as run:
        for _ in range(100):
            try:
                async with asyncio.timeout(3):
                    outcomes.append(await anext(run))
            except TimeoutError:
                continue
            except StopAsyncIteration:
                break
    assert [outcome.status for outcome in outcomes] == [ClaimStatus.CLAIMED] * 8


@on_virtual_clock
async def test_a_run_within_a_deadline_ends_with_it() -> None:
    """F088: the caller's own deadline around a run ends it, and nothing is left in flight."""
    service = ScriptedTransport(then=hang)
    began = now()
    with pytest.raises(TimeoutError):
        async with asyncio.timeout(7):
            await make_client(service).claim_all(make_scripted_rows(9))
    assert now() == began + 7
    assert service.in_flight == 0


@on_virtual_clock
async def test_a_run_can_be_left_at_every_turn() -> None:
    for turns in range(40):
        service = ScriptedTransport(lost_before, refused(500, 1), then=well, latency=0.01)
        run = make_client(service).claim_many(make_scripted_rows(6), concurrency=2)
        async with run:
            for _ in range(turns):
                await asyncio.sleep(0 if turns % 3 else 0.01)
        assert service.in_flight == 0
        held = len(service.held)
        assert run.report.claimed + run.report.already_claimed <= held + 1
        assert run.report.total + run.report.unsettled <= 6
