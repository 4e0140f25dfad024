"""
One thread that writes, one transaction for all who wait.

Here: when a transaction begins and ends, what is done when it fails, and how its results come back
to the event loop. Not here: what is written (`store`).

Whatever is asked for while a transaction runs goes into the next one together, so the cost of
making it durable is shared by as many as there are. A disk without room is waited for; meanwhile
the writer says that it is stalled, and nothing may be sent.
"""

from __future__ import annotations

import asyncio
import logging
import sqlite3
from collections import deque
from collections.abc import Callable
from concurrent.futures import Executor, Future
from typing import Any, Protocol, TypeVar

import attrs

from badges_async.errors import BadgesError, LedgerError, LedgerFullError, LedgerLockedError
from badges_async.ledger.faults import as_ledger_error

__all__ = ["Book", "Writer"]

_LOG = logging.getLogger("badges_async")
T = TypeVar("T")
# Seconds: between attempts to write to a disk without room, and in all.
_REST, _PATIENCE = 0.5, 20.0


class Book(Protocol):
    """What is written to, by one thread at a time."""

    def commit(self, operations: list[Callable[[], Any]]) -> list[Any]:
        """
        Do all of *operations* in one transaction that is on disk in the end; give their results.

        Raises:
            sqlite3.Error: Nothing of it is done.
            LedgerError: Likewise, and no repetition helps.
        """
        ...


@attrs.define
class _Waiting:
    """An operation, and who waits for its result."""

    operation: Callable[[], Any]
    result: asyncio.Future[Any]


class Writer:
    """
    Runs operations on a *book* in an *executor* of one thread, in the order they are asked for.

    Args:
        name: Of the file, for errors.

    Attributes:
        failure: What it broke down with; every further operation fails with it.
    """

    def __init__(self, book: Book, executor: Executor, path: Any) -> None:  # noqa: ANN401
        self.failure: BadgesError | None = None
        self._book = book
        self._executor = executor
        self._path = path
        self._loop = asyncio.get_running_loop()
        self._waiting: deque[_Waiting] = deque()
        self._batch: list[_Waiting] = []
        self._stalled_since: float | None = None
        self._well = asyncio.Event()
        self._well.set()
        self._idle = asyncio.Event()
        self._idle.set()

    @property
    def stalled(self) -> bool:
        """Whether writing fails for now, or for good."""
        return not self._well.is_set() or self.failure is not None

    def submit(self, operation: Callable[[], T]) -> asyncio.Future[T]:
        """
        Do *operation* in the next transaction; its result is there when that is on disk.

        Nobody has to wait for the future; cancelling it changes nothing of what is written.
        """
        result: asyncio.Future[T] = self._loop.create_future()
        if self.failure is not None:
            result.set_exception(self.failure)
            result.exception()  # looked at: whoever does not wait for it need not hear of it
            return result
        self._waiting.append(_Waiting(operation, result))
        self._begin()
        return result

    async def well(self) -> None:
        """
        Wait until writing works.

        Raises:
            LedgerError: It never will.
        """
        await self._well.wait()
        if self.failure is not None:
            raise self.failure

    async def idle(self) -> None:
        """Wait until nothing is left to be written, or nothing can be."""
        await self._idle.wait()

    def _begin(self) -> None:
        if self._batch or not self._waiting:
            return
        self._idle.clear()
        self._batch = list(self._waiting)
        self._waiting.clear()
        self._write()

    def _write(self) -> None:
        operations = [each.operation for each in self._batch]
        done: Future[list[Any]] = self._executor.submit(self._book.commit, operations)
        done.add_done_callback(self._written_in_thread)

    def _written_in_thread(self, done: Future[list[Any]]) -> None:
        try:
            self._loop.call_soon_threadsafe(self._written, done)
        except RuntimeError:
            _LOG.debug("the event loop ended before the ledger's last transaction did")

    def _written(self, done: Future[list[Any]]) -> None:
        error = done.exception()
        if isinstance(error, sqlite3.Error):
            error = as_ledger_error(error, self._path)
        if isinstance(error, LedgerFullError | LedgerLockedError) and self._may_wait():
            self._well.clear()
            _LOG.warning("%s; trying again", error)
            self._loop.call_later(_REST, self._write)
            return
        if error is not None:
            self._break_down(error)
            return
        if not self._well.is_set():
            self._well.set()
            self._stalled_since = None
        batch, self._batch = self._batch, []
        for each, result in zip(batch, done.result(), strict=True):
            if not each.result.done():
                each.result.set_result(result)
        self._begin()
        if not self._batch:
            self._idle.set()

    def _may_wait(self) -> bool:
        now = self._loop.time()
        if self._stalled_since is None:
            self._stalled_since = now
        return now - self._stalled_since < _PATIENCE

    def _break_down(self, error: BaseException) -> None:
        self.failure = (
            error if isinstance(error, BadgesError) else LedgerError(f"{self._path}: {error!r}")
        )
        if self.failure is not error:
            self.failure.__cause__ = error
        for each in [*self._batch, *self._waiting]:
            if not each.result.done():
                each.result.set_exception(self.failure)
                each.result.exception()
        self._batch.clear()
        self._waiting.clear()
        self._well.set()  # whoever waits is told of the failure
        self._idle.set()
