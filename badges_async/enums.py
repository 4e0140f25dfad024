"""
The closed word lists of the API, each read as an open one.

Here: the names that are documented. In an answer an unknown word stays a plain string, so a new
value on the service never makes an answer unreadable; in a request only a known word is sent.
Source of every value: the operations' documentation pages.
"""

from __future__ import annotations

from enum import StrEnum

__all__ = [
    "BadgeStatus",
    "BenefitType",
    "ClaimStatus",
    "ConstraintType",
    "CycleStatus",
    "DurationType",
    "EarnType",
    "ExpiryBasis",
    "ExpiryType",
    "ImageTag",
    "OwnerType",
    "SortOrder",
    "Weekday",
]


class OwnerType(StrEnum):
    """
    The module that claims a badge; the value is the spelling on the wire.

    Looking one up ignores case (`OwnerType("LOYALTY")`), because the service's own documents
    print upper-case names that the service refuses.
    """

    LOYALTY = "Loyalty"
    LOYALTY_PROMOTION = "Loyalty_Promotion"
    REFERRAL_CAMPAIGNS = "Referral_Campaigns"
    JOURNEYS = "Journeys"
    AUDIENCE_CAMPAIGNS = "Audience_Campaigns"
    REWARDS_CATALOG = "Rewards_Catalog"
    GOODWILL_MODULE = "Goodwill_Module"
    MILESTONES = "Milestones"
    HISTORICAL_IMPORT = "Historical_Import"
    # Not on the claim page; seen in badges' restrictedToOwners and on the update page.
    MEMBERCARE = "Membercare"

    @classmethod
    def _missing_(cls, value: object) -> OwnerType | None:
        # ASCII only: the upper case of some foreign letters is one of ours.
        if isinstance(value, str) and value.isascii():
            return _OWNER_TYPES.get(value.upper())
        return None


_OWNER_TYPES = {owner_type.name: owner_type for owner_type in OwnerType}


class BadgeStatus(StrEnum):
    """Where a badge's dates stand against the service's clock; not whether it is active."""

    UPCOMING = "UPCOMING"
    LIVE = "LIVE"
    EXPIRED = "EXPIRED"


class EarnType(StrEnum):
    """Whether customers earn a badge directly or must be enrolled first."""

    EARN = "EARN"
    ISSUE_EARN = "ISSUE_EARN"


class ExpiryType(StrEnum):
    """How an expiry is given; it decides which other fields of `Expiry` are there."""

    ABSOLUTE = "ABSOLUTE"
    RELATIVE = "RELATIVE"
    NEVER = "NEVER"


class ExpiryBasis(StrEnum):
    """What an absolute expiry follows."""

    WITH_BADGE_META = "WITH_BADGE_META"
    FIXED_DATE = "FIXED_DATE"


class DurationType(StrEnum):
    """The unit of a window or of a relative expiry."""

    DAYS = "DAYS"
    WEEKS = "WEEKS"
    MONTHS = "MONTHS"


class ConstraintType(StrEnum):
    """What a constraint limits, for one customer or for the badge as a whole."""

    CUSTOMER_BADGE_FIXED_WINDOW = "CUSTOMER_BADGE_FIXED_WINDOW"
    CUSTOMER_BADGE_FIXED_VALUE = "CUSTOMER_BADGE_FIXED_VALUE"
    CUSTOMER_BADGE_ROLLING_WINDOW = "CUSTOMER_BADGE_ROLLING_WINDOW"
    CUSTOMER_BADGE_NO_LIMIT = "CUSTOMER_BADGE_NO_LIMIT"
    BADGE_FIXED_WINDOW = "BADGE_FIXED_WINDOW"
    BADGE_FIXED_VALUE = "BADGE_FIXED_VALUE"
    BADGE_ROLLING_WINDOW = "BADGE_ROLLING_WINDOW"
    BADGE_NO_LIMIT = "BADGE_NO_LIMIT"


class CycleStatus(StrEnum):
    """The state of a fixed window; EXPIRED is described but never shown in an example."""

    UPCOMING = "UPCOMING"
    ACTIVE = "ACTIVE"
    EXPIRED = "EXPIRED"


class Weekday(StrEnum):
    """The day that a window of weeks starts on."""

    MONDAY = "MONDAY"
    TUESDAY = "TUESDAY"
    WEDNESDAY = "WEDNESDAY"
    THURSDAY = "THURSDAY"
    FRIDAY = "FRIDAY"
    SATURDAY = "SATURDAY"
    SUNDAY = "SUNDAY"


class ImageTag(StrEnum):
    """When a badge's image is shown."""

    EARNED = "EARNED"
    UN_EARNED = "UN_EARNED"
    IN_PROGRESS = "IN_PROGRESS"


class BenefitType(StrEnum):
    """What earning a badge gives."""

    COUPON = "COUPON"
    LOYALTY_POINTS = "LOYALTY_POINTS"


class SortOrder(StrEnum):
    """The order of a response."""

    ASC = "ASC"
    DESC = "DESC"


class ClaimStatus(StrEnum):
    """
    What became of one claim of a bulk run; our word, not the API's.

    `REJECTED` is final: the service, or our own validation, said no for good. `FAILED` is not:
    its attempts are exhausted and a later run may settle it.
    """

    CLAIMED = "claimed"
    ALREADY_CLAIMED = "already_claimed"
    REJECTED = "rejected"
    FAILED = "failed"
