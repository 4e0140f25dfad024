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
from badges_async.masked import Secret
from badges_async.messages import Reply

__all__ = ["DiscreetReader", "conceal", "read_discreetly", "secrets_in"]

# What is shorter, such as a word in a header field, may stand in any answer.
_SHORTEST = 8
T = TypeVar("T")


class DiscreetReader:
    """Reads answers so that nothing which is read of them quotes a credential."""

    def __init__(self) -> None:
        self._headers: Mapping[str, str] | None = None
        self._secrets: tuple[Secret, ...] = ()
        self._pairs: tuple[tuple[Secret, bytes], ...] = ()

    def read(self, reply: Reply, read: Callable[[Reply], T], headers: Mapping[str, str]) -> T:
        """
        Give what *read* makes of *reply*, which came to a request with *headers*.

        Raises:
            BadgesError: What *read* raises; it quotes none of *headers* either.
        """
        if headers is not self._headers:  # those of one client change seldom
            self._headers, self._secrets = headers, tuple(secrets_in(headers))
            self._pairs = tuple((secret, secret.encode()) for secret in self._secrets)
        result = read_discreetly(reply, read, self._secrets)
        if not self._is_in(reply.body, getattr(result, "request_id", None)):
            return result
        blanked = attrs.evolve(reply)
        conceal(blanked, self._secrets)
        # Where that makes nonsense of it, it is our own words that are like a secret.
        with contextlib.suppress(BadgesError):
            return read(blanked)
        return result

    def _is_in(self, body: bytes, request_id: str | None) -> bool:
        """Whether a success quotes: of its header fields nothing but the request id is kept."""
        text = request_id or ""
        for secret, data in self._pairs:  # noqa: SIM110 - a generator for each claim costs more
            if data in body or secret in text:
                return True
        return False


def read_discreetly(reply: Reply, read: Callable[[Reply], T], secrets: Iterable[Secret]) -> T:
    """
    Give what *read* makes of *reply*; where that is an error, it quotes none of *secrets*.

    Those of fewer than eight characters are left alone: they may stand in any answer.

    Raises:
        BadgesError: What *read* raises.
    """
    try:
        return read(reply)
    except BadgesError:
        if not conceal(reply, secrets):
            raise
    return read(reply)  # outside of the handler, so that the first error is nobody's context


def secrets_in(headers: Mapping[str, str]) -> Iterator[Secret]:
    """Give what is secret about *headers*, and long enough to be told from other text."""
    for value in headers.values():
        scheme, _, secret = value.rpartition(" ")
        found = [secret]
        if scheme == "Basic":  # the service can read it, and so quote what it stands for
            with contextlib.suppress(ValueError):
                found.append(base64.b64decode(secret).decode().rpartition(":")[2])
        yield from (Secret(one) for one in found if len(one) >= _SHORTEST)


def conceal(reply: Reply, secrets: Iterable[Secret]) -> bool:
    """Blank out what *reply* quotes of *secrets*; say whether it does."""
    body, fields = reply.body, list(reply.headers.items())
    for secret in secrets:
        if len(secret) >= _SHORTEST:
            body = body.replace(secret.encode(), b"***")
            fields = [(name, value.replace(secret, "***")) for name, value in fields]
    if body == reply.body and fields == list(reply.headers.items()):
        return False
    reply.body, reply.headers = body, CIMultiDict(fields)
    return True
