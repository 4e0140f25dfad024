"""Opening, closing, playing dead, holding answers back; and nothing is left behind."""

from __future__ import annotations

import asyncio
import contextlib
import gc
import time
from typing import Any

import aiohttp
import pytest

from badges_async.errors import InvalidInputError
from badges_async.sandbox import Sandbox, make_badge_ids
from tests.sandbox.clients import Till, Wire

BADGE = "69381220cebb9648d8974518"


async def test_it_listens_on_loopback_on_a_port_of_its_own() -> None:
    async with Sandbox() as one, Sandbox() as two:
        assert one.url.startswith("http://127.0.0.1:")
        assert one.url != two.url


async def test_a_port_may_be_chosen_and_is_refused_if_taken() -> None:
    async with Sandbox() as one:
        port = int(one.url.rpartition(":")[2])
        other = Sandbox(port=port)
        with pytest.raises(OSError, match="in use"):
            await other.start()
        await other.close()
    async with Sandbox(port=port) as again:
        assert again.url == one.url


async def test_before_the_start_it_has_no_url_and_cannot_listen() -> None:
    sandbox = Sandbox()

    with pytest.raises(RuntimeError, match="not been started"):
        _ = sandbox.url
    with pytest.raises(RuntimeError, match="not been started"):
        await sandbox.start_listening()
    await sandbox.stop_listening()
    await sandbox.close()
    assert "not started" in repr(sandbox)


async def test_closing_leaves_no_task_and_refuses_connections(till: Till, sandbox: Sandbox) -> None:
    before = asyncio.all_tasks()
    sandbox.set_faults([None, "hang-after", "stalled"])
    await till.get()
    lost = [asyncio.ensure_future(till.claim(reference_id=ref)) for ref in "ab"]
    await sandbox.wait_for_requests(3)

    began = time.monotonic()
    await sandbox.close()

    assert time.monotonic() - began < 1
    results = await asyncio.gather(*lost, return_exceptions=True)
    assert all(isinstance(result, aiohttp.ClientError) for result in results)
    assert asyncio.all_tasks() <= before
    with pytest.raises(OSError, match="Cannot connect"):
        await till.get()


async def test_closing_twice_and_starting_twice_do_nothing_more(sandbox: Sandbox) -> None:
    url = sandbox.url
    await sandbox.start()
    assert sandbox.url == url
    await sandbox.close()
    await sandbox.close()


async def test_what_it_saw_can_be_read_after_it_is_closed(till: Till, sandbox: Sandbox) -> None:
    await till.claim()
    await sandbox.close()

    assert (BADGE, "Loyalty", "123") in sandbox.claims
    assert sandbox.requests[-1].status == 200
    assert "5 badges, 2 claims" in repr(sandbox)


def test_a_life_in_debug_mode_gives_no_warning_and_leaves_nothing_open() -> None:
    async def life() -> None:
        async with Sandbox(faults=["hang-before"]) as sandbox:
            port = int(sandbox.url.rpartition(":")[2])
            _, idle = await asyncio.open_connection("127.0.0.1", port)
            _, hung = await asyncio.open_connection("127.0.0.1", port)
            hung.write(
                f"GET /api_gateway/v1/badges/badgeMeta/{BADGE} HTTP/1.1\r\nHost: x\r\n\r\n".encode()
            )
            await sandbox.wait_for_requests(1)
        for writer in (idle, hung):
            writer.close()
            with contextlib.suppress(ConnectionError):
                await writer.wait_closed()

    asyncio.run(life(), debug=True)
    gc.collect()  # warnings of what was not closed would be errors


async def test_playing_dead_breaks_connections_and_refuses_new_ones(
    till: Till, sandbox: Sandbox, open_wire: type[Wire]
) -> None:
    await till.get()
    wire = await open_wire.open(sandbox)

    await sandbox.stop_listening()

    assert await wire.read_all() == b""
    await wire.close()
    with pytest.raises(ConnectionRefusedError):
        await open_wire.open(sandbox)


async def test_back_from_the_dead_it_has_its_port_and_its_claims(
    till: Till, sandbox: Sandbox
) -> None:
    await till.claim()
    url = sandbox.url
    for _ in range(3):
        await sandbox.stop_listening()
        await sandbox.stop_listening()
        await sandbox.start_listening()
        await sandbox.start_listening()

    _, answer = await till.claim()

    assert sandbox.url == url
    assert answer["warnings"][0]["code"] == 900


async def test_a_dead_sandbox_closes_and_lets_its_port_go(sandbox: Sandbox) -> None:
    port = int(sandbox.url.rpartition(":")[2])
    await sandbox.stop_listening()
    await sandbox.close()

    async with Sandbox(port=port) as other:
        assert other.url == sandbox.url


