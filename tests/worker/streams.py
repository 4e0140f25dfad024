"""What the tests of streams share: a Redis of either kind, and one that loses answers."""

from __future__ import annotations

from collections import Counter
from collections.abc import AsyncIterator, Callable, Container
from contextlib import asynccontextmanager
from typing import Any

import fakeredis
import pytest
from redis.exceptions import ConnectionError as LostError

from badges_async.worker import ClaimEvent, connect, redis_link

Client = Any
"""A `Redis`; its types allow for clients that decode, and ours never does."""

ENGINES = ["fakeredis", "redis"]
STREAM, LETTERS = "{badges:claims}", "{badges:claims}:dlq"
BADGE = "662749408fe258516a88fe89"


@asynccontextmanager
async def engine(request: pytest.FixtureRequest) -> AsyncIterator[Client]:
    """Give an empty Redis of the kind that *request* says, without waits after a lost answer."""
    request.getfixturevalue("monkeypatch").setattr(redis_link, "_FIRST_WAIT", 0.0)
    if request.param == "redis":
        redis: Client = connect(request.getfixturevalue("redis_url"))
    else:
        redis = fakeredis.FakeAsyncRedis()
    try:
        yield redis
    finally:
        await redis.aclose()


def events(*numbers: int) -> list[ClaimEvent]:
    """Give an event for each of *numbers*; the same for the same one."""
    return [ClaimEvent(BADGE, "Loyalty", f"member-{number}") for number in numbers]


async def numbers_in(redis: Client, stream: str = STREAM) -> list[int]:
    """Give what `events` was given, of the entries of a stream."""
    rows = [ClaimEvent.parse(fields[b"d"]) for _, fields in await redis.xrange(stream)]
    return [int(row.reference_id.removeprefix("member-")) for row in rows]


class KilledError(Exception):
    """Whoever asked is no more."""


class Line:
    """
    The scripts that Redis is sent, and what becomes of them.

    Attributes:
        asked: The number of the script that was sent last.
        lost: The numbers of scripts that are carried out, and whose answer is lost.
        killed_before: The number of the script that is not sent any more.
        killed_after: The number of the script whose answer nobody is there for.
        between: Called after each script was carried out.
    """

    def __init__(self, redis: Client) -> None:
        self.asked = -1
        self.lost: Container[int] = ()
        self.killed_before = self.killed_after = -1
        self.between: Callable[[int], object] | None = None
        self._evalsha = redis.evalsha
        redis.evalsha = self._ask

    async def _ask(self, *args: Any) -> Any:
        self.asked += 1
        number = self.asked
        if number == self.killed_before:
            raise KilledError
        answer = await self._evalsha(*args)
        if self.between is not None:
            self.between(number)
        if number == self.killed_after:
            raise KilledError
        if number in self.lost:
            raise LostError("the answer was lost")
        return answer


def rows_once(*inputs: list[int]) -> Counter[int]:
    """Give the rows of *inputs* that share what they begin with: each prefix has one last row."""
    prefixes = {tuple(rows[:end]) for rows in inputs for end in range(1, len(rows) + 1)}
    return Counter(prefix[-1] for prefix in prefixes)
