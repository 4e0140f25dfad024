"""What becomes of each row of a bulk run, and what the report says of all."""

from __future__ import annotations

from collections import Counter

import attrs
import pytest

from badges_async import (
    ClaimOutcome,
    ClaimRequest,
    ClaimResult,
    ClaimStatus,
    InvalidInputError,
    RetryPolicy,
    Timeout,
    operations,
)
from badges_async.calls import out_of_time
from badges_async.messages import Reply
from badges_async.row import Row
from tests.answers import make_reply
from tests.chance import Highest
from tests.client.scripted import (
    ScriptedTransport,
    Sent,
    Step,
    claim_each,
    hang,
    html,
    lost_after,
    lost_before,
    make_client,
    make_rows,
    refused,
    stale,
    unreachable,
    well,
)
from tests.virtual_clock import START, now, on_virtual_clock

CLAIMED, ALREADY = ClaimStatus.CLAIMED, ClaimStatus.ALREADY_CLAIMED
REJECTED, FAILED = ClaimStatus.REJECTED, ClaimStatus.FAILED


async def settle_among_others(step: Step) -> tuple[ClaimOutcome, ScriptedTransport]:
    """Give the outcome of a row that always meets *step*, while others go well."""
    odd, *others = make_rows(30)

    def answer(sent: Sent) -> Reply:
        reply = (step if sent.key[0] == odd.badge_id else well)(sent)
        assert isinstance(reply, Reply)
        return reply

    service = ScriptedTransport(then=answer)
    outcomes = await claim_each(make_client(service), [odd, *others], concurrency=4)

    assert sorted(outcome.request.badge_id for outcome in outcomes) == sorted(
        row.badge_id for row in [odd, *others]
    )
    assert {outcome.status for outcome in outcomes if outcome.request is not odd} == {CLAIMED}
    return next(outcome for outcome in outcomes if outcome.request is odd), service


@pytest.mark.parametrize(
    ("step", "status", "attempts"),
    [
        # The API's own no.
        (refused(400, 717), REJECTED, 1),
        (refused(400, 714), REJECTED, 1),
        (refused(200, 716), REJECTED, 1),
        (refused(400, 4711), REJECTED, 1),
        (refused(404, 404), REJECTED, 1),
        (refused(418, 1), REJECTED, 1),
        (refused(413), REJECTED, 1),
        (refused(414), REJECTED, 1),
        (refused(431), REJECTED, 1),
        # Nobody's no, or not for good: not settled.
        (refused(400), FAILED, 1),
        (refused(404), FAILED, 1),
        (refused(409, 815), FAILED, 1),
        # And what any row would be told.
        (refused(405), FAILED, 5),
        (refused(405, 717), FAILED, 5),
        (refused(415, 1), FAILED, 5),
        (refused(501, 1), FAILED, 5),
        (refused(500, 717), FAILED, 5),
        (refused(503, 1), FAILED, 5),
        (refused(408, 1), FAILED, 5),
        (html(404), FAILED, 5),
        (html(418), FAILED, 5),
        (html(302), FAILED, 5),
        (html(502), FAILED, 5),
        (html(200), FAILED, 5),
        (lambda _: make_reply(200, b""), FAILED, 5),
        (lambda _: make_reply(400, b"half a docu"), FAILED, 5),
        (lost_before, FAILED, 5),
    ],
)
@on_virtual_clock
async def test_a_row_is_rejected_by_the_services_word_only(
    step: Step, status: ClaimStatus, attempts: int
) -> None:
    """F033, F038, F043: a bare status, a page or a lost answer rejects nobody."""
    outcome, _ = await settle_among_others(step)

    assert (outcome.status, outcome.attempts) == (status, attempts)
    assert outcome.error is not None
    assert outcome.error.attempts == attempts
    assert outcome.result is None
    assert not outcome.recovered


@pytest.mark.parametrize("badge_id", ["..", ".", "getFixedWindowDetails"])
@on_virtual_clock
async def test_a_row_that_would_name_another_endpoint_is_rejected_unsent(badge_id: str) -> None:
    service = ScriptedTransport()
    rows = [ClaimRequest(badge_id, "Loyalty", "1"), *make_rows(2)]

    outcomes = await claim_each(make_client(service), rows)

    odd = next(outcome for outcome in outcomes if outcome.request.badge_id == badge_id)
    assert (odd.status, odd.attempts) == (REJECTED, 0)
    assert isinstance(odd.error, InvalidInputError)
    assert len(service.sent) == 2


