"""The values of the domain: what a request accepts, and that values are values."""

from __future__ import annotations

import pickle
from collections.abc import Iterator
from datetime import UTC, datetime

import attrs
import pytest
from hypothesis import given
from hypothesis import strategies as st

from badges_async import (
    Badge,
    Claim,
    ClaimOutcome,
    ClaimRequest,
    ClaimResult,
    ClaimStatus,
    Constraint,
    Cycle,
    Expiry,
    InvalidInputError,
    InvalidRequestError,
    Notice,
    Ownership,
    OwnerType,
    enums,
    models,
)

CLEAN = ("662749408fe258516a88fe89", "Loyalty", "123")
CONTROLS = ["\x00", "\x07", "\t", "\n", "\r", "\x1b", "\x1f", "\x7f", "\x80", "\x85", "\x9f"]


@pytest.mark.parametrize("field", ["badge_id", "reference_id"])
@pytest.mark.parametrize(
    ("value", "why"),
    [
        ("", "must not be blank"),
        (" ", "must not be blank"),
        (" \t ", "must not be blank"),
        ("\u00a0", "must not be blank"),
        ("\u2028", "must not be blank"),
        (None, "must be a string, not NoneType"),
        (123, "must be a string, not int"),
        (b"123", "must be a string, not bytes"),
        (1.5, "must be a string, not float"),
        (True, "must be a string, not bool"),
        (["123"], "must be a string, not list"),
        *((f"12{control}3", "must not hold control characters") for control in CONTROLS),
        ("12\ud800", "must not hold control characters"),
        ("\udcff12", "must not hold control characters"),
    ],
)
def test_a_request_refuses_what_cannot_be_an_id(field: str, value: object, why: str) -> None:
    parts = {"badge_id": CLEAN[0], "owner_type": CLEAN[1], "reference_id": CLEAN[2], field: value}

    with pytest.raises(InvalidInputError, match=f"^{field} {why}") as caught:
        ClaimRequest(**parts)  # type: ignore[arg-type]
    assert str(caught.value).isprintable()


def test_a_refusal_quotes_no_more_than_a_line() -> None:
    with pytest.raises(InvalidInputError) as caught:
        ClaimRequest("x" * 10_000 + "\n", "Loyalty", "1")
    assert len(str(caught.value)) < 200
    with pytest.raises(InvalidInputError) as caught:
        ClaimRequest("x", "y" * 10_000, "1")
    assert len(str(caught.value)) < 400


@pytest.mark.parametrize(
    "text",
    [
        "007",
        "1e3",
        "0",
        " 12 ",
        "a\u00a0b",
        "zu\u0301",
        "徽章",
        "\u200b1",
        "e\u2028f",
        "\U0001f3c5",
        "'\"\\",
    ],
)
def test_an_id_is_kept_character_by_character(text: str) -> None:
    request = ClaimRequest(text, "Loyalty", text)

    assert (request.badge_id, request.reference_id) == (text, text)


@given(text=st.text())
def test_a_text_is_kept_or_refused_never_changed(text: str) -> None:
    try:
        request = ClaimRequest(text, "Loyalty", text)
    except InvalidInputError:
        blank = not text.strip()
        assert blank or any(
            ord(c) < 32 or 127 <= ord(c) < 160 or 0xD800 <= ord(c) < 0xE000 for c in text
        )
        return
    assert (request.badge_id, request.reference_id) == (text, text)
    assert request.reference_id.encode()


@pytest.mark.parametrize("owner_type", OwnerType)
def test_an_owner_type_is_found_in_any_case(owner_type: OwnerType) -> None:
    for spelled in (
        owner_type.value,
        owner_type.upper(),
        owner_type.lower(),
        owner_type.swapcase(),
    ):
        assert OwnerType(spelled) is owner_type
        assert ClaimRequest("b", spelled, "r").owner_type is owner_type
    assert ClaimRequest("b", owner_type, "r").owner_type is owner_type


def test_the_ten_owner_types_are_those_of_the_wire() -> None:
    assert set(map(str, OwnerType)) == {
        "Loyalty",
        "Loyalty_Promotion",
        "Referral_Campaigns",
        "Journeys",
        "Audience_Campaigns",
        "Rewards_Catalog",
        "Goodwill_Module",
        "Milestones",
        "Historical_Import",
        "Membercare",
    }


@pytest.mark.parametrize(
    "value",
    [
        "",
        " ",
        "Loyalty ",
        "LOYALTY_PROMOTIONS",
        "Loyalti",
        "M\u0131lestones",
        "Mile\u017ftones",
        None,
        1,
        b"Loyalty",
        [],
        {},
    ],
)
def test_an_owner_type_that_nobody_knows_is_refused(value: object) -> None:
    with pytest.raises(InvalidInputError, match=r"^owner_type must be one of Loyalty, .*; not "):
        ClaimRequest("b", value, "r")  # type: ignore[arg-type]


