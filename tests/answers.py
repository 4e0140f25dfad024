"""
What the service answers, and what each answer means: one table for every operation.

`tests.test_operations` reads the rows as values, `tests.test_mapping_aioresponses` sends them
through a client. The fact sheet's table of error codes and its envelope shapes are all here.
"""

from __future__ import annotations

import json
from collections.abc import Iterable, Mapping
from typing import Any

import attrs
from multidict import CIMultiDict

from badges_async import (
    APIError,
    AuthenticationError,
    BadgeNotFoundError,
    BadgesError,
    ClaimRequest,
    ConflictError,
    InvalidRequestError,
    OwnerType,
    PermissionDeniedError,
    RateLimitedError,
    ServerError,
    UnreadableReplyError,
)
from badges_async.messages import Reply

BADGE_ID = "662749408fe258516a88fe89"
ASKED = ClaimRequest(BADGE_ID, OwnerType.LOYALTY, "123")

CLAIMED, ALREADY, UNCLAIMED, BADGE = "claimed", "already claimed", "unclaimed", "a badge"
HTML = b"<!DOCTYPE html><html><body><h1>Checking your browser</h1></body></html>"
MEBIBYTE = 1 << 20


@attrs.frozen
class Case:
    """
    One answer.

    Attributes:
        means: A word of this module for a success, else the exact class of the error.
        code: Of an `APIError`: its first error's.
    """

    name: str
    status: int
    body: bytes
    means: str | type[BadgesError]
    code: int | None = None
    headers: Mapping[str, str] = attrs.field(factory=dict)

    def reply(self) -> Reply:
        """Give the answer as it was read."""
        whole = len(self.body) <= MEBIBYTE
        return make_reply(self.status, self.body[:MEBIBYTE], self.headers, complete=whole)

    def __str__(self) -> str:
        return f"{self.status}-{self.name.replace(' ', '-')}"


def make_reply(
    status: int,
    body: bytes | object,
    headers: Mapping[str, str] | Iterable[tuple[str, str]] = (),
    *,
    received_at: float = 0.0,
    complete: bool = True,
) -> Reply:
    """Make an answer; a *body* that is not bytes is a JSON document."""
    content = body if isinstance(body, bytes) else json.dumps(body).encode()
    return Reply(status, CIMultiDict(headers), content, received_at, complete)


def held(**changes: Any) -> dict[str, Any]:
    """Give the data of a clean claim, with *changes*; None takes a key out."""
    data = {"ownerType": "Loyalty", "referenceId": "123", "isActive": True, **changes}
    return {key: value for key, value in data.items() if value is not None}


def ended(**changes: Any) -> dict[str, Any]:
    """Give the data of a clean unclaim, with *changes*; None takes a key out."""
    return held(**{"isActive": False, **changes})


def envelope(data: object = None, errors: object = None, warnings: object = None) -> bytes:
    """Give an answer's body."""
    return json.dumps({"data": data, "errors": errors, "warnings": warnings}).encode()


def notice(code: object, message: str = "as documented", **more: object) -> dict[str, object]:
    """Give an entry of errors or warnings."""
    return {"code": code, "message": message, **more}


def refusal(*codes: object, reference: str | None = None) -> bytes:
    """Give the body of every documented error: null data, null warnings, errors."""
    return envelope(None, [notice(code, reference=reference) for code in codes], None)


def without_code_900(cases: Iterable[Case]) -> list[Case]:
    """Leave out what only a claim can be answered with."""
    return [case for case in cases if case.means != ALREADY]


def gateway(status: int, code: int) -> bytes:
    """Give the gateway's own document, which is no envelope."""
    text = "Not authorized. Access is denied!"
    return json.dumps({"HttpStatusCode": status, "errorMessage": text, "errorCode": code}).encode()


NO_OWNER_ID = refusal(717, reference="referenceId")
ALREADY_WARNING = [notice(900, "The badge is already claimed by this owner")]

