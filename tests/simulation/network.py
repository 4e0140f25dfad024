"""
The way between the client and the gateway, as the client's transport.

Here: how long it takes, what is lost on it, and what the client is told then: what the library's
own transports tell in that case (`tests/client` holds them to it). A request that has left arrives,
whatever becomes of the process that sent it.
"""

from __future__ import annotations

import asyncio
import json
from collections.abc import Callable, Mapping

from badges_async import BadgesError, ConnectError, ConnectionLostError, DeadlineError
from badges_async.messages import Reply, Request
from tests.simulation.history import Sending
from tests.simulation.plan import NETWORK_FAULTS
from tests.simulation.process import Process

__all__ = ["Network"]

_LOST = frozenset({"lost before", "lost after", "stale"})
_SILENT = frozenset({"hang before", "hang after", "late"})
_NOT_APPLIED = frozenset({"lost before", "hang before"})
_FOREVER = 1e6


class Network:
    """
    A transport; one for each process.

    Attributes:
        active: Requests that are on the wire.
    """

    lane = "simulated"

    def __init__(self, process: Process) -> None:
        self.active: list[Sending] = []
        self._process = process
        self._world = process.world
        self._chance = process.chance

    def ensure_usable(self) -> None:
        """Be usable."""

    async def close(self) -> None:
        """Have nothing to close."""

    async def send(
        self,
        request: Request,
        headers: Mapping[str, str],
        *,
        seconds: float,
        fresh: bool = False,
        on_sent: Callable[[], None] | None = None,
    ) -> Reply:
        """Send once, within *seconds*."""
        sending = self._world.begin_sending(self._process, request.operation, _key_of(request))
        if self._process.ended:
            await asyncio.get_running_loop().create_future()
        self.active.append(sending)
        self._process.look_at_run()
        self._process.begins_sending()
        try:
            async with asyncio.timeout(seconds):
                reply = await self._exchange(sending, request, headers, on_sent, fresh=fresh)
        except TimeoutError:
            sent = sending.left is not None
            error = DeadlineError(f"no whole answer within {seconds} s", maybe_applied=sent)
            self._heard(sending, type(error).__name__, denied=not sent)
            raise error from None
        except BadgesError as error:
            self._heard(sending, type(error).__name__, denied=not error.maybe_applied)
            raise
        finally:
            self.active.remove(sending)
            if not self._process.ended:
                sending.ended = self._world.now()
        self._heard(sending, str(reply.status), reply=reply)
        return reply

    async def _exchange(
        self,
        sending: Sending,
        request: Request,
        headers: Mapping[str, str],
        on_sent: Callable[[], None] | None,
        *,
        fresh: bool,
    ) -> Reply:
        fault = self._process.fault(NETWORK_FAULTS)
        if fault == "stale" and fresh:
            fault = None
        await asyncio.sleep(self._chance.choice((0.0, 0.0, 0.01, self._chance.uniform(0, 3))))
        if fault == "connect":
            await asyncio.sleep(self._chance.choice((0.0, 5.0)))
            raise ConnectError("could not connect")
        if on_sent is not None:
            on_sent()
        sending.left = self._world.now()
        self._process.happened(f"left {sending.number}")
        answer = self._depart(sending, request, dict(headers), fault)
        if fault in _LOST:
            await asyncio.sleep(self._chance.uniform(0, 0.3))
            raise ConnectionLostError("the connection was lost", stale=fault == "stale")
        if fault in _SILENT:
            await asyncio.sleep(_FOREVER)
        reply = await answer
        await asyncio.sleep(self._chance.uniform(0.005, 0.2) + 8.0 * (fault == "slow"))
        return reply

    def _depart(
        self, sending: Sending, request: Request, headers: dict[str, str], fault: str | None
    ) -> asyncio.Future[Reply]:
        """Put a request on its way, which nothing stops any more."""
        world, gateway = self._world, self._world.gateway
        answer: asyncio.Future[Reply] = asyncio.get_running_loop().create_future()
        lost = fault in _NOT_APPLIED or (fault == "stale" and self._chance.random() < 0.5)

        def arrive() -> None:
            sending.arrived = world.now()
            if lost:
                sending.said = "lost on the way"
                return
            reply = gateway.answer(sending, request, headers, fault)
            world.note(f"{sending.operation} {sending.number} {sending.key}: {sending.said}")
            if fault == "late" and gateway.would_claim(sending):
                world.later(
                    self._chance.uniform(5, 60), lambda: gateway.apply(sending, world.now())
                )
            if reply is not None and not answer.done() and not self._process.ended:
                answer.set_result(reply)

        world.later(self._chance.uniform(0, 0.9) * world.spread, arrive)
        return answer

    def _heard(
        self, sending: Sending, what: str, *, denied: bool = False, reply: Reply | None = None
    ) -> None:
        if self._process.ended:
            return
        sending.heard, sending.denied = what, denied
        self._world.note(f"{sending.operation} {sending.number} heard {what}")
        self._process.look_at_run()  # before anybody acts on what was heard
        if reply is not None and reply.status in {429, 503} and "Retry-After" in reply.headers:
            self._world.pause(sending, float(reply.headers["Retry-After"]))
        self._process.crash_point()


def _key_of(request: Request) -> str:
    if request.operation != "claim":
        return request.subject
    return str(json.loads(request.body or b"{}")["referenceId"])
