"""Get, claim and unclaim as pure functions: what is asked, and what every answer means."""

from __future__ import annotations

import json
import pickle
from collections.abc import Callable, Mapping
from functools import partial
from typing import Any, TypeVar
from urllib.parse import unquote, urlsplit

import attrs
import pytest
from hypothesis import given
from hypothesis import strategies as st

from badges_async import (
    APIError,
    Badge,
    BadgesError,
    Claim,
    ClaimRequest,
    ClaimResult,
    InvalidInputError,
    OwnerType,
    SortOrder,
    UnreadableReplyError,
    converter,
)
from badges_async.messages import Reply, Request
from badges_async.operations import (
    claim_request,
    get_request,
    read_badge,
    read_claim,
    read_unclaim,
    unclaim_request,
    with_attempts,
)
from tests.answers import (
    ALREADY,
    ASKED,
    BADGE,
    BADGE_ID,
    CLAIM_CASES,
    CLAIMED,
    EVERYWHERE,
    GET_CASES,
    SMALLEST_BADGE,
    UNCLAIM_CASES,
    UNCLAIMED,
    Case,
    ended,
    envelope,
    held,
    make_reply,
    notice,
    refusal,
)

T = TypeVar("T")
ROOT = "/api_gateway/v1/badges/badgeMeta/"


# What every answer means.


def check(case: Case, read: Callable[[Reply], object]) -> object:
    """Read an answer and compare with the table; give the value, or the error that was raised."""
    if isinstance(case.means, str):
        return read(case.reply())
    with pytest.raises(case.means) as caught:
        read(case.reply())
    error = caught.value
    assert type(error) is case.means
    if isinstance(error, APIError | UnreadableReplyError):
        assert error.status == case.status
    if isinstance(error, APIError):
        assert error.code == case.code
    return None


@pytest.mark.parametrize("case", [*CLAIM_CASES, *EVERYWHERE], ids=str)
def test_every_answer_to_a_claim(case: Case) -> None:
    result = check(case, lambda reply: read_claim(reply, ASKED))

    assert (result is not None) == (case.means in {CLAIMED, ALREADY})
    if isinstance(result, ClaimResult):
        assert result.already_claimed == (case.means == ALREADY)
        assert result.badge_id == BADGE_ID
        assert result.claim.reference_id == "123"
        assert result.claim.owner_type.lower() == "loyalty"
        assert result.claim.is_active is not False


@pytest.mark.parametrize("case", [*UNCLAIM_CASES, *EVERYWHERE], ids=str)
def test_every_answer_to_an_unclaim(case: Case) -> None:
    result = check(case, lambda reply: read_unclaim(reply, ASKED))

    assert (result is not None) == (case.means == UNCLAIMED)
    if isinstance(result, ClaimResult):
        assert not result.already_claimed
        assert result.claim.is_active is not True


@pytest.mark.parametrize("case", [*GET_CASES, *EVERYWHERE], ids=str)
def test_every_answer_to_a_get(case: Case) -> None:
    badge = check(case, read_badge)

    assert (badge is not None) == (case.means == BADGE)
    if isinstance(badge, Badge):
        assert (badge.id, badge.name) == (BADGE_ID, "Five for the dog")


def test_a_clean_claim_is_given_as_stated() -> None:
    reply = make_reply(200, envelope(held(), None, []), {"X-Cap-Request-Id": "7f"})

    assert read_claim(reply, ASKED) == ClaimResult(
        BADGE_ID,
        Claim(OwnerType.LOYALTY, "123", is_active=True),
        already_claimed=False,
        warnings=(),
        request_id="7f",
        attempts=1,
    )


def test_an_already_claimed_answer_without_data_gives_the_claim_as_asked() -> None:
    result = read_claim(make_reply(409, refusal(900)), ASKED)

    assert result.claim == Claim(OwnerType.LOYALTY, "123")
    assert result.already_claimed


def test_warnings_are_part_of_the_result() -> None:
    result = read_claim(make_reply(200, envelope(held(), None, [notice(5, "slow")])), ASKED)

    assert [(warning.code, warning.message) for warning in result.warnings] == [(5, "slow")]
    assert not result.already_claimed


def test_the_reason_for_no_claim_is_told() -> None:
    def why(data: object) -> str:
        with pytest.raises(UnreadableReplyError) as caught:
            read_claim(make_reply(200, envelope(data)), ASKED)
        return str(caught.value)

    assert why(held(referenceId="4")) == "HTTP 200: the answer is about another claim"
    assert why(held(isActive=False)) == "HTTP 200: the answer says that the claim is not active"
    assert "expected a string, got an integer @ $.referenceId" in why(held(referenceId=123))


