"""What each fault looks like to the client, and what it does to the claim."""

from __future__ import annotations

import asyncio
import contextlib
import json
from typing import Any

import aiohttp
import pytest

from badges_async.sandbox import Fault, Sandbox
from tests.sandbox.clients import Till, Wire

BADGE = "69381220cebb9648d8974518"
CLAIM = f"/api_gateway/v1/badges/badgeMeta/{BADGE}/claim"
HELD = (BADGE, "Loyalty", "123")
GOOD = (
    b'{"data":{"ownerType":"Loyalty","referenceId":"123","isActive":true},'
    b'"errors":null,"warnings":[]}'
)

COMMITTING = {
    "slow",
    "hang-after",
    "reset-after",
    "close-after",
    "stale-keep-alive",
    "idle-close",
    "truncated",
    "truncated-chunks",
    "reset-in-body",
    "stalled",
    "malformed",
    "malformed-chunk",
    "long-header",
    "500-after",
    "502-after",
    "503-after",
    "504-after",
    "half-json",
    # Basic credentials have no token that could expire.
    "expired-token",
}


def with_fault(*faults: str, **options: Any) -> pytest.MarkDecorator:
    """Run a test against a sandbox with a script."""
    return pytest.mark.parametrize(
        "badges_sandbox_options", [{"faults": list(faults), "fault_delay": 0.0, **options}]
    )


@pytest.mark.parametrize("fault", list(Fault))
async def test_a_fault_commits_the_claim_or_not_as_its_name_says(
    sandbox: Sandbox, wire: Wire, fault: Fault
) -> None:
    sandbox.set_faults([fault])

    wire.send_claim()
    await sandbox.wait_for_requests(1)

    assert (HELD in sandbox.claims) is (fault.value in COMMITTING)
    await sandbox.close()
    assert sandbox.counters()["inFlight"] == 0


@pytest.mark.parametrize("fault", ["reset-before", "reset-after"])
async def test_a_reset_comes_instead_of_an_answer(sandbox: Sandbox, wire: Wire, fault: str) -> None:
    sandbox.set_faults([fault])
    wire.send_claim()

    with pytest.raises(ConnectionResetError):
        await wire.read_all()

    record = sandbox.requests[-1]
    assert (record.status, record.fault) == (None, fault)


@pytest.mark.parametrize("fault", ["close-before", "close-after", "late-commit"])
async def test_a_close_is_an_orderly_end_without_an_answer(
    sandbox: Sandbox, wire: Wire, fault: str
) -> None:
    sandbox.set_faults([fault])
    wire.send_claim()

    assert await wire.read_all() == b""


@with_fault("late-commit")
async def test_a_late_commit_lands_after_the_connection_has_ended(
    sandbox: Sandbox, wire: Wire, till: Till
) -> None:
    wire.send_claim()
    await wire.read_all()
    await till.get()

    assert HELD in sandbox.claims


@with_fault("late-commit", fault_delay=0.02)
async def test_a_late_commit_is_dropped_when_the_sandbox_closes(
    sandbox: Sandbox, wire: Wire
) -> None:
    wire.send_claim()
    assert await wire.read_all() == b""
    await sandbox.close()

    its_time_has_come = asyncio.Event()
    asyncio.get_running_loop().call_later(0.03, its_time_has_come.set)
    await its_time_has_come.wait()
    assert HELD not in sandbox.claims


