"""
The one way from an operation to the network: connection, admission, credentials, send, classify.

Here: one attempt with everything that must come before it, and the retry loop of a single call.
Not here: when a request may leave (`admission`), what many claims make of failed attempts (`bulk`),
or what an operation means.
"""

from __future__ import annotations

import asyncio
import functools
import logging
from collections.abc import Callable, Mapping, Sequence
from typing import TypeVar

from badges_async.admission import Admission, Permit, wait_for
from badges_async.auth import Auth
from badges_async.calls import AttemptEvent, Call, Observer, concluded, out_of_time
from badges_async.echoes import DiscreetReader
from badges_async.errors import (
    AuthenticationError,
    BadgesError,
    ConnectionLostError,
)
from badges_async.messages import Reply, Request
from badges_async.permits import Permits
from badges_async.ports import Ports, Transport
from badges_async.quota import Limiter
from badges_async.retry import RetryBudget, RetryPolicy, is_transient
from badges_async.timeouts import Timeout

__all__ = ["Dispatcher"]

_LOG = logging.getLogger("badges_async")
_ERRORS, _THROTTLED = 400, 429
_UNBOUND = Permit()
T = TypeVar("T")
Read = Callable[[Reply], T]


class Dispatcher:
    """
    Sends what it is given, within the limits that all calls of a client share.

    It belongs to one event loop, as its transport does.
    """

    def __init__(
        self,
        transport: Transport,
        auth: Auth,
        *,
        retry: RetryPolicy,
        limiter: Limiter | None,
        max_connections: int,
        observers: Sequence[Observer],
        ports: Ports,
    ) -> None:
        self.transport = transport
        self.retry = retry
        self.chance = ports.random
        self.admission = Admission(limiter, ports.random)
        self.budget = RetryBudget()
        self._auth = auth
        self._reader = DiscreetReader()
        self._permits = Permits(max_connections)
        self._observers = tuple(observers)
        self._loop: asyncio.AbstractEventLoop

    def open(self) -> None:
        """
        Belong to the running loop.

        Raises:
            ClientClosedError: The client is closed, or belongs to another loop or process.
        """
        self.transport.ensure_usable()
        self._loop = asyncio.get_running_loop()

    def start(self, request: Request, timeout: Timeout, *, patient: bool = False) -> Call:
        """
        Begin a call; its time runs from now.

        Raises:
            As `open`.
        """
        if not patient:  # a bulk run has seen to it
            self.open()
        return Call(request, timeout, self._loop.time() + timeout.total, patient)

    async def run(self, call: Call, read: Read[T]) -> T:
        """
        Attempt until it succeeds, is refused, or attempts or time run out.

        Raises:
            BadgesError: The last attempt's error; a `DeadlineError` when time ran out first. Its
                `attempts` and `maybe_applied` are those of the whole call.
        """
        delays = None
        counted, cost = 0, 0.0
        while True:
            sent = call.attempts
            try:
                result = await self.attempt(call, read)
            except BadgesError as error:
                counted += not call.paused
                # One failed token fetch fails all who wait for it: none of them caused any load.
                cost = self.budget.cost(error) if call.attempts > sent else 0.0
                if not self._goes_on(call, error, counted, cost):
                    final = concluded(call, error)
                    raise final from final.__cause__
                call.last_error = error
            else:
                self.budget.succeeded(cost)
                return result
            if not call.paused:
                delays = delays or self.retry.delays(self.chance)
                await self._back_off(call, next(delays))

    async def attempt(self, call: Call, read: Read[T]) -> T:
        """
        Send once, when it is allowed to, and read the answer.

        A token that was refused is renewed and the request sent again, once; so is a request that
        met a stale connection. Cancelling gives back the permit and closes the connection.

        Raises:
            BadgesError: What came of it.
        """
        # Said by the attempt before; this one can fail before anything is sent.
        call.retry_after, call.paused = None, False
        if not self._permits.take():
            await wait_for(call, "slot", self._permits.wait())
        fresh = renewed = False
        try:
            while True:
                headers, permit = self._auth.headers(), _UNBOUND
                if headers is None or not self.admission.is_open():
                    headers, permit = await self._ready(call)
                try:
                    return await self._send(call, headers, read, permit, fresh=fresh)
                except AuthenticationError:
                    if renewed or not self._auth.refused(headers):
                        raise
                    renewed = True
                except ConnectionLostError as lost:
                    if fresh or not lost.stale:
                        raise
                    fresh = True
                finally:
                    if permit is not _UNBOUND:
                        self.admission.over(permit)
        finally:
            self._permits.release()

    async def _ready(self, call: Call) -> tuple[Mapping[str, str], Permit]:
        """Get credentials and the permission to send; both are good now."""
        headers = self._auth.headers()
        while True:
            if headers is None:
                headers = await self._fetch_headers(call)
            if self.admission.is_open():
                return headers, _UNBOUND
            permit = await self.admission.admit(call)
            headers = self._auth.headers()
            if headers is not None:
                return headers, permit
            self.admission.over(permit)  # the wait outlived the token; fetching is a wait as well

    async def _fetch_headers(self, call: Call) -> Mapping[str, str]:
        send = functools.partial(self._send_for_auth, call)
        return await wait_for(call, "token", self._auth.fetch(send))

    async def _send(
        self,
        call: Call,
        headers: Mapping[str, str],
        read: Read[T],
        permit: Permit,
        *,
        fresh: bool,
    ) -> T:
        loop = self._loop
        began = loop.time()
        seconds = call.deadline - began
        if seconds <= 0:
            raise out_of_time(call, "no time was left to send") from call.last_error
        if seconds > call.timeout.attempt:  # noqa: PLR1730 - a call would cost as much as all this
            seconds = call.timeout.attempt
        call.attempts += 1
        call.sent_at = began
        call.retry_after, call.paused = None, False
        status = None
        call.on_wire = True
        pace = self.admission.pace
        if not pace.calm:
            pace.sent()
        try:
            reply = await self.transport.send(
                call.request,
                headers,
                seconds=seconds,
                fresh=fresh,
                on_sent=None if permit.slot is None else self._leaves(permit),
            )
            status = reply.status
            if status >= _ERRORS:
                self.admission.hear(call, reply)
            if not call.paused and status != _THROTTLED:
                pace.accepted(began)
            result = self._reader.read(reply, read, headers)
        except BadgesError as error:
            call.maybe_applied |= error.maybe_applied
            self._observe(call, status, error, loop.time() - began)
            raise
        except asyncio.CancelledError:
            call.maybe_applied = True
            raise
        finally:
            call.on_wire = False
        taken = loop.time() - began
        if self._observers or call.waits:
            self._observe(call, status, None, taken)
        else:
            call.served += taken
        return result

    def _leaves(self, permit: Permit) -> Callable[[], None]:
        return functools.partial(self.admission.leaves, permit)

    async def _send_for_auth(self, call: Call, request: Request) -> Reply:
        """Send a token request: the same gate, quota and deadline, one attempt, no credentials."""
        errand = Call(request, call.timeout, call.deadline, call.patient)
        permit = _UNBOUND if self.admission.is_open() else await self.admission.admit(errand)
        try:
            return await self._send(errand, {}, lambda reply: reply, permit, fresh=False)
        finally:
            call.retry_after = errand.retry_after  # what was asked of one is asked of the other
            self.admission.over(permit)

    async def _back_off(self, call: Call, drawn: float) -> None:
        """Sleep before the next attempt of a single call; fail at once if its time ends before."""
        seconds = call.spaced(drawn)
        if asyncio.get_running_loop().time() + seconds > call.deadline:
            what = f"the next attempt is due in {seconds:.3g} s, longer than the call may take"
            raise concluded(call, out_of_time(call, what, call.retry_after)) from call.last_error
        await asyncio.sleep(seconds)
        call.wait_noted("backoff", seconds)

    def _goes_on(self, call: Call, error: BadgesError, counted: int, cost: float) -> bool:
        """Decide whether a single call tries again."""
        if call.over or not is_transient(error) or counted >= self.retry.max_attempts:
            return False
        return self.budget.take(cost)

    def _observe(
        self, call: Call, status: int | None, error: BadgesError | None, seconds: float
    ) -> None:
        waits = call.waits_told() if call.waits else {}
        call.served += seconds
        if not self._observers:
            return
        event = AttemptEvent(
            operation=call.request.operation,
            badge_id=call.request.subject,
            attempt=call.attempts,
            status=status,
            error=error,
            seconds=seconds,
            waits=waits,
        )
        for observer in self._observers:
            try:
                observer(event)
            except Exception:  # noqa: BLE001 - it is our users' code
                _LOG.exception("an observer raised; the call goes on")