def test_an_unclaim_that_is_still_active_is_no_unclaim() -> None:
    with pytest.raises(UnreadableReplyError, match="still active"):
        read_unclaim(make_reply(200, envelope(ended(isActive=True))), ASKED)


def test_the_attempts_of_a_call_are_noted_in_its_result() -> None:
    result = read_claim(make_reply(200, envelope(held())), ASKED)

    assert with_attempts(result, 1) is result
    assert with_attempts(result, 3).attempts == 3


# What is asked.


def test_a_claim_is_a_post_of_owner_and_reference() -> None:
    request = claim_request(ASKED)

    assert request == Request("claim", BADGE_ID, "POST", f"{ROOT}{BADGE_ID}/claim", request.body)
    assert request.body is not None
    assert json.loads(request.body) == {"ownerType": "Loyalty", "referenceId": "123"}


def test_an_unclaim_has_the_same_body_and_its_own_path() -> None:
    request = unclaim_request(ASKED)

    assert (request.operation, request.method) == ("unclaim", "POST")
    assert request.target == f"{ROOT}{BADGE_ID}/unclaim"
    assert request.body == claim_request(ASKED).body


@given(reference=st.text(st.characters(exclude_categories=["Cc", "Cs"]), min_size=1))
def test_a_reference_is_sent_character_by_character(reference: str) -> None:
    if reference.isspace():
        reference += "."
    for owner_type in OwnerType:
        body = claim_request(ClaimRequest(BADGE_ID, owner_type, reference)).body
        assert body is not None
        assert body.isascii()
        assert json.loads(body) == {"ownerType": owner_type.value, "referenceId": reference}


@pytest.mark.parametrize(
    ("arguments", "query"),
    [
        ({}, ""),
        ({"include_statistics": True}, "includeStatistics=true"),
        ({"include_statistics": False}, "includeStatistics=false"),
        ({"limit": 10}, "limit=10"),
        ({"order": "desc"}, "order=DESC"),
        ({"order": SortOrder.ASC}, "order=ASC"),
        (
            {"include_statistics": True, "limit": 1, "order": "ASC"},
            "limit=1&order=ASC&includeStatistics=true",
        ),
    ],
)
def test_the_query_of_a_get(arguments: Mapping[str, object], query: str) -> None:
    request = get_request(BADGE_ID, **arguments)  # type: ignore[arg-type]

    assert (request.operation, request.subject, request.method) == ("get_badge", BADGE_ID, "GET")
    assert request.body is None
    assert request.target == ROOT + BADGE_ID + (f"?{query}" if query else "")


@pytest.mark.parametrize(
    "arguments",
    [
        {"limit": 0},
        {"limit": -1},
        {"limit": True},
        {"limit": "10"},
        {"limit": 1.0},
        {"limit": 10**5000},
        {"order": "up"},
        {"order": ""},
        {"order": 1},
        {"order": "ASC&x=1"},
        {"include_statistics": 1},
        {"include_statistics": "true"},
    ],
)
def test_a_query_that_makes_no_sense_is_refused(arguments: Mapping[str, object]) -> None:
    with pytest.raises(InvalidInputError) as caught:
        get_request(BADGE_ID, **arguments)  # type: ignore[arg-type]
    assert len(str(caught.value)) < 200


ASKS: list[Callable[[str], Request]] = [
    get_request,
    lambda badge_id: claim_request(ClaimRequest(badge_id, "Loyalty", "1")),
    lambda badge_id: unclaim_request(ClaimRequest(badge_id, "Loyalty", "1")),
]


@pytest.mark.parametrize("ask", ASKS)
@pytest.mark.parametrize(
    "badge_id",
    [
        ".",
        "..",
        # A proxy that decodes slashes resolves these, and another badge is claimed.
        "../x",
        "x/../y",
        "x/.",
        "x\\..\\y",
        "getFixedWindowDetails",
        "GETFIXEDWINDOWDETAILS",
        "",
        " ",
        "\t",
        "a\nb",
        "a\x00",
    ],
)
def test_an_id_that_would_name_another_endpoint_is_refused(
    ask: Callable[[str], Request], badge_id: str
) -> None:
    with pytest.raises(InvalidInputError):
        ask(badge_id)


