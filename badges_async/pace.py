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

from badges_async.curve import Curve
from badges_async.gate import Gate, within_bounds
from badges_async.quota import Quota
from badges_async.throughput import Episode, Throughput
from badges_async.turns import Line

__all__ = ["Pace"]

# A throttle that names no time counts as the limit when it comes so many times in a row,
_IN_A_ROW = 3
# or when more than this share of requests meets it; any throttle that is rarer is a stray one.
_STRAY = 0.05
_STRAY_LEARNT = 0.04
# The share is that of about so many requests, or of a window if that has more.
_MEMORY = 100.0
# Windows that services have.
_ROUND = (1.0, 2.0, 5.0, 10.0, 15.0, 30.0, 60.0, 120.0, 300.0, 600.0, 900.0, 1800.0, 3600.0)


def _roundest(above: float, upto: float) -> float:
    """Give the window that lies between two bounds; services like round ones."""
    fitting = (window for window in _ROUND if above < window <= 1.03 * upto)
    return next(fitting, max((above + upto) / 2, 1e-3))


# Found: that share of what was accepted before; as well after a cut without a pause.
_BELOW, _CUT = 0.98, 0.97
# One episode takes no more than so much of a pace; a pace that fell so deep is soon tested again.
_DEEPEST, _DEEP = 0.3, 0.7
# The slowest pace: who waits for a turn must live to see it.
_LEAST = 1 / 60
# Least seconds in which a pace rises by 6 %: when going too fast costs a pause, and when it costs
# a refused request. And the most.
_SLOW, _QUICK, _LONGEST_UNIT = 60.0, 8.0, 300.0
# Unexplained throttles: the first wait, its growth, and the longest.
_FIRST_WAIT, _GROWTH, _LONGEST_WAIT = 0.1, 1.25, 50.0
# After so many seconds without an answer a new busy period begins.
_IDLE = 10.0
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

    Attributes:
        free: Nobody has to wait for a turn.
        calm: Nobody has to tell what is sent, because nothing was refused lately.
    """

    def __init__(self, gate: Gate, chance: random.Random, quota: Quota | None) -> None:
        self._gate = gate
        self._chance = chance
        self._quota = quota
        self._window = quota.per if quota is not None else 0.0
        self._sure = quota is not None
        self._passed = Throughput(max(_IDLE, 2 * self._window))
        self._line = Line(self._due, self._take, self._refund)
        self._curve: Curve | None = None
        self._episode: Episode | None = None
        self._flow_since = -math.inf
        self._held_since = -math.inf
        self.free = self.calm = True
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

    async def turn(self, *, patient: bool = False) -> None:
        """Wait until one more request may go; a patient caller lets others go ahead."""
        await self._line.wait(patient=patient)

    def sent(self) -> None:
        """Hear that a request leaves."""
        if self._episode is not None:
            self._episode.probe_at = asyncio.get_running_loop().time()

    def accepted(self, sent_at: float) -> None:
        """Hear that the service did not throttle a request."""
        passed = self._passed
        if sent_at >= passed.ends:
            passed.roll(sent_at)
        passed.newest += 1
        if not self.calm:
            self._relax(sent_at)

    def refused(self, sent_at: float, retry_after: float | None) -> None:
        """Hear that the service throttled a request: close the gate, or slow down."""
        now = asyncio.get_running_loop().time()
        self.calm = False
        self._share += (1 - self._share) * self._weight
        if not self._row:
            self._row_since = sent_at
        self._row += 1
        if retry_after is not None:
            self._pause(now, sent_at, retry_after)
        elif self._episode is not None:
            self._probe_failed(self._episode, now, sent_at)
        elif sent_at <= self._held_since:
            return  # told by the requests of an episode that is over
        elif self._row >= _IN_A_ROW:
            episode = self._begin(now, explained=False)
            episode.opens = sent_at
            self._hold(episode, now)
        elif self._share > (_STRAY_LEARNT if self._curve else _STRAY):
            self._cut(now)

    def restore(self, rate: float) -> None:
        """Go on with what an earlier process had learnt."""
        if 0 < rate < math.inf:
            now = asyncio.get_running_loop().time()
            unit = max(_SLOW, 3 * self._window)
            self._follow(Curve(max(rate, _LEAST), now, unit, learnt=True), now)

    def restart(self, at: float) -> None:
        """Go on slowly from *at*, when a pause ends that an earlier process was told of."""
        if self._curve is None:
            self._follow(self._slow_start(at), at)

    # Throttles.

    def _begin(self, now: float, *, explained: bool) -> Episode:
        since = max(self._flow_since, self._passed.busy_since)
        wait = max(_FIRST_WAIT, min(self._window / 20, 5.0))
        self._episode = Episode(min(since, now), now, now, explained, 0.0, wait)
        self._held_since = now
        self.free = False
        return self._episode

    def _pause(self, now: float, sent_at: float, retry_after: float) -> None:
        if within_bounds(retry_after) > self._gate.remaining():
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
        episode.opens = max(episode.opens, sent_at + within_bounds(retry_after))

    def _probe_failed(self, episode: Episode, now: float, sent_at: float) -> None:
        if sent_at > episode.held_since:
            episode.opens = sent_at
            self._hold(episode, now)

    def _hold(self, episode: Episode, now: float) -> None:
        self._held_since = episode.held_since = now
        episode.probe_at = -math.inf
        self._gate.hold(episode.wait * self._chance.uniform(1.0, 1.1))
        episode.wait = min(episode.wait * _GROWTH, _LONGEST_WAIT)
        self._line.move()

    def _cut(self, now: float) -> None:
        """Slow down without a pause: too many are refused, but others go through."""
        since = max(self._flow_since, self._passed.busy_since)
        few = 100 / self._curve.rate(now) if self._curve is not None else 0.0
        span = min(max(self._window, 1.0, few), now - since)
        if span <= 0:
            return
        rate = max(_CUT * self._passed.since(now - span) / span, _LEAST)
        if self._curve is not None:
            rate = min(rate, self._curve.rate(now))
        if self._quota is not None:  # a burst at the beginning of a window is no pace
            rate = min(rate, self._quota.limit / self._quota.per)
        self._window = self._window or span
        self._share = 0.0
        self._sure = self._sure or (self._curve is not None and now - since > 1.5 * self._window)
        self._follow(Curve(rate, now, self._unit(rate, _QUICK), learnt=True), now)

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
            self.calm, self._share = True, 0.0

    def _reopen(self, episode: Episode, sent_at: float) -> None:
        """End an episode: its probe was accepted."""
        curve = self._way_back(episode, sent_at)
        self._episode = None
        self._flow_since = sent_at
        self._follow(curve, sent_at)

    def _way_back(self, episode: Episode, sent_at: float) -> Curve:
        before = self._curve
        rate = self._measure(episode, sent_at)
        fell = 1.0
        if before is not None:
            highest = before.rate(episode.began)
            if before.learnt and (self._sure or not rate):
                rate = max(rate, _DEEPEST * highest)
            rate = min(rate, highest * (_BELOW if episode.explained else 1.0))
            fell = rate / highest
        if not rate:
            return self._slow_start(sent_at)
        if before is None and episode.explained and self._share <= _STRAY:
            if self._quota is not None:
                return self._slow_start(sent_at)
            return Curve(rate, sent_at, 1.0, learnt=False)
        self._share = 0.0
        rate = max(rate, _LEAST)
        unit = self._unit(rate, _SLOW if episode.explained else _QUICK, sure=fell > _DEEP)
        return Curve(rate, sent_at, unit, learnt=True)

    def _slow_start(self, now: float) -> Curve:
        if self._quota is None:
            return Curve(1.0, now, 1.0, learnt=False)
        quota = self._quota
        return Curve(quota.limit / quota.per, now, math.inf, learnt=False, ends=now + quota.per)

    def _measure(self, episode: Episode, sent_at: float) -> float:
        """Give the requests a second that the service has taken, and learn its window."""
        flow = episode.began - episode.flow_since
        latest = min(episode.opens, sent_at) if episode.explained else sent_at
        earliest = episode.opens - 1.0 if episode.explained else episode.opens
        closed = max((earliest + latest) / 2 - episode.began, 0.0)
        window = self._window
        moment = 0.2 * window + (1.0 if episode.explained else 0.2)
        if self._is_learnt() and flow > 0.9 * window > 0 and closed < moment:
            self._sure = True  # it went well for a window, and stopped for a moment only
        if not window or (not self._sure and flow < 1.1 * window):
            if not window:
                flow = min(flow, max(10.0, 10 * closed))
            began = episode.began - flow
            seen = _roundest(0.9 * (earliest - began), latest - began)
            self._window = max(window, seen)
            start = min(began, latest - self._window)
            return self._taken_since(start) / self._window
        if closed > 2 * window:
            # No window: something else kept us out.
            self._sure = self._quota is not None
            return self._taken_since(episode.began - window) / window
        span = min(flow, window) + closed if closed > window else window
        return self._taken_since(earliest - span) / span

    def _taken_since(self, start: float) -> float:
        return _BELOW * max(self._passed.since(start) - 1, 0.0)  # without the probe

    def _is_learnt(self) -> bool:
        return self._curve is not None and self._curve.learnt

    def _unit(self, rate: float, least: float, *, sure: bool = True) -> float:
        share = 1.0 if sure and self._sure else 1 / 3
        return min(max(least, 3 * share * self._window, 100 * share / rate), _LONGEST_UNIT)

    def _follow(self, curve: Curve, now: float) -> None:
        self._curve = curve
        self.free = self.calm = False
        self._looked_at = now
        self._passed.silence = max(_IDLE, 5 / curve.base, 2 * self._window)
        rise = curve.base * min(curve.unit, _LONGEST_UNIT) / 8
        self._weight = 1 / max(_MEMORY, rise) if self._sure else 2 / _MEMORY
        self._next_at = now + 1 / curve.base
        self._line.move()

    def _look(self, curve: Curve, now: float) -> None:
        """Forget a pace that nobody wants to reach any more."""
        # A quota that is told lets nobody go for the rest of a window that began with a burst.
        told = 0.0 if self._quota is None else 3 * self._quota.per
        span = max(2.0, 20 / curve.base, told)
        if now < curve.ends and now - self._looked_at < span:
            return
        allowed = span * curve.rate(self._looked_at)
        if now >= curve.ends or 2 * self._passed.since(now - span) < allowed:
            self._forget()
        self._looked_at = now

    def _forget(self) -> None:
        self._curve = None
        self.free = self._episode is None
        if self._quota is None:
            self._window, self._sure = 0.0, False
        self._weight = 1 / _MEMORY
        self._passed.silence = max(_IDLE, 2 * self._window)
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
