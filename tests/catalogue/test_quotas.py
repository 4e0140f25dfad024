"""A quota that we were told: kept in every window, by everything that is sent, and used."""

from __future__ import annotations

import asyncio
from collections.abc import Awaitable, Callable

import aiohappyeyeballs
import pytest

from badges_async import Quota, SessionManager
from badges_async.messages import Reply, Request
from tests.answers import envelope, held, make_reply
from tests.catalogue.limited_service import LimitedService
from tests.client.byte_server import ByteServer, answer, http, until
from tests.client.scripted import ScriptedTransport, Sent, make_client, make_rows, well
from tests.client.token_service import TokenService, oauth
from tests.gateways import FixedWindows, Gateway
from tests.kill_helpers import busiest
from tests.virtual_clock import START, now, on_virtual_clock

BADGE = "662749408fe258516a88fe89"


@pytest.mark.parametrize("seed", [1, 2, 3])
@pytest.mark.parametrize("begun", [None, 0.0, 0.2, 29.0, 59.9], ids=lambda at: f"minute at {at}")
@on_virtual_clock
async def test_no_window_of_the_service_sees_more_than_the_quota(
    begun: float | None, seed: int
) -> None:
    """F062, F063: 300 claims of a quota of 100 a minute meet no 429, whichever minute counts."""
    gateway = Gateway(100) if begun is None else FixedWindows(100, phase=begun)
    service = LimitedService(gateway, jitter=0.25, seed=seed)
    client = make_client(service, quota=Quota(100, 60.0), seed=seed)

    report = await client.claim_all(make_rows(300), concurrency=32)

    assert (report.claimed, report.throttled, len(service.sent)) == (300, 0, 300)
    # Also as the service sees it, where requests come closer together than they left.
    assert busiest(service.times, 60.0) <= 100
    assert busiest(service.admitted, 60.0) <= 100
    assert report.elapsed <= 2 * 60 / 0.95


@pytest.mark.usefixtures("lane")
async def test_a_request_counts_from_when_it_leaves_and_not_from_when_it_may(
    monkeypatch: pytest.MonkeyPatch,
) -> None:
    """F062: each lane says so in the moment when there is a connection for it."""
    connected, at_once = asyncio.Event(), aiohappyeyeballs.start_connection

    async def when_told(*args: object, **options: object) -> object:
        await connected.wait()
        return await at_once(*args, **options)  # type: ignore[arg-type]

    monkeypatch.setattr(aiohappyeyeballs, "start_connection", when_told)
    told: list[int] = []
    async with ByteServer(answer(http(b"well"))) as server, SessionManager(server.url) as manager:
        request = Request("get_badge", BADGE, "GET", "/")
        sending = asyncio.ensure_future(
            manager.send(request, {}, seconds=5, on_sent=lambda: told.append(len(server.seen)))
        )
        for _ in range(20):
            await asyncio.sleep(0)
        assert told == []
        connected.set()
        await until(lambda: bool(told))
        await sending
    assert told == [0]  # once, and before the service had read anything


@on_virtual_clock
async def test_whatever_is_sent_takes_a_place_in_the_same_window() -> None:
    """F075: tokens, reads, claims and unclaims of a key share its quota."""

    def answer_each(sent: Sent) -> Reply:
        if sent.request.operation != "unclaim":
            return well(sent)
        return make_reply(200, envelope(held(referenceId="1", isActive=False)))

    service = TokenService(ttl=120.0, then=answer_each)
    client = make_client(service, auth=oauth(), quota=Quota(5, 50.0))
    operations: list[Callable[[], Awaitable[object]]] = [
        lambda: client.get_badge(BADGE, timeout=900),
        lambda: client.claim(BADGE, "Loyalty", "1", timeout=900),
        lambda: client.unclaim(BADGE, "Loyalty", "1", timeout=900),
    ]

    await asyncio.gather(*(operation() for operation in operations * 5))

    assert set(service.operations) == {"token", "get_badge", "claim", "unclaim"}
    assert len(service.sent) == 15 + service.fetched
    assert service.fetched >= 2
    assert busiest(service.times, 50.0) == 5
    assert now() - START >= 50.0 * (len(service.sent) // 5 - 1)


@on_virtual_clock
async def test_single_calls_beside_a_run_wait_for_one_place_each() -> None:
    """F077: in a full window a call gets the very next place; the run gets all others."""
    service = ScriptedTransport()
    client = make_client(service, quota=Quota(1, 10.0))
    run = asyncio.create_task(client.claim_all(make_rows(30), concurrency=16))
    waited = list[float]()
    for _ in range(5):
        await asyncio.sleep(25.0)
        began = now()
        await client.claim(BADGE, "Loyalty", "till", timeout=60.0)
        waited.append(now() - began)

    assert (await run).claimed == 30
    assert max(waited) <= 10.4 + 0.1
    assert now() - START <= (30 + 5) * 10.4 + 1
