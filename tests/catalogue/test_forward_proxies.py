"""
A forward proxy between us and the service, which somebody's session was told to use.

Here: proxies that refuse or break off the tunnel to the service. Not here: reverse proxies, which
answer in the service's place (`tests/interop`), or when a session takes part at all
(`tests.client.test_lanes`).
"""

from __future__ import annotations

import asyncio
import contextlib
from collections.abc import AsyncIterator
from pathlib import Path

import aiohttp
import pytest

from badges_async import (
    AttemptEvent,
    BadgesClient,
    BadgesError,
    BasicAuth,
    ClaimRequest,
    ClaimStatus,
    ConnectError,
    OutageError,
    RetryPolicy,
)
from tests.answers import envelope, held
from tests.client.byte_server import Answer, ByteServer, Exchange, answer, http
from tests.client.certificates import server_context, trusting_context

BADGE = "69381220cebb9648d8974518"
AUTH = BasicAuth("till.demo", "s3cret-Pass")
WELL = answer(http(envelope(held(referenceId="1"))))
ROW = ClaimRequest(BADGE, "Loyalty", "1")
PROXY_SECRET = "hunter2"

LOCKED = answer(http(b"who are you?", status="407 Proxy Authentication Required"))
BAD_GATEWAY = answer(http(b"<html>", status="502 Bad Gateway"))


async def hang_up(exchange: Exchange) -> None:
    """Close instead of an answer."""
    exchange.close()


async def tunnel(exchange: Exchange) -> None:
    """Connect the two ends, as a proxy that is well does."""
    host, _, port = exchange.line.split()[1].rpartition(":")
    reader, writer = await asyncio.open_connection(host, int(port))
    await exchange.say(b"HTTP/1.1 200 Connection established\r\n\r\n")
    try:
        await asyncio.gather(_pump(exchange.reader, writer), _pump(reader, exchange.writer))
    finally:
        writer.close()


async def _pump(reader: asyncio.StreamReader, writer: asyncio.StreamWriter) -> None:
    with contextlib.suppress(ConnectionError):
        while data := await reader.read(1 << 14):
            writer.write(data)
        writer.close()


@contextlib.asynccontextmanager
async def behind(
    proxy: ByteServer, service: ByteServer, failed: list[BadgesError], attempts: int = 1
) -> AsyncIterator[BadgesClient]:
    """Give a client of *service* whose session goes through *proxy*, with a password for it."""

    def hear(event: AttemptEvent) -> None:
        if event.error is not None:
            failed.append(event.error)

    url = f"http://till:{PROXY_SECRET}@127.0.0.1:{proxy.port}"
    connector = aiohttp.TCPConnector(ssl=trusting_context())
    retry = RetryPolicy(max_attempts=attempts, base=0)
    async with (
        aiohttp.ClientSession(proxy=url, connector=connector) as session,
        BadgesClient(service.url, AUTH, session=session, retry=retry, observers=[hear]) as client,
    ):
        yield client


@pytest.mark.parametrize(
    ("refusal", "attempts"),
    # An end without a word counts: a session that is not ours does not tell what it was doing.
    [(LOCKED, 1), (BAD_GATEWAY, 1), (hang_up, 3)],
    ids=["407", "502", "closes"],
)
async def test_a_tunnel_that_does_not_come_about_is_asked_for_again(
    refusal: Answer, attempts: int, tmp_path: Path
) -> None:
    """F024: our credentials are for the service, and the proxy that refuses sees none of them."""
    failed: list[BadgesError] = []
    async with (
        ByteServer(WELL, tls=server_context(tmp_path)) as service,
        ByteServer(refusal, refusal, tunnel) as proxy,
        behind(proxy, service, failed, attempts) as client,
        client.claim_many([ROW]) as run,
    ):
        (end,) = [outcome async for outcome in run]
        assert [exchange.line[:4] for exchange in service.seen] == ["POST"]
    assert end.status is ClaimStatus.CLAIMED
    assert len(proxy.seen) == 3
    secret = AUTH.headers()["Authorization"].split()[1]
    for exchange in proxy.seen:
        assert exchange.line == f"CONNECT 127.0.0.1:{service.port} HTTP/1.1"
        assert secret not in exchange.head
        assert exchange.field("Authorization") is None
    assert not any(PROXY_SECRET in f"{error!r} {error}" for error in failed)


@pytest.mark.parametrize(
    ("refusal", "status"), [(LOCKED, 407), (BAD_GATEWAY, 502)], ids=["407", "502"]
)
async def test_what_a_proxy_refuses_was_never_sent_and_costs_no_row(
    refusal: Answer, status: int, tmp_path: Path
) -> None:
    """
    F024: the proxy's own word is told, and the service is not asked.

    The catalogue would have a run end with the first 407. Who passes a proxy's password in can also
    change it while a run waits, so it is an outage like the others and ends with its patience.
    """
    failed: list[BadgesError] = []
    async with (
        ByteServer(WELL, tls=server_context(tmp_path)) as service,
        ByteServer(refusal) as proxy,
        behind(proxy, service, failed) as client,
    ):
        with pytest.raises(ConnectError, match=str(status)) as caught:
            await client.claim(BADGE, "Loyalty", "1")
        assert not caught.value.maybe_applied
        run = client.claim_many([ROW], outage_patience=0)
        with pytest.raises(OutageError, match=str(status)):
            async with run:
                assert not [outcome async for outcome in run]
    assert service.seen == []
    assert (run.report.total, run.report.unsettled, list(run.in_doubt)) == (0, 1, [])
    assert all(type(error) is ConnectError and not error.maybe_applied for error in failed)
