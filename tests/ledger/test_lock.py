"""One process at a time: who is refused, how soon, and when it is free again."""

from __future__ import annotations

import asyncio
import fcntl
import os
import signal
import time
from pathlib import Path

import pytest

from badges_async.errors import LedgerError, LedgerLockedError
from badges_async.ledger import Ledger, lock
from badges_async.ledger.lock import lock_path
from tests.ledger.support import HOLDS, child, claims, contents, entries, line, running


async def refused(path: Path) -> str:
    began = time.monotonic()
    with pytest.raises(LedgerLockedError) as caught:
        async with Ledger.open(path):
            pass
    assert time.monotonic() - began < 1.0
    return str(caught.value)


async def test_a_second_one_in_the_same_process_is_told_who_has_it(tmp_path: Path) -> None:
    path = tmp_path / "run.db"
    async with Ledger.open(path):
        assert f"process {os.getpid()} " in await refused(path)
        assert f"process {os.getpid()} ".encode() in lock_path(path).read_bytes()
    assert b"process" not in lock_path(path).read_bytes(), "it is nobody's"
    async with Ledger.open(path):
        pass


async def test_another_process_has_it_until_it_is_killed(tmp_path: Path) -> None:
    """F113: its holder is named, and after a kill it is free at once."""
    path = tmp_path / "run.db"
    with child(path, HOLDS) as process:
        assert line(process) == f"ready {process.pid}"
        assert f"process {process.pid} " in await refused(path)
        assert len(entries(path)) == 110
        os.kill(process.pid, signal.SIGKILL)
        process.wait()
        async with Ledger.open(path) as ledger:
            assert (await ledger.standing()).in_doubt == 10


@pytest.mark.parametrize("left", [b"", bytes(16), b"\xff" * 300, "näme\x1b[2J".encode()])
async def test_a_name_that_cannot_be_read_is_another_process(tmp_path: Path, left: bytes) -> None:
    path = tmp_path / "run.db"
    async with Ledger.open(path):
        with lock.lock_path(path).open("r+b") as file:
            file.truncate(40)
            file.seek(40)
            file.write(left)
        assert await refused(path) == f"{path} is in use by another process"


async def test_two_that_open_at_once(tmp_path: Path) -> None:
    """One of them gets it, the other one is told."""

    async def use() -> bool:
        try:
            async with Ledger.open(tmp_path / "run.db"):
                await asyncio.sleep(0.2)
        except LedgerLockedError:
            return False
        return True

    async with asyncio.TaskGroup() as group:
        tasks = [group.create_task(use()) for _ in range(8)]
    assert sum(task.result() for task in tasks) == 1


async def test_a_refused_one_leaves_the_lock_to_its_holder(tmp_path: Path) -> None:
    path = tmp_path / "run.db"
    async with Ledger.open(path):
        for _ in range(3):
            await refused(path)


async def test_what_is_no_lock_is_not_written_over(tmp_path: Path) -> None:
    (tmp_path / "run.db-lock").write_text("somebody's own file")
    with pytest.raises(LedgerError, match="not a ledger's lock"):
        async with Ledger.open(tmp_path / "run.db"):
            pass
    assert contents(tmp_path) == {"run.db-lock": b"somebody's own file"}


async def test_a_planted_link_is_not_followed(tmp_path: Path) -> None:
    precious = tmp_path / "precious"
    precious.touch()
    (tmp_path / "run.db-lock").symlink_to(precious)
    with pytest.raises(LedgerError, match="cannot make"):
        async with Ledger.open(tmp_path / "run.db"):
            pass
    assert precious.read_bytes() == b""


async def test_a_file_system_without_locks(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    def flock(_: int, __: int) -> None:
        raise OSError(95, "Operation not supported")

    monkeypatch.setattr(fcntl, "flock", flock)
    with pytest.raises(LedgerError, match="Operation not supported") as caught:
        async with Ledger.open(tmp_path / "run.db"):
            pass
    assert type(caught.value) is LedgerError


async def test_a_count_that_cannot_be_written_stops_nothing(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    def pwrite(*_: object) -> int:
        raise OSError(28, "No space left on device")

    async with running(tmp_path / "run.db") as ledger:
        monkeypatch.setattr(os, "pwrite", pwrite)
        assert await ledger.load(claims(1, 2)) == 2
    assert len(entries(tmp_path / "run.db")) == 2
