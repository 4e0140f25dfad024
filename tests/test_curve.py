"""How a pace rises: hardly at first, then fast, and not without end."""

from __future__ import annotations

import pytest

from badges_async.curve import Curve


def test_it_rises_by_six_percent_and_then_by_a_third() -> None:
    curve = Curve(base=100.0, since=1000.0, unit=50.0, learnt=True)

    assert curve.rate(900.0) == curve.rate(1000.0) == 100.0
    assert curve.rate(1050.0) == pytest.approx(106.0, abs=0.5)
    assert curve.rate(1100.0) == pytest.approx(135.0, abs=0.5)


def test_it_rises_all_the_time_up_to_a_bound() -> None:
    curve = Curve(base=1.0, since=0.0, unit=1.0, learnt=True)
    rates = [curve.rate(moment / 10) for moment in range(80)]

    assert rates == sorted(set(rates))
    assert curve.rate(8.0) == curve.rate(9.0) == curve.rate(1e9) < 1e7
