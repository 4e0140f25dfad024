"""Every documented answer of get, claim and unclaim, byte for byte where bytes are documented."""

from __future__ import annotations

import json
from typing import Any

import pytest

from badges_async.converter import structure, unstructure
from badges_async.enums import OwnerType
from badges_async.models import Badge
from badges_async.sandbox import Sandbox
from tests.sandbox.clients import Till, Wire

BADGE = "69381220cebb9648d8974518"
CLAIM = f"/api_gateway/v1/badges/badgeMeta/{BADGE}/claim"


async def test_a_claim_is_answered_with_the_claim_and_no_notices(till: Till) -> None:
    status, answer = await till.claim()

    assert status == 200
    assert answer == {
        "data": {"ownerType": "Loyalty", "referenceId": "123", "isActive": True},
        "errors": None,
        "warnings": [],
    }


async def test_an_unclaim_is_answered_with_the_inactive_claim(till: Till) -> None:
    await till.claim()

    status, answer = await till.unclaim()

    assert status == 200
    assert answer == {
        "data": {"ownerType": "Loyalty", "referenceId": "123", "isActive": False},
        "errors": None,
        "warnings": [],
    }


async def test_a_second_claim_is_a_success_with_warning_900(till: Till) -> None:
    await till.claim()

    status, answer = await till.claim()

    assert status == 200
    assert answer["data"] == {"badgeMetaId": None, "ownerType": "Loyalty", "referenceId": "123"}
    assert answer["errors"] is None
    assert [warning["code"] for warning in answer["warnings"]] == [900]
    assert "reference" not in answer["warnings"][0]


@pytest.mark.parametrize("badges_sandbox_options", [{"already_claimed": "error"}])
async def test_a_second_claim_is_error_900_if_the_sandbox_is_told_so(till: Till) -> None:
    await till.claim()

    status, answer = await till.claim()

    assert status == 409
    assert answer["data"] is None
    assert answer["warnings"] is None
    assert [error["code"] for error in answer["errors"]] == [900]


@pytest.mark.parametrize(
    ("body", "problems"),
    [
        ({"ownerType": "Loyalty"}, [(717, "referenceId")]),
        ({"ownerType": "Loyalty", "referenceId": None}, [(717, "referenceId")]),
        ({"ownerType": "Loyalty", "referenceId": ""}, [(717, "referenceId")]),
        ({"ownerType": "Loyalty", "referenceId": " \t"}, [(717, "referenceId")]),
        ({"referenceId": "123"}, [(716, None)]),
        ({"ownerType": None, "referenceId": "123"}, [(716, None)]),
        ({}, [(716, None), (717, "referenceId")]),
        ({"ownerType": "LOYALTY", "referenceId": "123"}, [(400, None)]),
        ({"ownerType": "", "referenceId": "123"}, [(400, None)]),
        ({"ownerType": 7, "referenceId": "123"}, [(400, None)]),
        ({"ownerType": ["Loyalty"], "referenceId": "123"}, [(400, None)]),
        ({"ownerType": "Loyalty", "referenceId": 123}, [(400, None)]),
    ],
)
@pytest.mark.parametrize("action", ["claim", "unclaim"])
async def test_a_body_with_a_wrong_field_gets_its_code_and_changes_nothing(
    till: Till, sandbox: Sandbox, action: str, body: Any, problems: Any
) -> None:
    before = set(sandbox.claims)

    path = f"/api_gateway/v1/badges/badgeMeta/{BADGE}/{action}"
    status, answer = await till.ask("POST", path, json=body)

    assert status == 400
    assert [(error["code"], error["reference"]) for error in answer["errors"]] == problems
    assert (answer["data"], answer["warnings"]) == (None, None)
    assert sandbox.claims == before


async def test_an_unknown_owner_type_is_told_the_allowed_ones(till: Till) -> None:
    _, answer = await till.claim(owner_type="JOURNEYS")

    message = answer["errors"][0]["message"]
    assert "JOURNEYS" in message
    assert "Journeys, Audience_Campaigns" in message


