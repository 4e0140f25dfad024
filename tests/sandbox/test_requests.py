"""Which request is which operation, and what a request gets that is none."""

from __future__ import annotations

import pytest

from badges_async.sandbox import Sandbox
from tests.sandbox.clients import Till, Wire

BADGES = "/api_gateway/v1/badges/badgeMeta"
BADGE = "69381220cebb9648d8974518"
CLAIM = f"{BADGES}/{BADGE}/claim"
GOOD = b'{"ownerType":"Loyalty","referenceId":"123"}'


@pytest.mark.parametrize(
    ("method", "path"),
    [
        ("GET", "/"),
        ("GET", BADGES),
        ("GET", f"{BADGES}/"),
        ("POST", f"{BADGES}//claim"),
        ("GET", f"{BADGES}/{BADGE}/"),
        ("POST", f"{BADGES}/{BADGE}/claim/"),
        ("POST", f"{BADGES}/{BADGE}/steal"),
        ("POST", f"{BADGES}/a/b/claim"),
        ("POST", f"{BADGES}/customer/issueBulk"),
        ("GET", f"/api_gateway/v1/badges/{BADGE}"),
        ("GET", f"{BADGES}/getFixedWindowDetails"),
    ],
)
async def test_a_path_of_no_operation_served_is_404_without_a_badge(
    till: Till, sandbox: Sandbox, method: str, path: str
) -> None:
    status, answer = await till.ask(method, path)

    assert status == 404
    assert "badge" not in answer["errors"][0]["message"]
    assert (sandbox.requests[-1].operation, sandbox.requests[-1].badge_id) == ("unknown", "")


async def test_a_literal_segment_is_no_badge_id_even_if_a_badge_has_that_name(
    till: Till, sandbox: Sandbox
) -> None:
    sandbox.add_badges(["getFixedWindowDetails"])

    status, _ = await till.get("getFixedWindowDetails")

    assert status == 404


@pytest.mark.parametrize(
    ("sent", "badge_id"),
    [("a%2Fb", "a/b"), ("caf%C3%A9", "café"), ("a+b", "a+b"), ("%3Fx%23", "?x#"), ("%25", "%")],
)
async def test_a_badge_id_is_one_segment_decoded_once(
    wire: Wire, sandbox: Sandbox, sent: str, badge_id: str
) -> None:
    sandbox.add_badges([badge_id])
    auth = "Authorization: Basic dGlsbC5kZW1vOjg2M2JlODE0NDViYTFmYzhmZGJlMTk3NzQ5MjE5N2E5"
    wire.writer.write(f"GET {BADGES}/{sent} HTTP/1.1\r\nHost: x\r\n{auth}\r\n\r\n".encode())

    head, _ = await wire.read_chunked()

    assert head.startswith("HTTP/1.1 200 ")
    assert sandbox.requests[-1].badge_id == badge_id


@pytest.mark.parametrize(
    ("method", "path", "allowed"),
    [("GET", CLAIM, "POST"), ("PUT", CLAIM, "POST"), ("POST", f"{BADGES}/{BADGE}", "GET")],
)
async def test_a_wrong_method_is_405_and_told_the_right_one(
    till: Till, method: str, path: str, allowed: str
) -> None:
    async with till.session.request(method, path, data=GOOD) as response:
        assert response.status == 405
        assert response.headers["Allow"] == allowed


async def test_the_answer_to_head_has_no_body_and_the_connection_goes_on(till: Till) -> None:
    async with till.session.head(f"{BADGES}/{BADGE}") as response:
        assert (response.status, await response.read()) == (405, b"")
    assert (await till.get())[0] == 200


@pytest.mark.parametrize("content_type", ["text/plain", "application/jsonp", ""])
async def test_a_body_that_is_not_declared_as_json_is_415(
    till: Till, sandbox: Sandbox, content_type: str
) -> None:
    headers = {"Content-Type": content_type}
    status, _ = await till.ask("POST", CLAIM, data=GOOD, headers=headers)

    assert status == 415
    assert (BADGE, "Loyalty", "123") not in sandbox.claims


@pytest.mark.parametrize("content_type", ["application/json; charset=UTF-8", "Application/JSON"])
async def test_json_may_be_declared_with_parameters_and_in_any_case(
    till: Till, content_type: str
) -> None:
    headers = {"Content-Type": content_type}
    status, _ = await till.ask("POST", CLAIM, data=GOOD, headers=headers)

    assert status == 200


@pytest.mark.parametrize(
    "body", [b"", b"{", b"[]", b"null", b'"x"', b"\xff\xfe{}", b"[" * 5_000, GOOD + b"}"]
)
async def test_a_body_that_is_no_json_object_is_400(till: Till, body: bytes) -> None:
    headers = {"Content-Type": "application/json"}
    status, answer = await till.ask("POST", CLAIM, data=body, headers=headers)

    assert status == 400
    assert [error["code"] for error in answer["errors"]] == [400]


async def test_what_is_not_http_gets_400_and_is_no_request(wire: Wire, sandbox: Sandbox) -> None:
    wire.writer.write(b"EHLO sandbox\r\n\r\n")

    assert (await wire.read_all()).startswith(b"HTTP/1.0 400")
    assert not sandbox.requests


async def test_an_old_client_gets_a_length_and_the_end_of_the_connection(wire: Wire) -> None:
    auth = "Authorization: Basic dGlsbC5kZW1vOjg2M2JlODE0NDViYTFmYzhmZGJlMTk3NzQ5MjE5N2E5"
    wire.writer.write(f"GET {BADGES}/{BADGE} HTTP/1.0\r\n{auth}\r\n\r\n".encode())

    head, _, body = (await wire.read_all()).partition(b"\r\n\r\n")

    assert f"Content-Length: {len(body)}".encode() in head
    assert b"Connection: close" in head


async def test_a_connection_ends_when_its_client_asks_for_that(
    till: Till, sandbox: Sandbox
) -> None:
    async with till.session.get(f"{BADGES}/{BADGE}", headers={"Connection": "close"}) as response:
        assert response.headers["Connection"] == "close"
    assert sandbox.requests[-1].status == 200


async def test_a_request_is_recorded_with_what_it_asked_and_got(
    till: Till, sandbox: Sandbox
) -> None:
    await till.claim(reference_id="r-1")
    await till.get("nowhere", "?limit=1")

    claim, read = sandbox.requests
    assert (claim.number, claim.operation, claim.method) == (1, "claim", "POST")
    assert (claim.badge_id, claim.owner_type, claim.reference_id) == (BADGE, "Loyalty", "r-1")
    assert (claim.status, claim.fault) == (200, None)
    assert claim.ended is not None
    assert claim.arrived <= claim.ended <= read.arrived
    assert (read.operation, read.badge_id, read.status) == ("get", "nowhere", 404)
    assert read.path == f"{BADGES}/nowhere?limit=1"
    assert (read.owner_type, read.reference_id) == (None, None)


@pytest.mark.parametrize("badges_sandbox_options", [{"keep_requests": 2}])
async def test_old_records_go_and_the_count_stays_right(till: Till, sandbox: Sandbox) -> None:
    for reference_id in "abc":
        await till.claim(reference_id=reference_id)

    assert [record.reference_id for record in sandbox.requests] == ["b", "c"]
    assert sandbox.counters()["requests"] == 3
