"""
Documents of the API, one for every shape that its documentation shows.

The shapes are the service's; the badges in them are ours. A test that changes a document works on a
copy, such as `read(SEED_BADGE)` gives: the texts are the source, and a text cannot be changed.
"""

from __future__ import annotations

import json
from typing import Any

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

# The fixed windows of the first answer that was documented: integers, and microseconds in the
# current cycle. Its claims and images are empty lists, its custom fields an empty object.
SEED_BADGE = """
{
  "id": "65f1c2a94be7d0135a9c7e10", "badgeNumericId": null, "orgId": 200123,
  "name": "Five for the dog", "description": "Five dog toys in a season, one grooming free",
  "startOn": 1716803487, "expiresOn": 1726804000,
  "earnedBadgeExpiry": {
    "expiryType": "ABSOLUTE", "type": "WITH_BADGE_META", "expiresOn": null,
    "expireWithBadgeMeta": true
  },
  "issuedBadgeExpiry": null, "images": [],
  "ownership": {"restrictedToOwners": ["Milestones", "Loyalty"], "claims": []},
  "customerConstraints": [
    {
      "constraintType": "CUSTOMER_BADGE_FIXED_WINDOW",
      "referenceId": "0b54ad0c-6f0f-3a53-8d7e-5f2f8ed0a001",
      "durationType": "DAYS", "refreshRate": 3, "maxEarnLimit": 1, "cycleStatus": "ACTIVE",
      "startDate": 1716803487, "endDate": 1726804000,
      "currentCycle": {"startDate": 1719898518.011293, "endDate": 1720071318.011293}
    }
  ],
  "badgeConstraints": [
    {
      "constraintType": "BADGE_FIXED_WINDOW",
      "referenceId": "4c1c9b52-27aa-3d0e-9f4f-6be21b60b002",
      "durationType": "DAYS", "refreshRate": 3, "maxEarnLimit": 2,
      "startDate": 1716803487, "endDate": 1726804000, "cycleStatus": "ACTIVE",
      "currentCycle": {"startDate": 1719898518.011462, "endDate": 1720071318.011462}
    }
  ],
  "badgeGroupId": null, "badgeRank": 1, "earnType": "EARN", "issuedCount": 0, "earnedCount": 0,
  "status": "LIVE", "createdOn": 1713850688.811, "createdBy": 75000001,
  "lastUpdatedOn": 1713850688.811, "lastUpdatedBy": 75000001, "customFields": {}, "active": false
}
"""

# Moving windows: fractional dates, rolling limits that are null one by one.
MOVING_WINDOW_BADGE = """
{
  "id": "65f1c2a94be7d0135a9c7e11", "badgeNumericId": null, "orgId": 200123,
  "name": "Regular", "description": "Comes back and back", "startOn": 1707523237.192,
  "expiresOn": 1739145600.5,
  "earnedBadgeExpiry": {"expiryType": "RELATIVE", "relativeExpirytype": "MONTHS", "value": 3},
  "issuedBadgeExpiry": {"expiryType": "NEVER"},
  "images": [
    {"name": "", "fileSvcHandle": "a9f0", "url": "https://files.example.org/a9f0", "tag": "EARNED"}
  ],
  "ownership": {
    "restrictedToOwners": ["Journeys"],
    "claims": [{"ownerType": "Journeys", "referenceId": "j-7", "isActive": true}]
  },
  "customerConstraints": [
    {
      "constraintType": "CUSTOMER_BADGE_ROLLING_WINDOW",
      "maxEarnForDays": 1, "rollForDays": 2, "maxEarnForWeeks": null, "rollForWeeks": null,
      "maxEarnForMonths": 9, "rollForMonths": 2
    }
  ],
  "badgeConstraints": [
    {
      "constraintType": "BADGE_ROLLING_WINDOW",
      "rollType": "WEEKS", "rollValue": 2, "maxEarnLimit": 500
    }
  ],
  "benefits": [{"benefitType": "COUPON", "seriesId": 4711}],
  "tags": [{"name": "season", "value": "spring"}],
  "badgeGroupId": "65f1c2a94be7d0135a9c7e77", "badgeRank": null, "earnType": "ISSUE_EARN",
  "status": "EXPIRED", "createdOn": 1707523237.192, "createdBy": 75000001,
  "lastUpdatedOn": 1707523239.5, "lastUpdatedBy": 75000002,
  "customFields": {"store code": "12", "2024": "null", "launched": ""}, "active": true
}
"""

