"""What the tests of workers share: Redis servers, and one way to make each kind of source."""

from __future__ import annotations

from collections.abc import AsyncIterator, Awaitable, Callable, Iterator
from typing import Protocol

import attrs
import fakeredis
import pytest
from redis import Redis as BlockingRedis

from badges_async.worker import ClaimEvent, MemorySource, RedisSource, Source, connect
from tests.worker.redis_servers import RedisServer


@pytest.fixture(scope="session")
def session_redis(tmp_path_factory: pytest.TempPathFactory) -> Iterator[RedisServer]:
    """Run one server for all tests of this process; it forgets everything."""
    with RedisServer(tmp_path_factory.mktemp("redis")) as server:
        yield server


@pytest.fixture
def redis_server(session_redis: RedisServer) -> RedisServer:
    """Give a server that is empty. It is not to be killed: others use it afterwards."""
    with BlockingRedis.from_url(session_redis.url) as redis:
        redis.flushall()
        redis.script_flush()
    return session_redis


@pytest.fixture
def redis_url(redis_server: RedisServer) -> str:
    """Give the URL of an empty database."""
    return redis_server.url


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
