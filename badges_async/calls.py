"""
One operation on its way, and what is told about it.

Here: the state of a call, the event of an attempt, and the error that a call ends with. Not here:
what moves a call on (`dispatch`, `bulk`).
"""

from __future__ import annotations

from collections.abc import Callable, Mapping

import attrs

from badges_async.errors import BadgesError, ConnectError, ConnectionLostError, DeadlineError
from badges_async.messages import Request
from badges_async.timeouts import Timeout

__all__ = ["AttemptEvent", "Call", "Observer", "concluded", "out_of_time"]


@attrs.frozen(kw_only=True)
class AttemptEvent:
    """
    One request that was sent, as observers see it.

    Attributes:
        operation: ``get_badge``, ``claim``, ``unclaim`` or ``token``.
        badge_id: Which badge; empty for a token.
        attempt: 1 for the first request of a call.
        status: The HTTP status, or None when no answer came.
        error: What the attempt ended with, or None.
        seconds: On the wire, from the first byte to the last.
        waits: Seconds waited since the attempt before, by cause: ``slot`` (a free connection),
            ``token``, ``gate`` (a pause that the service asked for), ``pace`` (the limit that was
            learnt of it), ``quota``, ``ledger``, ``backoff``.
    """

    operation: str
    badge_id: str
    attempt: int
    status: int | None
    error: BadgesError | None
    seconds: float
    waits: Mapping[str, float]

    @property
    def waited(self) -> float:
        """All seconds waited since the attempt before."""
        return sum(self.waits.values())


Observer = Callable[[AttemptEvent], object]


@attrs.define(eq=False)
class Call:
    """
    One operation on its way: its bounds, and what its attempts have come to.

    Attributes:
        deadline: In the loop's time.
        patient: Waiting to be allowed to send moves the deadline (a claim of a bulk run).
        attempts: Requests sent.
        sent_at: When the last of them was sent, in the loop's time.
        maybe_applied: An attempt ended without a fully parsed answer.
        retry_after: Seconds that the last answer asked to wait, if it did.
        paused: The last answer closed the gate, so its attempt is not counted.
        over: There is no time left; what was raised is final.
        on_wire: A request is out and its answer is not read yet.
        waits: Seconds waited since the last attempt, by cause.
        waited: Seconds waited before that, likewise.
        served: Seconds on the wire, of all attempts.
    """

    request: Request
    timeout: Timeout
    deadline: float
    patient: bool = False
    attempts: int = 0
    sent_at: float = 0.0
    maybe_applied: bool = False
    retry_after: float | None = None
    paused: bool = False
    over: bool = False
    on_wire: bool = False
    last_error: BadgesError | None = None
    waits: dict[str, float] = attrs.field(factory=dict)
    waited: dict[str, float] = attrs.field(factory=dict)
    served: float = 0.0

    def wait_noted(self, cause: str, seconds: float) -> None:
        """Note a wait before the next attempt."""
        self.waits[cause] = self.waits.get(cause, 0.0) + seconds

    def waits_told(self) -> Mapping[str, float]:
        """Give the waits since the last attempt, and begin anew."""
        told, self.waits = self.waits, {}
        for cause, seconds in told.items():
            self.waited[cause] = self.waited.get(cause, 0.0) + seconds
        return told

    def spaced(self, drawn: float) -> float:
        """Give the seconds before the next attempt: what was drawn, on top of what was asked."""
        return drawn if self.retry_after is None else self.retry_after + min(drawn, 1.0)


def concluded(call: Call, error: BadgesError) -> BadgesError:
    """
    Give the error that a call ends with: *error*, with the facts of all its attempts.

    When only the last attempt did not reach the service, "never reached" would be untrue of the
    call, so that error becomes a lost connection.
    """
    if isinstance(error, ConnectError) and call.maybe_applied:
        lost = ConnectionLostError(f"after an attempt that may have been applied: {error}")
        lost.__cause__ = error
        error = lost
    error.attempts = call.attempts
    error.maybe_applied |= call.maybe_applied
    return error


def out_of_time(call: Call, message: str, retry_after: float | None = None) -> DeadlineError:
    """Give the error for a call whose time is over, and mark the call so that nobody retries it."""
    call.over = True
    return DeadlineError(message, retry_after=retry_after)
