"""JSON becomes values and values become the JSON they came from, or the fault is told."""

from __future__ import annotations

import json
import pickle
from datetime import UTC, datetime, timedelta, timezone
from decimal import Decimal
from typing import Any, NoReturn

import attrs
import pytest

from badges_async import scalars
from badges_async.converter import structure, unstructure
from badges_async.enums import (
    BadgeStatus,
    ConstraintType,
    DurationType,
    EarnType,
    ExpiryBasis,
    ExpiryType,
    ImageTag,
    OwnerType,
    Weekday,
)
from badges_async.errors import InvalidInputError, StructureError
from badges_async.models import (
    Badge,
    Benefit,
    Claim,
    Constraint,
    Cycle,
    Document,
    Expiry,
    Image,
    Ownership,
    Tag,
)
from tests.samples import (
    MODELS,
    NEWEST_BADGE,
    SEED_BADGE,
    SHAPES,
    UPDATED_BADGE,
    read,
)

LEAST = {"id": "1", "name": "n"}
LAST = datetime.max.replace(tzinfo=UTC)
FIRST = datetime.min.replace(tzinfo=UTC)


def spelled(document: object) -> str:
    """Give *document* as text: unlike `==` it tells 1 from 1.0 and from True."""
    return json.dumps(document, sort_keys=True, default=repr)


def problems_of(data: object, cls: type[Document] = Badge) -> tuple[str, ...]:
    with pytest.raises(StructureError) as caught:
        structure(data, cls)
    assert caught.value.__context__ is None
    return caught.value.problems


@pytest.mark.parametrize("shape", SHAPES)
def test_every_documented_shape_comes_back_as_it_was(shape: str) -> None:
    cls, text = SHAPES[shape]
    value = structure(read(text), cls)
    assert type(value) is cls
    assert spelled(unstructure(value)) == spelled(read(text))


@pytest.mark.parametrize("shape", SHAPES)
def test_every_documented_shape_comes_back_with_all_its_digits(shape: str) -> None:
    cls, text = SHAPES[shape]
    document = json.loads(text, parse_float=Decimal)
    assert spelled(unstructure(structure(document, cls))) == spelled(document)


@pytest.mark.parametrize("shape", sorted(SHAPES.keys() - {"points as sent"}))
def test_every_documented_key_is_a_field(shape: str) -> None:
    cls, text = SHAPES[shape]
    assert "extra={'" not in repr(structure(read(text), cls))


def test_a_badge_reads_as_what_it_says() -> None:
    badge = structure(read(SEED_BADGE), Badge)
    assert badge.id == "65f1c2a94be7d0135a9c7e10"
    assert badge.badge_numeric_id is None
    assert badge.org_id == 200123
    assert badge.start_on == datetime(2024, 5, 27, 9, 51, 27, tzinfo=UTC)
    assert badge.created_on == datetime(2024, 4, 23, 5, 38, 8, 811000, tzinfo=UTC)
    assert badge.earned_badge_expiry == Expiry(
        expiry_type=ExpiryType.ABSOLUTE,
        type=ExpiryBasis.WITH_BADGE_META,
        expire_with_badge_meta=True,
    )
    assert badge.issued_badge_expiry is None
    assert badge.ownership == Ownership(
        restricted_to_owners=(OwnerType.MILESTONES, OwnerType.LOYALTY)
    )
    (constraint,) = badge.customer_constraints
    assert constraint.constraint_type is ConstraintType.CUSTOMER_BADGE_FIXED_WINDOW
    assert constraint.duration_type is DurationType.DAYS
    assert constraint.current_cycle == Cycle(
        start_date=datetime(2024, 7, 2, 5, 35, 18, 11293, tzinfo=UTC),
        end_date=datetime(2024, 7, 4, 5, 35, 18, 11293, tzinfo=UTC),
    )
    assert badge.earn_type is EarnType.EARN
    assert badge.status is BadgeStatus.LIVE
    assert badge.active is False
    assert badge.custom_fields == {}
    assert badge.extra == {}