# The newest answer: an ISO twin beside every time, two claims of one module, a null description.
NEWEST_BADGE = """
{
  "id": "69381220cebb9648d89745aa", "badgeNumericId": 88123, "orgId": 200123,
  "name": "Night owl", "description": null,
  "startOn": 1765152000, "startOnISO": "2025-12-08T00:00:00Z",
  "expiresOn": 1796688000, "expiresOnISO": "2026-12-08T00:00:00Z",
  "earnedBadgeExpiry": {
    "expiryType": "ABSOLUTE", "type": "FIXED_DATE", "expiresOn": 1796688000,
    "expiresOnISO": "2026-12-08T00:00:00Z", "expireWithBadgeMeta": false
  },
  "issuedBadgeExpiry": {"expiryType": "RELATIVE", "relativeExpirytype": "DAYS", "value": 30},
  "images": [
    {"name": "on", "fileSvcHandle": "b1", "url": "https://files.example.org/b1", "tag": "EARNED"},
    {"name": "", "fileSvcHandle": "b2", "url": "https://files.example.org/b2", "tag": "UN_EARNED"}
  ],
  "ownership": {
    "restrictedToOwners": ["Loyalty", "Membercare", "Historical_Import"],
    "claims": [
      {"ownerType": "Loyalty", "referenceId": "123", "isActive": true},
      {"ownerType": "Loyalty", "referenceId": "626_TransactionAdd", "isActive": true}
    ]
  },
  "customerConstraints": [
    {
      "constraintType": "CUSTOMER_BADGE_FIXED_WINDOW",
      "referenceId": "0b54ad0c-6f0f-3a53-8d7e-5f2f8ed0a003",
      "durationType": "WEEKS", "startDayOfTheWeek": "TUESDAY", "maxEarnLimit": 4,
      "cycleStatus": "UPCOMING", "startDate": 1765152000, "startDateISO": "2025-12-08T00:00:00Z",
      "endDate": 1796688000, "endDateISO": "2026-12-08T00:00:00Z",
      "currentCycle": {
        "startDate": 1768200000.25, "startDateISO": "2026-01-12T06:40:00Z",
        "endDate": 1768718400.25, "endDateISO": "2026-01-18T06:40:00Z"
      }
    }
  ],
  "badgeConstraints": [{"constraintType": "BADGE_FIXED_VALUE", "maxEarnLimit": 10000}],
  "benefits": [], "tags": [], "badgeGroupId": "65f1c2a94be7d0135a9c7e77", "badgeRank": 2,
  "earnType": "ISSUE_EARN", "status": "LIVE",
  "createdOn": 1765282778.115, "createdOnISO": "2025-12-09T12:19:38Z", "createdBy": 75000001,
  "lastUpdatedOn": 1765282802.951, "lastUpdatedOnISO": "2025-12-09T12:20:02Z",
  "lastUpdatedBy": 75000002, "customFields": {"vip": "true"}, "active": true
}
"""

# The reply to a create, as it probably travels: nine digits, whole seconds too. A window of weeks
# may carry a null ISO twin without its number.
CREATED_BADGE = """
{
  "id": "65f1c2a94be7d0135a9c7e12", "orgId": 200123, "name": "First claim", "description": "",
  "startOn": 1721520000.000000000, "expiresOn": 1753056000.000000000,
  "earnedBadgeExpiry": {"expiryType": "NEVER"}, "issuedBadgeExpiry": null, "images": [],
  "ownership": {"restrictedToOwners": ["Rewards_Catalog"], "claims": []},
  "customerConstraints": [{"constraintType": "CUSTOMER_BADGE_NO_LIMIT"}],
  "badgeConstraints": [
    {
      "constraintType": "BADGE_FIXED_WINDOW",
      "referenceId": "4c1c9b52-27aa-3d0e-9f4f-6be21b60b004",
      "durationType": "WEEKS", "startDayOfTheWeek": "MONDAY", "maxEarnLimit": 2,
      "cycleStatus": "UPCOMING", "startDate": 1721520000.000000000, "endDateISO": null
    }
  ],
  "badgeGroupId": null, "badgeRank": null, "earnType": "EARN", "status": "UPCOMING",
  "createdOn": 1721401200.123456789, "createdBy": 75000001,
  "lastUpdatedOn": 1721401200.123456000, "lastUpdatedBy": 75000001, "customFields": {},
  "active": true
}
"""

