"""The thread that writes: shared transactions, their order, cancelling, closing."""

# ruff: noqa: SLF001 - commits are counted on its connection

from __future__ import annotations

import asyncio
from collections.abc import Callable, Sequence
from pathlib import Path
from typing import Any

import pytest

from badges_async.errors import (
    InvalidInputError,
    LedgerCorruptError,
    LedgerError,
    LedgerFullError,
)
from badges_async.ledger import Ledger
from badges_async.ledger.book import Book
from badges_async.ledger.writer import Operation, Writer
from tests.ledger.support import Inline, claims, entries, inline, running, settle_all, settled
from tests.virtual_clock import START, now, on_virtual_clock


class FakeBook:
    """A book that keeps what it is told; `faults` are raised first, one for each commit."""

    def __init__(self, *faults: Exception) -> None:
        self.commits: list[list[Any]] = []
        self.faults = list(faults)
        self.closed = 0
        self.whole = True

    def commit(self, operations: Sequence[Operation[Any]]) -> list[Any]:
        if self.faults:
            raise self.faults.pop(0)
        self.commits.append([operation(None) for operation in operations])  # type: ignore[arg-type]
        return self.commits[-1]

    def close(self, rest: Sequence[Operation[Any]], *, whole: bool = True) -> None:
        self.whole = whole
        if rest:
            self.commit(rest)
        self.closed += 1


async def writer_on(book: FakeBook, seconds: float = 1.0) -> Writer:
    writer = Writer(lambda: book, Inline(seconds), Path("run.db"))
    await writer.open()
    return writer


def giving(value: int) -> Callable[[Any], int]:
    return lambda _: value


@on_virtual_clock
async def test_what_is_asked_for_during_a_commit_shares_the_next_one() -> None:
    book = FakeBook()
    writer = await writer_on(book)
    futures = [writer.submit(giving(0))]
    await asyncio.sleep(0.5)
    futures += [writer.submit(giving(number)) for number in range(1, 100)]
    assert await futures[0] == 0
    assert not futures[1].done()
    assert [await future for future in futures] == list(range(100))
    assert book.commits == [[0], list(range(1, 100))]
    assert now() == START + 3.0
    await writer.close()
    assert book.closed == 1


@on_virtual_clock
async def test_a_cancelled_future_changes_nothing_of_what_is_written() -> None:
    """F086: the commit goes on, and so does whoever waits beside the one that was cancelled."""
    book = FakeBook()
    writer = await writer_on(book)
    futures = [writer.submit(giving(number)) for number in range(4)]
    futures[0].cancel()  # in the transaction that runs
    futures[2].cancel()  # in the one to come
    await writer.close()
    assert book.commits == [[0], [1, 2, 3]]
    assert [future.cancelled() for future in futures] == [True, False, True, False]


@on_virtual_clock
async def test_after_a_failure_everything_fails_with_it() -> None:
    broken = LedgerCorruptError("broken")
    book = FakeBook(broken)
    writer = await writer_on(book)
    first, second = writer.submit(giving(1)), writer.submit(giving(2))
    for future in (first, second):
        with pytest.raises(LedgerCorruptError):
            await future
    assert writer.failure is broken
    assert writer.stalled
    with pytest.raises(LedgerCorruptError):
        await writer.submit(giving(3))
    with pytest.raises(LedgerCorruptError):
        await writer.well()
    await writer.close()
    assert writer.failure is broken
    assert (book.commits, book.closed) == ([], 1)


