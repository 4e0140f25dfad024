"""How a worker ends: drained, cancelled, refused by the service, left by its source."""

from __future__ import annotations

import asyncio
from collections.abc import Callable
from typing import Any

import pytest
from hypothesis import given, settings
from hypothesis import strategies as st

from badges_async import (
    AuthenticationError,
    BadgesError,
    ClientClosedError,
    ConnectError,
    OutageError,
    PermissionDeniedError,
    Quota,
)
from badges_async.worker import ClaimWorker, MemorySource, Settlement, SourceError, Verdict
from tests.client.scripted import (
    ScriptedTransport,
    Sent,
    Step,
    hang,
    lost_after,
    refused,
    take,
    unreachable,
    well,
)
from tests.virtual_clock import START, now, on_virtual_clock
from tests.worker.watched import (
    Hook,
    WatchedSource,
    a_client,
    a_worker,
    an_event,
    by_event,
    events,
    fail,
    filled,
    rest,
    waiting_in,
)
from tests.worker.watched import (
    hang as hang_for_ever,
)

SETTLE, RETRY, BURY, RELEASE = Verdict.SETTLE, Verdict.RETRY, Verdict.BURY, Verdict.RELEASE


def returned(source: WatchedSource) -> dict[str, bool]:
    """Give what was handed back, and whether it counts."""
    return {
        one.delivery.event.reference_id: one.counted  # type: ignore[union-attr]
        for one in source.settlements
        if one.verdict is RELEASE
    }


def names(*numbers: int) -> set[str]:
    return {f"r{number}" for number in numbers}


# Drained.


@on_virtual_clock
async def test_a_drain_sends_nothing_new_and_lets_finish_what_is_sent() -> None:
    service = ScriptedTransport(latency=4.0)
    source = await filled(memory := MemorySource(), events(30))
    worker = a_worker(service, source, concurrency=8)
    async with asyncio.TaskGroup() as group:
        running = group.create_task(worker.run())
        await asyncio.sleep(1)
        worker.drain()
        assert worker.in_flight == 8
    assert len(service.sent) == len(service.held) == 8
    assert 4 <= now() - START < 5
    assert source.verdicts() == {SETTLE: 8, RELEASE: 2}
    assert returned(source) == {"r8": False, "r9": False}
    assert running.result().released == 2
    assert {count for _, count in await waiting_in(memory)} == {1}
    assert source.calls[-1] == "close"


@on_virtual_clock
async def test_what_is_cut_off_after_the_grace_counts_as_delivered() -> None:
    service = ScriptedTransport(then=hang)
    source = await filled(memory := MemorySource(), events(30))
    worker = a_worker(service, source, concurrency=8, grace=3.0)
    async with asyncio.TaskGroup() as group:
        running = group.create_task(worker.run())
        await asyncio.sleep(1)
        worker.drain()
    assert 4 <= now() - START < 4.5
    back = returned(source)
    assert {name for name, counted in back.items() if counted} == names(*range(8))
    assert {name for name, counted in back.items() if not counted} == names(8, 9)
    assert sorted(count for _, count in await waiting_in(memory)) == [1] * 22 + [2] * 8
    assert running.result().released == 10
    assert running.result().settled == 0


@on_virtual_clock
async def test_without_any_grace_what_is_sent_is_cut_off_at_once() -> None:
    source = await filled(MemorySource(), events(30))
    worker = a_worker(ScriptedTransport(then=hang), source, concurrency=8, grace=0)
    async with asyncio.TaskGroup() as group:
        group.create_task(worker.run())
        await asyncio.sleep(1)
        worker.drain()
    assert now() - START < 1.6  # a fetch that waits is not cut off
    assert sum(returned(source).values()) == 8


@on_virtual_clock
async def test_a_drain_before_the_run_takes_nothing() -> None:
    source, service = await filled(MemorySource(), events(30)), ScriptedTransport()
    worker = a_worker(service, source, once=False)
    worker.drain()
    report = await worker.run()
    assert service.sent == []
    assert source.fetched == []
    assert source.calls == ["open", "close"]
    assert report.settled == 0


@on_virtual_clock
async def test_a_drain_while_the_source_opens_takes_nothing() -> None:
    source, service = await filled(MemorySource(), events(30)), ScriptedTransport()
    source.hooks["open"] = rest(5.0)
    worker = a_worker(service, source)
    async with asyncio.TaskGroup() as group:
        group.create_task(worker.run())
        await asyncio.sleep(1)
        worker.drain()
    assert source.calls == ["open", "close"]


