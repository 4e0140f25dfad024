"""Before a request leaves: the order of waits, what a cancelled one leaves, who is first."""

from __future__ import annotations

import asyncio
import random
from typing import Any

import pytest

from badges_async import DeadlineError, LedgerFullError, OAuth, Quota, RateLimitedError, Timeout
from badges_async.admission import Admission, Permit
from badges_async.calls import Call
from badges_async.messages import Reply, Request
from badges_async.quota import WindowLimiter
from tests.answers import envelope, make_reply
from tests.client.scripted import (
    ScriptedTransport,
    Sent,
    make_client,
    make_rows,
    refused,
    well,
)
from tests.virtual_clock import START, now, on_virtual_clock

BADGE = "662749408fe258516a88fe89"


class FakeLedger:
    """
    A ledger whose disk takes as long as it is told.

    Attributes:
        notes: What it was told, in order.
        keeps: How many of the sends it was to keep.
    """

    def __init__(self, *seconds: float, then: float = 0.0) -> None:
        self.notes: list[tuple[str, float]] = []
        self.keeps: set[int] = set()
        self.stalled = False
        self.failure: Exception | None = None
        self._seconds = list(seconds)
        self._then = then

    async def memory(self, late: float) -> tuple[list[float], None, None]:
        assert late == 5.0
        return [], None, None

    async def record_send(self, at: float, keep: int) -> int:
        self.keeps.add(keep)
        self.notes.append(("send", at))
        await asyncio.sleep(self._seconds.pop(0) if self._seconds else self._then)
        return len(self.notes)

    async def well(self) -> None:
        if self.failure is not None:
            raise self.failure

    def restamp_soon(self, number: int, at: float, keep: int) -> None:
        del number
        self.keeps.add(keep)
        self.notes.append(("restamp", at))

    def record_pause_soon(self, until: float) -> None:
        self.notes.append(("pause", until))


async def make_admission(quota: Quota | None = None, ledger: FakeLedger | None = None) -> Admission:
    limiter = None if quota is None else WindowLimiter(quota)
    admission = Admission(limiter, random.Random(1))  # noqa: S311 - jitter
    if ledger is not None:
        await admission.attach(ledger, 5.0)  # type: ignore[arg-type]
    return admission


def make_call(seconds: float = 60.0, *, patient: bool = True) -> Call:
    request = Request("claim", BADGE, "POST", "/", b"{}")
    return Call(request, Timeout(), now() + seconds, patient)


def throttle(
    admission: Admission, retry_after: int | None, *, sent_at: float | None = None
) -> None:
    """Let an answer say 429."""
    call = make_call()
    call.sent_at = now() if sent_at is None else sent_at
    headers = {} if retry_after is None else {"Retry-After": str(retry_after)}
    admission.hear(call, make_reply(429, b"{}", headers))


async def free_places(admission: Admission) -> int:
    """Count the permits to be had at this moment."""
    count = 0
    while True:
        waiting = asyncio.ensure_future(admission.admit(make_call()))
        await asyncio.sleep(0.001)
        if not waiting.done():
            waiting.cancel()
            await asyncio.wait([waiting])
            return count
        count += 1
        admission.leaves(waiting.result())
        admission.over(waiting.result())


@pytest.mark.parametrize("stall", [1.5, 5.0])
@on_virtual_clock
async def test_a_place_that_grew_old_on_its_way_to_the_disk_is_spent_and_not_used(
    stall: float,
) -> None:
    ledger = FakeLedger(stall)
    admission = await make_admission(Quota(3, per=100.0), ledger)

    permit = await admission.admit(make_call())

    assert now() == START + stall
    assert permit.slot is not None
    assert permit.slot.at == START + stall
    assert [what for what, _ in ledger.notes] == ["send", "send"]
    # The old one is on disk, so it counts, as long as any place does.
    assert await free_places(admission) == 1
    admission.over(permit)
    await asyncio.sleep(110)
    assert await free_places(admission) == 3


@on_virtual_clock
async def test_a_place_that_is_not_old_is_used() -> None:
    ledger = FakeLedger(0.5)
    admission = await make_admission(Quota(3, per=100.0), ledger)
    permit = await admission.admit(make_call())
    assert permit.slot is not None
    assert (permit.slot.at, now()) == (START, START + 0.5)
    assert await free_places(admission) == 2


@on_virtual_clock
async def test_a_disk_that_is_always_slow_does_not_keep_requests_for_ever() -> None:
    ledger = FakeLedger(then=1.7)
    admission = await make_admission(Quota(100, per=100.0), ledger)
    async with asyncio.timeout(30):
        await admission.admit(make_call())
    # What it says of the send is not earlier than the send.
    assert ledger.notes[-1][1] >= now() - 1.0


