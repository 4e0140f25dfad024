"""Basic credentials and OAuth tokens, as the service checks them."""

from __future__ import annotations

import base64
import hashlib
from collections.abc import AsyncIterator
from typing import Any

import aiohttp
import pytest

from badges_async.sandbox import Fault, Sandbox
from tests.sandbox.clients import Till

BADGE = "/api_gateway/v1/badges/badgeMeta/69381220cebb9648d8974518"
TOKEN = "/v3/oauth/token/generate"
KEYS = {"key": "demo-key", "secret": "demo-secret"}


@pytest.fixture
async def anonymous(sandbox: Sandbox) -> AsyncIterator[aiohttp.ClientSession]:
    """Give a session without credentials."""
    async with aiohttp.ClientSession(sandbox.url) as session:
        yield session


async def read(session: aiohttp.ClientSession, **headers: str) -> int:
    """Read a badge; give the status."""
    sent = {name.replace("_", "-"): value for name, value in headers.items()}
    async with session.get(BADGE, headers=sent) as response:
        return response.status


async def fetch_token(session: aiohttp.ClientSession) -> str:
    """Fetch a token."""
    async with session.post(TOKEN, json=KEYS) as response:
        token: str = (await response.json())["data"]["accessToken"]
        return token


def basic(username: str, digest: str) -> str:
    """Make a Basic header."""
    return "Basic " + base64.b64encode(f"{username}:{digest}".encode()).decode()


async def test_basic_is_the_name_and_the_md5_of_the_password(
    anonymous: aiohttp.ClientSession,
) -> None:
    right = basic("till.demo", "863be81445ba1fc8fdbe1977492197a9")

    assert await read(anonymous, Authorization=right) == 200
    assert await read(anonymous, Authorization=right.replace("Basic", "basic")) == 200


@pytest.mark.parametrize(
    "authorization",
    [
        "",
        "Basic",
        "Basic ",
        "Basic !!!",
        basic("till.demo", "s3cret-Pass"),
        basic("till.demo", "863BE81445BA1FC8FDBE1977492197A9"),
        basic("Till.demo", "863be81445ba1fc8fdbe1977492197a9"),
        basic("till.demo", "863be81445ba1fc8fdbe1977492197a9").replace("Basic", "Bearer"),
    ],
)
async def test_anything_else_is_401_in_an_envelope(
    anonymous: aiohttp.ClientSession, authorization: str
) -> None:
    async with anonymous.get(BADGE, headers={"Authorization": authorization}) as response:
        answer = await response.json()

    assert response.status == 401
    assert (answer["data"], answer["warnings"]) == (None, None)
    assert answer["errors"][0]["code"] == 401


async def test_a_request_without_credentials_is_401_and_changes_nothing(
    anonymous: aiohttp.ClientSession, sandbox: Sandbox
) -> None:
    before = set(sandbox.claims)
    body = {"ownerType": "Loyalty", "referenceId": "1"}
    async with anonymous.post(f"{BADGE}/claim", json=body) as response:
        assert response.status == 401
    assert sandbox.claims == before


@pytest.mark.parametrize(
    "badges_sandbox_options", [{"username": "müller", "password": "pässword", "token_ttl": 7.5}]
)
async def test_other_credentials_may_be_set_and_are_hashed_as_utf_8(
    anonymous: aiohttp.ClientSession, sandbox: Sandbox
) -> None:
    digest = hashlib.md5("pässword".encode(), usedforsecurity=False).hexdigest()

    assert await read(anonymous, Authorization=basic("müller", digest)) == 200
    assert (sandbox.username, sandbox.password) == ("müller", "pässword")


async def test_a_token_comes_with_its_lifetime_and_without_warnings(
    anonymous: aiohttp.ClientSession,
) -> None:
    async with anonymous.post(TOKEN, json=KEYS) as response:
        answer = await response.json()

    assert response.status == 200
    assert set(answer) == {"data", "errors"}
    assert answer["errors"] is None
    assert answer["data"]["ttlSeconds"] == 300
    assert answer["data"]["accessToken"].count(".") == 2


async def test_every_fetch_gives_another_token_and_the_older_stay_good(
    anonymous: aiohttp.ClientSession, sandbox: Sandbox
) -> None:
    first, second = await fetch_token(anonymous), await fetch_token(anonymous)

    assert first != second
    assert await read(anonymous, X_CAP_API_OAUTH_TOKEN=first) == 200
    assert await read(anonymous, X_CAP_API_OAUTH_TOKEN=second) == 200
    assert sandbox.tokens_issued == 2


@pytest.mark.parametrize("badges_sandbox_options", [{"token_ttl": 0}])
async def test_a_token_past_its_time_is_401(anonymous: aiohttp.ClientSession) -> None:
    token = await fetch_token(anonymous)

    assert await read(anonymous, X_CAP_API_OAUTH_TOKEN=token) == 401


async def test_a_token_decides_even_beside_the_right_password(
    anonymous: aiohttp.ClientSession,
) -> None:
    right = basic("till.demo", "863be81445ba1fc8fdbe1977492197a9")

    status = await read(anonymous, Authorization=right, X_CAP_API_OAUTH_TOKEN="made up")

    assert status == 401


async def test_revoked_tokens_are_401_and_a_new_one_is_good(
    anonymous: aiohttp.ClientSession, sandbox: Sandbox
) -> None:
    token = await fetch_token(anonymous)
    sandbox.revoke_tokens()

    assert await read(anonymous, X_CAP_API_OAUTH_TOKEN=token) == 401
    assert await read(anonymous, X_CAP_API_OAUTH_TOKEN=await fetch_token(anonymous)) == 200


@pytest.mark.parametrize(
    ("body", "status"),
    [
        ({"key": "demo-key", "secret": "wrong"}, 401),
        ({"key": "demo-key"}, 401),
        ({}, 401),
        ([], 400),
    ],
)
async def test_a_wrong_key_or_secret_gives_no_token(
    anonymous: aiohttp.ClientSession, sandbox: Sandbox, body: Any, status: int
) -> None:
    async with anonymous.post(TOKEN, json=body) as response:
        assert response.status == status
        assert (await response.json())["data"] is None
    assert sandbox.tokens_issued == 0


async def test_an_expired_token_fault_is_one_401_and_the_token_stays_dead(
    anonymous: aiohttp.ClientSession, sandbox: Sandbox
) -> None:
    token = await fetch_token(anonymous)
    sandbox.set_faults([Fault.EXPIRED_TOKEN])

    assert await read(anonymous, X_CAP_API_OAUTH_TOKEN=token) == 401
    assert await read(anonymous, X_CAP_API_OAUTH_TOKEN=token) == 401
    assert await read(anonymous, X_CAP_API_OAUTH_TOKEN=await fetch_token(anonymous)) == 200
    faults = [record.fault for record in sandbox.requests if record.operation == "get"]
    assert faults == [Fault.EXPIRED_TOKEN, None, None]


async def test_an_expired_token_fault_lets_basic_credentials_through(
    till: Till, sandbox: Sandbox
) -> None:
    sandbox.set_faults([Fault.EXPIRED_TOKEN])

    assert (await till.get())[0] == 200
    assert sandbox.requests[-1].fault is None


def test_no_secret_shows_in_a_repr() -> None:
    sandbox = Sandbox(password="hunter2", client_secret="hunter3")

    assert "hunter" not in repr(sandbox)
