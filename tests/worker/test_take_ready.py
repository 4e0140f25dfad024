"""The seams of bulk runs that a worker stands on: events at hand, and claims in doubt."""

from __future__ import annotations

import asyncio
from collections import deque
from collections.abc import AsyncIterator
from typing import Any

import pytest
from hypothesis import given, settings
from hypothesis import strategies as st

from badges_async import (
    AuthenticationError,
    BulkRun,
    ClaimOutcome,
    ClaimRequest,
    ClaimStatus,
    InvalidInputError,
    Ledger,
    OutageError,
    Quota,
    RetryPolicy,
)
from tests.client.scripted import (
    ScriptedTransport,
    claim_each,
    hang,
    lost_after,
    make_client,
    make_rows,
    refused,
    take,
    unreachable,
    well,
)
from tests.virtual_clock import START, now, on_virtual_clock


class Shelf:
    """An async source that says what is at hand; `pulls` are those that were waited for."""

    def __init__(self, rows: list[ClaimRequest], *, shy: int = 0) -> None:
        self.rows = deque(rows)
        self.pulls = 0
        self.taken = 0
        self.shy = shy

    def take_ready(self) -> ClaimRequest | None:
        if self.shy:
            self.shy -= 1
            return None
        if not self.rows:
            return None
        self.taken += 1
        return self.rows.popleft()

    def __aiter__(self) -> AsyncIterator[ClaimRequest]:
        return self

    async def __anext__(self) -> ClaimRequest:
        if not self.rows:
            raise StopAsyncIteration
        self.pulls += 1
        return self.rows.popleft()


# What is at hand.


@on_virtual_clock
async def test_what_is_at_hand_is_taken_without_being_waited_for() -> None:
    rows = make_rows(200)
    shelf, service = Shelf(rows), ScriptedTransport()
    outcomes = await claim_each(make_client(service), shelf, concurrency=8)
    assert (shelf.taken, shelf.pulls) == (200, 0)
    assert {id(outcome.request) for outcome in outcomes} == set(map(id, rows))
    assert service.peak == 8


@on_virtual_clock
async def test_a_source_that_has_nothing_at_hand_is_waited_for() -> None:
    shelf = Shelf(make_rows(50), shy=20)
    outcomes = await claim_each(make_client(ScriptedTransport()), shelf, concurrency=4)
    assert len(outcomes) == 50
    assert shelf.pulls > 0
    assert shelf.taken + shelf.pulls == 50


@on_virtual_clock
async def test_a_source_without_the_method_is_waited_for_as_ever() -> None:
    async def rows() -> AsyncIterator[ClaimRequest]:
        for row in make_rows(20):
            yield row

    assert len(await claim_each(make_client(ScriptedTransport()), rows())) == 20


@on_virtual_clock
async def test_a_sync_source_is_not_asked_for_what_is_at_hand() -> None:
    class Listed(list[ClaimRequest]):
        def take_ready(self) -> ClaimRequest | None:
            raise AssertionError

    rows = Listed(make_rows(20))
    assert len(await claim_each(make_client(ScriptedTransport()), rows)) == 20


@on_virtual_clock
async def test_what_is_at_hand_is_taken_lazily() -> None:
    shelf = Shelf(make_rows(500))
    run = make_client(ScriptedTransport(then=hang)).claim_many(shelf, concurrency=4)
    async with run:
        await asyncio.sleep(1)
        assert shelf.taken == 4
        assert len(run.unsettled) == 4


@on_virtual_clock
async def test_after_its_end_nothing_is_taken_from_a_source() -> None:
    rows = make_rows(3)
    shelf = Shelf(rows[:2])
    run = make_client(ScriptedTransport(take(5), take(9))).claim_many(shelf, concurrency=3)
    async with run:
        await asyncio.sleep(1)  # the third has found the end
        shelf.rows.append(rows[2])
        assert {id(outcome.request) async for outcome in run} == set(map(id, rows[:2]))
    assert list(shelf.rows) == rows[2:]


