"""
The documents of the API as values: frozen, slotted attrs classes.

Here: a badge and its parts, a claim as a badge or an answer states it, a notice. Not here: JSON
keys (`converter`), HTTP (`operations`, `session`), or what our users ask for and get (`claims`).

Times are aware UTC `datetime`. One beyond what `datetime` can hold (the service accepts epoch
milliseconds for seconds, and then answers a year of 57906) reads as the nearest end of its range.
The ``*_iso`` twins are the service's own rendering, in its own time zone, kept as they came.
A field that a document leaves out reads as None, a list as an empty tuple: documented keys do go
missing. Fields that nobody has documented yet are kept in `extra`.
"""

from __future__ import annotations

from collections.abc import Mapping
from datetime import datetime
from typing import Any

import attrs

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

__all__ = [
    "Badge",
    "Benefit",
    "Claim",
    "Constraint",
    "Cycle",
    "Document",
    "Expiry",
    "Image",
    "Notice",
    "Ownership",
    "Tag",
]


@attrs.frozen(kw_only=True)
class Document:
    """
    What every JSON object of the API has in common.

    Attributes:
        extra: Keys that the model does not know, with their JSON values; kept when the value is
            turned into JSON again.
    """

    extra: Mapping[str, Any] = attrs.field(factory=dict, hash=False)
    # What the document spelled in a way that the fields cannot tell: null for an empty list, nine
    # digits of a second. Owned by the converter; no part of what the value means, so no part of
    # equality.
    _verbatim: Mapping[str, Any] = attrs.field(
        factory=dict, repr=False, eq=False, hash=False, alias="_verbatim"
    )


@attrs.frozen
class Claim(Document):
    """
    An owner's claim on a badge; its key is (badge, `owner_type`, `reference_id`).

    Attributes:
        is_active: False once unclaimed. Older answers leave it out.
        badge_meta_id: The badge's id, where the answer names it.
    """

    owner_type: OwnerType | str
    reference_id: str
    is_active: bool | None = None
    badge_meta_id: str | None = None


@attrs.frozen(kw_only=True)
class Ownership(Document):
    """
    Who may claim a badge, and who has.

    `restricted_to_owners` is a set on the service: its order carries no meaning. One owner type can
    hold several claims, each with its own reference.
    """

    restricted_to_owners: tuple[OwnerType | str, ...] = ()
    claims: tuple[Claim, ...] = ()


@attrs.frozen(kw_only=True)
class Expiry(Document):
    """
    When an issued or earned badge ends; `expiry_type` decides which fields are there.

    ABSOLUTE has `type`, `expires_on` (None for WITH_BADGE_META) and `expire_with_badge_meta`;
    RELATIVE has `relative_expiry_type` and `value`; NEVER has none.
    """

    expiry_type: ExpiryType | str | None = None
    type: ExpiryBasis | str | None = None
    expires_on: datetime | None = None
    expires_on_iso: str | None = None
    expire_with_badge_meta: bool | None = None
    relative_expiry_type: DurationType | str | None = None
    value: int | None = None


@attrs.frozen(kw_only=True)
class Cycle(Document):
    """
    The current cycle of a fixed window.

    Only the days mean anything: the time of day is that of the request, and differs between two
    reads of one badge. Do not compare, hash or cache by it.
    """

    start_date: datetime | None = None
    start_date_iso: str | None = None
    end_date: datetime | None = None
    end_date_iso: str | None = None


@attrs.frozen(kw_only=True)
class Constraint(Document):
    """A limit on earning; `constraint_type` decides which fields are there."""

    constraint_type: ConstraintType | str | None = None
    # Fixed by level, duration and rate: the same on unrelated badges, so no key of anything.
    reference_id: str | None = None
    duration_type: DurationType | str | None = None
    refresh_rate: int | None = None
    start_day_of_the_week: Weekday | str | None = None
    max_earn_limit: int | None = None
    cycle_status: CycleStatus | str | None = None
    start_date: datetime | None = None
    start_date_iso: str | None = None
    end_date: datetime | None = None
    end_date_iso: str | None = None
    current_cycle: Cycle | None = None
    max_earn_for_days: int | None = None
    roll_for_days: int | None = None
    max_earn_for_weeks: int | None = None
    roll_for_weeks: int | None = None
    max_earn_for_months: int | None = None
    roll_for_months: int | None = None
    roll_type: DurationType | str | None = None
    roll_value: int | None = None


@attrs.frozen(kw_only=True)
class Image(Document):
    """A picture of a badge; `name` may be empty."""

    name: str | None = None
    file_svc_handle: str | None = None
    url: str | None = None
    tag: ImageTag | str | None = None


@attrs.frozen(kw_only=True)
class Benefit(Document):
    """What earning a badge gives. The type of the ids is not documented: they stay as they came."""

    benefit_type: BenefitType | str | None = None
    series_id: int | str | None = None
    program_id: int | str | None = None
    promotion_id: int | str | None = None
    allocation_strategy_id: int | str | None = None
    expiration_strategy_id: int | str | None = None
    default_till_id: int | str | None = None


@attrs.frozen(kw_only=True)
class Tag(Document):
    """A name and a value that the organisation put on a badge."""

    name: str | None = None
    value: str | None = None


@attrs.frozen(kw_only=True)
class Badge(Document):
    """
    A badge (`badgeMeta`): the union of every field seen in a documented answer.

    Only `id` and `name` are certain to be there.

    Attributes:
        status: By its dates. Independent of `active`: a badge can be LIVE and not active.
        issued_count: With `include_statistics` only, like `earned_count`.
        custom_fields: Strings, whatever type the field was declared with.
    """

    id: str
    name: str
    badge_numeric_id: int | None = None
    org_id: int | None = None
    description: str | None = None
    start_on: datetime | None = None
    start_on_iso: str | None = None
    expires_on: datetime | None = None
    expires_on_iso: str | None = None
    earned_badge_expiry: Expiry | None = None
    issued_badge_expiry: Expiry | None = None
    images: tuple[Image, ...] = ()
    ownership: Ownership = Ownership()
    customer_constraints: tuple[Constraint, ...] = ()
    badge_constraints: tuple[Constraint, ...] = ()
    benefits: tuple[Benefit, ...] = ()
    tags: tuple[Tag, ...] = ()
    badge_group_id: str | None = None
    badge_group_name: str | None = None
    badge_rank: int | None = None
    earn_type: EarnType | str | None = None
    issued_count: int | None = None
    earned_count: int | None = None
    status: BadgeStatus | str | None = None
    active: bool | None = None
    created_on: datetime | None = None
    created_on_iso: str | None = None
    created_by: int | None = None
    last_updated_on: datetime | None = None
    last_updated_on_iso: str | None = None
    last_updated_by: int | None = None
    default_till_id: int | None = None
    custom_fields: Mapping[str, str | None] = attrs.field(factory=dict, hash=False)


@attrs.frozen
class Notice:
    """
    One entry of an answer's errors or warnings.

    Attributes:
        code: Its number, interpreted for the operation that sent it only; some items have none.
        message: As sent, except that control characters are replaced and 500 characters kept.
        reference: A dotted field path, or None.
    """

    code: int | None
    message: str
    reference: str | None = None
