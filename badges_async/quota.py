"""
How fast: the quota that we keep, and the gate that the service closes.

Here: a `Quota` as a value, the `Limiter` that keeps it, and the `Gate`. Not here: who waits for
them, and in which order (`dispatch`), or how a dead service is told from bad rows (`outage`).
"""

from __future__ import annotations

import asyncio
import random
import re
from collections import deque
from decimal import Decimal

import attrs

from badges_async.errors import InvalidInputError

__all__ = ["Gate", "Limiter", "Quota"]

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


# What the network may do to the distance of two requests on their way, as seen by the service.
_SPREAD = 0.3


class Limiter:
    """
    Keeps a quota by a log of its last permits.

    Each permit waits until the one that it follows by `limit` places is a whole window old. A
    bucket of the quota's size would let twice the quota through in one window; the log never
    does. Permits go out in the order in which they were asked for. Cancelling a wait costs none.
    """

    def __init__(self, quota: Quota) -> None:
        self.quota = quota
        # The service counts arrivals, and requests arrive closer together than they left.
        self._window = quota.per + min(_SPREAD, quota.per * 0.04)
        self._permits: deque[float] = deque(maxlen=quota.limit)
        self._turn = asyncio.Lock()

    async def acquire(self) -> None:
        """Wait for a permit."""
        loop = asyncio.get_running_loop()
        async with self._turn:
            if len(self._permits) == self.quota.limit:
                # Once more if the timer was early, and never in steps too small for the clock.
                while (wait := self._permits[0] + self._window - loop.time()) > 0:  # noqa: ASYNC110
                    await asyncio.sleep(max(wait, 1e-3))
            self._permits.append(loop.time())


# The longest pause that one answer can cause; after it a request tests the water.
_LONGEST_PAUSE = 900.0
_SHORTEST_PAUSE = 1.0


class Gate:
    """
    The one pause that all calls of a client keep: closed by a throttle, reopened by time.

    A pause only ever moves the reopening later. Jitter only adds to what the service asked for.
    """

    def __init__(self, chance: random.Random) -> None:
        self._chance = chance
        self._opens_at = 0.0
        self._unexplained = 0

    def remaining(self) -> float:
        """Seconds until it opens; 0.0 when it is open."""
        if not self._opens_at:
            return 0.0
        left = self._opens_at - asyncio.get_running_loop().time()
        if left > 0:
            return left
        self._opens_at = 0.0
        return 0.0

    def pause(self, seconds: float) -> None:
        """Close for *seconds*, as the service asked, at least 1 and at most 900."""
        asked = min(max(seconds, _SHORTEST_PAUSE), _LONGEST_PAUSE)
        self._close(asked + self._chance.uniform(0, min(1.0, asked / 10)))

    def back_off(self) -> None:
        """Close after a throttle that named no time: 1, 2, 4 ... 60 seconds, with jitter."""
        if self.remaining():
            return  # told by the same burst of requests
        bound = min(60.0, 2.0 ** min(self._unexplained, 6))  # a day of it must not overflow
        self._unexplained += 1
        self._close(bound + self._chance.uniform(0, bound / 2))

    def succeeded(self) -> None:
        """Hear that a request went through: the next unexplained throttle starts small again."""
        self._unexplained = 0

    async def opened(self) -> None:
        """Wait until it is open; a pause that is prolonged meanwhile is kept as well."""
        while (left := self.remaining()) > 0:  # noqa: ASYNC110 - time is what opens it
            await asyncio.sleep(max(left, 1e-3))

    def _close(self, seconds: float) -> None:
        self._opens_at = max(self._opens_at, asyncio.get_running_loop().time() + seconds)
