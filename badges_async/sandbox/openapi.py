"""
The sandbox in OpenAPI 3.1: its paths, and every answer that it gives when nothing goes wrong.

Here: the document, built once. Not here: what it describes (`routes`, `control`, `answers`); the
tests hold the two against each other. What the API's documents leave open is described openly: an
unknown key is allowed everywhere, and a query parameter of unknown effect takes any value.
"""

from __future__ import annotations

import json
from functools import cache
from typing import Any

from badges_async.enums import OwnerType
from badges_async.sandbox.answers import JSON
from badges_async.sandbox.samples import SAMPLE_BADGES

__all__ = ["description"]

_JSON_LINES = "application/x-ndjson"
_Node = dict[str, Any]

_ABOUT = """\
The Badges service on loopback, for tests: get, claim and unclaim a badge, with Basic credentials or
with a token.

Faults that are injected (`faults=`, `--fault`) are not described: with them any operation of the
API may also answer 302, 401, 403, 429, 500, 502, 503 or 504, in JSON, in HTML or without a body,
or break its answer off, or give none. Nor is what belongs to no operation: another path is a 404
(401 without credentials) with the body of the other errors, and what is not HTTP is a 400 in plain
text.

The paths under `/sandbox/` are no part of the Badges API: no credentials, quota or faults.
"""

_TEXT: _Node = {"type": "string"}
_FLAG: _Node = {"type": "boolean"}
_INTEGER: _Node = {"type": "integer"}
_SECONDS: _Node = {"type": "number", "description": "Seconds since 1970."}
_NULL: _Node = {"type": "null"}

# Answers that several operations give; a code is that of an entry of their `errors`.
_REFUSALS = {
    "400": ("BadRequest", "Code 400 (no JSON object, a wrong value), 714, 716, 717 or 737."),
    "401": ("Unauthorized", "Code 401: no credentials, wrong ones, or a token that has ended."),
    "404": ("NotFound", "Code 404: no such badge."),
    "405": ("MethodNotAllowed", "Code 405: this path has other methods."),
    "409": ("Conflict", "Code 900 (if told to answer so) or 815: the badge is switched off."),
    "413": ("ContentTooLarge", "Code 413: a body of more than 1 MiB."),
    "415": ("UnsupportedMediaType", "Code 415: a body that is not declared as application/json."),
    "429": ("TooManyRequests", "Code 429: beyond the quota that the sandbox was given."),
}
_OWN_HEADERS = {"405": "Allow", "429": "Retry-After"}
_HEADERS = {
    "X-CAP-REQUEST-ID": ({"type": "string", "pattern": "^[0-9a-f]{32}$"}, True),
    "X-Frame-Options": ({"type": "string", "description": "Comes twice, as the service's."}, True),
    "Allow": (_TEXT, True),
    "Retry-After": ({"type": "string", "pattern": "^[0-9]+$"}, False),
}


@cache
def description() -> bytes:
    """Give the document as it is served."""
    return json.dumps(_document(), ensure_ascii=False, indent=1).encode()


def _document() -> _Node:
    return {
        "openapi": "3.1.0",
        "info": {"title": "The sandbox of badges_async", "version": "1", "description": _ABOUT},
        "security": [{"basic": []}, {"token": []}],
        "paths": _paths(),
        "components": {
            "parameters": {"badgeId": _badge_id()},
            "headers": {
                name: {"schema": schema, "required": required}
                for name, (schema, required) in _HEADERS.items()
            },
            "responses": {
                name: _refusal(about, _OWN_HEADERS.get(status))
                for status, (name, about) in _REFUSALS.items()
            },
            "schemas": {"Badge": _badge(), "ClaimRequest": _claim_request(), "Refusal": _errors()},
            "securitySchemes": {
                "basic": {
                    "type": "http",
                    "scheme": "basic",
                    "description": "The till, and the MD5 of its password in hex.",
                },
                "token": {"type": "apiKey", "in": "header", "name": "X-CAP-API-OAUTH-TOKEN"},
            },
        },
    }