async def test_held_answers_wait_while_their_claims_take_effect(
    till: Till, sandbox: Sandbox
) -> None:
    sandbox.hold()
    answers = [asyncio.ensure_future(till.claim(reference_id=str(n))) for n in range(5)]
    await sandbox.wait_for_requests(5)

    assert sandbox.peak_in_flight == 5
    assert len([held for held in sandbox.claims if held[0] == BADGE]) == 5
    assert not any(answer.done() for answer in answers)

    sandbox.release()
    assert [status for status, _ in await asyncio.gather(*answers)] == [200] * 5
    assert sandbox.counters()["inFlight"] == 0


async def test_latency_keeps_every_answer_waiting(till: Till, sandbox: Sandbox) -> None:
    sandbox.set_latency(0.02)
    await till.get()
    sandbox.set_latency((0.01, 0.03))
    await till.get()

    first, second = sandbox.requests
    assert first.ended is not None
    assert second.ended is not None
    assert first.ended - first.arrived >= 0.019  # uvloop counts whole milliseconds
    assert second.ended - second.arrived >= 0.009


async def test_a_claim_takes_effect_though_its_client_does_not_wait_for_the_answer(
    sandbox: Sandbox, open_wire: type[Wire]
) -> None:
    sandbox.hold()
    wire = await open_wire.open(sandbox)
    wire.send_claim()
    await sandbox.wait_for_requests(1)
    await wire.close()

    assert (BADGE, "Loyalty", "123") in sandbox.claims


async def test_waiting_for_requests_that_have_arrived_does_not_wait(
    till: Till, sandbox: Sandbox
) -> None:
    await till.get()
    await sandbox.wait_for_requests(1)
    impatient = asyncio.ensure_future(sandbox.wait_for_requests(2))
    patient = asyncio.ensure_future(sandbox.wait_for_requests(3))
    await asyncio.sleep(0)
    impatient.cancel()
    await till.get()
    await till.get()
    await patient
    assert impatient.cancelled()


@pytest.mark.parametrize("latency", [-1, (2.0, 1.0), (-1.0, 1.0), float("nan")])
def test_a_latency_that_is_none_is_refused(latency: Any) -> None:
    with pytest.raises(InvalidInputError, match="latency"):
        Sandbox(latency=latency)


def test_a_word_for_already_claimed_that_is_none_is_refused() -> None:
    with pytest.raises(InvalidInputError, match="warning or error"):
        Sandbox(already_claimed="maybe")  # type: ignore[arg-type]


async def test_badges_may_be_given_by_number_and_by_id(till: Till, sandbox: Sandbox) -> None:
    ids = list(make_badge_ids(3))
    assert len(set(ids)) == 3
    assert all(len(badge_id) == 24 for badge_id in ids)
    assert ids == sorted(ids)
    assert set(Sandbox(badges=3).badges) == {*sandbox.badges, *ids}
    assert set(Sandbox(badges=["x"]).badges) == {*sandbox.badges, "x"}

    sandbox.add_badges(ids)
    assert (await till.claim(ids[1]))[0] == 200


async def test_adding_ids_leaves_the_badges_that_are_there(till: Till, sandbox: Sandbox) -> None:
    await till.claim()
    sandbox.add_badges([BADGE])

    assert (BADGE, "Loyalty", "123") in sandbox.claims
    assert sandbox.badges[BADGE].name == "Early bird"


def test_a_badge_put_in_brings_its_claims_and_replaces_another() -> None:
    sandbox = Sandbox()
    claims = [
        {"ownerType": "Loyalty", "referenceId": "1", "isActive": True},
        {"ownerType": "Loyalty", "referenceId": "2", "isActive": False},
    ]
    sandbox.add_badge({"id": "b", "ownership": {"claims": claims}})
    assert {held for held in sandbox.claims if held[0] == "b"} == {("b", "Loyalty", "1")}

    sandbox.add_badge({"id": "b", "name": "New", "tags": [{"name": "a", "value": "b"}]})
    assert not any(held[0] == "b" for held in sandbox.claims)
    document = sandbox.badges["b"].document()
    assert (document["name"], document["tags"]) == ("New", [{"name": "a", "value": "b"}])


async def test_a_claim_of_somebody_else_may_stand_before(till: Till, sandbox: Sandbox) -> None:
    sandbox.add_claim(BADGE, "Loyalty", "123")
    sandbox.add_claim(BADGE, "Loyalty", "123")

    _, answer = await till.claim()

    assert answer["warnings"][0]["code"] == 900
    assert len(sandbox.requests) == 1
    with pytest.raises(InvalidInputError, match="NO_SUCH_BADGE"):
        sandbox.add_claim("nowhere", "Loyalty", "123")
