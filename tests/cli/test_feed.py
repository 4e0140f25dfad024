"""Rows on their way into a run: from a file, and from a pipe that takes its time."""

from __future__ import annotations

import asyncio
import contextlib
import os
import threading
from collections.abc import Iterator
from pathlib import Path

import pytest

from badges_async.cli.feed import Feed
from badges_async.cli.files import RowFile
from badges_async.cli.rows import BadRow, Row
from badges_async.cli.tally import Tally
from tests.cli.conftest import HEADER, claims, write_csv


class Pipe:
    """A named pipe, and the row file that reads it."""

    def __init__(self, path: Path) -> None:
        os.mkfifo(path)
        # Opened for both, so that neither end waits for the other.
        self._end = os.open(path, os.O_RDWR)
        self.write(",".join(HEADER))
        self.file = RowFile(str(path), "csv")

    def write(self, line: str) -> None:
        os.write(self._end, f"{line}\n".encode())

    def close(self) -> None:
        """Let whoever still reads come to an end."""
        os.close(self._end)
        for thread in threading.enumerate():
            if thread.name == "rows":
                thread.join()
        self.file.close()


@contextlib.contextmanager
def feed_of(path: Path, tally: Tally) -> Iterator[Feed]:
    with contextlib.closing(RowFile(str(path))) as file:
        yield Feed(file, tally)


@pytest.fixture
def pipe(tmp_path: Path) -> Iterator[Pipe]:
    pipe = Pipe(tmp_path / "rows")
    yield pipe
    pipe.close()


async def test_good_rows_come_out_and_bad_ones_are_entered(tmp_path: Path) -> None:
    """The books hold both, and know when the file is at its end."""
    path = write_csv(tmp_path / "c.csv", [*claims(2), ("b",), *claims(1)])
    tally = Tally()

    with feed_of(path, tally) as feed:
        rows = [row async for row in feed]

    assert [row.line for row in rows] == [2, 3, 5]
    assert (tally.good_rows, tally.bad_rows, tally.last_line) == (3, 1, 5)
    assert tally.exhausted


async def test_many_bad_rows_do_not_hold_up_the_event_loop(tmp_path: Path) -> None:
    """Others get a turn while a file of nothing but bad rows is read."""
    path = write_csv(tmp_path / "c.csv", [("b",)] * 5000)
    tally = Tally()
    seen: list[int] = []

    async def other() -> None:
        while not tally.exhausted:
            seen.append(tally.bad_rows)
            await asyncio.sleep(0)

    with feed_of(path, tally) as feed:
        async with asyncio.TaskGroup() as group:
            group.create_task(other())
            assert [row async for row in feed] == []

    assert tally.bad_rows == 5000
    assert len(set(seen)) > 10


async def test_a_row_of_a_pipe_comes_when_it_is_written(pipe: Pipe) -> None:
    """A row does not wait for the next one, nor the event loop for a row."""
    feed = Feed(pipe.file, Tally())
    for number in range(3):
        waiting = asyncio.ensure_future(anext(feed))
        await asyncio.sleep(0)
        assert not waiting.done()
        pipe.write(f"b1,Loyalty,{number}")
        assert (await waiting).reference_id == str(number)


async def test_a_wait_for_a_pipe_can_be_cancelled(pipe: Pipe) -> None:
    """A writer that says nothing keeps nobody; the row that comes after all is not lost."""
    tally = Tally()
    feed = Feed(pipe.file, tally)
    waiting = asyncio.ensure_future(anext(feed))
    await asyncio.sleep(0)

    waiting.cancel()
    with pytest.raises(asyncio.CancelledError):
        await waiting

    assert not tally.exhausted
    pipe.write("b1,Loyalty,7")
    assert (await anext(feed)).reference_id == "7"


class _Rows:
    """Stands in for a pipe: rows, and then an end of some kind."""

    is_regular = False

    def __init__(self, count: int, error: Exception | None = None) -> None:
        self.taken = 0
        self._count = count
        self._error = error

    def __iter__(self) -> Iterator[Row | BadRow]:
        for number in range(self._count):
            self.taken += 1
            yield Row("b1", "Loyalty", str(number), number + 2)
        if self._error is not None:
            raise self._error


async def test_a_pipe_is_read_to_its_end_and_not_far_ahead() -> None:
    """All rows come in order; at most a bounded number waits."""
    source, tally = _Rows(5000), Tally()
    feed = Feed(source, tally)  # type: ignore[arg-type]
    count = 0
    async for row in feed:
        assert row.line == count + 2
        count += 1
        assert source.taken <= count + 1025

    assert count == 5000
    assert tally.exhausted


async def test_an_error_of_the_pipe_comes_after_its_rows() -> None:
    """A pipe that breaks is not one that ends."""
    tally = Tally()
    feed = Feed(_Rows(3, OSError("broken")), tally)  # type: ignore[arg-type]
    rows = [await anext(feed) for _ in range(3)]

    with pytest.raises(OSError, match="broken"):
        await anext(feed)

    assert [row.line for row in rows] == [2, 3, 4]
    assert not tally.exhausted