@pytest.mark.parametrize("wrong", ["a row", 5, ("b", "Loyalty", "r")])
@on_virtual_clock
async def test_what_is_no_request_ends_the_run(wrong: Any) -> None:
    shelf = Shelf([*make_rows(3), wrong])
    with pytest.raises(InvalidInputError, match="requests must be ClaimRequest, not"):
        await claim_each(make_client(ScriptedTransport()), shelf, concurrency=1)


@on_virtual_clock
async def test_a_source_that_raises_ends_the_run_with_its_own_error() -> None:
    class Breaks(Shelf):
        def take_ready(self) -> ClaimRequest | None:
            if self.taken == 5:
                raise LookupError("mine")
            return super().take_ready()

    seen: list[ClaimOutcome] = []
    run = make_client(ScriptedTransport()).claim_many(Breaks(make_rows(9)), concurrency=2)
    with pytest.raises(LookupError, match="mine"):  # noqa: PT012
        async with run:
            async for outcome in run:
                seen.append(outcome)  # noqa: PERF401 - those before the error
    assert len(seen) == 5


@on_virtual_clock
async def test_with_a_ledger_the_source_is_read_ahead_as_ever() -> None:
    shelf = Shelf(make_rows(3))

    class NoLedger:
        pass

    with pytest.raises(InvalidInputError):
        make_client(ScriptedTransport()).claim_many(shelf, ledger=NoLedger())  # type: ignore[arg-type]
    assert shelf.taken == 0


async def test_with_a_ledger_each_is_claimed_once(tmp_path: Any) -> None:
    shelf, rows = Shelf(make_rows(30)), make_rows(30)
    service = ScriptedTransport(latency=0.0)
    async with Ledger.open(tmp_path / "run.db") as ledger:
        outcomes = await claim_each(make_client(service), shelf, ledger=ledger)
    assert len(outcomes) == len(service.sent) == len(rows)
    assert (shelf.taken, shelf.pulls) == (0, 30)


@on_virtual_clock
async def test_in_an_outage_what_comes_is_probed_with() -> None:
    shelf = Shelf(make_rows(40))
    service = ScriptedTransport(*[unreachable] * 30)
    outcomes = await claim_each(make_client(service), shelf, concurrency=4)
    assert len(outcomes) == 40
    assert {outcome.status for outcome in outcomes} == {ClaimStatus.CLAIMED}


# What is in doubt.


async def consumed(run: BulkRun) -> BaseException | None:
    """Consume *run* and give what ended it."""
    try:
        async with run:
            async for _ in run:
                pass
    except Exception as error:  # noqa: BLE001 - looked at by the tests
        return error
    return None


@on_virtual_clock
async def test_before_and_after_a_run_that_settles_all_nothing_is_in_doubt() -> None:
    service = ScriptedTransport(lost_after, refused(500, 1), refused(404, 717))
    run = make_client(service, retry=RetryPolicy(max_attempts=4)).claim_many(Shelf(make_rows(20)))
    assert run.in_doubt == []
    assert await consumed(run) is None
    assert (run.in_doubt, run.unsettled) == ([], [])


@on_virtual_clock
async def test_what_is_cut_off_on_the_wire_is_in_doubt_and_nothing_else() -> None:
    rows = make_rows(30)
    client = make_client(ScriptedTransport(then=take(9)), max_connections=3)
    run = client.claim_many(Shelf(rows), concurrency=8)
    async with run:
        await asyncio.sleep(1)
    assert run.unsettled == rows[:8]
    assert run.in_doubt == rows[:3]


@on_virtual_clock
async def test_what_never_got_its_permit_is_not_in_doubt() -> None:
    client = make_client(ScriptedTransport(), quota=Quota(2, per=900.0))
    run = client.claim_many(Shelf(make_rows(30)), concurrency=8)
    async with asyncio.TaskGroup() as group:
        group.create_task(consumed(run))
        await asyncio.sleep(1)
        run.drain()
    assert len(run.unsettled) == 8
    assert run.in_doubt == []


