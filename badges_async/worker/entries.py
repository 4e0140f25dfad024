"""
What is in an entry of a stream: the event of a message, the words of an outcome.

Here: between Redis's fields and our values, as pure functions. Not here: Redis.
"""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from typing import Any

from badges_async import APIError, ClaimStatus
from badges_async.jsontext import write
from badges_async.worker.events import MOST_BYTES, ClaimEvent, UnreadableEventError
from badges_async.worker.source import Settlement, Verdict

__all__ = ["entries_of", "failure_note", "letter_words", "outcome_words", "read_event"]

_SHOWN = 500
_MOST_FIELDS = 1000
_UNTRIED = {"abandoned": ClaimStatus.FAILED, "exhausted": ClaimStatus.FAILED}

Entry = tuple[bytes, list[bytes]]
"""The id of an entry; its names and values by turns."""


def entries_of(reply: Any) -> Sequence[Entry]:  # noqa: ANN401 - one shape for each protocol
    """Give the entries in the reply of XREADGROUP for one stream, under RESP2 or RESP3."""
    if not reply:
        return ()
    [(_, entries)] = reply.items() if isinstance(reply, dict) else reply
    found: Sequence[Entry] = entries
    return found


def read_event(fields: Sequence[bytes]) -> ClaimEvent | UnreadableEventError:
    """
    Read a message: ``d`` holds its JSON, or each of its keys is a field of its own.

    The latter is for producers that are a line in a shell.
    """
    try:
        if len(fields) == 2 and fields[0] == b"d":  # noqa: PLR2004 - a name and its value
            return ClaimEvent.parse(fields[1])
        return _read_fields(fields)
    except UnreadableEventError as error:
        return error


def _read_fields(fields: Sequence[bytes]) -> ClaimEvent:
    if len(fields) > 2 * _MOST_FIELDS:
        raise UnreadableEventError(f"a message of more than {_MOST_FIELDS} fields")
    by_name = dict(zip(fields[::2], fields[1::2], strict=True))
    if b"d" in by_name:  # beside it may be what a tracer added
        return ClaimEvent.parse(by_name[b"d"])
    if sum(map(len, fields)) > MOST_BYTES:
        raise UnreadableEventError(f"a message of more than {MOST_BYTES} bytes")
    try:
        document: dict[str, Any] = {k.decode(): value.decode() for k, value in by_name.items()}
    except UnicodeDecodeError:
        raise UnreadableEventError("the fields of the message are no UTF-8") from None
    version = document.get("v")
    if version is not None and version.isdecimal() and len(version) <= 9:  # noqa: PLR2004
        document["v"] = int(version)
    return ClaimEvent.from_mapping(document)


def outcome_words(settlement: Settlement) -> list[bytes]:
    """Give the fields of an entry in the stream of outcomes, names and values by turns."""
    delivery, outcome = settlement.delivery, settlement.outcome
    facts: dict[str, object] = {"entry": delivery.receipt}
    if isinstance(event := delivery.event, ClaimEvent):
        facts["id"] = event.id
        facts["badgeId"] = event.badge_id
        facts["ownerType"] = event.owner_type
        facts["referenceId"] = event.reference_id
    if outcome is not None:
        facts["status"] = outcome.status
        facts["attempts"] = outcome.attempts
        facts["recovered"] = int(outcome.recovered)
    else:
        facts["status"] = _UNTRIED.get(settlement.reason, ClaimStatus.REJECTED)
    _, facts["code"], facts["requestId"] = _answer(settlement)
    if settlement.verdict is Verdict.BURY:
        facts["reason"], facts["error"] = settlement.reason, settlement.error
    return _words(facts)


def letter_words(settlement: Settlement) -> list[bytes]:
    """Give the fields that a dead letter has beside those of its message."""
    status, code, request_id = _answer(settlement)
    return _words(
        {
            "dlq.reason": settlement.reason,
            "dlq.error": settlement.error,
            "dlq.status": status,
            "dlq.code": code,
            "dlq.requestId": request_id,
            "dlq.deliveries": settlement.delivery.deliveries,
        }
    )


def failure_note(settlement: Settlement, worker: str) -> bytes:
    """Give the note of a failed delivery: members of a JSON object, to which its time is added."""
    note = {
        "deliveries": settlement.delivery.deliveries,
        "worker": worker,
        "error": _encode(settlement.error).decode(),
    }
    return write(note).removeprefix(b"{")


def _answer(settlement: Settlement) -> tuple[int | None, int | None, str | None]:
    """Give the HTTP status of a refusal, the code, and the id of the request."""
    outcome = settlement.outcome
    if outcome is None:
        return None, None, None
    if outcome.result is not None:
        warnings = outcome.result.warnings
        return None, warnings[0].code if warnings else None, outcome.result.request_id
    error = outcome.error
    if isinstance(error, APIError):
        return error.status, error.code, error.request_id
    return None, None, None


def _words(facts: Mapping[str, object]) -> list[bytes]:
    words: list[bytes] = []
    for name, value in facts.items():
        if value is not None:
            words += (name.encode(), value if isinstance(value, bytes) else _encode(str(value)))
    return words


def _encode(text: str) -> bytes:
    # Half of a surrogate pair is valid in JSON, and in no UTF-8.
    return text[:_SHOWN].encode(errors="replace")
