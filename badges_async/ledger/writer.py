"""
One thread that writes, one transaction for all who wait.

Here: the thread's life, when a transaction begins and ends, what is done when it fails, and how
its results come back to the event loop. Not here: what is written (`store`), or how a transaction
is made (`book`).

Whatever is asked for while a transaction runs goes into the next one together, so the cost of
making it durable is shared by as many as there are. A disk without room is waited for; meanwhile
the writer says that it is stalled, and nothing may be sent.
"""

from __future__ import annotations

import asyncio
import logging
import sqlite3
from collections import deque
from collections.abc import Callable, Sequence
from concurrent.futures import Executor, Future
from pathlib import Path
from typing import Any, Protocol, TypeAlias, TypeVar

import attrs

from badges_async.errors import BadgesError, LedgerError, LedgerFullError, LedgerLockedError
from badges_async.ledger.faults import as_ledger_error
from badges_async.ledger.store import Store

__all__ = ["OpenBook", "Operation", "Writer"]

_LOG = logging.getLogger("badges_async")
T = TypeVar("T")
Operation: TypeAlias = Callable[[Store], T]
# Seconds: between attempts to write to a disk without room, and in all.
_REST, _PATIENCE = 0.5, 20.0


class OpenBook(Protocol):
    """What is written to; see `book`."""

    def commit(self, operations: Sequence[Operation[Any]]) -> list[Any]:
        """Do all of *operations* in one transaction, or none; give their results."""
        ...

    def close(self, rest: Sequence[Operation[Any]], *, whole: bool = True) -> None:
        """Do the *rest*, if it can be done, and close; what came before may not be *whole*."""
        ...


@attrs.define
class _Waiting:
    """An operation, and who waits for its result."""

    operation: Operation[Any]
    result: asyncio.Future[Any]

    def fail(self, error: BaseException) -> None:
        if not self.result.done():
            self.result.set_exception(error)
            self.result.exception()  # looked at: whoever does not wait for it need not hear of it


