"""What the system does with a ledger's file that it hardly ever does."""

# ruff: noqa: ASYNC240, SLF001 - nothing else runs on the loop; rare things are made from inside

from __future__ import annotations

import asyncio
import contextlib
import fcntl
import logging
import os
import sqlite3
import tempfile
from collections.abc import Callable
from concurrent.futures import Executor, Future
from pathlib import Path
from typing import Any

import pytest

from badges_async.errors import (
    LedgerCorruptError,
    LedgerError,
    LedgerFullError,
    LedgerLockedError,
    LedgerLostError,
)
from badges_async.ledger import Ledger, LedgerReader, connection, schema
from badges_async.ledger.book import Book
from badges_async.ledger.faults import translated
from badges_async.ledger.lock import lock_path
from badges_async.ledger.writer import Writer
from tests.ledger.support import beside, claims, copy, entries, killed, running, settle_all, touch

Connect = Callable[..., sqlite3.Connection]


def connecting(monkeypatch: pytest.MonkeyPatch, change: Callable[[Connect], Connect]) -> None:
    """Let the files be opened by what *change* makes of sqlite3's own function."""
    monkeypatch.setattr(sqlite3, "connect", change(sqlite3.connect))


async def test_a_file_system_without_shared_memory(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    """F118: there SQLite keeps no -wal, and says so by going on without one."""

    def change(connect: Connect) -> Connect:
        def without(name: str, **options: Any) -> sqlite3.Connection:
            return connect(f"{name}&vfs=unix-dotfile" if "mode=" in name else name, **options)

        return without

    with monkeypatch.context() as patched:
        connecting(patched, change)
        with pytest.raises(LedgerError, match="cannot hold a ledger"):
            async with Ledger.open(tmp_path / "run.db"):
                pass
    assert connection._open == []
    async with running(tmp_path / "run.db") as ledger:
        await settle_all(ledger, claims(1))


async def test_a_file_that_is_removed_while_it_is_opened(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    """Nothing is written to what nobody finds again; what was there can be read."""
    path = tmp_path / "run.db"

    def change(connect: Connect) -> Connect:
        def removing(name: str, **options: Any) -> sqlite3.Connection:
            opened = connect(name, **options)
            opened.execute("PRAGMA user_version").fetchone()
            if "mode=" in name:
                path.unlink()
            return opened

        return removing

    async with running(path) as ledger:
        await settle_all(ledger, claims(1))
    kept = path.read_bytes()
    with monkeypatch.context() as patched:
        connecting(patched, change)
        assert list(entries(path)) == ["1"]
        path.write_bytes(kept)
        with pytest.raises(LedgerLostError, match="removed or replaced"):
            async with Ledger.open(path):
                pass
    assert connection._open == []
    path.write_bytes(kept)
    async with running(path) as ledger:
        await settle_all(ledger, claims(2))
    assert list(entries(path)) == ["1", "2"]


async def test_a_transaction_that_sqlite_took_back_by_itself(tmp_path: Path) -> None:
    """It is not taken back a second time, which would hide why it failed."""
    book = Book(tmp_path / "run.db")
    twice = "INSERT OR ROLLBACK INTO meta (key, value) VALUES ('open', 1)"
    with pytest.raises(sqlite3.IntegrityError):
        book.commit([lambda store: store.connection.execute(twice)])
    assert book.commit([lambda store: store.meta("open")]) == [schema.IN_USE]
    book.close()


async def test_a_reader_at_the_end_of_a_run_does_not_let_it_pass_for_complete(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    """F109: what the reader keeps in the -wal would be missing in a copy of the file alone."""
    monkeypatch.setattr(connection, "_BUSY_SECONDS", 0.05)
    path = tmp_path / "run.db"
    with contextlib.ExitStack() as stack:
        async with running(path) as ledger:
            reader = stack.enter_context(contextlib.closing(sqlite3.connect(path)))
            reader.execute("BEGIN")
            reader.execute("SELECT count(*) FROM claim").fetchone()
            await settle_all(ledger, claims(1))
        alone = copy(path, tmp_path / "copy")
        with contextlib.closing(sqlite3.connect(path)) as stranger:
            state = stranger.execute("SELECT value FROM meta WHERE key = 'open'").fetchone()
        assert state == (schema.IN_USE,)
        assert list(entries(path)) == ["1"]
    with pytest.raises(LedgerCorruptError, match="lacks its latest entries"):
        LedgerReader.open(alone)
    async with running(path):
        pass
    assert list(entries(copy(path, tmp_path / "again"))) == ["1"]


async def test_a_file_that_cannot_be_closed_keeps_no_lock(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch, caplog: pytest.LogCaptureFixture
) -> None:
    path = tmp_path / "run.db"

    def close(self: connection._Connection) -> None:
        own_close(self)
        raise sqlite3.OperationalError("disk I/O error")

    own_close = connection._Connection.close
    with monkeypatch.context() as patched:
        async with running(path) as ledger:
            await settle_all(ledger, claims(1))
            patched.setattr(connection._Connection, "close", close)
    assert [record.message for record in caplog.records] == [f"{path}: disk I/O error"]
    async with running(path) as ledger:
        assert (await ledger.standing()).settled == 1


@pytest.mark.parametrize("left", [b"", b"badges", b"\0" * 400])
async def test_a_count_that_was_cut_off_is_none(tmp_path: Path, left: bytes) -> None:
    """Without it nobody knows whether a ledger that was in use has all that was done."""
    path = tmp_path / "run.db"
    killed(path)
    touch(path)  # which tidies the -wal away
    lock_path(path).write_bytes(left)
    with pytest.raises(LedgerCorruptError, match="lacks its latest entries"):
        LedgerReader.open(path)


@pytest.mark.parametrize("may_write", ["nothing", "file", "folder"])
async def test_who_may_not_write_leaves_no_file_beside_a_ledger(
    may_write: str, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    """F112: also as root, who may write where the mount says no."""

    def access(place: Path, _: int) -> bool:
        return may_write == ("folder" if place.is_dir() else "file")

    path = tmp_path / "run.db"
    async with running(path) as ledger:
        await settle_all(ledger, claims(1))
    monkeypatch.setattr(os, "access", access)
    with LedgerReader.open(path) as reader:
        assert reader.standing().settled == 1
        assert {file.name for file in tmp_path.iterdir()} == {"run.db", "run.db-lock"}
    beside(path, "-wal")[0].touch()
    assert list(entries(path)) == ["1"]


async def test_who_may_not_write_reads_what_is_written_meanwhile(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    path = tmp_path / "run.db"
    async with running(path) as ledger:
        await settle_all(ledger, claims(1))
        with contextlib.closing(sqlite3.connect(path)) as tidying:
            tidying.execute("PRAGMA wal_checkpoint(TRUNCATE)")
        assert beside(path, "-wal")[0].stat().st_size == 0
        monkeypatch.setattr(os, "access", lambda *_: False)
        with LedgerReader.open(path) as reader:
            await settle_all(ledger, claims(2))
            assert reader.standing().settled == 2


@pytest.mark.skipif(not Path("/proc/self/fd").exists(), reason="needs Linux to count descriptors")
async def test_ledgers_that_were_opened_or_refused_leave_no_descriptor(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    def flock(_: int, __: int) -> None:
        raise OSError(95, "Operation not supported")

    path, no_ledger = tmp_path / "run.db", tmp_path / "notes.txt"
    no_ledger.write_text("no ledger")
    async with running(path) as ledger:
        await settle_all(ledger, claims(1))
    before = os.listdir("/proc/self/fd")  # noqa: PTH208 - a path would open one more
    for number in range(5):
        async with running(tmp_path / f"run-{number}.db"):
            pass
        with pytest.raises(LedgerError):
            LedgerReader.open(no_ledger)
        with LedgerReader.open(path):
            pass
        async with running(path):
            with pytest.raises(LedgerLockedError):
                async with Ledger.open(path):
                    pass
        with monkeypatch.context() as patched:
            patched.setattr(fcntl, "flock", flock)
            with pytest.raises(LedgerError, match="not supported"):
                async with Ledger.open(path):
                    pass
    assert len(os.listdir("/proc/self/fd")) == len(before)  # noqa: PTH208


async def test_no_room_for_a_file_of_any_size(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    def mkstemp(**_: object) -> tuple[int, str]:
        raise OSError(28, "No space left on device")

    monkeypatch.setattr(tempfile, "mkstemp", mkstemp)
    with pytest.raises(LedgerError, match=r"cannot make .*run\.db: No space left"):
        async with Ledger.open(tmp_path / "run.db"):
            pass
    assert [file.name for file in tmp_path.iterdir()] == ["run.db-lock"]


def test_a_file_that_cannot_be_read(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    def read(handle: int, size: int) -> bytes:
        del handle, size
        raise OSError(5, "Input/output error")

    path = tmp_path / "run.db"
    path.touch()
    monkeypatch.setattr(os, "read", read)
    with pytest.raises(LedgerError, match=r"cannot read .*run\.db: Input/output error"):
        LedgerReader.open(path)


def test_a_disk_that_fails_while_a_ledger_is_read(tmp_path: Path) -> None:
    """It is not taken for one that cannot be written, which would come by itself."""

    class Failing:
        in_transaction = False

        def execute(self, *_: object) -> None:
            error = sqlite3.OperationalError("disk I/O error")
            error.sqlite_errorcode = sqlite3.SQLITE_IOERR
            raise error

    path = tmp_path / "run.db"
    Book(path).close()
    with LedgerReader.open(path) as reader:
        whole, reader._store.connection = reader._store.connection, Failing()  # type: ignore[assignment]
        for read in (reader.standing, lambda: list(reader.entries())):
            with pytest.raises(LedgerError, match="the ledger cannot be read: disk I/O") as caught:
                read()
            assert type(caught.value) is LedgerError
        reader._store.connection = whole


async def test_a_new_ledger_is_named_on_disk_before_it_is_used(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    """After a power cut a file is only there when its folder was written."""
    synced: list[int] = []
    fsync = os.fsync

    def note(handle: int) -> None:
        synced.append(os.fstat(handle).st_ino)
        fsync(handle)

    monkeypatch.setattr(os, "fsync", note)
    async with running(tmp_path / "run.db"):
        assert synced[-1] == tmp_path.stat().st_ino


class Held(Executor):
    """An executor whose calls are made when it is told."""

    def __init__(self) -> None:
        self.calls: list[tuple[Future[Any], Callable[[], Any]]] = []

    def submit(self, fn: Callable[..., Any], /, *args: Any, **kwargs: Any) -> Future[Any]:
        self.calls.append((Future(), lambda: fn(*args, **kwargs)))
        return self.calls[-1][0]

    def work(self) -> None:
        future, call = self.calls.pop(0)
        future.set_result(call())


def test_a_loop_that_ends_before_the_disk_has_written(
    tmp_path: Path, caplog: pytest.LogCaptureFixture
) -> None:
    """The thread neither fails nor drops what it was given."""
    path, executor = tmp_path / "run.db", Held()

    async def write() -> Writer:
        writer = Writer(lambda: Book(path), executor, path)
        opening = asyncio.ensure_future(writer.open())
        await asyncio.sleep(0)
        executor.work()
        await opening
        writer.submit(lambda store: store.set_meta("open", schema.LACKING))
        return writer

    writer = asyncio.run(write())
    with caplog.at_level(logging.DEBUG, "badges_async"):
        executor.work()
    assert [record.levelname for record in caplog.records] == ["DEBUG"]
    book: Any = writer._book
    assert book.commit([lambda store: store.meta("open")]) == [schema.LACKING]
    book.close()


@pytest.mark.parametrize(
    ("code", "reading", "kind"),
    [
        (sqlite3.SQLITE_BUSY, False, LedgerLockedError),
        (sqlite3.SQLITE_CORRUPT, True, LedgerCorruptError),
        (sqlite3.SQLITE_NOTADB, False, LedgerCorruptError),
        (sqlite3.SQLITE_IOERR_READ, True, LedgerError),
        (sqlite3.SQLITE_CANTOPEN, True, LedgerError),
        (sqlite3.SQLITE_FULL, False, LedgerFullError),
        (sqlite3.SQLITE_IOERR_WRITE, False, LedgerFullError),
        (sqlite3.SQLITE_READONLY, False, LedgerError),
        (None, False, LedgerError),
    ],
)
def test_what_sqlite_says_comes_as_the_error_that_it_is(
    code: int | None,
    reading: bool,  # noqa: FBT001
    kind: type[LedgerError],
) -> None:
    error = sqlite3.OperationalError("words")
    if code is not None:
        error.sqlite_errorcode = code
    expected = pytest.raises(LedgerError, match=r"^/run\.db: ")
    with expected as caught, translated(Path("/run.db"), reading=reading):
        raise error
    assert type(caught.value) is kind
    assert caught.value.__cause__ is error


def test_a_ledger_says_where_it_is() -> None:
    assert repr(Ledger.open("/tmp/run.db")) == "Ledger('/tmp/run.db')"  # noqa: S108 - never opened