# What any operation can be answered with.
EVERYWHERE = [
    # Codes of the API, by code and status.
    Case("invalid enum value", 400, refusal(400), InvalidRequestError, 400),
    Case("no such badge", 404, refusal(404), BadgeNotFoundError, 404),
    Case("no such badge", 400, refusal(404), BadgeNotFoundError, 404),
    Case("no such badge", 200, refusal(404), BadgeNotFoundError, 404),
    Case("unknown code", 400, refusal(4711), InvalidRequestError, 4711),
    Case("unknown code", 404, refusal(4711), BadgeNotFoundError, 4711),
    Case("unknown code", 200, refusal(4711), APIError, 4711),
    Case("unknown code", 418, refusal(4711), APIError, 4711),
    Case("claim first", 409, refusal(810), ConflictError, 810),
    Case("config exists", 409, refusal(999999), ConflictError, 999999),
    Case("validator crash", 500, refusal(999999), ServerError, 999999),
    Case("refusal of the request", 500, refusal(717), ServerError, 717),
    Case("code 404", 503, refusal(404), ServerError, 404),
    Case("not implemented", 501, refusal(1), ServerError, 1),
    Case("two errors", 400, refusal(728, 725), InvalidRequestError, 728),
    Case("errors of data", 200, envelope(held(), [notice(400)], []), InvalidRequestError, 400),
    # Shapes of errors.
    Case("code in a string", 400, refusal("404"), BadgeNotFoundError, 404),
    Case("code of no number", 400, refusal("E-1"), InvalidRequestError, None),
    Case("code true", 400, refusal(True), InvalidRequestError, None),  # noqa: FBT003
    Case("no code", 200, envelope(None, [{"message": "no"}]), APIError, None),
    Case("one error, no list", 400, envelope(None, notice(400)), InvalidRequestError, 400),
    Case("errors is a string", 200, envelope(held(), "String", "Array"), APIError, None),
    Case("errors is a list of strings", 200, envelope(held(), ["no"]), APIError, None),
    Case("errors is a list of lists", 200, envelope(held(), [[["no"]]]), APIError, None),
    Case("an error that is empty", 200, envelope(held(), [{}]), APIError, None),
    Case("errors only", 400, b'{"errors": [{"code": 400}]}', InvalidRequestError, 400),
    # The placeholder of undocumented errors, and statuses that say all.
    Case("empty object", 400, b"{}", InvalidRequestError),
    Case("empty object", 404, b"{}", BadgeNotFoundError),
    Case("empty object", 409, b"{}", ConflictError),
    Case("empty object", 500, b"{}", ServerError),
    Case("no errors", 400, envelope(), InvalidRequestError),
    Case("envelope", 401, refusal(401), AuthenticationError, 401),
    Case("empty object", 401, b"{}", AuthenticationError),
    Case("html", 401, HTML, AuthenticationError),
    Case("empty", 401, b"", AuthenticationError),
    Case("json of somebody", 401, b'{"message": "Unauthorized"}', AuthenticationError),
    Case("endless", 401, b" " * (MEBIBYTE + 1), AuthenticationError),
    Case("gateway", 403, gateway(403, 4000), PermissionDeniedError, 4000),
    Case("html", 403, HTML, PermissionDeniedError),
    Case("empty", 403, b"", PermissionDeniedError),
    Case("gateway", 503, gateway(503, 4001), ServerError, 4001),
    Case("envelope", 429, refusal(429), RateLimitedError, 429),
    Case("html", 429, HTML, RateLimitedError),
    Case("text", 429, b"slow down", RateLimitedError),
    Case("empty", 429, b"", RateLimitedError),
    Case("too large", 413, HTML, InvalidRequestError),
    Case("too long", 414, b"", InvalidRequestError),
    Case("too large a header", 431, b"", InvalidRequestError),
    # What is not the API.
    Case("html", 200, HTML, UnreadableReplyError),
    Case("html", 404, HTML, UnreadableReplyError),
    Case("html", 500, HTML, UnreadableReplyError),
    Case("html", 502, HTML, UnreadableReplyError),
    Case("html", 503, HTML, UnreadableReplyError),
    Case("html", 521, HTML, UnreadableReplyError),
    Case("redirect", 302, HTML, UnreadableReplyError),
    Case("teapot", 418, b"short and stout", UnreadableReplyError),
    Case("json of somebody", 404, b'{"message": "no Route matched"}', UnreadableReplyError),
    Case("empty", 200, b"", UnreadableReplyError),
    Case("empty", 204, b"", UnreadableReplyError),
    Case("empty", 500, b"", UnreadableReplyError),
    Case("empty object", 200, b"{}", UnreadableReplyError),
    Case("null", 200, b"null", UnreadableReplyError),
    Case("list", 200, b"[]", UnreadableReplyError),
    Case("true", 200, b"true", UnreadableReplyError),
    Case("number", 200, b"900", UnreadableReplyError),
    Case("no data", 200, envelope(), UnreadableReplyError),
    Case("data is a list", 200, envelope([held()]), UnreadableReplyError),
    Case("data is a string", 200, envelope("held"), UnreadableReplyError),
    Case("data is empty", 200, envelope({}), UnreadableReplyError),
    Case("half", 200, envelope(held())[:-20], UnreadableReplyError),
    Case("two documents", 200, envelope(held()) * 2, UnreadableReplyError),
    Case("not a number", 200, b'{"data": NaN}', UnreadableReplyError),
    Case("not a number aside", 200, envelope(held())[:-1] + b', "x": NaN}', UnreadableReplyError),
    Case("infinite", 200, b'{"data": -Infinity}', UnreadableReplyError),
    Case("not UTF-8", 200, b'{"data": "\xff"}', UnreadableReplyError),
    Case("UTF-16", 200, envelope(held()).decode().encode("utf-16"), UnreadableReplyError),
    Case(
        "UTF-16 unmarked", 200, envelope(held()).decode().encode("utf-16-le"), UnreadableReplyError
    ),
    Case("deep", 200, b"[" * 100_000, UnreadableReplyError),
    Case("deep data", 200, b'{"data":' * 100_000, UnreadableReplyError),
    Case("endless digits", 200, b'{"data": %s}' % (b"9" * 5000), UnreadableReplyError),
    Case("over 1 MiB", 200, envelope(held()) + b" " * MEBIBYTE, UnreadableReplyError),
]