@on_virtual_clock
async def test_to_drain_again_changes_nothing() -> None:
    source = await filled(MemorySource(), events(30))
    worker = a_worker(ScriptedTransport(then=hang), source, concurrency=8, grace=3.0)
    async with asyncio.TaskGroup() as group:
        group.create_task(worker.run())
        await asyncio.sleep(1)
        for _ in range(4):
            worker.drain()
            await asyncio.sleep(0.5)
    assert 4 <= now() - START < 4.5
    worker.drain()
    assert sum(returned(source).values()) == 8


@on_virtual_clock
async def test_a_drain_wakes_a_worker_that_waits_for_events() -> None:
    source = WatchedSource(MemorySource())
    worker = a_worker(ScriptedTransport(), source, once=False)
    async with asyncio.TaskGroup() as group:
        group.create_task(worker.run())
        await asyncio.sleep(10)
        worker.drain()
    assert now() - START <= 10.5
    assert source.calls[-1] == "close"


@on_virtual_clock
async def test_what_a_fetch_still_brings_is_handed_back() -> None:
    memory = MemorySource()
    source = WatchedSource(memory, fetch=rest(2.0))
    service = ScriptedTransport()
    worker = a_worker(service, source, once=False)
    async with asyncio.TaskGroup() as group:
        group.create_task(worker.run())
        await asyncio.sleep(1)
        worker.drain()
        await memory.put(an_event())
        await memory.put(b"?")
    assert service.sent == []
    assert returned(source) == {"r0": False}
    assert source.verdicts() == {RELEASE: 1, BURY: 1}


STAGES: dict[str, Callable[[], tuple[ScriptedTransport, dict[str, Any]]]] = {
    "at the gate": lambda: (ScriptedTransport(then=refused(429, 1, retry_after=90)), {}),
    "for the quota": lambda: (ScriptedTransport(), {"quota": Quota(1, per=900.0)}),
    "for a slot": lambda: (ScriptedTransport(then=take(3)), {"max_connections": 1}),
    "in an outage": lambda: (ScriptedTransport(then=unreachable), {}),
}


@pytest.mark.parametrize("stage", STAGES)
@on_virtual_clock
async def test_what_waits_to_be_sent_is_handed_back_uncounted(stage: str) -> None:
    service, options = STAGES[stage]()
    source = await filled(memory := MemorySource(lease=9.0), events(30))
    worker = ClaimWorker(a_client(service, **options), source, concurrency=8)
    async with asyncio.TaskGroup() as group:
        group.create_task(worker.run())
        await asyncio.sleep(31)
        worker.drain()
    assert now() - START < 36
    assert not any(returned(source).values())
    assert len(returned(source)) in {9, 10}  # all but what is on the wire
    assert {count for _, count in await waiting_in(memory)} == {1}


@on_virtual_clock
async def test_what_waits_for_another_attempt_counts_if_one_was_sent() -> None:
    service = ScriptedTransport(*[lost_after] * 8, then=unreachable)
    source = await filled(MemorySource(), events(30))
    worker = a_worker(service, source, concurrency=8)
    async with asyncio.TaskGroup() as group:
        group.create_task(worker.run())
        await asyncio.sleep(3)
        worker.drain()
    counted = {name for name, counted in returned(source).items() if counted}
    assert counted == {reference for _, reference in service.held} != set()


# A source that is away.


@pytest.mark.slow
@pytest.mark.parametrize("away", ["settle", "fetch", "renew", "is_empty"])
@pytest.mark.parametrize("concurrency", [8, 2000])
@on_virtual_clock
async def test_a_source_that_is_away_keeps_no_worker_from_ending(
    away: str, concurrency: int
) -> None:
    """Within the grace for what is sent, and once more for telling the source."""
    service = ScriptedTransport(latency=0.01)
    source = await filled(MemorySource(lease=3.0), events(5000))
    worker = a_worker(service, source, concurrency=concurrency, grace=5.0)
    async with asyncio.TaskGroup() as group:
        group.create_task(worker.run())
        await asyncio.sleep(0.02)
        source.hooks[away] = hang_for_ever
        await asyncio.sleep(30)
        began = now()
        worker.drain()
    assert now() - began <= 10.5
    assert source.calls[-1] == "close"


@on_virtual_clock
async def test_to_drain_again_gives_a_source_that_is_away_no_more_time() -> None:
    source = WatchedSource(MemorySource(), fetch=hang_for_ever)
    worker = a_worker(ScriptedTransport(), source, grace=3.0)
    async with asyncio.TaskGroup() as group:
        running = group.create_task(worker.run())
        await asyncio.sleep(1)
        while not running.done():
            worker.drain()
            await asyncio.sleep(0.5)
            assert now() - START < 5