def test_the_newest_badge_keeps_its_iso_twins_as_they_came() -> None:
    badge = structure(read(NEWEST_BADGE), Badge)
    assert badge.start_on_iso == "2025-12-08T00:00:00Z"
    assert badge.last_updated_on_iso == "2025-12-09T12:20:02Z"
    assert badge.images[1].tag is ImageTag.UN_EARNED
    assert badge.customer_constraints[0].start_day_of_the_week is Weekday.TUESDAY
    assert badge.issued_badge_expiry == Expiry(
        expiry_type=ExpiryType.RELATIVE, relative_expiry_type=DurationType.DAYS, value=30
    )
    assert badge.ownership.claims == (
        Claim(OwnerType.LOYALTY, "123", is_active=True),
        Claim(OwnerType.LOYALTY, "626_TransactionAdd", is_active=True),
    )


def test_a_value_read_equals_one_made_by_hand_in_all_it_does() -> None:
    read_claim = structure({"ownerType": "Loyalty", "referenceId": "1"}, Claim)
    made = Claim(OwnerType.LOYALTY, "1")
    assert read_claim == made
    assert hash(read_claim) == hash(made)
    assert repr(read_claim) == repr(made)
    with pytest.raises(attrs.exceptions.FrozenInstanceError):
        read_claim.reference_id = "2"  # type: ignore[misc]


@pytest.mark.parametrize("shape", SHAPES)
def test_a_value_read_survives_pickling(shape: str) -> None:
    cls, text = SHAPES[shape]
    value = structure(read(text), cls)
    again = pickle.loads(pickle.dumps(value))  # noqa: S301 - our own bytes
    assert again == value
    assert hash(again) == hash(value)
    assert spelled(unstructure(again)) == spelled(read(text))


# What is refused, and how that is told

WRONG: list[tuple[type[Document], object, str]] = [
    (Badge, None, "expected an object, got null @ $"),
    (Badge, [], "expected an object, got a list @ $"),
    (Badge, "badge", "expected an object, got a string @ $"),
    (Badge, {**LEAST, "name": None}, "expected a string, got null @ $.name"),
    (Badge, {**LEAST, "name": 5}, "expected a string, got an integer @ $.name"),
    (Badge, {**LEAST, "name": ["n"]}, "expected a string, got a list @ $.name"),
    (Badge, {**LEAST, "orgId": "5"}, "expected an integer, got a string @ $.orgId"),
    (Badge, {**LEAST, "orgId": True}, "expected an integer, got a boolean @ $.orgId"),
    (Badge, {**LEAST, "orgId": 1.0}, "expected an integer, got a decimal number @ $.orgId"),
    (Badge, {**LEAST, "orgId": Decimal(1)}, "expected an integer, got a decimal number @ $.orgId"),
    (Badge, {**LEAST, "active": 1}, "expected a boolean, got an integer @ $.active"),
    (Badge, {**LEAST, "active": "true"}, "expected a boolean, got a string @ $.active"),
    (Badge, {**LEAST, "status": 1}, "expected a string, got an integer @ $.status"),
    (Badge, {**LEAST, "startOnISO": 0}, "expected a string, got an integer @ $.startOnISO"),
    (Badge, {**LEAST, "images": "abc"}, "expected a list, got a string @ $.images"),
    (Badge, {**LEAST, "images": {}}, "expected a list, got an object @ $.images"),
    (Badge, {**LEAST, "images": [None]}, "expected an object, got null @ $.images[0]"),
    (Badge, {**LEAST, "ownership": []}, "expected an object, got a list @ $.ownership"),
    (
        Badge,
        {**LEAST, "ownership": {"restrictedToOwners": ["Loyalty", None]}},
        "expected a string, got null @ $.ownership.restrictedToOwners[1]",
    ),
    (
        Badge,
        {**LEAST, "ownership": {"claims": [{"ownerType": "Loyalty", "referenceId": None}]}},
        "expected a string, got null @ $.ownership.claims[0].referenceId",
    ),
    (
        Badge,
        {**LEAST, "badgeConstraints": [{}, {"currentCycle": {"endDate": "2024"}}]},
        "expected a number of seconds, got a string @ $.badgeConstraints[1].currentCycle.endDate",
    ),
    (
        Badge,
        {**LEAST, "earnedBadgeExpiry": {"relativeExpirytype": 1}},
        "expected a string, got an integer @ $.earnedBadgeExpiry.relativeExpirytype",
    ),
    (
        Badge,
        {**LEAST, "customFields": {"a\nb": 1}},
        "expected a string, got an integer @ $.customFields['a\\nb']",
    ),
    (Badge, {**LEAST, "customFields": []}, "expected an object, got a list @ $.customFields"),
    (Badge, {**LEAST, "startOn": True}, "expected a number of seconds, got a boolean @ $.startOn"),
    (Badge, {**LEAST, "startOn": "1"}, "expected a number of seconds, got a string @ $.startOn"),
    (
        Badge,
        {**LEAST, "startOn": float("nan")},
        "expected a number of seconds, got NaN @ $.startOn",
    ),
    (
        Badge,
        {**LEAST, "startOn": Decimal("NaN")},
        "expected a number of seconds, got NaN @ $.startOn",
    ),
    (
        Badge,
        {**LEAST, "startOn": Decimal("sNaN")},
        "expected a number of seconds, got NaN @ $.startOn",
    ),
    (Badge, {"id": "1"}, "required, but missing @ $.name"),
    (Claim, {"ownerType": "Loyalty"}, "required, but missing @ $.referenceId"),
    (
        Benefit,
        {"seriesId": True},
        "expected an integer or a string, got a boolean @ $.seriesId",
    ),
    (Tag, {"value": {}}, "expected a string, got an object @ $.value"),
]