CLAIM_CASES = [
    Case("as documented", 200, envelope(held(), None, []), CLAIMED),
    Case("null warnings", 200, envelope(held(), None, None), CLAIMED),
    Case("empty errors", 200, envelope(held(), [], []), CLAIMED),
    Case("null in errors", 200, envelope(held(), [None], [None]), CLAIMED),
    Case("only data", 200, json.dumps({"data": held()}).encode(), CLAIMED),
    Case("warnings is a string", 200, envelope(held(), None, "Array"), CLAIMED),
    Case("created", 201, envelope(held(), None, []), CLAIMED),
    Case("byte order mark", 200, b"\xef\xbb\xbf" + envelope(held()), CLAIMED),
    Case("older form", 200, envelope(held(badgeMetaId=BADGE_ID, isActive=None)), CLAIMED),
    Case(
        "null badge id",
        200,
        b'{"data": {"badgeMetaId": null, "ownerType": "Loyalty", "referenceId": "123"}}',
        CLAIMED,
    ),
    Case("owner in upper case", 200, envelope(held(ownerType="LOYALTY")), CLAIMED),
    Case("badge id in upper case", 200, envelope(held(badgeMetaId=BADGE_ID.upper())), CLAIMED),
    Case("new keys", 200, envelope(held(claimedOn=1.5, deep={"a": [1]})), CLAIMED),
    Case("another warning", 200, envelope(held(), None, [notice(901)]), CLAIMED),
    # Code 900, wherever it is.
    Case("900 in warnings", 200, envelope(held(isActive=None), None, ALREADY_WARNING), ALREADY),
    Case("900 in warnings, no data", 200, envelope(None, None, ALREADY_WARNING), ALREADY),
    Case("900 in warnings, no keys", 200, envelope({}, None, ALREADY_WARNING), ALREADY),
    Case("900 among warnings", 200, envelope(held(), [], [notice(1), notice(900)]), ALREADY),
    Case("900 in warnings", 400, envelope(None, None, ALREADY_WARNING), ALREADY),
    Case("900 in warnings", 409, envelope(held(), [], ALREADY_WARNING), ALREADY),
    *(
        Case("900 in errors", status, refusal(900), ALREADY)
        for status in (200, 400, 401, 403, 404, 409, 422, 429, 500, 503)
    ),
    Case("900 in errors, with data", 400, envelope(held(), [notice(900)]), ALREADY),
    Case("900 in a string", 400, refusal("900"), ALREADY),
    Case("900 twice", 400, refusal(900, 900), ALREADY),
    Case("900 and another error", 400, refusal(900, 717), InvalidRequestError, 717),
    Case(
        "900 in warnings, an error",
        400,
        envelope(None, [notice(717)], ALREADY_WARNING),
        InvalidRequestError,
        717,
    ),
    Case(
        "900 of another owner",
        200,
        envelope(held(ownerType="Journeys"), None, ALREADY_WARNING),
        UnreadableReplyError,
    ),
    # What the claim page lists.
    Case("no owner id", 400, NO_OWNER_ID, InvalidRequestError, 717),
    Case("no owner id", 200, NO_OWNER_ID, InvalidRequestError, 717),
    Case("no owner id", 404, NO_OWNER_ID, InvalidRequestError, 717),
    Case("no owner type", 400, refusal(716), InvalidRequestError, 716),
    Case("no owner type", 200, refusal(716), InvalidRequestError, 716),
    Case("owner not allowed", 400, refusal(714), InvalidRequestError, 714),
    Case("owner not allowed", 200, refusal(714), InvalidRequestError, 714),
    # A claim that is not this one.
    Case("another owner", 200, envelope(held(ownerType="Journeys")), UnreadableReplyError),
    Case("an unknown owner", 200, envelope(held(ownerType="Loyalties")), UnreadableReplyError),
    Case("another reference", 200, envelope(held(referenceId="1234")), UnreadableReplyError),
    Case("reference as number", 200, envelope(held(referenceId=123)), UnreadableReplyError),
    Case("another badge", 200, envelope(held(badgeMetaId="f" * 24)), UnreadableReplyError),
    Case("inactive", 200, envelope(held(isActive=False)), UnreadableReplyError),
    Case("active in a string", 200, envelope(held(isActive="true")), UnreadableReplyError),
    Case("no owner", 200, envelope(held(ownerType=None)), UnreadableReplyError),
    Case("no reference", 200, envelope(held(referenceId=None)), UnreadableReplyError),
]