class Writer:
    """
    Runs operations on a book in an *executor* of one thread, in the order they are asked for.

    Args:
        open_book: Opens what is written to, in that thread.
        path: Of the file, for errors.

    Attributes:
        failure: Why no further operation is done: what it broke down with, or that it is closed.
    """

    def __init__(self, open_book: Callable[[], OpenBook], executor: Executor, path: Path) -> None:
        self.failure: BadgesError | None = None
        self._open_book = open_book
        self._book: OpenBook | None = None
        self._executor = executor
        self._path = path
        self._loop = asyncio.get_running_loop()
        self._waiting: deque[_Waiting] = deque()
        self._batch: list[_Waiting] = []
        self._in_thread = False
        self._pause: asyncio.TimerHandle | None = None
        self._stalled_since: float | None = None
        self._well = asyncio.Event()
        self._well.set()
        self._idle = asyncio.Event()
        self._idle.set()

    @property
    def stalled(self) -> bool:
        """Whether writing fails for now, or for good."""
        return not self._well.is_set() or self.failure is not None

    async def open(self) -> None:
        """
        Open the book. Cancelled, it is closed again before this ends; a second time, soon after.

        Raises:
            LedgerError: It cannot be opened.
        """
        try:
            await asyncio.wrap_future(self._executor.submit(self._open_in_thread))
        except BaseException:
            await asyncio.shield(self._close_in_thread())
            raise

    async def close(self) -> None:
        """
        Wait for what was asked for, and close the book.

        Cancelled, the thread tries once to write what is left and closes the book before this
        ends; a second time, soon after. Whoever waits for that is told that the ledger is closed.
        """
        try:
            await self._idle.wait()
        except BaseException:
            await asyncio.shield(self._close_in_thread())
            raise
        closed = self._close_in_thread()
        try:
            await asyncio.shield(closed)
        except asyncio.CancelledError:
            await asyncio.wait([closed])  # milliseconds, as a rule
            raise

    def submit(self, operation: Operation[T]) -> asyncio.Future[T]:
        """
        Do *operation* in the next transaction; its result is there when that is on disk.

        Nobody has to wait for the future; cancelling it changes nothing of what is written. Once
        there is a `failure`, the future has it.
        """
        waiting = _Waiting(operation, self._loop.create_future())
        if self.failure is not None:
            waiting.fail(self.failure)
        else:
            self._waiting.append(waiting)
            self._begin()
        return waiting.result

    async def well(self) -> None:
        """
        Wait until writing works.

        Raises:
            LedgerError: It never will.
        """
        await self._well.wait()
        if self.failure is not None:
            raise self.failure

    def _begin(self) -> None:
        if self._batch or not self._waiting:
            return
        self._idle.clear()
        self._batch = list(self._waiting)
        self._waiting.clear()
        self._write()

    def _write(self) -> None:
        self._in_thread = True
        operations = [each.operation for each in self._batch]
        done = self._executor.submit(self._commit_in_thread, operations)
        done.add_done_callback(self._written_in_thread)

    def _open_in_thread(self) -> None:
        self._book = self._open_book()

    def _commit_in_thread(self, operations: Sequence[Operation[Any]]) -> list[Any]:
        assert self._book is not None  # noqa: S101 - opened before
        return self._book.commit(operations)

    def _written_in_thread(self, done: Future[list[Any]]) -> None:
        try:
            self._loop.call_soon_threadsafe(self._written, done)
        except RuntimeError:
            _LOG.debug("the event loop ended before the ledger's last transaction did")

    def _written(self, done: Future[list[Any]]) -> None:
        self._in_thread = False
        error = done.exception()
        if isinstance(error, sqlite3.Error):
            error = as_ledger_error(error, self._path)
        if error is None:
            self._succeed(done.result())
        elif isinstance(error, LedgerFullError | LedgerLockedError) and self._may_wait(error):
            self._pause = self._loop.call_later(_REST, self._write)
        else:
            self._break_down(error)

    def _succeed(self, results: list[Any]) -> None:
        if self._stalled_since is not None:
            _LOG.warning("%s can be written again", self._path)
            self._stalled_since = None
            self._well.set()
        batch, self._batch = self._batch, []
        for each, result in zip(batch, results, strict=True):
            if not each.result.done():
                each.result.set_result(result)
        self._begin()
        if not self._batch:
            self._idle.set()

    def _close_in_thread(self) -> asyncio.Future[None]:
        """Leave to the thread what is not written yet: the event loop may be about to end."""
        whole = self.failure is None
        rest = [each.operation for each in self._not_begun()] if whole else []
        if self._pause is not None:
            self._pause.cancel()
        self._break_down(LedgerError(f"{self._path} is closed"))

        def close() -> None:
            if self._book is not None:
                self._book.close(rest, whole=whole)

        closed = asyncio.wrap_future(self._executor.submit(close))
        self._executor.shutdown(wait=False)
        return closed

    def _not_begun(self) -> list[_Waiting]:
        return [*(() if self._in_thread else self._batch), *self._waiting]

    def _may_wait(self, error: LedgerError) -> bool:
        if self.failure is not None:
            return False
        now = self._loop.time()
        if self._stalled_since is None:
            self._stalled_since = now
            self._well.clear()
            _LOG.warning("%s; trying again for %g s", error, _PATIENCE)
        return now - self._stalled_since < _PATIENCE

    def _break_down(self, error: BaseException) -> None:
        if isinstance(error, BadgesError):
            failure = error
        else:
            failure = LedgerError(f"{self._path}: {error!r}")
            failure.__cause__ = error
        if self.failure is None:
            self.failure = failure
            if self._batch or self._waiting:  # of some of it nobody may ask what became
                _LOG.warning("nothing more is recorded: %s", failure)
        for each in self._not_begun():
            each.fail(failure)
        if not self._in_thread:
            self._batch = []
        self._waiting.clear()
        self._well.set()  # whoever waits is told of the failure
        self._idle.set()