@pytest.mark.parametrize("fault", ["hang-before", "hang-after", "stalled"])
async def test_a_hang_lasts_until_the_sandbox_closes(
    sandbox: Sandbox, wire: Wire, till: Till, fault: str
) -> None:
    sandbox.set_faults([fault])
    wire.send_claim()
    if fault == "stalled":
        head = await wire.read_head()
        assert f"Content-Length: {len(GOOD)}\r\n" in head
        assert await wire.reader.readexactly(len(GOOD) // 2) == GOOD[: len(GOOD) // 2]
    rest = asyncio.ensure_future(wire.read_all())
    await till.get()
    assert not rest.done()

    await sandbox.close()

    with contextlib.suppress(ConnectionResetError):
        assert await rest == b""


@pytest.mark.parametrize("fault", ["hang-before", "hang-after", "stalled", "slow"])
async def test_a_hang_ends_when_the_client_leaves(
    sandbox: Sandbox, open_wire: type[Wire], fault: str, till: Till
) -> None:
    sandbox.set_faults([fault])
    wire = await open_wire.open(sandbox)
    wire.send_claim()
    await sandbox.wait_for_requests(1)
    await wire.close()

    while sandbox.counters()["inFlight"]:
        await till.get()  # lets the server run


@with_fault("slow", fault_delay=0.02)
async def test_a_slow_answer_is_late_and_good(sandbox: Sandbox, till: Till) -> None:
    status, _ = await till.claim()

    record = sandbox.requests[-1]
    assert (status, record.status) == (200, 200)
    assert record.ended is not None
    assert record.ended - record.arrived >= 0.019  # uvloop counts whole milliseconds


@with_fault("truncated")
async def test_a_truncated_answer_promises_more_than_it_sends(wire: Wire) -> None:
    wire.send_claim()

    head, _, body = (await wire.read_all()).partition(b"\r\n\r\n")

    assert head.startswith(b"HTTP/1.1 200 OK\r\n")
    assert f"Content-Length: {len(GOOD)}".encode() in head
    assert body == GOOD[: len(GOOD) // 2]


@with_fault("truncated-chunks")
async def test_truncated_chunks_lack_the_last_one(wire: Wire) -> None:
    wire.send_claim()

    head, _, body = (await wire.read_all()).partition(b"\r\n\r\n")

    assert b"Transfer-Encoding: chunked" in head
    assert body == b"%x\r\n%b\r\n" % (len(GOOD), GOOD)


@with_fault("reset-in-body")
async def test_a_reset_in_the_body_follows_the_head(wire: Wire) -> None:
    wire.send_claim()

    assert (await wire.read_head()).startswith("HTTP/1.1 200 OK")
    with pytest.raises(ConnectionResetError):
        await wire.read_all()


@with_fault("malformed")
async def test_a_malformed_answer_is_not_http(wire: Wire) -> None:
    wire.send_claim()

    assert not (await wire.read_all()).startswith(b"HTTP")


@pytest.mark.parametrize("fault", ["malformed", "malformed-chunk", "long-header"])
async def test_what_no_parser_takes_is_an_error_of_aiohttps_parser(
    till: Till, sandbox: Sandbox, fault: str
) -> None:
    sandbox.set_faults([fault])

    with pytest.raises(aiohttp.ClientError):
        await till.claim()


@with_fault("stale-keep-alive")
async def test_a_stale_connection_answers_once_and_ends_on_its_next_request(
    sandbox: Sandbox, wire: Wire, till: Till
) -> None:
    wire.send_claim("1")
    head, _ = await wire.read_chunked()
    assert "Connection: keep-alive" in head

    wire.send_claim("2")
    assert await wire.read_all() == b""

    assert (BADGE, "Loyalty", "1") in sandbox.claims
    assert (BADGE, "Loyalty", "2") not in sandbox.claims
    assert [record.status for record in sandbox.requests] == [200, None]
    assert (await till.claim(reference_id="2"))[0] == 200


@with_fault("stale-keep-alive", "stale-keep-alive")
async def test_several_connections_may_be_stale(sandbox: Sandbox, open_wire: type[Wire]) -> None:
    wires = [await open_wire.open(sandbox) for _ in range(2)]
    for wire in wires:
        wire.send_claim()
        await wire.read_chunked()
    for wire in wires:
        wire.send_claim()
        assert await wire.read_all() == b""
        await wire.close()


@with_fault("idle-close")
async def test_an_idle_close_says_keep_alive_and_ends_the_connection(wire: Wire) -> None:
    wire.send_claim()

    head, body = await wire.read_chunked()

    assert "Connection: keep-alive" in head
    assert json.loads(body) == json.loads(GOOD)
    assert await wire.read_all() == b""


@pytest.mark.parametrize(
    ("fault", "answered"),
    [
        ("500-before", (500, "application/json", None)),
        ("500-after", (500, "application/json", None)),
        ("502-before", (502, "text/html; charset=UTF-8", None)),
        ("502-after", (502, "text/html; charset=UTF-8", None)),
        ("503-before", (503, "application/json", None)),
        ("503-after", (503, "application/json", None)),
        ("504-before", (504, None, None)),
        ("504-after", (504, None, None)),
        ("unavailable", (503, "application/json", "7")),
        ("throttled", (429, "application/json", "7")),
        ("throttled-bare", (429, "application/json", None)),
        ("html-200", (200, "text/html; charset=UTF-8", None)),
        ("empty-200", (200, "application/json", None)),
        ("401", (401, "application/json", None)),
        ("403", (403, "application/json", None)),
    ],
)
@pytest.mark.parametrize("badges_sandbox_options", [{"fault_retry_after": 7}])
async def test_a_fault_that_answers_has_its_status_type_and_retry_after(
    till: Till, sandbox: Sandbox, fault: str, answered: tuple[int, str | None, str | None]
) -> None:
    status, content_type, retry_after = answered
    sandbox.set_faults([fault])
    body = {"ownerType": "Loyalty", "referenceId": "123"}
    async with till.session.post(CLAIM, json=body) as response:
        text = await response.text()

    assert response.status == status
    assert response.headers.get("Content-Type") == content_type
    assert response.headers.get("Retry-After") == retry_after
    assert ("<html" in text) is ("html" in (content_type or ""))
    assert bool(text) is (fault not in {"504-before", "504-after", "empty-200"})
    assert (sandbox.requests[-1].status, sandbox.requests[-1].fault) == (status, fault)


@with_fault("half-json")
async def test_half_a_document_is_whole_as_http(till: Till) -> None:
    body = {"ownerType": "Loyalty", "referenceId": "123"}
    async with till.session.post(CLAIM, json=body) as response:
        assert await response.read() == GOOD[: len(GOOD) // 2]
    assert response.status == 200


@with_fault(*["wrong-shape"] * 8)
async def test_wrong_shapes_are_json_and_no_two_in_a_row_alike(till: Till) -> None:
    answers = [await till.claim() for _ in range(8)]

    assert {status for status, _ in answers} == {200}
    assert len({json.dumps(answer) for _, answer in answers}) == 8


@with_fault("other-claim", "other-claim")
async def test_another_claims_answer_names_another_reference(till: Till) -> None:
    _, claimed = await till.claim()
    _, unclaimed = await till.unclaim()

    assert claimed["data"]["ownerType"] == "Loyalty"
    assert claimed["data"]["referenceId"] != "123"
    assert claimed["data"]["isActive"] is True
    assert unclaimed["data"]["isActive"] is False


@with_fault("redirect")
async def test_a_redirect_points_at_the_sandbox_itself(till: Till, sandbox: Sandbox) -> None:
    async with till.session.post(CLAIM, allow_redirects=False) as response:
        assert response.status == 302
        assert response.headers["Location"] == f"{sandbox.url}/elsewhere"


@with_fault("500-after")
async def test_a_fault_after_the_commit_commits_nothing_that_is_refused(
    till: Till, sandbox: Sandbox
) -> None:
    status, _ = await till.claim(owner_type="NOBODY")

    assert status == 500
    assert sandbox.requests[-1].fault is Fault.ERROR_500_AFTER


async def test_faults_are_counted_by_their_names(till: Till, sandbox: Sandbox) -> None:
    sandbox.set_faults(["500-before", None, "500-before"])
    for _ in range(3):
        await till.get()

    assert sandbox.counters()["faults"] == {"500-before": 2}
