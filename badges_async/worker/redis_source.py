"""
Events from a Redis stream: a consumer group hands them out, leased, and at least once.

Here: one consumer of the group. Not here: what is atomic (`redis_scripts`), what is in a message
(`entries`), waiting for a Redis that is away (`redis_link`).

An entry stays in the stream, and in the group's list of pending entries, until it is settled or a
dead letter; then it is deleted. Its lease is the time since Redis handed it out, which is set back
to renew it and set forth to hand it back.
"""

from __future__ import annotations

import asyncio
import logging
import math
import os
import socket
from collections.abc import Awaitable, Callable, Sequence
from contextlib import suppress
from hashlib import sha1
from typing import Any, TypeVar
from uuid import uuid4

from redis.asyncio import Redis
from redis.client import NEVER_DECODE
from redis.exceptions import NoScriptError, RedisError

from badges_async import InvalidInputError
from badges_async.worker import redis_scripts as scripts
from badges_async.worker.entries import (
    entries_of,
    failure_note,
    letter_words,
    outcome_words,
    read_event,
)
from badges_async.worker.errors import SourceError
from badges_async.worker.keys import StreamKeys
from badges_async.worker.redis_link import Link
from badges_async.worker.source import Delivery, Settlement, Verdict

__all__ = ["RedisSource"]

_LOG = logging.getLogger("badges_async")
T = TypeVar("T")
Word = str | bytes | int

_OLDEST = (7, 0, 15)  # XAUTOCLAIM of a trimmed entry could end an older server
_DAY, _HOUR = 86_400.0, 3600.0
_RECLAIM_EVERY = 1.0  # seconds; sooner if the lease is short
_BLOCK = 0.5  # seconds for which a read waits in Redis
_AGAIN = 0.01  # seconds until a server that does not block is asked again
_SWEEP_EVERY, _UNUSED_FOR = _HOUR, _DAY
_NOTES_FOR = 30 * _DAY  # seconds after the last failure of any entry
_CLOSE_WITHIN = 2.0
_BATCH = 500  # entries for one script: Lua hands over some thousand words at once
_START = b"0-0"
_SHORTEST, _LONGEST = 0.001, 10 * 365 * _DAY


