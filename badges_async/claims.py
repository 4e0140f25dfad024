"""
A claim to make, the answer to it, and what became of it: frozen, slotted attrs classes.

Here: what our users hand in and get back, and what is refused before anything is sent. Not here:
the API's own documents (`models`), requests and answers as HTTP (`operations`).
"""

from __future__ import annotations

import unicodedata
from collections.abc import Iterable, Iterator

import attrs

from badges_async.enums import ClaimStatus, OwnerType
from badges_async.errors import BadgesError, InvalidInputError
from badges_async.models import Claim, Notice

__all__ = ["ClaimOutcome", "ClaimRequest", "ClaimResult", "read_owner_type"]


def _check_text(what: str, value: object) -> None:
    if not isinstance(value, str):
        raise InvalidInputError(f"{what} must be a string, not {type(value).__name__}")
    if not value or value.isspace():
        raise InvalidInputError(f"{what} must not be blank")
    for character in value:
        # Cc: control characters; Cs: lone surrogates, which no encoding can carry.
        if unicodedata.category(character) in {"Cc", "Cs"}:
            raise InvalidInputError(f"{what} must not hold control characters: {value[:80]!r}")


def _validate_text(_: ClaimRequest, field: attrs.Attribute[str], value: object) -> None:
    # str.isprintable() is quick and stricter than we are; only what it stops is looked at closely.
    if type(value) is not str or not value.isprintable() or value.isspace() or not value:
        _check_text(field.name, value)


_OWNER_TYPES = {owner_type.value: owner_type for owner_type in OwnerType}


def read_owner_type(value: OwnerType | str) -> OwnerType:
    """
    Give the owner type that *value* names, in any case.

    Raises:
        InvalidInputError: It names none.
    """
    if type(value) is OwnerType:
        return value
    if type(value) is str and value in _OWNER_TYPES:  # a call of an enum takes much longer
        return _OWNER_TYPES[value]
    try:
        return OwnerType(value)
    except ValueError:
        known = ", ".join(OwnerType)
        raise InvalidInputError(f"owner_type must be one of {known}; not {_shown(value)}") from None


def _shown(value: object) -> str:
    # Not everything has a text: an integer of 5,000 digits raises instead.
    return repr(value)[:80] if isinstance(value, str) else type(value).__name__


@attrs.frozen
class ClaimRequest:
    """
    One claim to make: an owner module, with its reference, takes a badge.

    Ids are kept byte for byte, leading zeros and blanks included.

    Raises:
        InvalidInputError: A part is no string, is blank or holds a control character, or
            `owner_type` names no `OwnerType`.
    """

    badge_id: str = attrs.field(validator=_validate_text)
    owner_type: OwnerType = attrs.field(converter=read_owner_type)
    reference_id: str = attrs.field(validator=_validate_text)

    @classmethod
    def for_badges(
        cls, badge_ids: Iterable[str], owner_type: OwnerType | str, reference_id: str
    ) -> Iterator[ClaimRequest]:
        """
        Give one request for each of *badge_ids*, in their order, lazily.

        Raises:
            InvalidInputError: *badge_ids* is one id and not several; or, when its turn comes, a
                part of a request is refused.
        """
        if isinstance(badge_ids, str | bytes):
            raise InvalidInputError("badge_ids must be several ids, not the letters of one")
        return (cls(badge_id, owner_type, reference_id) for badge_id in badge_ids)


class _Value:
    """What a frozen class and its mutable twin have in common, see `thawing`."""

    __slots__ = ("__weakref__",)


@attrs.frozen
class ClaimResult(_Value):
    """
    The service's answer to a claim or an unclaim.

    Attributes:
        badge_id: The badge that was asked for.
        claim: The claim as the service stated it; where it stated none (an already claimed answer
            may carry no data), as it was asked for.
        already_claimed: The claim stood before this request: code 900.
        warnings: What the service added, 900 included.
        request_id: The service's id of the request, for its support, if there was one.
        attempts: Requests that were sent to get this answer, 1 or more.
    """

    badge_id: str
    claim: Claim
    already_claimed: bool = False
    warnings: tuple[Notice, ...] = ()
    request_id: str | None = None
    attempts: int = 1


@attrs.frozen
class ClaimOutcome(_Value):
    """
    What became of one claim of a bulk run.

    Attributes:
        request: What was asked, as it was pulled.
        status: See `ClaimStatus`.
        result: The service's answer when the status is CLAIMED or ALREADY_CLAIMED, else None.
        error: Why not, when the status is REJECTED or FAILED, else None.
        attempts: Requests that were sent for it; 0 when it was refused before sending.
        recovered: ALREADY_CLAIMED after an attempt of this run that may have been applied: most
            likely the claim is ours and its first answer was lost.
    """

    request: ClaimRequest
    status: ClaimStatus
    result: ClaimResult | None = None
    error: BadgesError | None = None
    attempts: int = 0
    recovered: bool = False
