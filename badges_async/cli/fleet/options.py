"""
Which Redis, which stream, whose quota: what the commands of a fleet have in common.

Here: options turned into values, and what is refused. A password of Redis is never the value of an
option, a URL that holds one included: those are visible to everybody on the machine.
"""

from __future__ import annotations

import asyncio
import contextlib
import hashlib
import os
import re
from collections.abc import AsyncIterator, Callable, Iterator, Mapping, Sequence
from pathlib import Path
from typing import TYPE_CHECKING, Annotated
from urllib.parse import urlsplit

import attrs
from cyclopts import Parameter

from badges_async import InvalidInputError, Quota
from badges_async.cli.exits import UsageError
from badges_async.cli.fleet.notices import said_by
from badges_async.cli.options import first_line
from badges_async.cli.output import complain
from badges_async.worker import SourceError

if TYPE_CHECKING:
    from redis.asyncio import Redis

    from badges_async.worker import RedisStream

__all__ = [
    "SOMEWHERE",
    "Place",
    "account_name",
    "check_no_password",
    "read_age",
    "read_quotas",
    "with_extra",
]

_URL = "BADGES_REDIS_URL"
_PASSWORD = "BADGES_REDIS_PASSWORD"  # noqa: S105 - the name of a variable
# Of a URL: before the @, or as a query; redis-py takes both. In doubt it is one.
_HOLDS_PASSWORD = re.compile(
    r"\s*(rediss?|unix)://([^@]*:[^@]+@|.*[?&]password=.)", re.IGNORECASE | re.DOTALL
)
_AGE = re.compile(r"([0-9]{1,9})(s|m|h|d)", re.ASCII)
_UNIT_SECONDS = {"s": 1, "m": 60, "h": 3600, "d": 86_400}
_DIGITS = 16
_REACH_WITHIN = 10.0  # seconds that it may take to be there at all


@Parameter(name="*")
@attrs.frozen(kw_only=True)
class Place:
    """The options of every command that talks to Redis."""

    redis_url: str | None = None
    """Such as redis://host:6379/0; else BADGES_REDIS_URL, which alone may hold a password."""

    redis_password_file: Path | None = None
    """File whose first line is Redis's password; else BADGES_REDIS_PASSWORD."""

    stream: Annotated[str, Parameter(env_var="BADGES_STREAM")] = "badges:claims"
    """Name of the stream in Redis."""

    group: Annotated[str, Parameter(env_var="BADGES_GROUP")] = "claim-workers"
    """The consumer group that all workers of the stream share."""

    def url(self) -> str:
        """
        Give the URL.

        Raises:
            UsageError: None was given, or one with a password as an option.
        """
        if self.redis_url:
            check_no_password(self.redis_url)
        url = self.redis_url or os.environ.get(_URL)
        if not url:
            raise UsageError(
                f"which Redis? set {_URL}, such as redis://host:6379/0, or give --redis-url"
            )
        return url

    def password(self) -> str | None:
        """
        Give the password, if there is one beside the URL.

        Raises:
            UsageError: Its file cannot be read.
        """
        if self.redis_password_file is not None:
            return first_line("redis-password", self.redis_password_file)
        return os.environ.get(_PASSWORD) or None

    @contextlib.asynccontextmanager
    async def redis(self) -> AsyncIterator[Redis]:
        """
        Give a client for the commands' time.

        Raises:
            UsageError: There is no URL, or the extra is not installed.
            InvalidInputError: The URL is none.
        """
        with with_extra():
            from badges_async.worker import connect  # noqa: PLC0415 - needs the extra
        redis = connect(self.url(), password=self.password())
        try:
            yield redis
        finally:
            await redis.aclose()

    @contextlib.asynccontextmanager
    async def open_stream(
        self, say: Callable[[str], object] = complain
    ) -> AsyncIterator[tuple[Redis, RedisStream]]:
        """
        Give a client as `redis` does, and the stream, once Redis has answered.

        Later Redis is waited for when it goes away; one that was never there is a mistyped URL.

        Args:
            say: Told what the library warns of.

        Raises:
            SourceError: Redis does not answer within ten seconds, or refuses us.
        """
        async with self.redis() as redis:
            from badges_async.worker import RedisStream  # noqa: PLC0415 - needs the extra

            stream = RedisStream(redis, stream=self.stream, group=self.group)
            with said_by(say):
                await self._reach(stream)
                yield redis, stream

    async def _reach(self, stream: RedisStream) -> None:
        try:
            async with asyncio.timeout(_REACH_WITHIN):
                await stream.standing()
        except TimeoutError:
            raise SourceError(f"Redis at {_address(self.url())} does not answer") from None


SOMEWHERE = Place()


def _address(url: str) -> str:
    """Give where Redis is, without credentials; `connect` has taken the URL."""
    parts = urlsplit(url)
    return f"{parts.hostname}:{parts.port or 6379}" if parts.hostname else parts.path


@contextlib.contextmanager
def with_extra() -> Iterator[None]:
    """Say in one line what is missing where the extra ``worker`` is not installed."""
    try:
        yield
    except ImportError as error:
        if error.name is None or error.name.startswith("badges_async"):
            raise
        raise UsageError(
            f"{error.name.partition('.')[0]} is not installed; "
            "the worker's commands need: pip install 'badges_async[worker]'"
        ) from None


def check_no_password(argument: str) -> None:
    """
    Refuse a URL of Redis that holds a password; it is never part of the message.

    Raises:
        UsageError: *argument* is one.
    """
    if _HOLDS_PASSWORD.match(argument):
        raise UsageError(
            "no password in a Redis URL that is typed: others on this machine could read it. "
            f"Set {_URL} instead, or {_PASSWORD}, or give --redis-password-file"
        )


def read_quotas(specs: Sequence[str]) -> Mapping[str | None, Sequence[Quota]]:
    """
    Read ``100/60s``, ``100/10s,20/1s`` and ``NAME=100/60s``; None is the default's name.

    Raises:
        UsageError: One name has two of them, or is none.
        InvalidInputError: One is no quota.
    """
    quotas: dict[str | None, Sequence[Quota]] = {}
    for spec in specs:
        before, equals, limits = spec.rpartition("=")
        name = before.strip() if equals else None
        if name is not None and (not name or "=" in name):
            raise UsageError("a named quota looks like brand-a=100/60s")
        if name in quotas:
            which = "--quota without a name" if name is None else f"the quota {name}"
            raise UsageError(f"{which} is given twice; one with several limits: 100/10s,20/1s")
        quotas[name] = tuple(Quota.parse(limit) for limit in limits.split(","))
    return quotas


def account_name(host: str, account: str) -> str:
    """
    Give the name under which all workers of one account share a quota.

    A hash, because it becomes a key in Redis: who asks is nobody's business there.
    """
    bare = host.strip().lower().removeprefix("https://").rstrip("/")
    return hashlib.sha256(f"{bare}\n{account}".encode()).hexdigest()[:_DIGITS]


def read_age(text: str) -> float:
    """
    Read ``90s``, ``30m``, ``12h``, ``7d``; give seconds.

    Raises:
        InvalidInputError: *text* is nothing of the kind.
    """
    match = _AGE.fullmatch(text.strip())
    if match is None:
        raise InvalidInputError(f"an age looks like 90s, 30m, 12h or 7d, not {text[:40]!r}")
    return float(match[1]) * _UNIT_SECONDS[match[2]]
