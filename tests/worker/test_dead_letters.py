"""Dead letters are read whatever they hold, sent back once, and deleted."""

from __future__ import annotations

from collections.abc import AsyncIterator
from typing import Any

import pytest

from badges_async import InvalidInputError
from badges_async.worker import RedisStream, SourceError
from badges_async.worker.dead_letters import DeadLetter, is_entry_id, read_letter
from tests.worker.streams import ENGINES, LETTERS, STREAM, Client, Line, engine, events, numbers_in


@pytest.fixture(params=ENGINES)
async def redis(request: pytest.FixtureRequest) -> AsyncIterator[Client]:
    async with engine(request) as redis:
        yield redis


async def bury(
    redis: Client, *numbers: int, reason: str = "rejected", ms: str = "", **more: Any
) -> list[str]:
    """Put events among the dead letters as a worker does, and give the ids of the letters."""
    ids = []
    for event in events(*numbers):
        fields: Any = {"d": event.to_json(), **more, "dlq.reason": reason, "dlq.status": "404"}
        ids.append((await redis.xadd(LETTERS, fields, id=ms or "*")).decode())
    return ids


async def all_letters(redis: Client, **options: Any) -> list[DeadLetter]:
    return [letter async for letter in RedisStream(redis).letters(**options)]


def test_a_letter_says_what_was_wrong() -> None:
    event = events(7)[0]
    letter = read_letter(
        b"5-1",
        {
            b"d": event.to_json(),
            b"requeued": b"2",
            b"dlq.reason": b"rejected",
            b"dlq.error": "nicht möglich".encode(),
            b"dlq.status": b"404",
            b"dlq.code": b"714",
            b"dlq.requestId": b"r-1",
            b"dlq.source": b"4-0",
            b"dlq.deliveries": b"3",
            b"dlq.worker": b"w",
            b"dlq.at": b"1795416000007",
            b"dlq.history": b'{"at":1,"error":"reset"}\nno json\n[1]\n{"at":2}\n',
        },
    )
    assert letter == DeadLetter(
        "5-1",
        "rejected",
        "nicht möglich",
        404,
        714,
        "r-1",
        "4-0",
        3,
        "w",
        "2026-11-23T06:40:00.007Z",
        ({"at": 1, "error": "reset"}, {"at": 2}),
        2,
        {b"d": event.to_json(), b"requeued": b"2"},
    )
    assert letter.event is not None
    assert letter.event.reference_id == "member-7"


@pytest.mark.parametrize("value", [b"", b"\xff\xfe", b"9" * 6000, b"-", b"\n\n", b"{", b"1e9"])
def test_whatever_a_letter_holds_it_is_read(value: bytes) -> None:
    texts = [b"dlq.reason", b"dlq.error", b"dlq.requestId", b"dlq.source", b"dlq.worker", b"dlq.at"]
    others = [b"dlq.status", b"dlq.code", b"dlq.deliveries", b"dlq.history", b"requeued"]
    letter = read_letter(b"1-1", {**dict.fromkeys([*texts, *others], value), b"": b""})
    assert letter.status is None
    assert (letter.deliveries, letter.requeued, letter.history) == (0, 0, ())
    assert letter.event is None
    assert letter.fields == {b"requeued": value, b"": b""}


def test_plain_fields_are_an_event_and_bad_ones_are_none() -> None:
    plain = {b"badgeId": b"b", b"ownerType": b"Loyalty", b"referenceId": b"a"}
    event = read_letter(b"1-1", {**plain, b"requeued": b"1", b"dlq.at": b"soon"}).event
    assert event is not None
    assert event.reference_id == "a"
    assert read_letter(b"1-1", {**plain, b"badgeId": b"\xff"}).event is None
    assert read_letter(b"1-1", {}) == DeadLetter("1-1")


@pytest.mark.parametrize(
    ("text", "is_one"),
    [
        ("1-1", True),
        ("1", False),
        ("", False),
        ("-", False),
        ("(1-1", False),
        ("٣-1", False),
        (f"{2**64 - 1}-0", True),
        (f"{2**64}-0", False),
        ("1-1\n", False),
    ],
)
def test_the_id_of_an_entry_is_known_when_seen(text: str, *, is_one: bool) -> None:
    assert is_entry_id(text) is is_one


async def test_letters_come_in_pages_in_either_order(redis: Client) -> None:
    ids = await bury(redis, *range(250))
    assert [letter.id for letter in await all_letters(redis)] == ids
    assert [letter.id for letter in await all_letters(redis, newest_first=True)] == ids[::-1]


async def test_letters_of_one_reason(redis: Client) -> None:
    await bury(redis, 1, 3)
    [other] = await bury(redis, 2, reason="exhausted")
    assert [letter.id for letter in await all_letters(redis, reason="exhausted")] == [other]
    assert await all_letters(redis, reason="none") == []


async def test_one_letter(redis: Client) -> None:
    first, _ = await bury(redis, 1, 2)
    stream = RedisStream(redis)
    letter = await stream.letter(first)
    assert letter is not None
    assert (letter.id, letter.status) == (first, 404)
    assert await stream.letter("1-1") is None
    assert await stream.letter("not an id") is None


