"""A run with a ledger: what is on disk at each moment, and what a next run makes of it."""

from __future__ import annotations

import asyncio
from pathlib import Path
from typing import Any

import pytest

from badges_async import (
    BasicAuth,
    ClaimOutcome,
    ClaimStatus,
    InvalidInputError,
    Ledger,
    LedgerMismatchError,
    Quota,
    RetryPolicy,
)
from badges_async.ledger.records import State
from badges_async.messages import Reply
from tests.client.ledgers import Disk, disk, kept, key_of, make_ports
from tests.client.scripted import (
    ScriptedTransport,
    Sent,
    claim_each,
    lost_after,
    lost_before,
    make_client,
    make_rows,
    refused,
    well,
)
from tests.ledger.support import Inline, copy
from tests.virtual_clock import START, now, on_virtual_clock

SENDING = State.SENDING
CLAIMED, ALREADY = ClaimStatus.CLAIMED, ClaimStatus.ALREADY_CLAIMED
REJECTED, FAILED = ClaimStatus.REJECTED, ClaimStatus.FAILED


@pytest.mark.parametrize("concurrency", [1, 3, 64])
@pytest.mark.parametrize("seconds", [0.0, 0.01])
@on_virtual_clock
async def test_intents_are_on_disk_before_requests_and_outcomes_before_they_are_yielded(
    tmp_path: Path, concurrency: int, seconds: float
) -> None:
    path = tmp_path / "run.db"
    reading: list[Disk] = []

    def step(sent: Sent) -> Reply:
        assert reading[0].state(sent.key) is State.SENDING
        return (lost_before if sent.number % 7 == 0 else well)(sent)

    class Looking(ScriptedTransport):
        async def send(self, request: Any, *args: Any, **kwargs: Any) -> Reply:
            # The very moment in which the request leaves.
            if request.operation == "claim":
                assert reading[0].state(key_of(request)) is SENDING
            return await super().send(request, *args, **kwargs)

    service = Looking(then=step)
    rows = make_rows(300)
    ports = make_ports(service, executor=Inline(seconds))
    async with kept(path, service, ports=ports) as (client, ledger):
        with disk(path) as now_on_disk:
            reading.append(now_on_disk)
            async with client.claim_many(rows, concurrency=concurrency, ledger=ledger) as run:
                async for outcome in run:
                    state = now_on_disk.state(outcome.request)
                    assert state is State[outcome.status.name]
                    assert outcome.status in {CLAIMED, ALREADY}
        assert run.report.total == 300
        assert (await ledger.standing()).settled == 300


@on_virtual_clock
async def test_what_is_settled_is_skipped_and_nothing_is_sent(tmp_path: Path) -> None:
    path = tmp_path / "run.db"

    def step(sent: Sent) -> Reply:
        number = int(sent.key[0], 16)
        return (refused(400, 717) if number % 10 == 0 else well)(sent)  # type: ignore[return-value]

    service = ScriptedTransport(then=step)
    rows = make_rows(100)
    async with kept(path, service) as (client, ledger):
        first = await client.claim_all(rows, ledger=ledger)
    assert (first.claimed, first.rejected, first.ok) == (90, 10, False)

    again = ScriptedTransport()
    async with kept(path, again) as (client, ledger):
        outcomes: list[ClaimOutcome] = []
        second = await client.claim_all(rows, ledger=ledger, on_outcome=outcomes.append)
        assert (await ledger.standing()).errors == {"717": 10}
    assert (again.sent, outcomes) == ([], [])
    assert (second.total, second.skipped, second.rejected_before) == (0, 100, 10)
    assert (second.unsettled, second.ok) == (0, False)


@on_virtual_clock
async def test_all_skipped_and_none_rejected_is_all_well(tmp_path: Path) -> None:
    service = ScriptedTransport()
    async with kept(tmp_path / "run.db", service) as (client, ledger):
        rows = make_rows(30)
        await client.claim_all(rows, ledger=ledger)
        report = await client.claim_all([*rows, *make_rows(5, start=30)], ledger=ledger)
    assert (report.claimed, report.skipped, report.ok) == (5, 30, True)


@on_virtual_clock
async def test_what_failed_gets_a_new_chance(tmp_path: Path) -> None:
    path = tmp_path / "run.db"
    rows = make_rows(50)
    bad = {row.badge_id for row in rows[::5]}

    def step(sent: Sent) -> Reply:
        fails = sent.request.operation == "claim" and sent.key[0] in bad
        return (lost_after if fails else well)(sent)

    service = ScriptedTransport(then=step)
    async with kept(path, service, retry=RetryPolicy(max_attempts=2)) as (client, ledger):
        first = await client.claim_all(rows, ledger=ledger)
        standing = await ledger.standing()
    assert (first.claimed, first.failed) == (40, 10)
    assert (standing.unsettled, standing.counts[FAILED]) == (10, 10)

    later = ScriptedTransport()
    later.held = service.held
    async with kept(path, later) as (client, ledger):
        outcomes = await claim_each(client, rows, ledger=ledger)
        standing = await ledger.standing()
    assert {outcome.request.badge_id for outcome in outcomes} == bad
    # They may have been applied by the first run, and were.
    assert all(outcome.status is ALREADY and outcome.recovered for outcome in outcomes)
    assert (standing.settled, standing.unsettled, standing.recovered) == (50, 0, 10)