AWKWARD_IDS = [
    "a/b",
    "x..y/...",
    "..%2F",
    "%2e%2e",
    "...",
    "?x=1",
    "#top",
    "a?b#c",
    "%2F",
    "%",
    ";x=1",
    "..;",
    "a b",
    " a ",
    "a\\b",
    "a:b@c",
    "+",
    "&limit=1",
    "ünïcode",
    "\u5fbd\u7ae0",
    "\uff0e\uff0e",
    "a\u2028b",
    "\U0001f3c5",
    "007",
    "1e3",
    "getFixedWindowDetails;x",
    "customer",
]


def assert_one_segment(request: Request, badge_id: str) -> None:
    parts = urlsplit("https://host" + request.target)
    ending = "" if request.operation == "get_badge" else "/" + request.operation
    assert (parts.netloc, parts.query, parts.fragment) == ("host", "", "")
    assert parts.path.startswith(ROOT)
    assert parts.path.endswith(ending)
    segment = parts.path[len(ROOT) : len(parts.path) - len(ending)]
    assert not set(segment) & set("/?#;\\")
    assert segment not in {".", ".."}
    assert segment.isascii()
    assert unquote(segment) == badge_id == request.subject


@pytest.mark.parametrize("ask", ASKS)
@pytest.mark.parametrize("badge_id", AWKWARD_IDS)
def test_an_awkward_id_is_exactly_one_segment(ask: Callable[[str], Request], badge_id: str) -> None:
    assert_one_segment(ask(badge_id), badge_id)


@given(badge_id=st.text() | st.text("./%;?#\\25eEfF "), ask=st.sampled_from(ASKS))
def test_any_id_is_one_segment_or_refused(badge_id: str, ask: Callable[[str], Request]) -> None:
    try:
        request = ask(badge_id)
    except InvalidInputError:
        return
    assert_one_segment(request, badge_id)


# Whatever comes back.

STATUSES = st.integers(100, 599) | st.sampled_from([200, 400, 401, 403, 404, 409, 429, 500, 503])
HEADERS = st.lists(
    st.tuples(
        st.sampled_from(["Retry-After", "Date", "X-CAP-REQUEST-ID", "x-cap-requestid", "Server"]),
        st.text(max_size=40) | st.sampled_from(["7", "Sun, 06 Nov 1994 08:49:37 GMT"]),
    ),
    max_size=4,
)
SCALARS = (
    st.none()
    | st.booleans()
    | st.integers()
    | st.floats()
    | st.text(max_size=8)
    | st.sampled_from([900, "900", "Loyalty", "123", BADGE_ID])
)
DOCUMENTS = st.recursive(
    SCALARS,
    lambda inner: (
        st.lists(inner, max_size=3)
        | st.dictionaries(
            st.sampled_from(["data", "errors", "warnings", "code", "message", "id", "name", "x"]),
            inner,
            max_size=4,
        )
    ),
    max_leaves=12,
)
NOTICES = (
    st.none()
    | DOCUMENTS
    | st.lists(st.fixed_dictionaries({"code": SCALARS, "message": SCALARS}), max_size=2)
)
CLAIMS = st.fixed_dictionaries(
    {},
    optional={
        "ownerType": st.sampled_from(["Loyalty", "LOYALTY", "Journeys", None]),
        "referenceId": st.sampled_from(["123", "124", 123]),
        "isActive": st.sampled_from([True, False, None, 1]),
        "badgeMetaId": st.sampled_from([BADGE_ID, "f" * 24, None]),
    },
)
DATA = DOCUMENTS | CLAIMS | st.just(held()) | st.just(ended()) | st.just(SMALLEST_BADGE)
ENVELOPES = st.fixed_dictionaries({"data": DATA}, optional={"errors": NOTICES, "warnings": NOTICES})
BODIES = (
    st.binary(max_size=60)
    | DOCUMENTS.map(lambda document: json.dumps(document).encode())
    | ENVELOPES.map(lambda document: json.dumps(document).encode())
    | st.tuples(ENVELOPES, st.integers(1, 30)).map(
        lambda cut: json.dumps(cut[0]).encode()[: -cut[1]]
    )
)
REPLIES = st.builds(
    make_reply, STATUSES, BODIES, HEADERS, complete=st.sampled_from([True] * 9 + [False])
)


def read_or_error(read: Callable[[Reply], T], reply: Reply) -> T | None:
    """Give what *read* gives, or None for an error of ours; any other exception is a failure."""
    try:
        return read(reply)
    except BadgesError as error:
        text = str(error)
    assert text.isprintable()
    return None


def errors_of(reply: Reply) -> list[object]:
    errors = json.loads(reply.body.decode("utf-8-sig")).get("errors")
    return [error for error in (errors if isinstance(errors, list) else [errors]) if error]