# The reply to an update, of a badge whose dates once came in as milliseconds.
UPDATED_BADGE = """
{
  "id": "8", "badgeNumericId": 88124, "orgId": 200123, "name": "Far away", "description": "x",
  "startOn": 1765178896000, "startOnISO": "+57906-04-18T07:06:40Z",
  "expiresOn": 1796688000000, "expiresOnISO": "+58905-01-01T00:00:00Z",
  "earnedBadgeExpiry": {"expiryType": "NEVER"}, "issuedBadgeExpiry": {"expiryType": "NEVER"},
  "images": [], "ownership": {"restrictedToOwners": ["Loyalty_Promotion"], "claims": []},
  "customerConstraints": [], "badgeConstraints": [{"constraintType": "BADGE_NO_LIMIT"}],
  "benefits": [
    {
      "benefitType": "LOYALTY_POINTS", "programId": 1, "promotionId": "p-2",
      "allocationStrategyId": 3, "expirationStrategyId": 4, "defaultTillId": null
    }
  ],
  "tags": [], "badgeGroupId": null, "badgeRank": null, "earnType": "EARN", "status": "UPCOMING",
  "createdOn": 1765282778.115234, "createdBy": 75000001, "lastUpdatedOn": 1765282802.951876,
  "lastUpdatedBy": 75000001, "customFields": {}, "active": true, "defaultTillId": null
}
"""

# An item of the list of badges: no constraints, a group's name, a claim that was given up.
LISTED_BADGE = """
{
  "id": "65f1c2a94be7d0135a9c7e13", "orgId": 200123, "name": "Early bird", "description": "By 8",
  "startOn": 1716803487, "expiresOn": 1726804000, "earnedBadgeExpiry": {"expiryType": "NEVER"},
  "images": [], "badgeGroupId": "65f1c2a94be7d0135a9c7e77", "badgeGroupName": "Mornings",
  "badgeRank": 7, "earnType": "EARN", "issuedCount": 3, "earnedCount": 12, "status": "LIVE",
  "ownership": {
    "restrictedToOwners": ["Goodwill_Module", "Audience_Campaigns", "Referral_Campaigns"],
    "claims": [
      {"ownerType": "Goodwill_Module", "referenceId": "g-1", "isActive": false},
      {"ownerType": "Audience_Campaigns", "referenceId": "a-1", "isActive": true}
    ]
  },
  "createdOn": 1713850688.811, "createdBy": 75000001, "lastUpdatedOn": 1713850690.02,
  "lastUpdatedBy": 75000001, "customFields": {}, "active": true
}
"""

CLAIMED = '{"ownerType": "Loyalty", "referenceId": "123", "isActive": true}'
# Before `isActive` was there, the answer named the badge.
CLAIMED_OF_OLD = (
    '{"badgeMetaId": "69381220cebb9648d89745aa", "ownerType": "Loyalty", "referenceId": "123"}'
)
# The data beside the warning 900.
ALREADY_CLAIMED = '{"badgeMetaId": null, "ownerType": "Journeys", "referenceId": "j-7"}'
UNCLAIMED = '{"ownerType": "Loyalty", "referenceId": "123", "isActive": false}'

EXPIRY_WITH_BADGE = """
{
  "expiryType": "ABSOLUTE", "type": "WITH_BADGE_META", "expiresOn": null,
  "expireWithBadgeMeta": true
}
"""
EXPIRY_FIXED_DATE = """
{
  "expiryType": "ABSOLUTE", "type": "FIXED_DATE", "expiresOn": 1796688000,
  "expiresOnISO": "2026-12-08T05:30:00+05:30", "expireWithBadgeMeta": false
}
"""
EXPIRY_RELATIVE = '{"expiryType": "RELATIVE", "relativeExpirytype": "WEEKS", "value": 6}'
EXPIRY_NEVER = '{"expiryType": "NEVER"}'

