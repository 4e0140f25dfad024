"""
The service's limit when nobody told it: learnt from throttles, and kept at an even pace.

Here: when a throttle closes the gate, how fast calls go on afterwards, and when to try more.
Not here: the pause itself (`gate`), or a quota that was given (`quota`).

An episode begins when the service refuses and ends with the first request that it accepts. What
it had accepted before, over the time that this took, is its limit. From just below that the pace
rises, slowly at first and then faster and faster, until the service refuses again, or until
nobody wants to go so fast: then there is no limit any more.
"""

from __future__ import annotations

import asyncio
import math
import random

import attrs

from badges_async.gate import Gate, within_bounds
from badges_async.quota import Line, Quota

__all__ = ["Pace"]

# The finest a tally tells apart, and how many spans it keeps: older ones are merged.
_SPAN = 0.02
_SPANS = 128
# After so many seconds without an answer a new busy period begins.
_IDLE = 10.0


class Tally:
    """
    How many requests were accepted, and when: the longer ago, the coarser.

    Attributes:
        ends: When the newest span ends; whoever counts after that calls `roll` first.
        newest: Requests accepted in the newest span.
        busy_since: When the first one was accepted after a long silence.
        silence: Seconds that make a long silence.
    """

    def __init__(self) -> None:
        self.ends = -math.inf
        self.newest = 0
        self.busy_since = math.inf
        self.silence = _IDLE
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

    def between(self, start: float, end: float) -> float:
        """Count what was accepted from *start* to *end*."""
        total = 0.0
        spans = [*self._spans, (self.ends - _SPAN, self.ends, self.newest)]
        for begins, ends, accepted in reversed(spans):
            if ends <= start:
                break
            share = (min(ends, end) - max(begins, start)) / (ends - begins)
            total += accepted * max(share, 0.0)
        return total

    def _close(self) -> None:
        if self.newest:
            self._spans.append((self.ends - _SPAN, self.ends, self.newest))


# How the pace rises: its logarithm by so much times (x + x**3), x units after it was found.
_RISE = 0.03
_STEEPEST = 8.0


@attrs.define(eq=False)
class Curve:
    """
    A pace, and how it rises.

    Attributes:
        base: Requests a second when it was found.
        since: When that was.
        unit: Seconds in which it rises by 6 %; in twice that it is a third higher.
        learnt: It is the service's limit, and not only the way back to full speed after a pause.
        ends: When it is forgotten at the latest.
    """

    base: float
    since: float
    unit: float
    learnt: bool
    ends: float = math.inf

    def rate(self, now: float) -> float:
        """Give the requests a second at this moment."""
        x = min(max(now - self.since, 0.0) / self.unit, _STEEPEST)
        return self.base * math.exp(_RISE * (x + x**3))


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


# A throttle that names no time counts as the limit when it comes so many times in a row,
_IN_A_ROW = 3
# or when more than this share of requests meets it; any throttle that is rarer is a stray one.
_STRAY = 0.05
_STRAY_LEARNT = 0.035
# The share is that of about so many requests, or of a window if that has more.
_MEMORY = 100.0
# Found: that share of what was accepted before; as well after a cut without a pause.
_BELOW, _CUT = 0.98, 0.97
# Unexplained throttles: the first wait, its growth, and the longest.
_FIRST_WAIT, _GROWTH, _LONGEST_WAIT = 0.1, 1.25, 50.0
# A probe that has not been answered for so long is not waited for any longer.
_PROBE = 1.0
# Seconds in which a timer may be late without slowing the pace.
_TOLERANCE = 0.004


