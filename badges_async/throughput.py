"""
What a service has let through: how much, when, and from one refusal to the next acceptance.

Here: the figures that a limit is learnt from. Not here: what is learnt from them (`pace`).
"""

from __future__ import annotations

import math

import attrs

__all__ = ["Episode", "Throughput"]

# The finest that is told apart, and how many spans it keeps: older ones are merged.
_SPAN = 0.02
_SPANS = 128


class Throughput:
    """
    How many requests were accepted, and when: the longer ago, the coarser.

    Attributes:
        ends: When the newest span ends; whoever counts after that calls `roll` first.
        newest: Requests accepted in the newest span.
        busy_since: When the first one was accepted after a long silence.
        silence: Seconds that make a long silence.
    """

    def __init__(self, silence: float) -> None:
        self.ends = -math.inf
        self.newest = 0
        self.busy_since = math.inf
        self.silence = silence
        self._spans: list[tuple[float, float, int]] = []  # from, to, accepted

    def roll(self, now: float) -> None:
        """Begin a new span."""
        self._close()
        if now > self.ends + self.silence:
            self.busy_since = now
        self.ends = now + _SPAN
        self.newest = 0
        if len(self._spans) > _SPANS:
            old, young = self._spans[: _SPANS // 2], self._spans[_SPANS // 2 :]
            pairs = zip(old[::2], old[1::2], strict=True)
            merged = [(one[0], two[1], one[2] + two[2]) for one, two in pairs]
            self._spans = merged + young

    def since(self, start: float) -> float:
        """Count what was accepted from *start* on."""
        total = 0.0
        spans = [*self._spans, (self.ends - _SPAN, self.ends, self.newest)]
        for begins, ends, accepted in reversed(spans):
            if ends <= start:
                break
            total += accepted * min((ends - start) / (ends - begins), 1.0)
        return total

    def _close(self) -> None:
        if self.newest:
            self._spans.append((self.ends - _SPAN, self.ends, self.newest))


@attrs.define(eq=False)
class Episode:
    """
    The time from a refusal to the next request that is accepted.

    Attributes:
        flow_since: When requests began to flow, before the first refusal.
        began: When the first refusal came.
        held_since: When the last one came that closed the gate; older requests say nothing new.
        explained: The service named the time to wait.
        opens: The moment that it named, or when the last refused probe was sent.
        wait: Seconds of the next wait when it names none.
        probe_at: When the last probe went out.
    """

    flow_since: float
    began: float
    held_since: float
    explained: bool
    opens: float
    wait: float
    probe_at: float = -math.inf
