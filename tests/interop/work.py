"""The claims that the tests make, and the truth to compare with."""

from __future__ import annotations

from badges_async import ClaimRequest
from badges_async.sandbox import HeldClaim, Sandbox, make_badge_ids

__all__ = ["BADGE", "arrived", "as_held", "make_requests"]

BADGE = "0123456789abcdef01234567"


def make_requests(sandbox: Sandbox, count: int) -> list[ClaimRequest]:
    """Ask for *count* badges, which the sandbox gets first."""
    badge_ids = list(make_badge_ids(count))
    sandbox.add_badges(badge_ids)
    return list(ClaimRequest.for_badges(badge_ids, "Loyalty", "till 7"))


def as_held(requests: list[ClaimRequest]) -> set[HeldClaim]:
    """Give the claims that stand when all of these do."""
    return {(asked.badge_id, str(asked.owner_type), asked.reference_id) for asked in requests}


def arrived(sandbox: Sandbox) -> list[HeldClaim]:
    """Give the claims that reached the sandbox, repeated ones repeatedly, in order."""
    return [
        (seen.badge_id, seen.owner_type or "", seen.reference_id or "")
        for seen in sandbox.requests
        if seen.operation == "claim"
    ]
