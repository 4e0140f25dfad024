"""Disks without room, other programs' locks, files that are taken away under a run."""

# ruff: noqa: ASYNC240, SLF001 - nothing else runs on the loop; room is taken on its connection

from __future__ import annotations

import asyncio
import contextlib
import sqlite3
from collections.abc import Iterator
from pathlib import Path
from typing import Any

import pytest

from badges_async.errors import (
    LedgerCorruptError,
    LedgerFullError,
    LedgerLockedError,
    LedgerLostError,
)
from badges_async.ledger import Ledger, book, connection, schema, writer
from tests.kill_helpers import lag
from tests.ledger.support import (
    beside,
    child,
    claims,
    entries,
    inline,
    killed,
    running,
    settle_all,
)
from tests.virtual_clock import START, now, on_virtual_clock


async def room(ledger: Ledger, pages: int) -> None:
    """Let the file have only so many *pages* more."""
    assert ledger._writer is not None

    def limit(store: Any) -> None:
        (count,) = store.connection.execute("PRAGMA page_count").fetchone()
        store.connection.execute(f"PRAGMA max_page_count = {count + pages}")

    await ledger._writer.submit(limit)


def more_room(ledger: Ledger) -> None:
    """Give the disk room again, past the writer that waits for it."""
    book: Any = ledger._writer._book  # type: ignore[union-attr]
    book._connection.execute("PRAGMA max_page_count = 1000000")


@on_virtual_clock
async def test_a_run_goes_on_by_itself_when_there_is_room_again(tmp_path: Path) -> None:
    """F111: a full disk is waited for, and every outcome is recorded once."""
    path = tmp_path / "run.db"
    async with running(path, ports=inline(0.001)) as ledger:
        await room(ledger, 2)
        loop = asyncio.get_running_loop()
        loading = loop.create_task(settle_all(ledger, claims(*range(2000))))
        await asyncio.sleep(1)
        assert ledger.stalled
        assert ledger.failure is None
        sending = loop.create_task(ledger.record_send(now(), 100))
        await asyncio.sleep(5)
        assert not sending.done()
        more_room(ledger)
        await ledger.well()
        assert not ledger.stalled
        await loading
        assert await sending == 1
    found = entries(path)
    assert len(found) == 2000
    assert all(entry.outcome and entry.outcome.attempts == 1 for entry in found.values())


@on_virtual_clock
async def test_a_run_is_given_up_when_there_is_no_room(tmp_path: Path) -> None:
    path = tmp_path / "run.db"
    async with running(path, ports=inline(0.001)) as ledger:
        await settle_all(ledger, claims("first"))
        await room(ledger, 2)
        began = now()
        with pytest.raises(LedgerFullError, match="full"):
            await ledger.lease(claims(*range(2000)), 2000)
        assert 19 < now() - began < 22
        with pytest.raises(LedgerFullError):
            await ledger.well()
    assert now() > START
    assert list(entries(path)) == ["first"]


