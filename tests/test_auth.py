"""Who we are: both schemes of the API, one token for all who wait, and no secret anywhere."""

from __future__ import annotations

import asyncio
import base64
import json
import traceback
from collections.abc import Awaitable, Callable, Mapping
from typing import Any

import attrs
import pytest

from badges_async import (
    AuthenticationError,
    BadgesError,
    BasicAuth,
    ConnectError,
    ConnectionLostError,
    InvalidInputError,
    OAuth,
    RateLimitedError,
    ServerError,
    UnreadableReplyError,
)
from badges_async.messages import Reply, Request
from tests.answers import HTML, envelope, gateway, make_reply, refusal
from tests.virtual_clock import START, now, on_virtual_clock

TOKEN_HEADER = "X-CAP-API-OAUTH-TOKEN"


# Basic.


def test_the_digest_of_the_password_travels_and_not_the_password() -> None:
    auth = BasicAuth("till.demo", "s3cret-Pass")

    assert auth.headers() == {
        "Authorization": "Basic dGlsbC5kZW1vOjg2M2JlODE0NDViYTFmYzhmZGJlMTk3NzQ5MjE5N2E5"
    }


@pytest.mark.parametrize(
    ("password", "digest"),
    [
        ("s3cret-Pass", "863be81445ba1fc8fdbe1977492197a9"),
        (" ä€ ", "1a82623d9795ba07029ce1045d41b749"),
    ],
)
def test_the_digest_is_of_the_password_in_utf8(password: str, digest: str) -> None:
    header = BasicAuth("täll", password).headers()["Authorization"]

    assert base64.b64decode(header.removeprefix("Basic ")).decode() == f"täll:{digest}"


async def test_basic_credentials_need_no_request_and_are_not_renewed() -> None:
    auth = BasicAuth("till", "password")

    async def send(_: Request) -> Reply:
        raise AssertionError("there is nothing to ask for")

    assert await auth.fetch(send) == auth.headers()
    assert not auth.refused(auth.headers())


@pytest.mark.parametrize("make", [BasicAuth, OAuth])
@pytest.mark.parametrize("place", [0, 1])
@pytest.mark.parametrize(
    ("value", "why"),
    [
        ("", "must not be blank"),
        ("  ", "must not be blank"),
        ("hunter2\n", "must not hold control characters or line ends"),
        ("hunter2\r\nX: y", "must not hold control characters or line ends"),
        ("hun\x00ter2", "must not hold control characters or line ends"),
        ("hun\x7fter2", "must not hold control characters or line ends"),
        ("hun\x85ter2", "must not hold control characters or line ends"),
        ("hun\u2028ter2", "must not hold control characters or line ends"),
        ("hunter2\ud800", "cannot be encoded as UTF-8"),
        (None, "must be a string, not NoneType"),
        (b"hunter2", "must be a string, not bytes"),
        (2, "must be a string, not int"),
    ],
)
def test_a_bad_credential_is_refused_and_never_shown(
    make: Callable[[Any, Any], object], place: int, value: object, why: str
) -> None:
    """
    F082: a line end, a blank or nothing is refused at once, and the value is not shown.

    What is not ASCII is no fault here: a credential travels as a digest or in JSON, in no header.
    """
    names = ("username", "password") if make is BasicAuth else ("client_key", "client_secret")
    pair: list[object] = ["good", "good"]
    pair[place] = value

    with pytest.raises(InvalidInputError, match=f"^{names[place]} {why}$") as caught:
        make(*pair)
    assert "ter2" not in "".join(traceback.format_exception(caught.value)[-1:])


def test_a_colon_ends_the_name_so_it_must_not_be_in_it() -> None:
    with pytest.raises(InvalidInputError, match="username must not hold a colon"):
        BasicAuth("till:demo", "password")
    assert BasicAuth("till", "pass:word").headers()
    assert OAuth("key:1", "secret:2").client_key == "key:1"


