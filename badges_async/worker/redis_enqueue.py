"""
Entering rows into a stream, each once, however often that is interrupted and done again.

Here: batches, the script that enters one, and waiting for room. Not here: how rows that are in the
stream already are told from new ones (`enqueue_place`).

A batch and the mark that says so are one script: there is no moment at which Redis could be killed,
or its answer lost, with one and without the other. Marks are forgotten 30 days after their input
was entered last, each takes about 100 bytes and eight for each of its rows.
"""

from __future__ import annotations

import asyncio
import secrets
from collections.abc import AsyncIterable, AsyncIterator, Callable, Iterable
from datetime import UTC, datetime
from typing import Any

import attrs

from badges_async import InvalidInputError
from badges_async.jsontext import write
from badges_async.worker.enqueue_place import CHECK, Place, check_of
from badges_async.worker.errors import SourceError
from badges_async.worker.events import MOST_BYTES, ClaimEvent
from badges_async.worker.redis_link import Link

__all__ = ["ENTER", "Added", "Batch", "Entry", "batches"]

# One command carries a batch: Redis serves nobody else while it reads and enters it.
_BATCH_BYTES = 1024 * 1024
_STAMP_BYTES = 64  # of the time that a message gets, and its key
_DAY = 86_400
_KEPT, _KEPT_ALONE = 30 * _DAY, _DAY
_FIRST_WAIT, _LONGEST_WAIT = 0.05, 1.0
_RUN = 8  # bytes that name a run in its marks

# KEYS: stream, mark. ARGV: seconds, most that may wait or -1, what the mark will say, messages.
# Gives what the mark says if there is one, 1 when the messages are in, 0 when there is no room.
ENTER = """
local mark = redis.call('GET', KEYS[2])
if mark then
  redis.call('EXPIRE', KEYS[2], ARGV[1])
  return mark
end
local most = tonumber(ARGV[2])
if most >= 0 and redis.call('XLEN', KEYS[1]) > most then
  return 0
end
for i = 4, #ARGV do
  redis.call('XADD', KEYS[1], '*', 'd', ARGV[i])
end
redis.call('SET', KEYS[2], ARGV[3], 'EX', ARGV[1])
return 1
"""


@attrs.frozen
class Added:
    """
    What became of the rows of an input.

    Attributes:
        rows: Read so far.
        added: In the stream by this run.
        skipped: In the stream by another run, an earlier one or one at the same time.
    """

    rows: int = 0
    added: int = 0
    skipped: int = 0


@attrs.define(eq=False)
class Batch:
    """
    Rows that are not entered yet.

    Attributes:
        checks: What stands for them, `CHECK` bytes each.
        rows: Their messages, but for the time.
        times: When they were made, as JSON, by their number here; of those that say so.
        size: Bytes of the messages.
    """

    checks: bytearray = attrs.field(factory=bytearray)
    rows: list[bytes] = attrs.field(factory=list)
    times: dict[int, bytes] = attrs.field(factory=dict)
    size: int = 0

    def add(self, event: ClaimEvent) -> None:
        """
        Take a row in.

        Raises:
            InvalidInputError: It is larger than a message may be, or JSON cannot hold it.
        """
        size = _STAMP_BYTES
        try:
            if event.enqueued_at is not None:
                # When a row was made says nothing of whether it is the same row.
                self.times[len(self.rows)] = made = write(event.enqueued_at)
                size += len(made)
                event = attrs.evolve(event, enqueued_at=None)
            row = event.to_json()
        except (TypeError, ValueError, RecursionError):
            raise InvalidInputError("an event that JSON cannot hold") from None
        size += len(row)
        if size > MOST_BYTES:
            raise InvalidInputError(f"an event of more than {MOST_BYTES} bytes")
        self.rows.append(row)
        self.checks += check_of(row)
        self.size += size

    def messages(self, first: int, now: bytes) -> list[bytes]:
        """Give the messages of the rows from number *first*; made *now* unless they know better."""
        if not self.times:
            end = b',"enqueuedAt":' + now + b"}"
            return [row[:-1] + end for row in self.rows[first:]]
        get = self.times.get
        return [
            row[:-1] + b',"enqueuedAt":' + get(number, now) + b"}"
            for number, row in enumerate(self.rows[first:], first)
        ]