class RedisSource:
    """
    Takes events from a stream in Redis; see `Source`. The group is made when it is missing.

    ```python
    async with connect("redis://localhost") as redis:
        await ClaimWorker(client, RedisSource(redis)).run()
    ```

    Args:
        redis: See `badges_async.worker.connect`; never closed here.
        stream: The name of the stream; ``badges:claims`` is under the key ``{badges:claims}``.
        group: The consumer group that all workers share.
        consumer: This one's name, unlike any other's; made up if it is None.
        lease: Seconds. All workers of a group are to keep the same.
        outcomes_for: Write what becomes of each event to a stream, and keep that for so many
            seconds; not at all if it is None.
        dead_letters_for: Keep dead letters for so many seconds; for ever if it is None.

    Raises:
        InvalidInputError: An option has no meaning.
    """

    def __init__(
        self,
        redis: Redis,
        *,
        stream: str = "badges:claims",
        group: str = "claim-workers",
        consumer: str | None = None,
        lease: float = 60.0,
        outcomes_for: float | None = None,
        dead_letters_for: float | None = 30 * _DAY,
    ) -> None:
        if not group or consumer == "":
            raise InvalidInputError("a group and a consumer need a name")
        self.keys = StreamKeys.of(stream)
        self.group = group
        self.consumer = consumer or f"{socket.gethostname()}-{os.getpid()}-{uuid4().hex[:8]}"
        self._lease = lease
        self._lease_ms = _milliseconds("lease", lease)
        self._reclaim_every = min(_RECLAIM_EVERY, lease / 4)
        self._outcomes_for = self._dead_letters_for = 0
        if outcomes_for is not None:
            self._outcomes_for = _milliseconds("outcomes_for", outcomes_for)
        if dead_letters_for is not None:
            self._dead_letters_for = _milliseconds("dead_letters_for", dead_letters_for)
        self._link = Link(redis)
        self._send = self._link.send
        self._cursor = _START
        self._reclaim_at = self._sweep_at = -math.inf

    @property
    def lease(self) -> float:
        """Seconds."""
        return self._lease

    async def open(self) -> None:
        """
        See `Source`.

        Raises:
            SourceError: Redis is not there, refuses us, is older than 7.0.15, or has something else
                under one of our keys.
        """
        await self._link.reach()
        await self._check_version()
        await self._link.make_group(self.keys.stream, self.group)
        await self._length(self.keys.dead_letters)
        await self._length(self.keys.outcomes)
        self._reclaim_at = self._sweep_at = -math.inf

    async def fetch(self, most: int, wait: float) -> list[Delivery]:
        """See `Source`."""
        loop = asyncio.get_running_loop()
        deadline = loop.time() + wait
        while most > 0:
            if loop.time() >= self._sweep_at:
                self._sweep_at = loop.time() + _SWEEP_EVERY
                await self._sweep()
            if loop.time() >= self._reclaim_at and (came := await self._reclaim(most)):
                return came
            now = loop.time()
            came = await self._read(most, min(deadline - now, self._reclaim_at - now, _BLOCK))
            if came or loop.time() >= deadline:
                return came
        return []

    async def renew(self, deliveries: Sequence[Delivery]) -> Sequence[Delivery]:
        """See `Source`."""
        lost: set[bytes] = set()
        for batch in _batches(deliveries):
            ids = [delivery.receipt for delivery in batch]
            lost.update(await self._run(RENEW, self.group, self.consumer, *ids))
        return [one for one in deliveries if one.receipt in lost] if lost else ()

    async def settle(self, settlements: Sequence[Settlement]) -> None:
        """See `Source`."""
        for batch in _batches(settlements):
            # Not by a dictionary: finding a verdict in one costs as much as an entry's way there.
            if settled := [one for one in batch if one.verdict is Verdict.SETTLE]:
                await self._settle(settled)
            if len(settled) == len(batch):
                continue
            if buried := [one for one in batch if one.verdict is Verdict.BURY]:
                await self._bury(buried)
            others = (Verdict.RETRY, Verdict.RELEASE)
            if returned := [one for one in batch if one.verdict in others]:
                await self._hand_back(returned)

    async def is_empty(self) -> bool:
        """See `Source`."""
        return await self._length(self.keys.stream) == 0

    async def close(self) -> None:
        """See `Source`; the consumer's name is removed if it holds nothing."""
        with suppress(RedisError, OSError, TimeoutError):
            async with asyncio.timeout(_CLOSE_WITHIN):
                await self._evaluate(LEAVE, (self.group, self.consumer))

    # Events come in.

    async def _reclaim(self, most: int) -> list[Delivery]:
        """Take what others, or we, did not settle while the lease was ours or theirs."""
        words = self.group, self.consumer, self._lease_ms, self._cursor, most
        self._cursor, entries, deliveries = await self._run(RECLAIM, *words)
        # As many as fit: most likely there are more.
        pause = self._reclaim_every if len(entries) < most else 0.0
        self._reclaim_at = asyncio.get_running_loop().time() + pause
        return [
            Delivery(read_event(fields), entry, count)
            for (entry, fields), count in zip(entries, deliveries, strict=True)
        ]

    async def _read(self, most: int, wait: float) -> list[Delivery]:
        """Take what nobody has had yet, or wait for it."""
        loop = asyncio.get_running_loop()
        began = loop.time()
        block: tuple[Word, ...] = ("BLOCK", math.ceil(wait * 1000)) if wait > 0 else ()
        came = await self._ask(
            lambda: self._send(
                # As one word, or redis-py makes a dictionary of every entry.
                "XREADGROUP GROUP",
                *(self.group, self.consumer, "COUNT", most, *block),
                *("STREAMS", self.keys.stream, ">"),
                **{NEVER_DECODE: True},
            )
        )
        entries = entries_of(came)
        if block and not entries and loop.time() - began < wait / 2:
            await asyncio.sleep(min(_AGAIN, wait))  # or it would be asked without end
        return [Delivery(read_event(fields), entry, 1) for entry, fields in entries]

    async def _sweep(self) -> None:
        """Remove the names of consumers that were killed."""
        try:
            await self._run(SWEEP, self.group, self.consumer, int(_UNUSED_FOR * 1000))
        except SourceError as error:  # it is no more than tidy
            _LOG.warning("names of consumers that are gone stay with the group: %s", error)

    # Settlements go out.

    async def _settle(self, settlements: list[Settlement]) -> None:
        if self._outcomes_for:
            words: list[Word] = []
            for one in settlements:
                outcome = outcome_words(one)
                words += (one.delivery.receipt, len(outcome), *outcome)
            await self._run(SETTLE_AND_TELL, self.group, self._outcomes_for, *words)
            return
        ids = b" ".join([one.delivery.receipt for one in settlements])
        again = [one.delivery for one in settlements if one.delivery.deliveries != 1]
        noted = b" ".join([delivery.receipt for delivery in again])
        await self._run(SETTLE, self.group, ids, noted)

    async def _hand_back(self, settlements: list[Settlement]) -> None:
        words: list[Word] = []
        for one in settlements:
            delivery = one.delivery
            counts, idle, note = delivery.deliveries, self._lease_ms, b""
            if one.verdict is Verdict.RETRY:
                idle = max(0, idle - math.ceil(one.delay * 1000))
                note = failure_note(one, self.consumer)
            elif not one.counted:
                counts -= 1
            words += (delivery.receipt, delivery.deliveries, counts, idle, note)
        notes_for = int(_NOTES_FOR * 1000)
        await self._run(HAND_BACK, self.group, self.consumer, notes_for, *words)

    async def _bury(self, settlements: list[Settlement]) -> None:
        words: list[Word] = []
        for one in settlements:
            added = letter_words(one)
            outcome = outcome_words(one) if self._outcomes_for else []
            words += (one.delivery.receipt, one.delivery.deliveries, len(added), len(outcome))
            words += (*added, *outcome)
        kept_for = self._dead_letters_for or ""
        await self._run(BURY, self.group, self.consumer, kept_for, self._outcomes_for, *words)

    # Redis.

    async def _run(self, script: _Script, *words: Word) -> Any:  # noqa: ANN401 - of each its own
        return await self._ask(lambda: self._evaluate(script, words))

    async def _evaluate(self, script: _Script, words: Sequence[Word]) -> Any:  # noqa: ANN401
        keys = self.keys.stream, self.keys.failures, self.keys.outcomes, self.keys.dead_letters
        facts = script.keys, *keys[: script.keys], *words
        try:
            return await self._send("EVALSHA", script.digest, *facts, **{NEVER_DECODE: True})
        except NoScriptError:  # Redis was restarted
            return await self._send("EVAL", script.text, *facts, **{NEVER_DECODE: True})

    async def _ask(self, command: Callable[[], Awaitable[T]]) -> T:
        """Ask Redis, and make the group anew if Redis came back without it."""
        while True:
            try:
                return await self._link.ask(command)
            except SourceError as error:
                if not any(code in str(error) for code in ("NOGROUP", "UNBLOCKED")):
                    raise
            _LOG.warning("the group %s is gone; it is made anew", self.group)
            await self._link.make_group(self.keys.stream, self.group)

    async def _length(self, stream: str) -> int:
        length: int = await self._link.ask(lambda: self._send("XLEN", stream))
        return length

    async def _check_version(self) -> None:
        try:
            facts = await self._link.ask(lambda: self._send("INFO", "server"))
        except SourceError:
            return  # whoever may not ask has to know it
        version = str(facts.get("redis_version", ""))
        parts = version.split(".")
        if all(part.isdecimal() for part in parts) and tuple(map(int, parts)) < _OLDEST:
            oldest = ".".join(map(str, _OLDEST))
            raise SourceError(
                f"Redis at {self._link.address} is {version}; the oldest that will do is {oldest}"
            )