def test_no_repr_shows_a_secret() -> None:
    """F131: nor of what authenticates a request."""
    basic = BasicAuth("till.demo", "s3cret-Pass")
    oauth = OAuth("demo-key", "s3cret-Pass")

    assert repr(basic) == "BasicAuth(username='till.demo')"
    assert repr(oauth) == "OAuth(client_key='demo-key')"
    assert repr(basic.headers()) == "{'Authorization': '***'}"
    assert f"{basic.headers()}" == "{'Authorization': '***'}"


# OAuth.


def token_reply(token: object, ttl: object = 300) -> Reply:
    document = {"data": {"accessToken": token, "ttlSeconds": ttl}, "errors": None}
    return make_reply(200, document)


@attrs.define
class TokenService:
    """Answers token requests, each after *seconds*, from a list whose last entry repeats."""

    answers: list[Reply | BadgesError]
    seconds: float = 1.0
    requests: list[Request] = attrs.field(factory=list)
    at_once: int = 0

    async def send(self, request: Request) -> Reply:
        self.requests.append(request)
        place = len(self.requests) - 1
        self.at_once += 1
        assert self.at_once == 1, "two fetches at the same time"
        try:
            await asyncio.sleep(self.seconds)
        finally:
            self.at_once -= 1
        answer = self.answers[min(place, len(self.answers) - 1)]
        if isinstance(answer, BadgesError):
            raise answer
        return answer


def tokens(*names: str, ttl: object = 300, seconds: float = 1.0) -> TokenService:
    return TokenService([token_reply(name, ttl) for name in names], seconds)


async def fetch_error(auth: OAuth, service: TokenService) -> BadgesError:
    with pytest.raises(BadgesError) as caught:
        await auth.fetch(service.send)
    return caught.value


@on_virtual_clock
async def test_a_token_is_asked_for_as_documented() -> None:
    auth, service = OAuth("demo-key", "demo-secret"), tokens("tok-1")
    assert auth.headers() is None

    headers = await auth.fetch(service.send)

    assert headers == {TOKEN_HEADER: "tok-1"} == auth.headers()
    [request] = service.requests
    assert (request.method, request.target) == ("POST", "/v3/oauth/token/generate")
    assert request.body is not None
    assert json.loads(request.body) == {"key": "demo-key", "secret": "demo-secret"}


@on_virtual_clock
async def test_nothing_that_is_sent_or_kept_shows_a_secret() -> None:
    auth, service = OAuth("demo-key", "hunter2"), tokens("tok-secret")
    headers = await auth.fetch(service.send)

    values = (service.requests, service.answers, headers, auth)
    for shown in (*map(repr, values), f"{auth} {headers}"):
        assert "hunter2" not in shown
        assert "tok-secret" not in shown


@on_virtual_clock
async def test_fifty_waiters_share_one_fetch() -> None:
    auth, service = OAuth("k", "s"), tokens("tok-1")

    given = await asyncio.gather(*(auth.fetch(service.send) for _ in range(50)))

    assert len(service.requests) == 1
    assert given == [{TOKEN_HEADER: "tok-1"}] * 50
    assert now() == START + 1.0


@on_virtual_clock
async def test_whoever_fetches_may_be_cancelled_and_the_next_one_does() -> None:
    auth, service = OAuth("k", "s"), tokens("tok-1", "tok-2")
    async with asyncio.TaskGroup() as group:
        first = group.create_task(auth.fetch(service.send))
        others = [group.create_task(auth.fetch(service.send)) for _ in range(5)]
        await asyncio.sleep(0.5)
        first.cancel()

    assert first.cancelled()
    assert [task.result() for task in others] == [{TOKEN_HEADER: "tok-2"}] * 5
    assert len(service.requests) == 2
    assert now() == START + 1.5


@on_virtual_clock
async def test_a_waiter_that_is_cancelled_disturbs_nobody() -> None:
    auth, service = OAuth("k", "s"), tokens("tok-1")
    async with asyncio.TaskGroup() as group:
        waiters = [group.create_task(auth.fetch(service.send)) for _ in range(5)]
        await asyncio.sleep(0.5)
        waiters[2].cancel()

    assert [task.cancelled() for task in waiters] == [False, False, True, False, False]
    assert len(service.requests) == 1