@on_virtual_clock
async def test_a_fetch_has_a_second_to_end_without_any_grace_as_well() -> None:
    memory = MemorySource()
    source = await filled(memory, events(3))
    source.hooks["fetch"] = rest(0.9)
    worker = a_worker(ScriptedTransport(), source, grace=0)
    async with asyncio.TaskGroup() as group:
        group.create_task(worker.run())
        await asyncio.sleep(0.1)
        worker.drain()
    assert len(source.fetched) == 3
    assert source.verdicts() == {RELEASE: 3}


@on_virtual_clock
async def test_a_source_that_comes_back_in_time_hears_everything() -> None:
    back = asyncio.Event()
    service = ScriptedTransport(latency=0.01)
    source = await filled(memory := MemorySource(lease=60.0), events(5000))
    source.hooks["settle"] = back.wait
    worker = a_worker(service, source, concurrency=8, grace=5.0)
    async with asyncio.TaskGroup() as group:
        running = group.create_task(worker.run())
        await asyncio.sleep(30)
        worker.drain()
        await asyncio.sleep(4)
        back.set()
    held = running.result().held
    assert held == len(service.held) == len(service.sent) > 1000
    assert len(await waiting_in(memory)) == 5000 - held


@pytest.mark.parametrize("when", [0, 3])
@on_virtual_clock
async def test_a_settlement_that_the_source_refuses_ends_the_worker(when: int) -> None:
    service = ScriptedTransport(latency=0.5)
    source = await filled(MemorySource(lease=60.0), events(200))
    source.hooks["settle"] = fail(SourceError("of the wrong kind"), after=when)
    worker = a_worker(service, source, concurrency=8)
    with pytest.raises(SourceError, match=r"^of the wrong kind$"):
        await worker.run()
    assert len(service.sent) <= (when + 3) * 8
    assert worker.report.held == len(source.settlements)
    assert source.calls[-1] == "close"


@on_virtual_clock
async def test_a_settlement_refused_while_very_much_waits_ends_the_worker_as_well() -> None:
    """Those who wait for room get it, and whatever comes after them."""
    service = ScriptedTransport(latency=0.01)
    source = await filled(MemorySource(lease=60.0), events(5000))

    async def give_up() -> None:
        await asyncio.sleep(30)
        raise SourceError("gone")

    source.hooks["settle"] = give_up
    with pytest.raises(SourceError, match=r"^gone$"):
        await a_worker(service, source, concurrency=500).run()
    assert now() - START < 32


@pytest.mark.parametrize("method", ["fetch", "renew", "is_empty"])
@pytest.mark.parametrize("error", [SourceError("gone"), TimeoutError("odd")])
@on_virtual_clock
async def test_a_source_that_cannot_be_used_ends_the_worker_plainly(
    method: str, error: Exception
) -> None:
    """What is sent finishes and is told, the rest is handed back."""
    service = ScriptedTransport(latency=2.0)
    source = await filled(memory := MemorySource(lease=3.0), events(30))
    source.hooks[method] = fail(error, after=1 if method == "fetch" else 0)
    worker = a_worker(service, source, concurrency=8)
    with pytest.raises(type(error)) as caught:
        await worker.run()
    assert caught.value is error
    assert source.verdicts().get(SETTLE) == len(service.sent)
    assert not any(returned(source).values())
    assert {count for _, count in await waiting_in(memory)} <= {1}
    assert source.calls[-1] == "close"


@on_virtual_clock
async def test_a_source_that_cannot_be_opened_is_told_at_once() -> None:
    source = WatchedSource(MemorySource(), open=fail(SourceError("no such host")))
    with pytest.raises(SourceError, match=r"^no such host$"):
        await a_worker(ScriptedTransport(), source).run()
    assert source.calls == ["open", "close"]


# A service that will not have us.


def certificate_refused(_: Sent) -> Any:
    error = ConnectError("certificate verify failed")
    error.certificate_refused = True
    raise error


REFUSALS: list[tuple[Step, type[BadgesError]]] = [
    (refused(401, 401), AuthenticationError),
    (refused(403, 403), PermissionDeniedError),
    (certificate_refused, ConnectError),
]


