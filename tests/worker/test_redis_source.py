"""The source in Redis, beside what every source keeps to: what it writes, outages, refusals."""

from __future__ import annotations

import asyncio
import json
import socket
from collections.abc import AsyncIterator, Awaitable, Callable
from pathlib import Path
from typing import Any

import pytest
from redis.asyncio import Redis

from badges_async import (
    BadgeNotFoundError,
    ClaimOutcome,
    ClaimStatus,
    InvalidInputError,
    Notice,
)
from badges_async.worker import (
    ClaimEvent,
    Delivery,
    RedisSource,
    Settlement,
    SourceError,
    Verdict,
    connect,
    redis_link,
    redis_source,
)
from tests.worker.redis_servers import RedisServer, free_port
from tests.worker.test_source_contract import (
    an_event,
    buried,
    fetched,
    names,
    released,
    retried,
    settled,
)

STREAM, LETTERS = "{badges:claims}", "{badges:claims}:dlq"
OUTCOMES, FAILURES = "{badges:claims}:outcomes", "{badges:claims}:failures"
GROUP = "claim-workers"
Fields = dict[bytes, bytes]


@pytest.fixture
async def redis(redis_url: str) -> AsyncIterator[Redis]:
    async with connect(redis_url) as client:
        yield client


async def opened(redis: Redis, **options: Any) -> RedisSource:
    source = RedisSource(redis, **{"lease": 0.2, **options})
    await source.open()
    return source


async def put(redis: Redis, *events: ClaimEvent) -> None:
    for event in events:
        await redis.xadd(STREAM, {"d": event.to_json()})


async def one_of(source: RedisSource) -> Delivery:
    [delivery] = await fetched(source)
    return delivery


async def read(redis: Redis, stream: str) -> list[Fields]:
    """Give the fields of all entries."""
    send: Callable[..., Awaitable[Any]] = redis.execute_command
    entries = await send("XRANGE", stream, "-", "+")
    return [fields if isinstance(fields, dict) else dict(fields) for _, fields in entries]


async def consumers(redis: Redis) -> set[str]:
    return {row["name"].decode() for row in await redis.xinfo_consumers(STREAM, GROUP)}


# Dead letters.


def refused(delivery: Delivery) -> Settlement:
    error = BadgeNotFoundError(
        status=404, errors=(Notice(711, "Badge not found", None),), request_id="r-1"
    )
    assert isinstance(delivery.event, ClaimEvent)
    outcome = ClaimOutcome(delivery.event, ClaimStatus.REJECTED, error=error, attempts=1)
    return Settlement(delivery, Verdict.BURY, outcome, "rejected", error.message)


async def test_a_dead_letter_is_the_message_and_why_it_is_one(redis: Redis) -> None:
    source = await opened(redis, consumer="worker-7")
    message = {b"d": an_event().to_json(), b"\xff\x00": b"\xfe\r\n", b"dlq.of_old": b"x"}
    await redis.xadd(STREAM, message)  # type: ignore[arg-type]
    delivery = await one_of(source)
    for number in (1, 2):
        await source.settle([Settlement(delivery, Verdict.RETRY, error=f'no "{number}"\n\xe9')])
        delivery = await one_of(source)
    await source.settle([refused(delivery)])

    [letter] = await read(redis, LETTERS)
    seconds, _ = await redis.time()
    assert abs(int(letter.pop(b"dlq.at")) - seconds * 1000) < 60_000
    history = [json.loads(line) for line in letter.pop(b"dlq.history").splitlines()]
    assert letter == {
        b"d": an_event().to_json(),
        b"\xff\x00": b"\xfe\r\n",
        b"dlq.reason": b"rejected",
        b"dlq.error": b"Badge not found",
        b"dlq.status": b"404",
        b"dlq.code": b"711",
        b"dlq.requestId": b"r-1",
        b"dlq.source": delivery.receipt,
        b"dlq.deliveries": b"3",
        b"dlq.worker": b"worker-7",
    }
    assert all(abs(note.pop("at") - seconds * 1000) < 60_000 for note in history)
    assert history == [
        {"deliveries": number, "worker": "worker-7", "error": f'no "{number}"\n\xe9'}
        for number in (1, 2)
    ]
    assert await redis.exists(FAILURES) == 0
    assert await source.is_empty()


