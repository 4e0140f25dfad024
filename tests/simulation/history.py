"""
What happened, in order, as the world saw it.

Here: the records, the trace that a failing seed prints, and its digest. Not here: what must hold of
them (`invariants`).
"""

from __future__ import annotations

import hashlib
import math

import attrs

from badges_async import BadgesError, BulkReport, ClaimOutcome

__all__ = ["Caller", "History", "Pause", "Run", "Sending"]


@attrs.define(eq=False)
class Sending:
    """
    One request, from the call of the transport to what came back.

    All moments are the world's seconds, and None where it never came to that.

    Attributes:
        operation, key: What it asks for; the key is the owner's reference of a claim.
        life: Of which process.
        called: When the transport was called; `left`: when its first byte left; `arrived`: when the
            service had it; `applied`: when it took effect; `ended`: when its caller had an answer
            or waited no longer.
        said: What the service decided, such as ``claimed``.
        heard: What the caller was told: a status, or the name of an error.
        denied: The caller was told that it cannot have taken effect.
    """

    number: int
    operation: str
    key: str
    life: int
    called: float
    left: float | None = None
    arrived: float | None = None
    applied: float | None = None
    ended: float | None = None
    said: str = ""
    heard: str = ""
    denied: bool = False


@attrs.define(eq=False)
class Pause:
    """
    A pause that the service asked for.

    Attributes:
        sending: What was answered so.
        learnt, until: When that was heard, and until when it is to be kept.
        commits_begun: Transactions that had begun by then.
    """

    sending: Sending
    learnt: float
    until: float
    commits_begun: int


@attrs.define(eq=False)
class Caller:
    """A single claim beside the run: its key and how it ended."""

    key: str
    life: int
    held: bool = False
    error: BadgesError | None = None
    ended: str = ""


@attrs.define(eq=False)
class Run:
    """
    One bulk run: what it told its consumer.

    Attributes:
        ended: ``whole``, ``drain``, ``leave``, ``cancel``, ``killed``, or the error's class.
        stopped: When it was told to drain, or was cancelled.
        in_flight: The keys on the wire then.
        closed: Moments at which the service was taken to be down.
    """

    life: int
    began: float
    told: list[ClaimOutcome] = attrs.field(factory=list)
    ended: str = ""
    report: BulkReport | None = None
    stopped: float | None = None
    in_flight: frozenset[str] = frozenset()
    unsettled: int = 0
    closed: list[float] = attrs.field(factory=list)


class History:
    """
    All of it.

    Attributes:
        first_claims: When the run of each process sent its first claim.
        violations: What must not have happened; each begins with the invariant's number.
        trace: One line for each event.
    """

    def __init__(self) -> None:
        self.sendings: list[Sending] = []
        self.pauses: list[Pause] = []
        self.runs: list[Run] = []
        self.callers: list[Caller] = []
        self.violations: list[str] = []
        self.trace: list[str] = []
        self.first_claims: dict[int, float] = {}
        self.kills = self.power_losses = 0
        self._digest = hashlib.blake2b(digest_size=8)

    def note(self, at: float, what: str) -> None:
        """Put down an event."""
        line = f"{at:12.6f} {what}"
        self.trace.append(line)
        self._digest.update(line.encode())

    def began(self, life: int) -> float:
        """Give when the run of a process sent its first claim."""
        return self.first_claims.get(life, math.inf)

    def violate(self, what: str) -> None:
        """Put down what must not have happened."""
        self.violations.append(what)

    @property
    def digest(self) -> str:
        """The same for the same history."""
        return self._digest.hexdigest()