@pytest.mark.parametrize("retry_after", [7, None])
@on_virtual_clock
async def test_a_throttle_that_is_learnt_while_the_disk_is_waited_for_is_heeded(
    retry_after: int | None,
) -> None:
    ledger = FakeLedger(0.5)
    admission = await make_admission(Quota(3, per=100.0), ledger)
    waiting = asyncio.ensure_future(admission.admit(make_call()))
    await asyncio.sleep(0.2)
    for _ in range(3):
        throttle(admission, retry_after)
    opens = now() + admission.gate.remaining()
    assert opens > now()
    await waiting
    assert now() >= max(opens, START + 0.5)
    assert ("pause", opens) in ledger.notes


@pytest.mark.parametrize("cause", ["gate", "pace", "quota", "ledger"])
@on_virtual_clock
async def test_who_is_cancelled_at_any_step_takes_no_place_along(cause: str) -> None:
    ledger = FakeLedger(*([100.0] * 4 if cause == "ledger" else []))
    admission = await make_admission(Quota(4, per=10.0), ledger)
    if cause == "quota":
        for _ in range(4):
            permit = await admission.admit(make_call())
            admission.leaves(permit)
            admission.over(permit)
    if cause in {"gate", "pace"}:
        throttle(admission, 5)
    if cause == "pace":
        await asyncio.sleep(7)
        admission.leaves(await admission.admit(make_call()))  # the probe, not answered
    calls = [make_call() for _ in range(20)]
    waiting = [asyncio.ensure_future(admission.admit(call)) for call in calls]
    await asyncio.sleep(0.5)
    for each in waiting:
        each.cancel()
    await asyncio.wait(waiting)
    waited = {cause for call in calls for cause in call.waits}
    assert cause in waited
    await asyncio.sleep(30)
    admission.pace.accepted(now())  # the pause is over
    await asyncio.sleep(30)
    admission.pace.accepted(now())
    admission.pace.accepted(now())
    await asyncio.sleep(30)
    assert await free_places(admission) == 4


@on_virtual_clock
async def test_who_is_cancelled_in_the_moment_of_being_let_in_takes_no_place_along() -> None:
    admission = await make_admission(Quota(2, per=10.0))
    permits = [await admission.admit(make_call()) for _ in range(2)]
    waiting = asyncio.ensure_future(admission.admit(make_call()))
    await asyncio.sleep(0)
    for permit in permits:
        admission.leaves(permit)
        admission.over(permit)
    asyncio.get_running_loop().call_at(now() + 10.3, waiting.cancel)
    await asyncio.wait([waiting])
    await asyncio.sleep(11)
    assert await free_places(admission) == 2


@on_virtual_clock
async def test_a_connection_that_takes_its_time_moves_the_place_also_on_disk() -> None:
    ledger = FakeLedger()
    admission = await make_admission(Quota(1, per=10.0), ledger)
    permit = await admission.admit(make_call())
    await asyncio.sleep(0.5)
    admission.leaves(permit)
    admission.over(permit)
    assert ledger.notes == [("send", START), ("restamp", START + 0.5)]
    assert ledger.keeps == {2}, "of two windows: the next run may be given a larger quota"
    await admission.admit(make_call())
    assert now() >= START + 10.5


@on_virtual_clock
async def test_the_order_is_gate_pace_quota_ledger_and_the_gate_again() -> None:
    ledger = FakeLedger(0.0, 0.3)
    admission = await make_admission(Quota(1, per=30.0), ledger)
    admission.over(await admission.admit(make_call()))
    throttle(admission, 2)

    call = make_call()
    waiting = asyncio.ensure_future(admission.admit(call))
    await asyncio.sleep(10)
    # After the gate it waits for the quota, and has told the disk nothing yet.
    assert list(call.waits) == ["gate"]
    assert len(ledger.notes) == 2  # a place, and the pause
    await asyncio.sleep(10)
    throttle(admission, 50)  # opens later than the quota has a place
    await asyncio.sleep(20)
    assert not waiting.done()
    assert len(ledger.notes) == 3
    await waiting
    assert now() >= START + 70
    assert ledger.notes[-1][0] == "send"
    assert ledger.notes[-1][1] >= START + 70
    assert list(call.waits) == ["gate", "quota", "ledger"]


@pytest.mark.parametrize("cause", ["gate", "quota", "ledger"])
@on_virtual_clock
async def test_a_call_with_a_deadline_waits_for_none_of_it_any_longer(cause: str) -> None:
    ledger = FakeLedger(then=100.0 if cause == "ledger" else 0.0)
    admission = await make_admission(Quota(1, per=50.0), ledger)
    if cause == "quota":
        admission.over(await admission.admit(make_call()))
    if cause == "gate":
        throttle(admission, 30)
    with pytest.raises(DeadlineError):
        await admission.admit(make_call(5.0, patient=False))
    assert now() == (START if cause == "gate" else START + 5.0)