@given(reply=REPLIES)
def test_any_answer_to_a_claim_is_this_claim_or_an_error_of_ours(reply: Reply) -> None:
    """F032: a claim is held only where all that counts says so."""
    result = read_or_error(partial(read_claim, asked=ASKED), reply)
    if result is None:
        return
    assert reply.complete
    document = json.loads(reply.body.decode("utf-8-sig"))
    data = document["data"] if result.already_claimed is False else document.get("data")
    if data:
        assert data["ownerType"].upper() == "LOYALTY"
        assert data["referenceId"] == "123"
        assert data.get("isActive") in {True, None}
        assert data.get("badgeMetaId") in {BADGE_ID, None}
    if result.already_claimed:
        assert b"900" in reply.body
    else:
        assert data
        assert reply.ok
        assert not errors_of(reply)


@given(reply=REPLIES)
def test_any_answer_to_an_unclaim_is_this_unclaim_or_an_error_of_ours(reply: Reply) -> None:
    result = read_or_error(partial(read_unclaim, asked=ASKED), reply)
    if result is None:
        return
    data = json.loads(reply.body.decode("utf-8-sig"))["data"]
    assert reply.ok
    assert not errors_of(reply)
    assert (data["ownerType"].upper(), data["referenceId"]) == ("LOYALTY", "123")
    assert data.get("isActive") in {False, None}
    assert data.get("badgeMetaId") in {BADGE_ID, None}
    assert not result.already_claimed


@given(reply=REPLIES)
def test_any_answer_to_a_get_is_a_badge_or_an_error_of_ours(reply: Reply) -> None:
    badge = read_or_error(read_badge, reply)
    if badge is None:
        return
    assert reply.ok
    assert not errors_of(reply)
    assert badge.id == json.loads(reply.body.decode("utf-8-sig"))["data"]["id"]


# What nearly every answer says is read without the converter, and reads the same.


@given(
    data=st.fixed_dictionaries(
        {},
        optional={
            "ownerType": st.sampled_from(["Loyalty", "LOYALTY", "Journeys", None, 1]),
            "referenceId": st.sampled_from(["1", "2", 1, None]),
            "isActive": st.sampled_from([True, False, None, 1, "true"]),
            "badgeMetaId": st.sampled_from([BADGE_ID, BADGE_ID.upper(), "other", None]),
            "more": st.sampled_from([None, 1]),
        },
    )
)
def test_an_answer_that_echoes_the_request_reads_as_the_converter_reads_it(
    data: dict[str, Any],
) -> None:
    asked = ClaimRequest(BADGE_ID, "Loyalty", "1")
    reply = make_reply(200, json.dumps({"data": data}).encode())
    try:
        claim = read_claim(reply, asked).claim
    except UnreadableReplyError:
        return
    assert claim == converter.structure(data, Claim)
    assert converter.unstructure(claim) == data
    assert type(claim) is Claim
    assert type(claim.owner_type) is type(converter.structure(data, Claim).owner_type)


@pytest.mark.parametrize("active", [1, "true"])
def test_an_answer_of_the_wrong_type_is_not_taken_for_an_echo(active: object) -> None:
    asked = ClaimRequest(BADGE_ID, "Loyalty", "1")
    data = {
        "ownerType": "Loyalty",
        "referenceId": "1",
        "isActive": active,
        "badgeMetaId": BADGE_ID,
    }
    with pytest.raises(UnreadableReplyError, match="isActive"):
        read_claim(make_reply(200, json.dumps({"data": data}).encode()), asked)


def test_a_result_made_of_an_answer_is_what_one_made_by_hand_is() -> None:
    asked = ClaimRequest(BADGE_ID, "Loyalty", "1")
    data = {"ownerType": "Loyalty", "referenceId": "1", "isActive": True, "badgeMetaId": BADGE_ID}
    result = read_claim(make_reply(200, json.dumps({"data": data}).encode()), asked)
    by_hand = ClaimResult(
        BADGE_ID, Claim(OwnerType.LOYALTY, "1", is_active=True, badge_meta_id=BADGE_ID)
    )
    assert (type(result), result, hash(result), repr(result)) == (
        ClaimResult,
        by_hand,
        hash(by_hand),
        repr(by_hand),
    )
    assert pickle.loads(pickle.dumps(result)) == by_hand  # noqa: S301 - our own
    with pytest.raises(attrs.exceptions.FrozenInstanceError):
        result.attempts = 7  # type: ignore[misc]
    with pytest.raises(attrs.exceptions.FrozenInstanceError):
        result.claim.reference_id = "2"  # type: ignore[misc]
