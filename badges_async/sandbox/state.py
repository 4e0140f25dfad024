"""
What the service holds: badges and the claims on them. The truth that reports are compared with.

Here: the rules of claiming, without HTTP. Not here: JSON of a request or an answer (`routes`).
Claims take effect one after the other, each whole: the loop runs one request's change at a time.
"""

from __future__ import annotations

import json
import time
from collections.abc import Iterable, Mapping
from decimal import Decimal
from enum import Enum, auto
from typing import Any

import attrs

from badges_async.enums import OwnerType
from badges_async.sandbox.answers import quote, to_wire
from badges_async.sandbox.samples import COMMON_FIELDS

__all__ = ["BadgeRecord", "HeldClaim", "State", "Verdict"]

HeldClaim = tuple[str, str, str]
"""Badge id, owner type as on the wire, reference id."""

_EVERY_OWNER = frozenset(owner_type.value for owner_type in OwnerType)
_NANO = Decimal(10) ** -9
# Fields that a record knows itself, so that a read is never behind a claim.
_OWN_FIELDS = ("id", "name", "ownership", "active", "createdOn", "lastUpdatedOn", "status")


class Verdict(Enum):
    """What became of a claim or an unclaim."""

    DONE = auto()
    ALREADY_CLAIMED = auto()
    NO_SUCH_BADGE = auto()
    NOT_AN_OWNER = auto()
    SWITCHED_OFF = auto()
    NO_SUCH_CLAIM = auto()


@attrs.define(eq=False)
class BadgeRecord:
    """
    One badge as the service holds it; change `active` or `owners` to change what is allowed.

    Attributes:
        owners: The owner types that may claim it, as on the wire.
        active: False for a deactivated badge: it takes no new claim.
        fields: What else a read answers, in the keys of the API.
        claims: (owner type, reference id) -> whether the claim is active; unclaimed ones stay.
    """

    id: str
    name: str
    owners: frozenset[str] = _EVERY_OWNER
    active: bool = True
    fields: Mapping[str, Any] = COMMON_FIELDS
    created_ns: int = attrs.field(factory=time.time_ns)
    updated_ns: int = 0
    claims: dict[tuple[str, str], bool] = attrs.field(factory=dict)

    @classmethod
    def from_document(cls, document: Mapping[str, Any]) -> BadgeRecord:
        """Make a record of a badge in the API's JSON; `id` is enough, claims included if given."""
        ownership = document.get("ownership") or {}
        fields = {key: value for key, value in document.items() if key not in _OWN_FIELDS}
        record = cls(
            id=document["id"],
            name=document.get("name", document["id"]),
            owners=frozenset(map(str, ownership.get("restrictedToOwners") or _EVERY_OWNER)),
            active=document.get("active", True),
            fields={**COMMON_FIELDS, **fields},
        )
        for claim in ownership.get("claims") or ():
            key = (str(claim["ownerType"]), claim["referenceId"])
            record.claims[key] = claim.get("isActive", True)
        return record

    def document(self, *, include_statistics: bool = False) -> dict[str, Any]:
        """Give the badge as a read answers it, in the API's JSON; times as floats."""
        document: dict[str, Any] = json.loads(self.to_wire(include_statistics=include_statistics))
        return document

    def to_wire(self, *, include_statistics: bool = False) -> str:
        """Write the badge as a read answers it."""
        known = {
            "id": self.id,
            "name": self.name,
            "status": self._status(),
            "createdOn": self.created_ns * _NANO,
            "lastUpdatedOn": (self.updated_ns or self.created_ns) * _NANO,
            "active": self.active,
            **self.fields,
        }
        if include_statistics:
            known |= {"issuedCount": 0, "earnedCount": 0}
        return f'{to_wire(known)[:-1]},"ownership":{self._ownership()}}}'

    def _status(self) -> str:
        # The service's clock decides; whether its ends count in or out is not documented.
        now = time.time()
        if now < self.fields["startOn"]:
            return "UPCOMING"
        return "LIVE" if now < self.fields["expiresOn"] else "EXPIRED"

    def _ownership(self) -> str:
        # Unclaimed entries are listed as well: seen in list calls, and nothing says that a read by
        # id leaves them out. Text by hand, because a badge may have a hundred thousand of them.
        claims = ",".join(
            f'{{"ownerType":{quote(owner_type)},"referenceId":{quote(reference_id)},'
            f'"isActive":{"true" if is_active else "false"}}}'
            for (owner_type, reference_id), is_active in self.claims.items()
        )
        owners = ",".join(map(quote, sorted(self.owners)))
        return f'{{"restrictedToOwners":[{owners}],"claims":[{claims}]}}'


class State:
    """All badges by id, and the set of claims that stand."""

    def __init__(self) -> None:
        self.badges: dict[str, BadgeRecord] = {}
        self.claims: set[HeldClaim] = set()

    def add_document(self, document: Mapping[str, Any]) -> BadgeRecord:
        """Put a badge in; one that was there under its id goes, with its claims."""
        record = BadgeRecord.from_document(document)
        if (before := self.badges.get(record.id)) is not None:
            self.claims.difference_update((record.id, *key) for key in before.claims)
        self.badges[record.id] = record
        self.claims.update((record.id, *key) for key, active in record.claims.items() if active)
        return record

    def add_ids(self, badge_ids: Iterable[str]) -> None:
        """Put in a plain badge, open to every owner, for each id that is not there yet."""
        created = time.time_ns()
        for badge_id in badge_ids:
            if badge_id not in self.badges:
                name = f"Badge {badge_id}"
                self.badges[badge_id] = BadgeRecord(badge_id, name, created_ns=created)

    def claim(self, badge_id: str, owner_type: str, reference_id: str) -> Verdict:
        """Claim a badge; a claim that was unclaimed becomes active again."""
        badge = self.badges.get(badge_id)
        if badge is None:
            return Verdict.NO_SUCH_BADGE
        # What stands already is no new claim, so neither switch is asked.
        if badge.claims.get((owner_type, reference_id)):
            return Verdict.ALREADY_CLAIMED
        if owner_type not in badge.owners:
            return Verdict.NOT_AN_OWNER
        if not badge.active:
            return Verdict.SWITCHED_OFF
        self._set(badge, owner_type, reference_id, is_active=True)
        return Verdict.DONE

    def unclaim(self, badge_id: str, owner_type: str, reference_id: str) -> Verdict:
        """End a claim; it stays with its badge as an inactive one."""
        badge = self.badges.get(badge_id)
        if badge is None:
            return Verdict.NO_SUCH_BADGE
        # Whether the service minds a second unclaim is not documented; here it does.
        if not badge.claims.get((owner_type, reference_id)):
            return Verdict.NO_SUCH_CLAIM
        self._set(badge, owner_type, reference_id, is_active=False)
        return Verdict.DONE

    def _set(
        self, badge: BadgeRecord, owner_type: str, reference_id: str, *, is_active: bool
    ) -> None:
        badge.claims[owner_type, reference_id] = is_active
        held = (badge.id, owner_type, reference_id)
        if is_active:
            self.claims.add(held)
        else:
            self.claims.discard(held)
        badge.updated_ns = max(time.time_ns(), badge.updated_ns + 1)