class _Script:
    """A script, the digest that Redis knows it by, and how many of our keys it touches."""

    def __init__(self, text: str, keys: int) -> None:
        self.text, self.keys = text, keys
        self.digest = sha1(text.encode(), usedforsecurity=False).hexdigest()


RECLAIM = _Script(scripts.RECLAIM, 1)
RENEW = _Script(scripts.RENEW, 1)
LEAVE = _Script(scripts.LEAVE, 1)
SWEEP = _Script(scripts.SWEEP, 1)
SETTLE = _Script(scripts.SETTLE, 2)
HAND_BACK = _Script(scripts.HAND_BACK, 2)
SETTLE_AND_TELL = _Script(scripts.SETTLE_AND_TELL, 3)
BURY = _Script(scripts.BURY, 4)


def _batches(items: Sequence[T]) -> list[Sequence[T]]:
    return [items[start : start + _BATCH] for start in range(0, len(items), _BATCH)]


def _milliseconds(name: str, seconds: float) -> int:
    if isinstance(seconds, bool) or not isinstance(seconds, int | float):
        raise InvalidInputError(f"{name} must be a number of seconds")
    if not _SHORTEST <= seconds <= _LONGEST:
        raise InvalidInputError(f"{name} must be from a millisecond to ten years")
    return math.ceil(seconds * 1000)
