"""A call cancelled at any stage: nothing is left, and the client goes on."""

from __future__ import annotations

import asyncio
import random
import socket
from collections.abc import Callable
from typing import Any

import pytest

from badges_async import BadgesClient, BasicAuth, ClaimResult, OAuth, Quota, RetryPolicy, Timeout
from badges_async.sandbox import Fault, RecordedRequest, Sandbox
from tests.client.byte_server import ByteServer, Exchange, http, until
from tests.client.leftovers import leaving_nothing
from tests.client.scripted import (
    ScriptedTransport,
    hang,
    lost_before,
    make_client,
    refused,
)
from tests.virtual_clock import on_virtual_clock

BADGE = "69381220cebb9648d8974518"
AUTH = BasicAuth("till.demo", "s3cret-Pass")


async def settle() -> None:
    for _ in range(20):
        await asyncio.sleep(0)


async def cancel(task: asyncio.Task[Any]) -> None:
    """Cancel, and see that it comes out as a cancellation and nothing else."""
    assert not task.done()
    task.cancel()
    await settle()  # a few turns of the loop are all it takes
    assert task.cancelled()


def claim(client: BadgesClient, reference_id: str = "1") -> asyncio.Task[Any]:
    return asyncio.create_task(client.claim(BADGE, "Loyalty", reference_id))


async def idle(sandbox: Sandbox) -> None:
    """Wait until the service has seen its clients leave."""
    await until(lambda: sandbox.counters()["inFlight"] == 0)


async def works(client: BadgesClient) -> None:
    """See that the permit came back: the only one there is."""
    await client.claim(BADGE, "Loyalty", "afterwards", timeout=5)


def one_at_a_time(sandbox: Sandbox, **options: Any) -> BadgesClient:
    return BadgesClient(sandbox.url, options.pop("auth", AUTH), **{"max_connections": 1, **options})


@pytest.mark.usefixtures("lane")
@leaving_nothing
async def test_cancelled_while_waiting_for_a_slot() -> None:
    """F084: cancelled while it is queued, a call is not sent and keeps no place."""
    async with Sandbox() as sandbox, one_at_a_time(sandbox) as client:
        sandbox.hold()
        first, second, third = claim(client), claim(client, "2"), claim(client, "3")
        await sandbox.wait_for_requests(1)

        await cancel(second)
        sandbox.release()
        await first
        await third
        await works(client)
    assert [record.reference_id for record in sandbox.requests] == ["1", "3", "afterwards"]


@pytest.mark.usefixtures("lane")
@leaving_nothing
async def test_cancelled_while_connecting() -> None:
    with socket.socket() as silent:
        # Connections are made and nobody speaks TLS.
        silent.bind(("127.0.0.1", 0))
        silent.listen()
        url = f"https://127.0.0.1:{silent.getsockname()[1]}"
        async with BadgesClient(url, AUTH, max_connections=1) as client:
            for _ in range(3):
                task = claim(client)
                await settle()
                await cancel(task)


@pytest.mark.usefixtures("lane")
@pytest.mark.parametrize("fault", [Fault.HANG_BEFORE, Fault.HANG_AFTER])
@leaving_nothing
async def test_cancelled_when_sent(fault: Fault) -> None:
    """F085: cancelled in flight, a call ends at once, and with it its connection and its permit."""
    async with Sandbox(faults=[fault]) as sandbox, one_at_a_time(sandbox) as client:
        task = claim(client)
        await sandbox.wait_for_requests(1)
        await settle()

        await cancel(task)
        await idle(sandbox)  # its connection was closed at once
        assert ((BADGE, "Loyalty", "1") in sandbox.claims) is fault.commits
        await works(client)


@pytest.mark.usefixtures("lane")
@leaving_nothing
async def test_cancelled_while_reading() -> None:
    said = asyncio.Event()

    async def half(exchange: Exchange) -> None:
        await exchange.say(http(b'{"data":', length=500))
        said.set()
        await exchange.hang()

    async with ByteServer(half) as server, BadgesClient(server.url, AUTH) as client:
        task = claim(client)
        await said.wait()
        await settle()
        await cancel(task)
        await until(lambda: server.open == 0)


@pytest.mark.usefixtures("lane")
@leaving_nothing
async def test_cancelled_between_retries() -> None:
    async with (
        Sandbox(faults=[Fault.ERROR_500_BEFORE]) as sandbox,
        one_at_a_time(
            sandbox, retry=RetryPolicy(base=3600, cap=3600), timeout=Timeout(1e6)
        ) as client,
    ):
        task = claim(client)
        await sandbox.wait_for_requests(1)
        await idle(sandbox)
        await settle()

        await cancel(task)
        assert len(sandbox.requests) == 1
        await works(client)


