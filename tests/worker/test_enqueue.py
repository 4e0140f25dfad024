"""Rows are entered once each: through kills, lost answers, runs at one time, and grown inputs."""

from __future__ import annotations

import asyncio
import json
from collections import Counter
from collections.abc import AsyncIterator
from datetime import datetime
from unittest import mock

import fakeredis
import pytest
from hypothesis import given, settings
from hypothesis import strategies as st

from badges_async import InvalidInputError
from badges_async.worker import ClaimEvent, RedisStream, SourceError, redis_enqueue, redis_link
from badges_async.worker.redis_enqueue import Added
from tests.worker.streams import (
    BADGE,
    ENGINES,
    STREAM,
    Client,
    KilledError,
    Line,
    engine,
    events,
    numbers_in,
    rows_once,
)

ROWS = range(10)


@pytest.fixture(params=ENGINES)
async def redis(request: pytest.FixtureRequest) -> AsyncIterator[Client]:
    async with engine(request) as redis:
        yield redis


async def test_rows_are_entered_in_their_order(redis: Client) -> None:
    told: list[Added] = []
    added = await RedisStream(redis).add(events(*ROWS), batch=4, on_batch=told.append)
    assert added == Added(rows=10, added=10, skipped=0)
    assert told == [Added(4, 4, 0), Added(8, 8, 0), added]
    assert await numbers_in(redis) == list(ROWS)


async def test_an_async_source_is_read_as_well(redis: Client) -> None:
    async def source() -> AsyncIterator[ClaimEvent]:
        for event in events(*ROWS):
            yield event

    assert (await RedisStream(redis).add(source(), batch=4)).added == 10
    assert await numbers_in(redis) == list(ROWS)


@pytest.mark.parametrize("batch", [1, 3, 4, 100])
async def test_the_same_rows_again_add_nothing_however_they_are_cut(
    redis: Client, batch: int
) -> None:
    await RedisStream(redis).add(events(*ROWS), batch=4)
    assert await RedisStream(redis).add(events(*ROWS), batch=batch) == Added(10, 0, 10)
    assert await numbers_in(redis) == list(ROWS)


async def test_rows_stay_known_when_workers_have_taken_them(redis: Client) -> None:
    await RedisStream(redis).add(events(*ROWS))
    await redis.xtrim(STREAM, maxlen=0, approximate=False)
    assert (await RedisStream(redis).add(events(*ROWS))).added == 0


async def test_of_a_grown_input_the_new_rows_are_added(redis: Client) -> None:
    stream = RedisStream(redis)
    await stream.add(events(*range(6)), batch=4)
    assert await stream.add(events(*ROWS), batch=4) == Added(10, 4, 6)
    assert await stream.add(events(*range(3)), batch=4) == Added(3, 0, 3)
    assert await numbers_in(redis) == list(ROWS)


async def test_a_changed_input_is_entered_from_its_first_change_on(redis: Client) -> None:
    stream = RedisStream(redis)
    changed = [*range(5), 77, *range(6, 10)]
    await stream.add(events(*ROWS), batch=4)
    for _ in range(2):
        await stream.add(events(*changed), batch=4)
        await stream.add(events(*ROWS), batch=3)
    assert Counter(await numbers_in(redis)) == rows_once(list(ROWS), changed)


async def test_equal_rows_of_one_input_are_rows_of_their_own(redis: Client) -> None:
    for _ in range(2):
        await RedisStream(redis).add(events(1, 1, 1, 1, 1), batch=2)
    assert await numbers_in(redis) == [1, 1, 1, 1, 1]


async def test_another_label_enters_the_same_rows_anew(redis: Client) -> None:
    stream = RedisStream(redis)
    for label in ("", "again", "again", "\udcff"):
        await stream.add(events(1, 2), label=label)
    assert await numbers_in(redis) == [1, 2] * 3


async def test_without_a_label_rows_are_always_new_and_entered_once(redis: Client) -> None:
    Line(redis).lost = {1, 3}
    for _ in range(2):
        assert await RedisStream(redis).add(events(1, 2), label=None) == Added(2, 2, 0)
    assert await numbers_in(redis) == [1, 2, 1, 2]


async def test_marks_are_forgotten_a_month_after_they_were_seen_last(redis: Client) -> None:
    await RedisStream(redis).add(events(*ROWS), batch=4)
    marks = [key async for key in redis.scan_iter(f"{STREAM}:added:*")]
    assert len(marks) == 3
    for mark in marks:
        await redis.expire(mark, 10)
    await RedisStream(redis).add(events(*ROWS), batch=4)
    assert [await redis.ttl(mark) for mark in marks] == pytest.approx([30 * 86_400] * 3, abs=5)


