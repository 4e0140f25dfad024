"""No credential shows: not in an error or what hangs on it, not in a log, not in a report."""

from __future__ import annotations

import asyncio
import logging
from pathlib import Path

import pytest

from badges_async import (
    AttemptEvent,
    BadgesClient,
    BadgesError,
    ClaimRequest,
    InvalidInputError,
    OAuth,
    RetryPolicy,
    Timeout,
)
from badges_async.sandbox import Fault, Sandbox
from tests.client.byte_server import ByteServer, answer, http
from tests.client.certificates import server_context
from tests.security.accounts import BADGE, CLIENT_SECRET, PASSWORD, credentials, secrets_of
from tests.security.seen import Sight, beside_frames, leaks, nothing_shows, seen_of_record

BASIC = credentials("basic")


@pytest.fixture
def everything_logged(caplog: pytest.LogCaptureFixture) -> pytest.LogCaptureFixture:
    """Log all there is: ours, aiohttp's and asyncio's."""
    caplog.set_level(1)
    for name in [*logging.root.manager.loggerDict]:
        if name.startswith(("badges_async", "aiohttp", "asyncio", "redis")):
            caplog.set_level(1, name)
    return caplog


def logged(log: pytest.LogCaptureFixture) -> list[Sight]:
    """Give all that the records hold, shown or not."""
    records = [sight for record in log.records for sight in seen_of_record(record)]
    return [Sight("log", log.text), *records]


@pytest.mark.usefixtures("lane")
@pytest.mark.parametrize("kind", ["basic", pytest.param("oauth", marks=pytest.mark.slow)])
@pytest.mark.parametrize("fault", [fault for fault in Fault if fault is not Fault.SLOW])
async def test_no_failure_shows_a_credential(
    kind: str, fault: Fault, everything_logged: pytest.LogCaptureFixture
) -> None:
    """F130: no error, event or record of any logger does, at any level."""
    asyncio.get_running_loop().set_debug(True)
    auth = credentials(kind)
    events: list[AttemptEvent] = []
    options = {
        "retry": RetryPolicy(max_attempts=2, base=0),
        "timeout": Timeout(total=0.2),
        "observers": [events.append, lambda _: 1 // 0],
    }
    failures: list[BadgesError] = []
    async with (
        Sandbox(faults=[fault] * 20, fault_delay=0.0) as sandbox,
        BadgesClient(sandbox.url, auth, **options) as client,  # type: ignore[arg-type]
    ):
        try:
            await client.claim(BADGE, "Loyalty", "1")
        except BadgesError as error:
            failures.append(error)
        secrets = secrets_of(auth)
        shown = [Sight("client", repr(client)), Sight("events", repr(events))]
        assert leaks([*shown, *logged(everything_logged)], secrets) == []
    failures += [event.error for event in events if event.error is not None]
    for failure in failures:
        nothing_shows(failure, secrets)


@pytest.mark.usefixtures("lane")
@pytest.mark.parametrize("kind", ["basic", "oauth"])
async def test_credentials_that_are_refused_are_not_shown(
    kind: str, everything_logged: pytest.LogCaptureFixture
) -> None:
    async with Sandbox(password="another", client_secret="another") as sandbox:
        auth = credentials(kind)
        async with BadgesClient(sandbox.url, auth) as client:
            with pytest.raises(BadgesError) as caught:
                await client.claim(BADGE, "Loyalty", "1")
            with pytest.raises(BadgesError) as in_bulk:
                await client.claim_all([ClaimRequest(BADGE, "Loyalty", "1")])
    nothing_shows(caught.value, secrets_of(auth))
    nothing_shows(in_bulk.value, secrets_of(auth))
    assert leaks(logged(everything_logged), secrets_of(auth)) == []


@pytest.mark.usefixtures("lane")
async def test_a_service_that_echoes_credentials_does_not_get_them_into_an_error() -> None:
    # A half-read token answer is nobody's to see; the body of another one may be shown.
    half = b'{"data":{"accessToken":"half-of-a-tok'
    async with (
        ByteServer(answer(http(half))) as server,
        BadgesClient(
            server.url, OAuth("key", CLIENT_SECRET), retry=RetryPolicy(max_attempts=1)
        ) as client,
    ):
        with pytest.raises(BadgesError) as caught:
            await client.get_badge(BADGE)
    nothing_shows(caught.value, ["half-of-a-tok", CLIENT_SECRET])


@pytest.mark.usefixtures("lane")
async def test_tls_failures_and_refused_connections_show_none(
    tmp_path: Path, everything_logged: pytest.LogCaptureFixture
) -> None:
    async with ByteServer(answer(b""), tls=server_context(tmp_path)) as server:
        async with BadgesClient(server.url, BASIC) as client:
            with pytest.raises(BadgesError) as caught:
                await client.get_badge(BADGE)
        nothing_shows(caught.value, secrets_of(BASIC))
    async with BadgesClient(server.url, BASIC, retry=RetryPolicy(max_attempts=1)) as client:
        with pytest.raises(BadgesError) as caught:
            await client.get_badge(BADGE)
    nothing_shows(caught.value, secrets_of(BASIC))
    assert leaks(logged(everything_logged), secrets_of(BASIC)) == []


@pytest.mark.parametrize(
    "host", [f"https://till:{PASSWORD}@host", f"till:{PASSWORD}@host", f"name:{PASSWORD}"]
)
def test_a_host_with_a_password_in_it_is_refused_without_showing_it(host: str) -> None:
    with pytest.raises(InvalidInputError) as caught:
        BadgesClient(host, BASIC)
    assert leaks(beside_frames(caught.value), secrets_of(BASIC)) == []
