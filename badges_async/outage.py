"""
Telling a service that is down from rows that fail.

Here: when a bulk run stops sending because nobody is answered, how it tests the water, and when it
gives up. Not here: throttles, which are answers (`quota`), or what becomes of a row (`bulk`).

One failed attempt proves nothing about the service. A run of them with no answer to anyone in
between does: the run then closes, one claim at a time probes, and the first answer reopens it.
"""

from __future__ import annotations

import asyncio
import random

from badges_async.errors import BadgesError, OutageError

__all__ = ["Outage"]

_FEWEST_FAILURES = 5
_FIRST_REST = 0.5
_LONGEST_REST = 30.0


class Outage:
    """
    Whether the service is taken to be down.

    Args:
        patience: Seconds without an answer after which `rest` gives up.
        chance: Draws the jitter of the rests.

    Attributes:
        closed: The service is taken to be down; only whoever holds `turn` may send.
        turn: The right to probe; those who wait for it are served in their order.
    """

    def __init__(self, patience: float, chance: random.Random) -> None:
        self.closed = False
        self.turn = asyncio.Lock()
        self._patience = patience
        self._chance = chance
        self._failures = 0
        self._rests = 0
        self._silent_since: float | None = None
        self._last_answer = -float("inf")

    def answered(self, moment: float) -> None:
        """
        Hear that the service answered somebody, with yes or no: it is up.

        Args:
            moment: When it was asked, in the loop's time.
        """
        self._last_answer = max(self._last_answer, moment)
        if self._failures or self.closed:
            self._silent_since = None
            self._failures = self._rests = 0
            self.closed = False

    def reads(self) -> None:
        """
        Hear that the service answers other questions: it may be the rows that are at fault.

        The run stays closed, and the rests and the silence begin anew.
        """
        self._rests = 0
        self._silent_since = asyncio.get_running_loop().time()

    def failed(self, in_hand: int) -> None:
        """
        Hear that an attempt brought no answer.

        Args:
            in_hand: Rows that are being claimed now: so many can fail at once for one reason, and
                fewer failures prove nothing.
        """
        self._failures += 1
        if self._silent_since is None:
            self._silent_since = asyncio.get_running_loop().time()
        if self._failures >= max(_FEWEST_FAILURES, in_hand) or not self.patience_left():
            self.close()

    def patience_left(self) -> float:
        """Seconds until the silence has lasted too long."""
        if self._silent_since is None:
            return self._patience
        now = asyncio.get_running_loop().time()
        return max(0.0, self._silent_since + self._patience - now)

    def close(self) -> None:
        """Take the service to be down until it answers."""
        self.closed = True
        if self._silent_since is None:
            self._silent_since = asyncio.get_running_loop().time()

    def answered_since(self, moment: float) -> bool:
        """Whether anybody who asked at *moment*, in the loop's time, or later was answered."""
        return self._last_answer >= moment

    async def rest(self, last_error: BadgesError | None) -> None:
        """
        Wait before a probe: about 0.5, 1, 2 ... 30 seconds, and never past the patience.

        Raises:
            OutageError: The patience is at its end; its cause is *last_error*.
        """
        left = self.patience_left()
        if not left:
            why = "" if last_error is None else f"; the last failure: {last_error}"
            raise OutageError(
                f"the service answered nobody for {self._patience:g} s{why}"
            ) from last_error
        bound = min(_LONGEST_REST, _FIRST_REST * 2.0 ** min(self._rests, 10))  # days of it go on
        self._rests += 1
        await asyncio.sleep(min(left, self._chance.uniform(bound / 2, bound)))
