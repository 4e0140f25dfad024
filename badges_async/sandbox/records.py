"""
What arrived and what became of it.

Here: one small object per request, and counters that are right even when old records are dropped.
Not here: what the service holds (`state`).
"""

from __future__ import annotations

import asyncio
import time
from collections import Counter, deque

import attrs

from badges_async.sandbox.faults import Fault

__all__ = ["RecordedRequest", "Records"]


@attrs.define(eq=False)
class RecordedRequest:
    """
    One request that arrived.

    Attributes:
        number: 1 for the first since the sandbox was made.
        operation: ``get``, ``claim``, ``unclaim``, ``token`` or ``unknown``.
        path: As sent, query included.
        badge_id: Decoded; empty when the path names none.
        owner_type: As sent, if the body was readable so far; `reference_id` likewise.
        arrived: Monotonic clock, in seconds, when its head was read.
        ended: The same clock when its answer was written or its connection ended, else None.
        status: Of the answer that was sent whole; None if there was none.
        fault: What went wrong on purpose, if anything.
    """

    number: int
    operation: str
    method: str
    path: str
    badge_id: str
    arrived: float
    owner_type: str | None = None
    reference_id: str | None = None
    ended: float | None = None
    status: int | None = None
    fault: Fault | None = None


class Records:
    """
    The last requests, and counts of all.

    Args:
        keep: Records to keep; the oldest go first. None keeps all.
    """

    def __init__(self, keep: int | None) -> None:
        self.requests: deque[RecordedRequest] = deque(maxlen=keep)
        self.total = 0
        self.in_flight = 0
        self.peak_in_flight = 0
        self.operations: Counter[str] = Counter()
        self.statuses: Counter[str] = Counter()
        self.faults: Counter[str] = Counter()
        self._waiting: list[tuple[int, asyncio.Future[None]]] = []

    def begin(self, operation: str, method: str, path: str, badge_id: str) -> RecordedRequest:
        """Note an arrival."""
        self.total += 1
        self.in_flight += 1
        self.peak_in_flight = max(self.peak_in_flight, self.in_flight)
        self.operations[operation] += 1
        record = RecordedRequest(self.total, operation, method, path, badge_id, time.monotonic())
        self.requests.append(record)
        return record

    def end(self, record: RecordedRequest) -> None:
        """Note that nothing more happens to a request."""
        self.in_flight -= 1
        record.ended = time.monotonic()
        self.statuses["none" if record.status is None else str(record.status)] += 1
        if record.fault is not None:
            self.faults[record.fault.value] += 1

    async def wait_for(self, total: int) -> None:
        """Wait until so many requests have arrived, counted from the first."""
        if self.total < total:
            future: asyncio.Future[None] = asyncio.get_running_loop().create_future()
            self._waiting.append((total, future))
            await future

    def wake(self) -> None:
        """Wake whoever waits for the requests that have arrived by now."""
        if not self._waiting:
            return
        due = [future for total, future in self._waiting if total <= self.total]
        self._waiting = [item for item in self._waiting if item[0] > self.total]
        for future in due:
            if not future.done():
                future.set_result(None)
