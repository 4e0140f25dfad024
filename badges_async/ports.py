"""
What the library takes from the world, as things handed in: chance, wall time, bytes.

Here: the shapes of the world's parts, and the real ones as defaults. Monotonic time is the running
event loop's own clock, so a loop with a virtual clock moves everything. A simulation replaces the
rest; nothing else in the package reads a clock or draws a number.
"""

from __future__ import annotations

import random
import time
from collections.abc import Callable, Mapping
from typing import Protocol

import attrs

from badges_async.messages import Reply, Request

__all__ = ["Ports", "Transport"]


class Transport(Protocol):
    """How a request becomes a reply; it knows nothing of badges, retries or quotas."""

    @property
    def lane(self) -> str:
        """The name of the way that bytes travel."""
        ...

    def ensure_usable(self) -> None:
        """
        Check that this loop and this process may use it, and open it if need be.

        Raises:
            ClientClosedError: They may not, or it is closed.
        """
        ...

    async def send(
        self, request: Request, headers: Mapping[str, str], *, seconds: float, fresh: bool = False
    ) -> Reply:
        """
        Send once and read the whole answer, within *seconds*.

        Cancelling closes the connection; whether the service acted is not known then.

        Args:
            headers: Credentials, added to what the request needs.
            fresh: Use a new connection, because an idle one was just found stale.

        Raises:
            TransportError: No usable answer came; its `maybe_applied` is exact where the phase is
                known and True where it is not.
        """
        ...

    async def close(self) -> None:
        """Close what it opened; idempotent."""
        ...


@attrs.frozen(kw_only=True)
class Ports:
    """
    The world's parts.

    Attributes:
        transport: Replaces the network when given.
        random: Draws every jitter.
        wall: Seconds since the epoch.
    """

    transport: Transport | None = None
    # Jitter needs spread, not secrecy.
    random: random.Random = attrs.field(factory=random.Random)
    wall: Callable[[], float] = time.time
