"""A client whose quota somebody else keeps: what the keeper is told, and what is heard from it."""

from __future__ import annotations

import asyncio
from collections.abc import Callable, Iterable
from typing import Any

import pytest
from hypothesis import given, settings
from hypothesis import strategies as st

from badges_async import (
    BadgesClient,
    BasicAuth,
    ConnectError,
    DeadlineError,
    InvalidInputError,
    Limiter,
    OAuth,
    Quota,
    RateLimitedError,
    Slot,
)
from badges_async.messages import Reply
from tests.answers import envelope, make_reply
from tests.client.scripted import (
    ScriptedTransport,
    Sent,
    claim_each,
    hang,
    lost_after,
    make_client,
    make_rows,
    refused,
    take,
    unreachable,
    well,
)
from tests.virtual_clock import START, now, on_virtual_clock


class Notes:
    """
    A limiter that keeps no quota and notes what it is told.

    Attributes:
        told: Pairs of what was said, and of which slot by its number or until when.
        wait: Seconds that each place takes.
    """

    def __init__(self, *, wait: float = 0.0) -> None:
        self.on_pause: Callable[[float], None] | None = None
        self.told: list[tuple[str, float]] = []
        self.wait = wait
        self.patience: list[bool] = []
        self.slots: list[Slot] = []

    @property
    def quota(self) -> Quota:
        return Quota(1000, per=1.0)

    async def acquire(self, *, patient: bool = False) -> Slot:
        self.patience.append(patient)
        if self.wait:
            await asyncio.sleep(self.wait)
        slot = Slot(now())
        self.slots.append(slot)
        self.told.append(("acquired", len(self.slots)))
        return slot

    def sent(self, slot: Slot) -> None:
        self._note("sent", slot)

    def done(self, slot: Slot) -> None:
        self._note("done", slot)

    def give_back(self, slot: Slot) -> None:
        self._note("given back", slot)

    def prime(self, moments: Iterable[float]) -> None:
        self.told.append(("primed", len(list(moments))))

    def paused(self, until: float) -> None:
        self.told.append(("paused", until - START))

    def hear(self, seconds: float) -> None:
        """Say that others were asked to pause."""
        assert self.on_pause is not None
        self.on_pause(seconds)

    def of(self, slot: int) -> list[str]:
        """Give what was said of one place."""
        return [what for what, number in self.told if number == slot and what != "paused"]

    def _note(self, what: str, slot: Slot) -> None:
        self.told.append((what, self.slots.index(slot) + 1))


def pauses(notes: Notes) -> list[float]:
    return [until for what, until in notes.told if what == "paused"]


def fits(limiter: Limiter) -> Limiter:
    """Let mypy say whether it does."""
    return limiter


@on_virtual_clock
async def test_each_request_has_a_place_and_its_keeper_hears_of_all_of_it() -> None:
    notes = Notes()
    client = make_client(ScriptedTransport(), quota=fits(notes))
    await client.get_badge("b1")
    await client.claim("b1", "Loyalty", "1")
    await client.claim("b1", "Loyalty", "2")
    assert notes.told == [
        (what, number) for number in (1, 2, 3) for what in ("acquired", "sent", "done")
    ]


@on_virtual_clock
async def test_the_keeper_hears_of_the_request_when_it_leaves_and_when_it_is_over() -> None:
    notes, moments = Notes(wait=3.0), []
    client = make_client(ScriptedTransport(then=take(5)), quota=notes)

    async def look() -> None:
        while len(notes.told) < 3:
            await asyncio.sleep(0.1)
            moments.append((len(notes.told), round(now() - START, 1)))

    async with asyncio.TaskGroup() as group:
        group.create_task(look())
        await client.claim("b1", "Loyalty", "1")
    assert next(at for told, at in moments if told >= 2) == pytest.approx(3.0, abs=0.11)
    assert moments[-1][1] == pytest.approx(8.05, abs=0.11)


@pytest.mark.parametrize(
    "step", [refused(404, 717), lost_after, unreachable, refused(429, 1), hang]
)
@on_virtual_clock
async def test_a_place_is_over_however_the_request_ends(step: Any) -> None:
    notes = Notes()
    client = make_client(ScriptedTransport(step), quota=notes)
    await asyncio.gather(client.claim("b1", "Loyalty", "1", timeout=90), return_exceptions=True)
    assert notes.of(1) == ["acquired", "sent", "done"]
    for number in range(2, len(notes.slots) + 1):
        assert notes.of(number) == ["acquired", "sent", "done"]


@on_virtual_clock
async def test_a_request_that_never_leaves_is_over_without_having_been_sent() -> None:
    class NoConnection(ScriptedTransport):
        async def send(self, *_: Any, **__: Any) -> Reply:
            raise ConnectError("could not connect")

    notes = Notes()
    client = make_client(NoConnection(), quota=notes)
    with pytest.raises(ConnectError):
        await client.claim("b1", "Loyalty", "1", timeout=5)
    assert notes.slots
    for number in range(1, len(notes.slots) + 1):
        assert notes.of(number) == ["acquired", "done"]


