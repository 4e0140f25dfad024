"""What was let through is counted whole, and the better the shorter ago it was."""

from __future__ import annotations

import math
from collections.abc import Iterable
from itertools import accumulate, pairwise

import pytest
from hypothesis import given
from hypothesis import strategies as st

from badges_async.throughput import Throughput


def count(moments: Iterable[float], silence: float = 10.0) -> Throughput:
    """Give what a pace that accepted a request at each of *moments* has counted."""
    passed = Throughput(silence)
    for moment in moments:
        if moment >= passed.ends:
            passed.roll(moment)
        passed.newest += 1
    return passed


@given(
    gaps=st.lists(st.floats(0.0, 0.5) | st.floats(0.0, 100.0), min_size=1, max_size=600),
    starts=st.lists(st.floats(-1.0, 30_000.0), max_size=20),
)
def test_none_is_forgotten_and_none_counted_twice(gaps: list[float], starts: list[float]) -> None:
    moments = list(accumulate(gaps))
    passed = count(moments)

    assert passed.since(-math.inf) == pytest.approx(len(moments))
    assert passed.since(moments[-1] + 1) == 0
    counts = [passed.since(start) for start in sorted(starts)]
    assert all(late <= early + 1e-9 for early, late in pairwise(counts))


@pytest.mark.parametrize("rate", [0.2, 7.0, 40.0, 900.0])
def test_a_long_time_is_counted_to_a_few_percent(rate: float) -> None:
    total = min(round(3600 * rate), 200_000)
    ends = total / rate
    passed = count(number / rate for number in range(total))

    for share in (0.01, 0.1, 0.25, 0.5, 0.9):
        assert passed.since(ends * (1 - share)) == pytest.approx(share * total, rel=0.06, abs=2)


def test_what_was_lately_is_counted_to_the_span() -> None:
    passed = count(number / 50 for number in range(5000))  # one in each span
    for lately in range(64):
        assert passed.since(100.0 - lately / 50) == pytest.approx(lately, abs=1.0)


def test_what_is_kept_does_not_grow_with_time() -> None:
    passed = count(number / 10 for number in range(100_000))
    assert len(passed._spans) <= 130  # noqa: SLF001 - memory is what this is about


def test_after_a_silence_it_is_busy_anew() -> None:
    passed = count([1.0, 2.0, 11.0])
    assert passed.busy_since == 1.0
    passed = count([1.0, 2.0, 12.03, 13.0])
    assert passed.busy_since == 12.03