async def test_letters_go_back_as_they_were_produced(redis: Client) -> None:
    odd: Any = {b"\xff\x00": b"\x00\xfe" * 1000, b"": b"", b"dlq.reason": b"x", b"dlq.at": b"1"}
    await redis.xadd(LETTERS, odd)
    await bury(redis, 1, requeued="4")
    assert await RedisStream(redis).requeue() == 2
    (_, first), (_, second) = await redis.xrange(STREAM)
    assert first == {b"\xff\x00": b"\x00\xfe" * 1000, b"": b"", b"requeued": b"1"}
    assert second == {b"d": events(1)[0].to_json(), b"requeued": b"5"}
    assert await redis.xlen(LETTERS) == 0


async def test_some_letters_go_back(redis: Client) -> None:
    ids = await bury(redis, *range(4))
    await bury(redis, 9, reason="exhausted")
    stream = RedisStream(redis)
    assert await stream.requeue([ids[2], ids[2], "1-1", "odd"]) == 1
    assert await stream.requeue([ids[2]]) == 0
    assert await stream.requeue(ids, reason="exhausted") == 0
    assert await stream.requeue(reason="exhausted") == 1
    assert await stream.requeue([]) == 0
    assert await numbers_in(redis) == [2, 9]
    assert await redis.xlen(LETTERS) == 3


@pytest.mark.parametrize("what", ["requeue", "purge"])
async def test_a_lost_answer_takes_nothing_twice_and_is_counted(redis: Client, what: str) -> None:
    stream = RedisStream(redis)
    ids = await bury(redis, *range(250))
    Line(redis).lost = range(0, 100, 2)
    assert await getattr(stream, what)(ids) == 250
    assert await numbers_in(redis) == (list(range(250)) if what == "requeue" else [])
    await bury(redis, *range(250))
    assert await getattr(stream, what)() == 250
    assert await redis.xlen(LETTERS) == 0


async def test_a_letter_that_comes_back_meanwhile_is_not_sent_again(redis: Client) -> None:
    await bury(redis, *range(250))
    evalsha = redis.evalsha

    async def ask_and_bury(*args: Any) -> Any:
        answer = await evalsha(*args)
        await bury(redis, 999)
        return answer

    redis.evalsha = ask_and_bury
    assert await RedisStream(redis).requeue() == 250
    assert await numbers_in(redis) == list(range(250))
    assert await redis.xlen(LETTERS) > 0


async def test_a_letter_of_very_many_fields_goes_back_or_stays(redis: Client) -> None:
    for fields in (3_500, 5_000):
        many: Any = {f"f{number}": "x" for number in range(fields)}
        await redis.xadd(LETTERS, many)
    assert [len(letter.fields) for letter in await all_letters(redis)] == [3_500, 5_000]
    stream = RedisStream(redis)
    assert await stream.requeue() == 1
    assert [len(letter.fields) for letter in await all_letters(redis)] == [5_000]
    assert await stream.purge() == 1


async def test_letters_are_deleted_by_age(redis: Client) -> None:
    seconds, _ = await redis.time()
    old, other = (
        await bury(redis, 1, ms=f"{(seconds - 7200) * 1000}-0"),
        await bury(redis, 2, ms=f"{(seconds - 7100) * 1000}-0", reason="exhausted"),
    )
    new = await bury(redis, 3, ms=f"{(seconds - 60) * 1000}-0")
    stream = RedisStream(redis)
    assert await stream.purge(new, older_than=3600) == 0
    assert await stream.purge(older_than=86_400) == 0
    assert await stream.purge(older_than=3600, reason="exhausted") == 1
    assert await stream.purge([*old, *other, *new], older_than=3600) == 1
    assert [letter.id for letter in await all_letters(redis)] == new
    assert await stream.purge() == 1


@pytest.mark.parametrize("seconds", [-1, float("nan"), float("inf")])
async def test_an_age_without_a_meaning_is_refused(redis: Client, seconds: float) -> None:
    await bury(redis, 1)
    with pytest.raises(InvalidInputError, match="older_than"):
        await RedisStream(redis).purge(older_than=seconds)
    assert await redis.xlen(LETTERS) == 1


@pytest.mark.parametrize("what", ["requeue", "purge"])
async def test_one_id_is_not_taken_for_several(redis: Client, what: str) -> None:
    with pytest.raises(InvalidInputError, match="several"):
        await getattr(RedisStream(redis), what)("1-1")


async def test_nothing_to_take_is_no_error(redis: Client) -> None:
    stream = RedisStream(redis)
    assert (await stream.requeue(), await stream.purge(), await all_letters(redis)) == (0, 0, [])


async def test_letters_of_another_kind_are_an_error(redis: Client) -> None:
    await redis.set(LETTERS, "text")
    with pytest.raises(SourceError, match="WRONGTYPE"):
        await RedisStream(redis).requeue()