@pytest.mark.usefixtures("lane")
@leaving_nothing
async def test_cancelled_at_the_gate() -> None:
    async with (
        Sandbox(faults=[Fault.THROTTLED], fault_retry_after=1) as sandbox,
        one_at_a_time(sandbox) as client,
    ):
        task = claim(client)
        await sandbox.wait_for_requests(1)
        await idle(sandbox)
        await settle()

        await cancel(task)
        await works(client)
    assert len(sandbox.requests) == 2


@pytest.mark.usefixtures("lane")
@leaving_nothing
async def test_cancelled_while_waiting_for_the_quota() -> None:
    async with Sandbox() as sandbox, one_at_a_time(sandbox, quota=Quota(1, per=0.5)) as client:
        await client.claim(BADGE, "Loyalty", "first")
        task = claim(client)
        await settle()

        await cancel(task)
        await works(client)  # the place in the quota was not used up
    assert len(sandbox.requests) == 2


@pytest.mark.usefixtures("lane")
@leaving_nothing
async def test_cancelled_while_waiting_for_a_token() -> None:
    hit = iter([Fault.HANG_BEFORE])

    def hang_the_first_token(record: RecordedRequest) -> Fault | None:
        return next(hit, None) if record.operation == "token" else None

    async with Sandbox(faults=hang_the_first_token) as sandbox:
        auth = OAuth(sandbox.client_key, sandbox.client_secret)
        async with BadgesClient(sandbox.url, auth, max_connections=2) as client:
            fetching, waiting, other = claim(client), claim(client, "2"), claim(client, "3")
            await sandbox.wait_for_requests(1)
            await settle()

            await cancel(waiting)
            await cancel(fetching)
            # The next one in the queue fetches.
            await other
    assert sandbox.tokens_issued == 1


@pytest.mark.slow
@pytest.mark.usefixtures("lane")
@pytest.mark.parametrize("seed", range(5))
@leaving_nothing
async def test_a_storm_of_cancellations_leaves_a_client_that_works(seed: int) -> None:
    chance = random.Random(seed)  # noqa: S311 - a schedule
    faults = {**Fault.everyday(0.3), Fault.HANG_AFTER: 0.1, Fault.STALLED: 0.1}
    async with (
        Sandbox(faults=faults, fault_delay=0.0, seed=seed) as sandbox,
        BadgesClient(
            sandbox.url,
            AUTH,
            max_connections=5,
            retry=RetryPolicy(base=0.01),
            timeout=Timeout(attempt=0.5),
        ) as client,
    ):
        tasks = [claim(client, str(number)) for number in range(60)]
        for task in chance.sample(tasks, 45):
            for _ in range(chance.randrange(30)):
                await asyncio.sleep(0)
            task.cancel()
        for task in tasks[:3]:
            task.cancel()
        await asyncio.gather(*tasks, return_exceptions=True)
        sandbox.set_faults(None)
        await idle(sandbox)

        # All five permits are back: five can be in flight at once, and five are.
        sandbox.hold()
        total = int(str(sandbox.counters()["requests"]))
        last = [claim(client, f"last {number}") for number in range(6)]
        await sandbox.wait_for_requests(total + 5)
        sandbox.release()
        await asyncio.gather(*last)
    assert sandbox.peak_in_flight <= 6


# Each turn of the loop


@pytest.mark.parametrize(
    "make",
    [
        ScriptedTransport,
        lambda: ScriptedTransport(lost_before, refused(500, 1)),
        lambda: ScriptedTransport(refused(429, 1, retry_after=2)),
    ],
    ids=["well", "retries", "throttled"],
)
def test_a_call_can_be_cancelled_at_every_turn(make: Callable[[], ScriptedTransport]) -> None:
    """F089: whoever cancels before the end gets a cancellation, also in the tick of the answer."""

    @on_virtual_clock
    async def scenario() -> None:
        for turns in range(25):
            service = make()
            client = make_client(service, max_connections=1, quota=Quota(5, per=1.0))
            task = claim(client)
            for _ in range(turns):
                await asyncio.sleep(0 if turns % 2 else 0.05)
            cancelled = task.cancel()
            result = (await asyncio.gather(task, return_exceptions=True))[0]
            assert type(result) is (asyncio.CancelledError if cancelled else ClaimResult)
            assert service.in_flight == 0
            await works(client)

    scenario()


def test_a_cancellation_at_the_very_end_of_a_calls_time_is_one() -> None:
    @on_virtual_clock
    async def scenario() -> None:
        client = make_client(ScriptedTransport(then=hang), timeout=Timeout(total=5, attempt=5))
        task = claim(client)
        asyncio.get_running_loop().call_later(5, task.cancel)
        with pytest.raises(asyncio.CancelledError):
            await task

    scenario()
