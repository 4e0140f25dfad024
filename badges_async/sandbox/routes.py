"""
HTTP <-> state: which operation a request asks for, and what the service answers.

Here: paths, credentials, bodies, codes. Not here: the rules of claiming (`state`), faults, quota
and bytes (`faults`, `throttle`, `line`).

Nobody knows in which order the service checks things. Here it is that of most frameworks: who asks,
which resource, which content type, readable JSON, known words, mandatory fields, then the badge.
Nor does anybody know the bodies of 401, 405 and 415: they get the envelope of the other errors.
"""

from __future__ import annotations

import json
from collections.abc import Mapping
from typing import Any
from urllib.parse import parse_qs, unquote

import attrs

from badges_async.enums import OwnerType
from badges_async.sandbox.answers import (
    Answer,
    Problem,
    already_claimed,
    claim_answer,
    encode,
    envelope,
    refusal,
)
from badges_async.sandbox.credentials import Credentials
from badges_async.sandbox.state import State, Verdict

__all__ = ["METHODS", "Call", "Routes", "read_call", "read_payload"]

BADGES = "/api_gateway/v1/badges/badgeMeta/"
TOKEN = "/v3/oauth/token/generate"  # noqa: S105  (a path)

METHODS = {"get": "GET", "claim": "POST", "unclaim": "POST", "token": "POST"}
_OWNER_TYPES = {owner_type.value: owner_type.value for owner_type in OwnerType}
# A segment that is a name of its own, not a badge id.
_LITERALS = {"getFixedWindowDetails"}


@attrs.define(eq=False)
class Call:
    """
    One request as `routes` reads it.

    Attributes:
        operation: ``get``, ``claim``, ``unclaim``, ``token``, or ``unknown`` for any other path.
        badge_id: Decoded; empty when the path names none.
        payload: The JSON body, or None when it is not a JSON object.
    """

    operation: str
    badge_id: str
    method: str
    query: str = ""
    headers: Mapping[str, str] = attrs.field(factory=dict)
    payload: dict[str, Any] | None = None

    def text(self, key: str) -> str | None:
        """Give a field of the body if it is a string."""
        value = self.payload.get(key) if self.payload else None
        return value if isinstance(value, str) else None


def read_call(method: str, target: str) -> Call:
    """
    Find the operation that a request line asks for.

    A badge id is exactly one segment as sent: ``a%2Fb`` is one id, ``a/b`` is no badge path.
    """
    path, _, query = target.partition("?")
    if path.startswith(BADGES):
        badge_id, _, action = path[len(BADGES) :].partition("/")
        if badge_id and badge_id not in _LITERALS and action in {"", "claim", "unclaim"}:
            if "%" in badge_id:
                badge_id = unquote(badge_id)
            if action or not path.endswith("/"):
                return Call(action or "get", badge_id, method, query)
    elif path == TOKEN:
        return Call("token", "", method, query)
    return Call("unknown", "", method, query)


def read_payload(body: bytes) -> dict[str, Any] | None:
    """Read a JSON object; None for anything else."""
    try:
        payload = json.loads(body)
    except (ValueError, RecursionError):
        return None
    return payload if isinstance(payload, dict) else None


