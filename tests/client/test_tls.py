"""TLS: a service whose certificate is not good is never spoken to."""

from __future__ import annotations

import asyncio
import hashlib
import logging
import ssl
from pathlib import Path

import aiohttp
import pytest

from badges_async import (
    BadgesClient,
    BasicAuth,
    ClaimRequest,
    ConnectError,
    RetryPolicy,
)
from tests.answers import envelope, held
from tests.client.byte_server import ByteServer, answer, http
from tests.client.certificates import server_context, trusting_context

BADGE = "69381220cebb9648d8974518"
AUTH = BasicAuth("till.demo", "s3cret-Pass")
WELL = answer(http(envelope(held(referenceId="1"))))


@pytest.fixture
def impostor(tmp_path: Path) -> ByteServer:
    """Give a server with a certificate that nobody signed."""
    return ByteServer(WELL, tls=server_context(tmp_path))


@pytest.mark.usefixtures("lane")
async def test_a_certificate_that_nobody_signed_is_refused_at_once(impostor: ByteServer) -> None:
    """F005: self-signed; it is refused and not tried again."""
    async with impostor as server, BadgesClient(server.url, AUTH) as client:
        with pytest.raises(ConnectError, match="certificate was refused") as caught:
            await client.claim(BADGE, "Loyalty", "1")

    error = caught.value
    assert (error.certificate_refused, error.maybe_applied, error.attempts) == (True, False, 1)
    # Not a byte of HTTP was sent.
    assert (len(server.seen), server.accepted) == (0, 0)


@pytest.mark.usefixtures("lane")
async def test_a_bulk_run_stops_at_a_certificate_that_is_refused(impostor: ByteServer) -> None:
    """F005: no row is charged for what concerns all of them."""
    async with impostor as server, BadgesClient(server.url, AUTH) as client:
        run = client.claim_many(
            (ClaimRequest(BADGE, "Loyalty", str(number)) for number in range(10_000)),
            concurrency=4,
        )
        with pytest.raises(ConnectError) as caught:  # noqa: PT012
            async with run:
                async for _ in run:
                    pytest.fail("nothing can have been claimed")
    assert caught.value.certificate_refused
    assert server.seen == []
    assert run.report.total == 0
    assert run.report.unsettled <= 4


@pytest.mark.usefixtures("lane")
async def test_a_certificate_that_is_trusted_is_spoken_to(impostor: ByteServer) -> None:
    async with impostor as server, BadgesClient(server.url, AUTH, ssl=trusting_context()) as client:
        await client.claim(BADGE, "Loyalty", "1")
        await client.claim(BADGE, "Loyalty", "1")
    assert [exchange.connection for exchange in server.seen] == [1, 1]


@pytest.mark.usefixtures("lane")
async def test_a_fingerprint_is_enough_and_is_checked(impostor: ByteServer) -> None:
    pem = trusting_context().get_ca_certs(binary_form=True)[0]
    right, wrong = hashlib.sha256(pem).digest(), bytes(32)
    async with impostor as server:
        async with BadgesClient(server.url, AUTH, ssl=aiohttp.Fingerprint(right)) as client:
            await client.claim(BADGE, "Loyalty", "1")
        async with BadgesClient(server.url, AUTH, ssl=aiohttp.Fingerprint(wrong)) as client:
            with pytest.raises(ConnectError) as caught:
                await client.claim(BADGE, "Loyalty", "1")
    assert (caught.value.certificate_refused, caught.value.attempts) == (True, 1)
    assert len(server.seen) == 1


@pytest.mark.usefixtures("lane")
async def test_a_server_without_tls_is_no_service() -> None:
    async def greet(_: asyncio.StreamReader, writer: asyncio.StreamWriter) -> None:
        writer.write(b"HTTP/1.1 400 Bad Request\r\nContent-Length: 0\r\n\r\n")
        writer.close()

    server = await asyncio.start_server(greet, "127.0.0.1", 0)
    async with server:
        url = f"https://127.0.0.1:{server.sockets[0].getsockname()[1]}"
        async with BadgesClient(url, AUTH, retry=RetryPolicy(max_attempts=1)) as client:
            with pytest.raises(ConnectError) as caught:
                await client.get_badge(BADGE)
    assert (caught.value.certificate_refused, caught.value.maybe_applied) == (False, False)


def test_a_context_that_verifies_nothing_is_warned_of(caplog: pytest.LogCaptureFixture) -> None:
    """F139: it has to be handed in, and is said loudly."""
    context = ssl.create_default_context()
    context.check_hostname = False
    context.verify_mode = ssl.CERT_NONE
    with caplog.at_level(logging.WARNING, "badges_async"):
        BadgesClient("badges.example.com", AUTH, ssl=context)
        BadgesClient("badges.example.com", AUTH, ssl=ssl.create_default_context())
    assert [record.message for record in caplog.records] == [
        "TLS certificates are not verified: anyone on the way can read the credentials"
    ]