@on_virtual_clock
async def test_an_operation_with_a_fault_of_ours_is_a_failure_too() -> None:
    book = FakeBook()
    writer = await writer_on(book)
    with pytest.raises(LedgerError, match="ZeroDivisionError"):
        await writer.submit(lambda _: 1 // 0)
    assert isinstance(writer.failure, LedgerError)
    assert isinstance(writer.failure.__cause__, ZeroDivisionError)
    await writer.close()


@on_virtual_clock
async def test_a_full_disk_is_waited_for() -> None:
    book = FakeBook(*[LedgerFullError("full")] * 5)
    writer = await writer_on(book, 0.0)
    first = writer.submit(giving(1))
    await asyncio.sleep(0.25)
    second = writer.submit(giving(2))
    assert writer.stalled
    assert writer.failure is None
    await writer.well()
    assert not writer.stalled
    assert [await first, await second] == [1, 2]
    assert book.commits == [[1], [2]]
    assert now() == START + 2.5
    await writer.close()


@on_virtual_clock
async def test_a_full_disk_is_waited_for_anew_each_time() -> None:
    book = FakeBook()
    writer = await writer_on(book, 0.0)
    for number in range(3):
        book.faults = [LedgerFullError("full")] * 30
        assert await writer.submit(giving(number)) == number
        await asyncio.sleep(30)
    await writer.close()
    assert book.commits == [[0], [1], [2]]


@on_virtual_clock
async def test_a_disk_that_stays_full_is_given_up() -> None:
    book = FakeBook(*[LedgerFullError("full")] * 1000)
    writer = await writer_on(book, 0.0)
    with pytest.raises(LedgerFullError):
        await writer.submit(giving(1))
    assert now() == START + 20.0
    assert isinstance(writer.failure, LedgerFullError)
    await writer.close()


@pytest.mark.parametrize("moment", [0.5, 1.5, 2.5])
@on_virtual_clock
async def test_a_cancelled_close_still_writes_what_was_asked_for(moment: float) -> None:
    book = FakeBook()
    writer = await writer_on(book)
    futures = [writer.submit(giving(number)) for number in range(3)]
    closing = asyncio.get_running_loop().create_task(writer.close())
    await asyncio.sleep(moment)
    closing.cancel()
    with pytest.raises(asyncio.CancelledError):
        await closing
    assert [each for commit in book.commits for each in commit] == [0, 1, 2]
    assert book.closed == 1
    await asyncio.sleep(0)
    assert all(future.done() for future in futures), "nobody waits for ever"


@on_virtual_clock
async def test_a_close_that_is_cancelled_twice_ends_at_once() -> None:
    book = FakeBook()
    writer = await writer_on(book)
    future = writer.submit(giving(1))
    closing = asyncio.get_running_loop().create_task(writer.close())
    for _ in range(2):
        await asyncio.sleep(0.1)
        closing.cancel()
    with pytest.raises(asyncio.CancelledError):
        await closing
    assert now() == pytest.approx(START + 1.0 + 0.2)
    assert await future == 1
    await asyncio.sleep(1)
    assert book.closed == 1


@on_virtual_clock
async def test_a_close_that_is_cancelled_while_the_disk_is_full() -> None:
    """One last attempt, and nobody is left waiting."""
    book = FakeBook(*[LedgerFullError("full")] * 3)
    writer = await writer_on(book, 0.0)
    future = writer.submit(giving(1))
    closing = asyncio.get_running_loop().create_task(writer.close())
    await asyncio.sleep(1.25)
    assert len(book.faults) == 0
    closing.cancel()
    with pytest.raises(asyncio.CancelledError):
        await closing
    with pytest.raises(LedgerError, match="closed"):
        await future
    assert (book.commits, book.closed) == ([[1]], 1)
    await asyncio.sleep(60)  # no timer is left that would write to what is closed


@on_virtual_clock
async def test_a_close_that_is_cancelled_during_a_commit_that_fails() -> None:
    book = FakeBook(LedgerFullError("full"))
    writer = await writer_on(book)
    future = writer.submit(giving(1))
    closing = asyncio.get_running_loop().create_task(writer.close())
    await asyncio.sleep(0.5)
    closing.cancel()
    with pytest.raises(asyncio.CancelledError):
        await closing
    with pytest.raises(LedgerFullError):
        await future
    assert book.closed == 1
    await asyncio.sleep(60)  # no timer is left that would write to what is closed


@pytest.mark.parametrize("seconds", [0.5, 1.0])
@on_virtual_clock
async def test_an_opening_that_is_cancelled_is_closed_again(seconds: float) -> None:
    book = FakeBook()
    opened = 0

    def open_book() -> FakeBook:
        nonlocal opened
        opened += 1
        return book

    writer = Writer(open_book, Inline(1.0), Path("run.db"))
    with pytest.raises(TimeoutError):
        async with asyncio.timeout(seconds):
            await writer.open()
    await asyncio.sleep(2)
    assert book.closed == opened
    with pytest.raises(LedgerError, match="closed"):
        await writer.submit(giving(1))


# The same with a real file.


async def test_commits_are_shared_on_a_real_file(tmp_path: Path) -> None:
    statements: list[str] = []
    async with running(tmp_path / "run.db") as ledger:
        assert ledger._writer is not None
        await ledger._writer.submit(
            lambda store: store.connection.set_trace_callback(statements.append)
        )
        async with asyncio.TaskGroup() as group:
            for number in range(200):
                group.create_task(settle_all(ledger, claims(number)))
        await ledger._writer.submit(lambda store: store.connection.set_trace_callback(None))
    # One for the first lease, one for all others, and so on.
    assert statements.count("COMMIT") <= 8
    assert len(entries(tmp_path / "run.db")) == 200


async def test_closing_waits_for_what_nobody_waits_for(tmp_path: Path) -> None:
    async with running(tmp_path / "run.db") as ledger:
        found = await ledger.lease(claims(*range(100)), 100)
        for each in found[:50]:
            ledger.settle_soon([settled(each.id)])
        ledger.release_soon([(each.id, False) for each in found[50:]])
    outcomes = [entry.outcome for entry in entries(tmp_path / "run.db").values()]
    assert sum(outcome is not None for outcome in outcomes) == 50


async def test_a_cancelled_block_leaves_no_lock_and_loses_nothing(tmp_path: Path) -> None:
    path = tmp_path / "run.db"
    inside = asyncio.Event()

    async def use() -> None:
        async with running(path) as ledger:
            found = await ledger.lease(claims(*range(100)), 100)
            inside.set()
            try:
                await asyncio.sleep(60)
            finally:
                for each in found:
                    ledger.settle_soon([settled(each.id)])

    async with asyncio.TaskGroup() as group:
        task = group.create_task(use())
        await inside.wait()
        task.cancel()
        await asyncio.sleep(0)
        task.cancel()  # in the middle of closing
        await asyncio.wait([task])
        async with Ledger.open(path) as ledger:
            assert (await ledger.standing()).settled == 100


@on_virtual_clock
async def test_a_ledger_on_a_virtual_clock(tmp_path: Path) -> None:
    async with running(tmp_path / "run.db", ports=inline(0.01)) as ledger:
        await settle_all(ledger, claims(*range(10)))
        assert now() == pytest.approx(START + 0.04)
        assert (await ledger.standing()).settled == 10


async def test_what_is_asked_of_a_closed_one(tmp_path: Path) -> None:
    ledger = Ledger.open(tmp_path / "run.db")
    assert ledger.stalled
    assert ledger.failure is None
    for early in (
        ledger.begin_run("h", "a"),
        ledger.load(claims(1)),
        ledger.standing(),
        ledger.well(),
    ):
        with pytest.raises(InvalidInputError, match="not open"):
            await early
    async with ledger:
        await ledger.begin_run("h", "a")
        found = await ledger.lease(claims(1), 1)
    assert ledger.stalled
    assert isinstance(ledger.failure, LedgerError)
    ledger.settle_soon([settled(found[0].id)])
    ledger.release_soon([(found[0].id, True)])
    ledger.record_pause_soon(1.0)
    ledger.record_rate_soon(1.0)
    ledger.restamp_soon(1, 1.0, 1)
    for late in (
        ledger.settle([settled(found[0].id)]),
        ledger.lease(claims(1), 1),
        ledger.record_send(1.0, 1),
        ledger.memory(),
        ledger.standing(),
        ledger.well(),
        ledger.load(claims(2)),
    ):
        with pytest.raises(LedgerError, match="closed"):
            await late
    with pytest.raises(InvalidInputError, match="once"):
        async with ledger:
            pass
    assert entries(tmp_path / "run.db")["1"].in_doubt


async def test_an_opening_that_fails_leaves_nothing_open(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    path = tmp_path / "run.db"
    with monkeypatch.context() as patch:
        patch.setattr(Book, "_begin", lambda _: 1 // 0)
        with pytest.raises(ZeroDivisionError):
            async with Ledger.open(path):
                pass
    async with Ledger.open(path):
        pass