@pytest.mark.parametrize(("cls", "data", "problem"), WRONG)
def test_a_wrong_document_is_refused_with_the_path_of_its_fault(
    cls: type[Document], data: object, problem: str
) -> None:
    assert problems_of(data, cls) == (problem,)


def test_all_faults_are_told_at_once() -> None:
    data: dict[str, Any] = {
        "name": None,
        "images": [{"tag": 1}, 2],
        "ownership": {"claims": [{}]},
        "customFields": {"ok": "", "bad": []},
    }
    assert problems_of(data) == (
        "expected a string, got null @ $.name",
        "expected a string, got an integer @ $.images[0].tag",
        "expected an object, got an integer @ $.images[1]",
        "required, but missing @ $.ownership.claims[0].ownerType",
        "required, but missing @ $.ownership.claims[0].referenceId",
        "expected a string, got a list @ $.customFields['bad']",
        "required, but missing @ $.id",
    )


def test_the_message_names_the_model_the_first_fault_and_how_many_follow() -> None:
    with pytest.raises(StructureError, match=r"^not a Tag: expected a string.* @ \$\.name$"):
        structure({"name": 1}, Tag)
    with pytest.raises(StructureError, match=r"@ \$\.name \(and 1 more\)$"):
        structure({"name": 1, "value": 2}, Tag)


def test_no_document_makes_more_than_a_hundred_problems_or_a_long_line() -> None:
    assert len(problems_of({**LEAST, "images": [None] * 1000, "tags": [None] * 1000})) == 100
    (problem,) = problems_of({**LEAST, "customFields": {"k" * 100_000: 1}})
    assert len(problem) < 200


# What is forgiven


@pytest.mark.parametrize("cls", MODELS)
def test_null_reads_as_absent_and_goes_back_as_null(cls: type[Document]) -> None:
    least: dict[str, Any] = {"id": "1", "name": "n"} if cls is Badge else {}
    if cls is Claim:
        least = {"ownerType": "Loyalty", "referenceId": "1"}
    absent = structure(least, cls)
    keys = {
        "relativeExpirytype"
        if name == "relative_expiry_type"
        else name.split("_")[0]
        + "".join("ISO" if word == "iso" else word.title() for word in name.split("_")[1:])
        for name in attrs.fields_dict(cls)
        if name not in {"extra", "_verbatim"}
    }
    document = dict.fromkeys(keys) | least
    value = structure(document, cls)
    assert value == absent
    assert value.extra == {}
    assert unstructure(value) == document
    assert unstructure(absent) == least


@pytest.mark.parametrize(
    "document",
    [
        {**LEAST, "images": []},
        {**LEAST, "customFields": {}},
        {**LEAST, "ownership": {}},
        {**LEAST, "ownership": {"claims": None}},
        {**LEAST, "ownership": {"restrictedToOwners": [], "claims": []}},
        {**LEAST, "earnedBadgeExpiry": {}},
        {**LEAST, "badgeConstraints": [{}, {"currentCycle": {}}, {"currentCycle": None}]},
        {**LEAST, "customFields": {"a": None, "b": ""}},
    ],
    ids=repr,
)
def test_empty_null_and_absent_go_back_as_they_were(document: dict[str, Any]) -> None:
    assert spelled(unstructure(structure(document, Badge))) == spelled(document)


