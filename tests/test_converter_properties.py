"""What the converter promises of every document, tried on documents that nobody thought of."""

from __future__ import annotations

import json
from collections.abc import Mapping
from datetime import UTC, datetime
from enum import Enum
from typing import Any

from hypothesis import given, settings
from hypothesis import strategies as st

from badges_async.converter import structure, unstructure
from badges_async.enums import (
    BadgeStatus,
    BenefitType,
    ConstraintType,
    CycleStatus,
    DurationType,
    EarnType,
    ExpiryBasis,
    ExpiryType,
    ImageTag,
    OwnerType,
    Weekday,
)
from badges_async.errors import StructureError
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
from tests.samples import MODELS

Json = Any
Documents = st.SearchStrategy[dict[str, Json]]

TEXT = st.text(max_size=5)
INTEGERS = st.integers()
# All that a parser of JSON makes of a number but NaN, with `parse_float=Decimal` or without.
TIMES = (
    st.integers()
    | st.integers(0, 2_000_000_000)
    | st.floats(allow_nan=False)
    | st.floats(0, 2e9)
    | st.decimals(allow_nan=False)
    | st.decimals(0, 2_000_000_000, places=9)
    | st.sampled_from([1765178896000, 10**400, -(10**400), 253402300799.9999999, -0.0, 5.0])
)
JSON = st.recursive(
    st.none() | st.booleans() | INTEGERS | st.floats() | st.decimals() | TEXT,
    lambda part: st.lists(part, max_size=3) | st.dictionaries(TEXT, part, max_size=3),
    max_leaves=8,
)
IDS = INTEGERS | TEXT


def words(enum: type[Enum]) -> st.SearchStrategy[str]:
    """Draw a word of *enum* as it is and in a wrong case, and what is no word of it."""
    known = [member.value for member in enum]
    return st.sampled_from([*known, *map(str.swapcase, known)]) | TEXT


def documents(
    optional: Mapping[str, st.SearchStrategy[Json]],
    required: Mapping[str, st.SearchStrategy[Json]] | None = None,
) -> Documents:
    """Draw a document with some of *optional*, each perhaps null, and with unknown keys."""
    required = dict(required or {})
    maybe = {key: st.none() | value for key, value in optional.items()}
    unknown = TEXT.filter(lambda key: key not in maybe and key not in required)
    return st.builds(
        lambda known, extra: {**known, **extra},
        st.fixed_dictionaries(required, optional=maybe),
        st.dictionaries(unknown, JSON, max_size=2),
    )


EXPIRIES = documents(
    {
        "expiryType": words(ExpiryType),
        "type": words(ExpiryBasis),
        "expiresOn": TIMES,
        "expiresOnISO": TEXT,
        "expireWithBadgeMeta": st.booleans(),
        "relativeExpirytype": words(DurationType),
        "relativeExpiryType": words(DurationType),
        "value": INTEGERS,
    }
)
CYCLES = documents({"startDate": TIMES, "startDateISO": TEXT, "endDate": TIMES, "endDateISO": TEXT})
CONSTRAINTS = documents(
    {
        "constraintType": words(ConstraintType),
        "referenceId": TEXT,
        "durationType": words(DurationType),
        "refreshRate": INTEGERS,
        "startDayOfTheWeek": words(Weekday),
        "maxEarnLimit": INTEGERS,
        "cycleStatus": words(CycleStatus),
        "startDate": TIMES,
        "startDateISO": TEXT,
        "endDate": TIMES,
        "endDateISO": TEXT,
        "currentCycle": CYCLES,
        "maxEarnForDays": INTEGERS,
        "rollForDays": INTEGERS,
        "maxEarnForWeeks": INTEGERS,
        "rollForWeeks": INTEGERS,
        "maxEarnForMonths": INTEGERS,
        "rollForMonths": INTEGERS,
        "rollType": words(DurationType),
        "rollValue": INTEGERS,
    }
)
IMAGES = documents({"name": TEXT, "fileSvcHandle": TEXT, "url": TEXT, "tag": words(ImageTag)})
BENEFITS = documents(
    {
        "benefitType": words(BenefitType),
        "seriesId": IDS,
        "programId": IDS,
        "promotionId": IDS,
        "allocationStrategyId": IDS,
        "expirationStrategyId": IDS,
        "defaultTillId": IDS,
        "points": INTEGERS,
    }
)
TAGS = documents({"name": TEXT, "value": TEXT})
CLAIMS = documents(
    {"isActive": st.booleans(), "badgeMetaId": TEXT},
    {"ownerType": words(OwnerType), "referenceId": TEXT},
)
OWNERSHIPS = documents(
    {
        "restrictedToOwners": st.lists(words(OwnerType), max_size=3),
        "claims": st.lists(CLAIMS, max_size=3),
    }
)
BADGES = documents(
    {
        "badgeNumericId": INTEGERS,
        "orgId": INTEGERS,
        "description": TEXT,
        "startOn": TIMES,
        "startOnISO": TEXT,
        "expiresOn": TIMES,
        "expiresOnISO": TEXT,
        "earnedBadgeExpiry": EXPIRIES,
        "issuedBadgeExpiry": EXPIRIES,
        "images": st.lists(IMAGES, max_size=2),
        "ownership": OWNERSHIPS,
        "customerConstraints": st.lists(CONSTRAINTS, max_size=2),
        "badgeConstraints": st.lists(CONSTRAINTS, max_size=2),
        "benefits": st.lists(BENEFITS, max_size=2),
        "tags": st.lists(TAGS, max_size=2),
        "badgeGroupId": TEXT,
        "badgeGroupName": TEXT,
        "badgeRank": INTEGERS,
        "earnType": words(EarnType),
        "issuedCount": INTEGERS,
        "earnedCount": INTEGERS,
        "status": words(BadgeStatus),
        "active": st.booleans(),
        "createdOn": TIMES,
        "createdOnISO": TEXT,
        "createdBy": INTEGERS,
        "lastUpdatedOn": TIMES,
        "lastUpdatedOnISO": TEXT,
        "lastUpdatedBy": INTEGERS,
        "defaultTillId": INTEGERS,
        "customFields": st.dictionaries(TEXT, st.none() | TEXT, max_size=3),
    },
    {"id": TEXT, "name": TEXT},
)
DOCUMENTS: dict[type[Document], Documents] = {
    Badge: BADGES,
    Benefit: BENEFITS,
    Claim: CLAIMS,
    Constraint: CONSTRAINTS,
    Cycle: CYCLES,
    Expiry: EXPIRIES,
    Image: IMAGES,
    Ownership: OWNERSHIPS,
    Tag: TAGS,
}
CASES = st.one_of([st.tuples(st.just(cls), documents) for cls, documents in DOCUMENTS.items()])


