"""
What becomes of a delivery, given what became of its claim: the worker's one table of decisions.

Here: functions of values. Not here: who claims (`desk`), or how a source does what is decided.

| outcome | verdict |
|---|---|
| claimed, already claimed | settle |
| rejected, or no claim at all | bury, with the reason |
| failed | retry in 1, 2, 4 ... seconds, at most the lease; bury after so many deliveries |
| delivered too often without an outcome | bury: most likely it ends its workers |

What is about every event ends a worker instead: 401, 403, an outage past its patience.
"""

from __future__ import annotations

import attrs

from badges_async import APIError, BadgesError, ClaimOutcome, ClaimStatus, InvalidInputError
from badges_async.worker.events import UnreadableEventError
from badges_async.worker.source import Delivery, Settlement, Verdict

__all__ = ["judge", "judge_unclaimed", "release", "unknown_quota"]

_MOST_DOUBLINGS = 30  # beyond that any lease is shorter
_SHOWN = 500


def judge(
    delivery: Delivery, outcome: ClaimOutcome, *, max_deliveries: int, lease: float
) -> Settlement:
    """
    Decide about a delivery whose claim was tried.

    A claim that stands already, of an event that was delivered before, is most likely ours: the
    delivery before was lost after it was sent. Its outcome is `recovered`.
    """
    if outcome.error is None:
        if outcome.status is ClaimStatus.ALREADY_CLAIMED and delivery.deliveries > 1:
            outcome = attrs.evolve(outcome, recovered=True)
        return Settlement(delivery, Verdict.SETTLE, outcome)
    error = _words(outcome.error)
    if outcome.status is ClaimStatus.REJECTED:
        reason = "invalid" if isinstance(outcome.error, InvalidInputError) else "rejected"
        return Settlement(delivery, Verdict.BURY, outcome, reason, error)
    if delivery.deliveries >= max_deliveries:
        return Settlement(delivery, Verdict.BURY, outcome, "exhausted", error)
    delay = min(2.0 ** min(delivery.deliveries - 1, _MOST_DOUBLINGS), lease)
    return Settlement(delivery, Verdict.RETRY, outcome, "", error, delay)


def judge_unclaimed(delivery: Delivery, *, max_deliveries: int) -> Settlement | None:
    """Decide about a delivery before its claim is tried; None when it is to be tried."""
    event = delivery.event
    if isinstance(event, UnreadableEventError):
        return Settlement(delivery, Verdict.BURY, None, event.reason, str(event)[:_SHOWN])
    if delivery.deliveries > max_deliveries:
        what = f"handed out {delivery.deliveries} times, and nobody told what became of it"
        return Settlement(delivery, Verdict.BURY, None, "abandoned", what)
    return None


def unknown_quota(delivery: Delivery, name: str | None) -> Settlement:
    """Decide about a delivery under a quota that this worker does not keep."""
    what = "no quota is named" if name is None else f"no quota {name[:80]!r} is kept here"
    return Settlement(delivery, Verdict.BURY, None, "unknown_quota", what)


def release(delivery: Delivery, *, counted: bool) -> Settlement:
    """Hand a delivery back."""
    return Settlement(delivery, Verdict.RELEASE, counted=counted)


def _words(error: BadgesError) -> str:
    said = error.message if isinstance(error, APIError) else str(error)
    return (said or type(error).__name__)[:_SHOWN]