def _paths() -> _Node:
    badge = "/api_gateway/v1/badges/badgeMeta/{badgeId}"
    return {
        badge: {"parameters": [_ref("parameters", "badgeId")], "get": _get_badge()},
        f"{badge}/claim": _change("claim", _claim_answer()),
        f"{badge}/unclaim": _change("unclaim", _claim_data(is_active=False)),
        "/v3/oauth/token/generate": {"post": _generate_token()},
        "/sandbox/state": {"get": _look("getState", "Counters.", JSON, _counters())},
        "/sandbox/claims": {
            "get": _look("getClaims", "A claim that stands on each line.", _JSON_LINES, _TEXT)
        },
        "/sandbox/openapi.json": {"get": _look("getOpenAPI", "This.", JSON, {"type": "object"})},
    }


# The grammar of a description


def _ref(kind: str, name: str) -> _Node:
    return {"$ref": f"#/components/{kind}/{name}"}


def _object(properties: _Node, *, optional: tuple[str, ...] = ()) -> _Node:
    required = [name for name in properties if name not in optional]
    return {"type": "object", "properties": properties, "required": required}


def _array(of: _Node) -> _Node:
    return {"type": "array", "items": of}


def _or_null(schema: _Node) -> _Node:
    return {"anyOf": [schema, _NULL]}


def _envelope(data: _Node, warnings: _Node) -> _Node:
    return _object({"data": data, "errors": _NULL, "warnings": warnings})


def _query(name: str, kinds: list[str], about: str) -> _Node:
    return {"name": name, "in": "query", "description": about, "schema": {"type": kinds}}


def _answer(about: str, schema: _Node, **more: object) -> _Node:
    headers = {name: _ref("headers", name) for name in ("X-CAP-REQUEST-ID", "X-Frame-Options")}
    return {"description": about, "headers": headers, "content": {JSON: {"schema": schema}}, **more}


def _refusal(about: str, own_header: str | None) -> _Node:
    answer = _answer(about, _ref("schemas", "Refusal"))
    if own_header is not None:
        answer["headers"][own_header] = _ref("headers", own_header)
    return answer


def _refused(*statuses: str) -> _Node:
    every = sorted({"401", "405", "413", "429", *statuses})
    return {status: _ref("responses", _REFUSALS[status][0]) for status in every}


def _body(schema: _Node, example: _Node) -> _Node:
    return {"required": True, "content": {JSON: {"schema": schema, "example": example}}}


def _link(operation: str, badge_id: str, **more: str) -> _Node:
    return {"operationId": operation, "parameters": {"badgeId": badge_id}, **more}


# Operations


def _badge_id() -> _Node:
    return {
        "name": "badgeId",
        "in": "path",
        "required": True,
        "description": "24 hex digits. What another id gets is not documented; here it is a 404.",
        "schema": {"type": "string", "minLength": 1},
        "examples": {badge["id"]: {"value": badge["id"]} for badge in SAMPLE_BADGES},
    }


def _get_badge() -> _Node:
    links = {"claim": _link("claimBadge", "$response.body#/data/id")}
    schema = _envelope(_ref("schemas", "Badge"), _NULL)
    return {
        "operationId": "getBadge",
        "summary": "Get a badge",
        "parameters": [
            _query("includeStatistics", ["boolean", "string"], "true adds two counts."),
            _query("limit", ["integer", "string"], "An integer; without known effect."),
            _query("order", ["string"], "ASC or DESC; without known effect."),
            _query("status", ["string"], "UPCOMING, LIVE or EXPIRED; without known effect."),
        ],
        "responses": {"200": _answer("The badge.", schema, links=links), **_refused("404")},
    }


def _change(action: str, schema: _Node) -> _Node:
    same, other = "$request.path.badgeId", {"claim": "unclaim", "unclaim": "claim"}[action]
    links = {
        "read": _link("getBadge", same),
        other: _link(f"{other}Badge", same, requestBody="$request.body"),
    }
    refused = _refused("400", "404", "415", *(["409"] if action == "claim" else []))
    operation = {
        "operationId": f"{action}Badge",
        "summary": f"{action.capitalize()} a badge for an owner",
        "requestBody": _body(
            _ref("schemas", "ClaimRequest"), {"ownerType": "Loyalty", "referenceId": "123"}
        ),
        "responses": {"200": _answer("The claim as it stands.", schema, links=links), **refused},
    }
    return {"parameters": [_ref("parameters", "badgeId")], "post": operation}