FIXED_WINDOW_OF_DAYS = """
{
  "constraintType": "BADGE_FIXED_WINDOW", "referenceId": "4c1c9b52-27aa-3d0e-9f4f-6be21b60b002",
  "durationType": "DAYS", "refreshRate": 5, "maxEarnLimit": 2, "cycleStatus": "ACTIVE",
  "startDate": 1716803487, "endDate": 1726804000
}
"""
FIXED_WINDOW_OF_WEEKS = """
{
  "constraintType": "CUSTOMER_BADGE_FIXED_WINDOW",
  "referenceId": "0b54ad0c-6f0f-3a53-8d7e-5f2f8ed0a003", "durationType": "WEEKS",
  "startDayOfTheWeek": "SUNDAY", "maxEarnLimit": 2, "cycleStatus": "UPCOMING",
  "startDate": 1716803487, "startDateISO": "2024-05-27T09:51:27Z", "endDateISO": null
}
"""
CUSTOMER_ROLLING_WINDOW = """
{
  "constraintType": "CUSTOMER_BADGE_ROLLING_WINDOW", "maxEarnForDays": null, "rollForDays": null,
  "maxEarnForWeeks": 4, "rollForWeeks": 2, "maxEarnForMonths": null, "rollForMonths": null
}
"""
BADGE_ROLLING_WINDOW = """
{"constraintType": "BADGE_ROLLING_WINDOW", "rollType": "DAYS", "rollValue": 7, "maxEarnLimit": 90}
"""
CUSTOMER_FIXED_VALUE = '{"constraintType": "CUSTOMER_BADGE_FIXED_VALUE", "maxEarnLimit": 1}'
BADGE_FIXED_VALUE = '{"constraintType": "BADGE_FIXED_VALUE", "maxEarnLimit": 1000}'
CUSTOMER_NO_LIMIT = '{"constraintType": "CUSTOMER_BADGE_NO_LIMIT"}'
BADGE_NO_LIMIT = '{"constraintType": "BADGE_NO_LIMIT"}'

COUPON = '{"benefitType": "COUPON", "seriesId": 4711}'
POINTS = """
{
  "benefitType": "LOYALTY_POINTS", "programId": 1, "promotionId": 2, "allocationStrategyId": 3,
  "expirationStrategyId": 4, "defaultTillId": null
}
"""
# As a request spells it; the answer's list of keys has no points.
POINTS_AS_SENT = '{"benefitType": "LOYALTY_POINTS", "programId": 1, "points": 50}'

SHAPES: dict[str, tuple[type[Document], str]] = {
    "badge with fixed windows": (Badge, SEED_BADGE),
    "badge with moving windows": (Badge, MOVING_WINDOW_BADGE),
    "newest badge": (Badge, NEWEST_BADGE),
    "created badge": (Badge, CREATED_BADGE),
    "updated badge": (Badge, UPDATED_BADGE),
    "listed badge": (Badge, LISTED_BADGE),
    "claim": (Claim, CLAIMED),
    "claim of old": (Claim, CLAIMED_OF_OLD),
    "already claimed": (Claim, ALREADY_CLAIMED),
    "unclaim": (Claim, UNCLAIMED),
    "expiry with the badge": (Expiry, EXPIRY_WITH_BADGE),
    "expiry at a date": (Expiry, EXPIRY_FIXED_DATE),
    "expiry after a time": (Expiry, EXPIRY_RELATIVE),
    "expiry never": (Expiry, EXPIRY_NEVER),
    "fixed window of days": (Constraint, FIXED_WINDOW_OF_DAYS),
    "fixed window of weeks": (Constraint, FIXED_WINDOW_OF_WEEKS),
    "customer's rolling window": (Constraint, CUSTOMER_ROLLING_WINDOW),
    "badge's rolling window": (Constraint, BADGE_ROLLING_WINDOW),
    "customer's fixed value": (Constraint, CUSTOMER_FIXED_VALUE),
    "badge's fixed value": (Constraint, BADGE_FIXED_VALUE),
    "customer without limit": (Constraint, CUSTOMER_NO_LIMIT),
    "badge without limit": (Constraint, BADGE_NO_LIMIT),
    "cycle": (Cycle, '{"startDate": 1719898518.011293, "endDate": 1720071318.011293}'),
    "ownership": (Ownership, '{"restrictedToOwners": ["Loyalty"], "claims": []}'),
    "image": (Image, '{"name": "", "fileSvcHandle": "c", "url": "u", "tag": "IN_PROGRESS"}'),
    "coupon": (Benefit, COUPON),
    "points": (Benefit, POINTS),
    "points as sent": (Benefit, POINTS_AS_SENT),
    "tag": (Tag, '{"name": "season", "value": "spring"}'),
}

MODELS = (Badge, Benefit, Claim, Constraint, Cycle, Expiry, Image, Ownership, Tag)


def read(text: str) -> dict[str, Any]:
    """Give a fresh document of *text*."""
    document: dict[str, Any] = json.loads(text)
    return document
