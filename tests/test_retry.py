"""When to try again: which errors, how long between, and how much of it in all."""

from __future__ import annotations

import math
import random
from itertools import islice

import pytest
from hypothesis import given
from hypothesis import strategies as st

from badges_async import (
    APIError,
    AuthenticationError,
    BadgesError,
    ClientClosedError,
    ConnectError,
    ConnectionLostError,
    DeadlineError,
    InvalidInputError,
    Notice,
    OutageError,
    RateLimitedError,
    RetryPolicy,
    ServerError,
    StructureError,
    UnreadableReplyError,
)
from badges_async.envelope import open_envelope
from badges_async.retry import (
    RetryBudget,
    is_refused_for_good,
    is_transient,
    would_be_said_to_any,
)
from tests.answers import HTML, make_reply, refusal
from tests.chance import Highest, Lowest


def chance(seed: int = 1) -> random.Random:
    return random.Random(seed)  # noqa: S311 - it is repeated on purpose


def bounds(policy: RetryPolicy, count: int) -> list[float]:
    return list(islice(policy.delays(Highest()), count))


def test_the_policy_has_the_defaults_of_the_contract() -> None:
    assert RetryPolicy() == RetryPolicy(max_attempts=5, base=0.2, cap=20.0)


def test_the_bound_of_the_waits_doubles_up_to_the_cap() -> None:
    assert bounds(RetryPolicy(base=0.2, cap=2.0), 6) == pytest.approx(
        [0.2, 0.4, 0.8, 1.6, 2.0, 2.0]
    )
    assert list(islice(RetryPolicy().delays(Lowest()), 3)) == [0, 0, 0]
    assert bounds(RetryPolicy(base=5, cap=1), 2) == [1, 1]
    assert bounds(RetryPolicy(base=0, cap=1), 2) == [0, 0]


@pytest.mark.parametrize("base", [0, 0.0, 5e-324, 1e-10, 1e-9, 0.2, 1e8])
def test_waits_never_end_and_never_overflow(base: float) -> None:
    """A row of a bulk run can be tried for days."""
    policy = RetryPolicy(base=base, cap=20.0)
    assert all(0 <= wait <= 20.0 for wait in bounds(policy, 3000))


@given(
    base=st.floats(0, 100),
    cap=st.floats(0, 100),
    seed=st.integers(),
)
def test_a_wait_is_drawn_evenly_from_nothing_to_its_bound(
    base: float, cap: float, seed: int
) -> None:
    policy = RetryPolicy(base=base, cap=cap)
    for number, wait in enumerate(islice(policy.delays(chance(seed)), 12)):
        assert 0 <= wait <= min(cap, base * 2**number) * (1 + 1e-9)


def test_waits_are_spread_over_their_whole_range() -> None:
    delays = RetryPolicy(base=1.0, cap=1.0).delays(chance())
    drawn = sorted(islice(delays, 2000))

    assert drawn[0] < 0.01
    assert drawn[-1] > 0.99
    assert 0.45 < drawn[1000] < 0.55


def test_the_same_chance_draws_the_same_waits() -> None:
    def drawn() -> list[float]:
        return list(islice(RetryPolicy().delays(chance(7)), 5))

    assert drawn() == drawn()


@pytest.mark.parametrize("value", [0, -1, 1.0, True, "5", None])
def test_attempts_are_a_whole_number_of_at_least_one(value: object) -> None:
    with pytest.raises(InvalidInputError, match="max_attempts must be a whole number"):
        RetryPolicy(max_attempts=value)  # type: ignore[arg-type]


@pytest.mark.parametrize("field", ["base", "cap"])
@pytest.mark.parametrize("value", [-0.1, math.nan, math.inf, 1e9, True, "1", None])
def test_waits_are_a_number_of_seconds(field: str, value: object) -> None:
    with pytest.raises(InvalidInputError, match=f"{field} must be a number of seconds"):
        RetryPolicy(**{field: value})  # type: ignore[arg-type]


def api(status: int, code: int | None = 1) -> BadgesError:
    """Give the error that an answer with one error in it raises."""
    with pytest.raises(APIError) as caught:
        open_envelope(make_reply(status, refusal(code)))
    return caught.value


TRANSIENT_STATUSES = [408, 425, 429, 500, 502, 503, 504, 520, 521, 522, 523, 524]
FINAL_STATUSES = [200, 302, 400, 401, 403, 404, 405, 409, 413, 415, 418, 422, 461, 501, 505, 525]


@pytest.mark.parametrize("status", TRANSIENT_STATUSES)
def test_an_answer_of_a_passing_state_is_worth_another_try(status: int) -> None:
    assert is_transient(api(status))
    assert is_transient(UnreadableReplyError("a", status=status))


@pytest.mark.parametrize("status", FINAL_STATUSES)
def test_any_other_answer_is_not(status: int) -> None:
    assert not is_transient(api(status))


