"""
Answers that quote the credentials of their request, and how nobody gets to see that.

Here: what is secret about header fields, and blanking it out of a `Reply`. Not here: where
credentials come from (`auth`), or what an answer means (`operations`).
"""

from __future__ import annotations

import base64
import contextlib
from collections.abc import Callable, Iterable, Iterator, Mapping
from typing import TypeVar

import attrs
from multidict import CIMultiDict

from badges_async.errors import BadgesError
from badges_async.messages import Reply

__all__ = ["DiscreetReader", "conceal", "secrets_in"]

# What is shorter, such as a word in a header field, may stand in any answer.
_SHORTEST = 8
T = TypeVar("T")


class DiscreetReader:
    """Reads answers so that nothing which is read of them quotes a credential."""

    def __init__(self) -> None:
        self._headers: Mapping[str, str] | None = None
        self._secrets: tuple[str, ...] = ()
        self._pairs: tuple[tuple[str, bytes], ...] = ()

    def read(self, reply: Reply, read: Callable[[Reply], T], headers: Mapping[str, str]) -> T:
        """
        Give what *read* makes of *reply*, which came to a request with *headers*.

        Raises:
            BadgesError: What *read* raises; it quotes none of *headers* either.
        """
        if headers is not self._headers:  # those of one client change seldom
            self._headers, self._secrets = headers, tuple(secrets_in(headers))
            self._pairs = tuple((secret, secret.encode()) for secret in self._secrets)
        try:
            result = read(reply)
        except BadgesError:
            if not conceal(reply, self._secrets):
                raise
        else:
            if not self._is_in(reply.body, getattr(result, "request_id", None)):
                return result
            blanked = attrs.evolve(reply)
            conceal(blanked, self._secrets)
            # Where that makes nonsense of it, it is our own words that are like a secret.
            with contextlib.suppress(BadgesError):
                return read(blanked)
            return result
        return read(reply)  # outside of the handler, so that the first error is nobody's context

    def _is_in(self, body: bytes, request_id: str | None) -> bool:
        """Whether a success quotes: of its header fields nothing but the request id is kept."""
        text = request_id or ""
        for secret, data in self._pairs:  # noqa: SIM110 - a generator for each claim costs more
            if data in body or secret in text:
                return True
        return False


def secrets_in(headers: Mapping[str, str]) -> Iterator[str]:
    """Give what is secret about *headers*."""
    for value in headers.values():
        scheme, _, secret = value.rpartition(" ")
        if len(secret) >= _SHORTEST:
            yield secret
        if scheme == "Basic":  # the service can read it, and so quote what it stands for
            with contextlib.suppress(ValueError):
                yield base64.b64decode(secret).decode().rpartition(":")[2]


def conceal(reply: Reply, secrets: Iterable[str]) -> bool:
    """Blank out what *reply* quotes of *secrets*; say whether it does."""
    secrets = tuple(secret for secret in secrets if len(secret) >= _SHORTEST)
    if not _quotes(reply, secrets):
        return False
    fields = CIMultiDict(reply.headers)
    for name, value in reply.headers.items():
        blanked = value
        for secret in secrets:
            blanked = blanked.replace(secret, "***")
        if blanked != value:
            fields[name] = blanked
    for secret in secrets:
        reply.body = reply.body.replace(secret.encode(), b"***")
    reply.headers = fields
    return True


def _quotes(reply: Reply, secrets: tuple[str, ...]) -> bool:
    body, values = reply.body, "\n".join(reply.headers.values())
    return any(secret.encode() in body or secret in values for secret in secrets)
