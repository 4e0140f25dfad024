"""
The operations of the API as pure functions: arguments -> Request, Reply -> model or error.

Here: paths, bodies, and what an answer to each operation must say to count as one. Not here: the
network, retries, credentials. No await.

Sources: the get and claim pages we were asked to implement; unclaim from the API's reference.
"""

from __future__ import annotations

import re
from json.encoder import encode_basestring_ascii
from urllib.parse import quote

import attrs

from badges_async import converter
from badges_async.claims import ClaimRequest, ClaimResult
from badges_async.enums import OwnerType, SortOrder
from badges_async.envelope import Envelope, api_error, open_envelope, read_envelope, unreadable
from badges_async.errors import InvalidInputError, StructureError
from badges_async.messages import Reply, Request
from badges_async.models import Badge, Claim
from badges_async.thawing import mutable_twin

__all__ = [
    "claim_request",
    "get_request",
    "read_badge",
    "read_claim",
    "read_unclaim",
    "unclaim_request",
    "with_attempts",
]

_ROOT = "/api_gateway/v1/badges/badgeMeta/"
_ALREADY_CLAIMED = 900
_BODY_BEGINS = {
    owner_type: f'{{"ownerType": "{owner_type}", "referenceId": ' for owner_type in OwnerType
}
_ClaimTwin, _ResultTwin = mutable_twin(Claim), mutable_twin(ClaimResult)
_LARGEST_LIMIT = 2**31 - 1  # the service's integers
# URL libraries resolve these two before anything is sent, and proxies that decode slashes do so
# after that: what was asked for one badge would be done to another.
_DOT_SEGMENTS = frozenset({".", ".."})
_SLASHES = re.compile(r"[/\\]")
# A literal segment wins over a badge id in the service's routes: this one is another operation.
_OTHER_OPERATIONS = frozenset({"getfixedwindowdetails"})


def get_request(
    badge_id: str,
    *,
    include_statistics: bool | None = None,
    limit: int | None = None,
    order: SortOrder | str | None = None,
) -> Request:
    """
    Ask for a badge by its id.

    The service documents *limit* and *order* here, although one badge has nothing to order.

    Raises:
        InvalidInputError: An argument that the service could not understand, or an id that would
            name another endpoint.
    """
    query = []
    if limit is not None:
        query.append(f"limit={_check_limit(limit)}")
    if order is not None:
        query.append(f"order={_check_order(order)}")
    if include_statistics is not None:
        if not isinstance(include_statistics, bool):
            raise InvalidInputError("include_statistics must be True, False or None")
        query.append(f"includeStatistics={'true' if include_statistics else 'false'}")
    # Validated as a claim's badge id is: one rule for ids.
    checked = ClaimRequest(badge_id, "Loyalty", "-").badge_id
    target = _path(checked) + ("?" + "&".join(query) if query else "")
    return Request("get_badge", checked, "GET", target)


def claim_request(asked: ClaimRequest) -> Request:
    """
    Ask that an owner claims a badge.

    Raises:
        InvalidInputError: The badge id would name another endpoint.
    """
    target = f"{_path(asked.badge_id)}/claim"
    return Request("claim", asked.badge_id, "POST", target, _claim_body(asked))


def unclaim_request(asked: ClaimRequest) -> Request:
    """
    Ask that an owner's claim ends; the badge's other claims stay.

    Raises:
        InvalidInputError: The badge id would name another endpoint.
    """
    target = _path(asked.badge_id) + "/unclaim"
    return Request("unclaim", asked.badge_id, "POST", target, _claim_body(asked))


def read_badge(reply: Reply) -> Badge:
    """
    Read the answer to `get_request`.

    Raises:
        APIError: The service said no.
        UnreadableReplyError: The answer holds no badge.
    """
    envelope = open_envelope(reply)
    try:
        return converter.structure(envelope.data, Badge)
    except StructureError as error:
        raise unreadable(reply, f"the answer holds no badge: {error}") from error


def read_claim(reply: Reply, asked: ClaimRequest) -> ClaimResult:
    """
    Read the answer to `claim_request`.

    Code 900 means that the claim stood already, wherever it is and under any status, unless there
    is another error: the claim page lists it under errors, the reference shows it as a warning
    under 200. An answer that names another badge, owner or reference, or a claim that is not
    active, is no answer to this claim.

    Raises:
        APIError: The service said no.
        UnreadableReplyError: The answer does not say that this claim is held.
    """
    envelope = read_envelope(reply, quickly=True)
    says_more = envelope.errors or envelope.warnings
    already = bool(says_more) and envelope.says_only(_ALREADY_CLAIMED)
    if not already and (envelope.errors or not reply.ok):
        # Where 900 is not all that is said, the rest is what counts.
        others = sorted(envelope.errors, key=lambda notice: notice.code == _ALREADY_CLAIMED)
        raise api_error(reply, attrs.evolve(envelope, errors=tuple(others)))
    if _is_echo(envelope.data, asked):
        claim = _echoed(asked)
    elif already and not envelope.data:
        claim = Claim(asked.owner_type, asked.reference_id)
    else:
        claim = _read_stated_claim(reply, envelope, asked, active=True)
    result = _ResultTwin(asked.badge_id, claim, already, envelope.warnings, reply.request_id)
    result.__class__ = ClaimResult
    return result  # type: ignore[no-any-return]


