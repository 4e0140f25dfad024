"""
What every source keeps to: in memory, in fakeredis, in Redis; see `badges_async.worker.Source`.

Leases are a quarter of a second here. Nothing is expected to happen within less than a second, and
what must not happen is looked for until well past the moment.
"""

from __future__ import annotations

import asyncio
from collections.abc import Sequence

import pytest

from badges_async import ClaimOutcome, ClaimStatus
from badges_async.worker import (
    ClaimEvent,
    Delivery,
    Settlement,
    Source,
    UnreadableEventError,
    Verdict,
)
from tests.worker.conftest import SourceMaker

BADGE = "662749408fe258516a88fe89"
PATIENCE = 5.0


def an_event(number: int = 0) -> ClaimEvent:
    return ClaimEvent(BADGE, "Loyalty", f"member-{number}", id=f"event-{number}", quota="brand")


def names(deliveries: Sequence[Delivery]) -> list[str]:
    """Give the references of claims, in their order."""
    return [
        delivery.event.reference_id
        for delivery in deliveries
        if isinstance(delivery.event, ClaimEvent)
    ]


async def fetched(source: Source, count: int = 1, most: int = 100) -> list[Delivery]:
    """Fetch until there are so many; fewer if it takes too long."""
    found: list[Delivery] = []
    deadline = asyncio.get_running_loop().time() + PATIENCE
    while len(found) < count and asyncio.get_running_loop().time() < deadline:
        found += await source.fetch(most - len(found), 0.05)
    return found


async def opened(maker: SourceMaker) -> Source:
    source = maker.source()
    await source.open()
    return source


def settled(delivery: Delivery) -> Settlement:
    assert isinstance(delivery.event, ClaimEvent)
    outcome = ClaimOutcome(delivery.event, ClaimStatus.CLAIMED, attempts=1)
    return Settlement(delivery, Verdict.SETTLE, outcome)


def retried(delivery: Delivery, delay: float = 0.0) -> Settlement:
    return Settlement(delivery, Verdict.RETRY, error="out of order", delay=delay)


def released(delivery: Delivery, *, counted: bool = False) -> Settlement:
    return Settlement(delivery, Verdict.RELEASE, counted=counted)


def buried(delivery: Delivery) -> Settlement:
    return Settlement(delivery, Verdict.BURY, reason="rejected", error="no such badge")


async def taken_over(maker: SourceMaker, first: Source) -> tuple[Delivery, Delivery, Source]:
    """Let an event be handed to *first* and, when its lease has ended, to another as well."""
    await maker.put(an_event())
    [old] = await fetched(first)
    second = await opened(maker)
    [new] = await fetched(second)
    assert (old.deliveries, new.deliveries) == (1, 2)
    return old, new, second


# Handing out.


async def test_an_event_arrives_as_it_was_made(source_maker: SourceMaker) -> None:
    event = ClaimEvent(
        BADGE, "Loyalty", " 007 é ", "e-1", "brand", "2026-01-01T00:00:00Z", {"a": 1}
    )
    await source_maker.put(event)
    [delivery] = await fetched(await opened(source_maker))
    assert isinstance(delivery.event, ClaimEvent)
    assert delivery.event.to_json() == event.to_json()
    assert delivery.deliveries == 1


async def test_events_come_once_and_in_their_order(source_maker: SourceMaker) -> None:
    source = await opened(source_maker)
    await source_maker.put(*map(an_event, range(5)))
    assert names(await fetched(source, 5)) == [f"member-{number}" for number in range(5)]
    assert await source.fetch(10, 0.0) == []


async def test_what_was_there_before_the_first_source_is_handed_out(
    source_maker: SourceMaker,
) -> None:
    await source_maker.put(an_event())
    assert names(await fetched(await opened(source_maker))) == ["member-0"]


async def test_no_more_come_than_were_asked_for(source_maker: SourceMaker) -> None:
    source = await opened(source_maker)
    await source_maker.put(*map(an_event, range(5)))
    assert len(await source.fetch(2, 1.0)) == 2
    assert len(await source.fetch(2, 1.0)) == 2
    assert len(await source.fetch(2, 1.0)) == 1


@pytest.mark.parametrize("lease", [30.0])
async def test_leases_that_ended_come_no_more_at_once_than_were_asked_for(
    source_maker: SourceMaker,
) -> None:
    source = await opened(source_maker)
    await source_maker.put(*map(an_event, range(5)))
    deliveries = await fetched(source, 5)
    await source.settle([released(delivery) for delivery in deliveries])
    came = await fetched(source, 1, most=2)
    assert len(came) == 2
    assert len(set(names(came + await fetched(source, 3, most=3)))) == 5


async def test_nothing_comes_when_the_wait_is_over(source_maker: SourceMaker) -> None:
    source = await opened(source_maker)
    loop = asyncio.get_running_loop()
    began = loop.time()
    assert await source.fetch(10, 0.3) == []
    assert 0.29 <= loop.time() - began < 2.0
    began = loop.time()
    assert await source.fetch(10, 0.0) == []
    assert loop.time() - began < 0.25


