"""The three bounds of a call."""

from __future__ import annotations

import math

import pytest

from badges_async import InvalidInputError, Timeout


def test_the_bounds_have_the_defaults_of_the_contract() -> None:
    assert Timeout() == Timeout(total=60.0, attempt=15.0, connect=5.0)


@pytest.mark.parametrize("field", ["total", "attempt", "connect"])
@pytest.mark.parametrize("value", [0, -1, math.nan, math.inf, 1e9, True, "5", None, [5]])
def test_a_bound_is_a_positive_number_of_seconds(field: str, value: object) -> None:
    with pytest.raises(InvalidInputError, match=f"a timeout's {field} must be a number of seconds"):
        Timeout(**{field: value})  # type: ignore[arg-type]


def test_one_call_may_have_bounds_of_its_own() -> None:
    client = Timeout(total=30.0, attempt=10.0, connect=2.0)

    assert client.override(None) is client
    assert client.override(5) == Timeout(total=5, attempt=10.0, connect=2.0)
    other = Timeout(total=1.0)
    assert client.override(other) is other


@pytest.mark.parametrize("value", [0, -1.0, math.nan, True, "5"])
def test_an_override_that_makes_no_sense_is_refused(value: float) -> None:
    with pytest.raises(InvalidInputError, match="a timeout's total"):
        Timeout().override(value)
