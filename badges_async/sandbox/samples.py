"""
The badges that a sandbox holds at the start, and ids for as many more as a run needs.

Here: documents only, in the keys of the API; invented, in the shapes that its documentation shows.
Not here: what may be done with them (`state`).
"""

from __future__ import annotations

from collections.abc import Iterator, Mapping
from typing import Any

from badges_async.enums import OwnerType

__all__ = ["COMMON_FIELDS", "SAMPLE_BADGES", "make_badge_ids"]

_YEAR = 365 * 86_400.0
_STARTED = 1_716_803_487
_ENDS = _STARTED + 40 * _YEAR

# What every badge answers unless its own document says otherwise: the newest documented form.
COMMON_FIELDS: Mapping[str, Any] = {
    "badgeNumericId": None,
    "orgId": 100458,
    "description": None,
    "startOn": _STARTED,
    "expiresOn": _ENDS,
    "earnedBadgeExpiry": {
        "expiryType": "ABSOLUTE",
        "type": "WITH_BADGE_META",
        "expiresOn": None,
        "expireWithBadgeMeta": True,
    },
    "issuedBadgeExpiry": None,
    "images": [],
    "customerConstraints": [{"constraintType": "CUSTOMER_BADGE_NO_LIMIT"}],
    "badgeConstraints": [{"constraintType": "BADGE_NO_LIMIT"}],
    "benefits": [],
    "tags": [],
    "badgeGroupId": None,
    "badgeRank": None,
    "earnType": "EARN",
    "createdBy": 75086856,
    "lastUpdatedBy": 75086856,
    "customFields": {},
}

_FIXED_WINDOW = {
    "referenceId": "e6791ec9-e92f-34af-bdc3-be2607fdf82c",
    "durationType": "DAYS",
    "refreshRate": 3,
    "maxEarnLimit": 1,
    "cycleStatus": "ACTIVE",
    "startDate": _STARTED,
    "endDate": _ENDS,
    "currentCycle": {"startDate": 1719898518.011293, "endDate": 1720071318.011293},
}

SAMPLE_BADGES: tuple[Mapping[str, Any], ...] = (
    {
        "id": "662749408fe258516a88fe89",
        "name": "Pet parent",
        "description": "Three pet products in a month",
        "ownership": {"restrictedToOwners": ["Milestones", "Loyalty"], "claims": []},
        "customerConstraints": [{"constraintType": "CUSTOMER_BADGE_FIXED_WINDOW", **_FIXED_WINDOW}],
        "badgeConstraints": [{"constraintType": "BADGE_FIXED_WINDOW", **_FIXED_WINDOW}],
        "badgeRank": 1,
        "active": True,
    },
    {
        "id": "69381220cebb9648d8974518",
        "name": "Early bird",
        "badgeNumericId": 41,
        "images": [{"name": "", "fileSvcHandle": "h-1", "url": "", "tag": "EARNED"}],
        "earnedBadgeExpiry": {"expiryType": "RELATIVE", "relativeExpirytype": "DAYS", "value": 30},
        "tags": [{"name": "season", "value": "spring"}],
        "customFields": {"2024": "null", "Shelf": "2001-01-18 09:09:09"},
        "startOnISO": "2024-05-27T09:51:27Z",
        "active": True,
    },
    {
        "id": "693804d8cebb9648d8974489",
        "name": "Regular",
        "ownership": {
            "restrictedToOwners": list(OwnerType),
            "claims": [{"ownerType": "Journeys", "referenceId": "j-7", "isActive": True}],
        },
        "benefits": [{"benefitType": "COUPON", "seriesId": 12}],
        # The service takes epoch milliseconds for seconds without a check, and answers them so.
        "expiresOn": 1_765_178_896_000,
        "expiresOnISO": "+57906-04-18T07:06:40Z",
        "active": True,
    },
    {"id": "653df084b3cda7078c7c68f1", "name": "Switched off", "active": False},
    {
        "id": "6543688e66a87827bb61e62a",
        "name": "Long gone",
        "startOn": 1_698_800_000,
        "expiresOn": 1_698_900_000,
        "active": True,
    },
)


def make_badge_ids(count: int) -> Iterator[str]:
    """Yield *count* different badge ids of the API's shape, ascending, the same ones every time."""
    return (f"6627494bcebb96{number:010x}" for number in range(count))