@pytest.mark.parametrize(("step", "kind"), REFUSALS, ids=["401", "403", "certificate"])
@pytest.mark.parametrize("well_before", [0, 20])
@on_virtual_clock
async def test_a_refusal_of_everyone_hands_everything_back_uncounted(
    step: Step, kind: type[BadgesError], well_before: int
) -> None:
    """A wrong key must not make a million dead letters."""
    service = ScriptedTransport(*[well] * well_before, then=step)
    source = await filled(memory := MemorySource(), events(50))
    worker = a_worker(service, source, concurrency=8)
    with pytest.raises(kind) as caught:
        await worker.run()
    assert not isinstance(caught.value, BaseExceptionGroup)
    assert memory.letters == []
    assert set(source.verdicts()) <= {SETTLE, RELEASE}
    assert source.verdicts().get(SETTLE, 0) == well_before == worker.report.held
    assert not any(returned(source).values())
    back = await waiting_in(memory)
    assert len(back) == 50 - well_before
    assert {count for _, count in back} == {1}
    assert len(service.sent) <= well_before + 16
    assert now() - START < 2


@on_virtual_clock
async def test_one_client_that_is_refused_ends_the_work_for_all() -> None:
    services = {"a": ScriptedTransport(then=take(3)), "b": ScriptedTransport(then=refused(401, 1))}
    some = [an_event(number, quota="ab"[number % 2]) for number in range(4)]
    source = await filled(MemorySource(), some)
    clients = {name: a_client(service) for name, service in services.items()}
    with pytest.raises(AuthenticationError):
        await ClaimWorker(clients, source).run()
    assert source.verdicts() == {SETTLE: 2, RELEASE: 2}


@on_virtual_clock
async def test_a_client_that_is_closed_ends_the_work() -> None:
    class Closed(ScriptedTransport):
        def ensure_usable(self) -> None:
            raise ClientClosedError("the client is closed")

    source = await filled(memory := MemorySource(), events(5))
    with pytest.raises(ClientClosedError):
        await a_worker(Closed(), source).run()
    assert memory.letters == []
    assert {count for _, count in await waiting_in(memory)} == {1}


@on_virtual_clock
async def test_a_service_that_answers_nobody_ends_the_work_when_the_patience_does() -> None:
    service = ScriptedTransport(*[well] * 20, then=unreachable)
    source = await filled(memory := MemorySource(lease=9.0), events(50))
    worker = a_worker(service, source, concurrency=8, outage_patience=60.0)
    with pytest.raises(OutageError, match="answered nobody for 60 s"):
        await worker.run()
    assert 60 <= now() - START < 65
    assert set(source.verdicts()) == {SETTLE, RELEASE}
    assert worker.report.held == len(service.held) == 20
    assert not any(returned(source).values())
    assert memory.letters == []
    assert {count for _, count in await waiting_in(memory)} == {1}


@on_virtual_clock
async def test_of_an_outage_only_what_was_sent_counts() -> None:
    service = ScriptedTransport(then=hang)
    source = await filled(memory := MemorySource(lease=90.0), events(50))
    worker = a_worker(service, source, concurrency=8, outage_patience=60.0)
    with pytest.raises(OutageError):
        await worker.run()
    sent = {sent.key[1] for sent in service.sent if sent.request.operation == "claim"}
    assert {name for name, counted in returned(source).items() if counted} == sent
    assert memory.letters == []
    assert len(await waiting_in(memory)) == 50


@on_virtual_clock
async def test_the_first_of_two_failures_is_the_one_that_is_told() -> None:
    source = await filled(MemorySource(), events(50))
    source.hooks["settle"] = fail(SourceError("second"))
    with pytest.raises(AuthenticationError):
        await a_worker(ScriptedTransport(then=refused(401, 401)), source).run()


# Cancelled.


@on_virtual_clock
async def test_cancelling_cuts_off_what_is_sent_and_hands_everything_back() -> None:
    service = ScriptedTransport(latency=4.0)
    source = await filled(memory := MemorySource(), events(30))
    worker = a_worker(service, source, concurrency=8)
    running = asyncio.create_task(worker.run())
    await asyncio.sleep(5)
    running.cancel()
    with pytest.raises(asyncio.CancelledError):
        await running
    assert now() - START == 5
    assert service.in_flight == 0
    back = returned(source)
    assert {name for name, counted in back.items() if counted} == names(*range(8, 16))
    assert {name for name, counted in back.items() if not counted} == names(16, 17)
    assert source.verdicts() == {SETTLE: 8, RELEASE: 10}
    assert len(await waiting_in(memory)) == 22
    assert worker.held == worker.in_flight == 0
    assert source.calls[-1] == "close"


