"""
How fast: the quota that we are told to keep.

Here: a `Quota` as a value, the protocol of what keeps one, and the `WindowLimiter`, which keeps it
for one process. Not here: whose turn it is (`turns`), a quota that many processes share (`worker`),
the pauses that the service asks for (`gate`), or the limit that it has and does not tell (`pace`).
"""

from __future__ import annotations

import asyncio
import re
from bisect import insort
from collections import deque
from collections.abc import Callable, Iterable
from decimal import Decimal
from typing import Protocol, TypeVar

import attrs

from badges_async.errors import InvalidInputError
from badges_async.turns import Line

__all__ = ["Limiter", "Quota", "Slot", "WindowLimiter"]

T = TypeVar("T")

_QUOTA = re.compile(
    r"\s*(?P<limit>[0-9]{1,9})\s*/\s*(?P<per>[0-9]{0,9}(?:\.[0-9]{1,30})?)\s*(?P<unit>s|m|min|h)?\s*",
    re.ASCII,
)
_UNIT_SECONDS = {None: 1.0, "s": 1.0, "m": 60.0, "min": 60.0, "h": 3600.0}


def _check_limit(_: object, __: attrs.Attribute[int], value: object) -> None:
    if isinstance(value, bool) or not isinstance(value, int) or value < 1:
        raise InvalidInputError("a quota's limit must be a whole number of at least 1")


def _check_per(_: object, __: attrs.Attribute[float], value: object) -> None:
    if isinstance(value, bool) or not isinstance(value, int | float) or not 0 < value < 1e9:  # noqa: PLR2004
        raise InvalidInputError("a quota's window must be a number of seconds above 0")


@attrs.frozen
class Quota:
    """
    At most `limit` requests in any window of `per` seconds, as the service counts them.

    Token requests count as well. The service's own default for test clusters is 100 a minute for
    each API key.
    """

    limit: int = attrs.field(validator=_check_limit)
    per: float = attrs.field(default=60.0, validator=_check_per)

    @classmethod
    def parse(cls, text: str) -> Quota:
        """
        Read ``100/60s``, ``100/60``, ``100/m``, ``5000/1h``.

        Raises:
            InvalidInputError: *text* is nothing of the kind.
        """
        match = _QUOTA.fullmatch(text) if isinstance(text, str) else None
        if match is None or not (match["per"] or match["unit"]):
            raise InvalidInputError(f"a quota looks like 100/60s, not {str(text)[:40]!r}")
        per = float(match["per"] or 1) * _UNIT_SECONDS[match["unit"]]
        return cls(int(match["limit"]), per)

    def __str__(self) -> str:
        # All digits, and none of them as an exponent: `parse` reads it back.
        return f"{self.limit}/{Decimal(repr(self.per)).normalize():f}s"


@attrs.define(eq=False)
class Slot:
    """
    A place in the quota's window.

    Attributes:
        at: The moment that it counts from, in the loop's time.
        on_its_way: It is granted, and not known yet when its request leaves.
    """

    at: float
    on_its_way: bool = True


class Limiter(Protocol):
    """
    Keeps a quota: gives places in its window, one for each request.

    A place is taken by `acquire`; then its request leaves (`sent`) and is over (`done`), or never
    leaves: it is `done` all the same, or `give_back` when there is no record of it anywhere.

    Attributes:
        on_pause: Told the seconds of a pause that others who keep the same quota were asked for;
            the client that keeps it sets this.
    """

    on_pause: Callable[[float], None] | None

    @property
    def quota(self) -> Quota:
        """The quota that is kept; of several the one that allows the fewest a second."""
        ...

    async def acquire(self, *, patient: bool = False) -> Slot:
        """Wait for a place; a patient caller lets others go ahead. Cancelling costs none."""
        ...

    def sent(self, slot: Slot) -> None:
        """Hear that the request of *slot* leaves now: it counts from this moment."""
        ...

    def done(self, slot: Slot) -> None:
        """Hear that the attempt is over; a request that never left counts from its grant."""
        ...

    def give_back(self, slot: Slot) -> None:
        """Take back a place that was never used, and of which there is no record."""
        ...

    def prime(self, moments: Iterable[float]) -> None:
        """Count places that an earlier process took, in this loop's time."""
        ...

    def paused(self, until: float) -> None:
        """Hear that nothing is sent until that moment, in the loop's time."""
        ...


# What the network may do to the distance of two requests on their way, as seen by the service.
_SPREAD = 0.3


class WindowLimiter:
    """
    Keeps a quota for one process, by a log of the places that were taken.

    No more than `limit` places are on their way or less than a window old. A bucket of the quota's
    size would let twice the quota through in one window; the log never does. The service counts
    a request when it arrives: a place whose request has not left yet (it may have to connect
    first) counts as taken just now.
    """

    on_pause: Callable[[float], None] | None = None

    def __init__(self, quota: Quota) -> None:
        self.quota = quota
        # The service counts arrivals, and requests arrive closer together than they left.
        self._window = quota.per + min(_SPREAD, quota.per * 0.04)
        self._on_their_way = 0
        self._counted: deque[float] = deque()  # sorted
        self._line = Line(self._due, self._take, self.give_back)

    async def acquire(self, *, patient: bool = False) -> Slot:
        """Wait for a place; a patient caller lets others go ahead. Cancelling costs none."""
        return await self._line.wait(patient=patient)

    def sent(self, slot: Slot) -> None:
        """Hear that the request of *slot* leaves now: it counts from this moment."""
        if slot.on_its_way:
            slot.at = asyncio.get_running_loop().time()
            self._count(slot)
            self._line.nudge()

    def done(self, slot: Slot) -> None:
        """Hear that the attempt is over; a request that never left counts from its grant."""
        if slot.on_its_way:
            self._count(slot)
            self._line.move()

    def give_back(self, slot: Slot) -> None:
        """Take back a place that was never used, and of which there is no record."""
        if slot.on_its_way:
            slot.on_its_way = False
            self._on_their_way -= 1
            self._line.move()

    def prime(self, moments: Iterable[float]) -> None:
        """Count places that an earlier process took, in this loop's time."""
        now = asyncio.get_running_loop().time()
        recent = [min(moment, now) for moment in moments if moment > now - self._window]
        self._counted = deque(sorted([*self._counted, *recent]))
        self._line.move()

    def paused(self, until: float) -> None:
        """See `Limiter`; there is nobody else to tell."""

    def _count(self, slot: Slot) -> None:
        slot.on_its_way = False
        self._on_their_way -= 1
        if self._counted and self._counted[-1] > slot.at:
            insort(self._counted, slot.at)
        else:
            self._counted.append(slot.at)

    def _due(self, now: float) -> float | None:
        counted = self._counted
        while counted and counted[0] + self._window <= now:
            counted.popleft()
        surplus = len(counted) + self._on_their_way - self.quota.limit
        if surplus < 0:
            return now
        # So many are on their way that none becomes free by time alone.
        return counted[surplus] + self._window if surplus < len(counted) else None

    def _take(self, now: float) -> Slot:
        self._on_their_way += 1
        return Slot(now)