def test_absent_and_null_parts_read_as_empty() -> None:
    badge = structure({**LEAST, "tags": None, "ownership": None, "customFields": None}, Badge)
    assert badge == Badge(id="1", name="n")
    assert badge.tags == ()
    assert badge.ownership == Ownership()
    assert badge.custom_fields == {}


@pytest.mark.parametrize("word", ["LOYALTY", "loyalty", "Karma", "", "Loyalty "])
def test_a_word_that_is_not_exactly_known_stays_a_plain_string(word: str) -> None:
    claim = structure({"ownerType": word, "referenceId": "1"}, Claim)
    assert type(claim.owner_type) is str
    assert unstructure(claim) == {"ownerType": word, "referenceId": "1"}


def test_words_go_back_as_plain_strings() -> None:
    written = unstructure(Ownership(restricted_to_owners=(OwnerType.LOYALTY, "Karma")))
    assert written == {"restrictedToOwners": ["Loyalty", "Karma"]}
    assert {type(word) for word in written["restrictedToOwners"]} == {str}


def test_unknown_keys_are_kept_at_every_depth() -> None:
    document: dict[str, Any] = {
        **LEAST,
        "rating": {"stars": [5]},
        "extra": 1,
        "_verbatim": 2,
        "start_on": 3,
        "ownership": {"claims": [{"ownerType": "Loyalty", "referenceId": "1", "till": None}]},
        "earnedBadgeExpiry": {"expiryType": "RELATIVE", "relativeExpiryType": "DAYS"},
    }
    badge = structure(document, Badge)
    assert badge.extra == {"rating": {"stars": [5]}, "extra": 1, "_verbatim": 2, "start_on": 3}
    assert badge.extra["rating"] is document["rating"]
    assert badge.ownership.claims[0].extra == {"till": None}
    assert badge.earned_badge_expiry == Expiry(
        expiry_type=ExpiryType.RELATIVE, extra={"relativeExpiryType": "DAYS"}
    )
    assert unstructure(badge) == document


def test_what_nobody_knows_may_be_deeper_than_python_can_recurse() -> None:
    abyss: list[Any] = []
    for _ in range(100_000):
        abyss = [abyss]
    document = {**LEAST, "abyss": abyss, "ownership": {"abyss": abyss}}
    badge = structure(document, Badge)
    assert unstructure(badge)["ownership"]["abyss"] is abyss
    assert problems_of({**LEAST, "customFields": {"abyss": abyss}}) == (
        "expected a string, got a list @ $.customFields['abyss']",
    )


def test_a_value_does_not_change_with_the_document_it_came_from() -> None:
    document = read(SEED_BADGE)
    badge = structure(document, Badge)
    for part in (document["images"], document["ownership"]["claims"]):
        part.append("later")
    document["customFields"]["later"] = "x"
    document["startOn"] = 0
    document.clear()
    assert spelled(unstructure(badge)) == spelled(read(SEED_BADGE))


def test_a_value_does_not_change_with_the_document_it_gave() -> None:
    badge = structure(read(SEED_BADGE), Badge)
    given = unstructure(badge)
    given["images"].append("later")
    given["customFields"]["later"] = "x"
    given["ownership"]["claims"].append("later")
    assert spelled(unstructure(badge)) == spelled(read(SEED_BADGE))


# Times


@pytest.mark.parametrize(
    ("raw", "moment"),
    [
        (0, datetime(1970, 1, 1, tzinfo=UTC)),
        (1719898518.011293, datetime(2024, 7, 2, 5, 35, 18, 11293, tzinfo=UTC)),
        (Decimal("1719898518.011293499"), datetime(2024, 7, 2, 5, 35, 18, 11293, tzinfo=UTC)),
        (Decimal("1719898518.011293501"), datetime(2024, 7, 2, 5, 35, 18, 11294, tzinfo=UTC)),
        (Decimal("1721520000.000000000"), datetime(2024, 7, 21, tzinfo=UTC)),
        (Decimal("1E-999999"), datetime(1970, 1, 1, tzinfo=UTC)),
        (-1, datetime(1969, 12, 31, 23, 59, 59, tzinfo=UTC)),
        (-0.5, datetime(1969, 12, 31, 23, 59, 59, 500000, tzinfo=UTC)),
        (1765178896000, LAST),
        (253402300799.99999999, LAST),
        (10**400, LAST),
        (1e300, LAST),
        (float("inf"), LAST),
        (Decimal("Infinity"), LAST),
        (Decimal("1E+999999"), LAST),
        (-(10**400), FIRST),
        (-62135596801, FIRST),
        (float("-inf"), FIRST),
        (Decimal("-1E+999999"), FIRST),
    ],
)
def test_any_number_of_seconds_reads_as_a_moment_and_goes_back(
    raw: float | Decimal, moment: datetime
) -> None:
    cycle = structure({"startDate": raw}, Cycle)
    assert cycle.start_date == moment
    assert cycle.start_date is not None
    assert cycle.start_date.tzinfo is UTC
    (written,) = unstructure(cycle).values()
    assert written is raw