class Pace:
    """
    Lets requests go as fast as the service has shown to take them.

    Args:
        gate: It is closed here when the service throttles.
        chance: Spreads the waits after throttles that name no time.
        quota: What the user has said of the service's limit.
    """

    def __init__(self, gate: Gate, chance: random.Random, quota: Quota | None) -> None:
        self._gate = gate
        self._chance = chance
        self._quota = quota
        self._window = quota.per if quota is not None else 0.0
        self._sure = quota is not None
        self._tally = Tally()
        self._tally.silence = max(_IDLE, 2 * self._window)
        self._line = Line(self._due, self._take, self._refund)
        self._curve: Curve | None = None
        self._episode: Episode | None = None
        self._flow_since = -math.inf
        self._held_since = -math.inf
        self._free = self._calm = True
        self._share = 0.0  # of requests that were throttled lately
        self._weight = 1 / _MEMORY  # of one request in it
        self._row, self._row_since = 0, -math.inf
        self._next_at = -math.inf
        self._looked_at = -math.inf

    @property
    def rate(self) -> float | None:
        """Requests a second that are allowed now; None as long as no limit is learnt."""
        if self._curve is None or not self._curve.learnt:
            return None
        return self._curve.rate(asyncio.get_running_loop().time())

    def is_free(self) -> bool:
        """Whether nobody has to wait for a turn."""
        return self._free

    async def turn(self, *, patient: bool = False) -> None:
        """Wait until one more request may go; a patient caller lets others go ahead."""
        await self._line.wait(patient=patient)

    def sent(self) -> None:
        """Hear that a request leaves."""
        if self._episode is not None:
            self._episode.probe_at = asyncio.get_running_loop().time()

    def accepted(self, sent_at: float) -> None:
        """Hear that the service did not throttle a request."""
        tally = self._tally
        if sent_at >= tally.ends:
            tally.roll(sent_at)
        tally.newest += 1
        if not self._calm:
            self._relax(sent_at)

    def refused(self, sent_at: float, retry_after: float | None) -> None:
        """Hear that the service throttled a request: close the gate, or slow down."""
        now = asyncio.get_running_loop().time()
        self._calm = False
        self._share += (1 - self._share) * self._weight
        if not self._row:
            self._row_since = sent_at
        self._row += 1
        if retry_after is not None:
            self._pause(now, sent_at, retry_after)
        elif self._episode is not None:
            self._probe_failed(now, sent_at)
        elif sent_at <= self._held_since:
            return  # told by the requests of an episode that is over
        elif self._row >= _IN_A_ROW:
            self._begin(now, explained=False)
            self._hold(now)
        elif self._share > (_STRAY_LEARNT if self._curve else _STRAY):
            self._cut(now)

    def restore(self, rate: float) -> None:
        """Go on with what an earlier process had learnt."""
        if 0 < rate < math.inf:
            now = asyncio.get_running_loop().time()
            self._follow(Curve(rate, now, max(30.0, 3 * self._window), learnt=True), now)

    # Throttles.

    def _begin(self, now: float, *, explained: bool) -> Episode:
        since = max(self._flow_since, self._tally.busy_since)
        wait = max(_FIRST_WAIT, min(self._window / 20, 5.0))
        self._episode = Episode(min(since, now), now, now, explained, now, wait)
        self._free = False
        return self._episode

    def _pause(self, now: float, sent_at: float, retry_after: float) -> None:
        if retry_after > self._gate.remaining():
            self._gate.pause(retry_after)
        episode = self._episode
        if episode is None:
            if sent_at <= self._held_since:
                return
            episode = self._begin(now, explained=True)
        if sent_at > episode.held_since:
            self._held_since = episode.held_since = now
            episode.probe_at = -math.inf
        episode.explained = True
        episode.opens = max(episode.opens, now + within_bounds(retry_after))

    def _probe_failed(self, now: float, sent_at: float) -> None:
        if self._episode is not None and sent_at > self._episode.held_since:
            self._episode.opens = sent_at
            self._hold(now)

    def _hold(self, now: float) -> None:
        episode = self._episode
        if episode is not None:
            self._held_since = episode.held_since = now
            episode.probe_at = -math.inf
            self._gate.hold(episode.wait * self._chance.uniform(1.0, 1.1))
            episode.wait = min(episode.wait * _GROWTH, _LONGEST_WAIT)
            self._line.move()

    def _cut(self, now: float) -> None:
        """Slow down without a pause: too many are refused, but others go through."""
        since = max(self._flow_since, self._tally.busy_since)
        few = 30 / self._curve.rate(now) if self._curve is not None else 0.0
        span = min(max(self._window, 1.0, few), now - since)
        if span <= 0:
            return
        rate = _CUT * self._tally.between(now - span, now) / span
        if self._curve is not None:
            rate = min(rate, self._curve.rate(now))
        self._window = self._window or span
        self._share = 0.0
        self._follow(Curve(rate, now, self._unit(rate, 5.0), learnt=True), now)

    # And the way back.

    def _relax(self, sent_at: float) -> None:
        self._share *= 1 - self._weight
        if sent_at > self._row_since:
            self._row = 0
        if self._episode is not None:
            if sent_at > self._episode.held_since:
                self._reopen(self._episode, sent_at)
        elif self._curve is not None:
            self._look(self._curve, sent_at)
        elif self._share < 1e-3:  # noqa: PLR2004 - it takes long to get to nothing
            self._calm, self._share = True, 0.0

    def _reopen(self, episode: Episode, sent_at: float) -> None:
        """End an episode: its probe was accepted."""
        learnt = not episode.explained or self._share > _STRAY
        learnt = learnt or self._curve is not None
        rate = self._measure(episode, sent_at)
        now = asyncio.get_running_loop().time()
        self._episode = None
        self._flow_since = sent_at
        if rate is None:
            self._follow(self._slow_start(sent_at), now)
            return
        if learnt:
            if self._curve is not None:
                rate = min(rate, self._curve.rate(episode.began))
            least = 30.0 if episode.explained else 5.0
            self._follow(Curve(rate, sent_at, self._unit(rate, least), learnt=True), now)
        elif self._quota is not None:
            self._follow(self._slow_start(sent_at), now)
        else:
            self._follow(Curve(rate, sent_at, 1.0, learnt=False), now)

    def _span_of(self, flow: float, closed: float) -> float:
        """Learn the window, and give the seconds over which to measure."""
        window = self._window
        if not window:
            self._window = min(flow, max(10.0, 10 * closed)) + closed
            return self._window
        steady = self._curve is not None and self._curve.learnt
        if not self._sure and flow < 1.1 * window:
            self._window = max(window, flow + closed)
            return self._window
        self._sure = self._sure or steady
        if closed > 2 * window:
            return window
        return min(flow, window) + closed if closed > window else window

    def _slow_start(self, now: float) -> Curve:
        if self._quota is None:
            return Curve(1.0, now, 1.0, learnt=False)
        quota = self._quota
        return Curve(quota.limit / quota.per, now, math.inf, learnt=False, ends=now + quota.per)

    def _measure(self, episode: Episode, sent_at: float) -> float | None:
        """Give the requests a second that the service has taken; None when there were none."""
        flow = episode.began - episode.flow_since
        opened = min(episode.opens, sent_at)
        if not episode.explained:
            opened = (opened + sent_at) / 2
        closed = max(opened - episode.began, 1e-3)
        span = self._span_of(flow, closed)
        if closed > 2 * self._window:
            opened = episode.began
        elif episode.explained and flow >= span:
            opened = max(opened - 1.0, episode.began)
        taken = self._tally.between(opened - span, opened)
        return _BELOW * taken / span if taken >= 1 else None

    def _unit(self, rate: float, least: float) -> float:
        unit = min(max(least, 3 * self._window, 80 / rate), 300.0)
        return unit if self._sure else unit / 3

    def _follow(self, curve: Curve, now: float) -> None:
        self._curve = curve
        self._free = self._calm = False
        self._looked_at = now
        self._tally.silence = max(_IDLE, 5 / curve.base, 2 * self._window)
        self._weight = 1 / max(_MEMORY, curve.base * self._window / 2)
        self._next_at = now + 1 / curve.base
        self._line.move()

    def _look(self, curve: Curve, now: float) -> None:
        """Forget a pace that nobody wants to reach any more."""
        span = max(2.0, 20 / curve.base)
        if now < curve.ends and now - self._looked_at < span:
            return
        allowed = span * curve.rate(self._looked_at)
        if now >= curve.ends or 2 * self._tally.between(now - span, now) < allowed:
            self._forget()
        self._looked_at = now

    def _forget(self) -> None:
        self._curve = None
        self._free = self._episode is None
        if self._quota is None:
            self._window, self._sure = 0.0, False
        self._weight = 1 / _MEMORY
        self._tally.silence = max(_IDLE, 2 * self._window)
        self._line.move()

    # Turns.

    def _due(self, now: float) -> float | None:
        opens = now + self._gate.remaining()
        if self._episode is not None:
            return max(opens, self._episode.probe_at + _PROBE)
        if self._curve is None:
            return now
        return max(opens, self._next_at - _TOLERANCE)

    def _take(self, now: float) -> None:
        if self._episode is not None:
            self._episode.probe_at = now
        elif self._curve is not None:
            self._next_at = max(self._next_at, now) + 1 / self._curve.rate(now)

    def _refund(self, _: None) -> None:
        if self._episode is not None:
            self._episode.probe_at = -math.inf
        elif self._curve is not None:
            self._next_at -= 1 / self._curve.base
