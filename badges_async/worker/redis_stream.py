"""
What producers and operators do with a stream in Redis: enter rows, look at it, mend it.

Here: `RedisStream`. Not here: how rows are entered once (`redis_enqueue`), how dead letters are
moved (`redis_letters`), or the worker's side (`redis_source`).
"""

from __future__ import annotations

import math
from collections.abc import AsyncIterable, AsyncIterator, Callable, Iterable
from typing import Any, TypeVar

from redis.asyncio import Redis

from badges_async import InvalidInputError
from badges_async.worker.checks import check_whole
from badges_async.worker.dead_letters import DeadLetter
from badges_async.worker.events import ClaimEvent
from badges_async.worker.keys import StreamKeys
from badges_async.worker.redis_enqueue import ENTER, Added, Entry, batches
from badges_async.worker.redis_letters import Letters
from badges_async.worker.redis_link import Link
from badges_async.worker.standing import Standing, read_standing

__all__ = ["RedisStream"]

T = TypeVar("T")

_LARGEST_BATCH = 10_000

# KEYS: stream, dead letters, outcomes. ARGV: group. The lag that Redis reports is null once an
# entry was deleted that nobody had been given: what waits is what is there and not pending.
_STAND = """
local function ask(...)
  local reply = redis.pcall(...)
  if type(reply) == 'table' and reply.err then return {} end
  return reply
end
local length = redis.call('XLEN', KEYS[1])
local oldest = redis.call('XRANGE', KEYS[1], '-', '+', 'COUNT', 1)[1]
local pending = ask('XPENDING', KEYS[1], ARGV[1])[1] or 0
local consumers = ask('XINFO', 'CONSUMERS', KEYS[1], ARGV[1])
local time = redis.call('TIME')
return {
  length, pending, redis.call('XLEN', KEYS[2]), redis.call('XLEN', KEYS[3]),
  oldest and oldest[1] or '', time[1] .. '.' .. string.format('%06d', time[2]), consumers
}
"""


class RedisStream:
    """
    A stream of claim events in Redis.

    ```python
    stream = RedisStream(connect(url))
    await stream.add(ClaimEvent(badge, "Loyalty", member) for member in members)
    ```

    Every call waits while Redis is away, and is then made good; none of them takes or adds anything
    twice for that. Any call raises `SourceError` when Redis cannot be used.

    Args:
        redis: See `badges_async.worker.connect`; never closed here.
        stream: Its name, as the workers know it.
        group: Of the workers.

    Raises:
        InvalidInputError: *stream* is no name, or *redis* decodes what it gets.
    """

    def __init__(
        self, redis: Redis, *, stream: str = "badges:claims", group: str = "claim-workers"
    ) -> None:
        pool: Any = redis.connection_pool
        if pool.get_encoder().decode_responses:
            raise InvalidInputError("the client of Redis must not decode: decode_responses=False")
        self._group = group
        self._keys = StreamKeys.of(stream)
        self._link = Link(redis)
        self._enter = redis.register_script(ENTER)
        self._stand = redis.register_script(_STAND)
        self._letters = Letters(self._link, self._keys.stream, self._keys.dead_letters)

    async def add(
        self,
        events: Iterable[ClaimEvent] | AsyncIterable[ClaimEvent],
        *,
        label: str | None = "",
        batch: int = 1000,
        most_waiting: int | None = None,
        on_batch: Callable[[Added], object] | None = None,
    ) -> Added:
        """
        Enter events, each row of the input once, in its order.

        Again with the same input adds nothing; after a kill it goes on where it was; of an input
        that has grown since it adds the new rows, and of one that was changed all rows from the
        first change on. Several may enter the same input at the same time. Redis remembers an input
        for 30 days after it was entered last. `enqueued_at` makes no difference here, `id` does;
        an event that has no time gets that of its batch, on Redis's clock.

        Cancelling leaves whole batches. An event that is refused, or an error of *events*, leaves
        those before its batch.

        Args:
            events: Read as far as there is room.
            label: The same rows under another label are entered anew; with None always, as suits
                events that come one by one.
            batch: Rows entered at a time; fewer when they are large.
            most_waiting: Wait while more entries than that are in the stream, those in the hands
                of workers included.
            on_batch: Called with the sums so far after each batch.

        Raises:
            InvalidInputError: An option has no meaning; or an event is none, larger than 64 KiB, or
                nothing that JSON can hold.
        """
        check_whole("batch", batch, _LARGEST_BATCH)
        if most_waiting is not None:
            check_whole("most_waiting", most_waiting, 2**53)
        await self._link.make_group(self._keys.stream, self._group)
        entry = Entry(
            self._link, self._enter, self._keys.stream, label=label, most_waiting=most_waiting
        )
        async for rows in batches(events, batch):
            await entry.enter(rows)
            if on_batch is not None:
                on_batch(entry.added)
        return entry.added

    async def standing(self) -> Standing:
        """Look at it; one that does not exist stands empty."""
        keys = (self._keys.stream, self._keys.dead_letters, self._keys.outcomes)
        return read_standing(await self._link.ask(lambda: self._stand(keys, (self._group,))))

    def letters(
        self, *, reason: str | None = None, newest_first: bool = False
    ) -> AsyncIterator[DeadLetter]:
        """Give the dead letters, oldest first unless this says otherwise; those of *reason*."""
        return self._letters.read(reason, newest_first=newest_first)

    async def letter(self, letter_id: str) -> DeadLetter | None:
        """Give one dead letter, or None if it is not there."""
        return await self._letters.one(letter_id)

    async def requeue(self, ids: Iterable[str] | None = None, *, reason: str | None = None) -> int:
        """
        Send dead letters back to the stream, as they were produced, and give how many.

        They count as never delivered; `DeadLetter.requeued` says how often this was done.

        Args:
            ids: Of letters; those that are not there are passed over. All, if None.
            reason: Only those of this reason.
        """
        return await self._letters.take("requeue", _several(ids), reason=reason)

    async def purge(
        self,
        ids: Iterable[str] | None = None,
        *,
        reason: str | None = None,
        older_than: float | None = None,
    ) -> int:
        """
        Delete dead letters for good, and give how many.

        Args:
            ids: As for `requeue`.
            reason: As for `requeue`.
            older_than: Only those that were put aside so many seconds ago, or earlier.

        Raises:
            InvalidInputError: *older_than* is no number of seconds.
        """
        if older_than is not None and not 0 <= older_than < math.inf:
            raise InvalidInputError("older_than must be a number of seconds, 0 or more")
        return await self._letters.take(
            "purge", _several(ids), reason=reason, older_than=older_than
        )


def _several(ids: Iterable[str] | None) -> Iterable[str] | None:
    if isinstance(ids, str | bytes):
        raise InvalidInputError("ids must be several ids, not the letters of one")
    return ids
