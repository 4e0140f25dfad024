"""
One row and its attempts, until it is settled or has to wait.

Here: what an attempt of a row means for the row, and for what is known of the service. Not here:
the attempt itself (`dispatch`), which row is next (`crew`), how a service is probed (`probing`).
"""

from __future__ import annotations

import asyncio
from collections.abc import Callable

from badges_async.claims import ClaimOutcome
from badges_async.dispatch import Dispatcher
from badges_async.errors import (
    APIError,
    BadgesError,
    ConnectError,
    DeadlineError,
    RateLimitedError,
)
from badges_async.outage import Outage
from badges_async.parking import Parking
from badges_async.report import Tally
from badges_async.retry import is_refused_for_good, is_transient, would_be_said_to_any
from badges_async.row import Row, concerns_everyone
from badges_async.width import Width

__all__ = ["Pursuit"]

# Seconds, the least and the most.
_AFTER_A_STRAY = 0.05, 0.15


class Pursuit:
    """
    Attempts rows, and tells everybody concerned how it went.

    Args:
        in_hand: Gives how many rows are being claimed now.
    """

    def __init__(
        self,
        dispatcher: Dispatcher,
        *,
        outage: Outage,
        parking: Parking,
        width: Width,
        tally: Tally,
        in_hand: Callable[[], int],
    ) -> None:
        self._dispatcher = dispatcher
        self._budget = dispatcher.budget
        self._outage = outage
        self._parking = parking
        self._width = width
        self._tally = tally
        self._in_hand = in_hand
        self.draining = False

    async def go_on(self, row: Row) -> ClaimOutcome | None:
        """
        Attempt *row* again, which has no outcome yet, until it has one.

        Returns:
            None when it was parked, or let go in a drain.
        """
        while not self.draining:
            if not self._outage.closed and row.is_spent(self._dispatcher.retry):
                if self._outage.answered_since(row.began):
                    return row.failed()
                # Nobody was answered meanwhile: it is not known whose fault it is.
                self._outage.close()
            if row.paused and row.retry_after is None:
                # A stray throttle leaves the gate open, and the same request would follow at once.
                await self._wait(wait := self._dispatcher.chance.uniform(*_AFTER_A_STRAY))
                row.deadline += wait  # a throttle costs a row no time
            if not self._outage.closed and not row.paused:
                if not self.pay(row):
                    self._parking.unpaid.append(row)
                    return None
                await self._back_off(row)
            if self._outage.closed:
                self._parking.unanswered.append(row)
                return None
            outcome = await self.attempt(row)
            if outcome is not None:
                return outcome
        return None

    def pay(self, row: Row) -> bool:
        """Take what the next attempt of *row* costs from the retry budget; False if it cannot."""
        assert row.last_error is not None  # noqa: S101 - only failed attempts lead here
        cost = self._budget.cost(row.last_error)
        if not self._budget.take(cost):
            return False
        row.cost = cost
        return True

    async def attempt(self, row: Row) -> ClaimOutcome | None:
        """
        Attempt *row* once; None when it has no outcome yet.

        Raises:
            BadgesError: It concerns every row, so the run stops.
        """
        sent = row.attempts
        try:
            result = await self._dispatcher.attempt(row, row.read)
        except BadgesError as error:
            if concerns_everyone(error):
                raise
            if not (row.over and row.last_error):  # "no time left" would hide why there is none
                row.last_error = error
            return self._judge(row, error)
        finally:
            if row.attempts > 1:
                self._tally.retries += row.attempts - max(sent, 1)
            if row.waits or row.waited:
                self._count_waits(row)
            if row.maybe_applied:
                self._tally.doubtful.add(id(row.asked))
            self._tally.served += row.served
            row.served = 0.0
        self._hear_answer(row)
        return row.held(result)

    def _count_waits(self, row: Row) -> None:
        row.waits_told()
        for cause, seconds in row.waited.items():
            self._tally.waited(cause, seconds)
        row.waited.clear()

    def _hear_answer(self, row: Row) -> None:
        self._outage.answered(row.sent_at)
        if self._width.is_cut:
            self._width.answered()
        if self._budget.tokens < self._budget.capacity:
            self._budget.succeeded(row.cost)
            row.cost = 0.0

    async def _back_off(self, row: Row) -> None:
        delay = row.next_delay(self._dispatcher.retry, self._dispatcher.chance)
        await self._wait(min(delay, self._outage.patience_left()))

    async def _wait(self, seconds: float) -> None:
        await asyncio.sleep(seconds)
        self._tally.waited("backoff", seconds)

    def _judge(self, row: Row, error: BadgesError) -> ClaimOutcome | None:
        """Decide what a failed attempt means for its row; None when that is not decided yet."""
        self._tally.throttled += isinstance(error, RateLimitedError)
        if row.paused:  # no attempt, so it costs the row no time either
            row.deadline += asyncio.get_running_loop().time() - row.sent_at
        if isinstance(error, RateLimitedError):
            self._outage.answered(row.sent_at)
        elif isinstance(error, APIError) and not would_be_said_to_any(error):
            self._hear_answer(row)
        if is_refused_for_good(error):
            return row.rejected(error)
        if not is_transient(error) and not would_be_said_to_any(error):
            return row.failed()
        if not (row.over or isinstance(error, RateLimitedError)):
            self._hear_failure(row, error)
        return None

    def _hear_failure(self, row: Row, error: BadgesError) -> None:
        # Neither a service that cannot be reached or asks for a pause, nor a probe is held against
        # the row.
        free = row.paused or self._outage.closed or isinstance(error, ConnectError)
        row.spent += not free
        if isinstance(error, DeadlineError):
            self._width.timed_out(row.sent_at)
        self._outage.failed(in_hand=self._in_hand())