async def batches(
    events: Iterable[ClaimEvent] | AsyncIterable[ClaimEvent], most: int
) -> AsyncIterator[Batch]:
    """
    Cut *events* into batches of *most* rows, or fewer when they are large.

    Raises:
        InvalidInputError: One is no event, or too large.
    """
    batch = Batch()
    if isinstance(events, AsyncIterable):
        async for event in events:
            _take(batch, event)
            if len(batch.rows) >= most or batch.size >= _BATCH_BYTES:
                yield batch
                batch = Batch()
    else:
        for event in events:
            _take(batch, event)
            if len(batch.rows) >= most or batch.size >= _BATCH_BYTES:
                yield batch
                batch = Batch()
    if batch.rows:
        yield batch


def _take(batch: Batch, event: object) -> None:
    if not isinstance(event, ClaimEvent):
        raise InvalidInputError(f"a stream takes ClaimEvents, not {type(event).__name__}")
    batch.add(event)


class Entry:
    """
    One run that enters an input.

    Args:
        link: The way to Redis.
        script: `ENTER`, registered.
        stream: The key of the stream.
        label: What the input is called; None for one that is never entered again.
        most_waiting: With more than so many entries in the stream nothing is added.

    Attributes:
        added: What became of the rows so far.
    """

    def __init__(
        self,
        link: Link,
        script: Callable[..., Any],
        stream: str,
        *,
        label: str | None,
        most_waiting: int | None,
    ) -> None:
        self._link, self._script, self._stream = link, script, stream
        self._run = secrets.token_bytes(_RUN)
        self._place = Place(self._run.hex() if label is None else label)
        self._seconds = _KEPT_ALONE if label is None else _KEPT
        self._most = -1 if most_waiting is None else most_waiting
        self.added = Added()

    async def enter(self, batch: Batch) -> None:
        """
        See to it that the rows of *batch* are in the stream.

        Raises:
            SourceError: Redis cannot be used, or a mark in it is none of ours.
        """
        checks, first = bytes(batch.checks), 0
        while first < len(batch.rows):
            rest = checks[first * CHECK :]
            passed = self._place.pass_known(rest)
            if passed:
                self._count(passed, ours=self._place.ours)
                first += passed
                continue
            mark = await self._ask(batch, first, rest)
            if mark is None:
                self._place.advance(rest)
                return self._count(len(rest) // CHECK, ours=True)
            if mark[_RUN : _RUN + CHECK] != rest[:CHECK]:
                raise SourceError("a mark of the stream says nothing we know; is it ours?")
            self._place.learn(mark[_RUN:], ours=mark[:_RUN] == self._run)
        return None

    async def _ask(self, batch: Batch, first: int, checks: bytes) -> bytes | None:
        """Enter rows when there is room, or give the mark of those that are there already."""
        seconds, micros = await self._link.ask(self._link.redis.time)
        keys = (self._stream, f"{self._stream}:added:{self._place.name(checks)}")
        messages = batch.messages(first, _timestamp(seconds, micros))
        arguments = (self._seconds, self._most, self._run + checks, *messages)
        wait = _FIRST_WAIT
        while True:
            answer = await self._link.ask(lambda: self._script(keys=keys, args=arguments))
            if answer != 0:
                return None if answer == 1 else bytes(answer)
            await asyncio.sleep(wait)
            wait = min(2 * wait, _LONGEST_WAIT)

    def _count(self, rows: int, *, ours: bool) -> None:
        sums = self.added
        if ours:
            self.added = Added(sums.rows + rows, sums.added + rows, sums.skipped)
        else:
            self.added = Added(sums.rows + rows, sums.added, sums.skipped + rows)


def _timestamp(seconds: int, micros: int) -> bytes:
    moment = datetime.fromtimestamp(seconds, UTC)
    return f'"{moment:%Y-%m-%dT%H:%M:%S}.{micros // 1000:03d}Z"'.encode()