@on_virtual_clock
async def test_a_failed_ledger_stops_a_run_and_no_single_call() -> None:
    ledger = FakeLedger()
    admission = await make_admission(None, ledger)
    assert admission.is_open()
    ledger.stalled, ledger.failure = True, LedgerFullError("the disk is full")
    assert not admission.is_open()
    with pytest.raises(LedgerFullError):
        await admission.admit(make_call())
    assert isinstance(await admission.admit(make_call(patient=False)), Permit)


@on_virtual_clock
async def test_token_requests_count_in_the_quota() -> None:
    """F075: a request for a token takes a place in the same window."""

    def step(sent: Sent) -> Reply:
        if sent.request.operation == "token":
            return make_reply(200, envelope({"accessToken": "t", "ttlSeconds": 120}))
        return well(sent)

    service = ScriptedTransport(then=step)
    client = make_client(service, auth=OAuth("key", "secret"), quota=Quota(3, per=100.0))
    report = await client.claim_all(make_rows(6), concurrency=2)
    assert report.claimed == 6
    assert [sent.request.operation for sent in service.sent].count("token") >= 2
    for first, fourth in zip(service.times, service.times[3:], strict=False):
        assert fourth - first >= 100.0


@on_virtual_clock
async def test_single_calls_go_ahead_of_a_run_which_is_not_starved() -> None:
    """F077: a single call waits for the next free place, and the run uses the others."""
    service = ScriptedTransport()
    client = make_client(service, quota=Quota(10, per=10.0), timeout=Timeout(total=5.0))
    waits: list[float] = []

    async def single(number: int) -> None:
        began = now()
        await client.claim(BADGE, "Loyalty", f"single-{number}", timeout=60.0)
        waits.append(now() - began)

    async def singles() -> None:
        for number in range(100):
            await asyncio.sleep(3.0)
            tasks.append(asyncio.create_task(single(number)))

    tasks: list[asyncio.Task[Any]] = []
    run = asyncio.create_task(client.claim_all(make_rows(400), concurrency=32))
    await singles()
    await asyncio.gather(*tasks)
    done = len(service.sent) - 100
    # 3.3 of 10 places go to single calls, at once or with the next free place.
    assert max(waits) <= 10.5
    assert sum(waits) / len(waits) < 6
    assert done > 0.95 * (300 * 0.96 - 100)
    assert (await run).claimed == 400


@on_virtual_clock
async def test_a_run_is_not_starved_by_more_single_calls_than_there_are_places() -> None:
    """F077: of four places one is the run's, whatever the calls want."""
    service = ScriptedTransport()
    client = make_client(service, quota=Quota(10, per=10.0))

    async def flood() -> None:
        while True:
            await client.claim(BADGE, "Loyalty", "x", timeout=1000.0)

    flooding = [asyncio.create_task(flood()) for _ in range(50)]
    report = await client.claim_all(make_rows(40), concurrency=8)
    assert report.claimed == 40
    # One place of four is the run's.
    assert now() - START < 4 * 40 * 1.04 + 21
    for task in flooding:
        task.cancel()
    await asyncio.wait(flooding)


@on_virtual_clock
async def test_after_a_bare_throttle_a_single_call_fails_or_waits_no_longer_than_it_may() -> None:
    service = ScriptedTransport(*[refused(429, 1)] * 100)
    client = make_client(service)
    run = asyncio.create_task(client.claim_all(make_rows(10), concurrency=4))
    await asyncio.sleep(20)
    began = now()
    with pytest.raises((DeadlineError, RateLimitedError)):
        await client.claim(BADGE, "Loyalty", "1", timeout=3.0)
    assert now() - began <= 3.0
    assert (await run).claimed == 10


@on_virtual_clock
async def test_a_pause_is_told_to_every_ledger_that_can_hear_of_it() -> None:
    failed, well_one, gone = FakeLedger(), FakeLedger(), FakeLedger()
    admission = await make_admission(None, failed)
    for ledger in (well_one, gone):
        await admission.attach(ledger, 5.0)  # type: ignore[arg-type]
    for _ in range(2):
        admission.detach(gone)  # type: ignore[arg-type]
    failed.failure = LedgerFullError("the disk is full")
    admission.gate.pause(7.0)
    assert (failed.notes, gone.notes) == ([], [])
    assert [what for what, _ in well_one.notes] == ["pause"]


@on_virtual_clock
async def test_a_gate_that_closes_while_the_pace_is_waited_for_is_kept() -> None:
    admission = await make_admission()
    admission.pace.restore(0.1)
    waiting = asyncio.ensure_future(admission.admit(make_call()))
    await asyncio.sleep(0)
    # Behind the turn's own timer: it has the turn already, and has not left.
    asyncio.get_running_loop().call_at(START + 9.996, admission.gate.pause, 50.0)
    permit = await waiting
    assert now() >= START + 59.0
    admission.leaves(permit)
    admission.over(permit)
