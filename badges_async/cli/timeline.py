"""
What happened when: the run in slices of time, for the report's plots.

Here: counting events and outcomes, in bounded memory however long the run is. Not here: sums that
the library keeps (`BulkReport`), drawing (`plots`).
"""

from __future__ import annotations

import math
import time
from collections.abc import Callable, Iterator, Mapping

import attrs

from badges_async import (
    APIError,
    AttemptEvent,
    BadgesError,
    ClaimOutcome,
    ClaimStatus,
    ConnectError,
    RateLimitedError,
    ServerError,
)

__all__ = ["MOST_BUCKETS", "Bucket", "Timeline", "quantile"]

MOST_BUCKETS = 240
# Twenty-four seconds fit before the first doubling; a run of a second has a shape already.
_FIRST_WIDTH = 0.1
# Eight bins to a doubling: a quantile is off by at most 4.5 %.
_BINS_TO_A_DOUBLING = 8
_SHORTEST = 1e-6
_THROTTLED = 429


@attrs.define
class Bucket:
    """
    One slice of time.

    Attributes:
        settled: Outcomes by status; a status without any is absent.
        requests: Those that ended in this slice.
        throttled: Of these, answered with "too many requests".
        errors: Of these, not answered with a decision: 5xx, unreadable, lost, timed out.
        paused: Seconds of the slice in which a pause that the service asked for held requests back.
        waits: Seconds by cause as in `BulkReport.waits`, summed over the requests that waited.
        latencies: Seconds on the wire, counted by bin; the bins' width grows with the seconds. A
            request that was throttled or never reached the service has none: how soon the service
            says no would hide how long it takes to say yes.
        slowest: The longest of these.
    """

    settled: dict[ClaimStatus, int] = attrs.field(factory=dict)
    requests: int = 0
    throttled: int = 0
    errors: int = 0
    paused: float = 0.0
    waits: dict[str, float] = attrs.field(factory=dict)
    latencies: dict[int, int] = attrs.field(factory=dict)
    slowest: float = 0.0

    def answered_after(self, seconds: float) -> None:
        """Count the time that a request took."""
        place = math.floor(math.log2(max(seconds, _SHORTEST)) * _BINS_TO_A_DOUBLING)
        self.latencies[place] = self.latencies.get(place, 0) + 1
        self.slowest = max(self.slowest, seconds)

    def add(self, other: Bucket) -> None:
        """Take in what *other* holds."""
        self.requests += other.requests
        self.throttled += other.throttled
        self.errors += other.errors
        self.paused += other.paused
        self.slowest = max(self.slowest, other.slowest)
        for status, count in other.settled.items():
            self.settled[status] = self.settled.get(status, 0) + count
        for cause, seconds in other.waits.items():
            self.waits[cause] = self.waits.get(cause, 0.0) + seconds
        for place, count in other.latencies.items():
            self.latencies[place] = self.latencies.get(place, 0) + count

    def latency(self, share: float) -> float | None:
        """Give the seconds within which *share* of the requests ended; None without any."""
        return quantile(self.latencies, share, self.slowest)