UNCLAIM_CASES = [
    Case("as documented", 200, envelope(ended(), None, []), UNCLAIMED),
    Case("only data", 200, json.dumps({"data": ended()}).encode(), UNCLAIMED),
    Case("state not stated", 200, envelope(ended(isActive=None)), UNCLAIMED),
    Case("a warning", 200, envelope(ended(), None, [notice(900)]), UNCLAIMED),
    *(
        Case("no such claim", status, refusal(737), InvalidRequestError, 737)
        for status in (200, 400, 404)
    ),
    Case("no such claim", 409, refusal(737), ConflictError, 737),
    Case("no owner id", 400, NO_OWNER_ID, InvalidRequestError, 717),
    Case("no owner type", 400, refusal(716), InvalidRequestError, 716),
    Case("code 900", 400, refusal(900), InvalidRequestError, 900),
    Case("still active", 200, envelope(ended(isActive=True)), UnreadableReplyError),
    Case("another owner", 200, envelope(ended(ownerType="Journeys")), UnreadableReplyError),
    Case("another reference", 200, envelope(ended(referenceId="1")), UnreadableReplyError),
    Case("another badge", 200, envelope(ended(badgeMetaId="f" * 24)), UnreadableReplyError),
]

SMALLEST_BADGE = {"id": BADGE_ID, "name": "Five for the dog"}

GET_CASES = [
    Case("as documented", 200, envelope(SMALLEST_BADGE, None, None), BADGE),
    Case("empty lists", 200, envelope(SMALLEST_BADGE, [], []), BADGE),
    Case("only data", 200, json.dumps({"data": SMALLEST_BADGE}).encode(), BADGE),
    Case("code 900", 400, refusal(900), InvalidRequestError, 900),
    Case("no id", 200, envelope({"name": "x"}), UnreadableReplyError),
    Case("id as number", 200, envelope({**SMALLEST_BADGE, "id": 8}), UnreadableReplyError),
    Case("a claim", 200, envelope(held()), UnreadableReplyError),
]
