"""
The same table of answers, end to end: through a client and aiohttp, without a network.

Here: that what `operations` decides is what a caller gets, with the facts of the call. Not here:
retries, pauses and broken connections.
"""

from __future__ import annotations

import json
import re
from collections.abc import AsyncIterator, Awaitable, Callable
from contextlib import asynccontextmanager
from urllib.parse import quote

import pytest
from yarl import URL

from badges_async import (
    APIError,
    AuthenticationError,
    Badge,
    BadgesClient,
    BadgesError,
    BasicAuth,
    ClaimResult,
    ConnectError,
    DeadlineError,
    InvalidInputError,
    OAuth,
    OwnerType,
    RateLimitedError,
    RetryPolicy,
    UnreadableReplyError,
)
from tests.answers import (
    ALREADY,
    BADGE_ID,
    CLAIM_CASES,
    EVERYWHERE,
    GET_CASES,
    HTML,
    SMALLEST_BADGE,
    UNCLAIM_CASES,
    Case,
    envelope,
    held,
    notice,
    refusal,
)
from tests.conftest import FakeService
from tests.virtual_clock import START, now, on_virtual_clock

HOST = "https://eu.api.capillarytech.com"
BADGE_URL = f"{HOST}/api_gateway/v1/badges/badgeMeta/{BADGE_ID}"
TOKEN_URL = f"{HOST}/v3/oauth/token/generate"


@asynccontextmanager
async def open_client(**options: object) -> AsyncIterator[BadgesClient]:
    """Give a client that tries once, unless *options* say otherwise."""
    settings: dict[str, object] = {"retry": RetryPolicy(max_attempts=1), **options}
    auth = settings.pop("auth", None) or BasicAuth("till.demo", "s3cret-Pass")
    async with BadgesClient(HOST, auth, **settings) as client:  # type: ignore[arg-type]
        yield client


async def check(case: Case, call: Callable[[BadgesClient], Awaitable[object]]) -> object:
    """Make a call that is answered so, and compare with the table; give the result, if any."""
    async with open_client() as client:
        if isinstance(case.means, str):
            return await call(client)
        with pytest.raises(BadgesError) as caught:
            await call(client)
    error = caught.value
    assert type(error) is case.means
    assert error.attempts == 1
    if isinstance(error, APIError | UnreadableReplyError):
        assert error.status == case.status
        unsure = case.status >= 500 or isinstance(error, UnreadableReplyError)
        assert error.maybe_applied is unsure
    if isinstance(error, APIError):
        assert error.code == case.code
    return None


# aioresponses cannot give more at once; the sandbox can.
SHORT = [case for case in EVERYWHERE if len(case.body) < 1 << 16]


@pytest.mark.parametrize("case", [*CLAIM_CASES, *SHORT], ids=str)
@on_virtual_clock
async def test_every_answer_to_a_claim(fake_service: FakeService, case: Case) -> None:
    fake_service.post(BADGE_URL + "/claim", status=case.status, body=case.body)

    result = await check(case, lambda client: client.claim(BADGE_ID, "Loyalty", "123"))

    if isinstance(case.means, str):
        assert isinstance(result, ClaimResult)
        assert result.already_claimed == (case.means == ALREADY)
        assert (result.badge_id, result.claim.reference_id) == (BADGE_ID, "123")
        assert result.attempts == 1


@pytest.mark.parametrize("case", [*UNCLAIM_CASES, *SHORT], ids=str)
@on_virtual_clock
async def test_every_answer_to_an_unclaim(fake_service: FakeService, case: Case) -> None:
    fake_service.post(BADGE_URL + "/unclaim", status=case.status, body=case.body)

    result = await check(case, lambda client: client.unclaim(BADGE_ID, "Loyalty", "123"))

    assert isinstance(result, ClaimResult) == isinstance(case.means, str)


@pytest.mark.parametrize("case", [*GET_CASES, *SHORT], ids=str)
@on_virtual_clock
async def test_every_answer_to_a_get(fake_service: FakeService, case: Case) -> None:
    fake_service.get(BADGE_URL, status=case.status, body=case.body)

    badge = await check(case, lambda client: client.get_badge(BADGE_ID))

    assert isinstance(badge, Badge) == isinstance(case.means, str)


