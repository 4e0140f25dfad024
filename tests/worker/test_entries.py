"""Between the fields of an entry and our values."""

from __future__ import annotations

import json

import pytest

from badges_async import (
    APIError,
    BadgeNotFoundError,
    Claim,
    ClaimOutcome,
    ClaimResult,
    ClaimStatus,
    ConnectionLostError,
    Notice,
)
from badges_async.worker import ClaimEvent, Delivery, Settlement, UnreadableEventError, Verdict
from badges_async.worker.entries import (
    entries_of,
    failure_note,
    letter_words,
    outcome_words,
    read_event,
)

EVENT = ClaimEvent("662749408fe258516a88fe89", "Loyalty", "123", id="e-1")
PLAIN = [b"badgeId", b"b", b"ownerType", b"LOYALTY", b"referenceId", b"\xc3\xa9"]


def as_mapping(words: list[bytes]) -> dict[str, str]:
    texts = [word.decode() for word in words]
    return dict(zip(texts[::2], texts[1::2], strict=True))


def settlement(
    verdict: Verdict, outcome: ClaimOutcome | None = None, reason: str = "", error: str = ""
) -> Settlement:
    return Settlement(Delivery(EVENT, b"5-0", 2), verdict, outcome, reason, error)


@pytest.mark.parametrize("reply", [None, [], {}])
def test_no_reply_holds_no_entries(reply: object) -> None:
    assert list(entries_of(reply)) == []


def test_the_entries_are_the_same_in_both_protocols() -> None:
    entries = [(b"1-0", [b"d", b"{}"])]
    assert entries_of([[b"stream", entries]]) == entries
    assert entries_of({b"stream": entries}) == entries


@pytest.mark.parametrize("beside", [[], [b"traceparent", b"\xff"]])
def test_one_field_holds_the_message(beside: list[bytes]) -> None:
    event = read_event([*beside, b"d", EVENT.to_json()])
    assert isinstance(event, ClaimEvent)
    assert event.to_json() == EVENT.to_json()


def test_the_fields_may_be_the_message() -> None:
    event = read_event([*PLAIN, b"id", b"e-1", b"quota", b"brand", b"v", b"1", b"other", b""])
    assert isinstance(event, ClaimEvent)
    assert (event.badge_id, event.owner_type, event.reference_id) == ("b", "Loyalty", "é")
    assert (event.id, event.quota) == ("e-1", "brand")


@pytest.mark.parametrize(
    ("fields", "reason"),
    [
        (PLAIN[:4], "invalid"),
        ([], "invalid"),
        ([*PLAIN, b"v", b"2"], "unknown_version"),
        ([*PLAIN, b"v", b"one"], "unknown_version"),
        ([*PLAIN, b"v", b"1" * 5000], "unknown_version"),
        ([*PLAIN, b"quota", b"\xff"], "unreadable"),
        ([*PLAIN, b"other", b"x" * 65_536], "unreadable"),
        ([*PLAIN, *(b"%d" % (number // 2) for number in range(2000))], "unreadable"),
        ([b"d", b"no JSON", *PLAIN], "unreadable"),
    ],
)
def test_what_no_claim_can_be_made_of_has_a_reason(fields: list[bytes], reason: str) -> None:
    event = read_event(fields)
    assert isinstance(event, UnreadableEventError)
    assert event.reason == reason


def test_an_outcome_in_words() -> None:
    claim = Claim("Loyalty", "123")
    notice = Notice(900, "Badge already claimed", None)
    result = ClaimResult(EVENT.badge_id, claim, True, (notice,), "r-1", 2)  # noqa: FBT003 - as it is
    outcome = ClaimOutcome(EVENT, ClaimStatus.ALREADY_CLAIMED, result, attempts=2, recovered=True)
    assert as_mapping(outcome_words(settlement(Verdict.SETTLE, outcome))) == {
        "entry": "5-0",
        "id": "e-1",
        "badgeId": EVENT.badge_id,
        "ownerType": "Loyalty",
        "referenceId": "123",
        "status": "already_claimed",
        "code": "900",
        "attempts": "2",
        "recovered": "1",
        "requestId": "r-1",
    }


def refused(error: APIError) -> ClaimOutcome:
    return ClaimOutcome(EVENT, ClaimStatus.REJECTED, error=error, attempts=1)


def test_a_refusal_in_words() -> None:
    error = BadgeNotFoundError(
        "no", status=404, errors=(Notice(711, "Badge not found", None),), request_id="r-2"
    )
    buried = settlement(Verdict.BURY, refused(error), "rejected", "Badge not found")
    told = as_mapping(outcome_words(buried))
    assert (told["status"], told["code"], told["requestId"]) == ("rejected", "711", "r-2")
    assert (told["reason"], told["error"]) == ("rejected", "Badge not found")
    assert as_mapping(letter_words(buried)) == {
        "dlq.reason": "rejected",
        "dlq.error": "Badge not found",
        "dlq.status": "404",
        "dlq.code": "711",
        "dlq.requestId": "r-2",
        "dlq.deliveries": "2",
    }


def test_a_failure_without_an_answer_has_no_code() -> None:
    outcome = ClaimOutcome(EVENT, ClaimStatus.FAILED, error=ConnectionLostError("gone"))
    buried = settlement(Verdict.BURY, outcome, "exhausted", "gone")
    assert "code" not in as_mapping(outcome_words(buried))
    assert as_mapping(letter_words(buried)).keys() == {
        "dlq.reason",
        "dlq.error",
        "dlq.deliveries",
    }


@pytest.mark.parametrize(
    ("reason", "status"), [("abandoned", "failed"), ("unreadable", "rejected")]
)
def test_what_was_never_tried_has_a_status_as_well(reason: str, status: str) -> None:
    buried = Settlement(Delivery(UnreadableEventError("x"), b"5-0"), Verdict.BURY, None, reason)
    told = as_mapping(outcome_words(buried))
    assert told == {"entry": "5-0", "status": status, "reason": reason, "error": ""}


def test_texts_are_bounded_and_can_be_sent() -> None:
    long = settlement(Verdict.BURY, None, "rejected", "\ud800é" * 1000)
    assert as_mapping(letter_words(long))["dlq.error"] == "?é" * 250
    note = json.loads(b"{" + failure_note(long, "worker"))
    assert note == {"deliveries": 2, "worker": "worker", "error": "?é" * 250}
