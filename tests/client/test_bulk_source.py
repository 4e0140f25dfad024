"""Where a bulk run takes its rows from: how far ahead it reads, and what ends it."""

from __future__ import annotations

import asyncio
import itertools
from collections.abc import AsyncIterator, Iterator
from typing import Any

import pytest

from badges_async import (
    AuthenticationError,
    ClaimOutcome,
    ClaimRequest,
    ClaimStatus,
    InvalidInputError,
    PermissionDeniedError,
)
from badges_async.messages import Reply
from tests.answers import make_reply
from tests.client.scripted import (
    ScriptedTransport,
    Sent,
    claim_each,
    make_client,
    make_rows,
    refused,
    well,
)
from tests.virtual_clock import START, now, on_virtual_clock


class Endless:
    """Rows without end, and how many were taken."""

    def __init__(self) -> None:
        self.pulled = 0

    def __iter__(self) -> Iterator[ClaimRequest]:
        for number in itertools.count():
            self.pulled += 1
            yield ClaimRequest(f"{number:024x}", "Loyalty", "1")


class AsyncEndless(Endless):
    """The same, and only asynchronously."""

    __iter__ = None  # type: ignore[assignment]

    async def __aiter__(self) -> AsyncIterator[ClaimRequest]:
        for row in Endless.__iter__(self):
            await asyncio.sleep(0)
            yield row


@pytest.mark.parametrize("make", [Endless, AsyncEndless])
@on_virtual_clock
async def test_a_slow_consumer_holds_back_the_source(make: type[Endless]) -> None:
    source, concurrency, seen = make(), 4, 0
    service = ScriptedTransport()
    async with make_client(service).claim_many(source, concurrency=concurrency) as run:
        async for _ in run:
            seen += 1
            await asyncio.sleep(60)  # everything that can go on, does
            # What waits to be taken, and one in the hands of each worker.
            assert source.pulled - seen <= 2 * concurrency
            if seen == 50:
                break

    assert source.pulled <= 50 + 2 * concurrency
    assert len(service.sent) <= source.pulled


@on_virtual_clock
async def test_nothing_is_pulled_or_sent_before_the_run_is_entered() -> None:
    source, service = Endless(), ScriptedTransport()
    run = make_client(service).claim_many(source)
    await asyncio.sleep(1)
    assert (source.pulled, service.sent) == (0, [])

    async with run:
        pass
    assert service.sent == []


@on_virtual_clock
async def test_what_is_kept_for_a_run_does_not_grow_with_its_rows() -> None:
    """F099: neither rows nor tasks pile up."""
    client = make_client(ScriptedTransport(latency=0), quota=None)
    alive = 0
    async with client.claim_many(Endless(), concurrency=3) as run:
        async for place in _numbered(run):
            if place == 200:
                alive = _objects_of_a_run()
            if place == 2000:
                break
        assert _objects_of_a_run() <= alive + 20


async def _numbered(outcomes: AsyncIterator[ClaimOutcome]) -> AsyncIterator[int]:
    place = 0
    async for _ in outcomes:
        place += 1
        yield place


def _objects_of_a_run() -> int:
    import gc  # noqa: PLC0415

    gc.collect()
    names = {"_Row", "ClaimRequest", "ClaimOutcome", "ClaimResult", "Reply", "Task", "Future"}
    return sum(type(thing).__name__ in names for thing in gc.get_objects())


@on_virtual_clock
async def test_an_async_source_is_read_by_one_worker_at_a_time() -> None:
    async def rows() -> AsyncIterator[ClaimRequest]:
        for row in make_rows(20):
            await asyncio.sleep(1)
            yield row

    service = ScriptedTransport()
    outcomes = await claim_each(make_client(service), rows(), concurrency=8)

    # An async generator that is entered twice at once would have raised.
    assert len(outcomes) == 20
    assert now() == pytest.approx(START + 20.05)


@on_virtual_clock
async def test_outcomes_come_while_the_source_still_thinks() -> None:
    async def rows() -> AsyncIterator[ClaimRequest]:
        for row in make_rows(3):
            yield row
            await asyncio.sleep(100)

    async with make_client(ScriptedTransport()).claim_many(rows()) as run:
        times = [now() - START async for _ in run]

    assert times == pytest.approx([0.05, 100.05, 200.05])


# What ends a run