@pytest.mark.parametrize(
    ("error", "transient"),
    [
        (ConnectError("a"), True),
        (ConnectError("a", certificate_refused=True), False),
        (ConnectionLostError("a"), True),
        (DeadlineError("a"), True),
        # What became of the claim is not known, so it is asked for again.
        (UnreadableReplyError("a", status=200), True),
        (UnreadableReplyError("a", status=204), True),
        (UnreadableReplyError("a", status=599), True),
        (UnreadableReplyError("a", status=302), False),
        (UnreadableReplyError("a", status=404), False),
        (UnreadableReplyError("a", status=418), False),
        (InvalidInputError("a"), False),
        (ClientClosedError("a"), False),
        (StructureError("a"), False),
        (OutageError("a"), False),
        (BadgesError("a"), False),
    ],
    ids=repr,
)
def test_which_errors_pass(error: BadgesError, *, transient: bool) -> None:
    assert is_transient(error) is transient


@pytest.mark.parametrize("status", [200, 400, 404, 410, 418, 422])
def test_an_error_of_the_api_settles_its_request(status: int) -> None:
    assert is_refused_for_good(api(status, 717))


@pytest.mark.parametrize("status", [413, 414, 431])
def test_the_size_limits_settle_a_request_without_any_words(status: int) -> None:
    with pytest.raises(APIError) as caught:
        open_envelope(make_reply(status, HTML))
    assert is_refused_for_good(caught.value)


NOT_ABOUT_IT = [401, 403, 405, 406, 407, 408, 409, 415, 421, 425, 426, 429, 461]


@pytest.mark.parametrize("status", [*NOT_ABOUT_IT, *range(500, 530)])
def test_who_asks_and_when_settles_no_request(status: int) -> None:
    assert not is_refused_for_good(api(status, 717))


@pytest.mark.parametrize(
    "error",
    [
        ConnectError("a"),
        ConnectionLostError("a"),
        DeadlineError("a"),
        OutageError("a"),
        ClientClosedError("a"),
        UnreadableReplyError("a", status=400),
        AuthenticationError("a", status=401, errors=(Notice(1, "m"),)),
        RateLimitedError("a", errors=(Notice(1, "m"),)),
        ServerError("a", status=500, errors=(Notice(717, "m"),)),
        # A bare status can come from anything on the way, and an empty entry says nothing.
        APIError("a", status=400),
        APIError("a", status=404),
        APIError("a", status=200, errors=(Notice(None, ""),)),
    ],
    ids=repr,
)
def test_what_does_not_say_no_is_not_final(error: BadgesError) -> None:
    assert not is_refused_for_good(error)


@pytest.mark.parametrize("status", [405, 406, 407, 415, 421, 426, 500, 501, 503, 505, 525, 599])
def test_what_is_said_of_a_kind_of_request_would_be_said_to_any(status: int) -> None:
    assert would_be_said_to_any(api(status))
    assert would_be_said_to_any(UnreadableReplyError("a", status=status))


@pytest.mark.parametrize("status", [200, 302, 400, 404, 408, 409, 413, 418, 422, 425, 429, 461])
def test_what_is_said_of_one_request_or_its_sender_is_an_answer(status: int) -> None:
    assert not would_be_said_to_any(api(status))
    assert not would_be_said_to_any(ConnectError("a"))


@pytest.mark.parametrize(("status", "final"), [(200, False), (400, True), (422, True)])
def test_words_without_a_code_are_a_no_only_under_a_status_that_says_so(
    status: int, *, final: bool
) -> None:
    error = APIError("a", status=status, errors=(Notice(None, "no such owner"),))
    assert is_refused_for_good(error) is final


def test_our_own_refusal_is_final() -> None:
    assert is_refused_for_good(InvalidInputError("a"))


@given(status=st.integers(100, 599), code=st.none() | st.integers(1, 1000))
def test_no_error_is_both_final_and_worth_another_try(status: int, code: int | None) -> None:
    error = api(status, code)
    assert not (is_transient(error) and is_refused_for_good(error))


def test_retries_cost_and_successes_earn() -> None:
    budget = RetryBudget()

    assert budget.capacity == budget.tokens == 100.0
    assert budget.cost(ServerError("a", status=500)) == 5.0
    assert budget.cost(ConnectionLostError("a")) == 5.0
    assert budget.cost(RateLimitedError("a")) == 5.0
    assert budget.cost(DeadlineError("a")) == 10.0
    # No load was caused, or the service itself named the time.
    assert budget.cost(ConnectError("a")) == 0.0
    assert budget.cost(RateLimitedError("a", retry_after=0.0)) == 0.0


def test_a_sick_service_uses_the_budget_up_and_a_healthy_one_fills_it() -> None:
    budget = RetryBudget(capacity=20.0)

    assert [budget.take(5.0) for _ in range(5)] == [True, True, True, True, False]
    assert budget.tokens == 0.0
    assert budget.take(0.0)
    budget.succeeded()
    assert budget.tokens == 1.0
    assert not budget.take(5.0)
    assert budget.tokens == 1.0
    budget.succeeded(last_cost=10.0)
    assert budget.tokens == 11.0
    for _ in range(100):
        budget.succeeded()
    assert budget.tokens == 20.0
