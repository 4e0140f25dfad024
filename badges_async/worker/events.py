"""
A claim as an event: the message that a producer writes and a worker reads.

Here: the value, its JSON, and what makes a message unreadable. Not here: where messages wait
(`source`), or what becomes of them (`decisions`).

The message is one JSON object in UTF-8, at most 64 KiB: ``v`` (1 where it is absent), ``badgeId``,
``ownerType`` and ``referenceId``, and if the producer likes ``id``, ``quota``, ``enqueuedAt`` and
``trace``. Other keys are ignored. No credential belongs in it.
"""

from __future__ import annotations

from collections.abc import Mapping
from typing import Any

import attrs

from badges_async import ClaimRequest, InvalidInputError
from badges_async.jsontext import parse_quickly, write

__all__ = ["MOST_BYTES", "ClaimEvent", "UnreadableEventError"]

MOST_BYTES = 64 * 1024
_VERSION = 1
_SHOWN = 200


class UnreadableEventError(InvalidInputError):
    """
    A message that no claim can be made of; reading it again is no use.

    Attributes:
        reason: ``unreadable``, ``unknown_version`` or ``invalid``.
    """

    reason: str

    def __init__(self, message: str = "", *, reason: str = "unreadable") -> None:
        super().__init__(message)
        self.reason = reason


@attrs.frozen(eq=False)
class ClaimEvent(ClaimRequest):
    """
    One claim to make, as an event. Two events are never equal, even of the same claim.

    Attributes:
        id: The producer's name for the event; None for an event that is known by its claim alone.
        quota: Under which of the workers' quotas it falls, such as a brand; None for the default.
        enqueued_at: When it was made, RFC 3339.
        trace: W3C trace context, carried along.

    Raises:
        InvalidInputError: As `ClaimRequest`.
    """

    id: str | None = None
    quota: str | None = None
    enqueued_at: str | None = None
    trace: Mapping[str, Any] | None = None

    # Not as two requests of one claim are: a worker may hold both events, and must tell them apart.
    __eq__ = object.__eq__
    __hash__ = object.__hash__

    @classmethod
    def parse(cls, data: bytes) -> ClaimEvent:
        """
        Read a message.

        Raises:
            UnreadableEventError: It is no JSON object, too large, of a version that is not known,
                or names no claim.
        """
        if len(data) > MOST_BYTES:
            raise UnreadableEventError(f"a message of more than {MOST_BYTES} bytes")
        document = parse_quickly(data)
        if type(document) is not dict:
            raise UnreadableEventError("the message is no JSON object")
        return cls.from_mapping(document)

    @classmethod
    def from_mapping(cls, document: Mapping[str, Any]) -> ClaimEvent:
        """
        Read a message that is parsed already.

        Raises:
            UnreadableEventError: As `parse`.
        """
        get = document.get
        version, name, quota = get("v", _VERSION), get("id"), get("quota")
        at, trace = get("enqueuedAt"), get("trace")
        if type(version) is not int or version != _VERSION:
            what = f"version {_shown(version)} is not known, only {_VERSION}"
            raise UnreadableEventError(what, reason="unknown_version")
        if not ((name is None or type(name) is str) and (quota is None or type(quota) is str)):
            raise UnreadableEventError("id and quota must be text or null", reason="invalid")
        try:
            return cls(
                document["badgeId"],
                document["ownerType"],
                document["referenceId"],
                name,
                quota,
                at if type(at) is str else None,  # of no use to us, so of any kind
                trace if type(trace) is dict else None,
            )
        except KeyError as missing:
            raise UnreadableEventError(f"{missing.args[0]} is missing", reason="invalid") from None
        except InvalidInputError as error:
            raise UnreadableEventError(str(error)[:_SHOWN], reason="invalid") from None

    def to_json(self) -> bytes:
        """
        Give the message of this event.

        Raises:
            InvalidInputError: What the producer added is nothing that JSON in UTF-8 can hold.
        """
        document: dict[str, Any] = {
            "v": _VERSION,
            "badgeId": self.badge_id,
            "ownerType": str(self.owner_type),
            "referenceId": self.reference_id,
        }
        optional = (
            ("id", self.id),
            ("quota", self.quota),
            ("enqueuedAt", self.enqueued_at),
            ("trace", self.trace),
        )
        document.update((name, value) for name, value in optional if value is not None)
        try:
            return write(document)
        except (TypeError, ValueError, RecursionError):
            raise InvalidInputError("an event that JSON cannot hold") from None


def _shown(version: object) -> str:
    # Not everything has a text: neither an integer of 5,000 digits nor lists a thousand deep.
    has = isinstance(version, float | str) or (isinstance(version, int) and abs(version) < 2**64)
    return f"{version!r:.40}" if has else f"of type {type(version).__name__}"
