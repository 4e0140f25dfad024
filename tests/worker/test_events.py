"""A claim as an event: what is read, what is refused, and why."""

from __future__ import annotations

import json
from typing import Any

import pytest
from hypothesis import given
from hypothesis import strategies as st

from badges_async import InvalidInputError, OwnerType
from badges_async.worker import ClaimEvent, UnreadableEventError
from badges_async.worker.events import MOST_BYTES

BADGE = "662749408fe258516a88fe89"
CLAIM = {"badgeId": BADGE, "ownerType": "Loyalty", "referenceId": "007"}


def message(**changes: Any) -> bytes:
    return json.dumps({**CLAIM, **changes}).encode()


def test_a_message_of_a_claim_alone_is_enough() -> None:
    event = ClaimEvent.parse(message())
    assert (event.badge_id, event.owner_type, event.reference_id) == (
        BADGE,
        OwnerType.LOYALTY,
        "007",
    )
    assert (event.id, event.quota, event.enqueued_at, event.trace) == (None, None, None, None)


def test_a_message_holds_all_that_is_known_of_the_event() -> None:
    trace = {"traceparent": "00-1-2-01"}
    event = ClaimEvent.parse(
        message(v=1, id="e1", quota="brand", enqueuedAt="2026-01-01T00:00:00Z", trace=trace, more=1)
    )
    assert (event.id, event.quota) == ("e1", "brand")
    assert (event.enqueued_at, event.trace) == ("2026-01-01T00:00:00Z", trace)
    more = {"id": "e1", "quota": "brand", "enqueuedAt": "2026-01-01T00:00:00Z", "trace": trace}
    assert json.loads(event.to_json()) == {"v": 1, **CLAIM, **more}


def test_what_is_not_known_is_not_written() -> None:
    assert json.loads(ClaimEvent.parse(message(id=None)).to_json()) == {"v": 1, **CLAIM}


@pytest.mark.parametrize("odd", [5, ["x"], {"a": 1}, True])
def test_what_is_carried_along_never_makes_a_message_unreadable(odd: object) -> None:
    event = ClaimEvent.parse(message(enqueuedAt=odd, trace=odd))
    assert event.enqueued_at is None
    assert event.trace == (odd if isinstance(odd, dict) else None)


@pytest.mark.parametrize("name", ["loyalty", "LOYALTY", "Loyalty"])
def test_an_owner_type_is_found_in_any_case(name: str) -> None:
    assert ClaimEvent.parse(message(ownerType=name)).owner_type is OwnerType.LOYALTY


@pytest.mark.parametrize(
    "data",
    [b"", b"null", b"[]", b'"x"', b"1", b"{", b"\xff\xfe", b"[" * 60_000, message()[:-1], b"NaN"],
    ids=lambda data: repr(data[:8]),
)
def test_what_is_no_json_object_is_unreadable(data: bytes) -> None:
    with pytest.raises(UnreadableEventError, match="no JSON object") as caught:
        ClaimEvent.parse(data)
    assert caught.value.reason == "unreadable"
    assert isinstance(caught.value, InvalidInputError)


def test_a_message_may_have_64_kib_and_not_a_byte_more() -> None:
    padding = MOST_BYTES - len(message(id=""))
    assert ClaimEvent.parse(message(id="x" * padding)).id == "x" * padding
    with pytest.raises(UnreadableEventError, match="65536 bytes") as caught:
        ClaimEvent.parse(message(id="x" * (padding + 1)))
    assert caught.value.reason == "unreadable"


@pytest.mark.parametrize("version", [0, 2, -1, 1.0, "1", None, True, [1], "9" * 5000])
def test_a_version_that_is_not_known_is_said_to_be_so(version: object) -> None:
    with pytest.raises(UnreadableEventError, match="is not known, only 1") as caught:
        ClaimEvent.parse(message(v=version))
    assert caught.value.reason == "unknown_version"
    assert len(str(caught.value)) < 100


