"""
The client: the operations of the API, composed from what the rooms below provide.

Here: the public methods and how a client is put together. Not here: how any of it works.
"""

from __future__ import annotations

import os
import ssl as tls
from collections.abc import AsyncIterable, Callable, Iterable
from functools import partial
from types import TracebackType
from typing import Any, Self

import aiohttp

from badges_async import operations
from badges_async.auth import Auth, BasicAuth, OAuth
from badges_async.bulk import BulkRun
from badges_async.calls import Observer
from badges_async.claims import ClaimOutcome, ClaimRequest, ClaimResult
from badges_async.dispatch import Dispatcher
from badges_async.enums import OwnerType, SortOrder
from badges_async.errors import InvalidInputError
from badges_async.ledger import Ledger
from badges_async.models import Badge
from badges_async.ports import Ports
from badges_async.quota import Limiter, Quota, WindowLimiter
from badges_async.report import BulkReport
from badges_async.retry import RetryPolicy
from badges_async.session import SessionManager
from badges_async.timeouts import Timeout

__all__ = ["BadgesClient"]


class BadgesClient:
    """
    The asyncio client for the Badges API.

    Make one for each process and keep it: it holds the connections, the token, the quota and the
    pause that the service asked for. It can be made anywhere, opens with its first call or with
    ``async with``, and then belongs to that event loop. Any number of tasks may use it at once.

    Args:
        host: The cluster's host name (https is meant) or a base URL. Plain ``http`` is for this
            machine only.
        auth: `BasicAuth`, `OAuth`, or anything that fits the protocol `Auth`.
        timeout: Bounds of every call, in seconds; a number is its total.
        retry: How often to try, and how long to wait in between.
        quota: At most so many requests in any window, token requests included; None for no bound.
            A `Limiter` that others share keeps it together with them.
        max_connections: Requests on the wire at the same time, at least 1.
        lane: How bytes travel: ``session`` is a plain aiohttp session, ``wire`` aiohttp's
            connector and parser with a third of the overhead, and ``auto`` is the wire unless
            somebody watches or changes the session, as mocks, traces and a *session* do.
        session: An aiohttp session to use instead of one of our own; it is never closed by us.
        observers: Called with an `AttemptEvent` after every request; one that raises is logged
            and disturbs nothing.
        ssl: What verifies the service; None for the system's own store.
        ports: The world's parts, for simulations.

    Raises:
        InvalidInputError: One of these makes no sense.
    """

    def __init__(
        self,
        host: str,
        auth: Auth,
        *,
        timeout: Timeout | float = Timeout(),  # noqa: B008 - frozen
        retry: RetryPolicy = RetryPolicy(),  # noqa: B008 - frozen
        quota: Quota | Limiter | None = None,
        max_connections: int = 100,
        lane: str = "auto",
        session: aiohttp.ClientSession | None = None,
        observers: Iterable[Observer] = (),
        ssl: tls.SSLContext | aiohttp.Fingerprint | None = None,
        ports: Ports | None = None,
    ) -> None:
        ports = ports or Ports()
        timeout = Timeout().override(timeout)
        _check_parts(auth, retry, quota)
        manager = SessionManager(
            host,
            timeout=timeout,
            max_connections=max_connections,
            session=session,
            ssl=ssl,
            lane=lane,
            wall=ports.wall,
        )
        self._base_url = manager.base_url
        self._account = str(getattr(auth, "account", ""))
        self._timeout = timeout
        self._dispatcher = Dispatcher(
            ports.transport or manager,
            auth,
            retry=retry,
            limiter=WindowLimiter(quota) if isinstance(quota, Quota) else quota,
            max_connections=max_connections,
            observers=_read_observers(observers),
            ports=ports,
        )

    @classmethod
    def from_env(cls, **overrides: Any) -> Self:  # noqa: ANN401 - the constructor's arguments
        """
        Make a client from the environment; *overrides* are arguments of the constructor.

        ``BADGES_HOST``, and either ``BADGES_USERNAME`` and ``BADGES_PASSWORD`` or
        ``BADGES_CLIENT_KEY`` and ``BADGES_CLIENT_SECRET``.

        Raises:
            InvalidInputError: A variable is missing, and is named; or both pairs are there.
        """
        host = overrides.pop("host", None) or os.environ.get("BADGES_HOST")
        if not host:
            raise InvalidInputError("the environment variable BADGES_HOST is not set")
        auth = overrides.pop("auth", None) or _auth_from_env()
        return cls(host, auth, **overrides)

    def __repr__(self) -> str:
        if not hasattr(self, "_dispatcher"):  # as a traceback shows one whose making failed
            return f"<{type(self).__name__}, not made>"
        return f"{type(self).__name__}({self._base_url!r}, lane={self.lane!r})"

    @property
    def lane(self) -> str:
        """How bytes travel now: ``wire`` or ``session``."""
        return self._dispatcher.transport.lane

    async def __aenter__(self) -> Self:
        self._dispatcher.transport.ensure_usable()
        return self

    async def __aexit__(
        self,
        kind: type[BaseException] | None,
        error: BaseException | None,
        trace: TracebackType | None,
    ) -> None:
        await self.close()

    async def close(self) -> None:
        """Close the connections; idempotent. Calls on their way end with a `BadgesError`."""
        await self._dispatcher.transport.close()

    async def get_badge(
        self,
        badge_id: str,
        *,
        include_statistics: bool | None = None,
        limit: int | None = None,
        order: SortOrder | str | None = None,
        timeout: Timeout | float | None = None,  # noqa: ASYNC109 - a bound of ours, not of a scope
    ) -> Badge:
        """
        Read a badge.

        Args:
            include_statistics: True adds `issued_count` and `earned_count`.
            limit: Documented as the number of results, 10 by default; one badge has one.
            order: Documented as ``ASC`` or ``DESC``; one badge has none.
            timeout: Seconds for the whole call, or a set of bounds, instead of the client's.

        Raises:
            InvalidInputError: An argument makes no sense; nothing was sent.
            BadgeNotFoundError: There is no such badge.
            APIError: The service refused for another reason.
            TransportError: No usable answer came in time.
            UnreadableReplyError: What answered was not the API.
        """
        request = operations.get_request(
            badge_id, include_statistics=include_statistics, limit=limit, order=order
        )
        call = self._dispatcher.start(request, self._timeout.override(timeout))
        return await self._dispatcher.run(call, operations.read_badge)

    async def claim(
        self,
        badge_id: str,
        owner_type: OwnerType | str,
        reference_id: str,
        *,
        timeout: Timeout | float | None = None,  # noqa: ASYNC109 - a bound of ours, not of a scope
    ) -> ClaimResult:
        """
        Claim a badge for an owner.

        A claim that stood already is a result, not an error. Cancelling leaves open whether the
        service holds the claim; claiming again tells, and does no harm.

        Args:
            owner_type: An `OwnerType` or a string that names one, in any case.
            reference_id: What identifies the owner, sent byte for byte.
            timeout: Seconds for the whole call, or a set of bounds, instead of the client's.

        Raises:
            InvalidInputError: An argument makes no sense; nothing was sent.
            InvalidRequestError: The service found the request wrong.
            APIError: The service refused for another reason.
            TransportError: No usable answer came in time.
            UnreadableReplyError: What answered was not the API, or was about another claim.
        """
        asked = ClaimRequest(badge_id, owner_type, reference_id)
        call = self._dispatcher.start(
            operations.claim_request(asked), self._timeout.override(timeout)
        )
        result = await self._dispatcher.run(call, partial(operations.read_claim, asked=asked))
        return operations.with_attempts(result, call.attempts)

    async def unclaim(
        self,
        badge_id: str,
        owner_type: OwnerType | str,
        reference_id: str,
        *,
        timeout: Timeout | float | None = None,  # noqa: ASYNC109 - a bound of ours, not of a scope
    ) -> ClaimResult:
        """
        End a claim that was made by mistake; the badge's other claims stay.

        Repeating it after a lost answer may end in `InvalidRequestError` with code 737, because
        the service documents that code for a claim it does not find and not when.

        Raises:
            As `claim`.
        """
        asked = ClaimRequest(badge_id, owner_type, reference_id)
        call = self._dispatcher.start(
            operations.unclaim_request(asked), self._timeout.override(timeout)
        )
        result = await self._dispatcher.run(call, partial(operations.read_unclaim, asked=asked))
        return operations.with_attempts(result, call.attempts)

    def claim_many(
        self,
        requests: Iterable[ClaimRequest] | AsyncIterable[ClaimRequest],
        *,
        concurrency: int = 16,
        ledger: Ledger | None = None,
        outage_patience: float = 600.0,
    ) -> BulkRun:
        """
        Claim very many badges; outcomes come as they complete.

        ```python
        async with client.claim_many(requests) as outcomes:
            async for outcome in outcomes:
                ...
        ```

        Leaving the block early stops the run: what is on the wire is cancelled, and nothing is
        left behind.

        Args:
            requests: Pulled lazily, a few ahead of what is settled; each gets one outcome. An async
                iterable with a method ``take_ready``, which gives the next one if it is at hand
                and else None, is not waited for as long as it gives some.
            concurrency: Claims in flight at the most, at least 1.
            ledger: Records every claim before it is sent and every outcome before it is yielded,
                so that a killed run resumes; claims that it knows to be settled are skipped. It
                must be open.
            outage_patience: Seconds to wait for a service that answers nobody.

        Raises:
            InvalidInputError: An argument makes no sense.
        """
        return BulkRun(
            self._dispatcher,
            self._timeout,
            requests,
            concurrency=concurrency,
            ledger=ledger,
            outage_patience=outage_patience,
            host=self._base_url,
            account=self._account,
        )

    async def claim_all(
        self,
        requests: Iterable[ClaimRequest] | AsyncIterable[ClaimRequest],
        *,
        concurrency: int = 16,
        ledger: Ledger | None = None,
        on_outcome: Callable[[ClaimOutcome], object] | None = None,
        outage_patience: float = 600.0,
    ) -> BulkReport:
        """
        Claim very many badges and give the sums.

        Args:
            on_outcome: Called with each outcome, in completion order. If it raises, the run stops.

        Raises:
            AuthenticationError: The service does not know us; the rest is unsent.
            PermissionDeniedError: The service does not let us; the rest is unsent.
            OutageError: The service answered nobody for *outage_patience*; the rest is unsent.
            LedgerError: The ledger cannot be used or written; the rest is unsent.
            InvalidInputError: An argument makes no sense.
        """
        run = self.claim_many(
            requests, concurrency=concurrency, ledger=ledger, outage_patience=outage_patience
        )
        async with run as outcomes:
            async for outcome in outcomes:
                if on_outcome is not None:
                    on_outcome(outcome)
        return run.report