async def test_a_dead_letter_keeps_thousands_of_fields(redis: Redis) -> None:
    source = await opened(redis)
    message = {b"field %d" % number: b"\xff%d" % number for number in range(3_500)}
    await redis.xadd(STREAM, message)  # type: ignore[arg-type]
    await source.settle([buried(await one_of(source))])
    [letter] = await read(redis, LETTERS)
    assert {
        name: value for name, value in letter.items() if not name.startswith(b"dlq.")
    } == message
    assert b"dlq.dropped" not in letter


async def test_a_dead_letter_says_how_many_fields_it_had_no_room_for(redis: Redis) -> None:
    source = await opened(redis)
    await redis.xadd(STREAM, {str(number): "" for number in range(9_000)})
    await source.settle([buried(await one_of(source))])
    [letter] = await read(redis, LETTERS)
    assert letter[b"dlq.dropped"] == b"5500"
    assert letter[b"dlq.reason"] == b"rejected"


async def test_what_was_taken_away_leaves_no_letter(redis: Redis) -> None:
    source = await opened(redis)
    await put(redis, an_event())
    delivery = await one_of(source)
    await redis.xdel(STREAM, delivery.receipt)
    await source.settle([buried(delivery)])
    assert await redis.xlen(LETTERS) == 0
    assert (await redis.xpending(STREAM, GROUP))["pending"] == 0


@pytest.mark.parametrize(("kept_for", "left"), [(3600.0, 3), (None, 303)])
async def test_dead_letters_go_by_age_and_by_nothing_else(
    redis: Redis, kept_for: float | None, left: int
) -> None:
    source = await opened(redis, dead_letters_for=kept_for)
    seconds, _ = await redis.time()
    for number in range(300):
        await redis.xadd(LETTERS, {"old": "1"}, id=f"{(seconds - 4000) * 1000}-{number}")
    for number in range(2):
        await redis.xadd(LETTERS, {"young": "1"}, id=f"{(seconds - 3000) * 1000}-{number}")
    await put(redis, an_event())
    await source.settle([buried(await one_of(source))])
    assert await redis.xlen(LETTERS) == left


async def test_an_old_delivery_of_our_own_touches_no_new_one(redis: Redis) -> None:
    source = await opened(redis)
    await put(redis, an_event())
    old = await one_of(source)
    new = await one_of(source)  # the lease has ended
    assert new.deliveries == 2
    await source.settle([buried(old), retried(old), released(old)])
    assert await redis.xlen(LETTERS) == 0
    assert await redis.exists(FAILURES) == 0
    [row] = await redis.xpending_range(STREAM, GROUP, "-", "+", 1)
    assert row["times_delivered"] == 2
    await source.settle([buried(new)])
    assert await redis.xlen(LETTERS) == 1


async def test_many_leases_that_ended_are_taken_without_a_pause(redis: Redis) -> None:
    first, second = await opened(redis, lease=60.0), await opened(redis, lease=60.0)
    await put(redis, *map(an_event, range(10)))
    await first.settle([released(delivery) for delivery in await fetched(first, 10)])
    came = [names(await second.fetch(2, 0.0)) for _ in range(5)]
    assert [name for share in came for name in share] == [f"member-{n}" for n in range(10)]


# Answers that are lost: everything may be asked for twice.


async def test_everything_may_be_done_twice(redis: Redis) -> None:
    source = await opened(redis, lease=30.0, outcomes_for=60.0)
    await put(redis, *map(an_event, range(4)))
    a, b, c, d = await fetched(source, 4)
    for _ in range(2):
        await source.settle([settled(a), buried(b), released(c), retried(d, 20.0)])
    assert await redis.xlen(LETTERS) == 1
    assert await redis.xlen(OUTCOMES) == 2
    assert len(await notes_of(redis, d)) == 1
    rows = await redis.xpending_range(STREAM, GROUP, "-", "+", 9)
    assert [row["times_delivered"] for row in rows] == [0, 1]


async def notes_of(redis: Redis, delivery: Delivery) -> list[Any]:
    notes = await redis.hget(FAILURES, delivery.receipt) or b""
    assert len(notes) <= 8192
    return [json.loads(line) for line in notes.splitlines()]


@pytest.mark.slow
async def test_notes_are_bounded_and_go_with_the_entry(redis: Redis) -> None:
    source = await opened(redis)
    await put(redis, an_event())
    delivery = await one_of(source)
    for number in range(40):
        await source.settle([Settlement(delivery, Verdict.RETRY, error=f"{number} " * 200)])
        delivery = await one_of(source)
    noted = [note["deliveries"] for note in await notes_of(redis, delivery)]
    assert noted == list(range(41 - len(noted), 41))  # the newest
    assert len(noted) > 10
    assert 0 < await redis.ttl(FAILURES) <= 30 * 86_400
    await source.settle([settled(delivery)])
    assert await redis.exists(FAILURES) == 0