@pytest.mark.parametrize("owner_type", list(OwnerType))
async def test_every_owner_type_may_claim_a_badge_without_restriction(
    till: Till, owner_type: OwnerType
) -> None:
    status, answer = await till.claim(owner_type=owner_type.value)

    assert (status, answer["errors"]) == (200, None)


async def test_an_owner_type_that_the_badge_is_not_for_gets_714(
    till: Till, sandbox: Sandbox
) -> None:
    sandbox.add_badge({"id": "b1", "ownership": {"restrictedToOwners": ["Milestones"]}})

    status, answer = await till.claim("b1", "Journeys")

    assert (status, answer["errors"][0]["code"]) == (400, 714)
    assert ("b1", "Journeys", "123") not in sandbox.claims


async def test_a_deactivated_badge_takes_no_claim_until_it_is_activated(
    till: Till, sandbox: Sandbox
) -> None:
    sandbox.badges[BADGE].active = False
    refused, _ = await till.claim()
    sandbox.badges[BADGE].active = True
    taken, _ = await till.claim()

    assert (refused, taken) == (409, 200)


async def test_a_claim_that_stands_is_answered_900_on_a_deactivated_badge(
    till: Till, sandbox: Sandbox
) -> None:
    await till.claim()
    sandbox.badges[BADGE].active = False

    status, answer = await till.claim()

    assert (status, answer["warnings"][0]["code"]) == (200, 900)


@pytest.mark.parametrize("action", ["get", "claim", "unclaim"])
async def test_an_unknown_badge_is_404_in_the_envelope(till: Till, action: str) -> None:
    status, answer = await getattr(till, action)("ffffffffffffffffffffffff")

    assert status == 404
    assert answer["data"] is None
    assert answer["warnings"] is None
    assert [error["code"] for error in answer["errors"]] == [404]


async def test_unclaiming_what_is_not_claimed_gets_737_the_second_time_too(till: Till) -> None:
    first = await till.unclaim()
    await till.claim()
    await till.unclaim()
    second = await till.unclaim()

    assert [(status, answer["errors"][0]["code"]) for status, answer in (first, second)] == [
        (400, 737),
        (400, 737),
    ]


async def test_a_claim_after_an_unclaim_is_fresh_and_listed_once(
    till: Till, sandbox: Sandbox
) -> None:
    await till.claim()
    await till.unclaim()

    status, answer = await till.claim()

    assert (status, answer["warnings"]) == (200, [])
    assert sandbox.badges[BADGE].claims == {("Loyalty", "123"): True}


async def test_one_owner_type_may_hold_several_references(till: Till, sandbox: Sandbox) -> None:
    await till.claim(reference_id="1")
    await till.claim(reference_id="2")
    await till.unclaim(reference_id="1")

    assert (BADGE, "Loyalty", "2") in sandbox.claims
    assert (BADGE, "Loyalty", "1") not in sandbox.claims


async def test_a_read_lists_claims_active_and_ended(till: Till) -> None:
    await till.claim(reference_id="stays")
    await till.claim(reference_id="goes")
    await till.unclaim(reference_id="goes")

    _, answer = await till.get()

    assert answer["data"]["ownership"]["claims"] == [
        {"ownerType": "Loyalty", "referenceId": "stays", "isActive": True},
        {"ownerType": "Loyalty", "referenceId": "goes", "isActive": False},
    ]


async def test_a_claim_moves_last_updated_on_and_a_refused_one_does_not(
    till: Till, sandbox: Sandbox
) -> None:
    at_first = sandbox.badges[BADGE].document()
    await till.claim()
    claimed = sandbox.badges[BADGE].document()
    await till.claim()
    again = sandbox.badges[BADGE].document()

    assert at_first["lastUpdatedOn"] == at_first["createdOn"]
    assert claimed["lastUpdatedOn"] > claimed["createdOn"]
    assert again["lastUpdatedOn"] == claimed["lastUpdatedOn"]


