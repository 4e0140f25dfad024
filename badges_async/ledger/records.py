"""
What a ledger holds of one claim, and outcomes as such rows and back.

Here: values and their translation. Not here: SQL (`store`, `reader`).
"""

from __future__ import annotations

from collections.abc import Mapping
from enum import IntEnum, unique
from typing import Any

import attrs

from badges_async import errors
from badges_async.claims import ClaimOutcome, ClaimRequest, ClaimResult
from badges_async.enums import ClaimStatus
from badges_async.errors import APIError, BadgesError, UnreadableReplyError
from badges_async.models import Claim, Notice
from badges_async.report import error_key

__all__ = [
    "Fate",
    "Found",
    "LedgerEntry",
    "LedgerStanding",
    "State",
    "error_values",
    "outcome_of",
    "state_of",
]


@unique
class State(IntEnum):
    """How far a claim is. Below CLAIMED, and FAILED, it is not settled."""

    PENDING = 0
    SENDING = 1  # it may be sent from here on
    CLAIMED = 2
    ALREADY_CLAIMED = 3
    REJECTED = 4
    FAILED = 5


_STATES = {
    ClaimStatus.CLAIMED: State.CLAIMED,
    ClaimStatus.ALREADY_CLAIMED: State.ALREADY_CLAIMED,
    ClaimStatus.REJECTED: State.REJECTED,
    ClaimStatus.FAILED: State.FAILED,
}
_STATUSES = {state: status for status, state in _STATES.items()}


@unique
class Fate(IntEnum):
    """What a run is to do with a claim that it asks the ledger for."""

    SEND = 0  # it is this run's now
    LATER = 1  # more was asked for than may be in hand: ask again
    TWIN = 2  # this run is at it already
    TOLD = 3  # this run has its outcome already
    SETTLED = 4  # an earlier run has: nothing is to be done


@attrs.frozen
class Found:
    """
    One claim as the ledger found it.

    Attributes:
        doubt: An earlier run may have sent it, and no answer is known.
        state: What it was before.
        told: Attempts, whether recovered, and the error's values, for `Fate.TOLD`.
    """

    fate: Fate
    id: int
    doubt: bool
    state: State
    told: tuple[int, bool, Mapping[str, Any] | None] | None = None


@attrs.frozen(kw_only=True)
class LedgerStanding:
    """
    Where a ledger stands.

    Attributes:
        pending: Claims that were not sent, as far as the ledger knows.
        in_doubt: Claims that may have been sent and whose answer is not known: those in hand while
            a run uses the ledger, else those that the end of a run has cut off.
        counts: Claims with an outcome, by its status; every status is a key. FAILED ones are sent
            again by the next run.
        recovered: Those of ALREADY_CLAIMED that are most likely ours.
        errors: REJECTED and FAILED claims by cause, as in `BulkReport.errors`.
        host: Which service it is for; None before its first run.
        paused_until: Until when the service asked to send nothing, in seconds since the epoch;
            None when it did not.
        in_use: Whether a run uses it, or the last one was cut off.
    """

    pending: int = 0
    in_doubt: int = 0
    counts: Mapping[ClaimStatus, int] = attrs.field(hash=False)
    recovered: int = 0
    errors: Mapping[str, int] = attrs.field(factory=dict, hash=False)
    host: str | None = None
    paused_until: float | None = None
    in_use: bool = False

    @property
    def total(self) -> int:
        """All claims."""
        return self.unsettled + self.settled

    @property
    def settled(self) -> int:
        """Claims that no run sends again: claimed, already claimed or rejected."""
        return sum(self.counts.values()) - self.counts[ClaimStatus.FAILED]

    @property
    def unsettled(self) -> int:
        """Claims that the next run sends."""
        return self.pending + self.in_doubt + self.counts[ClaimStatus.FAILED]


@attrs.frozen
class LedgerEntry:
    """
    One claim with its outcome, or None as long as it has none.

    Attributes:
        in_doubt: It may have been sent, and no answer is known; so it may be of a FAILED one too,
            which `LedgerStanding` counts by its outcome.
        updated_at: Seconds since the epoch; None for one that was never touched.
    """

    request: ClaimRequest
    outcome: ClaimOutcome | None
    in_doubt: bool
    updated_at: float | None


def state_of(status: ClaimStatus) -> State:
    """Give the state of a claim with an outcome."""
    return _STATES[status]


def error_values(error: BadgesError | None) -> dict[str, Any] | None:
    """Give what is kept of *error*: its kind and what the service said, as it may be printed."""
    if error is None:
        return None
    values: dict[str, Any] = {
        "kind": _kind(error),
        "key": error_key(error),
        "text": str(error),
    }
    if isinstance(error, APIError | UnreadableReplyError):
        values |= {"status": error.status, "request_id": error.request_id}
    if isinstance(error, APIError):
        values["errors"] = [[each.code, each.message, each.reference] for each in error.errors]
    if error.maybe_applied:
        values["maybe_applied"] = True
    return values


def outcome_of(
    request: ClaimRequest,
    state: State,
    attempts: int,
    recovered: bool,  # noqa: FBT001 - a row's value
    error: Mapping[str, Any] | None,
) -> ClaimOutcome:
    """Give the outcome of a claim as the ledger holds it; the service's own words are not kept."""
    status = _STATUSES[state]
    if error is not None:
        return ClaimOutcome(request, status, error=_error(error, attempts), attempts=attempts)
    claim = Claim(request.owner_type, request.reference_id)
    already = state is State.ALREADY_CLAIMED
    result = ClaimResult(request.badge_id, claim, already, attempts=attempts)
    return ClaimOutcome(request, status, result, None, attempts, recovered)


def _kind(error: BadgesError) -> str:
    # Of a class that is not ours, the nearest one that is.
    ours = (one for one in type(error).__mro__ if one.__module__ == errors.__name__)
    return next(ours).__name__


def _error(values: Mapping[str, Any], attempts: int) -> BadgesError:
    kind = getattr(errors, str(values.get("kind")), BadgesError)
    if not (isinstance(kind, type) and issubclass(kind, BadgesError)):
        kind = BadgesError
    facts: dict[str, Any] = {}
    if issubclass(kind, APIError | UnreadableReplyError):
        facts = {"status": values.get("status", 0), "request_id": values.get("request_id")}
    if issubclass(kind, APIError):
        facts["errors"] = tuple(Notice(*each[:3]) for each in values.get("errors", ()))
    error = kind(str(values.get("text", "")), **facts)
    error.attempts = attempts
    error.maybe_applied = bool(values.get("maybe_applied"))
    return error