@on_virtual_clock
async def test_a_claim_is_sent_as_documented(fake_service: FakeService) -> None:
    fake_service.post(BADGE_URL + "/claim", body=envelope(held()))

    async with open_client() as client:
        await client.claim(BADGE_ID, OwnerType.LOYALTY, "123")

    [[sent]] = fake_service.requests.values()
    headers = sent.kwargs["headers"]
    assert headers["Authorization"] == (
        "Basic dGlsbC5kZW1vOjg2M2JlODE0NDViYTFmYzhmZGJlMTk3NzQ5MjE5N2E5"
    )
    assert headers["Content-Type"] == headers["Accept"] == "application/json"
    assert re.fullmatch(r"badges-async/\d+\.\d+\.\d+\S*", headers["User-Agent"])
    assert "Cookie" not in headers
    assert json.loads(sent.kwargs["data"]) == {"ownerType": "Loyalty", "referenceId": "123"}
    assert sent.kwargs["allow_redirects"] is False


@on_virtual_clock
async def test_a_get_has_a_query_and_no_body(fake_service: FakeService) -> None:
    fake_service.get(
        f"{BADGE_URL}?limit=10&order=DESC&includeStatistics=true", body=envelope(SMALLEST_BADGE)
    )

    async with open_client() as client:
        await client.get_badge(BADGE_ID, include_statistics=True, limit=10, order="desc")

    [(key, [sent])] = fake_service.requests.items()
    assert key[0] == "GET"
    assert sent.kwargs["data"] is None
    assert "Content-Type" not in sent.kwargs["headers"]


@pytest.mark.parametrize("badge_id", ["a/b", "%2F", "..%2f", "?x=1", "#y", ";z", "a b", "\u5fbd"])
@on_virtual_clock
async def test_an_awkward_id_reaches_aiohttp_as_one_segment(
    fake_service: FakeService, badge_id: str
) -> None:
    """URL libraries undo quoting; ours must arrive as it left."""
    fake_service.get(re.compile(".*"), body=envelope(SMALLEST_BADGE))
    async with open_client() as client:
        await client.get_badge(badge_id)

    [url] = fake_service.asked
    root, _, segment = url.raw_path.rpartition("/")
    assert root == "/api_gateway/v1/badges/badgeMeta"
    assert segment == quote(badge_id, safe="")
    assert (url.raw_query_string, url.raw_fragment) == ("", "")


@on_virtual_clock
async def test_nothing_is_sent_for_what_is_refused_here(fake_service: FakeService) -> None:
    async with open_client() as client:
        for call in (
            client.claim("", "Loyalty", "1"),
            client.claim("..", "Loyalty", "1"),
            client.claim(BADGE_ID, "Nobody", "1"),
            client.unclaim(BADGE_ID, "Loyalty", "1\n"),
            client.get_badge("getFixedWindowDetails"),
            client.get_badge(BADGE_ID, limit=0),
            client.get_badge(BADGE_ID, timeout=-1),
        ):
            with pytest.raises(InvalidInputError) as caught:
                await call
            assert (caught.value.attempts, caught.value.maybe_applied) == (0, False)

    assert fake_service.asked == []


@on_virtual_clock
async def test_an_answer_names_its_request(fake_service: FakeService) -> None:
    headers = {"X-Cap-Requestid": "0f" * 16}
    fake_service.post(BADGE_URL + "/claim", body=envelope(held()), headers=headers)
    fake_service.post(BADGE_URL + "/claim", status=400, body=refusal(717), headers=headers)
    fake_service.post(BADGE_URL + "/claim", status=500, body=HTML, headers=headers)

    async with open_client() as client:
        result = await client.claim(BADGE_ID, "Loyalty", "123")
        assert result.request_id == "0f" * 16
        for _ in range(2):
            with pytest.raises((APIError, UnreadableReplyError)) as caught:
                await client.claim(BADGE_ID, "Loyalty", "123")
            assert isinstance(caught.value, APIError | UnreadableReplyError)
            assert caught.value.request_id == "0f" * 16


