"""Nobody on the way talks a client into less: old TLS, no certificate, plain text, elsewhere."""

from __future__ import annotations

import asyncio
import ssl
import warnings
from collections.abc import AsyncIterator, Callable
from contextlib import asynccontextmanager
from pathlib import Path
from typing import Any

import pytest

from badges_async import BadgesClient, BadgesError, ConnectError, RetryPolicy, Timeout
from tests.client.byte_server import ByteServer, answer, http, until
from tests.client.certificates import server_context, trusting_context
from tests.security.accounts import BADGE, KINDS, credentials, secrets_of
from tests.security.seen import Sight, leaks, nothing_shows

pytestmark = pytest.mark.usefixtures("lane")
WELL = answer(http(b"{}"))
THRICE = RetryPolicy(max_attempts=3, base=0, cap=0)


def old_protocol(context: ssl.SSLContext) -> None:
    context.minimum_version = ssl.TLSVersion.TLSv1
    context.maximum_version = ssl.TLSVersion.TLSv1_1
    context.set_ciphers("ALL:@SECLEVEL=0")


def no_certificate(context: ssl.SSLContext) -> None:
    context.maximum_version = ssl.TLSVersion.TLSv1_2
    context.set_ciphers("aNULL:@SECLEVEL=0")


def no_encryption(context: ssl.SSLContext) -> None:
    context.maximum_version = ssl.TLSVersion.TLSv1_2
    context.set_ciphers("eNULL:@SECLEVEL=0")


@pytest.mark.parametrize("kind", KINDS)
@pytest.mark.parametrize("weaken", [old_protocol, no_certificate, no_encryption])
async def test_a_server_that_offers_less_than_tls_as_it_is_today_is_told_nothing(
    weaken: Callable[[ssl.SSLContext], None], kind: str, tmp_path: Path
) -> None:
    """F005: its certificate would be trusted; as often as a call may, it is asked, and no more."""
    context, auth = server_context(tmp_path), credentials(kind)
    with warnings.catch_warnings():
        warnings.simplefilter("ignore", DeprecationWarning)  # that is what is tested
        weaken(context)
    async with (
        ByteServer(WELL, tls=context) as server,
        BadgesClient(server.url, auth, ssl=trusting_context(), retry=THRICE) as client,
    ):
        with pytest.raises(ConnectError) as caught:
            await client.claim(BADGE, "Loyalty", "1")
    assert server.seen == []
    assert (caught.value.maybe_applied, caught.value.attempts) == (False, attempts_of(kind))
    nothing_shows(caught.value, secrets_of(auth))


def attempts_of(kind: str) -> int:
    return 3 if kind == "basic" else 0  # a token is asked for before there is anything to send


class Middle(asyncio.Protocol):
    """One in the middle who knows no TLS: keeps what is said, and answers the first of it."""

    def __init__(self, first: bytes, heard: list[bytes], open_: set[asyncio.Transport]) -> None:
        self._first, self._heard, self._open = first, heard, open_

    def connection_made(self, transport: Any) -> None:
        self._transport = transport
        self._open.add(transport)

    def data_received(self, data: bytes) -> None:
        self._heard.append(data)
        self._transport.write(self._first)
        self._first = b""

    def connection_lost(self, _: Exception | None) -> None:
        self._open.discard(self._transport)


@asynccontextmanager
async def listening(first: bytes) -> AsyncIterator[tuple[str, list[bytes]]]:
    """Give where one in the middle listens, and all that is said to him."""
    heard: list[bytes] = []
    open_: set[asyncio.Transport] = set()
    loop = asyncio.get_running_loop()
    server = await loop.create_server(lambda: Middle(first, heard, open_), "127.0.0.1", 0)
    async with server:
        yield f"https://127.0.0.1:{server.sockets[0].getsockname()[1]}", heard
        for transport in [*open_]:
            transport.abort()
        await until(lambda: not open_)


@pytest.mark.parametrize("kind", ["basic", pytest.param("oauth", marks=pytest.mark.slow)])
@pytest.mark.parametrize(
    "first",
    [
        b"HTTP/1.1 301 Moved\r\nLocation: http://127.0.0.1/\r\nContent-Length: 0\r\n\r\n",
        http(b"{}"),
        b"\x15\x03\x01\x00\x02\x02\x46",  # alert: protocol version
        b"\x15\x03\x03\x00\x02\x01\x00",  # alert: the end
        b"\x16\x03\x00\x00\x04\x0e\x00\x00\x00",  # of SSL 3
        b"",
    ],
    ids=["redirect", "plain answer", "alert", "end", "SSL 3", "nothing"],
)
async def test_who_answers_in_plain_text_hears_a_greeting_of_tls_and_nothing_else(
    first: bytes, kind: str
) -> None:
    auth = credentials(kind)
    async with (
        listening(first) as (url, heard),
        BadgesClient(
            url, auth, retry=THRICE, timeout=Timeout(total=5, attempt=2, connect=0.3)
        ) as client,
    ):
        with pytest.raises(BadgesError) as caught:
            await client.claim(BADGE, "Loyalty", "1")
        assert not caught.value.maybe_applied
    assert 1 <= len(heard) <= 6
    assert {said[:1] for said in heard} <= {b"\x15", b"\x16"}  # alerts and handshakes
    sights = [Sight("on the line", said.decode("latin-1")) for said in heard]
    assert leaks(sights, [*secrets_of(auth), "badgeMeta", "oauth"]) == []
    nothing_shows(caught.value, secrets_of(auth))


@pytest.mark.parametrize("status", [301, 302, 303, 307, 308])
@pytest.mark.parametrize("kind", KINDS)
async def test_a_redirect_leads_nowhere(kind: str, status: int, tmp_path: Path) -> None:
    """A service that is trusted cannot send the credentials on, in plain text or at all."""
    auth = credentials(kind)
    async with ByteServer(WELL) as elsewhere:
        there = answer(http(b"", f"Location: {elsewhere.url}/x", status=f"{status} Go"))
        async with (
            ByteServer(there, tls=server_context(tmp_path)) as server,
            BadgesClient(
                server.url, auth, ssl=trusting_context(), retry=RetryPolicy(max_attempts=1)
            ) as client,
        ):
            with pytest.raises(BadgesError) as caught:
                await client.claim(BADGE, "Loyalty", "1")
        assert (len(server.seen), elsewhere.accepted) == (1, 0)
    nothing_shows(caught.value, secrets_of(auth))