@on_virtual_clock
async def test_a_failure_reaches_all_waiters_at_once() -> None:
    """F080: fifty waiters that each tried for themselves would be a herd on a sick endpoint."""
    auth = OAuth("k", "s")
    service = TokenService([ServerError("down", status=503), token_reply("tok-2")])

    errors = await asyncio.gather(*(fetch_error(auth, service) for _ in range(50)))

    assert len(service.requests) == 1
    assert now() == START + 1.0
    assert {(type(error), str(error)) for error in errors} == {(ServerError, "down")}
    assert all(vars(error) == vars(errors[0]) for error in errors)
    # One object raised in fifty tasks would collect fifty tracebacks.
    assert len({id(error) for error in errors}) == 50


@on_virtual_clock
async def test_after_a_failure_whoever_comes_next_tries_again() -> None:
    auth = OAuth("k", "s")
    service = TokenService([ConnectionLostError("lost"), token_reply("tok-2")])

    assert isinstance(await fetch_error(auth, service), ConnectionLostError)
    assert auth.headers() is None
    assert await auth.fetch(service.send) == {TOKEN_HEADER: "tok-2"}


@on_virtual_clock
async def test_a_fetch_that_fails_has_applied_no_operation() -> None:
    for failure in (
        ConnectionLostError("lost"),
        make_reply(502, HTML),
        make_reply(500, refusal(1)),
        make_reply(200, b"{}"),
    ):
        error = await fetch_error(OAuth("k", "s"), TokenService([failure]))
        assert not error.maybe_applied


@pytest.mark.parametrize(
    ("ttl", "seconds"),
    [
        (300, 270.0),
        (3600, 3570.0),
        (100, 90.0),
        (60.5, 54.45),
        # Not less than a minute, or every call would fetch; not more than a day.
        (0, 54.0),
        (1, 54.0),
        (-5, 54.0),
        (-1e300, 54.0),
        (10**12, 86_370.0),
        (10**400, 86_370.0),
        (1e300, 86_370.0),
        # No number: as in the documentation's first sample.
        ("3600", 270.0),
        (None, 270.0),
        (True, 270.0),
        ([], 270.0),
    ],
)
@on_virtual_clock
async def test_a_token_is_renewed_before_it_ends(ttl: object, seconds: float) -> None:
    """F081: a lifetime of nothing, of text or of ages is bounded by a minute and a day."""
    auth, service = OAuth("k", "s"), tokens("tok-1", "tok-2", ttl=ttl, seconds=0.0)
    await auth.fetch(service.send)

    await asyncio.sleep(seconds - 0.01)
    assert auth.headers() == {TOKEN_HEADER: "tok-1"}
    await asyncio.sleep(0.02)
    assert auth.headers() is None
    assert await auth.fetch(service.send) == {TOKEN_HEADER: "tok-2"}


@on_virtual_clock
async def test_a_lifetime_that_is_missing_is_the_documented_one() -> None:
    auth = OAuth("k", "s")
    await auth.fetch(TokenService([make_reply(200, {"data": {"accessToken": "t"}})]).send)

    await asyncio.sleep(269)
    assert auth.headers() is not None
    await asyncio.sleep(2)
    assert auth.headers() is None


@on_virtual_clock
async def test_a_token_that_was_refused_is_dropped() -> None:
    auth, service = OAuth("k", "s"), tokens("tok-1", "tok-2")
    headers = await auth.fetch(service.send)

    assert auth.refused(headers)
    assert auth.headers() is None
    assert await auth.fetch(service.send) == {TOKEN_HEADER: "tok-2"}


@on_virtual_clock
async def test_a_refusal_of_an_older_token_leaves_the_new_one() -> None:
    """Thirty calls come back with 401 for one token: one of them renews it, for all."""
    auth, service = OAuth("k", "s"), tokens("tok-1", "tok-2", "tok-3")
    old = await auth.fetch(service.send)
    auth.refused(old)
    new = await auth.fetch(service.send)

    assert auth.refused(old)
    assert auth.headers() is new
    assert len(service.requests) == 2


