"""What observers see of calls, and how many calls share the connections of a client."""

from __future__ import annotations

import asyncio
import itertools
import logging

import pytest

from badges_async import (
    AttemptEvent,
    ConnectionLostError,
    DeadlineError,
    ServerError,
    Timeout,
    UnreadableReplyError,
)
from tests.client.scripted import (
    ScriptedTransport,
    hang,
    html,
    lost_before,
    make_client,
    refused,
    take,
    well,
)
from tests.virtual_clock import START, now, on_virtual_clock

BADGE = "662749408fe258516a88fe89"

# What observers see


@on_virtual_clock
async def test_observers_get_one_event_for_each_attempt() -> None:
    events: list[AttemptEvent] = []
    service = ScriptedTransport(lost_before, refused(503, 1), html(502))
    client = make_client(service, observers=[events.append])

    await client.claim(BADGE, "Loyalty", "1")

    assert [(event.attempt, event.status) for event in events] == [
        (1, None),
        (2, 503),
        (3, 502),
        (4, 200),
    ]
    assert [type(event.error) for event in events] == [
        ConnectionLostError,
        ServerError,
        UnreadableReplyError,
        type(None),
    ]
    assert {(event.operation, event.badge_id) for event in events} == {("claim", BADGE)}
    assert [event.seconds for event in events] == pytest.approx([0.05] * 4)
    waited = [later - 0.05 - earlier for earlier, later in itertools.pairwise(service.times)]
    assert [event.waits.get("backoff", 0.0) for event in events] == pytest.approx([0.0, *waited])
    assert [event.waited for event in events] == pytest.approx([0.0, *waited])


@on_virtual_clock
async def test_an_observer_that_raises_is_logged_and_disturbs_nothing(
    caplog: pytest.LogCaptureFixture,
) -> None:
    """F097: an observer that raises is no reason to stop."""

    def bad(_: AttemptEvent) -> None:
        raise LookupError("of an observer")

    events: list[AttemptEvent] = []
    client = make_client(ScriptedTransport(lost_before), observers=[bad, events.append])

    with caplog.at_level(logging.ERROR, "badges_async"):
        result = await client.claim(BADGE, "Loyalty", "1")

    assert result.attempts == len(events) == 2
    assert [record.exc_info and record.exc_info[0] for record in caplog.records] == [
        LookupError
    ] * 2


# Many calls


@on_virtual_clock
async def test_more_calls_than_connections_wait_for_a_slot_in_their_order() -> None:
    events: list[AttemptEvent] = []
    service = ScriptedTransport(then=take(4.95))
    client = make_client(service, max_connections=2, observers=[events.append])

    await asyncio.gather(*(client.claim(BADGE, "Loyalty", str(n)) for n in range(6)))

    assert service.peak == 2
    assert [sent.key[1] for sent in service.sent] == ["0", "1", "2", "3", "4", "5"]
    # The wait does not eat the attempt's own time.
    assert {sent.seconds for sent in service.sent} == {15.0}
    assert [event.waits.get("slot", 0.0) for event in events] == pytest.approx([0, 0, 5, 5, 10, 10])


@on_virtual_clock
async def test_no_slot_in_time_is_a_deadline_and_nothing_is_sent() -> None:
    service = ScriptedTransport(then=hang)
    client = make_client(service, max_connections=1, timeout=Timeout(total=5))
    first = asyncio.create_task(client.claim(BADGE, "Loyalty", "1", timeout=60))
    await asyncio.sleep(0)

    with pytest.raises(DeadlineError, match="waiting for the slot") as caught:
        await client.claim(BADGE, "Loyalty", "2")

    assert now() == START + 5
    assert (caught.value.attempts, caught.value.maybe_applied) == (0, False)
    assert len(service.sent) == 1
    first.cancel()
    with pytest.raises(asyncio.CancelledError):
        await first


@on_virtual_clock
async def test_an_answer_that_says_well_needs_no_second() -> None:
    service = ScriptedTransport(then=well)
    result = await make_client(service).claim(BADGE, "Loyalty", "1")
    assert (result.attempts, len(service.sent), now()) == (1, 1, START + 0.05)
