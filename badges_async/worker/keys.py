"""
How a stream's keys in Redis are named.

Here: names. Not here: what is under them (`redis_source`, `redis_stream`).
"""

from __future__ import annotations

from typing import Self

import attrs

from badges_async import InvalidInputError

__all__ = ["StreamKeys"]


@attrs.frozen
class StreamKeys:
    """
    The keys of one stream. All of them are in one slot of a cluster, because scripts touch several.

    Attributes:
        stream: The events that wait.
        dead_letters: A stream of those that were put aside.
        outcomes: A stream of what became of claims, if anybody wants to know.
        failures: A hash from an entry of the stream to what went wrong with it so far.
    """

    stream: str
    dead_letters: str
    outcomes: str
    failures: str

    @classmethod
    def of(cls, name: str) -> Self:
        """
        Give the keys of the stream *name*: ``{name}`` and what follows from it.

        A name that has braces already keeps them: they choose its slot.

        Raises:
            InvalidInputError: It is no name.
        """
        if not isinstance(name, str) or not name.strip():
            raise InvalidInputError("a stream needs a name")
        opening = name.find("{")
        is_tagged = opening >= 0 and name.find("}", opening) > opening + 1
        if not is_tagged and ("{" in name or "}" in name):
            raise InvalidInputError("braces in a stream's name enclose something: {this}")
        stream = name if is_tagged else f"{{{name}}}"
        return cls(stream, f"{stream}:dlq", f"{stream}:outcomes", f"{stream}:failures")
