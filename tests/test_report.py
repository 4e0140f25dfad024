"""What a run of many claims adds up to."""

from __future__ import annotations

import pickle

import pytest

from badges_async import (
    APIError,
    BadgesError,
    BulkReport,
    Claim,
    ClaimOutcome,
    ClaimRequest,
    ClaimResult,
    ClaimStatus,
    ConnectError,
    DeadlineError,
    InvalidInputError,
    InvalidRequestError,
    Notice,
    ServerError,
    UnreadableReplyError,
)
from badges_async.report import Tally, error_key

REQUEST = ClaimRequest("b", "Loyalty", "1")
RESULT = ClaimResult("b", Claim("Loyalty", "1"))


def outcome(
    status: ClaimStatus, error: BadgesError | None = None, *, recovered: bool = False
) -> ClaimOutcome:
    result = RESULT if error is None else None
    return ClaimOutcome(REQUEST, status, result=result, error=error, recovered=recovered)


def report_of(*outcomes: ClaimOutcome, pulled: int | None = None, ended: bool = True) -> BulkReport:
    tally = Tally(pulled=len(outcomes) if pulled is None else pulled, retries=2, throttled=1)
    for one in outcomes:
        tally.add(one)
    return tally.report(elapsed=4.0, ended=ended)


OWNER_ID = InvalidRequestError("a", status=400, errors=(Notice(717, "m"),))
EVERY_KIND = [
    outcome(ClaimStatus.CLAIMED),
    outcome(ClaimStatus.CLAIMED),
    outcome(ClaimStatus.ALREADY_CLAIMED),
    outcome(ClaimStatus.ALREADY_CLAIMED, recovered=True),
    outcome(ClaimStatus.REJECTED, OWNER_ID),
    outcome(ClaimStatus.REJECTED, OWNER_ID),
    outcome(ClaimStatus.FAILED, UnreadableReplyError("a", status=502)),
]


def test_the_sums_of_a_run() -> None:
    report = report_of(*EVERY_KIND, pulled=9)

    assert (report.claimed, report.already_claimed, report.rejected, report.failed) == (2, 2, 2, 1)
    assert (report.total, report.recovered, report.unsettled, report.skipped) == (7, 1, 2, 0)
    assert (report.retries, report.throttled) == (2, 1)
    assert report.errors == {"717": 2, "HTTP 502": 1}
    assert (report.elapsed, report.claims_per_second) == (4.0, 7 / 4)


def test_every_status_has_a_count() -> None:
    assert report_of().counts == dict.fromkeys(ClaimStatus, 0)


def test_all_is_well_when_the_service_holds_every_claim_that_was_pulled() -> None:
    held = EVERY_KIND[:4]

    assert report_of().ok
    assert report_of(*held).ok
    assert not report_of(*held, pulled=5).ok
    for bad in EVERY_KIND[4:]:
        assert not report_of(*held, bad).ok


def test_a_claim_that_was_rejected_in_a_run_before_is_not_well() -> None:
    """What a ledger lets be skipped is settled, but not always held."""
    tally = Tally(pulled=3, skipped=3)
    assert tally.report(elapsed=1.0, ended=True).ok

    tally.rejected_before = 1
    report = tally.report(elapsed=1.0, ended=True)
    assert (report.skipped, report.rejected_before, report.unsettled) == (3, 1, 0)
    assert not report.ok


def test_seconds_are_summed_by_cause() -> None:
    tally = Tally()
    for cause, seconds in (("quota", 1.5), ("service", 0.25), ("quota", 2.0)):
        tally.waited(cause, seconds)
    report = tally.report(elapsed=2.0, ended=False)
    tally.waited("quota", 1.0)

    assert report.waits == {"quota": 3.5, "service": 0.25}


def test_nothing_is_unsettled_while_the_run_goes_on() -> None:
    assert report_of(*EVERY_KIND, pulled=20, ended=False).unsettled == 0


def test_no_time_is_no_rate() -> None:
    assert BulkReport(counts=dict.fromkeys(ClaimStatus, 1)).claims_per_second == 0.0


@pytest.mark.parametrize(
    ("error", "key"),
    [
        (OWNER_ID, "717"),
        (ServerError("a", status=500, errors=(Notice(999999, "m"),)), "999999"),
        (ServerError("a", status=503), "HTTP 503"),
        (APIError("a", status=418, errors=(Notice(None, "m"),)), "HTTP 418"),
        (UnreadableReplyError("a", status=200), "HTTP 200"),
        (DeadlineError("a"), "DeadlineError"),
        (ConnectError("a"), "ConnectError"),
        (InvalidInputError("a"), "InvalidInputError"),
    ],
    ids=lambda value: value if isinstance(value, str) else "",
)
def test_errors_are_counted_by_code_else_status_else_class(error: BadgesError, key: str) -> None:
    assert error_key(error) == key


def test_a_report_is_a_value_that_a_later_outcome_does_not_change() -> None:
    tally = Tally()
    before = tally.report(elapsed=1.0, ended=False)
    tally.add(EVERY_KIND[4])

    assert (before.total, before.errors) == (0, {})
    assert pickle.loads(pickle.dumps(before)) == before  # noqa: S301 - our own
    assert hash(before) == hash(tally.report(elapsed=1.0, ended=False))