@pytest.mark.parametrize("number", range(3))
@pytest.mark.parametrize("when", ["killed_before", "killed_after"])
async def test_a_killed_run_goes_on_where_it_was(redis: Client, when: str, number: int) -> None:
    stream, line = RedisStream(redis), Line(redis)
    await stream.add(events(99), label="other")  # the script is known now: one for each batch
    line.asked = -1
    setattr(line, when, number)
    with pytest.raises(KilledError):
        await stream.add(events(*ROWS), batch=4)
    line.killed_before = line.killed_after = -1
    there = len(await numbers_in(redis)) - 1
    assert there == min(10, 4 * (number + (when == "killed_after")))
    assert await stream.add(events(*ROWS), batch=4) == Added(10, 10 - there, there)
    assert (await numbers_in(redis))[1:] == list(ROWS)


async def test_a_lost_answer_is_asked_for_again_and_counts_as_ours(redis: Client) -> None:
    Line(redis).lost = range(1, 100, 2)
    assert await RedisStream(redis).add(events(*ROWS), batch=4) == Added(10, 10, 0)
    assert await numbers_in(redis) == list(ROWS)


async def test_runs_at_one_time_share_the_rows(redis: Client) -> None:
    async def source(rows: int) -> AsyncIterator[ClaimEvent]:
        for event in events(*range(rows)):
            await asyncio.sleep(0)
            yield event

    stream = RedisStream(redis)
    async with asyncio.TaskGroup() as group:
        runs = [
            group.create_task(stream.add(source(rows), batch=batch))
            for rows, batch in ((200, 7), (200, 7), (150, 10), (177, 3))
        ]
    sums = [run.result() for run in runs]
    assert sorted(await numbers_in(redis)) == list(range(200))
    assert sum(one.added for one in sums) == 200
    assert all(one.added + one.skipped == one.rows for one in sums)


async def test_cancelling_leaves_whole_batches(redis: Client) -> None:
    stream, line = RedisStream(redis), Line(redis)
    async with asyncio.TaskGroup() as group:
        run = group.create_task(stream.add(events(*range(100)), batch=4))
        line.between = lambda number: run.cancel() if number == 5 else None
    assert run.cancelled()
    there = len(await numbers_in(redis))
    assert 0 < there < 100
    assert there % 4 == 0
    line.between = None
    await stream.add(events(*range(100)), batch=4)
    assert await numbers_in(redis) == list(range(100))


