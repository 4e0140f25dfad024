"""What the tests of workers share: one way to make each kind of source."""

from __future__ import annotations

from collections.abc import AsyncIterator, Awaitable, Callable
from typing import Protocol

import attrs
import fakeredis
import pytest

from badges_async.worker import ClaimEvent, MemorySource, RedisSource, Source, connect


class Put(Protocol):
    """Leaves an event, or a message of one, where the sources find it."""

    def __call__(self, *events: ClaimEvent | bytes) -> Awaitable[None]: ...


@attrs.frozen
class SourceMaker:
    """
    One engine, and consumers of it.

    Attributes:
        engine: ``memory``, ``fakeredis`` or ``redis``.
        source: Makes one more consumer of the same events.
        put: Leaves events.
        lease: Seconds, of every source.
    """

    engine: str
    source: Callable[[], Source]
    put: Put
    lease: float


@pytest.fixture
def lease() -> float:
    """Seconds; short, because tests wait for its end. A test may be given another."""
    return 0.25


@pytest.fixture(params=["memory", "fakeredis", "redis"])
async def source_maker(request: pytest.FixtureRequest, lease: float) -> AsyncIterator[SourceMaker]:
    """Make sources of every kind."""
    engine: str = request.param
    if engine == "memory":
        yield _in_memory(lease)
        return
    if engine == "redis":
        redis = connect(request.getfixturevalue("redis_url"))
    else:
        redis = fakeredis.FakeAsyncRedis()

    async def put(*events: ClaimEvent | bytes) -> None:
        for event in events:
            data = event if isinstance(event, bytes) else event.to_json()
            await redis.xadd("{badges:claims}", {"d": data})

    yield SourceMaker(engine, lambda: RedisSource(redis, lease=lease), put, lease)
    await redis.aclose()


def _in_memory(lease: float) -> SourceMaker:
    first = MemorySource(lease=lease)

    async def put(*events: ClaimEvent | bytes) -> None:
        for event in events:
            await first.put(event)

    return SourceMaker("memory", first.sibling, put, lease)
