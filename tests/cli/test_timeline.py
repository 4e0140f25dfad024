"""What happened when: slices of time, in bounded memory, with nothing lost on the way."""

from __future__ import annotations

import pytest
from hypothesis import given
from hypothesis import strategies as st

from badges_async import (
    AttemptEvent,
    BadgeNotFoundError,
    BadgesError,
    Claim,
    ClaimOutcome,
    ClaimRequest,
    ClaimResult,
    ClaimStatus,
    ConnectError,
    ConnectionLostError,
    RateLimitedError,
    ServerError,
)
from badges_async.cli.timeline import MOST_BUCKETS, Timeline, quantile

BIN = 2 ** (1 / 8)
HELD = ClaimOutcome(
    ClaimRequest("b", "Loyalty", "1"),
    ClaimStatus.CLAIMED,
    result=ClaimResult("b", Claim("Loyalty", "1")),
)


class Clock:
    """A clock that goes when it is told to."""

    def __init__(self) -> None:
        self.now = 5000.0

    def __call__(self) -> float:
        return self.now


@pytest.fixture
def clock() -> Clock:
    return Clock()


@pytest.fixture
def timeline(clock: Clock) -> Timeline:
    return Timeline(clock)


def attempt(
    seconds: float = 0.05,
    *,
    status: int | None = 200,
    error: BadgesError | None = None,
    **waits: float,
) -> AttemptEvent:
    return AttemptEvent(
        operation="claim",
        badge_id="b",
        attempt=1,
        status=status,
        error=error,
        seconds=seconds,
        waits=waits,
    )


THROTTLED = attempt(0.001, status=429, error=RateLimitedError("slow down", status=429))
ERRORS = [
    attempt(status=503, error=ServerError("down", status=503)),
    attempt(status=None, error=ConnectionLostError("reset")),
    attempt(status=None, error=ConnectError("refused")),
]
REFUSED = attempt(status=404, error=BadgeNotFoundError("gone", status=404))


def test_attempts_are_counted_by_how_they_ended(timeline: Timeline) -> None:
    for event in (attempt(), REFUSED, THROTTLED, *ERRORS):
        timeline(event)
    timeline.settled(HELD)
    whole = timeline.total()

    assert (whole.requests, whole.throttled, whole.errors) == (6, 1, 3)
    assert whole.settled == {ClaimStatus.CLAIMED: 1}


def test_what_says_nothing_about_the_service_is_no_latency(timeline: Timeline) -> None:
    """A quick "too many" would hide a slow service; who was not reached took no time."""
    for event in (attempt(), REFUSED, THROTTLED, *ERRORS):
        timeline(event)

    assert sum(timeline.total().latencies.values()) == 4
    assert timeline.total().slowest == 0.05


@given(st.lists(st.tuples(st.floats(0, 400), st.sampled_from([0.0, 0.02, 1.5])), max_size=60))
def test_merging_keeps_every_sum(steps: list[tuple[float, float]]) -> None:
    clock = Clock()
    timeline = Timeline(clock)
    began = clock.now
    service = quota = 0.0
    for step, wire in steps:
        clock.now += step
        waited = min(step, max(clock.now - began - wire, 0.0))
        on_wire = min(wire, clock.now - began)
        timeline(attempt(on_wire, quota=waited))
        timeline.settled(HELD)
        service, quota = service + on_wire, quota + waited
    whole = timeline.total()

    assert len(timeline.buckets) <= MOST_BUCKETS
    assert len(timeline.buckets) * timeline.width > clock.now - began
    assert (whole.requests, sum(whole.settled.values())) == (len(steps), len(steps))
    assert sum(whole.latencies.values()) == len(steps)
    assert whole.waits.get("service", 0.0) == pytest.approx(service, abs=1e-6)
    assert whole.waits.get("quota", 0.0) == pytest.approx(quota, abs=1e-6)