async def test_a_read_has_null_for_no_errors_and_for_no_warnings(till: Till) -> None:
    status, answer = await till.get()

    assert status == 200
    assert answer["data"]["id"] == BADGE
    assert (answer["errors"], answer["warnings"]) == (None, None)


@pytest.mark.parametrize(
    ("query", "shown"),
    [
        ("", False),
        ("?includeStatistics=true", True),
        ("?includeStatistics=false", False),
        ("?limit=abc&order=SIDEWAYS&status=LIVE&includeStatistics=True", True),
        ("?limit=10&order=ASC", False),
    ],
)
async def test_statistics_come_only_when_asked_for(till: Till, query: str, *, shown: bool) -> None:
    status, answer = await till.get(query=query)

    assert status == 200
    assert ("issuedCount" in answer["data"]) is shown
    assert ("earnedCount" in answer["data"]) is shown


async def test_times_are_sent_with_nine_digits_of_a_fraction(till: Till) -> None:
    path = "/api_gateway/v1/badges/badgeMeta/662749408fe258516a88fe89"
    async with till.session.get(path) as response:
        text = await response.text()

    assert '"startOn":1716803487.000000000,' in text
    assert '"startDate":1719898518.011293000,' in text


@pytest.mark.parametrize(
    ("start_on", "expires_on", "status"),
    [(0, 4e9, "LIVE"), (0, 1, "EXPIRED"), (4e9, 5e9, "UPCOMING")],
)
async def test_the_clock_decides_the_status_of_a_badge(
    till: Till, sandbox: Sandbox, start_on: float, expires_on: float, status: str
) -> None:
    sandbox.add_badge({"id": "b1", "startOn": start_on, "expiresOn": expires_on})

    _, answer = await till.get("b1")

    assert answer["data"]["status"] == status


async def test_every_sample_badge_is_what_our_models_read(till: Till, sandbox: Sandbox) -> None:
    for badge_id in sandbox.badges:
        _, answer = await till.get(badge_id, "?includeStatistics=true")
        badge = structure(answer["data"], Badge)

        assert badge.id == badge_id
        assert badge.extra == {}
        assert unstructure(badge) == answer["data"]


@pytest.mark.parametrize("reference_id", ["007", "ü ✓ \U0001f600", 'a"b\\c', "a\nb", " x "])
async def test_a_reference_is_kept_and_echoed_character_by_character(
    till: Till, sandbox: Sandbox, reference_id: str
) -> None:
    _, answer = await till.claim(reference_id=reference_id)

    assert answer["data"]["referenceId"] == reference_id
    assert (BADGE, "Loyalty", reference_id) in sandbox.claims


async def test_a_lone_surrogate_is_echoed_as_an_escape(till: Till) -> None:
    body = rb'{"ownerType":"Loyalty","referenceId":"\ud800"}'
    async with till.session.post(
        CLAIM, data=body, headers={"Content-Type": "application/json"}
    ) as response:
        assert json.loads(await response.read())["data"]["referenceId"] == "\ud800"


async def test_an_answer_names_the_request_and_its_type_and_comes_in_chunks(wire: Wire) -> None:
    wire.send_claim()

    head, _ = await wire.read_chunked()

    lines = head.split("\r\n")
    assert lines[0] == "HTTP/1.1 200 OK"
    assert "Content-Type: application/json" in lines
    assert "Transfer-Encoding: chunked" in lines
    assert lines.count("X-Frame-Options: SAMEORIGIN") == 2
    (request_id,) = [line.split()[1] for line in lines if line.startswith("X-CAP-REQUEST-ID")]
    assert len(request_id) == 32
    assert set(request_id) <= set("0123456789abcdef")


async def test_a_badge_with_a_hundred_thousand_claims_still_answers_claims_and_reads(
    till: Till, sandbox: Sandbox
) -> None:
    for number in range(100_000):
        sandbox.add_claim(BADGE, "Loyalty", str(number))

    status, _ = await till.claim(reference_id="one more")
    _, answer = await till.get()

    assert status == 200
    assert len(answer["data"]["ownership"]["claims"]) == 100_001
