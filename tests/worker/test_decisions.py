"""What becomes of a delivery: each line of the worker's table of decisions."""

from __future__ import annotations

import pytest

from badges_async import (
    BadgeNotFoundError,
    BadgesError,
    ClaimOutcome,
    ClaimStatus,
    ConnectionLostError,
    DeadlineError,
    InvalidInputError,
    ServerError,
)
from badges_async.worker import (
    ClaimEvent,
    Delivery,
    Settlement,
    UnreadableEventError,
    Verdict,
)
from badges_async.worker.decisions import judge, judge_unclaimed, release, unknown_quota
from tests.worker.watched import an_event


def a_delivery(deliveries: int = 1) -> Delivery:
    return Delivery(an_event(), "receipt", deliveries)


def judged(
    status: ClaimStatus,
    error: BadgesError | None = None,
    *,
    deliveries: int = 1,
    max_deliveries: int = 5,
    lease: float = 60.0,
) -> Settlement:
    delivery = a_delivery(deliveries)
    assert isinstance(delivery.event, ClaimEvent)
    outcome = ClaimOutcome(delivery.event, status, error=error, attempts=3)
    settlement = judge(delivery, outcome, max_deliveries=max_deliveries, lease=lease)
    assert settlement.delivery is delivery
    assert settlement.outcome is not None
    assert (settlement.outcome.request, settlement.outcome.attempts) == (delivery.event, 3)
    return settlement


@pytest.mark.parametrize("status", [ClaimStatus.CLAIMED, ClaimStatus.ALREADY_CLAIMED])
@pytest.mark.parametrize("deliveries", [1, 2, 5, 6, 100])
def test_a_claim_that_stands_is_settled_however_often_it_came(
    status: ClaimStatus, deliveries: int
) -> None:
    settlement = judged(status, deliveries=deliveries)
    assert settlement.verdict is Verdict.SETTLE
    assert (settlement.reason, settlement.error, settlement.delay) == ("", "", 0.0)


@pytest.mark.parametrize(
    ("status", "deliveries", "recovered"),
    [
        (ClaimStatus.CLAIMED, 1, False),
        (ClaimStatus.CLAIMED, 2, False),
        (ClaimStatus.ALREADY_CLAIMED, 1, False),
        (ClaimStatus.ALREADY_CLAIMED, 2, True),
        (ClaimStatus.ALREADY_CLAIMED, 7, True),
    ],
)
def test_what_stood_already_when_it_came_again_is_most_likely_ours(
    status: ClaimStatus, deliveries: int, *, recovered: bool
) -> None:
    settlement = judged(status, deliveries=deliveries)
    assert settlement.outcome is not None
    assert settlement.outcome.recovered is recovered
    assert settlement.outcome.status is status


def test_what_the_client_found_to_be_ours_stays_ours() -> None:
    outcome = ClaimOutcome(an_event(), ClaimStatus.ALREADY_CLAIMED, recovered=True)
    settlement = judge(a_delivery(), outcome, max_deliveries=5, lease=60.0)
    assert settlement.outcome is outcome


@pytest.mark.parametrize("deliveries", [1, 5, 6])
def test_what_is_refused_for_good_is_a_dead_letter_at_once(deliveries: int) -> None:
    error = BadgeNotFoundError("HTTP 404: no badge (717)", status=404)
    settlement = judged(ClaimStatus.REJECTED, error, deliveries=deliveries)
    assert settlement.verdict is Verdict.BURY
    assert settlement.reason == "rejected"
    assert settlement.error == error.message
    assert settlement.delay == 0.0


def test_what_our_own_checks_refuse_is_invalid() -> None:
    settlement = judged(ClaimStatus.REJECTED, InvalidInputError("no such owner"))
    assert (settlement.verdict, settlement.reason) == (Verdict.BURY, "invalid")
    assert settlement.error == "no such owner"