async def test_it_waits_while_too_much_is_waiting(
    redis: Client, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr(redis_enqueue, "_FIRST_WAIT", 0.0)
    stream, line, lengths = RedisStream(redis), Line(redis), []
    async with asyncio.TaskGroup() as group:
        run = group.create_task(stream.add(events(*range(40)), batch=4, most_waiting=8))
        while not run.done():
            lengths.append(await redis.xlen(STREAM))
            if lengths[-1] > 8:
                asked = line.asked
                # It asks again and again, and adds nothing.
                while not run.done() and line.asked < asked + 3:
                    await redis.ping()
                assert await redis.xlen(STREAM) == lengths[-1]
                await redis.xtrim(STREAM, maxlen=2, approximate=False)
    assert run.result().added == 40
    assert max(lengths) == 12
    # What is there already needs no room.
    assert (await stream.add(events(*range(40)), most_waiting=1)).skipped == 40


async def test_the_group_is_there_before_any_worker(redis: Client) -> None:
    await RedisStream(redis, group="mine").add(events(1, 2))
    await redis.xreadgroup("mine", "worker", {STREAM: ">"})
    await RedisStream(redis, group="mine").add(events(1, 2, 3))
    assert (await redis.xpending(STREAM, "mine"))["pending"] == 2


async def test_the_group_gets_what_was_there_before_it(redis: Client) -> None:
    await redis.xadd(STREAM, {"d": events(1)[0].to_json()})
    await RedisStream(redis).add(events(2))
    await redis.xreadgroup("claim-workers", "worker", {STREAM: ">"})
    assert (await redis.xpending(STREAM, "claim-workers"))["pending"] == 2


async def test_a_row_gets_the_time_of_redis_unless_it_has_one(redis: Client) -> None:
    own = ClaimEvent(BADGE, "Loyalty", "a", id="7", enqueued_at='then "é"', trace={"t": 1})
    await RedisStream(redis).add([own, *events(1)])
    first, second = [json.loads(fields[b"d"]) for _, fields in await redis.xrange(STREAM)]
    assert first["enqueuedAt"] == 'then "é"'
    assert (first["id"], first["trace"]) == ("7", {"t": 1})
    seconds, _ = await redis.time()
    made = datetime.fromisoformat(second["enqueuedAt"]).timestamp()
    assert made == pytest.approx(seconds, abs=30)
    # Its time is no part of a row.
    later = ClaimEvent(BADGE, "Loyalty", "a", id="7", enqueued_at="later", trace={"t": 1})
    assert (await RedisStream(redis).add([later, *events(1)])).added == 0


def test_a_time_is_written_as_rfc_3339() -> None:
    written = redis_enqueue._timestamp(1_795_416_000, 7_999)  # noqa: SLF001
    assert written == b'"2026-11-23T06:40:00.007Z"'


async def test_large_rows_go_in_smaller_batches(redis: Client) -> None:
    blob = {"blob": "x" * 60_000}
    large = [ClaimEvent(BADGE, "Loyalty", f"{number}", trace=blob) for number in range(40)]
    told: list[Added] = []
    await RedisStream(redis).add(large, on_batch=told.append)
    assert [one.rows for one in told] == [18, 36, 40]
    assert await redis.xlen(STREAM) == 40


@pytest.mark.parametrize(
    "bad",
    [
        "no event",
        ClaimEvent(BADGE, "Loyalty", "x" * 66_000),
        ClaimEvent(BADGE, "Loyalty", "a", enqueued_at="x" * 66_000),
        ClaimEvent(BADGE, "Loyalty", "a", trace={"a": object()}),
    ],
    ids=["other", "large", "large time", "no JSON"],
)
async def test_what_no_worker_could_read_is_refused(redis: Client, bad: ClaimEvent) -> None:
    with pytest.raises(InvalidInputError):
        await RedisStream(redis).add([*events(*range(5)), bad], batch=4)
    assert await numbers_in(redis) == [0, 1, 2, 3]


@pytest.mark.parametrize("options", [{"batch": 0}, {"batch": True}, {"most_waiting": 0}])
async def test_options_without_a_meaning_are_refused(
    redis: Client, options: dict[str, int]
) -> None:
    with pytest.raises(InvalidInputError, match=next(iter(options))):
        await RedisStream(redis).add(events(1), **options)  # type: ignore[arg-type]


async def test_a_mark_that_is_none_of_ours_is_not_believed(redis: Client) -> None:
    await RedisStream(redis).add(events(1, 2))
    async for mark in redis.scan_iter(f"{STREAM}:added:*"):
        await redis.set(mark, "12345678and something else")
    with pytest.raises(SourceError, match="mark"):
        await RedisStream(redis).add(events(1, 2))


async def test_a_key_of_another_kind_is_an_error_and_leaves_no_mark(redis: Client) -> None:
    stream = RedisStream(redis)
    await redis.set(STREAM, "text")
    with pytest.raises(SourceError, match="WRONGTYPE"):
        await stream.add(events(1))
    await redis.delete(STREAM)
    assert (await stream.add(events(1))).added == 1


Run = tuple[list[int], int, set[int], int, int]
"""Rows, batch, the numbers of lost answers, and when it is killed: before or after a script."""


@st.composite
def many_runs(draw: st.DrawFn) -> list[Run]:
    """Give runs of a few inputs that begin alike."""
    few = st.integers(0, 2)
    base = draw(st.lists(few, max_size=12))
    rows = st.tuples(st.integers(0, 12), st.lists(few, max_size=6)).map(
        lambda parts: base[: parts[0]] + parts[1]
    )
    lost, death = st.sets(st.integers(0, 8), max_size=4), st.integers(-1, 8)
    return draw(st.lists(st.tuples(rows, st.integers(1, 5), lost, death, death), max_size=6))


@pytest.mark.slow
@settings(max_examples=150, deadline=None)
@given(runs=many_runs())
def test_no_row_is_ever_there_twice_or_missing(runs: list[Run]) -> None:
    with mock.patch.object(redis_link, "_FIRST_WAIT", 0.0):
        asyncio.run(_run_all(runs))


async def _run_all(runs: list[Run]) -> None:
    redis = fakeredis.FakeAsyncRedis()
    line = Line(redis)
    for rows, batch, lost, before, after in runs:
        line.asked, line.lost, line.killed_before, line.killed_after = -1, lost, before, after
        there = await redis.xlen(STREAM)
        try:
            sums = await RedisStream(redis).add(events(*rows), batch=batch)
        except KilledError:
            continue
        assert sums.added == await redis.xlen(STREAM) - there
        assert sums.added + sums.skipped == sums.rows == len(rows)
    line.lost, line.killed_before, line.killed_after = (), -1, -1
    for rows, batch, *_ in runs:
        await RedisStream(redis).add(events(*rows), batch=batch)
    assert Counter(await numbers_in(redis)) == rows_once(*(rows for rows, *_ in runs))
    await redis.aclose()
