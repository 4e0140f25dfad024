"""
Times that survive a restart.

Here: a moment as it is written down, and as a later process reads it. The wall clock may be set
back or forward between the two; the loop's clock may not, but begins anew with every boot. So both
are written, and the better one that still means something is used.
"""

from __future__ import annotations

from collections.abc import Callable

import attrs

__all__ = ["Clock", "Moment"]


@attrs.frozen
class Moment:
    """
    One moment on both clocks.

    Attributes:
        wall: Seconds since the epoch.
        loop: In the loop's time.
        boot: What the loop's time counts from; empty when that is not known.
    """

    wall: float
    loop: float
    boot: str


@attrs.frozen
class Clock:
    """
    The clocks of this process.

    Args:
        wall: Seconds since the epoch.
        loop: The running loop's time.
        boot: See `Moment`.
    """

    wall: Callable[[], float]
    loop: Callable[[], float]
    boot: str

    def moment(self, loop_time: float | None = None) -> Moment:
        """Give now, or *loop_time*, to be written down."""
        now = self.loop()
        at = now if loop_time is None else loop_time
        return Moment(self.wall() - (now - at), at, self.boot)

    def read(self, moment: Moment) -> float:
        """
        Give *moment* in this loop's time; never later than now.

        After a boot only the wall clock is left. A moment that seems yet to come counts as now,
        because that clock was set back, or because the moment was noted ahead and its process
        killed before: a wait that follows from it is then too long, by at most its own length.
        """
        now = self.loop()
        if self.boot and moment.boot == self.boot:
            return min(moment.loop, now)
        return now - max(0.0, self.wall() - moment.wall)
