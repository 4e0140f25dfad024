"""
Dead letters: events that were put aside, with what was wrong.

Here: the value, read from an entry leniently: whatever is in it, somebody has to look at it. Not
here: where letters are kept and how they are moved (`redis_letters`), or why (`decisions`).
"""

from __future__ import annotations

import re
from collections.abc import Mapping
from datetime import UTC, datetime
from typing import Any

import attrs

from badges_async.jsontext import parse_quickly
from badges_async.worker.entries import read_event
from badges_async.worker.events import ClaimEvent

__all__ = ["DeadLetter", "is_entry_id", "read_letter"]

_OURS = b"dlq."
_REQUEUED = b"requeued"
_WHOLE_NUMBER = re.compile(rb"-?\d{1,15}", re.ASCII)
_ENTRY_ID = re.compile(r"(\d{1,20})-(\d{1,20})", re.ASCII)


@attrs.frozen
class DeadLetter:
    """
    An event that was put aside.

    Attributes:
        id: Of the letter.
        reason: One word, see `Settlement`.
        error: What was wrong, in words.
        status: Of the service's last answer, if there was one.
        code: Of the service's error.
        request_id: The service's id of the request, for its support.
        source: Id that the event had in the stream.
        deliveries: How often it was handed out.
        worker: Who put it aside.
        at: When, RFC 3339.
        history: What was noted of earlier deliveries.
        requeued: How often it was sent back to the stream.
        fields: Of the entry as its producer wrote it; odd bytes and all.
    """

    id: str
    reason: str = ""
    error: str = ""
    status: int | None = None
    code: int | None = None
    request_id: str | None = None
    source: str | None = None
    deliveries: int = 0
    worker: str | None = None
    at: str | None = None
    history: tuple[Mapping[str, Any], ...] = ()
    requeued: int = 0
    fields: Mapping[bytes, bytes] = attrs.field(factory=dict, repr=False)

    @property
    def event(self) -> ClaimEvent | None:
        """The event, if one can be made of it."""
        event = read_event([part for field in self.fields.items() for part in field])
        return event if isinstance(event, ClaimEvent) else None


def read_letter(entry_id: bytes, fields: Mapping[bytes, bytes]) -> DeadLetter:
    """Read an entry of the dead letters, whatever it holds."""

    def text(name: bytes) -> str | None:
        value = fields.get(_OURS + name)
        return value.decode(errors="backslashreplace") if value else None

    def number(name: bytes) -> int | None:
        value = fields.get(_OURS + name, b"")
        return int(value) if _WHOLE_NUMBER.fullmatch(value) else None

    requeued = fields.get(_REQUEUED, b"")
    return DeadLetter(
        entry_id.decode(),
        text(b"reason") or "",
        text(b"error") or "",
        number(b"status"),
        number(b"code"),
        text(b"requestId"),
        text(b"source"),
        number(b"deliveries") or 0,
        text(b"worker"),
        _moment(text(b"at")),
        _history(fields.get(_OURS + b"history", b"")),
        int(requeued) if _WHOLE_NUMBER.fullmatch(requeued) else 0,
        {name: value for name, value in fields.items() if not name.startswith(_OURS)},
    )


def is_entry_id(text: str) -> bool:
    """Whether Redis would take *text* for the full id of an entry."""
    parts = _ENTRY_ID.fullmatch(text)
    return parts is not None and all(int(part) < 2**64 for part in parts.groups())


def _moment(text: str | None) -> str | None:
    """Give what milliseconds say as RFC 3339; whatever else it is, as it is."""
    if text is None or not re.fullmatch(r"\d{1,14}", text, re.ASCII):
        return text
    moment = datetime.fromtimestamp(int(text) // 1000, UTC)
    return f"{moment:%Y-%m-%dT%H:%M:%S}.{int(text) % 1000:03d}Z"


def _history(lines: bytes) -> tuple[Mapping[str, Any], ...]:
    noted = map(parse_quickly, lines.split(b"\n"))
    return tuple(note for note in noted if isinstance(note, dict))