async def test_scripts_that_redis_forgot_are_told_again(redis: Redis) -> None:
    source = await opened(redis)
    await put(redis, *map(an_event, range(3)))
    for delivery in await fetched(source, 3):
        await redis.script_flush()
        await source.settle([settled(delivery)])
    assert await source.is_empty()


# Outcomes.


async def test_outcomes_are_told_to_whoever_waits_for_them(redis: Redis) -> None:
    source = await opened(redis, outcomes_for=3600.0)
    await put(redis, *map(an_event, range(3)))
    one, two, three = await fetched(source, 3)
    await source.settle([settled(one), refused(two)])
    await source.settle([retried(three)])
    first, second = await read(redis, OUTCOMES)
    assert first == {
        b"entry": one.receipt,
        b"id": b"event-0",
        b"badgeId": b"662749408fe258516a88fe89",
        b"ownerType": b"Loyalty",
        b"referenceId": b"member-0",
        b"status": b"claimed",
        b"attempts": b"1",
        b"recovered": b"0",
    }
    assert (second[b"status"], second[b"reason"]) == (b"rejected", b"rejected")
    again = await one_of(source)
    await source.settle([settled(again)])
    assert await redis.xlen(OUTCOMES) == 3
    assert await redis.exists(FAILURES) == 0


async def test_no_outcomes_are_told_unless_they_are_asked_for(redis: Redis) -> None:
    source = await opened(redis)
    await put(redis, an_event())
    await source.settle([settled(await one_of(source))])
    assert await redis.exists(OUTCOMES) == 0


async def test_outcomes_go_by_age(redis: Redis) -> None:
    source = await opened(redis, outcomes_for=3600.0)
    seconds, _ = await redis.time()
    for number in range(500):
        await redis.xadd(OUTCOMES, {"old": "1"}, id=f"{(seconds - 4000) * 1000}-{number}")
    await put(redis, an_event())
    await source.settle([settled(await one_of(source))])
    assert await redis.xlen(OUTCOMES) < 200  # by the hundred: to trim them exactly costs more


# The names of consumers.


async def test_a_name_is_left_only_by_who_holds_nothing(redis: Redis) -> None:
    """Redis would drop what the consumer holds: neither pending nor handed out any more."""
    holder, idler = await opened(redis), await opened(redis)
    await put(redis, an_event(0), an_event(1))
    await holder.fetch(1, 1.0)
    await idler.settle([settled(await one_of(idler))])
    assert await consumers(redis) == {holder.consumer, idler.consumer}
    await idler.close()
    await holder.close()
    assert await consumers(redis) == {holder.consumer}
    assert names([await one_of(await opened(redis))]) == ["member-0"]


async def test_names_that_are_not_in_use_are_swept(
    redis: Redis, monkeypatch: pytest.MonkeyPatch
) -> None:
    holder = await opened(redis)
    await put(redis, an_event())
    await one_of(holder)
    await redis.xgroup_createconsumer(STREAM, GROUP, "killed")
    source = await opened(redis, lease=60.0)
    await put(redis, an_event())
    await source.settle([settled(await one_of(source))])
    assert await consumers(redis) == {holder.consumer, source.consumer, "killed"}
    monkeypatch.setattr(redis_source, "_UNUSED_FOR", 0.0)
    await source.fetch(1, 0.0)  # the next sweep is in an hour
    assert "killed" in await consumers(redis)
    await source.open()
    await source.fetch(1, 0.0)
    assert await consumers(redis) == {holder.consumer, source.consumer}


def test_no_two_sources_have_one_name() -> None:
    redis = connect("redis://localhost")
    assert RedisSource(redis).consumer != RedisSource(redis).consumer


# What goes away and comes back.


async def test_a_group_that_is_gone_is_made_anew(redis: Redis) -> None:
    source = await opened(redis)
    await put(redis, an_event(1))
    delivery = await one_of(source)
    await redis.xgroup_destroy(STREAM, GROUP)
    assert list(await source.renew([delivery])) == []
    await redis.xgroup_destroy(STREAM, GROUP)
    await source.settle([retried(delivery)])
    await redis.xgroup_destroy(STREAM, GROUP)
    assert names(await fetched(source)) == ["member-1"]
    await source.settle([settled(delivery)])
    assert await source.is_empty()


async def test_who_has_room_for_nothing_is_given_nothing(redis: Redis) -> None:
    source = await opened(redis)
    await put(redis, an_event())
    assert list(await source.fetch(0, 60.0)) == []
    assert names([await one_of(source)]) == ["member-0"]