@pytest.mark.parametrize(
    ("deliveries", "delay"), [(1, 1.0), (2, 2.0), (3, 4.0), (4, 8.0), (6, 32.0), (7, 60.0)]
)
def test_what_failed_is_put_off_for_twice_as_long_each_time(deliveries: int, delay: float) -> None:
    error = ConnectionLostError("the connection was lost")
    settlement = judged(ClaimStatus.FAILED, error, deliveries=deliveries, max_deliveries=8)
    assert (settlement.verdict, settlement.delay) == (Verdict.RETRY, delay)
    assert (settlement.reason, settlement.error) == ("", "the connection was lost")


@pytest.mark.parametrize("lease", [0.25, 3.0, 900.0])
def test_nothing_is_put_off_for_longer_than_the_lease(lease: float) -> None:
    error = ServerError("HTTP 503", status=503)
    for deliveries in (1, 5, 500, 5000):
        settlement = judged(
            ClaimStatus.FAILED,
            error,
            deliveries=deliveries,
            max_deliveries=1_000_000,
            lease=lease,
        )
        assert settlement.delay == min(2.0 ** min(deliveries - 1, 30), lease)


@pytest.mark.parametrize("deliveries", [5, 6, 50])
def test_what_failed_in_every_delivery_is_exhausted(deliveries: int) -> None:
    settlement = judged(ClaimStatus.FAILED, DeadlineError("no answer"), deliveries=deliveries)
    assert (settlement.verdict, settlement.reason) == (Verdict.BURY, "exhausted")
    assert (settlement.error, settlement.delay) == ("no answer", 0.0)


def test_one_delivery_can_be_the_only_one() -> None:
    settlement = judged(ClaimStatus.FAILED, DeadlineError("no answer"), max_deliveries=1)
    assert settlement.reason == "exhausted"


def test_an_error_without_words_is_told_by_its_name_and_a_long_one_in_part() -> None:
    assert judged(ClaimStatus.FAILED, DeadlineError("")).error == "DeadlineError"
    assert judged(ClaimStatus.FAILED, DeadlineError("x" * 900)).error == "x" * 500


@pytest.mark.parametrize("reason", ["unreadable", "unknown_version", "invalid"])
@pytest.mark.parametrize("deliveries", [1, 9])
def test_no_claim_at_all_is_a_dead_letter_for_its_own_reason(reason: str, deliveries: int) -> None:
    delivery = Delivery(UnreadableEventError("why " * 200, reason=reason), "receipt", deliveries)
    settlement = judge_unclaimed(delivery, max_deliveries=5)
    assert settlement is not None
    assert (settlement.verdict, settlement.reason) == (Verdict.BURY, reason)
    assert settlement.delivery is delivery
    assert settlement.outcome is None
    assert settlement.error == ("why " * 200)[:500]


def test_what_is_handed_out_too_often_without_an_outcome_is_abandoned() -> None:
    for deliveries in range(1, 6):
        assert judge_unclaimed(a_delivery(deliveries), max_deliveries=5) is None
    settlement = judge_unclaimed(a_delivery(6), max_deliveries=5)
    assert settlement is not None
    assert (settlement.verdict, settlement.reason) == (Verdict.BURY, "abandoned")
    assert settlement.outcome is None
    assert settlement.error == "handed out 6 times, and nobody told what became of it"


def test_a_quota_that_is_not_kept_is_named() -> None:
    settlement = unknown_quota(a_delivery(), "brand-" + "x" * 100)
    assert (settlement.verdict, settlement.reason) == (Verdict.BURY, "unknown_quota")
    assert settlement.error == "no quota 'brand-" + "x" * 74 + "' is kept here"
    assert unknown_quota(a_delivery(), None).error == "no quota is named"


@pytest.mark.parametrize("counted", [True, False])
def test_what_is_handed_back_says_whether_it_counts(*, counted: bool) -> None:
    delivery = a_delivery()
    settlement = release(delivery, counted=counted)
    assert (settlement.verdict, settlement.counted) == (Verdict.RELEASE, counted)
    assert settlement.delivery is delivery
    assert (settlement.outcome, settlement.reason, settlement.delay) == (None, "", 0.0)
