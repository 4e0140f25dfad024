"""A copy without its -wal never passes for complete; one that is complete does."""

# ruff: noqa: SLF001 - a file is copied at this very moment; the trace is on its connection

from __future__ import annotations

import contextlib
import sqlite3
from collections.abc import AsyncIterator
from pathlib import Path

import pytest

from badges_async.errors import LedgerCorruptError, LedgerLockedError
from badges_async.ledger import Ledger, LedgerReader, connection
from badges_async.ledger.records import State
from tests.ledger.support import (
    beside,
    child,
    claims,
    contents,
    copy,
    entries,
    killed,
    line,
    remove,
    running,
    settle_all,
    touch,
)

LACKS = "lacks its latest entries"


@contextlib.asynccontextmanager
async def in_use(path: Path) -> AsyncIterator[None]:
    async with running(path) as ledger:
        await settle_all(ledger, claims(*range(10)))
        yield


async def opens(path: Path) -> int:
    async with Ledger.open(path) as ledger:
        return (await ledger.standing()).total


async def is_refused(path: Path) -> None:
    for _ in range(2):  # a failed attempt must not make the next one succeed
        with pytest.raises(LedgerCorruptError, match=LACKS):
            LedgerReader.open(path)
        with pytest.raises(LedgerCorruptError, match=LACKS):
            await opens(path)


@pytest.mark.parametrize("suffixes", [(), ("-lock",), ("-shm",), ("-lock", "-shm")])
async def test_a_copy_without_its_wal_is_refused(tmp_path: Path, suffixes: tuple[str, ...]) -> None:
    path = tmp_path / "run.db"
    async with in_use(path):
        copies = [copy(path, tmp_path / "open", *suffixes)]
    killed(path)
    copies.append(copy(path, tmp_path / "killed", *suffixes))
    for each in copies:
        await is_refused(each)


async def test_also_after_another_program_has_looked_at_it(tmp_path: Path) -> None:
    path = tmp_path / "run.db"
    async with in_use(path):
        made = copy(path, tmp_path / "copy", "-lock")
    touch(made)
    await is_refused(made)


async def test_also_when_its_lock_was_copied_before_its_last_commits(tmp_path: Path) -> None:
    path = tmp_path / "run.db"
    async with in_use(path):
        made = copy(path, tmp_path / "copy", "-lock")
        with contextlib.closing(sqlite3.connect(path)) as other:
            other.execute("PRAGMA wal_checkpoint")
        remove([made])
        copy(path, tmp_path / "later")
        (tmp_path / "later" / "run.db").rename(made)
    # The count that was copied and the commits in the file are the same; what came after is not.
    await is_refused(made)


async def test_an_empty_wal_is_none(tmp_path: Path) -> None:
    path = tmp_path / "run.db"
    killed(path)
    [wal, lock] = beside(path, "-wal", "-lock")
    wal.write_bytes(b"")
    await is_refused(path)
    remove([lock])
    await is_refused(path)


@pytest.mark.parametrize("suffixes", [("-wal",), ("-wal", "-lock"), ("-wal", "-shm", "-lock")])
async def test_a_copy_with_its_wal_is_whole(tmp_path: Path, suffixes: tuple[str, ...]) -> None:
    path = tmp_path / "run.db"
    async with in_use(path):
        copies = [copy(path, tmp_path / "open", *suffixes)]
    killed(path)
    copies.append(copy(path, tmp_path / "killed", *suffixes))
    for each, total in zip(copies, (10, 110), strict=True):
        for _ in range(2):  # to read it must not take away what shows that it is whole
            assert len(entries(each)) == total
        assert await opens(each) == total
        assert await opens(each) == total


async def test_a_copy_of_one_that_was_closed_is_whole(tmp_path: Path) -> None:
    path = tmp_path / "run.db"
    async with in_use(path):
        pass
    made = copy(path, tmp_path / "copy")
    assert len(entries(made)) == 10
    assert await opens(made) == 10


async def test_a_copy_from_while_it_closes_says_so_only_when_it_is_whole(tmp_path: Path) -> None:
    """What is folded into the file page by page must not begin with "it was closed"."""
    path = tmp_path / "run.db"
    statements: list[str] = []
    async with running(path) as ledger:
        await ledger._writer.submit(  # type: ignore[union-attr]
            lambda store: store.connection.set_trace_callback(statements.append)
        )
    last = [each.split("VALUES")[0].strip() for each in statements[-3:]]
    fold = "PRAGMA wal_checkpoint(TRUNCATE)"
    assert last == [fold, "INSERT OR REPLACE INTO meta", fold]


