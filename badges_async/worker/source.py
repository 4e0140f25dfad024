"""
Where a worker's events come from, and what it says of them: the one seam between core and engine.

Here: the protocol, and the values on both sides of it. Not here: any engine (`memory`,
`redis_source`), or how a worker decides (`decisions`).
"""

from __future__ import annotations

from collections.abc import Sequence
from enum import Enum
from typing import Any, Protocol

import attrs

from badges_async import ClaimOutcome
from badges_async.worker.events import ClaimEvent, UnreadableEventError

__all__ = ["Delivery", "Settlement", "Source", "Verdict"]


@attrs.define(eq=False)
class Delivery:
    """
    One event in a worker's hands.

    Attributes:
        event: The claim to make, or why none can be made of the message.
        receipt: What the source knows it by; of the source's own kind.
        deliveries: How often it was handed out, this time included; uncounted returns are not.
    """

    event: ClaimEvent | UnreadableEventError
    receipt: Any = attrs.field(repr=False)
    deliveries: int = 1


class Verdict(Enum):
    """What a worker wants done with a delivery."""

    SETTLE = "settle"  # it is done: forget it
    RETRY = "retry"  # hand it out again after a delay
    BURY = "bury"  # put it among the dead letters
    RELEASE = "release"  # hand it out again at once, to anybody


@attrs.define(eq=False)
class Settlement:
    """
    What becomes of one delivery.

    Attributes:
        verdict: What is to be done with it.
        outcome: What became of the claim, if it was tried.
        reason: Of a dead letter, one word: ``rejected`` (the service said no for good),
            ``exhausted`` (tried in every delivery), ``invalid``, ``unreadable``,
            ``unknown_version``, ``unknown_quota``, ``abandoned`` (delivered too often without an
            outcome: most likely it ends its workers).
        error: Of a retry or a dead letter: what was wrong, in words.
        delay: Of a retry: seconds until it may be handed out again, at most the lease.
        counted: Of a release: whether this delivery counts, because the claim may have been sent.
    """

    delivery: Delivery
    verdict: Verdict
    outcome: ClaimOutcome | None = None
    reason: str = ""
    error: str = ""
    delay: float = 0.0
    counted: bool = False


class Source(Protocol):
    """
    An engine with at-least-once delivery.

    What it hands out is leased: it is handed to nobody else until the lease ends, is renewed, or
    the delivery is settled. An engine that goes away is waited for within each method; cancelling
    a method leaves each delivery either as it was or as was asked.

    Attributes:
        lease: Seconds.
    """

    @property
    def lease(self) -> float:
        """Seconds for which a delivery is this worker's own unless it is renewed."""
        ...

    async def open(self) -> None:
        """
        Get ready.

        Raises:
            SourceError: The engine cannot be used, or is not there.
        """
        ...

    async def fetch(self, most: int, wait: float) -> list[Delivery]:
        """
        Give at most *most* deliveries, leases that have ended first; none after *wait* seconds.

        Raises:
            SourceError: The engine cannot be used.
        """
        ...

    async def renew(self, deliveries: Sequence[Delivery]) -> Sequence[Delivery]:
        """Renew leases; give those deliveries that somebody else has by now."""
        ...

    async def settle(self, settlements: Sequence[Settlement]) -> None:
        """Do as is said, each once; what is no longer this worker's is only ever settled."""
        ...

    async def is_empty(self) -> bool:
        """Whether nothing waits and nobody holds anything."""
        ...

    async def close(self) -> None:
        """Leave; idempotent. What is still held stays leased."""
        ...
