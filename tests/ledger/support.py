"""What the tests of the ledger share: claims, executors, copies of files, other processes."""

from __future__ import annotations

import asyncio
import contextlib
import json
import shutil
import sqlite3
import subprocess
import sys
from collections.abc import AsyncIterator, Callable, Iterable, Iterator, Sequence
from concurrent.futures import Executor, Future
from pathlib import Path
from typing import Any

from badges_async.claims import ClaimRequest
from badges_async.enums import OwnerType
from badges_async.ledger import Ledger, LedgerEntry, LedgerReader
from badges_async.ledger.records import State
from badges_async.ports import Ports

HOST, ACCOUNT = "badges.test", "till-7@example.org"


def claims(*references: str | int) -> list[ClaimRequest]:
    """Give a claim for each of *references*."""
    return [ClaimRequest("65f1c2a94be7d0135a9c7e10", OwnerType.LOYALTY, str(r)) for r in references]


def settled(
    id_: int,
    state: State = State.CLAIMED,
    *,
    attempts: int = 1,
    recovered: bool = False,
    doubt: bool = False,
    error: Any = None,
) -> list[Any]:
    """Give the row of an outcome, as `Ledger.settle` takes it."""
    text = None if error is None else json.dumps(error)
    return [id_, state, attempts, int(recovered), int(doubt), text]


@contextlib.asynccontextmanager
async def running(path: Path, *, ports: Ports | None = None) -> AsyncIterator[Ledger]:
    """Open the ledger at *path* and begin a run in it."""
    async with Ledger.open(path, ports=ports) as ledger:
        await ledger.begin_run(HOST, ACCOUNT)
        yield ledger


async def settle_all(ledger: Ledger, requests: Sequence[ClaimRequest]) -> None:
    """Claim *requests*."""
    found = await ledger.lease(requests, len(requests))
    await ledger.settle([settled(each.id) for each in found])


def entries(path: Path) -> dict[str, LedgerEntry]:
    """Give what the ledger at *path* says, by reference."""
    with LedgerReader.open(path) as reader:
        return {entry.request.reference_id: entry for entry in reader.entries()}


def beside(path: Path, *suffixes: str) -> list[Path]:
    """Give the files of a ledger by their *suffixes*."""
    return [path.with_name(path.name + suffix) for suffix in suffixes]


def copy(path: Path, folder: Path, *suffixes: str) -> Path:
    """Copy a ledger with these of its files into a new *folder*."""
    folder.mkdir()
    for file in beside(path, "", *suffixes):
        # By another process: this one's own handles would drop SQLite's locks.
        subprocess.run(["cp", file, folder], check=True)  # noqa: S603, S607
    return folder / path.name


def contents(folder: Path) -> dict[str, bytes]:
    """Give every file of *folder*, with what is in it; of a ledger that nobody has open."""
    return {file.name: file.read_bytes() for file in folder.iterdir()}


def touch(path: Path) -> None:
    """Open, read and close a database as any SQLite program does."""
    with contextlib.closing(sqlite3.connect(path)) as connection:
        connection.execute("SELECT count(*) FROM claim").fetchone()


class Inline(Executor):
    """An executor without a thread: each call runs on the loop, *seconds* after it was made."""

    def __init__(self, seconds: float = 0.0) -> None:
        self.seconds = seconds
        self._ends = 0.0
        self._over = False

    def submit(self, fn: Callable[..., Any], /, *args: Any, **kwargs: Any) -> Future[Any]:
        assert not self._over, "shut down"
        done: Future[Any] = Future()
        loop = asyncio.get_running_loop()
        self._ends = max(loop.time(), self._ends) + self.seconds

        def run() -> None:
            if not done.set_running_or_notify_cancel():
                return
            try:
                done.set_result(fn(*args, **kwargs))
            except BaseException as error:  # noqa: BLE001 - as an executor does
                done.set_exception(error)

        loop.call_at(self._ends, run)
        return done

    def shutdown(self, wait: bool = True, *, cancel_futures: bool = False) -> None:  # noqa: FBT001, FBT002
        del wait, cancel_futures
        self._over = True


def inline(seconds: float = 0.0, **ports: Any) -> Ports:
    """Give ports whose ledger is written on the loop itself."""
    return Ports(executor=lambda: Inline(seconds), **ports)


_CHILD = """
import asyncio, contextlib, os, sys
from pathlib import Path
from tests.ledger.support import *
from badges_async.ledger import *
path = Path(sys.argv[1])
def say(*words):
    print(*words, flush=True)
"""


@contextlib.contextmanager
def child(path: Path, code: str) -> Iterator[subprocess.Popen[str]]:
    """Run *code* with a ledger's *path* in another process, and kill it in the end."""
    process = subprocess.Popen(  # noqa: S603 - ourselves
        [sys.executable, "-c", _CHILD + code, str(path)],
        stdout=subprocess.PIPE,
        stdin=subprocess.PIPE,
        text=True,
        cwd=Path(__file__).parents[2],
    )
    with process:
        try:
            yield process
        finally:
            process.kill()


HOLDS = """
async def main():
    async with running(path) as ledger:
        await settle_all(ledger, claims(*range(100)))
        await ledger.lease(claims(*range(100, 110)), 10)
        say("ready", os.getpid())
        await asyncio.sleep(600)
asyncio.run(main())
"""
"""Settles 0 to 99, has 100 to 109 in hand, says so, and never ends."""


def line(process: subprocess.Popen[str]) -> str:
    """Give the next line of a child."""
    assert process.stdout is not None
    return process.stdout.readline().strip()


def killed(path: Path) -> None:
    """Leave a ledger behind at *path* whose process was killed: see `HOLDS`."""
    with child(path, HOLDS) as process:
        assert line(process).startswith("ready")


def remove(files: Iterable[Path]) -> None:
    for file in files:
        file.unlink(missing_ok=True)


def move(path: Path, folder: Path) -> None:
    shutil.move(path, folder)