def test_a_platform_that_cannot_look_before_1970_reads_the_same_moment(
    monkeypatch: pytest.MonkeyPatch,
) -> None:
    class OnWindows(datetime):
        @classmethod
        def fromtimestamp(cls, _timestamp: float, _tz: object = None) -> NoReturn:
            raise OSError(22, "Invalid argument")

    monkeypatch.setattr(scalars, "datetime", OnWindows)
    assert structure({"startDate": -0.25}, Cycle) == Cycle(
        start_date=datetime(1969, 12, 31, 23, 59, 59, 750000, tzinfo=UTC)
    )


def test_a_badge_of_the_year_57906_is_readable() -> None:
    badge = structure(read(UPDATED_BADGE), Badge)
    assert badge.start_on == LAST
    assert badge.start_on_iso == "+57906-04-18T07:06:40Z"


def test_a_time_made_by_hand_is_written_in_the_shortest_number() -> None:
    moment = datetime(2024, 7, 21, tzinfo=UTC)
    in_india = moment.astimezone(timezone(timedelta(hours=5, minutes=30)))
    fraction = moment + timedelta(microseconds=1)
    assert spelled(unstructure(Cycle(start_date=moment))) == '{"startDate": 1721520000}'
    assert spelled(unstructure(Cycle(start_date=in_india))) == '{"startDate": 1721520000}'
    assert spelled(unstructure(Cycle(start_date=fraction))) == '{"startDate": 1721520000.000001}'


def test_a_time_without_a_zone_is_refused() -> None:
    naive = datetime(2024, 7, 21)  # noqa: DTZ001 - what is refused
    with pytest.raises(InvalidInputError, match="needs a time zone"):
        unstructure(Cycle(start_date=naive))


# What was changed since


def test_a_changed_field_comes_out_changed_and_the_rest_as_it_came() -> None:
    document = {**read(SEED_BADGE), "startOn": Decimal("1716803487.000000000"), "rating": 5}
    badge = structure(document, Badge)
    moment = datetime(2030, 1, 1, tzinfo=UTC)
    changed = attrs.evolve(
        badge,
        name="Other",
        start_on=moment,
        description=None,
        images=(Image(name="i"),),
        badge_group_id="g",
        ownership=attrs.evolve(badge.ownership, claims=(Claim(OwnerType.LOYALTY, "1"),)),
    )
    expected = document | {
        "name": "Other",
        "startOn": int(moment.timestamp()),
        "images": [{"name": "i"}],
        "badgeGroupId": "g",
        "ownership": {
            "restrictedToOwners": ["Milestones", "Loyalty"],
            "claims": [{"ownerType": "Loyalty", "referenceId": "1"}],
        },
    }
    del expected["description"]
    assert spelled(unstructure(changed)) == spelled(expected)
    assert spelled(unstructure(badge)) == spelled(document)


def test_a_time_that_was_removed_is_left_out() -> None:
    cycle = structure({"startDate": 1.5, "endDate": 10**20}, Cycle)
    assert unstructure(attrs.evolve(cycle, start_date=None)) == {"endDate": 10**20}


def test_a_field_that_became_null_again_is_null_again() -> None:
    tag = structure({"name": None}, Tag)
    assert unstructure(attrs.evolve(attrs.evolve(tag, name="x"), name=None)) == {"name": None}


def test_a_value_made_by_hand_leaves_its_defaults_out() -> None:
    assert unstructure(Badge(id="1", name="n")) == LEAST
    assert unstructure(Constraint()) == {}
    assert unstructure(Expiry(relative_expiry_type=DurationType.WEEKS, value=0)) == {
        "relativeExpirytype": "WEEKS",
        "value": 0,
    }


def test_a_field_wins_over_extra() -> None:
    tag = Tag(name="field", extra={"name": "extra", "value": "free", "other": 1})
    assert unstructure(tag) == {"name": "field", "value": "free", "other": 1}
