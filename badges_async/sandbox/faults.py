"""
What goes wrong on purpose, and when.

Here: the names of the faults, and who is hit: by a script, by dice or by a function. Not here: how
a fault looks on the wire (`breakage`).

Faults hit the three badge operations. A token request is hit by a function only, so that a script
means the same with Basic credentials and with OAuth.
"""

from __future__ import annotations

from collections.abc import Callable, Iterable, Iterator, Mapping, Sequence
from enum import StrEnum
from itertools import accumulate
from random import Random
from typing import TYPE_CHECKING

from badges_async.errors import InvalidInputError
from badges_async.sandbox.answers import Answer, RawAnswer

if TYPE_CHECKING:
    from badges_async.sandbox.records import RecordedRequest

__all__ = ["Fault", "FaultChooser", "FaultSource", "ScriptItem", "ScriptedTurn", "parse_fault"]

_OPERATIONS = frozenset({"get", "claim", "unclaim"})


class Fault(StrEnum):
    """
    One way to go wrong; the value is its name on a command line.

    "Before" means that the request takes no effect, "after" that it does and its sender does not
    get to know. Where a name does not say it, its comment does.
    """

    SLOW = "slow"  # after, answered well, `fault_delay` late
    HANG_BEFORE = "hang-before"  # no answer until the client leaves
    HANG_AFTER = "hang-after"
    RESET_BEFORE = "reset-before"  # RST instead of an answer
    RESET_AFTER = "reset-after"
    CLOSE_BEFORE = "close-before"  # FIN instead of an answer
    CLOSE_AFTER = "close-after"
    LATE_COMMIT = "late-commit"  # FIN at once; takes effect `fault_delay` later
    STALE_KEEP_ALIVE = "stale-keep-alive"  # after, answered well; FIN on the line's next request
    IDLE_CLOSE = "idle-close"  # after, answered well with keep-alive, then FIN
    TRUNCATED = "truncated"  # after: half of the promised length, then FIN
    TRUNCATED_CHUNKS = "truncated-chunks"  # after: no last chunk
    RESET_IN_BODY = "reset-in-body"  # after: half of the promised length, then RST
    STALLED = "stalled"  # after: half of the promised length, then nothing
    MALFORMED = "malformed"  # after: not HTTP
    MALFORMED_CHUNK = "malformed-chunk"  # after: a chunk without a size
    LONG_HEADER = "long-header"  # after: a header line of 20,000 characters
    ERROR_500_BEFORE = "500-before"  # the service's catch-all error
    ERROR_500_AFTER = "500-after"
    HTML_502_BEFORE = "502-before"
    HTML_502_AFTER = "502-after"
    ERROR_503_BEFORE = "503-before"  # a gateway's own JSON, no Retry-After
    ERROR_503_AFTER = "503-after"
    EMPTY_504_BEFORE = "504-before"  # no body at all
    EMPTY_504_AFTER = "504-after"
    UNAVAILABLE = "unavailable"  # before: 503 with Retry-After
    THROTTLED = "throttled"  # before: 429 with Retry-After
    THROTTLED_BARE = "throttled-bare"  # before: 429 without
    EMPTY_200 = "empty-200"  # before
    HTML_200 = "html-200"  # before: a gateway's challenge page
    WRONG_SHAPE = "wrong-shape"  # before: 200 and JSON, but no envelope
    HALF_JSON = "half-json"  # after: 200 and the first half of the document, complete as HTTP
    OTHER_CLAIM = "other-claim"  # before: 200 for somebody else's claim
    REDIRECT = "redirect"  # before: 302
    UNAUTHORIZED = "401"  # before
    FORBIDDEN = "403"  # before
    EXPIRED_TOKEN = "expired-token"  # noqa: S105  # before: 401, token gone; Basic is let through

    @property
    def commits(self) -> bool:
        """Whether the request takes effect at once."""
        return self in _COMMITTING

    @classmethod
    def everyday(cls, rate: float = 0.15) -> dict[Fault, float]:
        """
        Give what a bad day looks like, as a mapping of probabilities with the sum *rate*.

        Losses before and after the commit, and short delays. Left out is what costs a client
        seconds each time (hangs, Retry-After) and what ends a run (401, 403).
        """
        return dict.fromkeys(_EVERYDAY, rate / len(_EVERYDAY))

    @classmethod
    def every(cls, rate: float) -> dict[Fault, float]:
        """Give every fault there is an equal share of *rate*; 401 and 403 among them."""
        return dict.fromkeys(cls, rate / len(cls))


_COMMITTING = frozenset(
    {
        Fault.SLOW,
        Fault.HANG_AFTER,
        Fault.RESET_AFTER,
        Fault.CLOSE_AFTER,
        Fault.STALE_KEEP_ALIVE,
        Fault.IDLE_CLOSE,
        Fault.TRUNCATED,
        Fault.TRUNCATED_CHUNKS,
        Fault.RESET_IN_BODY,
        Fault.STALLED,
        Fault.MALFORMED,
        Fault.MALFORMED_CHUNK,
        Fault.LONG_HEADER,
        Fault.ERROR_500_AFTER,
        Fault.HTML_502_AFTER,
        Fault.ERROR_503_AFTER,
        Fault.EMPTY_504_AFTER,
        Fault.HALF_JSON,
    }
)

