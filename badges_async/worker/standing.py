"""
How a stream stands: what waits, what is in hand, what was put aside.

Here: the values, and what a reply says of them. Not here: Redis (`redis_stream`).
"""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from typing import Any

import attrs

__all__ = ["Consumer", "Standing", "read_standing"]


@attrs.frozen
class Consumer:
    """
    A worker as the stream knows it.

    Attributes:
        name: What it calls itself.
        pending: Entries that it holds.
        idle_seconds: Since it asked for something last.
    """

    name: str
    pending: int
    idle_seconds: float


@attrs.frozen
class Standing:
    """
    How a stream stands at one moment.

    Attributes:
        waiting: Entries that nobody has been given yet.
        pending: Entries in the hands of consumers, retries that wait for their time included.
        oldest_seconds: Age of the oldest entry; None when there is none.
        consumers: In the order of their names.
        dead_letters: How many there are.
        outcomes: Entries in the stream of outcomes.
    """

    waiting: int = 0
    pending: int = 0
    oldest_seconds: float | None = None
    consumers: tuple[Consumer, ...] = ()
    dead_letters: int = 0
    outcomes: int = 0

    def as_values(self) -> dict[str, Any]:
        """Give what JSON can hold."""
        return attrs.asdict(self)


def read_standing(reply: Sequence[Any]) -> Standing:
    """Read what the script of `redis_stream` gives."""
    length, pending, letters, outcomes, oldest, now, consumers = reply
    return Standing(
        # Entries that were deleted while somebody held them are pending, and not in the stream.
        waiting=max(0, length - pending),
        pending=pending,
        oldest_seconds=_age(bytes(oldest), float(now)) if oldest else None,
        consumers=tuple(sorted(map(_consumer, consumers), key=lambda consumer: consumer.name)),
        dead_letters=letters,
        outcomes=outcomes,
    )


def _age(entry: bytes, now: float) -> float:
    """Give the age of an entry by its id, whose first part is milliseconds on Redis's clock."""
    return max(0.0, round(now - int(entry.partition(b"-")[0]) / 1000, 3))


def _consumer(reply: Sequence[Any]) -> Consumer:
    facts: Mapping[bytes, Any] = dict(zip(reply[::2], reply[1::2], strict=True))
    name = bytes(facts[b"name"]).decode(errors="backslashreplace")
    return Consumer(name, facts[b"pending"], facts[b"idle"] / 1000)