async def test_what_comes_ends_the_wait(source_maker: SourceMaker) -> None:
    source = await opened(source_maker)
    async with asyncio.TaskGroup() as group:
        fetching = group.create_task(source.fetch(10, 20.0))
        await asyncio.sleep(0.05)  # so that it waits
        await source_maker.put(an_event())
        async with asyncio.timeout(PATIENCE):
            assert names(await fetching) == ["member-0"]


async def test_a_fetch_that_is_cancelled_loses_nothing(source_maker: SourceMaker) -> None:
    source = await opened(source_maker)
    fetching = asyncio.get_running_loop().create_task(source.fetch(10, 20.0))
    await asyncio.sleep(0.05)  # so that it waits
    fetching.cancel()
    with pytest.raises(asyncio.CancelledError):
        await fetching
    await source_maker.put(an_event(1), an_event(2))
    assert sorted(names(await fetched(source, 2))) == ["member-1", "member-2"]
    assert not await source.is_empty()  # and replies are not mixed up


async def test_two_sources_share_the_work(source_maker: SourceMaker) -> None:
    await source_maker.put(*map(an_event, range(40)))
    sources = [await opened(source_maker) for _ in range(2)]
    shares: list[list[str]] = [[], []]

    async def work(source: Source, share: list[str]) -> None:
        while came := await source.fetch(4, 0.0):
            share += names(came)
            await source.settle(list(map(settled, came)))

    async with asyncio.TaskGroup() as group:
        for source, share in zip(sources, shares, strict=True):
            group.create_task(work(source, share))
    assert sorted(shares[0] + shares[1]) == sorted(f"member-{number}" for number in range(40))
    assert await sources[0].is_empty()


# Leases.


async def test_a_lease_that_ends_is_somebody_elses_and_counts(source_maker: SourceMaker) -> None:
    loop = asyncio.get_running_loop()
    first = await opened(source_maker)
    await source_maker.put(an_event())
    [old] = await fetched(first)
    began = loop.time()
    [new] = await fetched(await opened(source_maker))
    assert loop.time() - began >= source_maker.lease - 0.05
    assert names([new]) == names([old])
    assert new.deliveries == 2


async def test_a_lease_that_is_renewed_is_kept(source_maker: SourceMaker) -> None:
    first, second = await opened(source_maker), await opened(source_maker)
    await source_maker.put(an_event())
    [delivery] = await fetched(first)
    deadline = asyncio.get_running_loop().time() + 4 * source_maker.lease
    while asyncio.get_running_loop().time() < deadline:
        assert await first.renew([delivery]) in ([], ())
        assert await second.fetch(1, source_maker.lease / 5) == []
    [again] = await fetched(second)
    assert again.deliveries == 2  # renewing is no delivery


async def test_renewing_tells_what_somebody_else_has(source_maker: SourceMaker) -> None:
    first = await opened(source_maker)
    old, new, second = await taken_over(source_maker, first)
    await source_maker.put(an_event(1), an_event(2))
    kept, done = await fetched(first, 2)
    await first.settle([settled(done)])
    assert list(await first.renew([old, kept, done])) == [old]
    assert list(await second.renew([new])) == []
    assert list(await first.renew([])) == []


async def test_renewing_takes_nothing_from_its_new_holder(source_maker: SourceMaker) -> None:
    first = await opened(source_maker)
    old, new, second = await taken_over(source_maker, first)
    assert list(await first.renew([old])) == [old]
    assert list(await second.renew([new])) == []


async def test_what_is_held_when_a_source_closes_stays_leased(source_maker: SourceMaker) -> None:
    first = await opened(source_maker)
    await source_maker.put(an_event())
    await fetched(first)
    await first.close()
    await first.close()
    second = await opened(source_maker)
    assert await second.fetch(1, 0.0) == []
    [delivery] = await fetched(second)
    assert delivery.deliveries == 2


# Settling.


async def test_what_is_settled_is_gone(source_maker: SourceMaker) -> None:
    source = await opened(source_maker)
    await source_maker.put(*map(an_event, range(3)))
    deliveries = await fetched(source, 3)
    assert not await source.is_empty()  # somebody holds them
    await source.settle(list(map(settled, deliveries)))
    assert await source.is_empty()
    assert await source.fetch(10, 2 * source_maker.lease) == []


async def test_to_settle_nothing_is_nothing(source_maker: SourceMaker) -> None:
    await (await opened(source_maker)).settle([])


async def test_to_settle_twice_is_harmless(source_maker: SourceMaker) -> None:
    source = await opened(source_maker)
    await source_maker.put(an_event(1), an_event(2))
    one, other = await fetched(source, 2)
    for _ in range(2):
        await source.settle([settled(one), buried(other)])
    await source.settle([retried(one), released(other), buried(one)])
    assert await source.is_empty()


