"""
The clients of a worker: as whom it claims, and how fast.

Here: one client for each of an account's quotas, which the whole fleet keeps. Not here: what is
claimed (`running`), how a quota is kept (`badges_async.worker`).
"""

from __future__ import annotations

import contextlib
from collections.abc import AsyncIterator, Callable, Mapping, Sequence
from typing import TYPE_CHECKING

import attrs

from badges_async import AttemptEvent, BadgesClient, BasicAuth, OAuth, Quota
from badges_async.cli.fleet.options import account_name
from badges_async.cli.options import Lane, Service

if TYPE_CHECKING:
    from redis.asyncio import Redis

    from badges_async.worker import FleetQuota

__all__ = ["Account", "Clients"]

Clients = BadgesClient | Mapping[str | None, BadgesClient]

_CONNECTIONS = 100  # the client's own default


@attrs.frozen(kw_only=True)
class Account:
    """
    Who claims, and how.

    Attributes:
        quotas: By name; None is that of events which name none. Where there are none at all, the
            client learns the service's limit.
        guard: See `FleetQuota`.
        concurrency: Claims in flight at most, for each quota.
    """

    host: str
    auth: BasicAuth | OAuth = attrs.field(repr=False)
    quotas: Mapping[str | None, Sequence[Quota]] = attrs.field(factory=dict)
    guard: float
    concurrency: int
    lane: Lane = "auto"

    @classmethod
    def of(
        cls,
        service: Service,
        quotas: Mapping[str | None, Sequence[Quota]],
        *,
        guard: float,
        concurrency: int,
        lane: Lane,
    ) -> Account:
        """
        Make one of what was typed; may ask for a secret on a terminal.

        Raises:
            UsageError: Host or credentials are missing.
            InvalidInputError: One of them cannot be used.
        """
        account = cls(
            host=service.address(),
            auth=service.auth(),
            quotas=quotas,
            guard=guard,
            concurrency=concurrency,
            lane=lane,
        )
        account.check()
        return account

    def check(self) -> None:
        """
        See whether a client can be made of it, before anything is asked.

        Raises:
            InvalidInputError: It cannot.
        """
        self._client(())

    def quota_name(self, name: str | None) -> str:
        """Give the name under which the fleet keeps the quota *name* of this account."""
        account = account_name(self.host, self.auth.account)
        return account if name is None else f"{account}:{name}"

    @contextlib.asynccontextmanager
    async def clients(
        self, redis: Redis, observers: Sequence[Callable[[AttemptEvent], object]]
    ) -> AsyncIterator[Clients]:
        """
        Give what `ClaimWorker` takes; closed at the end.

        Raises:
            SourceError: Redis is not there, or it refuses us.
            InvalidInputError: A quota or its name cannot be used.
        """
        async with contextlib.AsyncExitStack() as stack:
            made: dict[str | None, BadgesClient] = {}
            # Beside named quotas none is without a bound: a forgotten name must not lead past them.
            for name in self.quotas or (None,):
                limiter = await self._limiter(name, redis, stack)
                client = self._client(observers, quota=limiter)
                made[name] = await stack.enter_async_context(client)
            yield made[None] if made.keys() == {None} else made

    async def _limiter(
        self, name: str | None, redis: Redis, stack: contextlib.AsyncExitStack
    ) -> FleetQuota | None:
        if name not in self.quotas:
            return None
        from badges_async.worker import FleetQuota  # noqa: PLC0415 - needs the extra

        quota = FleetQuota(redis, *self.quotas[name], name=self.quota_name(name), guard=self.guard)
        return await stack.enter_async_context(quota)

    def _client(
        self,
        observers: Sequence[Callable[[AttemptEvent], object]],
        quota: FleetQuota | None = None,
    ) -> BadgesClient:
        return BadgesClient(
            self.host,
            self.auth,
            quota=quota,
            lane=self.lane,
            max_connections=max(self.concurrency, _CONNECTIONS),
            observers=observers,
        )