def _generate_token() -> _Node:
    data = _object({"accessToken": _TEXT, "ttlSeconds": {"type": "number"}})
    answer = _answer("A token; no warnings here.", _object({"data": data, "errors": _NULL}))
    return {
        "operationId": "generateToken",
        "summary": "Get a token for a client key and its secret",
        "security": [],
        "requestBody": _body(
            _object({"key": _TEXT, "secret": _TEXT}), {"key": "demo-key", "secret": "demo-secret"}
        ),
        "responses": {"200": answer, **_refused("400", "415")},
    }


def _look(name: str, about: str, content_type: str, schema: _Node) -> _Node:
    seen = {"description": about, "content": {content_type: {"schema": schema}}}
    refused = {"description": "Not GET.", "headers": {"Allow": _ref("headers", "Allow")}}
    return {
        "operationId": name,
        "summary": about,
        "security": [],
        "responses": {"200": seen, "405": refused},
    }


# Documents


def _claim_request() -> _Node:
    # Blank as Python's `str.isspace` has it, which knows five more than a pattern's \s.
    reference = {"type": "string", "pattern": "[^\\s\\u001c-\\u001f\\u0085]"}
    owner_type = {"type": "string", "enum": [owner_type.value for owner_type in OwnerType]}
    return _object({"ownerType": owner_type, "referenceId": reference})


def _claim_data(*, is_active: bool) -> _Node:
    claim = _object({"ownerType": _TEXT, "referenceId": _TEXT, "isActive": {"const": is_active}})
    return _envelope(claim, {"type": "array", "maxItems": 0})


def _claim_answer() -> _Node:
    stands = _object({"badgeMetaId": _NULL, "ownerType": _TEXT, "referenceId": _TEXT})
    warning = _object({"code": {"const": 900}, "message": _TEXT})
    warned = _envelope(stands, {**_array(warning), "minItems": 1})
    return {"oneOf": [_claim_data(is_active=True), warned]}


def _errors() -> _Node:
    error = _object({"code": _INTEGER, "message": _TEXT, "reference": _or_null(_TEXT)})
    errors = {**_array(error), "minItems": 1}
    return _object({"data": _NULL, "errors": errors, "warnings": _NULL})


def _counters() -> _Node:
    numbers = ("badges", "claims", "requests", "inFlight", "peakInFlight", "tokens")
    by_name = {"type": "object", "additionalProperties": _INTEGER}
    return _object(
        dict.fromkeys(numbers, _INTEGER)
        | dict.fromkeys(("operations", "statuses", "faults"), by_name)
    )


def _badge() -> _Node:
    """Give the badge of a read by id; required is what all its documented forms have."""
    claim = _object({"ownerType": _TEXT, "referenceId": _TEXT, "isActive": _FLAG})
    constraint, expiry = _object({"constraintType": _TEXT}), _object({"expiryType": _TEXT})
    times = ("startOn", "expiresOn", "createdOn", "lastUpdatedOn")
    fields = {
        **dict.fromkeys(("id", "name", "earnType", "status"), _TEXT),
        **dict.fromkeys(("orgId", "createdBy", "lastUpdatedBy"), _INTEGER),
        **dict.fromkeys(times, _SECONDS),
        **dict.fromkeys(("description", "badgeGroupId"), _or_null(_TEXT)),
        **dict.fromkeys(("badgeNumericId", "badgeRank"), _or_null(_INTEGER)),
        **dict.fromkeys(("customerConstraints", "badgeConstraints"), _array(constraint)),
        "active": _FLAG,
        "earnedBadgeExpiry": expiry,
        "issuedBadgeExpiry": _or_null(expiry),
        "images": _array({"type": "object"}),
        "ownership": _object({"restrictedToOwners": _array(_TEXT), "claims": _array(claim)}),
        "customFields": {"type": "object", "additionalProperties": _TEXT},
    }
    optional = {
        **dict.fromkeys(("issuedCount", "earnedCount"), _INTEGER),
        "benefits": _array(_object({"benefitType": _TEXT})),
        "tags": _array(_object({"name": _TEXT, "value": _TEXT})),
    }
    return _object({**fields, **optional}, optional=tuple(optional))
