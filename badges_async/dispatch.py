"""
The one way from an operation to the network: permit, pause, quota, credentials, send, classify.

Here: one attempt with everything that must come before it, and the retry loop of a single call.
Not here: what many claims make of failed attempts (`bulk`), or what an operation means.

The order of an attempt is fixed: a connection permit, the gate, a place in the quota, the gate
once more, then the request. Each swap of two of these lets requests through that should wait.
"""

from __future__ import annotations

import asyncio
import functools
import logging
from collections.abc import Awaitable, Callable, Mapping, Sequence
from typing import TypeVar

from badges_async.auth import Auth, conceal
from badges_async.calls import AttemptEvent, Call, Observer, concluded, out_of_time
from badges_async.errors import (
    AuthenticationError,
    BadgesError,
    ConnectionLostError,
)
from badges_async.messages import Reply, Request
from badges_async.permits import Permits
from badges_async.ports import Ports, Transport
from badges_async.quota import Gate, Limiter, Quota
from badges_async.retry import RetryBudget, RetryPolicy, is_transient
from badges_async.timeouts import Timeout

__all__ = ["Dispatcher"]

_LOG = logging.getLogger("badges_async")
_ERRORS, _THROTTLED, _UNAVAILABLE = 400, 429, 503
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
        quota: Quota | None,
        max_connections: int,
        observers: Sequence[Observer],
        ports: Ports,
    ) -> None:
        self.transport = transport
        self.retry = retry
        self.chance = ports.random
        self.gate = Gate(ports.random)
        self.budget = RetryBudget()
        self._auth = auth
        self._limiter = Limiter(quota) if quota is not None else None
        self._permits = Permits(max_connections)
        self._observers = tuple(observers)

    def start(self, request: Request, timeout: Timeout, *, patient: bool = False) -> Call:
        """
        Begin a call; its time runs from now.

        Raises:
            ClientClosedError: The client is closed, or belongs to another loop or process.
        """
        if not patient:  # a bulk run has seen to it
            self.transport.ensure_usable()
        now = asyncio.get_running_loop().time()
        return Call(request, timeout, now + timeout.total, patient)

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
            await self._wait(call, "slot", self._permits.wait())
        fresh = renewed = False
        try:
            while True:
                headers = self._auth.headers() or await self._fetch_headers(call)
                if self._limiter is not None or self.gate.remaining():
                    await self._admit(call)
                    current = self._auth.headers()
                    if current is None:  # the wait outlived the token; fetching is a wait as well
                        current = await self._fetch_headers(call)
                        await self._admit(call)
                    headers = current
                try:
                    return await self._send(call, headers, read, fresh=fresh)
                except AuthenticationError:
                    if renewed or not self._auth.refused(headers):
                        raise
                    renewed = True
                except ConnectionLostError as lost:
                    if fresh or not lost.stale:
                        raise
                    fresh = True
        finally:
            self._permits.release()

    async def _fetch_headers(self, call: Call) -> Mapping[str, str]:
        send = functools.partial(self._send_for_auth, call)
        return await self._wait(call, "token", self._auth.fetch(send))

    async def _admit(self, call: Call) -> None:
        """Wait until the gate is open and the quota has a place."""
        while True:
            if pause := self.gate.remaining():
                self._check_pause(call, pause)
                await self._wait(call, "gate", self.gate.opened())
            if self._limiter is None:
                return
            await self._wait(call, "quota", self._limiter.acquire())
            if not self.gate.remaining():
                return

    def _check_pause(self, call: Call, pause: float) -> None:
        """Fail at once when a single call's time is over before the gate opens."""
        if call.patient or asyncio.get_running_loop().time() + pause <= call.deadline:
            return
        raise out_of_time(
            call,
            f"the service asked to wait {pause:.3g} s more, longer than the call may take",
            pause,
        ) from call.last_error

    async def _send(
        self, call: Call, headers: Mapping[str, str], read: Read[T], *, fresh: bool
    ) -> T:
        loop = asyncio.get_running_loop()
        began = loop.time()
        seconds = min(call.timeout.attempt, call.deadline - began)
        if seconds <= 0:
            raise out_of_time(call, "no time was left to send") from call.last_error
        call.attempts += 1
        call.sent_at = began
        call.retry_after, call.paused = None, False
        status = None
        call.on_wire = True
        try:
            reply = await self.transport.send(call.request, headers, seconds=seconds, fresh=fresh)
            status = reply.status
            if status >= _ERRORS:
                self._hear(call, reply)
            result = _read_discreetly(reply, read, headers)
        except BadgesError as error:
            call.maybe_applied |= error.maybe_applied
            self._observe(call, status, error, loop.time() - began)
            raise
        finally:
            call.on_wire = False
        self.gate.succeeded()
        if self._observers:
            self._observe(call, status, None, loop.time() - began)
        return result

    def _hear(self, call: Call, reply: Reply) -> None:
        """Note what the answer says about pace, and close the gate when it asks for that."""
        call.retry_after = reply.retry_after
        if reply.status == _THROTTLED:
            call.throttled += 1
        elif reply.status != _UNAVAILABLE:
            return
        if call.retry_after is not None:
            self.gate.pause(call.retry_after)
            call.paused = True
        elif call.patient and reply.status == _THROTTLED:
            # Many claims at once would each back off alone, and burn their attempts meanwhile.
            self.gate.back_off()
            call.paused = True

    async def _send_for_auth(self, call: Call, request: Request) -> Reply:
        """Send a token request: the same gate, quota and deadline, one attempt, no credentials."""
        errand = Call(request, call.timeout, call.deadline, call.patient)
        await self._admit(errand)
        return await self._send(errand, {}, lambda reply: reply, fresh=False)

    async def _wait(self, call: Call, cause: str, what: Awaitable[T]) -> T:
        """Wait for *what*, within a single call's deadline; a patient call's moves along."""
        loop = asyncio.get_running_loop()
        began = loop.time()
        try:
            async with asyncio.timeout_at(None if call.patient else call.deadline) as bound:
                return await what
        except TimeoutError:
            if not bound.expired():
                raise
            what_for = f"time ran out while waiting for the {cause}"
            raise out_of_time(call, what_for) from call.last_error
        finally:
            waited = loop.time() - began
            call.waits[cause] = call.waits.get(cause, 0.0) + waited
            if call.patient:
                call.deadline += waited

    async def _back_off(self, call: Call, drawn: float) -> None:
        """Sleep before the next attempt of a single call; fail at once if its time ends before."""
        seconds = call.spaced(drawn)
        if asyncio.get_running_loop().time() + seconds > call.deadline:
            what = f"the next attempt is due in {seconds:.3g} s, longer than the call may take"
            raise concluded(call, out_of_time(call, what, call.retry_after)) from call.last_error
        await asyncio.sleep(seconds)
        call.waits["backoff"] = call.waits.get("backoff", 0.0) + seconds

    def _goes_on(self, call: Call, error: BadgesError, counted: int, cost: float) -> bool:
        """Decide whether a single call tries again."""
        if call.over or not is_transient(error) or counted >= self.retry.max_attempts:
            return False
        return self.budget.take(cost)

    def _observe(
        self, call: Call, status: int | None, error: BadgesError | None, seconds: float
    ) -> None:
        event = AttemptEvent(
            operation=call.request.operation,
            badge_id=call.request.subject,
            attempt=call.attempts,
            status=status,
            error=error,
            seconds=seconds,
            waits=dict(call.waits),
        )
        call.waits.clear()
        for observer in self._observers:
            try:
                observer(event)
            except Exception:  # noqa: BLE001 - it is our users' code
                _LOG.exception("an observer raised; the call goes on")


def _read_discreetly(reply: Reply, read: Read[T], headers: Mapping[str, str]) -> T:
    """Read *reply*; when it means an error, make sure that the error quotes no credential."""
    try:
        return read(reply)
    except BadgesError:
        if not conceal(reply, headers):
            raise
    return read(reply)  # outside of the handler, so that the first error is nobody's context