@pytest.mark.parametrize("depth", [980, 1000, 1020])
def test_a_version_that_has_no_text_is_refused_all_the_same(depth: int) -> None:
    """Python gives up on the text of what orjson still reads: one message ended every worker."""
    deep = b"[" * depth + b"]" * depth
    with pytest.raises(UnreadableEventError):
        ClaimEvent.parse(message()[:-1] + b', "v": ' + deep + b"}")
    with pytest.raises(UnreadableEventError, match="version of type int is not known"):
        ClaimEvent.from_mapping({**CLAIM, "v": 10**5000})


@pytest.mark.parametrize(
    "more", [{"id": "\ud800"}, {"trace": {"a": "\ud800"}}, {"trace": {"a": {1, 2}}}]
)
def test_an_event_that_json_cannot_hold_is_refused(more: dict[str, Any]) -> None:
    with pytest.raises(InvalidInputError, match="JSON cannot hold"):
        ClaimEvent(BADGE, "Loyalty", "007", **more).to_json()


@pytest.mark.parametrize(
    ("changes", "what"),
    [
        ({"badgeId": ""}, "badge_id must not be blank"),
        ({"badgeId": 5}, "badge_id must be a string"),
        ({"ownerType": "Nobody"}, "owner_type must be one of"),
        ({"ownerType": ["Loyalty"]}, "owner_type must be one of"),
        ({"referenceId": "\x00"}, "control characters"),
        ({"referenceId": "\ud800"}, "control characters"),
        ({"referenceId": None}, "reference_id must be a string"),
        ({"id": 5}, "id and quota must be text or null"),
        ({"quota": ["brand"]}, "id and quota must be text or null"),
    ],
)
def test_a_message_that_names_no_claim_is_invalid(changes: dict[str, Any], what: str) -> None:
    with pytest.raises(UnreadableEventError, match=what) as caught:
        ClaimEvent.parse(message(**changes))
    assert caught.value.reason == "invalid"
    assert len(str(caught.value)) <= 200


@pytest.mark.parametrize("name", CLAIM)
def test_what_is_missing_is_named(name: str) -> None:
    document = {key: value for key, value in CLAIM.items() if key != name}
    with pytest.raises(UnreadableEventError, match=f"^{name} is missing$") as caught:
        ClaimEvent.from_mapping(document)
    assert caught.value.reason == "invalid"
    assert caught.value.__suppress_context__


def test_two_events_are_never_equal() -> None:
    """Not even of the same claim: a worker may hold both, and has to tell them apart."""
    one, other = ClaimEvent.parse(message()), ClaimEvent.parse(message())
    assert one != other
    assert one == one  # noqa: PLR0124
    assert len({one, other}) == 2
    assert [one, other].index(other) == 1


_JSON = st.recursive(
    st.none() | st.booleans() | st.integers() | st.floats() | st.text(max_size=5),
    lambda inner: (
        st.lists(inner, max_size=3) | st.dictionaries(st.text(max_size=5), inner, max_size=3)
    ),
    max_leaves=5,
)
_KEYS = ["v", "badgeId", "ownerType", "referenceId", "id", "quota", "enqueuedAt", "trace"]


@given(
    st.binary(max_size=40)
    | st.dictionaries(st.sampled_from(_KEYS), _JSON).map(
        lambda changes: json.dumps({**CLAIM, **changes}).encode()
    )
)
def test_any_message_is_an_event_or_says_why_not(data: bytes) -> None:
    event: ClaimEvent | UnreadableEventError
    try:
        event = ClaimEvent.parse(data)
    except UnreadableEventError as error:
        event = error
    if isinstance(event, UnreadableEventError):
        assert event.reason in {"unreadable", "unknown_version", "invalid"}
    else:
        assert ClaimEvent.parse(event.to_json()).to_json() == event.to_json()


_TEXT = st.text(st.characters(exclude_categories=["Cc", "Cs"]), min_size=1, max_size=20).filter(
    lambda text: not text.isspace()
)


@given(_TEXT, st.sampled_from(OwnerType), _TEXT, st.none() | _TEXT, st.none() | _TEXT)
def test_every_event_survives_being_written_down(
    badge: str, owner: OwnerType, reference: str, name: str | None, quota: str | None
) -> None:
    again = ClaimEvent.parse(ClaimEvent(badge, owner, reference, name, quota).to_json())
    assert (again.badge_id, again.owner_type, again.reference_id) == (badge, owner, reference)
    assert (again.id, again.quota) == (name, quota)