def read_unclaim(reply: Reply, asked: ClaimRequest) -> ClaimResult:
    """
    Read the answer to `unclaim_request`; its `claim.is_active` is False where it is stated.

    Raises:
        APIError: The service said no; `InvalidRequestError` with code 737 when there is no such
            claim.
        UnreadableReplyError: The answer does not say that this claim ended.
    """
    envelope = open_envelope(reply)
    claim = _read_stated_claim(reply, envelope, asked, active=False)
    return ClaimResult(asked.badge_id, claim, False, envelope.warnings, reply.request_id)  # noqa: FBT003


def with_attempts(result: ClaimResult, attempts: int) -> ClaimResult:
    """Give *result* as the answer to a call of so many requests."""
    return result if attempts == result.attempts else attrs.evolve(result, attempts=attempts)


def _path(badge_id: str) -> str:
    """Give the path of a badge: the id as exactly one segment, whatever is in it."""
    if badge_id.casefold() in _OTHER_OPERATIONS:
        raise InvalidInputError(f"badge_id would name another endpoint: {badge_id!r}")
    # What ids look like needs no quoting.
    if badge_id.isalnum() and badge_id.isascii():
        return _ROOT + badge_id
    if not _DOT_SEGMENTS.isdisjoint(_SLASHES.split(badge_id)):
        raise InvalidInputError(f"badge_id would name another endpoint: {badge_id!r}")
    return _ROOT + quote(badge_id, safe="")


def _check_limit(limit: int) -> int:
    if isinstance(limit, bool) or not isinstance(limit, int) or not 1 <= limit <= _LARGEST_LIMIT:
        raise InvalidInputError(f"limit must be a whole number from 1 to {_LARGEST_LIMIT}")
    return limit


def _check_order(order: SortOrder | str) -> SortOrder:
    if not isinstance(order, str):
        raise InvalidInputError(f"order must be ASC or DESC, not {type(order).__name__}")
    try:
        return SortOrder(order.upper())
    except ValueError:
        raise InvalidInputError(f"order must be ASC or DESC, not {order!r:.80}") from None


def _claim_body(asked: ClaimRequest) -> bytes:
    # One string of it needs quoting, at a fifth of what encoding an object costs.
    reference_id = encode_basestring_ascii(asked.reference_id)
    return (_BODY_BEGINS[asked.owner_type] + reference_id + "}").encode("ascii")


def _read_stated_claim(
    reply: Reply, envelope: Envelope, asked: ClaimRequest, *, active: bool
) -> Claim:
    try:
        claim = converter.structure(envelope.data, Claim)
    except StructureError as error:
        raise unreadable(reply, f"the answer holds no claim: {error}") from error
    if not _is_about(claim, asked):
        raise unreadable(reply, "the answer is about another claim")
    if claim.is_active is (not active):
        state = "not active" if active else "still active"
        raise unreadable(reply, f"the answer says that the claim is {state}")
    return claim


def _is_echo(data: object, asked: ClaimRequest) -> bool:
    """
    Whether *data* says just what was asked, in the fields that are documented.

    Nearly every answer does, and then the converter has nothing to find out.
    """
    if not isinstance(data, dict) or data.get("isActive") is not True:  # 1 would be equal
        return False
    return data == {
        "ownerType": asked.owner_type,
        "referenceId": asked.reference_id,
        "isActive": True,
        "badgeMetaId": asked.badge_id,
    }


def _echoed(asked: ClaimRequest) -> Claim:
    claim = _ClaimTwin(
        owner_type=asked.owner_type,
        reference_id=asked.reference_id,
        is_active=True,
        badge_meta_id=asked.badge_id,
    )
    claim.__class__ = Claim
    return claim  # type: ignore[no-any-return]


def _is_about(claim: Claim, asked: ClaimRequest) -> bool:
    # Nobody knows whether the service echoes an owner type or a badge id in its own case.
    badge_id = claim.badge_meta_id
    return (
        claim.reference_id == asked.reference_id
        and (
            claim.owner_type is asked.owner_type
            or claim.owner_type.casefold() == asked.owner_type.casefold()
        )
        and (
            badge_id is None
            or badge_id == asked.badge_id
            or badge_id.casefold() == asked.badge_id.casefold()
        )
    )
