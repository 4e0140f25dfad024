"""Who runs where: the client and the service must not take each other's time."""

from __future__ import annotations

import os
import sys
from collections.abc import Iterator
from contextlib import contextmanager

__all__ = ["available", "pinned"]


def available() -> list[int]:
    """Give the cores that this process may use; none where the platform cannot tell."""
    if sys.platform != "linux":
        return []
    return sorted(os.sched_getaffinity(0))


@contextmanager
def pinned(core: int | None) -> Iterator[None]:
    """Run on *core* alone, where the platform can do that; None for wherever there is room."""
    if sys.platform != "linux" or core is None:
        yield
        return
    before = os.sched_getaffinity(0)
    os.sched_setaffinity(0, {core})
    try:
        yield
    finally:
        os.sched_setaffinity(0, before)
