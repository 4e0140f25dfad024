"""
Testing the water while the service is taken to be down.

Here: who probes, with which row, and what else is asked to tell bad rows from a bad service. Not
here: when the service is taken to be down, and how long that is borne (`outage`).
"""

from __future__ import annotations

import asyncio
from collections.abc import Awaitable, Callable

from badges_async import operations
from badges_async.claims import ClaimOutcome
from badges_async.dispatch import Dispatcher
from badges_async.errors import APIError, BadgesError, ConnectError
from badges_async.outage import Outage
from badges_async.parking import Parking
from badges_async.pursuit import Pursuit
from badges_async.report import Tally
from badges_async.retry import would_be_said_to_any
from badges_async.row import Row
from badges_async.source import RowSource
from badges_async.timeouts import Timeout

__all__ = ["Probing"]

# After so many probes, about ten seconds, a source that gives no new row is not waited for.
_LONG_IN_VAIN = 5
Hold = Callable[[Row], None]
Pull = Callable[[], Awaitable[Row | None]]


class Probing:
    """
    One probe at a time, whoever's turn it is.

    Args:
        alone: Says whether no other worker is there to probe.

    Attributes:
        scouted: A row that was fetched to probe with.
    """

    def __init__(
        self,
        dispatcher: Dispatcher,
        timeout: Timeout,
        *,
        outage: Outage,
        parking: Parking,
        pursuit: Pursuit,
        source: RowSource,
        tally: Tally,
        alone: Callable[[], bool],
    ) -> None:
        self._dispatcher = dispatcher
        self._timeout = timeout
        self._outage = outage
        self._parking = parking
        self._pursuit = pursuit
        self._source = source
        self._tally = tally
        self._alone = alone
        self.scouted: Row | None = None
        self._scouting = False
        self._again = True
        self._in_vain = 0  # probes since one with a new row

    def take_scouted(self) -> Row | None:
        """Give the row that was fetched to probe with and not needed any more."""
        row, self.scouted = self.scouted, None
        return row.renewed() if row is not None else None

    async def probe(self, hold: Hold, pull: Pull) -> tuple[bool, ClaimOutcome | None]:
        """
        Wait for the turn to test the water, and test it with one attempt of one row.

        Args:
            hold: Told the row before it is attempted.
            pull: Takes the next row from the source.

        Returns:
            Whether there may be more to do, and the row's outcome if it has one.

        Raises:
            OutageError: The patience is at its end.
            BadgesError: It concerns every row.
        """
        began = asyncio.get_running_loop().time()
        await self._scout(pull)
        async with self._outage.turn:
            if not self._outage.closed:
                self._count_wait(began)
                return True, None
            waiting = self._parking.unanswered
            await self._outage.rest(waiting[-1].last_error if waiting else None)
            self._count_wait(began)
            return await self._test(hold, pull)

    async def _test(self, hold: Hold, pull: Pull) -> tuple[bool, ClaimOutcome | None]:
        # A row that nobody has tried tells bad rows from a bad service; a few are enough.
        # (In turns with those that wait: it may be that only second attempts succeed.)
        enough, fresh = not self._parking.has_room(), None
        self._again = not self._again and bool(self._parking.unanswered)
        if not self._again:
            fresh = self.take_scouted()
            if fresh is None and not self._source.may_wait and not enough:
                fresh = await pull()
        self._in_vain = 0 if fresh else self._in_vain + 1
        row = fresh or self._parking.take_any()
        if row is None:
            return False, None
        hold(row)
        outcome = await self._pursuit.attempt(row)
        if outcome is None and not self._pursuit.draining:
            no_more = self._source.exhausted or enough or self._in_vain >= _LONG_IN_VAIN
            if (fresh or no_more) and await self._service_reads(row):
                if no_more:
                    self._outage.answered(row.sent_at)
                else:
                    self._outage.reads()
            self._parking.unanswered.append(row)
        return True, outcome

    def _count_wait(self, began: float) -> None:
        self._tally.waited("outage", asyncio.get_running_loop().time() - began)

    async def _scout(self, pull: Pull) -> None:
        """
        Fetch a new row to probe with from a source that can take its time.

        Before the turn, and only where another worker can go on probing meanwhile: rows that are
        parked must not wait for rows that are yet to come.
        """
        if self._scouting or self.scouted is not None:
            return
        if (self._parking.unanswered or self._parking.unpaid) and self._alone():
            return
        if self._source.may_wait and self._parking.has_room():
            self._scouting = True
            try:
                self.scouted = await pull()
            finally:
                self._scouting = False

    async def _service_reads(self, row: Row) -> bool:
        """
        Ask for the row's badge, to tell whose fault it is that the row failed.

        An answer means that the service is up. Where no new row can be tried, because there is none
        or enough have been, those at hand are taken to be at fault then; else a next one is tried
        soon.
        """
        if isinstance(row.last_error, ConnectError):
            return False
        request = operations.get_request(row.asked.badge_id)
        call = self._dispatcher.start(request, self._timeout, patient=True)
        try:
            await self._dispatcher.attempt(call, operations.read_badge)
        except BadgesError as error:
            return isinstance(error, APIError) and not would_be_said_to_any(error)
        return True