@on_virtual_clock
async def test_a_grace_that_ends_leaves_in_doubt_what_it_cuts_off() -> None:
    rows = make_rows(9)
    run = make_client(ScriptedTransport(well, then=hang)).claim_many(Shelf(rows), concurrency=4)
    async with asyncio.TaskGroup() as group:
        group.create_task(consumed(run))
        await asyncio.sleep(1)
        run.drain(grace=2.0)
    assert now() == START + 3
    assert run.in_doubt == run.unsettled == rows[1:5]


@on_virtual_clock
async def test_an_attempt_without_an_answer_leaves_its_row_in_doubt_for_good() -> None:
    """Whatever came of the attempts after it."""
    rows = make_rows(4)
    client = make_client(ScriptedTransport(lost_after, then=unreachable))
    run = client.claim_many(Shelf(rows), concurrency=4, outage_patience=30.0)
    assert isinstance(await consumed(run), OutageError)
    assert len(run.unsettled) == 4
    assert len(run.in_doubt) == 1


@pytest.mark.parametrize("step", [unreachable, refused(429, 1, retry_after=800)])
@on_virtual_clock
async def test_an_attempt_that_was_refused_or_never_arrived_is_no_doubt(step: Any) -> None:
    client = make_client(ScriptedTransport(then=step))
    run = client.claim_many(Shelf(make_rows(4)), concurrency=4)
    async with asyncio.TaskGroup() as group:
        group.create_task(consumed(run))
        await asyncio.sleep(60)
        run.drain()
    assert len(run.unsettled) == 4
    assert run.in_doubt == []


@on_virtual_clock
async def test_a_refusal_of_everyone_leaves_nothing_in_doubt() -> None:
    run = make_client(ScriptedTransport(then=refused(401, 401))).claim_many(Shelf(make_rows(9)))
    assert isinstance(await consumed(run), AuthenticationError)
    assert len(run.unsettled) == 9
    assert run.in_doubt == []


@on_virtual_clock
async def test_a_row_that_is_given_twice_is_in_doubt_until_each_has_an_outcome() -> None:
    (row,) = make_rows(1)
    run = make_client(ScriptedTransport(well, then=hang)).claim_many(Shelf([row, row]))
    async with asyncio.TaskGroup() as group:
        group.create_task(consumed(run))
        await asyncio.sleep(1)
        run.drain(grace=0.0)
    assert run.unsettled == [row]
    assert run.in_doubt == [row]


@settings(deadline=None, max_examples=150)
@given(
    st.lists(
        st.sampled_from(
            [well, lost_after, hang, unreachable, refused(429, 1), refused(500, 1), take(1)]
        ),
        max_size=25,
    ),
    st.integers(0, 25),
    st.floats(0, 20),
    st.sampled_from(["leave", "drain", "cut off"]),
    st.integers(1, 5),
)
@on_virtual_clock
async def test_what_stands_and_was_not_told_is_always_in_doubt(
    script: list[Any], shy: int, moment: float, how: str, concurrency: int
) -> None:
    service, rows = ScriptedTransport(*script, latency=0.3), make_rows(25)
    run = make_client(service).claim_many(Shelf(rows, shy=shy), concurrency=concurrency)
    settled: list[ClaimRequest] = []
    async with run:

        async def consume() -> None:
            settled.extend([outcome.request async for outcome in run])

        async with asyncio.TaskGroup() as group:
            consuming = group.create_task(consume())
            await asyncio.sleep(moment)
            if how == "leave":
                consuming.cancel()
            else:
                run.drain(grace=None if how == "drain" else 0.2)
    doubtful, unsettled = run.in_doubt, run.unsettled
    assert {id(row) for row in doubtful} <= {id(row) for row in unsettled}
    sent = {sent.key[1] for sent in service.sent}
    for row in unsettled:
        if service.holds(row):
            assert row in doubtful
    for row in doubtful:
        assert row.reference_id in sent
