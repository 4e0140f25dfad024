"""No credential shows: not in an error or what hangs on it, not in a log, not in a report."""

from __future__ import annotations

import asyncio
import logging
import pickle
import traceback
from collections.abc import Iterator
from pathlib import Path

import pytest

from badges_async import (
    AttemptEvent,
    BadgesClient,
    BadgesError,
    BasicAuth,
    ClaimRequest,
    InvalidInputError,
    OAuth,
    RetryPolicy,
    Timeout,
)
from badges_async.auth import Auth
from badges_async.sandbox import Fault, Sandbox
from tests.client.byte_server import ByteServer, answer, http
from tests.client.certificates import server_context

BADGE = "69381220cebb9648d8974518"
PASSWORD, CLIENT_SECRET = "s3cret-Pass", "demo-secret"
BASIC = BasicAuth("till.demo", PASSWORD)
AUTHORIZATION = BASIC.headers()["Authorization"]
SECRETS = (PASSWORD, CLIENT_SECRET, str(AUTHORIZATION), str(AUTHORIZATION).split()[1])


def texts_of(error: BaseException) -> Iterator[str]:
    """Give all that can be seen of an error and of what hangs on it."""
    seen: set[int] = set()
    waiting: list[BaseException | None] = [error]
    while waiting:
        one = waiting.pop()
        if one is None or id(one) in seen:
            continue
        seen.add(id(one))
        yield repr(one)
        yield str(one)
        yield repr(one.__dict__)
        yield repr(one.args)
        # Of aiohttp's errors these can hold the request's header fields.
        for name in ("request_info", "headers", "history"):
            assert not hasattr(one, name), f"{name} of {one!r}"
        waiting += [one.__cause__, one.__context__]
    yield "".join(traceback.format_exception(error))
    yield pickle.dumps(error).decode("latin-1")


def assert_none_shows(texts: Iterator[str], *tokens: str) -> None:
    for text in texts:
        for secret in (*SECRETS, *filter(None, tokens)):
            assert secret not in text


@pytest.fixture
def everything_logged(caplog: pytest.LogCaptureFixture) -> pytest.LogCaptureFixture:
    """Log all there is: ours, aiohttp's and asyncio's."""
    caplog.set_level(logging.DEBUG)
    return caplog


@pytest.mark.usefixtures("lane")
@pytest.mark.parametrize("kind", ["basic", pytest.param("oauth", marks=pytest.mark.slow)])
@pytest.mark.parametrize("fault", [fault for fault in Fault if fault is not Fault.SLOW])
async def test_no_failure_shows_a_credential(
    kind: str, fault: Fault, everything_logged: pytest.LogCaptureFixture
) -> None:
    """F130: no error, event or record of any logger does, at any level."""
    asyncio.get_running_loop().set_debug(True)
    auth: Auth = BASIC if kind == "basic" else OAuth("demo-key", CLIENT_SECRET)
    events: list[AttemptEvent] = []
    options = {
        "retry": RetryPolicy(max_attempts=2, base=0),
        "timeout": Timeout(total=0.2),
        "observers": [events.append, lambda _: 1 // 0],
    }
    async with (
        Sandbox(faults=[fault] * 20, fault_delay=0.0) as sandbox,
        BadgesClient(sandbox.url, auth, **options) as client,  # type: ignore[arg-type]
    ):
        try:
            await client.claim(BADGE, "Loyalty", "1")
        except BadgesError as error:
            assert_none_shows(texts_of(error))
        token = dict(auth.headers() or {}).get("X-CAP-API-OAUTH-TOKEN", "")
        shown = [repr(client), repr(events), everything_logged.text]
    assert_none_shows(iter(shown), token)
    for event in events:
        if event.error is not None:
            assert_none_shows(texts_of(event.error), token)


@pytest.mark.usefixtures("lane")
@pytest.mark.parametrize("kind", ["basic", "oauth"])
async def test_credentials_that_are_refused_are_not_shown(
    kind: str, everything_logged: pytest.LogCaptureFixture
) -> None:
    async with Sandbox(password="another", client_secret="another") as sandbox:
        auth: Auth = BASIC if kind == "basic" else OAuth("demo-key", CLIENT_SECRET)
        async with BadgesClient(sandbox.url, auth) as client:
            with pytest.raises(BadgesError) as caught:
                await client.claim(BADGE, "Loyalty", "1")
            with pytest.raises(BadgesError) as in_bulk:
                await client.claim_all([ClaimRequest(BADGE, "Loyalty", "1")])
    assert_none_shows(texts_of(caught.value))
    assert_none_shows(texts_of(in_bulk.value))
    assert_none_shows(iter([everything_logged.text]))


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
    for text in texts_of(caught.value):
        assert "half-of-a-tok" not in text
    assert_none_shows(texts_of(caught.value))


@pytest.mark.usefixtures("lane")
async def test_tls_failures_and_refused_connections_show_none(
    tmp_path: Path, everything_logged: pytest.LogCaptureFixture
) -> None:
    async with ByteServer(answer(b""), tls=server_context(tmp_path)) as server:
        async with BadgesClient(server.url, BASIC) as client:
            with pytest.raises(BadgesError) as caught:
                await client.get_badge(BADGE)
        assert_none_shows(texts_of(caught.value))
    async with BadgesClient(server.url, BASIC, retry=RetryPolicy(max_attempts=1)) as client:
        with pytest.raises(BadgesError) as caught:
            await client.get_badge(BADGE)
    assert_none_shows(texts_of(caught.value))
    assert_none_shows(iter([everything_logged.text]))


@pytest.mark.parametrize(
    "host", [f"https://till:{PASSWORD}@host", f"till:{PASSWORD}@host", f"name:{PASSWORD}"]
)
def test_a_host_with_a_password_in_it_is_refused_without_showing_it(host: str) -> None:
    with pytest.raises(InvalidInputError) as caught:
        BadgesClient(host, BASIC)
    assert_none_shows(texts_of(caught.value))