async def test_no_room_to_make_it(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    tables = "PRAGMA max_page_count = 3;" + schema._TABLES
    monkeypatch.setattr(schema, "_TABLES", tables)
    with pytest.raises(LedgerFullError):
        async with Ledger.open(tmp_path / "run.db"):
            pass
    assert [file.name for file in tmp_path.iterdir()] == ["run.db-lock"]


LIMITED = """
import resource, signal
from badges_async.errors import LedgerFullError
signal.signal(signal.SIGXFSZ, signal.SIG_IGN)
from badges_async.ledger import writer
writer._REST, writer._PATIENCE = 0.05, 0.3
async def main():
    async with running(path) as ledger:
        await settle_all(ledger, claims(*range(100)))
        resource.setrlimit(resource.RLIMIT_FSIZE, (60_000, resource.RLIM_INFINITY))
        done = 100
        try:
            while True:
                await settle_all(ledger, claims(*range(done, done + 10)))
                done += 10
        except LedgerFullError:
            say(done, ledger.stalled)
asyncio.run(main())
"""


def test_a_file_that_may_not_grow(tmp_path: Path) -> None:
    """F110: SQLITE_IOERR_WRITE in the middle of the -wal; what was acknowledged is there."""
    path = tmp_path / "run.db"
    with child(path, LIMITED) as process:
        assert process.stdout is not None
        done, stalled = process.stdout.read().split()
    assert stalled == "True"
    assert int(done) >= 100
    found = entries(path)
    assert all(found[str(number)].outcome for number in range(int(done)))
    assert len(found) <= int(done) + 10
    asyncio.run(goes_on(path))


async def goes_on(path: Path) -> None:
    async with running(path) as ledger:
        await settle_all(ledger, claims("later"))
    assert entries(path)["later"].outcome


@contextlib.contextmanager
def locked(path: Path) -> Iterator[sqlite3.Connection]:
    with contextlib.closing(sqlite3.connect(path, isolation_level=None)) as other:
        other.execute("BEGIN IMMEDIATE")
        yield other


@pytest.mark.slow
async def test_a_lock_of_another_program_is_waited_for(tmp_path: Path) -> None:
    """F108: held for three seconds, off the loop, and then all goes on."""
    path = tmp_path / "run.db"
    async with running(path) as ledger, lag() as late, asyncio.TaskGroup() as group:
        with locked(path):
            task = group.create_task(settle_all(ledger, claims(1)))
            await asyncio.sleep(3)
            assert not task.done()
        await task
    assert entries(path)["1"].outcome
    assert sorted(late)[len(late) * 9 // 10] < 0.05


async def test_a_lock_of_another_program_that_stays(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    """F108: held for longer than the ledger's patience, it ends what is recorded."""
    monkeypatch.setattr(connection, "_BUSY_SECONDS", 0.1)
    monkeypatch.setattr(writer, "_REST", 0.01)
    monkeypatch.setattr(writer, "_PATIENCE", 0.3)
    path = tmp_path / "run.db"
    async with running(path) as ledger, lag() as late:
        await settle_all(ledger, claims(1))
        with locked(path):
            with pytest.raises(LedgerLockedError, match="another program"):
                await ledger.lease(claims(2), 1)
            assert isinstance(ledger.failure, LedgerLockedError)
    assert sorted(late)[len(late) // 2] < 0.05
    assert list(entries(path)) == ["1"]


async def test_a_lock_of_another_program_when_it_is_opened(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr(connection, "_BUSY_SECONDS", 0.1)
    path = tmp_path / "run.db"
    async with running(path):
        pass
    with locked(path), pytest.raises(LedgerLockedError, match="another program"):
        async with Ledger.open(path):
            pass
    async with Ledger.open(path):
        pass
    assert connection._open == []


async def test_a_lock_of_another_program_when_it_is_closed(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    """What was written is there; that nobody uses it any more is not."""
    monkeypatch.setattr(connection, "_BUSY_SECONDS", 0.1)
    path = tmp_path / "run.db"
    with contextlib.ExitStack() as stack:
        async with running(path) as ledger:
            await settle_all(ledger, claims(1))
            stack.enter_context(locked(path))
    assert entries(path)["1"].outcome
    async with running(path) as ledger:
        await settle_all(ledger, claims(2))
    assert list(entries(path)) == ["1", "2"]


TAKEN: list[tuple[str, Any]] = [
    ("removed", lambda path: path.unlink()),
    ("moved", lambda path: path.rename(path.with_name("moved.db"))),
    ("replaced by a text", lambda path: replaced(path, b"not ours")),
    ("replaced by a copy", lambda path: replaced(path, path.read_bytes())),
    ("its -wal removed", lambda path: beside(path, "-wal")[0].unlink()),
    ("its -wal replaced", lambda path: replaced(beside(path, "-wal")[0], b"")),
    ("its -lock removed", lambda path: beside(path, "-lock")[0].unlink()),
]


def replaced(file: Path, content: bytes) -> None:
    new = file.with_name("new")
    new.write_bytes(content)
    new.rename(file)


@pytest.mark.parametrize("take", [take for _, take in TAKEN], ids=[name for name, _ in TAKEN])
async def test_a_file_that_is_taken_away_stops_the_run(tmp_path: Path, take: Any) -> None:
    path = tmp_path / "run.db"
    async with running(path) as ledger:
        await settle_all(ledger, claims(1))
        take(path)
        before = path.read_bytes() if path.exists() else None
        with pytest.raises(LedgerLostError, match="removed or replaced"):
            await ledger.lease(claims(2), 1)
        assert isinstance(ledger.failure, LedgerLostError)
        assert (path.read_bytes() if path.exists() else None) == before
    if before is not None and before[:8] == b"not ours":
        assert path.read_bytes() == before
    assert connection._open == []


async def test_a_ledger_put_in_the_place_of_an_open_one_is_left_alone(tmp_path: Path) -> None:
    path, other = tmp_path / "run.db", tmp_path / "other" / "run.db"
    other.parent.mkdir()
    async with running(other) as ledger:
        await settle_all(ledger, claims("theirs"))
    async with running(path) as ledger:
        await settle_all(ledger, claims("ours"))
        replaced(path, other.read_bytes())
        before = path.read_bytes()
        with pytest.raises(LedgerLostError):
            await settle_all(ledger, claims("more"))
    assert path.read_bytes() == before


async def test_a_ledger_that_was_moved_is_not_touched_where_it_is_now(tmp_path: Path) -> None:
    """Somebody else may have opened it there; its -wal is still here."""
    path, moved = tmp_path / "run.db", tmp_path / "moved.db"
    async with running(path) as ledger:
        await settle_all(ledger, claims(1))
        path.rename(moved)
        before = moved.read_bytes()
        with pytest.raises(LedgerLostError):
            await settle_all(ledger, claims(2))
    assert moved.read_bytes() == before
    beside(path, "-wal")[0].rename(beside(moved, "-wal")[0])
    assert list(entries(moved)) == ["1"]


async def test_a_wal_that_was_removed_is_not_missed(tmp_path: Path) -> None:
    """SQLite has it open still, and folds it in at the end."""
    path = tmp_path / "run.db"
    async with running(path) as ledger:
        await settle_all(ledger, claims(*range(50)))
        beside(path, "-wal")[0].unlink()
        with pytest.raises(LedgerLostError):
            await settle_all(ledger, claims("more"))
    async with running(path):
        pass
    assert len(entries(path)) == 50


async def test_none_is_made_beside_the_wal_of_one_that_was_removed(tmp_path: Path) -> None:
    """SQLite would read that one's commits into the new file, as far as they go."""
    path = tmp_path / "run.db"
    killed(path)
    path.rename(tmp_path / "away.db")
    [wal] = beside(path, "-wal")
    before = wal.read_bytes()
    for _ in range(2):
        with pytest.raises(LedgerCorruptError, match=r"missing, and run\.db-wal beside it"):
            async with Ledger.open(path):
                pass
    assert not path.exists()
    assert wal.read_bytes() == before
    (tmp_path / "away.db").rename(path)
    async with Ledger.open(path) as ledger:
        assert (await ledger.standing()).total == 110


@pytest.mark.parametrize("left", ["-wal", "-shm", "-lock"])
async def test_one_is_made_beside_what_holds_nothing(tmp_path: Path, left: str) -> None:
    path = tmp_path / "run.db"
    [file] = beside(path, left)
    file.touch()
    async with Ledger.open(path) as ledger:
        assert (await ledger.standing()).total == 0


async def test_a_reader_that_pins_the_wal_is_reported_and_it_shrinks_after_that(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch, caplog: pytest.LogCaptureFixture
) -> None:
    """F109: it grows as long as the reader does not end, and that is said once."""
    monkeypatch.setattr(book, "_LARGE_WAL", 4_200_000)
    monkeypatch.setattr(book, "_LOOKED_AT_EVERY", 1)
    monkeypatch.setattr(connection, "_KEPT_WAL", 500_000)
    path = tmp_path / "run.db"
    [wal] = beside(path, "-wal")
    async with running(path) as ledger:
        with contextlib.closing(sqlite3.connect(path)) as reader:
            reader.execute("BEGIN")
            reader.execute("SELECT count(*) FROM claim").fetchone()
            for number in range(20):
                await settle_all(ledger, claims(*range(number * 1000, number * 1000 + 1000)))
            assert wal.stat().st_size > 4_200_000
        for step in ("folded in", "begun anew"):
            await settle_all(ledger, claims(step))
        assert wal.stat().st_size <= 500_000
    assert sum("grows" in record.message for record in caplog.records) == 1
    assert len(entries(path)) == 20_002