async def test_a_retry_comes_after_its_delay_and_counts(source_maker: SourceMaker) -> None:
    source = await opened(source_maker)
    await source_maker.put(an_event())
    [delivery] = await fetched(source)
    delay = source_maker.lease * 0.8
    began = asyncio.get_running_loop().time()
    await source.settle([retried(delivery, delay)])
    assert not await source.is_empty()
    [again] = await fetched(source)
    assert asyncio.get_running_loop().time() - began >= delay - 0.01
    assert again.deliveries == 2
    await source.settle([retried(again)])
    [again] = await fetched(source)
    assert again.deliveries == 3


@pytest.mark.parametrize("lease", [30.0])
async def test_a_retry_does_not_wait_for_the_end_of_the_lease(source_maker: SourceMaker) -> None:
    source = await opened(source_maker)
    await source_maker.put(an_event())
    [delivery] = await fetched(source)
    await source.settle([retried(delivery, 0.1)])
    [again] = await fetched(source)
    assert again.deliveries == 2


@pytest.mark.parametrize("lease", [30.0])
@pytest.mark.parametrize(("counted", "deliveries"), [(False, 1), (True, 2)])
async def test_what_is_handed_back_is_anybodys_at_once(
    source_maker: SourceMaker, *, counted: bool, deliveries: int
) -> None:
    first, second = await opened(source_maker), await opened(source_maker)
    await source_maker.put(an_event())
    [delivery] = await fetched(first)
    await first.settle([released(delivery, counted=counted)])
    [again] = await fetched(second)
    assert again.deliveries == deliveries
    assert list(await first.renew([delivery])) == [delivery]


async def test_a_dead_letter_is_not_handed_out_again(source_maker: SourceMaker) -> None:
    source = await opened(source_maker)
    await source_maker.put(an_event(1), an_event(2))
    one, other = await fetched(source, 2)
    await source.settle([buried(one)])
    assert not await source.is_empty()
    await source.settle([settled(other)])
    assert await source.is_empty()


async def test_only_settling_counts_for_what_somebody_else_has(source_maker: SourceMaker) -> None:
    first = await opened(source_maker)
    old, new, second = await taken_over(source_maker, first)
    await first.settle([retried(old), released(old), buried(old)])
    assert not await second.is_empty()
    assert list(await second.renew([new])) == []
    await first.settle([settled(old)])  # the claim stands, whoever made it
    assert await second.is_empty()
    assert list(await second.renew([new])) == []
    await second.settle([buried(new), retried(new)])
    assert await second.is_empty()


@pytest.mark.slow
@pytest.mark.parametrize("lease", [30.0])
async def test_what_was_handed_back_is_its_new_holders_alone(source_maker: SourceMaker) -> None:
    """Its deliveries do not tell the two apart: the first one's does not count."""
    first, second = await opened(source_maker), await opened(source_maker)
    await source_maker.put(an_event())
    [old] = await fetched(first)
    await first.settle([released(old)])
    [new] = await fetched(second)
    assert old.deliveries == new.deliveries == 1
    await first.settle([retried(old), released(old), buried(old)])
    assert not await second.is_empty()
    assert list(await second.renew([new])) == []
    assert await first.fetch(1, 1.5) == []
    await second.settle([buried(new)])
    assert await second.is_empty()


async def test_verdicts_of_one_batch_keep_apart(source_maker: SourceMaker) -> None:
    source = await opened(source_maker)
    await source_maker.put(*map(an_event, range(4)))
    a, b, c, d = await fetched(source, 4)
    await source.settle([settled(a), retried(b), released(c), buried(d)])
    came = await fetched(source, 2)
    assert {name: one.deliveries for one, name in zip(came, names(came), strict=True)} == {
        "member-1": 2,
        "member-2": 1,
    }


# Messages that are none.


@pytest.mark.parametrize(
    ("message", "reason"),
    [
        (b"", "unreadable"),
        (b"\xff\xfe", "unreadable"),
        (b"[1, 2]", "unreadable"),
        (b'{"badgeId": "' + b"a" * 70_000 + b'"}', "unreadable"),
        (
            b'{"v": 2, "badgeId": "a", "ownerType": "Loyalty", "referenceId": "1"}',
            "unknown_version",
        ),
        (b'{"badgeId": "a", "ownerType": "Loyalty"}', "invalid"),
        (b'{"badgeId": "a", "ownerType": "Nobody", "referenceId": "1"}', "invalid"),
    ],
    ids=["empty", "not_text", "no_object", "too_large", "version", "incomplete", "no_owner"],
)
async def test_a_message_that_cannot_be_read_comes_with_the_reason(
    source_maker: SourceMaker, message: bytes, reason: str
) -> None:
    source = await opened(source_maker)
    await source_maker.put(message, an_event())
    bad, good = await fetched(source, 2)
    assert isinstance(bad.event, UnreadableEventError)
    assert bad.event.reason == reason
    assert isinstance(good.event, ClaimEvent)
    await source.settle([Settlement(bad, Verdict.BURY, reason=reason, error=str(bad.event))])
    await source.settle([settled(good)])
    assert await source.is_empty()