class Timeline:
    """
    An observer of attempts, and a listener to outcomes, that remembers when.

    At most `MOST_BUCKETS` slices: when they are full, neighbours are merged and each slice is twice
    as wide. Cheap, because it is asked thousands of times a second.

    Attributes:
        width: Seconds that a slice covers.
        buckets: From the start on, without a gap.
    """

    def __init__(self, clock: Callable[[], float] = time.monotonic) -> None:
        self.width = _FIRST_WIDTH
        self.buckets = [Bucket()]
        self._clock = clock
        self._began = clock()
        self._last_begins = self._began
        self._last_ends = self._began + self.width
        self._pause = (self._began, self._began)
        self._pause_before = self._began

    def __call__(self, event: AttemptEvent) -> None:
        """Count an attempt."""
        now = self._clock()
        bucket = self.buckets[-1] if now < self._last_ends else self._bucket_of(now)
        bucket.requests += 1
        seconds, error = event.seconds, event.error
        if error is None or _is_decision(error):
            bucket.answered_after(seconds)
        elif event.status == _THROTTLED:
            bucket.throttled += 1
        else:
            bucket.errors += 1
            if not isinstance(error, ConnectError):
                bucket.answered_after(seconds)
        waits = event.waits
        start = now - seconds - sum(waits.values()) if waits else now - seconds
        if start < self._last_begins or "gate" in waits:
            self._spread(waits, now - seconds, now)
            return
        here = bucket.waits
        here["service"] = here.get("service", 0.0) + seconds
        for cause, waited in waits.items():
            here[cause] = here.get(cause, 0.0) + waited

    def settled(self, outcome: ClaimOutcome) -> None:
        """Count an outcome."""
        now = self._clock()
        counts = (self.buckets[-1] if now < self._last_ends else self._bucket_of(now)).settled
        counts[outcome.status] = counts.get(outcome.status, 0) + 1

    def total(self) -> Bucket:
        """Give all slices as one."""
        whole = Bucket()
        for bucket in self.buckets:
            whole.add(bucket)
        return whole

    def _bucket_of(self, moment: float) -> Bucket:
        """Give the slice of *moment*, which is in or after the last one."""
        while moment >= self._began + MOST_BUCKETS * self.width:
            self._halve()
        while moment >= self._last_ends:
            self.buckets.append(Bucket())
            self._mark_last()
        return self.buckets[-1]

    def _halve(self) -> None:
        halved = self.buckets[::2]
        for bucket, neighbour in zip(halved, self.buckets[1::2], strict=False):
            bucket.add(neighbour)
        self.buckets = halved
        self.width *= 2
        self._mark_last()

    def _mark_last(self) -> None:
        self._last_begins = self._began + (len(self.buckets) - 1) * self.width
        self._last_ends = self._began + len(self.buckets) * self.width

    def _spread(self, waits: Mapping[str, float], sent: float, answered: float) -> None:
        """Enter seconds where they went by: an attempt's waits end one by one when it is sent."""
        self._wait("service", sent, answered)
        end = sent
        for cause, seconds in reversed(list(waits.items())):
            self._wait(cause, end - seconds, end)
            if cause == "gate":
                self._extend_pause(end - seconds, end)
            end -= seconds

    def _wait(self, cause: str, start: float, end: float) -> None:
        for bucket, seconds in self._pieces(start, end):
            bucket.waits[cause] = bucket.waits.get(cause, 0.0) + seconds

    def _extend_pause(self, start: float, end: float) -> None:
        """Enter a pause once, however many requests tell of it, each of its own part."""
        since, until = self._pause
        if start > until:
            self._pause_before, self._pause = until, (start, end)
            self._enter_pause(start, end)
            return
        earlier = max(start, self._pause_before)
        self._enter_pause(earlier, since)
        self._enter_pause(until, end)
        self._pause = (min(earlier, since), max(until, end))

    def _enter_pause(self, start: float, end: float) -> None:
        for bucket, seconds in self._pieces(start, end):
            bucket.paused += seconds

    def _pieces(self, start: float, end: float) -> Iterator[tuple[Bucket, float]]:
        """Cut a stretch of time into the parts that lie in one slice each."""
        at = max(start - self._began, 0.0)
        end -= self._began
        place = min(int(at / self.width), len(self.buckets) - 1)
        while at < end:
            is_last = place == len(self.buckets) - 1
            until = end if is_last else min(end, (place + 1) * self.width)
            yield self.buckets[place], max(until - at, 0.0)
            at = max(until, at)
            place += 1
            if is_last:
                return


def quantile(bins: Mapping[int, int], share: float, most: float = math.inf) -> float | None:
    """Give the middle of the bin that holds the quantile, but not more than *most*."""
    left = share * sum(bins.values())
    for place in sorted(bins):
        left -= bins[place]
        if left <= 0:
            middle = math.exp2((place + 0.5) / _BINS_TO_A_DOUBLING)
            return min(middle, most)
    return None


def _is_decision(error: BadgesError) -> bool:
    return isinstance(error, APIError) and not isinstance(error, ServerError | RateLimitedError)
