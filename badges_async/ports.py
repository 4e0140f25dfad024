"""
What the library takes from the world, as things handed in: chance, wall time, bytes.

Here: the shapes of the world's parts, and the real ones as defaults. Monotonic time is the running
event loop's own clock, so a loop with a virtual clock moves everything. A simulation replaces the
rest; nothing else in the package reads a clock or draws a number.
"""

from __future__ import annotations

import random
import time
from collections.abc import Callable, Coroutine, Mapping
from concurrent.futures import Executor, ThreadPoolExecutor
from pathlib import Path
from typing import Any, Protocol

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

    def send(
        self,
        request: Request,
        headers: Mapping[str, str],
        *,
        seconds: float,
        fresh: bool = False,
        on_sent: Callable[[], None] | None = None,
    ) -> Coroutine[Any, Any, Reply]:
        """
        Send once and read the whole answer, within *seconds*.

        Cancelling closes the connection; whether the service acted is not known then.

        Args:
            headers: Credentials, added to what the request needs.
            fresh: Use a new connection, because an idle one was just found stale.
            on_sent: Called when there is a connection and the first byte is about to leave.

        Raises:
            TransportError: No usable answer came; its `maybe_applied` is exact where the phase is
                known and True where it is not.
        """
        ...

    async def close(self) -> None:
        """Close what it opened; idempotent."""
        ...


def _boot_id() -> str:
    try:
        return Path("/proc/sys/kernel/random/boot_id").read_text(encoding="ascii").strip()
    except OSError:  # pragma: no cover - not Linux
        return ""  # whether the loop's time went on since is not known


def _one_thread() -> Executor:
    return ThreadPoolExecutor(1, thread_name_prefix="ledger")


@attrs.frozen(kw_only=True)
class Ports:
    """
    The world's parts.

    Attributes:
        transport: Replaces the network when given.
        random: Draws every jitter.
        wall: Seconds since the epoch.
        boot: Names what the loop's time counts from, the same for all processes until the machine
            starts anew; empty where that is not known.
        executor: Makes the one thread in which a ledger is written.
    """

    transport: Transport | None = None
    # Jitter needs spread, not secrecy.
    random: random.Random = attrs.field(factory=random.Random)
    wall: Callable[[], float] = time.time
    boot: Callable[[], str] = _boot_id
    executor: Callable[[], Executor] = _one_thread