@pytest.mark.parametrize("item", [None, "662749408fe258516a88fe89", 7, ("a", "Loyalty", "1"), {}])
@pytest.mark.parametrize("kind", ["sync", "async"])
@on_virtual_clock
async def test_an_item_that_is_no_request_ends_the_run_with_a_clear_error(
    item: Any, kind: str
) -> None:
    items = [*make_rows(3), item, *make_rows(3, start=3)]

    async def asynchronously() -> AsyncIterator[ClaimRequest]:
        for each in items:
            yield each

    service = ScriptedTransport()
    seen: list[ClaimOutcome] = []
    source = items if kind == "sync" else asynchronously()

    with pytest.raises(InvalidInputError, match=f"not {type(item).__name__}"):
        await make_client(service).claim_all(source, on_outcome=seen.append)

    # Those before it were on the wire; nothing was sent after it.
    assert {outcome.request for outcome in seen} == set(items[:3])
    assert len(service.sent) == 3


@pytest.mark.parametrize("kind", ["sync", "async"])
@pytest.mark.parametrize("error", [LookupError("of the source"), OSError(5, "disk")])
@on_virtual_clock
async def test_a_source_that_raises_ends_the_run_with_its_own_error(
    kind: str, error: Exception
) -> None:
    def rows() -> Iterator[ClaimRequest]:
        yield from make_rows(5)
        raise error

    async def asynchronously() -> AsyncIterator[ClaimRequest]:
        for row in rows():
            await asyncio.sleep(0.01)
            yield row

    service = ScriptedTransport()
    source = rows() if kind == "sync" else asynchronously()
    run = make_client(service).claim_many(source, concurrency=2)
    seen = []

    with pytest.raises(type(error)) as caught:  # noqa: PT012
        async with run:
            async for outcome in run:
                seen.append(outcome)  # noqa: PERF401 - it raises

    assert caught.value is error
    # What was on the wire is delivered first, and counted.
    assert len(seen) == len(service.held) == 5
    assert (run.report.claimed, run.report.unsettled) == (5, 0)


@on_virtual_clock
async def test_a_source_that_is_cancelled_inside_does_not_look_like_an_end() -> None:
    feeding = asyncio.create_task(asyncio.sleep(3600))

    async def rows() -> AsyncIterator[ClaimRequest]:
        for row in make_rows(3):
            yield row
        await feeding
        for row in make_rows(3, start=3):
            yield row

    asyncio.get_running_loop().call_later(5, feeding.cancel)
    seen: list[ClaimOutcome] = []

    with pytest.raises(asyncio.CancelledError):
        await make_client(ScriptedTransport()).claim_all(rows(), on_outcome=seen.append)
    assert len(seen) == 3


@pytest.mark.parametrize(
    ("status", "error"), [(401, AuthenticationError), (403, PermissionDeniedError)]
)
@on_virtual_clock
async def test_no_right_to_claim_stops_the_run_at_once(status: int, error: type[Exception]) -> None:
    """F039, F098: the first claim that may not be made ends the run with its error, not a group."""

    def answer(sent: Sent) -> Reply:
        if sent.number > 20:
            return make_reply(status, b"")
        return well(sent)

    source, service = Endless(), ScriptedTransport(then=answer)
    run = make_client(service).claim_many(source, concurrency=6)
    seen = []

    with pytest.raises(error) as caught:  # noqa: PT012
        async with run:
            async for outcome in run:
                seen.append(outcome)  # noqa: PERF401 - it raises

    assert not isinstance(caught.value, BaseExceptionGroup)
    # Those that went well are all delivered; nothing was sent after the first no was read.
    assert {outcome.status for outcome in seen} == {ClaimStatus.CLAIMED}
    assert len(seen) == len(service.held) == 20
    assert len(service.sent) <= 20 + 6
    assert run.report.unsettled == source.pulled - 20
    assert not run.report.ok
    await asyncio.sleep(3600)
    assert len(service.sent) <= 20 + 6


@on_virtual_clock
async def test_those_on_the_wire_when_the_run_is_stopped_are_delivered_first() -> None:
    """F098: the siblings of a claim that ends the run keep their outcomes."""

    async def answer(sent: Sent) -> Reply:
        await asyncio.sleep(0 if sent.number == 3 else 5)
        return make_reply(403, b"") if sent.number == 3 else well(sent)

    service = ScriptedTransport(then=answer)
    seen: list[ClaimOutcome] = []

    with pytest.raises(PermissionDeniedError):
        await make_client(service).claim_all(make_rows(50), concurrency=4, on_outcome=seen.append)

    assert len(service.sent) == 4
    assert len(seen) == 3
    assert now() == pytest.approx(START + 5.05)


@on_virtual_clock
async def test_a_wrong_password_is_sent_no_more_often_than_there_are_workers() -> None:
    service = ScriptedTransport(then=refused(401, 401))

    with pytest.raises(AuthenticationError):
        await make_client(service).claim_all(make_rows(1000), concurrency=16)
    assert len(service.sent) == 16