async def test_a_key_that_becomes_another_kind_is_said(
    redis: Redis, caplog: pytest.LogCaptureFixture
) -> None:
    source = await opened(redis)
    await redis.set(STREAM, "a text")
    with pytest.raises(SourceError, match="WRONGTYPE"):
        await source.fetch(1, 0.0)
    assert "made anew" not in caplog.text


async def test_names_that_cannot_be_swept_keep_no_event_back(
    redis: Redis, caplog: pytest.LogCaptureFixture, monkeypatch: pytest.MonkeyPatch
) -> None:
    script = redis_source._Script("return redis.error_reply('NO')", 1)  # noqa: SLF001
    monkeypatch.setattr(redis_source, "SWEEP", script)
    source = await opened(redis)
    await put(redis, an_event())
    assert names([await one_of(source)]) == ["member-0"]
    assert "names of consumers that are gone stay" in caplog.text


async def test_a_stream_that_is_deleted_ends_no_worker_that_waits(redis: Redis) -> None:
    source = await opened(redis, lease=60.0)
    async with asyncio.TaskGroup() as group:
        fetching = group.create_task(source.fetch(1, 20.0))
        await asyncio.sleep(0.05)  # so that it waits
        await redis.delete(STREAM)
        await asyncio.sleep(0.05)
        await put(redis, an_event())
        assert names(await fetching) == ["member-0"]


async def test_redis_is_killed_while_events_are_fetched_and_settled(tmp_path: Path) -> None:
    with RedisServer(tmp_path, appendonly=True, appendfsync="always") as server:
        async with connect(server.url) as redis:
            source = await opened(redis, lease=1.0)
            await put(redis, an_event(1), an_event(2))
            one, two = await fetched(source, 2)
            fetching = asyncio.get_running_loop().create_task(source.fetch(1, 20.0))
            await asyncio.sleep(0.05)  # so that it waits
            server.kill()
            settling = asyncio.get_running_loop().create_task(
                source.settle([settled(one), buried(two)])
            )
            renewing = asyncio.get_running_loop().create_task(source.renew([two]))
            await asyncio.sleep(0.3)
            assert not any(task.done() for task in (fetching, settling, renewing))
            server.restart()
            async with asyncio.timeout(10):
                await settling
                assert list(await renewing) == []
            await put(redis, an_event(3))
            async with asyncio.timeout(10):
                assert names(await fetching) == ["member-3"]
            assert await redis.xlen(LETTERS) == 1
            assert await redis.xlen(STREAM) == 1


async def test_closing_does_not_wait_for_redis(tmp_path: Path) -> None:
    with RedisServer(tmp_path) as server:
        async with connect(server.url) as redis:
            source = await opened(redis)
            server.kill()
            loop = asyncio.get_running_loop()
            began = loop.time()
            await source.close()
            assert loop.time() - began < 3.0


