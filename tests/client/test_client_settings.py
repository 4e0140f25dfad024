"""How a client is put together: its environment, its arguments, its looks."""

from __future__ import annotations

import os
from typing import Any

import pytest

from badges_async import (
    BadgesClient,
    BasicAuth,
    InvalidInputError,
    OAuth,
    Quota,
    RetryPolicy,
    Timeout,
)
from badges_async.sandbox import Sandbox
from tests.client.scripted import ScriptedTransport, make_client

BADGE = "69381220cebb9648d8974518"
HOST = {"BADGES_HOST": "badges.example.com"}
BASIC = {"BADGES_USERNAME": "till", "BADGES_PASSWORD": "pass-word"}
OAUTH = {"BADGES_CLIENT_KEY": "key", "BADGES_CLIENT_SECRET": "client-secret"}


@pytest.fixture(autouse=True)
def bare(monkeypatch: pytest.MonkeyPatch) -> pytest.MonkeyPatch:
    """Take away what the machine's own environment holds."""
    for name in list(os.environ):
        if name.startswith("BADGES_"):
            monkeypatch.delenv(name)
    return monkeypatch


def set_all(monkeypatch: pytest.MonkeyPatch, variables: dict[str, str]) -> None:
    for name, value in variables.items():
        monkeypatch.setenv(name, value)


@pytest.mark.parametrize(("pair", "scheme"), [(BASIC, BasicAuth), (OAUTH, OAuth)])
def test_the_environment_is_enough(
    bare: pytest.MonkeyPatch, pair: dict[str, str], scheme: type
) -> None:
    set_all(bare, {**HOST, **pair})
    client = BadgesClient.from_env()
    assert repr(client) == "BadgesClient('https://badges.example.com', lane='wire')"
    assert type(client._dispatcher._auth) is scheme  # noqa: SLF001 - nothing else tells


@pytest.mark.usefixtures("lane")
@pytest.mark.parametrize("pair", [BASIC, OAUTH])
async def test_a_client_of_the_environment_is_let_in(
    bare: pytest.MonkeyPatch, pair: dict[str, str]
) -> None:
    async with Sandbox() as sandbox:
        values = {
            "BADGES_HOST": sandbox.url,
            "BADGES_USERNAME": sandbox.username,
            "BADGES_PASSWORD": sandbox.password,
            "BADGES_CLIENT_KEY": sandbox.client_key,
            "BADGES_CLIENT_SECRET": sandbox.client_secret,
        }
        set_all(bare, {name: values[name] for name in [*HOST, *pair]})
        async with BadgesClient.from_env() as client:
            assert (await client.get_badge(BADGE)).id == BADGE


@pytest.mark.parametrize(
    ("variables", "named"),
    [
        ({}, ["BADGES_HOST"]),
        (BASIC, ["BADGES_HOST"]),
        ({**BASIC, "BADGES_HOST": ""}, ["BADGES_HOST"]),
        (HOST, ["BADGES_USERNAME", "BADGES_PASSWORD", "BADGES_CLIENT_KEY", "BADGES_CLIENT_SECRET"]),
        ({**HOST, "BADGES_USERNAME": "till"}, ["BADGES_PASSWORD"]),
        ({**HOST, "BADGES_PASSWORD": "pass-word"}, ["BADGES_USERNAME"]),
        ({**HOST, "BADGES_CLIENT_KEY": "key"}, ["BADGES_CLIENT_SECRET"]),
        ({**HOST, "BADGES_CLIENT_SECRET": "client-secret"}, ["BADGES_CLIENT_KEY"]),
        ({**HOST, "BADGES_USERNAME": "till", "BADGES_PASSWORD": ""}, ["BADGES_PASSWORD"]),
        ({**HOST, **BASIC, **OAUTH}, ["two kinds"]),
        ({**HOST, **BASIC, "BADGES_CLIENT_KEY": "key"}, ["two kinds"]),
        ({**HOST, **BASIC, "BADGES_USERNAME": "a:b"}, ["username"]),
        ({**HOST, **BASIC, "BADGES_PASSWORD": " "}, ["password"]),
        ({**BASIC, "BADGES_HOST": "http://badges.example.com"}, ["plain http"]),
    ],
)
def test_what_is_missing_or_wrong_is_named_and_no_secret_is(
    bare: pytest.MonkeyPatch, variables: dict[str, str], named: list[str]
) -> None:
    set_all(bare, variables)
    with pytest.raises(InvalidInputError) as caught:
        BadgesClient.from_env()
    for name in named:
        assert name in str(caught.value)
    assert "pass-word" not in str(caught.value)
    assert "client-secret" not in str(caught.value)


