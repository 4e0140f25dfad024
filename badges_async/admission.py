"""
When a request may leave: the gate, the learned pace, the quota, and what a ledger must know first.

Here: their order, and who is told what of each request. Not here: how each of them decides (`gate`,
`pace`, `quota`), or what is sent (`dispatch`).

The order is fixed: the gate, the pace, a place in the quota, that place on disk, and the gate and
the place's age once more. Each swap of two of these lets requests through that should wait.
"""

from __future__ import annotations

import asyncio
import random
from collections import deque
from collections.abc import Awaitable
from typing import TypeVar

import attrs

from badges_async.calls import Call, out_of_time
from badges_async.errors import LedgerError
from badges_async.gate import Gate
from badges_async.ledger import Ledger
from badges_async.messages import Reply
from badges_async.pace import Pace
from badges_async.quota import Limiter, Slot

__all__ = ["Admission", "Permit", "wait_for"]

_THROTTLED, _UNAVAILABLE = 429, 503
# A place that was taken longer ago than this says nothing about now.
_OLDEST_SLOT = 1.0
# Less than this is the event loop's own unsteadiness, and not worth a transaction.
_LATE = 0.01
_RATE_CHANGED = 0.05
T = TypeVar("T")


@attrs.define(eq=False)
class Permit:
    """
    The right to send one request now.

    Attributes:
        slot: Its place in the quota, if there is one.
        noted: The moment that is on disk for it, in the loop's time.
        records: Which ledgers know of it, and by which number.
    """

    slot: Slot | None = None
    noted: float = 0.0
    records: list[tuple[Ledger, int]] = attrs.field(factory=list)


