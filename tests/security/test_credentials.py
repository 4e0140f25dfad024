"""Credentials where they are handed in and where a service throws them back: nobody sees them."""

from __future__ import annotations

import base64
import json
from collections.abc import Callable

import pytest

from badges_async import BadgesClient, BadgesError, BasicAuth, InvalidInputError, OAuth, RetryPolicy
from badges_async.auth import Auth
from badges_async.masked import Secret
from tests.client.byte_server import Answer, ByteServer, Exchange, answer, http
from tests.security.accounts import BADGE, CLIENT_SECRET, PASSWORD
from tests.security.hostile import BASIC, DIGEST, SECRETS, TOKEN, sent_by
from tests.security.seen import leaks, nothing_shows, seen_of

GIVES_TOKEN = answer(http(json.dumps({"data": {"accessToken": TOKEN}}).encode()))


# Handed in.


@pytest.mark.parametrize("make", [BasicAuth, OAuth])
@pytest.mark.parametrize(
    "value", ["{}\n", "{}\ud800", "{}\x00", b"{}"], ids=["line", "surrogate", "null", "bytes"]
)
def test_a_secret_that_is_refused_is_in_no_frame(
    make: Callable[..., Auth], value: str | bytes
) -> None:
    """A password that was read from a file often ends with a line end."""
    given = value.replace("{}", PASSWORD) if isinstance(value, str) else PASSWORD.encode()
    with pytest.raises(InvalidInputError) as caught:
        make("till", given)
    nothing_shows(caught.value, SECRETS)


@pytest.mark.parametrize(
    "more",
    [
        {},
        {"BADGES_USERNAME": "till:demo"},
        {"BADGES_CLIENT_KEY": "key"},
        {"BADGES_USERNAME": "till", "BADGES_PASSWORD": f"{PASSWORD}\n"},
    ],
)
def test_an_environment_that_is_refused_is_in_no_frame(
    more: dict[str, str], monkeypatch: pytest.MonkeyPatch
) -> None:
    for name in ("USERNAME", "CLIENT_KEY", "CLIENT_SECRET"):
        monkeypatch.delenv(f"BADGES_{name}", raising=False)
    monkeypatch.setenv("BADGES_HOST", "badges.example.com")
    for name, value in {"BADGES_PASSWORD": PASSWORD, **more}.items():
        monkeypatch.setenv(name, value)
    with pytest.raises(InvalidInputError) as caught:
        BadgesClient.from_env()
    nothing_shows(caught.value, SECRETS)


def test_a_part_of_a_secret_is_one() -> None:
    """What shortens long values takes their first letters, and the repr of these."""
    auth = OAuth("key", CLIENT_SECRET)
    request = auth._token_request()  # noqa: SLF001 - what travels
    assert request.body is not None
    assert CLIENT_SECRET[:4] not in repr(Secret(CLIENT_SECRET)[:4])
    assert CLIENT_SECRET not in repr(request.body[:80])
    assert request.body[0] == ord("{")


# Thrown back.


async def in_a_message(exchange: Exchange) -> None:
    text = f"no good: {sent_by(exchange)}"
    body = json.dumps({"errors": [{"code": 400, "message": text, "reference": text}]})
    await exchange.say(http(body.encode(), status="400 Bad Request"))


async def in_a_message_as_it_was_meant(exchange: Exchange) -> None:
    words = sent_by(exchange).removeprefix("Basic ")
    meant = base64.b64decode(words).decode() if words == BASIC else words
    body = json.dumps({"errors": [{"code": 400, "message": f"unknown: {meant}"}]})
    await exchange.say(http(body.encode(), status="401 Unauthorized"))


async def in_a_page(exchange: Exchange) -> None:
    await exchange.say(http(f"<html>{sent_by(exchange)}".encode(), status="502 Bad Gateway"))


async def in_a_header(exchange: Exchange) -> None:
    fields = f"X-CAP-REQUEST-ID: {sent_by(exchange)}", f"X-Debug: {sent_by(exchange)}"
    await exchange.say(http(b"{}", *fields, status="400 Bad Request"))


async def as_it_came(exchange: Exchange) -> None:
    await exchange.say(exchange.head.encode() + exchange.body)
    exchange.close()


async def in_a_broken_header(exchange: Exchange) -> None:
    await exchange.say(f"HTTP/1.1 200 OK\r\nno name {sent_by(exchange)}\r\n\r\n".encode())
    exchange.close()


async def in_half_a_head(exchange: Exchange) -> None:
    await exchange.say(f"HTTP/1.1 200 OK\r\nX-Debug: {sent_by(exchange)}\r\nA: b".encode())
    exchange.close()


async def in_a_status_line(exchange: Exchange) -> None:
    await exchange.say(f"HTTP/1.1 {sent_by(exchange)}\r\n\r\n".encode())
    exchange.close()


async def in_a_broken_chunk(exchange: Exchange) -> None:
    head = "HTTP/1.1 200 OK\r\nTransfer-Encoding: chunked\r\n\r\n"
    await exchange.say(f"{head}{sent_by(exchange)}\r\n".encode())
    exchange.close()