async def test_closing_waits_for_no_answer_for_long(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(redis_source, "_CLOSE_WITHIN", 0.1)
    with socket.create_server(("127.0.0.1", 0)) as mute:
        url = f"redis://127.0.0.1:{mute.getsockname()[1]}/0"
        async with connect(url) as redis, asyncio.timeout(3):
            await RedisSource(redis).close()


async def test_no_cancellation_is_lost(redis: Redis) -> None:
    """It may come at any moment of a command; redis-py swallows some."""
    source = await opened(redis)
    loop = asyncio.get_running_loop()
    for number in range(300):
        task: asyncio.Task[Any] = loop.create_task(source.renew([Delivery(an_event(), b"1-1")]))
        loop.call_later(number * 2e-6, task.cancel)
        await asyncio.wait([task])
        assert task.cancelled() or not task.cancelling()

    async def end_ourselves() -> None:
        ourselves = asyncio.current_task()
        assert ourselves is not None
        ourselves.cancel()
        await source.renew([Delivery(an_event(), b"1-1")])

    for _ in range(20):
        task = loop.create_task(end_ourselves())
        await asyncio.wait([task])
        assert task.cancelled()


# What is refused.


async def refusal(redis: Redis) -> str:
    """Give what the source says when it is opened, which is soon."""
    async with asyncio.timeout(3):
        with pytest.raises(SourceError) as caught:
            await RedisSource(redis).open()
    return str(caught.value)


@pytest.mark.parametrize("password", ["wr0ng-secret", None])
async def test_a_wrong_password_is_said_at_once(tmp_path: Path, password: str | None) -> None:
    with RedisServer(tmp_path, options=("--requirepass", "r1ght-secret")) as server:
        async with connect(server.url, password=password) as redis:
            said = await refusal(redis)
        async with connect(server.url, password="r1ght-secret") as redis:
            await RedisSource(redis).open()
    assert "secret" not in said
    assert str(server.port) in said


async def test_who_may_not_is_told_so_at_once(redis: Redis, redis_server: RedisServer) -> None:
    send: Callable[..., Awaitable[Any]] = redis.execute_command
    await send("ACL", "SETUSER", "guest", "on", ">s3cret", "~*", "+ping")
    try:
        url = f"redis://guest:s3cret@127.0.0.1:{redis_server.port}/0"
        async with connect(url) as guest:
            said = await refusal(guest)
    finally:
        await send("ACL", "DELUSER", "guest")
    assert "permission" in said
    assert "s3cret" not in said


@pytest.mark.parametrize("key", [STREAM, LETTERS, OUTCOMES])
async def test_a_key_of_another_kind_is_said_at_once(redis: Redis, key: str) -> None:
    await redis.set(key, "a text")
    assert "WRONGTYPE" in await refusal(redis)


async def test_who_is_never_there_is_said(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(redis_link, "_REACH_WITHIN", 0.2)
    async with connect(f"redis://:s3cret@127.0.0.1:{free_port()}/0") as redis:
        said = await refusal(redis)
    assert "does not answer" in said
    assert "s3cret" not in said


class _Says:
    """A client whose server says that it is of some version."""

    def __init__(self, redis: Redis, facts: dict[str, str]) -> None:
        self._redis, self._facts = redis, facts

    def __getattr__(self, name: str) -> Any:
        return getattr(self._redis, name)

    async def execute_command(self, *words: Any, **options: Any) -> Any:
        if words[0] == "INFO":
            return self._facts
        send: Callable[..., Awaitable[Any]] = self._redis.execute_command
        return await send(*words, **options)


def saying(redis: Redis, version: str | None) -> Any:
    return _Says(redis, {} if version is None else {"redis_version": version})


@pytest.mark.parametrize("version", ["7.0.14", "6.2.99", "7.0"])
async def test_a_server_that_is_too_old_is_refused(redis: Redis, version: str) -> None:
    said = await refusal(saying(redis, version))
    assert version in said
    assert "7.0.15" in said


@pytest.mark.parametrize("version", ["7.0.15", "7.2.0", "255.255.255", "8.0-rc1", None])
async def test_other_servers_are_taken(redis: Redis, version: str | None) -> None:
    await RedisSource(saying(redis, version)).open()


@pytest.mark.parametrize(
    "options",
    [
        {"lease": 0},
        {"lease": float("nan")},
        {"lease": True},
        {"lease": "60"},
        {"outcomes_for": 0},
        {"dead_letters_for": -1},
        {"group": ""},
        {"consumer": ""},
        {"stream": ""},
        {"stream": "{}x"},
    ],
)
def test_options_without_a_meaning_are_refused(options: dict[str, Any]) -> None:
    with pytest.raises(InvalidInputError):
        RedisSource(connect("redis://localhost"), **options)


# Clients of every kind.


@pytest.mark.parametrize("options", ["protocol=2", "protocol=3", "decode_responses=true"])
async def test_any_client_will_do(redis_url: str, redis: Redis, options: str) -> None:
    async with connect(f"{redis_url}?{options}") as client:
        source = await opened(client)
        await redis.xadd(
            STREAM, {"badgeId": "b", "ownerType": "Loyalty", "referenceId": "\xe9", "id": "e"}
        )
        await redis.xadd(STREAM, {b"d": b"\xff"})
        good, bad = await fetched(source, 2)
        assert names([good]) == ["\xe9"]
        await source.settle([retried(good), buried(bad)])
        [good] = await fetched(source)
        assert good.deliveries == 2
        assert list(await source.renew([good])) == []
        await redis.xclaim(STREAM, GROUP, "another", 0, [good.receipt])
        assert list(await source.renew([good])) == [good]
        await source.settle([settled(good)])
        assert await source.is_empty()
        await source.close()


async def test_a_name_with_braces_is_a_key_as_it_is(redis: Redis) -> None:
    source = await opened(redis, stream="{shop}:claims", group="others")
    await redis.xadd("{shop}:claims", {"d": an_event().to_json()})
    await source.settle([buried(await one_of(source))])
    assert await redis.xlen("{shop}:claims:dlq") == 1
