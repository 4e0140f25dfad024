"""
The targets by name.

A module is imported only when it is asked for, so that a campaign can watch what comes with it.
"""

from __future__ import annotations

from collections.abc import Callable, Iterable, Sequence
from importlib import import_module
from typing import Self

import attrs

__all__ = ["NAMES", "Target"]

_MODULES = {
    "answers": "tests.fuzz.answers",
    "calls": "tests.fuzz.calls",
    "input": "tests.fuzz.inputs",
    "wire": "tests.fuzz.wire",
}
NAMES = tuple(_MODULES)


@attrs.frozen
class Target:
    """
    What a campaign runs.

    Attributes:
        run: Takes any bytes; an exception is a find.
        seeds: The bytes to begin with.
        words: What bytes of this kind often hold.
    """

    run: Callable[[bytes], None]
    seeds: Callable[[], Iterable[bytes]]
    words: Sequence[bytes]

    @classmethod
    def of(cls, name: str) -> Self:
        """Give the target of one of `NAMES`."""
        module = import_module(_MODULES[name])
        return cls(module.target, module.seeds, module.WORDS)