@pytest.mark.parametrize(
    ("value", "shown"),
    [
        ("OVERLORD", "'OVERLORD'"),
        ("x" * 100, "'" + "x" * 79),
        (7, "int"),
        (None, "NoneType"),
    ],
)
def test_what_was_given_for_an_owner_type_is_said_in_few_letters(value: object, shown: str) -> None:
    with pytest.raises(InvalidInputError) as caught:
        ClaimRequest("b", value, "r")  # type: ignore[arg-type]
    assert str(caught.value).endswith(f"; not {shown}")


@pytest.mark.parametrize(
    "cls", [cls for cls in vars(enums).values() if hasattr(cls, "__members__")]
)
def test_the_members_of_an_enum_are_strings(cls: type[OwnerType]) -> None:
    for member in cls:
        assert isinstance(member, str)
        assert f"{member}" == member.value == member


def test_requests_for_many_badges_are_made_one_at_a_time() -> None:
    pulled: list[str] = []

    def ids() -> Iterator[str]:
        for badge_id in "abc":
            pulled.append(badge_id)
            yield badge_id

    requests = ClaimRequest.for_badges(ids(), "loyalty", "007")
    assert pulled == []
    assert next(requests) == ClaimRequest("a", OwnerType.LOYALTY, "007")
    assert pulled == ["a"]
    assert [request.badge_id for request in requests] == ["b", "c"]


def test_one_id_for_many_is_refused_and_not_taken_apart() -> None:
    for one in ("662749408fe258516a88fe89", b"662749408fe258516a88fe89"):
        with pytest.raises(InvalidInputError, match="not the letters of one"):
            ClaimRequest.for_badges(one, "Loyalty", "1")  # type: ignore[arg-type]


def test_a_bad_id_among_many_is_refused_when_its_turn_comes() -> None:
    requests = ClaimRequest.for_badges(["a", ""], "Loyalty", "1")

    next(requests)
    with pytest.raises(InvalidInputError):
        next(requests)


REQUEST = ClaimRequest(*CLEAN)
VALUES = [
    Notice(900, "already", "referenceId"),
    Claim(OwnerType.LOYALTY, "123", is_active=True, badge_meta_id="b", extra={"new": [1]}),
    Ownership(restricted_to_owners=(OwnerType.LOYALTY, "New"), claims=(Claim("New", "1"),)),
    Expiry(expires_on=datetime(2026, 1, 1, tzinfo=UTC)),
    Constraint(current_cycle=Cycle(start_date_iso="x")),
    Badge(id="b", name="n", custom_fields={"a": "1"}, extra={"x": {}}),
    REQUEST,
    ClaimResult(
        "b", Claim("Loyalty", "1"), warnings=(Notice(1, "m"),), request_id="7f", attempts=2
    ),
    ClaimOutcome(REQUEST, ClaimStatus.CLAIMED, result=ClaimResult("b", Claim("Loyalty", "1"))),
]


@pytest.mark.parametrize("value", VALUES, ids=lambda value: type(value).__name__)
def test_a_value_is_frozen_slotted_hashable_and_picklable(value: attrs.AttrsInstance) -> None:
    name = attrs.fields(type(value))[0].name

    with pytest.raises(attrs.exceptions.FrozenInstanceError):
        setattr(value, name, None)
    assert not hasattr(value, "__dict__")
    twin = pickle.loads(pickle.dumps(value))  # noqa: S301 - our own
    assert twin == value
    assert hash(twin) == hash(value)
    assert len({value, twin}) == 1


def test_an_outcome_survives_pickling_with_its_error() -> None:
    error = InvalidRequestError(
        "no", status=400, errors=(Notice(717, "m", "referenceId"),), attempts=1
    )
    outcome = ClaimOutcome(REQUEST, ClaimStatus.REJECTED, error=error, attempts=1)

    twin = pickle.loads(pickle.dumps(outcome))  # noqa: S301 - our own

    assert (twin.request, twin.status, twin.attempts) == (REQUEST, ClaimStatus.REJECTED, 1)
    assert isinstance(twin.error, InvalidRequestError)
    assert vars(twin.error) == vars(error)


def test_every_model_is_frozen_and_slotted() -> None:
    classes = [getattr(models, name) for name in models.__all__]
    classes += [ClaimRequest, ClaimResult, ClaimOutcome]
    assert all(attrs.has(cls) and "__slots__" in vars(cls) for cls in classes)
    assert all(cls.__setattr__ is not object.__setattr__ for cls in classes)


def test_a_claim_takes_the_arguments_of_the_contract_by_place() -> None:
    claim = Claim("Loyalty", "123", True, "b")  # noqa: FBT003

    assert (claim.is_active, claim.badge_meta_id) == (True, "b")
    assert Claim("Loyalty", "123") == Claim("Loyalty", "123", None, None)


def test_a_request_is_the_key_of_its_claim() -> None:
    assert ClaimRequest("b", "LOYALTY", "1") == ClaimRequest("b", OwnerType.LOYALTY, "1")
    assert ClaimRequest("b", "Loyalty", "1") != ClaimRequest("b", "Loyalty", "01")
    assert len({ClaimRequest("b", "loyalty", "1"), ClaimRequest("b", "Loyalty", "1")}) == 1