@on_virtual_clock
async def test_a_call_that_is_cancelled_on_the_wire_ends_its_place() -> None:
    notes = Notes()
    client = make_client(ScriptedTransport(then=hang), quota=notes)
    call = asyncio.create_task(client.claim("b1", "Loyalty", "1"))
    await asyncio.sleep(1)
    call.cancel()
    await asyncio.gather(call, return_exceptions=True)
    assert notes.told == [("acquired", 1), ("sent", 1), ("done", 1)]


@on_virtual_clock
async def test_a_call_that_is_cancelled_while_it_waits_takes_no_place() -> None:
    notes, service = Notes(wait=9.0), ScriptedTransport()
    client = make_client(service, quota=notes)
    call = asyncio.create_task(client.claim("b1", "Loyalty", "1"))
    await asyncio.sleep(1)
    call.cancel()
    await asyncio.gather(call, return_exceptions=True)
    assert notes.told == []
    assert service.sent == []


@on_virtual_clock
async def test_a_call_whose_time_is_over_while_it_waits_says_so() -> None:
    notes = Notes(wait=9.0)
    client = make_client(ScriptedTransport(), quota=notes)
    with pytest.raises(DeadlineError, match="while waiting for the quota"):
        await client.claim("b1", "Loyalty", "1", timeout=2)
    assert notes.told == []


@on_virtual_clock
async def test_a_gate_that_closes_while_a_place_is_waited_for_gives_it_back() -> None:
    """The place is good for now, and now nothing is sent."""
    notes, service = Notes(wait=2.0), ScriptedTransport()
    client = make_client(service, quota=notes)
    call = asyncio.create_task(client.claim("b1", "Loyalty", "1"))
    await asyncio.sleep(1)
    notes.hear(10.0)
    await call
    assert notes.told == [
        ("acquired", 1),
        ("given back", 1),
        ("acquired", 2),
        ("sent", 2),
        ("done", 2),
    ]
    assert service.times == pytest.approx([START + 13], abs=0.01)


@on_virtual_clock
async def test_claims_of_a_bulk_run_let_others_go_ahead() -> None:
    notes = Notes()
    client = make_client(ScriptedTransport(), quota=notes)
    await claim_each(client, make_rows(3))
    assert notes.patience == [True] * 3
    await client.claim("b1", "Loyalty", "1")
    assert notes.patience == [True] * 3 + [False]


@on_virtual_clock
async def test_a_drain_takes_no_place_more() -> None:
    notes = Notes(wait=5.0)
    run = make_client(ScriptedTransport(), quota=notes).claim_many(make_rows(20), concurrency=4)
    async with run:
        await asyncio.sleep(1)
        run.drain()
        assert [outcome async for outcome in run] == []
    assert notes.told == []


# Pauses.


@on_virtual_clock
async def test_a_pause_that_the_service_asked_for_is_told_once() -> None:
    notes = Notes()
    client = make_client(ScriptedTransport(refused(429, 1, retry_after=30)), quota=notes)
    await client.claim("b1", "Loyalty", "1")
    assert len(pauses(notes)) == 1
    assert 30 <= pauses(notes)[0] <= 31.1
    assert notes.told[1:3] == [("sent", 1), ("paused", pauses(notes)[0])]
    assert now() - START >= pauses(notes)[0]


@on_virtual_clock
async def test_a_pause_that_grows_is_told_again_and_one_that_does_not_is_not() -> None:
    notes = Notes()
    steps = [
        take(seconds, refused(429, 1, retry_after=asked))
        for seconds, asked in ((0, 30), (1, 10), (2, 60))
    ]
    client = make_client(ScriptedTransport(*steps), quota=notes)
    await claim_each(client, make_rows(3), concurrency=3)
    first, last = pauses(notes)
    assert 30 <= first < 32
    assert 62 <= last < 64


@on_virtual_clock
async def test_a_pause_of_others_closes_the_gate_and_is_not_told_again() -> None:
    notes, service = Notes(), ScriptedTransport()
    client = make_client(service, quota=notes)
    notes.hear(20.0)
    await asyncio.gather(*(client.claim("b1", "Loyalty", str(number)) for number in range(5)))
    assert pauses(notes) == []
    assert min(service.times) >= START + 20
    assert now() < START + 30


@on_virtual_clock
async def test_a_pause_of_others_is_heard_by_whoever_waits_already() -> None:
    notes = Notes()
    service = ScriptedTransport(refused(429, 1, retry_after=10))
    client = make_client(service, quota=notes)
    async with asyncio.TaskGroup() as group:
        group.create_task(client.claim("b1", "Loyalty", "1", timeout=200))
        await asyncio.sleep(5)
        notes.hear(40.0)
    assert service.times[1] >= START + 45
    assert len(pauses(notes)) == 1


