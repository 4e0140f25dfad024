"""
The way to Redis: a connection pool that fits us, and waiting while Redis is away.

Here: what of Redis's errors means "later", "never" or "our fault". Not here: any command.

redis-py's own retries are off: they give up after seconds, and an outage of a minute would end
every worker. What is asked through a `Link` must be safe to ask twice, because an answer that was
lost is asked for again.
"""

from __future__ import annotations

import asyncio
import logging
from collections.abc import Awaitable, Callable
from typing import Any, TypeVar

from redis.asyncio import BlockingConnectionPool, Redis
from redis.asyncio.retry import Retry
from redis.backoff import NoBackoff
from redis.exceptions import (
    AuthenticationError,
    AuthorizationError,
    ClusterDownError,
    OutOfMemoryError,
    ReadOnlyError,
    RedisError,
    ResponseError,
    TryAgainError,
)
from redis.exceptions import ConnectionError as LostError
from redis.exceptions import TimeoutError as SilentError

from badges_async import InvalidInputError
from badges_async.worker.errors import SourceError

__all__ = ["Link", "connect"]

_LOG = logging.getLogger("badges_async")
T = TypeVar("T")

_CONNECTIONS = 8
# A read that blocks is answered within a second; silence for so long is a dead connection.
_CONNECT_SECONDS, _SILENT_SECONDS = 5.0, 10.0
_FIRST_WAIT, _LONGEST_WAIT = 0.05, 2.0
_REACH_WITHIN = 10.0  # seconds that it may take to be there at all
# Replies of a server that is starting, full, or not the master at the moment.
_LATER = ClusterDownError, OutOfMemoryError, ReadOnlyError, TryAgainError
_LATER_BY_CODE = "BUSY ", "MISCONF ", "NOREPLICAS "


def connect(url: str, *, password: str | None = None) -> Redis:
    """
    Make a client for `RedisSource`, `RedisStream` and `FleetQuota`; nothing is sent yet.

    One client may serve all of them. Whoever makes it closes it, with ``await redis.aclose()``.

    Args:
        url: ``redis://host:port/db``, ``rediss://`` for TLS, which verifies the server, or
            ``unix://path``.
        password: Instead of one in the URL.

    Raises:
        InvalidInputError: *url* is nothing of the kind.
    """
    options = {} if password is None else {"password": password}
    try:
        pool = BlockingConnectionPool.from_url(
            url,
            max_connections=_CONNECTIONS,
            timeout=None,
            retry=Retry(NoBackoff(), 0),
            socket_connect_timeout=_CONNECT_SECONDS,
            socket_timeout=_SILENT_SECONDS,
            **options,
        )
    except (ValueError, TypeError, AttributeError):
        # Not chained: the error of the library may quote the URL, and the password in it.
        raise InvalidInputError(
            "a Redis URL looks like redis://host:6379/0, rediss://host:6380/0 or unix:///path; "
            "a password in it must be percent-encoded, or given apart from it"
        ) from None
    return Redis.from_pool(pool)  # which closes it with itself


class Link:
    """
    Asks Redis, and waits while it is away.

    Args:
        redis: The client that is asked; never closed here.

    Attributes:
        send: Sends a command as it is; within `ask`.
        is_away: It was away when it was last asked.
    """

    def __init__(self, redis: Redis) -> None:
        self.redis = redis
        self.send: Callable[..., Awaitable[Any]] = redis.execute_command  # it has no types
        self.is_away = False

    @property
    def address(self) -> str:
        """Where Redis is, without credentials."""
        facts = self.redis.connection_pool.connection_kwargs
        return str(facts.get("path") or f"{facts.get('host')}:{facts.get('port')}")

    async def reach(self) -> None:
        """
        Check that Redis is there.

        Raises:
            SourceError: It is not, within ten seconds, or it refuses us.
        """
        try:
            async with asyncio.timeout(_REACH_WITHIN):
                await self.ask(lambda: self.send("PING"))
        except TimeoutError:
            raise SourceError(f"Redis at {self.address} does not answer") from None

    async def ask(self, command: Callable[[], Awaitable[T]]) -> T:
        """
        Give what *command* gives, as soon as Redis is there.

        Args:
            command: Made anew for each attempt.

        Raises:
            SourceError: Redis refuses us or the command.
        """
        wait, began = _FIRST_WAIT, asyncio.get_running_loop().time()
        while True:
            try:
                answer = await _heeding(command)
            except (RedisError, OSError) as error:
                if not _is_passing(error):
                    # Without the frames of redis-py's login, in which the password stands.
                    cause = error.with_traceback(None)
                    raise SourceError(f"Redis at {self.address}: {_words(error)}") from cause
                self._note_absence(error)
            else:
                self._note_presence(began)
                return answer
            await asyncio.sleep(wait)
            wait = min(2 * wait, _LONGEST_WAIT)

    async def make_group(self, stream: str, group: str) -> None:
        """
        Make a consumer group if it is missing, and its stream; it begins where the stream does.

        Raises:
            SourceError: Redis refuses us, or has something else under that key.
        """
        try:
            await self.ask(lambda: self.send("XGROUP CREATE", stream, group, "0", "MKSTREAM"))
        except SourceError as error:
            if "BUSYGROUP" not in str(error):
                raise

    def _note_absence(self, error: Exception) -> None:
        if not self.is_away:
            self.is_away = True
            _LOG.warning("Redis at %s is away (%s); waiting for it", self.address, error)

    def _note_presence(self, began: float) -> None:
        if self.is_away:
            self.is_away = False
            seconds = asyncio.get_running_loop().time() - began
            _LOG.warning("Redis at %s is back after %.1f s", self.address, seconds)


async def _heeding(command: Callable[[], Awaitable[T]]) -> T:
    """
    Give what *command* gives, and let no cancellation get lost on the way.

    redis-py sends by `asyncio.wait_for`, which on Python 3.11 keeps one to itself that comes in the
    moment when it is done.
    """
    await asyncio.sleep(0)  # one that came before is raised here
    task = asyncio.current_task()
    before = task.cancelling() if task is not None else 0
    answer = await command()
    if task is not None and task.cancelling() > before:
        raise asyncio.CancelledError
    return answer


def _words(error: Exception) -> str:
    text = str(error).partition(" script:")[0]  # which script it was tells nobody anything
    if "WRONGTYPE" in text:
        return f"a key that belongs to the stream holds something else ({text})"
    return text


def _is_passing(error: Exception) -> bool:
    """Whether the same command may well succeed later."""
    if isinstance(error, AuthenticationError | AuthorizationError):
        return False
    if isinstance(error, ResponseError):
        return isinstance(error, _LATER) or str(error).startswith(_LATER_BY_CODE)
    return isinstance(error, LostError | SilentError | OSError)