def same(one: Json, other: Json) -> bool:
    """Whether two documents are the same one: 1 is not 1.0, and NaN is itself."""
    if type(one) is not type(other):
        return False
    if isinstance(one, dict):
        return one.keys() == other.keys() and all(same(one[key], other[key]) for key in one)
    if isinstance(one, list):
        return len(one) == len(other) and all(map(same, one, other))
    return one is other or bool(one == other)


def places(document: Json) -> list[tuple[Json, Json]]:
    """Give all places of *document*, each as its container and its key or index."""
    found: list[tuple[Json, Json]] = []
    if isinstance(document, dict | list):
        keys = list(document) if isinstance(document, dict) else range(len(document))
        for key in keys:
            found += [(document, key), *places(document[key])]
    return found


def test_no_model_was_forgotten() -> None:
    assert set(DOCUMENTS) == set(MODELS)


@given(case=CASES)
def test_every_document_comes_back_exactly(case: tuple[type[Document], dict[str, Json]]) -> None:
    cls, document = case
    before = repr(document)
    value = structure(document, cls)
    assert same(unstructure(value), document)
    assert repr(document) == before


@given(document=BADGES)
def test_what_comes_back_reads_as_the_same_value(document: dict[str, Json]) -> None:
    badge = structure(document, Badge)
    again = structure(unstructure(badge), Badge)
    assert again == badge
    assert hash(again) == hash(badge)


@given(moment=st.datetimes(datetime(1900, 1, 1), datetime(2200, 1, 1), timezones=st.just(UTC)))  # noqa: DTZ001 - bounds are naive
def test_a_time_made_by_hand_survives_the_text_of_json(moment: datetime) -> None:
    text = json.dumps(unstructure(Cycle(start_date=moment)))
    assert structure(json.loads(text), Cycle) == Cycle(start_date=moment)


@given(cls=st.sampled_from(MODELS), data=JSON)
def test_any_json_is_a_value_or_a_structure_error(cls: type[Document], data: Json) -> None:
    assert_read_or_refused(data, cls)


@settings(max_examples=300)
@given(case=CASES, data=st.data(), wrong=JSON)
def test_any_json_at_any_place_is_a_value_or_a_structure_error(
    case: tuple[type[Document], dict[str, Json]], data: st.DataObject, wrong: Json
) -> None:
    cls, document = case
    if found := places(document):
        container, key = data.draw(st.sampled_from(found))
        container[key] = wrong
    assert_read_or_refused(document, cls)


def assert_read_or_refused(data: Json, cls: type[Document]) -> None:
    problems: tuple[str, ...] = ()
    try:
        value = structure(data, cls)
    except StructureError as error:
        problems = error.problems or ("told nothing",)
    assert all(" @ $" in problem for problem in problems)
    assert problems or same(unstructure(value), data)