@on_virtual_clock
async def test_a_shorter_pause_of_others_changes_nothing() -> None:
    notes = Notes()
    service = ScriptedTransport(refused(429, 1, retry_after=30))
    client = make_client(service, quota=notes)
    async with asyncio.TaskGroup() as group:
        group.create_task(client.claim("b1", "Loyalty", "1", timeout=200))
        await asyncio.sleep(5)
        notes.hear(2.0)
    assert service.times[1] >= START + 30


@on_virtual_clock
async def test_no_pause_of_others_is_longer_than_a_quarter_of_an_hour() -> None:
    notes, service = Notes(), ScriptedTransport()
    client = make_client(service, quota=notes)
    notes.hear(1e9)
    await claim_each(client, make_rows(1))
    assert START + 900 <= service.times[0] < START + 902


@on_virtual_clock
async def test_a_call_without_time_for_a_pause_of_others_fails_at_once() -> None:
    notes, service = Notes(), ScriptedTransport()
    client = make_client(service, quota=notes)
    notes.hear(100.0)
    with pytest.raises((DeadlineError, RateLimitedError)):
        await client.claim("b1", "Loyalty", "1", timeout=5)
    assert service.sent == []
    assert notes.told == []


# Token requests.


def with_token(sent: Sent) -> Reply:
    if sent.request.operation == "token":
        return make_reply(200, envelope({"accessToken": "t" * 20, "ttlSeconds": 300}))
    return well(sent)


@on_virtual_clock
async def test_a_token_request_takes_a_place_as_any_other() -> None:
    notes = Notes()
    service = ScriptedTransport(then=with_token)
    client = make_client(service, quota=notes, auth=OAuth("key", "secret-secret"))
    await asyncio.gather(*(client.claim("b1", "Loyalty", str(number)) for number in range(3)))
    assert [sent.request.operation for sent in service.sent] == ["token"] + ["claim"] * 3
    assert len(notes.slots) == 4
    for number in range(1, 5):
        assert notes.of(number) == ["acquired", "sent", "done"]


@on_virtual_clock
async def test_a_token_request_keeps_the_pause_of_others_and_tells_of_its_own() -> None:
    notes = Notes()
    service = ScriptedTransport(refused(429, 1, retry_after=30), then=with_token)
    client = make_client(service, quota=notes, auth=OAuth("key", "secret-secret"))
    notes.hear(20.0)
    await claim_each(client, make_rows(2))
    assert service.times[0] >= START + 20
    assert service.times[1] >= START + 50
    assert len(pauses(notes)) == 1


@on_virtual_clock
async def test_a_wait_that_outlives_the_token_ends_its_place_unsent() -> None:
    notes = Notes()
    service = ScriptedTransport(then=with_token)
    client = make_client(service, quota=notes, auth=OAuth("key", "secret-secret"))
    await claim_each(client, make_rows(1))
    notes.wait = 400.0
    async with asyncio.TaskGroup() as group:
        group.create_task(claim_each(client, make_rows(1, start=1)))
        await asyncio.sleep(1)
        notes.wait = 0.0
    assert notes.of(3) == ["acquired", "done"]
    assert notes.of(4) == notes.of(5) == ["acquired", "sent", "done"]
    assert [sent.request.operation for sent in service.sent] == ["token", "claim"] * 2


# Who fits.


@pytest.mark.parametrize("missing", ["acquire", "sent", "done", "give_back", "prime", "paused"])
def test_what_does_not_fit_the_protocol_is_refused(missing: str) -> None:
    class Lacks(Notes):
        pass

    setattr(Lacks, missing, None)
    other: Any = Lacks()
    with pytest.raises(InvalidInputError, match="a Limiter, or None"):
        BadgesClient("badges.example.com", BasicAuth("till", "password"), quota=other)


@settings(deadline=None, max_examples=80)
@given(
    st.lists(
        st.sampled_from(
            [well, lost_after, hang, unreachable, refused(429, 1), refused(429, 1, retry_after=3)]
        ),
        max_size=20,
    ),
    st.floats(0, 2),
    st.lists(st.tuples(st.floats(0, 5), st.floats(-1, 20)), max_size=4),
    st.floats(0, 30),
)
@on_virtual_clock
async def test_every_place_ends_once_and_is_sent_before_it_is_over(
    script: list[Any], wait: float, heard: list[tuple[float, float]], moment: float
) -> None:
    """In a run that is left at any moment, with pauses of its own and of others."""
    notes = Notes(wait=wait)
    service = ScriptedTransport(*script)
    run = make_client(service, quota=notes).claim_many(make_rows(20), concurrency=4)
    async with run:
        await asyncio.sleep(0)
        for pause, seconds in heard:
            await asyncio.sleep(pause)
            notes.hear(seconds)
        await asyncio.sleep(moment)
    for number in range(1, len(notes.slots) + 1):
        assert notes.of(number) in (
            ["acquired", "sent", "done"],
            ["acquired", "done"],
            ["acquired", "given back"],
        )
    assert sum(what == "sent" for what, _ in notes.told) == len(service.sent)
