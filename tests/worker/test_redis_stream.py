"""How a stream stands, and what every call of one keeps to."""

from __future__ import annotations

import asyncio
import json
from collections.abc import AsyncIterator

import fakeredis
import pytest

from badges_async import InvalidInputError
from badges_async.worker import RedisStream, SourceError, connect
from badges_async.worker.standing import Consumer, Standing, read_standing
from tests.worker.streams import ENGINES, LETTERS, STREAM, Client, engine, events

GROUP = "claim-workers"


@pytest.fixture(params=ENGINES)
async def redis(request: pytest.FixtureRequest) -> AsyncIterator[Client]:
    async with engine(request) as redis:
        yield redis


async def test_a_stream_that_does_not_exist_stands_empty(redis: Client) -> None:
    assert await RedisStream(redis).standing() == Standing()
    await redis.xadd(STREAM, {"d": "no group yet"})
    assert (await RedisStream(redis).standing()).waiting == 1


async def test_it_says_what_waits_and_who_has_what(redis: Client) -> None:
    stream = RedisStream(redis)
    await stream.add(events(*range(10)))
    await redis.xreadgroup(GROUP, "b", {STREAM: ">"}, count=3)
    await redis.xreadgroup(GROUP, b"a\xff", {STREAM: ">"}, count=2)
    await redis.xadd(LETTERS, {"d": "x"})
    await redis.xadd(f"{STREAM}:outcomes", {"d": "x"})
    stands = await stream.standing()
    assert (stands.waiting, stands.pending) == (5, 5)
    assert (stands.dead_letters, stands.outcomes) == (1, 1)
    assert [(one.name, one.pending) for one in stands.consumers] == [("a\\xff", 2), ("b", 3)]
    assert all(0 <= one.idle_seconds < 30 for one in stands.consumers)
    assert stands.oldest_seconds is not None
    assert 0 <= stands.oldest_seconds < 30
    assert json.loads(json.dumps(stands.as_values()))["consumers"][1]["name"] == "b"


async def test_what_waits_is_known_after_a_deletion(redis: Client) -> None:
    stream = RedisStream(redis)
    await stream.add(events(*range(6)))
    await redis.xreadgroup(GROUP, "a", {STREAM: ">"}, count=2)
    ids = [entry_id for entry_id, _ in await redis.xrange(STREAM)]
    await redis.xdel(STREAM, ids[4])  # nobody had it: the lag is null from now on
    assert (await stream.standing()).waiting == 3
    await redis.xdel(STREAM, *ids)
    stands = await stream.standing()
    assert (stands.waiting, stands.pending, stands.oldest_seconds) == (0, 2, None)


async def test_the_oldest_is_as_old_as_its_id_says(redis: Client) -> None:
    seconds, _ = await redis.time()
    await redis.xadd(STREAM, {"d": "x"}, id=f"{(seconds - 3600) * 1000}-0")
    oldest = (await RedisStream(redis).standing()).oldest_seconds
    assert oldest == pytest.approx(3600, abs=30)


def test_an_entry_from_the_future_has_no_age() -> None:
    reply = [1, 0, 0, 0, b"18446744073709551615-7", b"1795416000.000001", []]
    assert read_standing(reply) == Standing(waiting=1, oldest_seconds=0.0)


def test_facts_about_consumers_may_become_more() -> None:
    facts = [b"name", b"a", b"pending", 1, b"idle", 1500, b"inactive", 7]
    assert read_standing([1, 1, 0, 0, b"", b"1.0", [facts]]).consumers == (Consumer("a", 1, 1.5),)


async def test_both_protocols_say_the_same(redis_url: str) -> None:
    found = []
    for protocol in (2, 3):
        redis = connect(f"{redis_url}?protocol={protocol}")
        stream = RedisStream(redis)
        await stream.add(events(1, 2))
        await redis.xreadgroup(GROUP, "a", {STREAM: ">"}, count=1)
        await redis.xadd(LETTERS, {"d": "x", "dlq.reason": "unreadable"})
        stands = await stream.standing()
        letters = [letter.reason async for letter in stream.letters(newest_first=True)]
        found.append((stands.pending, stands.waiting, letters, await stream.purge()))
        await redis.flushall()
        await redis.aclose()
    assert found == [(1, 1, ["unreadable"], 1)] * 2


async def test_another_name_is_another_stream(redis: Client) -> None:
    await RedisStream(redis, stream="a").add(events(1))
    assert (await RedisStream(redis, stream="b").standing()).waiting == 0
    assert await redis.xlen("{a}") == 1


async def test_a_key_of_another_kind_is_an_error(redis: Client) -> None:
    await redis.set(STREAM, "text")
    with pytest.raises(SourceError, match="WRONGTYPE"):
        await RedisStream(redis).standing()


async def test_a_client_that_decodes_is_refused() -> None:
    redis = fakeredis.FakeAsyncRedis(decode_responses=True)
    with pytest.raises(InvalidInputError, match="decode"):
        RedisStream(redis)
    await redis.aclose()


@pytest.mark.parametrize("turns", range(16))
async def test_no_cancellation_is_lost(redis: Client, turns: int) -> None:
    async def look() -> None:
        await RedisStream(redis).standing()
        await asyncio.Event().wait()

    await RedisStream(redis).standing()
    async with asyncio.TaskGroup() as group:
        looking = group.create_task(look())
        for _ in range(turns):
            await asyncio.sleep(0)
        looking.cancel()
    assert looking.cancelled()


async def test_a_cancellation_before_a_call_is_not_lost(redis: Client) -> None:
    async def stop_and_look() -> None:
        task = asyncio.current_task()
        assert task is not None
        task.cancel()
        await RedisStream(redis).standing()

    async with asyncio.TaskGroup() as group:
        looking = group.create_task(stop_and_look())
    assert looking.cancelled()
