"""
The service's own limit on requests.

Here: counting arrivals in a sliding window. Not here: what a refused request is told (`server`).
"""

from __future__ import annotations

import re
from collections import deque
from typing import Protocol, runtime_checkable

from badges_async.errors import InvalidInputError

__all__ = ["QuotaLike", "QuotaSource", "Window", "read_quota"]

_TEXT = re.compile(r"\s*(\d+)\s*/\s*(\d+(?:\.\d+)?)?\s*(s|m|min|h)?\s*", re.ASCII)
_SECONDS = {None: 1.0, "s": 1.0, "m": 60.0, "min": 60.0, "h": 3600.0}


@runtime_checkable
class QuotaLike(Protocol):
    """At most `limit` requests in any window of `per` seconds."""

    @property
    def limit(self) -> int:
        """Requests."""

    @property
    def per(self) -> float:
        """Seconds."""


QuotaSource = QuotaLike | tuple[int, float] | str | None
"""How a quota is given: ``"100/60s"``, ``"100/m"``, ``(100, 60.0)``, or `limit` and `per`."""


def read_quota(source: QuotaSource) -> tuple[int, float] | None:
    """
    Give a quota as requests and seconds; None for no limit.

    Raises:
        InvalidInputError: It is not written so, or one of the two is not above 0.
    """
    if source is None:
        return None
    if isinstance(source, str):
        match = _TEXT.fullmatch(source)
        if match is None or not (match[2] or match[3]):
            raise InvalidInputError(f"a quota is written as 100/60s, not {source!r}")
        limit, per = int(match[1]), float(match[2] or 1) * _SECONDS[match[3]]
    elif isinstance(source, QuotaLike):
        limit, per = source.limit, source.per
    else:
        limit, per = source
    if limit < 1 or per <= 0:
        raise InvalidInputError(f"a quota needs a limit and seconds above 0: {limit}/{per:g}s")
    return limit, float(per)


class Window:
    """
    A log of the last admitted arrivals.

    A refused request does not count: who keeps knocking is not locked out for ever. Whether the
    real service counts so, or in fixed minutes, is not documented.
    """

    def __init__(self, limit: int, per: float) -> None:
        self._per = per
        self._admitted: deque[float] = deque(maxlen=limit)

    def wait(self, now: float) -> float | None:
        """Admit an arrival and give None, or give the seconds until the next one would be."""
        admitted = self._admitted
        if len(admitted) == admitted.maxlen and (left := admitted[0] + self._per - now) > 0:
            return left
        admitted.append(now)
        return None
