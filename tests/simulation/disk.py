"""
The disk of a simulated machine, and the one thread that writes to it.

Here: an executor on the virtual clock, its stalls and failures, and what a crash leaves of the
files. SQLite is the real one, on files in memory; what is modelled is when a commit happens, when
anybody hears of it, and what a power loss takes away.

A process that is killed leaves all that was written. A machine that loses its power leaves what was
synchronised, and any part of what was being written.
"""

from __future__ import annotations

import contextlib
import os
import random
import shutil
import sqlite3
import tempfile
from collections import deque
from collections.abc import Callable, Iterator
from concurrent.futures import Executor, Future
from pathlib import Path
from typing import Any, Protocol

__all__ = ["Disk", "Thread"]

_IN_MEMORY = Path("/dev/shm")  # noqa: S108 - only where there is one
_FAILURES = {
    "full": (sqlite3.SQLITE_FULL, "database or disk is full"),
    "busy": (sqlite3.SQLITE_BUSY, "database is locked"),
}


class Surroundings(Protocol):
    """What the thread needs of the process that it belongs to."""

    def call_later(self, seconds: float, what: Callable[[], object]) -> object:
        """Call, when so many virtual seconds have passed."""
        ...

    def happened(self, what: str) -> None:
        """Hear what has just happened: the process may end with it."""
        ...

    def fault(self, kinds: tuple[str, ...]) -> str | None:
        """Draw what goes wrong now."""
        ...


class Disk:
    """
    The folder of one ledger.

    A process that was killed is still there, and is to be cancelled, which may write. So a crash
    only takes down what lies there, and `restore` puts that back, in the same files.
    """

    def __init__(self) -> None:
        memory = _IN_MEMORY if os.access(_IN_MEMORY, os.W_OK) else None
        self._folder = Path(tempfile.mkdtemp(prefix="simulation-", dir=memory))
        self._left: dict[Path, bytes] | None = None
        self.path = self._folder / "run.db"
        self._wal = self._folder / "run.db-wal"
        self._files = self.path, self._wal, self._folder / "run.db-lock"

    def crash(self, torn_at: int | None = None) -> None:
        """
        Take down what is left.

        Args:
            torn_at: Where the ``-wal`` was cut off.
        """
        self._left = {file: file.read_bytes() for file in self._files if file.exists()}
        if torn_at is not None:
            self._left[self._wal] = self._left[self._wal][:torn_at]

    def restore(self) -> None:
        """Bring back what the last crash has left."""
        left, self._left = self._left, None
        if left is None:
            return
        for file in self._folder.iterdir():
            if file not in left:
                file.unlink()
        for file, content in left.items():
            with file.open("r+b" if file.exists() else "wb") as opened:
                opened.truncate()
                opened.write(content)

    def wal_size(self) -> int:
        """Bytes in the ``-wal``."""
        return self._wal.stat().st_size if self._wal.exists() else 0

    @contextlib.contextmanager
    def read_only(self) -> Iterator[sqlite3.Connection | None]:
        """Look into the ledger as it lies there, or None; nothing of it is touched."""
        if not self.path.exists():
            yield None
            return
        with tempfile.TemporaryDirectory(dir=self._folder.parent) as name:
            for file in (self.path, self._wal):
                if file.exists():
                    shutil.copyfile(file, Path(name, file.name))
            with contextlib.closing(sqlite3.connect(Path(name, "run.db"))) as connection:
                yield connection

    def remove(self) -> None:
        """Remove everything."""
        shutil.rmtree(self._folder)


class Thread(Executor):
    """
    One thread of a process: does one thing after the other, each when its time has come.

    Attributes:
        begun, done: Transactions that began and that are on disk.
        failing: The last one failed.
    """

    def __init__(self, around: Surroundings, chance: random.Random, speed: float) -> None:
        self.begun = self.done = 0
        self.failing = False
        self._around = around
        self._chance = chance
        self._speed = speed
        self._jobs: deque[tuple[Future[Any], Callable[[], Any], bool]] = deque()
        self._at_work = False
        self._bad_until: tuple[str, int] | None = None

    def submit(self, fn: Callable[..., Any], /, *args: Any, **options: Any) -> Future[Any]:
        """Do it when what came before is done."""
        future: Future[Any] = Future()
        commits = "commit" in getattr(fn, "__name__", "")
        self.begun += commits
        self._jobs.append((future, lambda: fn(*args, **options), commits))
        self._begin()
        return future

    def shutdown(self, wait: bool = True, *, cancel_futures: bool = False) -> None:  # noqa: FBT001, FBT002 - as it is called
        """Do what was asked for all the same."""

    def half_done(self) -> Callable[[], Any] | None:
        """Give the transaction that is being written at this moment."""
        if self._at_work and self._jobs and self._jobs[0][2]:
            return self._jobs[0][1]
        return None

    def _begin(self) -> None:
        """Begin with the next job that nobody has cancelled, unless at work."""
        while self._jobs and not self._at_work:
            if self._jobs[0][0].set_running_or_notify_cancel():
                self._at_work = True
                self._work()
            else:
                self._jobs.popleft()

    def _work(self) -> None:
        takes = self._chance.expovariate(1) * self._speed
        if self._around.fault(("stall",)):
            takes += self._chance.uniform(5, 45)
        self._around.call_later(takes, self._execute)

    def _execute(self) -> None:
        future, job, commits = self._jobs.popleft()
        result: Any = None
        error: Exception | None = self._failure() if commits else None
        if error is None:
            try:
                result = job()
            except Exception as raised:  # noqa: BLE001 - whoever asked is told
                error = raised
        if commits:
            self.failing = error is not None
            self.done += error is None
        what = "disk: done" if error is None else f"disk: {type(error).__name__}"
        self._around.happened(what)
        tells = self._chance.expovariate(1) * self._speed
        self._around.call_later(tells, lambda: self._tell(future, result, error))

    def _tell(self, future: Future[Any], result: Any, error: Exception | None) -> None:
        self._at_work = False
        if error is None:
            future.set_result(result)
        else:
            future.set_exception(error)
        self._begin()

    def _failure(self) -> sqlite3.Error | None:
        """Fail for a while: what is full stays so for some attempts."""
        if self._bad_until is None:
            kind = self._around.fault(("full", "busy"))
            if kind is None:
                return None
            self._bad_until = kind, self._chance.choice((1, 5, 60))
        kind, left = self._bad_until
        self._bad_until = (kind, left - 1) if left > 1 else None
        code, text = _FAILURES[kind]
        error = sqlite3.OperationalError(text)
        error.sqlite_errorcode = code
        return error