def _check_parts(auth: object, retry: object, quota: object) -> None:
    """Refuse at once what would fail later, and far from the mistake."""
    if not all(callable(getattr(auth, name, None)) for name in ("headers", "fetch", "refused")):
        raise InvalidInputError("auth must be BasicAuth, OAuth or fit the protocol Auth")
    if not isinstance(retry, RetryPolicy):
        raise InvalidInputError("retry must be a RetryPolicy")
    if quota is not None and not (isinstance(quota, Quota) or _fits_limiter(quota)):
        raise InvalidInputError(
            "quota must be a Quota, such as Quota.parse('100/60s'), a Limiter, or None"
        )


def _fits_limiter(quota: object) -> bool:
    names = ("acquire", "sent", "done", "give_back", "prime", "paused")
    return all(callable(getattr(quota, name, None)) for name in names)


def _read_observers(observers: Iterable[Observer]) -> tuple[Observer, ...]:
    kept = tuple(observers) if isinstance(observers, Iterable) else ()
    if not isinstance(observers, Iterable) or not all(map(callable, kept)):
        raise InvalidInputError("observers must be an iterable of callables")
    return kept


def _auth_from_env() -> Auth:
    # No name here ever stands for a secret, or for the environment: a traceback may show values.
    schemes: tuple[tuple[type[BasicAuth | OAuth], str, str], ...] = (
        (BasicAuth, "BADGES_USERNAME", "BADGES_PASSWORD"),
        (OAuth, "BADGES_CLIENT_KEY", "BADGES_CLIENT_SECRET"),
    )
    begun = [scheme for scheme in schemes if os.environ.get(scheme[1]) or os.environ.get(scheme[2])]
    if not begun:
        raise InvalidInputError(
            "no credentials: set BADGES_USERNAME and BADGES_PASSWORD, "
            "or BADGES_CLIENT_KEY and BADGES_CLIENT_SECRET"
        )
    if len(begun) > 1:
        raise InvalidInputError(
            "two kinds of credentials are set: keep BADGES_USERNAME and BADGES_PASSWORD, "
            "or BADGES_CLIENT_KEY and BADGES_CLIENT_SECRET"
        )
    scheme, name, secret = begun[0]
    for variable in (name, secret):
        if not os.environ.get(variable):
            raise InvalidInputError(f"the environment variable {variable} is not set")
    return scheme(os.environ[name], os.environ[secret])