def test_arguments_win_over_the_environment(bare: pytest.MonkeyPatch) -> None:
    set_all(bare, {**HOST, **BASIC, **OAUTH})
    client = BadgesClient.from_env(
        host="other.example.com", auth=BasicAuth("a", "b"), timeout=Timeout(total=1), lane="session"
    )
    assert "other.example.com" in repr(client)


def test_an_argument_that_nobody_knows_is_a_mistake(bare: pytest.MonkeyPatch) -> None:
    set_all(bare, {**HOST, **BASIC})
    with pytest.raises(TypeError, match="concurrency"):
        BadgesClient.from_env(concurrency=5)


def test_two_clients_share_no_state() -> None:
    one, two = (BadgesClient("badges.example.com", BasicAuth("a", "b")) for _ in range(2))
    assert one._dispatcher.admission.gate is not two._dispatcher.admission.gate  # noqa: SLF001
    assert one._dispatcher.budget is not two._dispatcher.budget  # noqa: SLF001
    assert one._dispatcher.chance is not two._dispatcher.chance  # noqa: SLF001


@pytest.mark.parametrize(
    "options",
    [
        {"timeout": Timeout(1, 2, 3)},
        {"retry": RetryPolicy(1, 0, 0)},
        {"quota": Quota(1)},
        {"max_connections": 1},
        {"observers": [print]},
        {"observers": iter([print])},
    ],
)
def test_options_are_options(options: dict[str, Any]) -> None:
    BadgesClient("badges.example.com", BasicAuth("a", "b"), **options)


@pytest.mark.parametrize(
    ("asked", "told"), [("auto", "wire"), ("wire", "wire"), ("session", "session")]
)
def test_the_lane_is_told(asked: str, told: str) -> None:
    assert BadgesClient("badges.example.com", BasicAuth("a", "b"), lane=asked).lane == told


async def test_a_transport_of_ones_own_is_closed_with_the_client() -> None:
    transport = ScriptedTransport()
    async with make_client(transport) as client:
        assert client.lane == "scripted"
        assert not transport.closed
    assert transport.closed


@pytest.mark.parametrize(
    "arguments",
    [
        ("", "Loyalty", "1"),
        ("..", "Loyalty", "1"),
        (BADGE, "Nobody", "1"),
        (BADGE, "Loyalty", ""),
        (BADGE, "Loyalty", "a\nb"),
        (None, "Loyalty", "1"),
        (BADGE, None, "1"),
        (BADGE, "Loyalty", 1),
    ],
)
async def test_input_that_makes_no_sense_is_refused_unsent(arguments: tuple[Any, Any, Any]) -> None:
    """F136: line ends and control characters among it."""
    transport = ScriptedTransport()
    client = make_client(transport)
    for operation in (client.claim, client.unclaim):
        with pytest.raises(InvalidInputError) as caught:
            await operation(*arguments)
        assert (caught.value.attempts, caught.value.maybe_applied) == (0, False)
    assert transport.sent == []


@pytest.mark.parametrize(
    "options",
    [
        {"limit": 0},
        {"limit": True},
        {"order": "up"},
        {"order": 10**5000},
        {"include_statistics": "yes"},
    ],
    ids=["limit 0", "limit true", "order of no name", "endless order", "text for a truth value"],
)
async def test_options_of_a_read_that_make_no_sense_are_refused_unsent(
    options: dict[str, Any],
) -> None:
    transport = ScriptedTransport()
    with pytest.raises(InvalidInputError):
        await make_client(transport).get_badge(BADGE, **options)
    assert transport.sent == []
