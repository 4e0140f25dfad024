"""
Who we are: the two schemes of the API, and the protocol that both fit.

Here: credentials in, header fields out. Not here: when a request is tried again after a 401
(`dispatch`). A credential never shows in a repr, an error or a log line.
"""

from __future__ import annotations

import asyncio
import base64
import hashlib
import json
import unicodedata
from collections.abc import Awaitable, Callable, Mapping
from typing import Protocol

import attrs

from badges_async.echoes import read_discreetly
from badges_async.envelope import open_envelope, unreadable
from badges_async.errors import (
    APIError,
    AuthenticationError,
    BadgesError,
    InvalidInputError,
    RateLimitedError,
    UnreadableReplyError,
)
from badges_async.masked import Secret, SecretBytes, masked
from badges_async.messages import Reply, Request
from badges_async.models import Notice

__all__ = ["Auth", "BasicAuth", "OAuth", "Send"]

Send = Callable[[Request], Awaitable[Reply]]
"""Sends a request without credentials, within the quota and the deadline of the waiting call."""


class Auth(Protocol):
    """
    What a client needs of an authentication scheme.

    One that also has a string ``account``, which names who asks and holds no secret, lets a ledger
    refuse to be used for another account.
    """

    def headers(self) -> Mapping[str, str] | None:
        """Give the header fields that authenticate a request now; None when `fetch` must first."""
        ...

    async def fetch(self, send: Send) -> Mapping[str, str]:
        """
        Ask the service for what the header fields need, and give them.

        Raises:
            BadgesError: It did not give it; `maybe_applied` is False, whatever happened.
        """
        ...

    def refused(self, headers: Mapping[str, str]) -> bool:
        """Hear that the service answered 401 to *headers*; say whether new ones are worth a try."""
        ...


def _check_credential(_: object, field: attrs.Attribute[str], value: object) -> None:
    # The value itself is never part of the message.
    if not isinstance(value, str):
        kind = "bytes" if isinstance(value, bytes) else type(value).__name__
        raise InvalidInputError(f"{field.alias} must be a string, not {kind}")
    if not value or value.isspace():
        raise InvalidInputError(f"{field.alias} must not be blank")
    if any(unicodedata.category(character) in {"Cc", "Zl", "Zp"} for character in value):
        raise InvalidInputError(f"{field.alias} must not hold control characters or line ends")
    if any(unicodedata.category(character) == "Cs" for character in value):  # a lone surrogate
        raise InvalidInputError(f"{field.alias} cannot be encoded as UTF-8")


def _check_username(_: object, field: attrs.Attribute[str], value: str) -> None:
    _check_credential(_, field, value)
    if ":" in value:
        raise InvalidInputError(
            f"{field.alias} must not hold a colon: it ends the name on the wire"
        )


@attrs.frozen(eq=False, init=False)
class BasicAuth:
    """
    Basic authentication, as the service wants it: the till's name and the MD5 of its password.

    Source: the API overview, whose worked example prints the digest of another password.

    Raises:
        InvalidInputError: A blank credential, one with a line end or a control character, or a
            colon in the name.
    """

    username: str = attrs.field(validator=_check_username)
    _password: str = attrs.field(validator=_check_credential, repr=False)
    _headers: Mapping[str, str] = attrs.field(init=False, repr=False)

    def __init__(self, username: str, password: str) -> None:
        password = masked(password)
        self.__attrs_init__(username, password)

    def __attrs_post_init__(self) -> None:
        # The service defines the digest; it protects nothing, TLS does.
        digest = hashlib.md5(self._password.encode(), usedforsecurity=False).hexdigest()
        token = base64.b64encode(f"{self.username}:{digest}".encode()).decode()
        object.__setattr__(self, "_headers", {"Authorization": Secret(f"Basic {token}")})

    @property
    def account(self) -> str:
        """Who asks."""
        return f"basic {self.username}"

    def headers(self) -> Mapping[str, str]:
        """Give the constant header field."""
        return self._headers

    async def fetch(self, send: Send) -> Mapping[str, str]:  # noqa: ARG002 - the protocol's
        """Give the constant header field; there is nothing to ask for."""
        return self._headers

    def refused(self, headers: Mapping[str, str]) -> bool:  # noqa: ARG002 - the protocol's
        """Say no: the same credentials would be refused again."""
        return False


@attrs.frozen
class _Token:
    headers: Mapping[str, str] = attrs.field(repr=False)
    renew_at: float  # in the loop's time


_SHORTEST_TTL, _LONGEST_TTL = 60.0, 86_400.0
_TOKEN_TARGET = "/v3/oauth/token/generate"  # noqa: S105 - a path
# Documented for the two samples; used when the answer states no usable lifetime.
_DEFAULT_TTL = 300.0