async def test_another_program_may_tidy_up_after_a_crash(tmp_path: Path) -> None:
    path = tmp_path / "run.db"
    killed(path)
    touch(path)
    assert not beside(path, "-wal")[0].exists()
    assert len(entries(path)) == 110
    assert await opens(path) == 110


async def test_also_when_nothing_was_done_since_it_was_opened(tmp_path: Path) -> None:
    """What was counted before may be the count of another file."""
    path = tmp_path / "run.db"
    killed(path)
    made = copy(path, tmp_path / "copy", "-wal")
    with child(made, OPENS) as process:
        assert line(process) == "open"
    touch(made)
    assert len(entries(made)) == 110
    assert await opens(made) == 110


OPENS = """
async def main():
    async with Ledger.open(path):
        say("open")
        await asyncio.sleep(600)
asyncio.run(main())
"""


async def test_a_ledger_restored_from_a_clean_copy_is_taken(tmp_path: Path) -> None:
    """The count beside it is of commits that were thrown away on purpose."""
    path = tmp_path / "run.db"
    async with in_use(path):
        pass
    made = copy(path, tmp_path / "copy")
    killed(path)
    remove(beside(path, "-wal", "-shm"))
    path.write_bytes(made.read_bytes())
    assert len(entries(path)) == 10
    assert await opens(path) == 10


async def test_another_ledgers_count_says_nothing(tmp_path: Path) -> None:
    """In the place of a ledger, by the very same inode, lies another one with more commits."""
    path, other = tmp_path / "run.db", tmp_path / "other.db"
    async with running(other) as ledger:
        for number in range(50):
            await settle_all(ledger, claims(number))
        with contextlib.closing(sqlite3.connect(other)) as tidying:
            tidying.execute("PRAGMA wal_checkpoint")
        made = copy(other, tmp_path / "copy")
        await settle_all(ledger, claims("later"))
    killed(path)
    remove(beside(path, "-wal", "-shm"))
    with path.open("r+b") as file:
        file.truncate()
        file.write(made.read_bytes())
    await is_refused(path)


@pytest.mark.parametrize("cut", [1, 1000, 4096, 20_000])
async def test_of_a_torn_wal_only_the_last_commits_are_gone(tmp_path: Path, cut: int) -> None:
    """F105: whatever the cut, what is left is a prefix of what was recorded."""
    path = tmp_path / "run.db"
    async with running(path) as ledger:
        for number in range(40):
            await settle_all(ledger, claims(number))
        made = copy(path, tmp_path / "copy", "-wal", "-lock")
    [wal] = beside(made, "-wal")
    whole = wal.read_bytes()
    wal.write_bytes(whole[:-cut])
    async with Ledger.open(made):
        pass
    found = entries(made)
    assert list(found) == [str(number) for number in range(len(found))], "a prefix, nothing else"
    assert 20 < len(found) <= 40
    unsettled = [each for each in found.values() if each.outcome is None]
    assert len(unsettled) <= 1
    with contextlib.closing(sqlite3.connect(made)) as connection:
        assert connection.execute("PRAGMA integrity_check").fetchone() == ("ok",)


async def test_reading_a_crashed_ledger_changes_nothing_of_it(tmp_path: Path) -> None:
    path = tmp_path / "run.db"
    killed(path)
    before = contents(tmp_path)
    assert len(entries(path)) == 110
    after = contents(tmp_path)
    assert after["run.db"] == before["run.db"]
    assert after["run.db-wal"] == before["run.db-wal"]


async def test_a_reader_that_pins_the_start_is_not_passed_over(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    """Or the file alone would say that nobody uses it, and lack all that follows."""
    monkeypatch.setattr(connection, "_BUSY_SECONDS", 0.1)
    path = tmp_path / "run.db"
    killed(path)
    other = sqlite3.connect(path)
    with contextlib.closing(other):
        other.execute("BEGIN")
        other.execute("SELECT count(*) FROM claim").fetchone()
        with contextlib.closing(sqlite3.connect(path)) as writer:
            writer.execute("UPDATE meta SET value = 0 WHERE key = 'open'")
            writer.commit()
        with pytest.raises(LedgerLockedError, match="reads it"):
            await opens(path)
    assert await opens(path) == 110


async def test_states_are_numbers_that_the_file_keeps() -> None:
    assert [(state.name, state.value) for state in State] == [
        ("PENDING", 0),
        ("SENDING", 1),
        ("CLAIMED", 2),
        ("ALREADY_CLAIMED", 3),
        ("REJECTED", 4),
        ("FAILED", 5),
    ]