@pytest.mark.parametrize(
    ("step", "status", "recovered"),
    [
        (lost_after, ALREADY, True),
        (html(502, after=True), ALREADY, True),
        (stale, CLAIMED, False),
        (lost_before, CLAIMED, False),
        (unreachable, CLAIMED, False),
        (refused(500, 1), CLAIMED, False),
    ],
)
@on_virtual_clock
async def test_what_was_lost_is_claimed_or_recovered(
    step: Step, status: ClaimStatus, *, recovered: bool
) -> None:
    """F035: by whether the first request took effect."""
    service = ScriptedTransport(step)

    (outcome,) = await claim_each(make_client(service), make_rows(1))

    assert (outcome.status, outcome.recovered, outcome.attempts) == (status, recovered, 2)
    assert outcome.result is not None
    assert outcome.result.attempts == 2
    assert outcome.error is None


@on_virtual_clock
async def test_a_claim_that_stood_before_is_not_recovered() -> None:
    """F034: nothing of ours was in doubt."""
    service = ScriptedTransport(unreachable, refused(429, 1))
    (row,) = make_rows(1)
    service.held.add((row.badge_id, row.reference_id))

    (outcome,) = await claim_each(make_client(service), [row])

    assert (outcome.status, outcome.recovered, outcome.attempts) == (ALREADY, False, 3)


@on_virtual_clock
async def test_a_claim_that_stood_before_and_met_a_lost_answer_is_called_recovered() -> None:
    # Most likely ours: nobody can tell.
    service = ScriptedTransport(lost_before)
    (row,) = make_rows(1)
    service.held.add((row.badge_id, row.reference_id))

    (outcome,) = await claim_each(make_client(service), [row])

    assert (outcome.status, outcome.recovered) == (ALREADY, True)


@on_virtual_clock
async def test_the_same_row_twice_has_two_outcomes() -> None:
    outcomes = await claim_each(make_client(ScriptedTransport()), make_rows(3) * 2, concurrency=1)
    assert Counter(outcome.status for outcome in outcomes) == {CLAIMED: 3, ALREADY: 3}


@on_virtual_clock
async def test_attempts_that_hang_end_at_the_attempts_bound() -> None:
    service = ScriptedTransport(hang)
    outcomes = await claim_each(make_client(service), make_rows(10), concurrency=2)

    assert {outcome.status for outcome in outcomes} == {CLAIMED}
    assert service.sent[0].seconds == 15
    assert now() < START + 16


@pytest.mark.parametrize("errors", ["none", [{"message": "?"}], ["x"]])
@on_virtual_clock
async def test_a_success_with_errors_that_name_no_code_settles_no_row(errors: object) -> None:
    # Such an answer is documented for no claim: it is as likely to be somebody else's JSON.
    odd = make_reply(200, {"data": {"ownerType": 7}, "errors": errors, "warnings": "none"})
    outcome, _ = await settle_among_others(lambda _: odd)

    assert outcome.status is FAILED


def make_row() -> Row:
    (asked,) = make_rows(1)
    request, timeout = operations.claim_request(asked), Timeout(attempt=5.0)
    return Row(request, timeout, now(), patient=True, asked=asked, began=now())


@on_virtual_clock
async def test_the_waits_of_a_row_grow_with_each_attempt() -> None:
    row, policy = make_row(), RetryPolicy(base=0.2, cap=1.0)
    assert [row.next_delay(policy, Highest()) for _ in range(4)] == [0.2, 0.4, 0.8, 1.0]


@on_virtual_clock
async def test_every_outcome_and_its_result_are_what_they_look_like() -> None:
    def answer(sent: Sent) -> Reply:
        step = {0: well, 1: refused(400, 717), 2: refused(404)}[int(sent.key[0], 16) % 3]
        reply = step(sent)
        assert isinstance(reply, Reply)
        return reply

    client = make_client(ScriptedTransport(then=answer))
    outcomes = await claim_each(client, make_rows(9), concurrency=2)

    assert Counter(outcome.status for outcome in outcomes) == {CLAIMED: 3, REJECTED: 3, FAILED: 3}
    for outcome in outcomes:
        assert type(outcome) is ClaimOutcome
        assert type(outcome.result) is (ClaimResult if outcome.status is CLAIMED else type(None))
        with pytest.raises(attrs.exceptions.FrozenInstanceError):
            outcome.attempts = 7  # type: ignore[misc]


@on_virtual_clock
async def test_a_row_that_waited_for_the_service_has_time_for_an_attempt_again() -> None:
    row = make_row()
    out_of_time(row, "no time was left to send")
    assert row.over

    assert row.renewed() is row

    assert not row.over
    assert row.deadline == now() + 5.0
    row.deadline += 100
    assert row.renewed().deadline == now() + 105.0