@pytest.mark.parametrize("moment", [0.0, 0.02, 0.06, 0.5, 1.01])
@on_virtual_clock
async def test_after_a_kill_claims_in_doubt_are_sent_again_and_are_recovered(
    tmp_path: Path, moment: float
) -> None:
    path, rows = tmp_path / "run.db", make_rows(300)
    service = ScriptedTransport()
    told: set[str] = set()
    copies: list[tuple[Path, set[str], set[tuple[str, str]]]] = []

    async with (
        kept(path, service) as (client, ledger),
        client.claim_many(rows, concurrency=8, ledger=ledger) as run,
    ):
        async for outcome in run:
            told.add(outcome.request.reference_id)
            if not copies and now() >= START + moment:
                made = copy(path, tmp_path / "killed", "-wal")
                copies.append((made, set(told), set(service.held)))

    made, told, held = copies[0]
    later = ScriptedTransport()
    later.held = set(held)
    async with kept(made, later) as (client, ledger):
        before = await ledger.standing()
        outcomes = await claim_each(client, rows, ledger=ledger)
        standing = await ledger.standing()
    assert (standing.settled, standing.unsettled) == (300, 0)
    resent = {outcome.request.reference_id for outcome in outcomes}
    assert not resent & told
    assert len(outcomes) == 300 - before.settled
    for outcome in outcomes:
        stood = (outcome.request.badge_id, outcome.request.reference_id) in held
        assert (outcome.status, outcome.recovered) == (
            (ALREADY, True) if stood else (CLAIMED, False)
        )
    # What a kill leaves in doubt is bounded, however long the run.
    assert before.in_doubt <= 3 * 64 + 4 * 8


@pytest.mark.parametrize("wrong", ["run.db", 5, True, object()])
def test_what_is_no_ledger_is_refused_at_once(wrong: Any) -> None:
    with pytest.raises(InvalidInputError, match="ledger"):
        make_client(ScriptedTransport()).claim_many(make_rows(1), ledger=wrong)


@on_virtual_clock
async def test_a_ledger_that_is_not_open_is_refused_and_nothing_sent(tmp_path: Path) -> None:
    service = ScriptedTransport()
    unopened = Ledger.open(tmp_path / "run.db")
    with pytest.raises(InvalidInputError, match="not open"):
        await make_client(service).claim_all(make_rows(1), ledger=unopened)

    async with kept(tmp_path / "other.db", service) as (client, ledger):
        pass
    with pytest.raises(Exception, match="closed"):
        await client.claim_all(make_rows(1), ledger=ledger)
    assert service.sent == []


@on_virtual_clock
async def test_a_ledger_is_for_one_run_at_a_time_and_then_for_the_next(tmp_path: Path) -> None:
    service = ScriptedTransport()
    async with kept(tmp_path / "run.db", service) as (client, ledger):
        async with client.claim_many(make_rows(100), concurrency=1, ledger=ledger) as run:
            await anext(run)
            with pytest.raises(InvalidInputError, match="another run"):
                await client.claim_all(make_rows(10), ledger=ledger)
            await anext(run)
        report = await client.claim_all(make_rows(100), ledger=ledger)
        assert report.total + report.skipped == 100


@pytest.mark.parametrize("what", ["service", "account"])
@on_virtual_clock
async def test_a_ledger_is_for_one_service_and_account(tmp_path: Path, what: str) -> None:
    """F116: another base URL, or another identity behind the key."""
    path, service = tmp_path / "run.db", ScriptedTransport()
    async with kept(path, service) as (client, ledger):
        await client.claim_all(make_rows(3), ledger=ledger)
    options: dict[str, Any] = {"host": "other.example.com"}
    if what == "account":
        options = {"auth": BasicAuth("somebody-else", "password")}
    other = ScriptedTransport()
    async with kept(path, other, **options) as (client, ledger):
        with pytest.raises(LedgerMismatchError, match=what) as caught:
            await client.claim_all(make_rows(3), ledger=ledger)
        assert "somebody-else" not in str(caught.value)
        # It is not in use after that, and the right ones may.
        right = make_client(other)
        assert (await right.claim_all(make_rows(3), ledger=ledger)).skipped == 3
    assert other.sent == []


@on_virtual_clock
async def test_a_second_run_of_the_same_client_does_not_count_its_requests_twice(
    tmp_path: Path,
) -> None:
    service = SlowToConnect(0.5)
    ports = make_ports(service)
    async with kept(tmp_path / "run.db", service, ports=ports, quota=Quota(20, per=100.0)) as (
        client,
        ledger,
    ):
        await client.claim_all(make_rows(10), ledger=ledger)
        await client.claim_all(make_rows(20), ledger=ledger)
        assert len(service.sent) == 20
        assert now() < START + 5
        # And not less than once either.
        await client.claim_all(make_rows(21), ledger=ledger)
        assert now() >= START + 100


class SlowToConnect(ScriptedTransport):
    """Each request leaves some *seconds* after it was handed over."""

    def __init__(self, seconds: float, **options: Any) -> None:
        super().__init__(**options)
        self.seconds = seconds

    async def send(self, *args: Any, **kwargs: Any) -> Reply:
        await asyncio.sleep(self.seconds)
        return await super().send(*args, **kwargs)
