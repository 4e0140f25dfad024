"""
The way of one request: record, quota, fault, state, delay, answer, in this order.

Here: that order. Not here: what each of the stations does, or the socket (`server`).
A request takes effect the moment it is read, or not at all; what is slow is the answer. So claims
land in the order of arrival, and a client that leaves early does not change what the service holds.
"""

from __future__ import annotations

import asyncio
import math
from random import Random

import attrs
from aiohttp import web

from badges_async.sandbox.answers import Answer, Problem, RawAnswer, refusal
from badges_async.sandbox.breakage import BROKEN, canned_answer, throttled
from badges_async.sandbox.control import CONTROL_PATHS, Control
from badges_async.sandbox.credentials import Credentials
from badges_async.sandbox.faults import Fault, FaultChooser, ScriptedTurn
from badges_async.sandbox.line import CLOSED, Line
from badges_async.sandbox.records import RecordedRequest, Records
from badges_async.sandbox.routes import Call, Routes, read_call, read_payload
from badges_async.sandbox.throttle import Window

__all__ = ["Service"]

_NO_ANSWER = Answer()
# What the service does is not documented; the envelope is that of its other errors.
_TOO_LARGE = refusal(413, [Problem(413, "The body is longer than a mebibyte")])


@attrs.define(eq=False)
class Service:
    """
    Answers requests, well or not.

    Attributes:
        gate: While it is closed no answer leaves.
        latency: Bounds of the seconds that every answer waits.
        retry_after: Whether a 429 of the quota says how long to wait.
        fault_retry_after: What the faults with Retry-After ask for.
        url: Where it is reached, for redirects.
    """

    routes: Routes
    records: Records
    credentials: Credentials
    control: Control
    chooser: FaultChooser
    window: Window | None
    latency: tuple[float, float]
    latency_random: Random
    retry_after: bool
    fault_retry_after: float
    fault_delay: float
    url: str = ""
    gate: asyncio.Event = attrs.field(factory=asyncio.Event)
    _late: set[asyncio.TimerHandle] = attrs.field(factory=set)
    _stale: set[asyncio.Transport] = attrs.field(factory=set)

    async def handle(self, request: web.BaseRequest) -> web.StreamResponse:
        """Serve one request of aiohttp's low-level server."""
        if request.raw_path.partition("?")[0] in CONTROL_PATHS:
            return await self.control.serve(request)
        call = read_call(request.method, request.raw_path)
        record = self.records.begin(call.operation, call.method, request.raw_path, call.badge_id)
        try:
            return await self._serve(request, call, record)
        finally:
            self.records.end(record)

    def forget(self) -> None:
        """Drop what is still to come: late commits, marks on connections."""
        for handle in self._late:
            handle.cancel()
        self._late.clear()
        self._stale.clear()

    async def _serve(
        self, request: web.BaseRequest, call: Call, record: RecordedRequest
    ) -> web.StreamResponse:
        line = Line(request, record.number)
        if line.transport in self._stale:
            record.fault = Fault.STALE_KEEP_ALIVE
            return line.close()
        if not await self._read(request, call, record):
            return self._send(line, record, _TOO_LARGE)
        wait = self.window.wait(record.arrived) if self.window else None
        if wait is not None:
            refused = throttled(math.ceil(wait) if self.retry_after else None)
            return self._send(line, record, refused)
        return await self._answer(line, call, record, self.chooser.choose(record))

    async def _read(self, request: web.BaseRequest, call: Call, record: RecordedRequest) -> bool:
        """Read the body; False when it is larger than aiohttp takes, a mebibyte."""
        try:
            body = await request.read()
        except web.HTTPRequestEntityTooLarge:
            self.records.wake()
            return False
        call.headers = request.headers
        call.payload = read_payload(body) if body else None
        record.owner_type, record.reference_id = call.text("ownerType"), call.text("referenceId")
        # Whoever is woken runs after this request has taken effect: nothing is awaited before.
        self.records.wake()
        return True

    async def _answer(
        self, line: Line, call: Call, record: RecordedRequest, item: ScriptedTurn
    ) -> web.StreamResponse:
        if item is Fault.EXPIRED_TOKEN and not self.credentials.revoke(call.headers):
            item = None
        if isinstance(item, Fault):
            return await self._go_wrong(item, line, call, record)
        answer = self.routes.answer(call) if item is None or item.commits else _NO_ANSWER
        await self._delay()
        if isinstance(item, RawAnswer):
            return line.send_raw(item)
        return self._send(line, record, item or answer)

    async def _go_wrong(
        self, fault: Fault, line: Line, call: Call, record: RecordedRequest
    ) -> web.StreamResponse:
        record.fault = fault
        answer = self.routes.answer(call) if fault.commits else _NO_ANSWER
        await self._delay()
        if fault in BROKEN:
            return await BROKEN[fault](line, answer)
        if fault is Fault.LATE_COMMIT:
            self._commit_later(call)
            return line.close()
        if fault is Fault.SLOW:
            await asyncio.sleep(self.fault_delay)
        elif fault is Fault.HALF_JSON:
            answer = attrs.evolve(answer, body=answer.body[: len(answer.body) // 2])
        elif fault is Fault.EXPIRED_TOKEN:
            answer = self.routes.answer(call)  # its token is gone by now
        elif fault is Fault.STALE_KEEP_ALIVE:
            self._mark_stale(line)
        elif fault is not Fault.IDLE_CLOSE:
            answer = (
                canned_answer(fault, record, retry_after=self.fault_retry_after, url=self.url)
                or answer
            )
        sent = self._send(line, record, answer)
        return line.close() if fault is Fault.IDLE_CLOSE else sent

    def _send(self, line: Line, record: RecordedRequest, answer: Answer) -> web.StreamResponse:
        if line.transport is None:
            return CLOSED
        record.status = answer.status
        return line.send(answer)

    async def _delay(self) -> None:
        if not self.gate.is_set():
            await self.gate.wait()
        low, high = self.latency
        if high > 0:
            await asyncio.sleep(low if low == high else self.latency_random.uniform(low, high))

    def _commit_later(self, call: Call) -> None:
        def commit() -> None:
            self._late.discard(handle)
            self.routes.answer(call)

        handle = asyncio.get_running_loop().call_later(self.fault_delay, commit)
        self._late.add(handle)

    def _mark_stale(self, line: Line) -> None:
        # Those that have gone meanwhile need their mark no longer.
        self._stale = {transport for transport in self._stale if not transport.is_closing()}
        if line.transport is not None:
            self._stale.add(line.transport)