_EVERYDAY = (
    Fault.SLOW,
    Fault.RESET_BEFORE,
    Fault.RESET_AFTER,
    Fault.CLOSE_AFTER,
    Fault.STALE_KEEP_ALIVE,
    Fault.TRUNCATED,
    Fault.ERROR_500_AFTER,
    Fault.HTML_502_BEFORE,
    Fault.HTML_502_AFTER,
    Fault.EMPTY_504_AFTER,
    Fault.HALF_JSON,
)

ScriptItem = Fault | Answer | RawAnswer | str | None
"""One turn of a script: a fault or its name, an answer sent as it is, None or ``ok`` for none."""

ScriptedTurn = Fault | Answer | RawAnswer | None
"""The same, its name looked up."""

FaultSource = (
    Iterable[ScriptItem]
    | Mapping[Fault, float]
    | Mapping[str, float]
    | float
    | Callable[["RecordedRequest"], ScriptItem]
    | None
)
"""
What a sandbox takes as its faults: a script, one item per request, and nothing after its end;
probabilities by fault; one probability for all faults together; or a function of the request.
"""


def parse_fault(spec: str) -> tuple[Fault, float]:
    """
    Read ``KIND=RATE``, such as ``reset-after=0.05``.

    Raises:
        InvalidInputError: No such kind, or no rate from 0 to 1.
    """
    name, separator, rate = spec.partition("=")
    if not separator:
        raise InvalidInputError(f"a fault is written KIND=RATE, such as reset-after=0.05: {spec!r}")
    return read_fault(name.strip()), _read_rate(rate, spec)


def read_fault(name: str) -> Fault:
    """
    Find a fault by its name.

    Raises:
        InvalidInputError: There is none.
    """
    try:
        return Fault(name)
    except ValueError:
        known = ", ".join(Fault)
        raise InvalidInputError(f"no fault is called {name!r}; there are {known}") from None


def _read_rate(rate: str | float, of: str) -> float:
    try:
        number = float(rate)
    except (TypeError, ValueError):
        number = -1.0
    if not 0.0 <= number <= 1.0:  # also refuses NaN
        raise InvalidInputError(f"a rate is a number from 0 to 1: {of!r}")
    return number


class FaultChooser:
    """
    Decides for each request what goes wrong; the same seed and order of requests, the same faults.

    Raises:
        InvalidInputError: An unknown fault, a rate that is none, or rates that exceed 1 together.
    """

    def __init__(self, source: FaultSource, *, seed: int) -> None:
        self._script: Iterator[ScriptItem] | None = None
        self._hook: Callable[[RecordedRequest], ScriptItem] | None = None
        self._faults: list[Fault] = []
        self._bounds: list[float] = []
        self._random = Random(seed)  # noqa: S311  (faults, repeatable on purpose)
        if isinstance(source, int | float):
            source = Fault.every(_read_rate(source, str(source)))
        if isinstance(source, Mapping):
            self._read_rates(source)
        elif callable(source):
            self._hook = source
        elif isinstance(source, str):
            raise InvalidInputError(f"a script is a list of faults, not a string: {source!r}")
        elif isinstance(source, Sequence):
            # Read before the first request, so that a misspelt name fails where it was written.
            self._script = iter([_read_item(item) for item in source])
        elif source is not None:
            self._script = iter(source)

    def _read_rates(self, rates: Mapping[Fault, float] | Mapping[str, float]) -> None:
        self._faults = [read_fault(name) for name in rates]
        self._bounds = list(accumulate(_read_rate(rate, name) for name, rate in rates.items()))
        if self._bounds and self._bounds[-1] > 1.0 + 1e-9:
            raise InvalidInputError(f"the rates of the faults exceed 1: {self._bounds[-1]:g}")

    def choose(self, record: RecordedRequest) -> ScriptedTurn:
        """Give what goes wrong with this request."""
        if self._hook is not None:
            return _read_item(self._hook(record))
        if record.operation not in _OPERATIONS:
            return None
        if self._script is not None:
            return _read_item(next(self._script, None))
        return self._roll() if self._faults else None

    def _roll(self) -> Fault | None:
        # One draw per request, so that what one request gets does not depend on what others got.
        drawn = self._random.random()
        if drawn >= self._bounds[-1]:
            return None
        return next(
            fault for fault, bound in zip(self._faults, self._bounds, strict=True) if drawn < bound
        )


def _read_item(item: ScriptItem) -> ScriptedTurn:
    if item is None or isinstance(item, Fault | Answer | RawAnswer):
        return item
    return None if item == "ok" else read_fault(item)
