"""The sandbox's description is valid, and says no more and no less than the sandbox does."""

from __future__ import annotations

import json
import re
from collections.abc import Iterator
from io import BytesIO
from typing import Any

import aiohttp
import attrs
import pytest

from badges_async.sandbox import Sandbox
from badges_async.sandbox.control import CONTROL_PATHS
from badges_async.sandbox.openapi import description
from badges_async.sandbox.routes import METHODS, read_call
from tests.samples import SEED_BADGE
from tests.sandbox.clients import AUTHORIZATION, BADGE

DOCUMENT: dict[str, Any] = json.loads(description())
HTTP = ("DELETE", "GET", "HEAD", "OPTIONS", "PATCH", "POST", "PUT", "QUERY", "TRACE")
OPEN = "65f1c2a94be7d0135a9c7e10"  # a badge that nothing is wrong with, of `prepare()`


def operations() -> Iterator[tuple[str, str, dict[str, Any]]]:
    """Give path, method and description of each operation."""
    for path, item in DOCUMENT["paths"].items():
        for method, operation in item.items():
            if method != "parameters":
                yield path, method.upper(), operation


def resolve(node: dict[str, Any]) -> dict[str, Any]:
    """Follow a reference."""
    for name in node.get("$ref", "#").split("/")[1:]:
        node = (DOCUMENT if name == "components" else node)[name]
    return node


def conform(schema: dict[str, Any], value: object) -> None:
    """Hold a JSON value against a schema of the document."""
    from openapi_schema_validator import OAS31Validator  # noqa: PLC0415  (only here)

    OAS31Validator({**schema, "components": DOCUMENT["components"]}).validate(value)


def test_it_is_valid_openapi_3_1() -> None:
    from openapi_spec_validator import OpenAPIV31SpecValidator  # noqa: PLC0415  (only here)

    assert DOCUMENT["openapi"].startswith("3.1.")
    OpenAPIV31SpecValidator(DOCUMENT).validate()


def test_every_route_is_described_and_every_description_is_a_route() -> None:
    described = {
        (path if path in CONTROL_PATHS else read_call(method, path).operation): method
        for path, method, _ in operations()
    }

    assert described == METHODS | dict.fromkeys(CONTROL_PATHS, "GET")
    assert len(described) == len(list(operations()))


async def test_it_is_served_without_a_password_and_not_recorded(sandbox: Sandbox) -> None:
    async with aiohttp.request("GET", f"{sandbox.url}/sandbox/openapi.json?pretty") as response:
        assert response.content_type == "application/json"
        assert await response.json() == DOCUMENT
    assert not sandbox.requests


@pytest.mark.parametrize("path", DOCUMENT["paths"])
async def test_other_methods_than_the_described_are_405_and_told_it(
    sandbox: Sandbox, path: str
) -> None:
    described = {method for where, method, _ in operations() if where == path}
    headers = {"Authorization": AUTHORIZATION}
    async with aiohttp.ClientSession(sandbox.url, headers=headers) as session:
        for method in HTTP:
            async with session.request(method, path.format(badgeId=BADGE)) as response:
                assert (response.status != 405) == (method in described)
                if response.status == 405:
                    assert {response.headers["Allow"]} == described


def test_the_documented_answers_of_the_api_conform() -> None:
    """Those of the API's own pages: what the sandbox promises is no less than they show."""
    read, claimed, unclaimed = (
        resolve(operation["responses"]["200"])["content"]["application/json"]["schema"]
        for _, _, operation in operations()
        if operation["operationId"] in {"getBadge", "claimBadge", "unclaimBadge"}
    )
    claim = {"ownerType": "Loyalty", "referenceId": "123"}

    conform(read, {"data": json.loads(SEED_BADGE), "errors": None, "warnings": None})
    for schema, active in ((claimed, True), (unclaimed, False)):
        answer: dict[str, Any] = {
            "data": {**claim, "isActive": active},
            "errors": None,
            "warnings": [],
        }
        conform(schema, answer)


@attrs.frozen
class Ask:
    """A request that gets a certain answer from a sandbox that `prepare()` has seen."""

    operation: str
    status: int
    body: object = None
    badge: str = OPEN
    authorization: str = AUTHORIZATION
    method: str = ""
    content_type: str = "application/json"
    quota: bool = False


def claim_of(reference_id: str, owner_type: str = "Loyalty") -> dict[str, str]:
    return {"ownerType": owner_type, "referenceId": reference_id}


