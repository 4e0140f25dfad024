"""The soak runs, and says what is not flat; thirty minutes of it are for whoever asks for them."""

from __future__ import annotations

import pytest

from tests.soak import Held, is_flat, main


@pytest.mark.slow
@pytest.mark.timeout(120)
def test_a_short_soak_ends_where_it_began() -> None:
    assert main(["--minutes", "0.1", "--round", "2"]) == 0


@pytest.mark.parametrize(
    ("last", "after", "flat"),
    [
        (Held(80, 1, 54_000), Held(9, 1, 54_000), True),
        (Held(9, 1, 50_000), Held(10, 1, 50_000), False),
        (Held(9, 1, 50_000), Held(9, 2, 50_000), False),
        (Held(9, 1, 54_097), Held(9, 1, 45_000), False),
    ],
)
def test_what_is_left_and_what_grows_is_not_flat(last: Held, after: Held, *, flat: bool) -> None:
    rounds = [Held(10, 1, 40_000), Held(8, 1, 45_000), Held(90, 1, 50_000), Held(50, 9, 90_000)]
    assert is_flat(Held(9, 1, 30_000), [*rounds, last], after) is flat
