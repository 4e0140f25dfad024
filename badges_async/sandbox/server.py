"""
The life of a sandbox: its settings, its socket, its end.

Here: opening and closing, and what a test may look at and change. Not here: what happens to a
request (`service`).
"""

from __future__ import annotations

import logging
from collections.abc import Iterable, Mapping, Sequence
from collections.abc import Set as AbstractSet
from random import Random
from types import MappingProxyType, TracebackType
from typing import Any, Literal, Self

from aiohttp import web

from badges_async.errors import InvalidInputError
from badges_async.sandbox.control import Control
from badges_async.sandbox.credentials import Credentials
from badges_async.sandbox.faults import FaultChooser, FaultSource
from badges_async.sandbox.listener import HOST, Listener
from badges_async.sandbox.records import RecordedRequest, Records
from badges_async.sandbox.routes import Routes
from badges_async.sandbox.samples import SAMPLE_BADGES, make_badge_ids
from badges_async.sandbox.service import Service
from badges_async.sandbox.state import BadgeRecord, HeldClaim, State, Verdict
from badges_async.sandbox.throttle import QuotaSource, Window, read_quota

__all__ = ["Sandbox"]

_LOG = logging.getLogger("badges_async.sandbox")


class Sandbox:
    """
    The Badges service in your process: a real HTTP server on loopback, with faults on request.

    Open it with ``async with``, or with `start()` and `close()`. What it holds and has recorded can
    be read after it is closed.

    Args:
        port: 0 picks a free one.
        quota: ``"100/60s"``, ``(100, 60.0)`` or a `Quota`; beyond it a request gets 429. Token
            requests count, refused requests do not.
        retry_after: Whether the quota's 429 carries Retry-After.
        latency: Seconds that an answer waits after the request has taken effect; a pair is a range.
        faults: What goes wrong; see `FaultSource`.
        fault_delay: Seconds by which the faults ``slow`` and ``late-commit`` are late.
        fault_retry_after: Seconds that the faults with Retry-After ask for.
        seed: Decides all dice.
        already_claimed: Whether code 900 is a ``"warning"`` under 200 or an ``"error"`` under 409.
        badges: Badges beside the few samples: their ids, or how many (`make_badge_ids()` names
            them). All owner types may claim them.
        token_ttl: Seconds that an OAuth token lasts.
        keep_requests: Records to keep in `requests`; the oldest go first. None keeps all.

    Raises:
        InvalidInputError: An option has no meaning.
    """

    def __init__(
        self,
        *,
        port: int = 0,
        username: str = "till.demo",
        password: str = "s3cret-Pass",  # noqa: S107  (the documented credentials of a sandbox)
        client_key: str = "demo-key",
        client_secret: str = "demo-secret",  # noqa: S107
        quota: QuotaSource = None,
        retry_after: bool = True,
        latency: float | tuple[float, float] = 0.0,
        faults: FaultSource = None,
        fault_delay: float = 0.5,
        fault_retry_after: float = 1,
        seed: int = 0,
        already_claimed: Literal["warning", "error"] = "warning",
        badges: Iterable[str] | int = (),
        token_ttl: float = 300,
        keep_requests: int | None = 200_000,
    ) -> None:
        self.username = username
        self.password = password
        self.client_key = client_key
        self.client_secret = client_secret
        self._listener = Listener(port)
        self._seed = seed
        self._state = State()
        self._records = Records(keep_requests)
        self._credentials = Credentials(
            username=username,
            password=password,
            client_key=client_key,
            client_secret=client_secret,
            token_ttl=token_ttl,
            seed=seed,
        )
        self._service = Service(
            routes=Routes(self._state, self._credentials, already_claimed=already_claimed),
            records=self._records,
            credentials=self._credentials,
            control=Control(self._state, self._records, self._credentials),
            chooser=FaultChooser(faults, seed=seed),
            window=_make_window(quota),
            latency=_read_latency(latency),
            # Its own dice, so that a latency changes no fault.
            latency_random=Random(f"latency {seed}"),  # noqa: S311
            retry_after=retry_after,
            fault_retry_after=fault_retry_after,
            fault_delay=fault_delay,
        )
        self.release()
        if already_claimed not in {"warning", "error"}:
            raise InvalidInputError(f"already_claimed is warning or error: {already_claimed!r}")
        for document in SAMPLE_BADGES:
            self._state.add_document(document)
        self.add_badges(make_badge_ids(badges) if isinstance(badges, int) else badges)
        self._web: web.Server | None = None

    def __repr__(self) -> str:
        where = self._service.url or "not started"
        badges, claims = len(self._state.badges), len(self._state.claims)
        return f"<Sandbox {where}, {badges} badges, {claims} claims>"

    # What it holds and has seen

    @property
    def url(self) -> str:
        """Where it is reached, such as ``http://127.0.0.1:49152``; known once it has started."""
        if not self._service.url:
            raise RuntimeError("the sandbox has not been started; use it as `async with Sandbox()`")
        return self._service.url

    @property
    def badges(self) -> Mapping[str, BadgeRecord]:
        """All badges by id; live."""
        return MappingProxyType(self._state.badges)

    @property
    def claims(self) -> AbstractSet[HeldClaim]:
        """
        The claims that stand, as (badge id, owner type on the wire, reference id).

        Live and not to be changed; ``set(sandbox.claims)`` keeps a moment.
        """
        return self._state.claims

    @property
    def requests(self) -> Sequence[RecordedRequest]:
        """What arrived, oldest first, at most the last `keep_requests`; a copy each time."""
        return tuple(self._records.requests)

    @property
    def peak_in_flight(self) -> int:
        """The most requests that were being served at once."""
        return self._records.peak_in_flight

    @property
    def tokens_issued(self) -> int:
        """How often a token was fetched."""
        return self._credentials.tokens_issued

    def counters(self) -> dict[str, object]:
        """Give what ``GET /sandbox/state`` answers: totals of all that has happened."""
        return self._service.control.counters()

    async def wait_for_requests(self, total: int) -> None:
        """Wait until *total* requests have arrived, counted from the first ever."""
        await self._records.wait_for(total)

    # What a test may change

    def add_badges(self, badge_ids: Iterable[str]) -> None:
        """Put in a plain, live badge for each id that is not there; a million take seconds."""
        self._state.add_ids(badge_ids)

    def add_badge(self, document: Mapping[str, Any]) -> BadgeRecord:
        """
        Put in a badge as the API's JSON has it; only `id` is needed, the rest has defaults.

        Claims in it are held from then on. A badge of that id that was there goes, claims included.
        """
        return self._state.add_document(document)

    def add_claim(self, badge_id: str, owner_type: str, reference_id: str) -> None:
        """
        Hold a claim that somebody else made before, past all requests and records.

        Raises:
            InvalidInputError: The badge is unknown, switched off, or not for that owner type.
        """
        verdict = self._state.claim(badge_id, str(owner_type), reference_id)
        if verdict not in {Verdict.DONE, Verdict.ALREADY_CLAIMED}:
            raise InvalidInputError(f"the claim on {badge_id!r} is not possible: {verdict.name}")

    def set_faults(self, faults: FaultSource) -> None:
        """Replace the faults from the next request on; dice start anew from the seed."""
        self._service.chooser = FaultChooser(faults, seed=self._seed)

    def set_quota(self, quota: QuotaSource) -> None:
        """Replace the quota from the next request on; what came before does not count."""
        self._service.window = _make_window(quota)

    def set_latency(self, latency: float | tuple[float, float]) -> None:
        """Replace the latency from the next answer on."""
        self._service.latency = _read_latency(latency)

    def revoke_tokens(self) -> None:
        """End every token that was issued so far."""
        self._credentials.revoke_all()

    def hold(self) -> None:
        """Keep back every answer until `release()`; requests still arrive and take effect."""
        self._service.gate.clear()

    def release(self) -> None:
        """Let the answers go."""
        self._service.gate.set()

    # Its life

    async def start(self) -> None:
        """
        Begin to listen; `url` is known from here on.

        Raises:
            OSError: The port is taken.
        """
        if self._web is None:
            self._web = web.Server(
                self._service.handle, handler_cancellation=True, access_log=None, logger=_LOG
            )
        await self.start_listening()

    async def close(self) -> None:
        """End every connection and request at once; does nothing the second time."""
        await self.stop_listening()
        self._service.forget()
        self._listener.release()
        self._web = None

    async def start_listening(self) -> None:
        """Accept connections again, on the same port."""
        if self._web is None:
            raise RuntimeError("the sandbox has not been started, or is closed")
        await self._listener.open(self._web)
        self._service.url = f"http://{HOST}:{self._listener.port}"

    async def stop_listening(self) -> None:
        """
        Refuse connections and break those that are open, as a service that is down does.

        The port stays ours meanwhile. Requests that were being answered get no answer.
        """
        if self._web is not None:
            await self._listener.close(self._web)

    async def __aenter__(self) -> Self:
        await self.start()
        return self

    async def __aexit__(
        self,
        _type: type[BaseException] | None,
        _error: BaseException | None,
        _traceback: TracebackType | None,
    ) -> None:
        await self.close()


def _make_window(quota: QuotaSource) -> Window | None:
    read = read_quota(quota)
    return None if read is None else Window(*read)


def _read_latency(latency: float | tuple[float, float]) -> tuple[float, float]:
    low, high = latency if isinstance(latency, tuple) else (latency, latency)
    if not 0 <= low <= high:
        raise InvalidInputError(f"a latency is 0 or more seconds, or a range of them: {latency!r}")
    return float(low), float(high)