async def in_a_later_chunk(exchange: Exchange) -> None:
    head = "HTTP/1.1 200 OK\r\nTransfer-Encoding: chunked\r\n\r\n1\r\n{\r\n"
    await exchange.say(f"{head}{sent_by(exchange)}\r\n".encode())
    exchange.close()


async def in_a_coding(exchange: Exchange) -> None:
    fields = f"Content-Encoding: {sent_by(exchange)}"
    await exchange.say(http(b"{}", fields, status="400 Bad Request"))


async def in_a_redirect(exchange: Exchange) -> None:
    await exchange.say(http(b"", f"Location: /{sent_by(exchange)}", status="302 Found"))


ECHOES: list[Answer] = [
    in_a_message,
    in_a_message_as_it_was_meant,
    in_a_page,
    in_a_header,
    as_it_came,
    in_a_broken_header,
    in_half_a_head,
    in_a_status_line,
    in_a_broken_chunk,
    in_a_later_chunk,
    in_a_coding,
    in_a_redirect,
]


async def error_of(auth: Auth, *script: Answer) -> BadgesError:
    once = RetryPolicy(max_attempts=1)
    async with (
        ByteServer(*script) as server,
        BadgesClient(server.url, auth, retry=once) as client,
    ):
        with pytest.raises(BadgesError) as caught:
            await client.claim(BADGE, "Loyalty", "1")
    assert server.seen
    return caught.value


@pytest.mark.usefixtures("lane")
@pytest.mark.parametrize("echo", ECHOES)
@pytest.mark.parametrize("asks", ["basic", "oauth", "token"])
async def test_what_a_service_quotes_of_the_credentials_is_seen_by_nobody(
    asks: str, echo: Answer
) -> None:
    auth = BasicAuth("till.demo", PASSWORD) if asks == "basic" else OAuth("key", CLIENT_SECRET)
    script = [GIVES_TOKEN, echo] if asks == "oauth" else [echo]
    nothing_shows(await error_of(auth, *script), SECRETS)


@pytest.mark.usefixtures("lane")
@pytest.mark.parametrize("asks", ["basic", "oauth"])
async def test_what_a_success_quotes_is_seen_by_nobody(asks: str) -> None:
    """It would be printed, and written down with the outcome."""

    async def agree(exchange: Exchange) -> None:
        notice = {"code": 900, "message": sent_by(exchange), "reference": sent_by(exchange)}
        data = json.dumps({"data": None, "warnings": [notice]}).encode()
        await exchange.say(http(data, f"X-CAP-REQUEST-ID: {sent_by(exchange)}"))

    auth = BasicAuth("till.demo", PASSWORD) if asks == "basic" else OAuth("key", CLIENT_SECRET)
    script = [GIVES_TOKEN, agree] if asks == "oauth" else [agree]
    async with ByteServer(*script) as server, BadgesClient(server.url, auth) as client:
        result = await client.claim(BADGE, "Loyalty", "1")
    assert result.already_claimed
    assert "***" in str(result.request_id)
    assert [secret for secret in SECRETS if secret in repr(result)] == []


@pytest.mark.usefixtures("lane")
async def test_a_reference_that_is_like_a_secret_is_claimed_all_the_same() -> None:
    """An echo of the claim itself is no quote: blanked, it would be somebody else's claim."""
    body = json.dumps({"data": {"ownerType": "Loyalty", "referenceId": DIGEST, "isActive": True}})
    async with (
        ByteServer(answer(http(body.encode()))) as server,
        BadgesClient(server.url, BasicAuth("till.demo", PASSWORD)) as client,
    ):
        result = await client.claim(BADGE, "Loyalty", DIGEST)
    assert (result.claim.reference_id, result.already_claimed) == (DIGEST, False)


@pytest.mark.usefixtures("lane")
@pytest.mark.parametrize(
    "data",
    [
        http(json.dumps({"data": {"accessToken": f"{TOKEN}\n"}}).encode()),
        http(json.dumps({"data": {"accessToken": [TOKEN]}}).encode()),
        http(json.dumps({"data": {"token": TOKEN}}).encode()),
        http(json.dumps({"errors": [{"code": 1, "message": TOKEN}]}).encode()),
        http(TOKEN.encode()),
        b'HTTP/1.1 200 OK\r\nTransfer-Encoding: chunked\r\n\r\n{"data":"'
        + TOKEN.encode()
        + b'"}\r\n',
        b'HTTP/1.1 200 OK {"data":"' + TOKEN.encode() + b'"}\r\n' * 9 + b"\r\n",
        b'{"data": {"accessToken": "' + TOKEN.encode() + b'"}}\r\n\r\n',
    ],
)
async def test_a_token_that_cannot_be_used_is_seen_by_nobody(data: bytes) -> None:
    """F130: half of it or in the wrong place, it may be good all the same."""
    error = await error_of(OAuth("key", CLIENT_SECRET), answer(data))
    assert leaks(seen_of(error), [TOKEN]) == []
