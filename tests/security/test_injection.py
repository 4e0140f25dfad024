"""Text from anywhere opens no other path, header field, member of JSON or request."""

from __future__ import annotations

import asyncio
import json
from urllib.parse import unquote

import attrs
import pytest
from hypothesis import example, given
from hypothesis import strategies as st

from badges_async import BadgesClient, BadgesError, BasicAuth, InvalidInputError, OAuth, RetryPolicy
from badges_async.auth import Auth
from tests.client.byte_server import ByteServer, Exchange, answer, http
from tests.security.accounts import BADGE

ROOT = "/api_gateway/v1/badges/badgeMeta/"
# What opens or ends something in one of the languages that are on the way.
_PARTS = [
    *(
        "..",
        "%2e",
        "%2F",
        "%0d%0a",
        "/",
        "\\",
        "?",
        "#",
        ";",
        '"',
        "'",
        "{",
        "}",
        ",",
        ":",
        "=",
        "&",
    ),
    *("claim", "unclaim", "Host:", "a", "0", "\u202e", "\ufeff", "ü", " "),
]
_ENDS = ["\r\n", "\n", "\0", "\x7f", "\x85", "\u2028", "\ud800", "\t"]
PIECES = st.sampled_from(_PARTS) | st.characters(exclude_categories=["Cc", "Cs"])
TEXTS = st.lists(PIECES, min_size=1, max_size=8).map("".join) | st.lists(
    PIECES | st.sampled_from(_ENDS), min_size=1, max_size=8
).map("".join)


@attrs.frozen
class Seen:
    """What came of one call: the requests that a service saw, and whether the call was refused."""

    requests: list[Exchange]
    refused: bool


async def call(lane: str, auth: Auth, *asked: str) -> Seen:
    refused = False
    retry = RetryPolicy(max_attempts=1)
    async with (
        ByteServer(answer(http(b"{}"))) as server,
        BadgesClient(server.url, auth, lane=lane, retry=retry) as client,
    ):
        try:
            await client.claim(*asked)
        except InvalidInputError:
            refused = True
        except BadgesError:
            pass
        return Seen(server.seen, refused)


def names_of(exchange: Exchange) -> list[str]:
    return [line.partition(":")[0] for line in exchange.head.split("\r\n")[1:] if line]


PLAIN = BasicAuth("till.demo", "s3cret-Pass")


@pytest.mark.parametrize("lane", ["session", "wire"])
# An owner type is one of few words, and anything else is refused.
@given(badge_id=TEXTS, owner_type=st.just("Loyalty") | TEXTS, reference_id=TEXTS)
@example("..", "Loyalty", "1")
@example("a/../b", "Loyalty", "1")
@example("a HTTP/1.1\r\nX-More: b", "Loyalty", "1")
@example("a", 'Loyalty","referenceId":"2', '1","isActive":false,"x":"')
def test_parts_of_a_claim_are_what_was_asked_or_refused_before_anything_is_sent(
    lane: str, badge_id: str, owner_type: str, reference_id: str
) -> None:
    """F136: one request with one path, the same header fields and one document, or none."""
    usual = asyncio.run(call(lane, PLAIN, BADGE, "Loyalty", "1"))
    seen = asyncio.run(call(lane, PLAIN, badge_id, owner_type, reference_id))
    if seen.refused:
        assert seen.requests == []
        return
    [exchange] = seen.requests
    method, target, version = exchange.line.split(" ")
    segment = target.removeprefix(ROOT).removesuffix("/claim")
    assert (method, version) == ("POST", "HTTP/1.1")
    assert target == f"{ROOT}{segment}/claim"
    assert segment not in {"", ".", ".."}
    assert not set(segment) & set("/?#;\\ ")
    assert unquote(segment) == badge_id
    assert names_of(exchange) == names_of(usual.requests[0])
    sent = json.loads(exchange.body)
    assert sent == {"ownerType": owner_type, "referenceId": reference_id}
    assert exchange.field("Content-Length") == str(len(exchange.body))


def made(kind: str, name: str, secret: str) -> Auth | None:
    try:
        return BasicAuth(name, secret) if kind == "basic" else OAuth(name, secret)
    except InvalidInputError:
        return None


@pytest.mark.parametrize("lane", ["session", "wire"])
@pytest.mark.parametrize("kind", ["basic", "oauth"])
@given(name=TEXTS, secret=TEXTS)
@example("till\r\nX-More: a", "b")
@example("till", 'b","grant":"all')
def test_credentials_are_values_of_one_request_or_refused_when_they_are_made(
    lane: str, kind: str, name: str, secret: str
) -> None:
    usual = made(kind, "till", "secret")
    auth = made(kind, name, secret)
    if usual is None or auth is None:
        return
    [expected] = asyncio.run(call(lane, usual, BADGE, "Loyalty", "1")).requests
    [exchange] = asyncio.run(call(lane, auth, BADGE, "Loyalty", "1")).requests
    assert exchange.line == expected.line
    assert names_of(exchange) == names_of(expected)
    if kind == "oauth":
        assert json.loads(exchange.body) == {"key": name, "secret": secret}


async def give_a_token(token: str, lane: str) -> list[Exchange]:
    document = json.dumps({"data": {"accessToken": token, "ttlSeconds": 600}}).encode()
    retry = RetryPolicy(max_attempts=1)
    async with (
        ByteServer(answer(http(document)), answer(http(b"{}"))) as server,
        BadgesClient(server.url, OAuth("key", "secret"), lane=lane, retry=retry) as client,
    ):
        with pytest.raises(BadgesError):
            await client.claim(BADGE, "Loyalty", "1")
        return server.seen


@pytest.mark.parametrize("lane", ["session", "wire"])
@given(token=TEXTS)
@example("t\r\nX-More: a")
@example("t\r\n\r\nPOST /elsewhere HTTP/1.1")
def test_a_token_is_the_value_of_one_header_field_or_refused(lane: str, token: str) -> None:
    """A service that is not itself any more cannot make us say more than that either."""
    usual = asyncio.run(give_a_token("t0ken", lane))
    seen = asyncio.run(give_a_token(token, lane))
    assert len(usual) == 2
    assert len(seen) in {1, 2}
    for exchange, expected in zip(seen, usual, strict=False):
        assert exchange.line == expected.line
        assert names_of(exchange) == names_of(expected)
