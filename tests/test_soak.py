"""The soak runs, and says what is not flat; thirty minutes of it are for whoever asks for them."""

from __future__ import annotations

import pytest

from tests.soak import Held, is_flat, main


@pytest.mark.slow
@pytest.mark.timeout(120)
def test_a_short_soak_ends_where_it_began() -> None:
    assert main(["--minutes", "0.1", "--round", "2"]) == 0


@pytest.mark.parametrize(
    ("last", "flat"),
    [
        (Held(9, 1, 50_000), True),
        (Held(10, 1, 54_000), True),
        (Held(11, 1, 50_000), False),
        (Held(9, 2, 50_000), False),
        (Held(9, 1, 54_097), False),
    ],
)
def test_more_than_after_the_first_rounds_is_not_flat(last: Held, *, flat: bool) -> None:
    first = [Held(10, 1, 40_000), Held(8, 1, 45_000), Held(9, 1, 50_000)]
    assert is_flat([*first, Held(50, 9, 90_000), last]) is flat
