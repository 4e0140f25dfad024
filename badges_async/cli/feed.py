"""
Rows on their way from a file into a run.

A file is read on the event loop: a line takes microseconds. A pipe is read in a thread, because the
process at its other end may write when it likes, and the claims in flight must not wait for it.
"""

from __future__ import annotations

import asyncio
import contextlib
import threading
from collections import deque
from collections.abc import Iterable, Iterator

from badges_async.cli.files import RowFile
from badges_async.cli.rows import BadRow, Row
from badges_async.cli.tally import Tally

__all__ = ["Feed"]

_BAD_IN_A_ROW = 200  # refused rows after which the event loop gets a turn
_READ_AHEAD = 1024  # rows of a pipe


class Feed:
    """
    An async iterator over the good rows of *file*; the bad ones go to *tally*.

    Made within a running event loop. Raises what reading raises. A wait for the next row can be
    cancelled, also one for a pipe that stays silent; no row is lost by that.
    """

    def __init__(self, file: RowFile, tally: Tally) -> None:
        self._tally = tally
        self._rows: Iterator[Row | BadRow] | _Pump
        self._rows = iter(file) if file.is_regular else _Pump(file)

    def __aiter__(self) -> Feed:
        return self

    async def __anext__(self) -> Row:
        refused = 0
        while (row := await self._next()) is not None:
            if isinstance(row, Row):
                self._tally.pulled(row)
                return row
            self._tally.refused(row)
            refused += 1
            if refused % _BAD_IN_A_ROW == 0:
                await asyncio.sleep(0)
        raise StopAsyncIteration

    async def _next(self) -> Row | BadRow | None:
        if isinstance(self._rows, _Pump):
            await self._rows.arrival()
        row = next(self._rows, None)
        self._tally.exhausted = row is None
        return row


class _Pump:
    """
    A daemon thread that reads rows ahead, a bounded number of them.

    Not an executor's thread: nobody can interrupt a thread that waits for a pipe, and the program
    must be able to end all the same.
    """

    def __init__(self, rows: Iterable[Row | BadRow]) -> None:
        self._loop = asyncio.get_running_loop()
        self._ready: deque[Row | BadRow | Exception] = deque()
        self._room = threading.Semaphore(_READ_AHEAD)
        self._ended = False
        self._awaited = False
        self._arrived = asyncio.Event()
        threading.Thread(target=self._read, args=(rows,), name="rows", daemon=True).start()

    async def arrival(self) -> None:
        """Wait until there is a row or the end; cancelling it loses nothing."""
        while not (self._ready or self._ended):
            self._arrived.clear()
            # The thread looks at this after it has added a row, we look for rows after it is set:
            # one of the two always sees the other.
            self._awaited = True
            if not (self._ready or self._ended):  # pragma: no branch - the thread was quicker
                await self._arrived.wait()
            self._awaited = False

    def __next__(self) -> Row | BadRow:
        if not self._ready:
            raise StopIteration
        first = self._ready.popleft()
        self._room.release()
        if isinstance(first, Exception):
            raise first
        return first

    def _read(self, rows: Iterable[Row | BadRow]) -> None:
        try:
            for row in rows:
                self._room.acquire()
                self._ready.append(row)
                self._announce()
        except Exception as error:  # noqa: BLE001 - carried to whoever asks for the next row
            self._ready.append(error)
        self._ended = True
        self._announce()

    def _announce(self) -> None:
        if self._awaited:
            # The loop is closed when nobody waits any more.
            with contextlib.suppress(RuntimeError):
                self._loop.call_soon_threadsafe(self._arrived.set)