@attrs.define(eq=False, init=False)
class OAuth:
    """
    OAuth with a client key: a token from the service, renewed before it ends.

    However many calls wait, one of them fetches; if that call is cancelled, the next one does.
    A failed fetch fails everyone who was waiting for it, so a sick token endpoint sees no herd.
    Every call of one event loop may share an instance.

    Source: the OAuth page. A token travels in ``X-CAP-API-OAUTH-TOKEN``; there is no refresh call.

    Raises:
        InvalidInputError: A blank credential, or one with a line end or a control character.
    """

    client_key: str = attrs.field(validator=_check_credential, on_setattr=attrs.setters.frozen)
    _client_secret: str = attrs.field(validator=_check_credential, repr=False)
    _token: _Token | None = attrs.field(init=False, default=None, repr=False)
    _lock: asyncio.Lock = attrs.field(init=False, factory=asyncio.Lock, repr=False)
    _failures: int = attrs.field(init=False, default=0, repr=False)
    _last_failure: BadgesError | None = attrs.field(init=False, default=None, repr=False)

    def __init__(self, client_key: str, client_secret: str) -> None:
        client_secret = masked(client_secret)
        self.__attrs_init__(client_key, client_secret)

    @property
    def account(self) -> str:
        """Who asks."""
        return f"oauth {self.client_key}"

    def headers(self) -> Mapping[str, str] | None:
        """Give the token's header field; None when there is no token or it ends soon."""
        token = self._token
        if token is None or asyncio.get_running_loop().time() >= token.renew_at:
            return None
        return token.headers

    async def fetch(self, send: Send) -> Mapping[str, str]:
        """
        Get a new token, or wait for the call that is getting one.

        Raises:
            AuthenticationError: The service refused the client key.
            BadgesError: The token endpoint gave no token.
        """
        failures = self._failures
        async with self._lock:
            headers = self.headers()
            if headers is not None:
                return headers
            if self._failures != failures and self._last_failure is not None:
                raise _copy_of(self._last_failure)
            self._token = await self._new_token(send)
            return self._token.headers

    def refused(self, headers: Mapping[str, str]) -> bool:
        """Drop the token that was refused; a new one is worth a try."""
        if self._token is not None and self._token.headers is headers:
            self._token = None
        return True

    async def _new_token(self, send: Send) -> _Token:
        try:
            reply = await send(self._token_request())
            return read_discreetly(reply, self._read_token, [Secret(self._client_secret)])
        except BadgesError as error:
            error.maybe_applied = False  # no operation was asked for yet
            self._failures += 1
            self._last_failure = error
            raise

    def _token_request(self) -> Request:
        body = json.dumps({"key": self.client_key, "secret": self._client_secret}).encode()
        return Request("token", "", "POST", _TOKEN_TARGET, SecretBytes(body))

    def _read_token(self, reply: Reply) -> _Token:
        token, ttl = _token_in(reply)
        if token is None:
            # The body is left out: whatever it holds may be a token, or the half of one.
            raise unreadable(attrs.evolve(reply, body=b""), "the answer holds no access token")
        early = min(30.0, ttl / 10)
        now = asyncio.get_running_loop().time()
        return _Token({"X-CAP-API-OAUTH-TOKEN": token}, now + ttl - early)


def _token_in(reply: Reply) -> tuple[Secret | None, float]:
    """
    Give the token of an answer, if there is one that fits a header field, and its seconds.

    Raises:
        APIError: The service refused.
    """
    data = refusal = None
    try:
        data = open_envelope(reply).data
    except APIError as error:
        refusal = _refusal(reply, error)
    except UnreadableReplyError:
        pass  # it holds the body
    if refusal is not None:
        raise refusal  # outside of the handler: the other error may quote the secret
    if not isinstance(data, dict):
        return None, 0.0
    token = data.get("accessToken")
    fits = isinstance(token, str) and _fits_a_header(token)
    return Secret(token) if fits else None, _read_ttl(data.get("ttlSeconds"))


def _fits_a_header(token: str) -> bool:
    return token.isascii() and token.isprintable() and bool(token.strip())


def _read_ttl(value: object) -> float:
    if isinstance(value, bool) or not isinstance(value, int | float):
        return _DEFAULT_TTL
    # A lifetime of nothing would make every call fetch; a token refused early is fetched anew.
    return min(max(float(min(value, _LONGEST_TTL)), _SHORTEST_TTL), _LONGEST_TTL)


def _refusal(reply: Reply, error: APIError) -> APIError:
    # "Failed to generate OAuth token" is all that the page says: with which status is not known,
    # so every refusal that is not a passing state is about the key.
    passing = error.status >= 500 or error.status in {408, 425, 429}  # noqa: PLR2004
    kind = type(error) if passing else AuthenticationError
    what = "the service gave no token" if passing else "the client key was refused"
    code = "" if error.code is None else f" (code {error.code})"
    # The messages are left out: one that quotes the request quotes the secret.
    codes = tuple(Notice(notice.code, "") for notice in error.errors)
    refusal = kind(
        f"{what}: HTTP {reply.status}{code}",
        status=reply.status,
        errors=codes,
        request_id=error.request_id,
    )
    if isinstance(refusal, RateLimitedError):
        refusal.retry_after = reply.retry_after
    return refusal


def _copy_of(error: BadgesError) -> BadgesError:
    # One exception object raised in many tasks would grow one traceback for all of them.
    twin: BadgesError = type(error)(*error.args)
    twin.__dict__.update(error.__dict__)
    return twin