KEYS = {"key": "demo-key", "secret": "demo-secret"}
BIG = claim_of("x" * 1_100_000)

ASKS = (
    Ask("getBadge", 200),
    Ask("getBadge", 404, badge="unknown"),
    Ask("claimBadge", 200, claim_of("new")),
    Ask("claimBadge", 200, claim_of("held")),
    Ask("claimBadge", 400, claim_of("new", "Journeys")),
    Ask("claimBadge", 400, {}),
    Ask("claimBadge", 404, claim_of("new"), badge="unknown"),
    Ask("claimBadge", 409, claim_of("new"), badge="off"),
    Ask("unclaimBadge", 200, claim_of("held")),
    Ask("unclaimBadge", 400, claim_of("new")),
    Ask("unclaimBadge", 400, []),
    Ask("unclaimBadge", 404, claim_of("held"), badge="unknown"),
    Ask("generateToken", 200, KEYS),
    Ask("generateToken", 400, []),
    Ask("generateToken", 401, {**KEYS, "secret": "wrong"}),
    Ask("getState", 200),
    Ask("getClaims", 200),
    Ask("getOpenAPI", 200),
    *(Ask(name, 405, method="PUT") for name in ("getState", "getClaims", "getOpenAPI")),
    *(Ask(name, 401, {}, authorization="") for name in ("getBadge", "claimBadge", "unclaimBadge")),
    *(Ask(name, 415, {}, content_type="text/plain") for name in ("claimBadge", "unclaimBadge")),
    Ask("generateToken", 415, KEYS, content_type="text/plain"),
    *(
        Ask(name, status, body, method=method, quota=status == 429)
        for name in ("getBadge", "claimBadge", "unclaimBadge", "generateToken")
        for status, body, method in ((405, {}, "DELETE"), (413, BIG, ""), (429, {}, ""))
    ),
)


def prepare(sandbox: Sandbox) -> None:
    """Put in a badge for few, one that is switched off, and a claim."""
    sandbox.add_badge(json.loads(SEED_BADGE) | {"active": True})
    sandbox.add_badge({"id": "off", "active": False})
    sandbox.add_claim(OPEN, "Loyalty", "held")


@pytest.mark.parametrize("ask", ASKS, ids=lambda ask: f"{ask.operation}-{ask.status}")
async def test_an_answer_is_as_described(sandbox: Sandbox, ask: Ask) -> None:
    prepare(sandbox)
    if ask.quota:
        sandbox.set_quota("1/1h")
        async with aiohttp.request("GET", f"{sandbox.url}/"):
            pass
    path, method, operation = next(
        each for each in operations() if each[2]["operationId"] == ask.operation
    )
    url = f"{sandbox.url}{path.format(badgeId=ask.badge)}"
    headers = {"Authorization": ask.authorization, "Content-Type": ask.content_type}
    data = None if ask.body is None else BytesIO(json.dumps(ask.body).encode())
    async with aiohttp.request(ask.method or method, url, headers=headers, data=data) as response:
        text = await response.text()

    assert response.status == ask.status
    described = resolve(operation["responses"][str(ask.status)])
    for name, header in described.get("headers", {}).items():
        pattern = resolve(header)["schema"].get("pattern", "")
        assert re.search(pattern, response.headers[name])
    if "content" in described:
        [(content_type, media)] = described["content"].items()
        assert response.content_type == content_type
        conform(media["schema"], json.loads(text) if content_type.endswith("/json") else text)


def test_every_described_answer_was_asked_for() -> None:
    described = {
        (operation["operationId"], int(status))
        for _, _, operation in operations()
        for status in operation["responses"]
    }

    assert described == {(ask.operation, ask.status) for ask in ASKS}


async def test_a_body_too_large_is_counted_and_the_connection_goes_on(sandbox: Sandbox) -> None:
    headers = {"Authorization": AUTHORIZATION}
    path = f"/api_gateway/v1/badges/badgeMeta/{BADGE}"
    async with aiohttp.ClientSession(sandbox.url, headers=headers) as session:
        body = BytesIO(json.dumps(BIG).encode())
        async with session.post(f"{path}/claim", data=body) as response:
            assert response.status == 413
        async with session.get(path) as response:
            assert response.status == 200

    await sandbox.wait_for_requests(2)
    assert [record.status for record in sandbox.requests] == [413, 200]
    assert not sandbox.claims - {("693804d8cebb9648d8974489", "Journeys", "j-7")}
