"""
Bounding many attempts with one timer.

Here: a scope like `asyncio.timeout`, for code that runs very often. Not here: how long anything may
take (`timeouts`).

`asyncio.timeout` makes, schedules and cancels a timer for every use, which was a tenth of the whole
cost of a claim. Here the scopes of one loop share a timer: it is set for the earliest end and, when
it fires, for the earliest one that is left.
"""

from __future__ import annotations

import asyncio
from types import TracebackType
from typing import Protocol

__all__ = ["Bounded", "Deadlines"]


class Bounded(Protocol):
    """What must be over by a moment of the loop's time."""

    ends_at: float

    def expire(self) -> None:
        """Hear that the time is over."""
        ...


class _Scope:
    """One bounded piece of work, with the cancellation rules of `asyncio.timeout`."""

    __slots__ = ("_cancelling", "_deadlines", "_expired", "_task", "ends_at")

    def __init__(self, deadlines: Deadlines, ends_at: float) -> None:
        self.ends_at = ends_at
        self._deadlines = deadlines
        self._expired = False

    def __enter__(self) -> None:
        task = asyncio.current_task(self._deadlines.loop)
        if task is None:
            raise RuntimeError("a deadline needs a task")
        self._task = task
        self._cancelling = task.cancelling()
        self._deadlines.add(self)

    def __exit__(
        self,
        kind: type[BaseException] | None,
        error: BaseException | None,
        trace: TracebackType | None,
    ) -> None:
        self._deadlines.discard(self)
        # The task may have been cancelled by somebody else as well: then it stays cancelled.
        if (
            self._expired
            and self._task.uncancel() <= self._cancelling
            and kind is asyncio.CancelledError
        ):
            raise TimeoutError from error

    def expire(self) -> None:
        """Cancel the work: its time is over."""
        self._expired = True
        self._task.cancel()


class Deadlines:
    """
    The open scopes of one event loop.

    ```python
    with deadlines.within(15.0):
        await something  # TimeoutError after 15 seconds
    ```
    """

    def __init__(self, loop: asyncio.AbstractEventLoop) -> None:
        self.loop = loop
        self._open: set[Bounded] = set()
        self._timer: asyncio.TimerHandle | None = None
        self._closed = False

    def within(self, seconds: float) -> _Scope:
        """Give a scope that raises `TimeoutError` when the work in it takes longer."""
        return _Scope(self, self.loop.time() + seconds)

    def add(self, scope: Bounded) -> None:
        """Watch *scope*, until it is discarded."""
        self._open.add(scope)
        if self._timer is None or scope.ends_at < self._timer.when():
            self._set_timer(scope.ends_at)

    def discard(self, scope: Bounded) -> None:
        """Watch *scope* no longer; the timer stays, because the next scope will want it."""
        self._open.discard(scope)
        if self._closed:
            self.close()

    def close(self) -> None:
        """Give up the timer, at once or with the last scope that is open: their bounds hold."""
        self._closed = True
        if not self._open:
            self._drop_timer()

    def _drop_timer(self) -> None:
        if self._timer is not None:
            self._timer.cancel()
            self._timer = None

    def _set_timer(self, when: float) -> None:
        self._drop_timer()
        self._timer = self.loop.call_at(when, self._fire)

    def _fire(self) -> None:
        self._timer = None
        now = self.loop.time()
        for scope in [scope for scope in self._open if scope.ends_at <= now]:
            self._open.discard(scope)
            scope.expire()
        if self._open:
            self._set_timer(min(scope.ends_at for scope in self._open))