@pytest.mark.parametrize("again", [0.0, 0.3, 0.999])
@on_virtual_clock
async def test_cancelling_waits_a_second_for_the_source_or_until_it_is_done_again(
    again: float,
) -> None:
    source = await filled(MemorySource(), events(30))
    source.hooks["settle"] = hang_for_ever
    running = asyncio.create_task(a_worker(ScriptedTransport(), source, concurrency=8).run())
    await asyncio.sleep(3)
    running.cancel()
    if again:
        await asyncio.sleep(again)
        assert not running.done()
        running.cancel()
    with pytest.raises(asyncio.CancelledError):
        await running
    assert now() - START == pytest.approx(3 + (again or 1.0))
    assert source.settled == []
    assert source.calls[-1] == "close"


@on_virtual_clock
async def test_a_drain_can_be_cut_short_by_cancelling() -> None:
    source = await filled(MemorySource(), events(30))
    worker = a_worker(ScriptedTransport(then=hang), source, concurrency=8, grace=9.0)
    running = asyncio.create_task(worker.run())
    await asyncio.sleep(1)
    worker.drain()
    await asyncio.sleep(1)
    running.cancel()
    with pytest.raises(asyncio.CancelledError):
        await running
    assert now() - START == 2
    assert sum(returned(source).values()) == 8


SLOW: list[dict[str, Hook]] = [
    {},
    {"open": rest(0.5)},
    {"fetch": rest(0.3)},
    {"settle": rest(0.3)},
    {"settle": hang_for_ever},
    {"renew": rest(0.5)},
    {"is_empty": rest(0.5), "close": rest(0.2)},
]


@settings(deadline=None, max_examples=150)
@given(
    st.floats(0, 6),
    st.sampled_from(range(len(SLOW))),
    st.lists(st.sampled_from([well, hang, lost_after, refused(429, 1), unreachable]), max_size=12),
    st.lists(st.floats(0, 2), max_size=2),
    st.sampled_from(["", "drained"]),
)
@on_virtual_clock
async def test_cancelled_at_any_moment_nothing_is_left_and_the_count_is_right(
    moment: float, slow: int, script: list[Step], more: list[float], drained: str
) -> None:
    """The virtual clock fails for any task that is left."""
    service = ScriptedTransport(*script, then=by_event({3: refused(404, 717)}), latency=0.4)
    source = await filled(memory := MemorySource(lease=3.0), events(20))
    source.hooks.update(SLOW[slow])
    worker = a_worker(service, source, concurrency=4, grace=1.0)
    running = asyncio.create_task(worker.run())
    if drained:
        await asyncio.sleep(moment / 2)
        worker.drain()
    await asyncio.sleep(moment)
    for pause in [0.0, *more]:
        await asyncio.sleep(pause)
        running.cancel()
    await asyncio.gather(running, return_exceptions=True)
    assert service.in_flight == 0
    sent = {sent.key[1] for sent in service.sent if sent.request.operation == "claim"}
    held = {reference for _, reference in service.held}
    for one in source.settlements:
        if one.verdict is RELEASE and one.counted:
            assert _reference(one) in sent
        elif one.verdict is RELEASE and one.delivery.deliveries == 1:
            assert _reference(one) not in held
    told = [one for one in source.settlements if one.verdict in {SETTLE, BURY}]
    assert len(told) == worker.report.settled
    last = WatchedSource(memory.sibling())
    await a_worker(ScriptedTransport(then=by_event({3: refused(404, 717)})), last).run()
    total = [*source.settlements, *last.settlements]
    ends = [one for one in total if one.verdict in {SETTLE, BURY}]
    assert sorted(_reference(one) for one in ends) == sorted(names(*range(20)))


def _reference(settlement: Settlement) -> str:
    return settlement.delivery.event.reference_id  # type: ignore[union-attr]


@on_virtual_clock
async def test_a_worker_cancelled_before_it_began_leaves_nothing() -> None:
    source = await filled(MemorySource(), events(3))
    running = asyncio.create_task(a_worker(ScriptedTransport(), source).run())
    running.cancel()
    with pytest.raises(asyncio.CancelledError):
        await running
    assert source.calls == []


@on_virtual_clock
async def test_what_is_no_client_is_found_out_at_once_and_costs_no_event() -> None:
    source = await filled(memory := MemorySource(), events(3))
    other: Any = object()
    with pytest.raises(AttributeError, match="claim_many"):
        await ClaimWorker(other, source).run()
    assert {count for _, count in await waiting_in(memory)} == {1}