class Routes:
    """The operations of the service over one state."""

    def __init__(self, state: State, credentials: Credentials, *, already_claimed: str) -> None:
        self.already_claimed = already_claimed
        self._state = state
        self._credentials = credentials

    def answer(self, call: Call) -> Answer:
        """Do what *call* asks, at once, and say what came of it."""
        if call.operation == "token":
            return self._check_form(call) or self._token(call)
        if not self._credentials.accept(call.headers):
            return refusal(401, [Problem(401, "Authentication failed")])
        return self._check_form(call) or self._operate(call)

    def _operate(self, call: Call) -> Answer:
        if call.operation == "get":
            return self._get(call)
        return self._claim_or_unclaim(call)

    def _check_form(self, call: Call) -> Answer | None:
        method = METHODS.get(call.operation)
        if method is None:
            return refusal(404, [Problem(404, "No such resource")])
        if call.method != method:
            answer = refusal(405, [Problem(405, f"{call.method} is not supported here")])
            return attrs.evolve(answer, headers=(("Allow", method),))
        if method == "GET":
            return None
        content_type = call.headers.get("Content-Type", "")
        if content_type.partition(";")[0].strip().lower() != "application/json":
            return refusal(415, [Problem(415, "The content type must be application/json")])
        if call.payload is None:
            return refusal(400, [Problem(400, "The body is not a JSON object")])
        return None

    def _get(self, call: Call) -> Answer:
        badge = self._state.badges.get(call.badge_id)
        if badge is None:
            return _NOT_FOUND
        # limit, order and status have no known effect on one badge: any value is taken.
        wanted = parse_qs(call.query).get("includeStatistics", ["false"])[-1].lower() == "true"
        return envelope(badge.to_wire(include_statistics=wanted))

    def _claim_or_unclaim(self, call: Call) -> Answer:
        owner_type, reference_id = call.text("ownerType"), call.text("referenceId")
        if owner_type not in _OWNER_TYPES or not reference_id or reference_id.isspace():
            return _refuse_fields(call)
        if call.operation == "unclaim":
            verdict = self._state.unclaim(call.badge_id, owner_type, reference_id)
        else:
            verdict = self._state.claim(call.badge_id, owner_type, reference_id)
        if verdict is Verdict.DONE:
            return claim_answer(owner_type, reference_id, is_active=call.operation == "claim")
        if verdict is Verdict.ALREADY_CLAIMED and self.already_claimed == "warning":
            return already_claimed(owner_type, reference_id)
        return _REFUSALS[verdict]

    def _token(self, call: Call) -> Answer:
        token = self._credentials.issue(call.text("key"), call.text("secret"))
        if token is None:
            # The page only says that generating failed; neither status nor body.
            return refusal(401, [Problem(401, "Failed to generate the token")])
        ttl = self._credentials.token_ttl
        seconds = int(ttl) if ttl == int(ttl) else ttl
        # Alone among all answers, this one has no warnings.
        return Answer(
            body=encode(
                f'{{"data":{{"accessToken":"{token}","ttlSeconds":{seconds}}},"errors":null}}'
            )
        )


def _refuse_fields(call: Call) -> Answer:
    """Name every field that is wrong; an unknown word ends it, as reading the JSON would."""
    assert call.payload is not None  # noqa: S101  (checked before)
    owner_type, reference_id = call.payload.get("ownerType"), call.payload.get("referenceId")
    problems = []
    if owner_type is None:
        problems.append(Problem(716, "The owner type is mandatory"))
    elif not isinstance(owner_type, str) or owner_type not in _OWNER_TYPES:
        allowed = ", ".join(_OWNER_TYPES)
        message = f"{str(owner_type)[:80]!r} is no value of ownerType, which is one of [{allowed}]"
        return refusal(400, [Problem(400, message)])
    if reference_id is not None and not isinstance(reference_id, str):
        return refusal(400, [Problem(400, "referenceId must be a string")])
    if reference_id is None or not reference_id.strip():
        problems.append(Problem(717, "The owner id is mandatory", "referenceId"))
    return refusal(400, problems)


_NOT_FOUND = refusal(404, [Problem(404, "The badge passed is not found")])

# The status of 737 is not documented, and for a badge that is switched off there is not even a
# code: 815 is what earning one that is not live gets.
_REFUSALS = {
    Verdict.NO_SUCH_BADGE: _NOT_FOUND,
    Verdict.ALREADY_CLAIMED: refusal(409, [Problem(900, "The owner has claimed this already")]),
    Verdict.NOT_AN_OWNER: refusal(
        400,
        [Problem(714, "This owner type may not claim the badge", "ownership.restrictedToOwners")],
    ),
    Verdict.SWITCHED_OFF: refusal(409, [Problem(815, "The badge is not active")]),
    Verdict.NO_SUCH_CLAIM: refusal(400, [Problem(737, "No such claim among the existing ones")]),
}