@on_virtual_clock
async def test_warnings_of_a_success_are_given(fake_service: FakeService) -> None:
    body = envelope(held(), None, [notice(5, "slow")])
    fake_service.post(BADGE_URL + "/claim", body=body)

    async with open_client() as client:
        result = await client.claim(BADGE_ID, "Loyalty", "123")

    assert [(warning.code, warning.message) for warning in result.warnings] == [(5, "slow")]


@on_virtual_clock
async def test_a_pause_that_the_service_asks_for_is_kept_and_costs_no_attempt(
    fake_service: FakeService,
) -> None:
    fake_service.post(
        BADGE_URL + "/claim", status=429, body=HTML, headers={"Retry-After": "7"}, repeat=3
    )
    fake_service.post(BADGE_URL + "/claim", body=envelope(held()))

    async with open_client() as client:
        result = await client.claim(BADGE_ID, "Loyalty", "123")

    assert result.attempts == 4
    assert 3 * 7 <= now() - START <= 3 * 7.7


@on_virtual_clock
async def test_a_pause_beyond_the_deadline_fails_at_once_and_says_how_long(
    fake_service: FakeService,
) -> None:
    fake_service.get(BADGE_URL, status=429, body=refusal(429), headers={"Retry-After": "120"})

    async with open_client() as client:
        with pytest.raises(DeadlineError) as caught:
            await client.get_badge(BADGE_ID, timeout=30)

    assert now() == START
    assert caught.value.retry_after is not None
    assert 120 <= caught.value.retry_after <= 121
    assert isinstance(caught.value.__cause__, RateLimitedError)
    assert caught.value.__cause__.code == 429
    assert (caught.value.attempts, caught.value.maybe_applied) == (1, False)


@on_virtual_clock
async def test_an_oauth_token_is_fetched_once_and_renewed_after_a_401(
    fake_service: FakeService,
) -> None:
    for name in ("tok-1", "tok-2"):
        token = {"data": {"accessToken": name, "ttlSeconds": 300}, "errors": None}
        fake_service.post(TOKEN_URL, payload=token)
    fake_service.get(BADGE_URL, body=envelope(SMALLEST_BADGE))
    fake_service.get(BADGE_URL, status=401, body=b"")
    fake_service.get(BADGE_URL, body=envelope(SMALLEST_BADGE))

    async with open_client(auth=OAuth("key", "hunter2")) as client:
        await client.get_badge(BADGE_ID)
        await client.get_badge(BADGE_ID)

    sent = fake_service.requests["GET", URL(BADGE_URL)]
    names = [request.kwargs["headers"]["X-CAP-API-OAUTH-TOKEN"] for request in sent]
    assert names == ["tok-1", "tok-1", "tok-2"]
    tokens = fake_service.requests["POST", URL(TOKEN_URL)]
    assert len(tokens) == 2
    assert json.loads(tokens[0].kwargs["data"]) == {"key": "key", "secret": "hunter2"}
    assert all("Authorization" not in request.kwargs["headers"] for request in [*sent, *tokens])


@on_virtual_clock
async def test_a_401_that_stays_is_told_after_one_renewal(fake_service: FakeService) -> None:
    token = {"data": {"accessToken": "tok", "ttlSeconds": 300}, "errors": None}
    fake_service.post(TOKEN_URL, payload=token, repeat=True)
    fake_service.get(BADGE_URL, status=401, body=HTML, repeat=True)

    async with open_client(auth=OAuth("key", "secret"), retry=RetryPolicy()) as client:
        with pytest.raises(AuthenticationError):
            await client.get_badge(BADGE_ID)

    assert len(fake_service.requests["GET", URL(BADGE_URL)]) == 2
    assert len(fake_service.requests["POST", URL(TOKEN_URL)]) == 2


@on_virtual_clock
async def test_what_the_library_below_raises_never_comes_through(
    fake_service: FakeService,
) -> None:
    for error in (OSError("x"), ValueError("x"), RuntimeError("x"), TimeoutError("x")):
        fake_service.get(BADGE_URL, exception=error)
        async with open_client() as client:
            with pytest.raises(BadgesError) as caught:
                await client.get_badge(BADGE_ID)
        assert not isinstance(caught.value, ConnectError)
        assert caught.value.maybe_applied