class Admission:
    """
    What all calls of a client wait for before a request.

    Attributes:
        gate: The pause that the service asked for.
        pace: What was learnt of its limit.
    """

    def __init__(self, limiter: Limiter | None, chance: random.Random) -> None:
        self.gate = Gate(chance)
        self.gate.on_close = self._note_pause
        quota = None if limiter is None else limiter.quota
        self.pace = Pace(self.gate, chance, quota)
        self._limiter = limiter
        if limiter is not None:
            limiter.on_pause = self._hear_pause
        self._ledgers: list[Ledger] = []
        # The sends of two windows: the next run may be given a larger quota.
        self._kept = 2 * quota.limit if quota is not None else 0
        # Which of the sends that a ledger remembers are our own, and counted already.
        # (Each may be there twice: as it was granted, and as it left.)
        self._recorded: deque[float] = deque(maxlen=self._kept)
        self._rate_noted: float | None = None

    async def attach(self, ledger: Ledger, connect: float) -> None:
        """
        Go on from what *ledger* knows, and tell it from now on.

        Args:
            connect: Seconds that a request may take to connect before it leaves.

        Raises:
            LedgerError: It cannot be read.
        """
        sends, opens_at, rate = await ledger.memory(connect)
        if self._limiter is not None:
            ours = set(self._recorded)
            self._limiter.prime(at for at in sends if at not in ours)
        if rate is not None:
            self.pace.restore(rate)
        if opens_at is not None:
            self.gate.restore(opens_at)
            if pause := self.gate.remaining():
                self.pace.restart(asyncio.get_running_loop().time() + pause)
        self._ledgers.append(ledger)

    def detach(self, ledger: Ledger) -> None:
        """Tell *ledger* no more."""
        if ledger in self._ledgers:
            self._ledgers.remove(ledger)

    def is_open(self) -> bool:
        """Whether nothing has to be waited for, so that no permit is needed."""
        if self._limiter is not None or not self.pace.free:
            return False
        # Nearly always there is nothing to look at; so this is all that a claim pays for it.
        if not (self.gate.opens_at or self._ledgers):
            return True
        return not (self.gate.remaining() or any(ledger.stalled for ledger in self._ledgers))

    async def admit(self, call: Call) -> Permit:
        """
        Wait until *call* may send one request.

        The permit is to be ended by `over`, however the request ends. Cancelled, none is taken.

        Raises:
            DeadlineError: A single call's time is over before.
        """
        loop, lag = asyncio.get_running_loop(), 0.0
        while True:
            if pause := self.gate.remaining():
                _check_pause(call, pause)
                await wait_for(call, "gate", self.gate.opened())
            if not self.pace.free:
                await wait_for(call, "pace", self.pace.turn(patient=call.patient))
            permit = await self._place(call)
            if self.gate.remaining():
                self._hand_back(permit)
                continue
            if not self._ledgers:
                return permit
            began = loop.time()
            permit.noted += lag
            if await self._is_recorded(call, permit):
                return permit
            # A disk that takes so long does so again, and the next place is noted for then.
            lag = loop.time() - began

    def leaves(self, permit: Permit) -> None:
        """Hear that the request's first byte leaves now."""
        if self._limiter is None or permit.slot is None:
            return
        self._limiter.sent(permit.slot)
        if permit.records and permit.slot.at - permit.noted > _LATE:
            self._recorded.append(permit.slot.at)
            for ledger, number in permit.records:
                ledger.restamp_soon(number, permit.slot.at, self._kept)

    def over(self, permit: Permit) -> None:
        """Hear that the request is over, or was never made."""
        if self._limiter is not None and permit.slot is not None:
            self._limiter.done(permit.slot)

    def hear(self, call: Call, reply: Reply) -> None:
        """Note what an answer of failure says about pace, and slow down when it asks for that."""
        call.retry_after = reply.retry_after
        if reply.status == _THROTTLED:
            self.pace.refused(call.sent_at, call.retry_after)
            # A row of many cannot know what the others are told: bare or not, it is no attempt.
            call.paused = call.retry_after is not None or call.patient
        elif reply.status == _UNAVAILABLE and call.retry_after is not None:
            self.pace.refused(call.sent_at, call.retry_after)
            call.paused = True

    def note_rate(self) -> None:
        """Let the ledgers know what is learnt, when that has changed."""
        rate = self.pace.rate
        known = self._rate_noted or 0.0
        if abs((rate or 0.0) - known) > _RATE_CHANGED * max(known, rate or 0.0):
            self._rate_noted = rate
            for ledger in self._ledgers:
                ledger.record_rate_soon(rate)

    async def _place(self, call: Call) -> Permit:
        if self._limiter is None:
            return Permit()
        slot = await wait_for(call, "quota", self._limiter.acquire(patient=call.patient))
        return Permit(slot, slot.at)

    def _hand_back(self, permit: Permit) -> None:
        if self._limiter is not None and permit.slot is not None:
            self._limiter.give_back(permit.slot)

    async def _is_recorded(self, call: Call, permit: Permit) -> bool:
        """Put *permit* on disk; False when meanwhile the gate closed or the place grew old."""
        try:
            await wait_for(call, "ledger", self._record(call, permit))
        except BaseException:
            self.over(permit)  # it may be on disk by now, so the place is spent
            raise
        now = asyncio.get_running_loop().time()
        too_old = permit.slot is not None and now - permit.noted > _OLDEST_SLOT
        if not too_old and not self.gate.remaining():
            return True
        self.over(permit)
        return False

    async def _record(self, call: Call, permit: Permit) -> None:
        for ledger in list(self._ledgers):
            try:
                if ledger.stalled:
                    await ledger.well()
                if self._limiter is not None and permit.slot is not None:
                    self._recorded.append(permit.noted)
                    number = await ledger.record_send(permit.noted, self._kept)
                    permit.records.append((ledger, number))
            except LedgerError:
                if call.patient:
                    raise
                # A single call beside a run whose ledger has failed: the run ends, not the call.

    def _hear_pause(self, seconds: float) -> None:
        """Keep a pause that others were asked for; they have told everybody, so it is not told."""
        self.gate.restore(asyncio.get_running_loop().time() + seconds)
        self.pace.restart(self.gate.opens_at)  # which has a bound

    def _note_pause(self, until: float) -> None:
        if self._limiter is not None:
            self._limiter.paused(until)
        for ledger in self._ledgers:
            if ledger.failure is None:
                ledger.record_pause_soon(until)


async def wait_for(call: Call, cause: str, what: Awaitable[T]) -> T:
    """
    Wait for *what*, within a single call's deadline; a patient call's moves along.

    Raises:
        DeadlineError: The call's time is over.
    """
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
        if waited := loop.time() - began:
            call.wait_noted(cause, waited)
            if call.patient:
                call.deadline += waited


def _check_pause(call: Call, pause: float) -> None:
    """Fail at once when a single call's time is over before the gate opens."""
    if call.patient or asyncio.get_running_loop().time() + pause <= call.deadline:
        return
    raise out_of_time(
        call,
        f"the service asked to wait {pause:.3g} s more, longer than the call may take",
        pause,
    ) from call.last_error