def test_a_week_takes_no_more_room_than_a_minute(timeline: Timeline, clock: Clock) -> None:
    for _ in range(7 * 24 * 60):
        clock.now += 60
        timeline(attempt())

    assert MOST_BUCKETS / 2 <= len(timeline.buckets) <= MOST_BUCKETS
    assert [bucket.requests for bucket in timeline.buckets[1:-1]] == pytest.approx(
        [timeline.width / 60] * (len(timeline.buckets) - 2), abs=1
    )


def test_a_machine_that_slept_leaves_empty_slices(timeline: Timeline, clock: Clock) -> None:
    timeline(attempt())
    clock.now += 100_000
    timeline(attempt())

    assert len(timeline.buckets) <= MOST_BUCKETS
    assert [bucket.requests for bucket in timeline.buckets if bucket.requests] == [1, 1]


@given(st.lists(st.floats(1e-5, 1000), min_size=1), st.sampled_from([0.5, 0.95, 0.99, 1.0]))
def test_a_quantile_is_right_to_the_width_of_a_bin(values: list[float], share: float) -> None:
    timeline = Timeline(Clock())
    for value in values:
        timeline(attempt(value))
    said = timeline.total().latency(share)
    ranked = sorted(values)
    true = next(v for n, v in enumerate(ranked, 1) if n >= share * len(ranked) - 1e-9)

    assert said is not None
    assert true / BIN <= said <= true * BIN
    assert said <= max(values)


def test_of_nothing_there_is_no_quantile() -> None:
    assert quantile({}, 0.5) is None


def test_seconds_are_entered_where_they_went_by(timeline: Timeline, clock: Clock) -> None:
    """Waits end one after another when the request is sent, and that was before its answer."""
    clock.now += 1.0
    timeline(attempt(0.2, gate=0.3, quota=0.4))

    def within(cause: str) -> list[int]:
        return [n for n, each in enumerate(timeline.buckets) if each.waits.get(cause, 0) > 1e-6]

    assert within("service") == [8, 9]
    assert within("quota") == [4, 5, 6, 7]
    assert within("gate") == [1, 2, 3]
    assert [round(each.paused, 6) for each in timeline.buckets[:5]] == [0, 0.1, 0.1, 0.1, 0]


PAUSE = st.tuples(st.integers(1, 50), st.lists(st.integers(1, 20), min_size=1, max_size=8))


@given(st.lists(PAUSE, max_size=12))
def test_a_pause_is_counted_once_however_many_waited(pauses: list[tuple[int, list[int]]]) -> None:
    """All are let go at its end; each tells of the part that it met."""
    clock = Clock()
    timeline = Timeline(clock)
    for gap, waits in pauses:
        clock.now += gap + max(waits)
        for waited in waits:
            timeline(attempt(0.0, gate=float(waited)))

    assert timeline.total().paused == pytest.approx(sum(max(waits) for _, waits in pauses))
    assert max(bucket.paused for bucket in timeline.buckets) <= timeline.width + 1e-6


@given(st.lists(st.tuples(st.integers(0, 9), st.integers(1, 20)), min_size=1, max_size=12))
def test_no_slice_is_paused_for_longer_than_it_is(pauses: list[tuple[int, int]]) -> None:
    """Whatever is told, in whatever order."""
    clock = Clock()
    timeline = Timeline(clock)
    clock.now += 20
    for step, length in pauses:
        clock.now += step
        timeline(attempt(0.0, gate=float(length)))

    assert max(bucket.paused for bucket in timeline.buckets) <= timeline.width + 1e-6


def test_a_pause_that_many_met_at_once_is_as_long_as_the_longest(
    timeline: Timeline, clock: Clock
) -> None:
    clock.now += 10
    for length in (3.0, 5.0, 4.0, 1.0):
        timeline(attempt(0.0, gate=length))
    clock.now += 10
    timeline(attempt(0.0, gate=2.0))

    assert timeline.total().paused == pytest.approx(7.0)
    assert timeline.total().waits["gate"] == pytest.approx(15.0)