NO_TOKEN: list[tuple[int, object]] = [
    (200, {"data": {"accessToken": None}}),
    (200, {"data": {"accessToken": ""}}),
    (200, {"data": {"accessToken": "  "}}),
    (200, {"data": {"accessToken": 5, "other": "hunter2"}}),
    (200, {"data": {"accessToken": "hunter2\r\nX: y"}}),
    (200, {"data": {"accessToken": "hunter2\u20ac"}}),
    (200, {"data": {"access_token": "hunter2"}}),
    (200, {"data": ["hunter2"]}),
    (200, {"data": "hunter2"}),
    (200, {"accessToken": "hunter2"}),
    (200, "hunter2"),
    (200, b'{"data": {"accessToken": "hunter2'),
    (200, b"{}"),
    (200, b""),
    (200, HTML),
    (502, b"hunter2"),
    (404, b"hunter2"),
]


@pytest.mark.parametrize(("status", "body"), NO_TOKEN)
@on_virtual_clock
async def test_an_answer_without_a_token_is_unreadable_and_not_shown(
    status: int, body: object
) -> None:
    error = await fetch_error(OAuth("k", "s"), TokenService([make_reply(status, body)]))

    assert isinstance(error, UnreadableReplyError)
    assert (error.status, error.body) == (status, "")
    assert str(error) == f"HTTP {status}: the answer holds no access token"
    assert "hunter2" not in "".join(traceback.format_exception(error))


@pytest.mark.parametrize(
    ("status", "body", "code"),
    [
        (400, refusal(400), 400),
        (401, refusal(401), 401),
        (401, HTML, None),
        (403, gateway(403, 4000), 4000),
        (200, refusal(1), 1),
        (200, envelope({"accessToken": "t"}, ["no"]), None),
        (404, refusal(404), 404),
        (400, b"{}", None),
    ],
)
@on_virtual_clock
async def test_every_refusal_of_the_key_is_an_authentication_error(
    status: int, body: object, code: int | None
) -> None:
    reply = make_reply(status, body, {"X-CAP-REQUEST-ID": "7f"})
    error = await fetch_error(OAuth("k", "s"), TokenService([reply]))

    assert isinstance(error, AuthenticationError)
    assert str(error).startswith(f"the client key was refused: HTTP {status}")
    assert (error.status, error.code, error.request_id) == (status, code, "7f")


@pytest.mark.parametrize(
    ("status", "body", "means"),
    [
        (500, refusal(1), ServerError),
        (503, gateway(503, 4001), ServerError),
        (429, HTML, RateLimitedError),
    ],
)
@on_virtual_clock
async def test_a_passing_state_of_the_endpoint_says_nothing_about_the_key(
    status: int, body: object, means: type[BadgesError]
) -> None:
    reply = make_reply(status, body, {"Retry-After": "7"})
    error = await fetch_error(OAuth("k", "s"), TokenService([reply]))

    assert type(error) is means
    if isinstance(error, RateLimitedError):
        assert error.retry_after == 7.0


@on_virtual_clock
async def test_an_error_of_a_waiter_keeps_every_fact() -> None:
    auth = OAuth("k", "s")
    service = TokenService([ConnectError("no", certificate_refused=True, attempts=1)])

    for error in await asyncio.gather(*(fetch_error(auth, service) for _ in range(3))):
        assert isinstance(error, ConnectError)
        assert (error.certificate_refused, error.attempts) == (True, 1)


def test_a_scheme_of_ones_own_needs_three_methods() -> None:
    """What `Auth` asks for; mypy checks it here."""
    from badges_async import Auth  # noqa: PLC0415

    class Fixed:
        def headers(self) -> Mapping[str, str] | None:
            return {"X-Key": "k"}

        async def fetch(self, send: Callable[[Request], Awaitable[Reply]]) -> Mapping[str, str]:
            await send(Request("token", "", "POST", "/"))
            return {}

        def refused(self, headers: Mapping[str, str]) -> bool:
            return bool(headers)

    auth: Auth = Fixed()
    assert auth.headers() == {"X-Key": "k"}
