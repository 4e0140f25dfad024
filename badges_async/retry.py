"""
When to try again: which errors, how often, how long between.

Here: decisions about one failed attempt, as functions of values, and the budget that many calls
share. Not here: the loops that act on them (`dispatch`, `bulk`) or pauses that everybody keeps
(`quota`). This is the one module that imports `backoff`: it provides the growing delays, and we
the rest, because its own loop reads the wall clock and its jitter undercuts a Retry-After.
"""

from __future__ import annotations

import random
from collections.abc import Iterator

import attrs
import backoff

from badges_async.errors import (
    APIError,
    BadgesError,
    ConnectError,
    DeadlineError,
    InvalidInputError,
    RateLimitedError,
    ServerError,
    TransportError,
    UnreadableReplyError,
)

__all__ = [
    "RetryBudget",
    "RetryPolicy",
    "is_refused_for_good",
    "is_transient",
    "would_be_said_to_any",
]

_TRANSIENT_STATUSES = frozenset({408, 425, 429, 500, 502, 503, 504, *range(520, 525)})
# About the method, the headers and the connection, which all requests of a kind have in common.
_ABOUT_THE_KIND = frozenset({405, 406, 407, 415, 421, 426})
# And about who asks, and when; 461 is the platform's own "search is busy, try again later".
_NOT_ABOUT_THE_REQUEST = _ABOUT_THE_KIND | {401, 403, 408, 409, 425, 429, 461}


def _check_attempts(_: object, field: attrs.Attribute[int], value: object) -> None:
    if isinstance(value, bool) or not isinstance(value, int) or value < 1:
        raise InvalidInputError(f"{field.name} must be a whole number of at least 1")


def _check_seconds(_: object, field: attrs.Attribute[float], value: object) -> None:
    if isinstance(value, bool) or not isinstance(value, int | float) or not 0 <= value < 1e9:  # noqa: PLR2004
        raise InvalidInputError(f"{field.name} must be a number of seconds, 0 or more")


@attrs.frozen
class RetryPolicy:
    """
    How often to try and how long to wait in between.

    The n-th wait is drawn evenly from 0 to min(`cap`, `base` * 2 ** (n - 1)) seconds ("full
    jitter"), so that clients which failed together do not come back together.

    Attributes:
        max_attempts: Requests for one call at the most, 1 or more; 1 means no retry. A wait that
            the service asked for and a connection found stale are not counted.
        base: Seconds, the first upper bound.
        cap: Seconds, the last upper bound.
    """

    max_attempts: int = attrs.field(default=5, validator=_check_attempts)
    base: float = attrs.field(default=0.2, validator=_check_seconds)
    cap: float = attrs.field(default=20.0, validator=_check_seconds)

    def delays(self, chance: random.Random) -> Iterator[float]:
        """Give the waits between the attempts of one call, without end."""
        # Below a nanosecond the doubling would overflow before it reaches any cap.
        bounds = (
            backoff.expo(base=2, factor=self.base, max_value=self.cap)
            if self.base >= 1e-9  # noqa: PLR2004
            else backoff.constant(0)
        )
        next(bounds)  # the library's generators want to be started
        for bound in bounds:  # pragma: no branch - they have no end
            yield chance.uniform(0, bound)


def is_transient(error: BadgesError) -> bool:
    """
    Whether the same request may well succeed later.

    A claim is retried after an attempt that may have been applied: it is idempotent by its key.
    An answer that is not the API's under a status of success is one of those too, because what
    became of the claim is not known.
    """
    if isinstance(error, ConnectError):
        return not error.certificate_refused
    if isinstance(error, UnreadableReplyError):
        return error.status in _TRANSIENT_STATUSES or error.status // 100 in {2, 5}
    if isinstance(error, APIError):
        return error.status in _TRANSIENT_STATUSES
    return isinstance(error, TransportError)


def is_refused_for_good(error: BadgesError) -> bool:
    """
    Whether *error* settles its request: our validation or the API itself said no.

    The API's no is one with an error of its own in it: a bare status can come from anything on
    the way. Only the size limits, which every web server answers by itself, are taken bare. Under
    a status of success the error must name its code: without one it may be anybody's JSON.
    """
    if isinstance(error, InvalidInputError):
        return True
    if not isinstance(error, APIError) or isinstance(error, ServerError):
        return False
    if error.status in {413, 414, 431}:
        return True
    has_code = any(notice.code is not None for notice in error.errors)
    says_why = has_code or (error.status >= 400 and any(each.message for each in error.errors))  # noqa: PLR2004
    return says_why and error.status not in _NOT_ABOUT_THE_REQUEST


def would_be_said_to_any(error: BadgesError) -> bool:
    """
    Whether any request of the same kind may well be told the same: it is the service's trouble.

    That can be so for all of them or, where something on the way looks into requests, for one
    alone. A throttle is none of these: whoever is throttled is answered.
    """
    if isinstance(error, UnreadableReplyError | ServerError):
        return True
    return isinstance(error, APIError) and error.status in _ABOUT_THE_KIND


@attrs.define
class RetryBudget:
    """
    Tokens that retries cost and successes earn, shared by the calls of a client.

    A healthy service never notices it. A sick one sees the retries stop: calls then fail with
    their first error instead of multiplying the load.

    Attributes:
        capacity: Tokens at the start and at the most. The costs are botocore's ratios: 5 for a
            retry, 10 after a timeout; a first-try success earns 1, a retried one its last cost.
    """

    capacity: float = 100.0
    tokens: float = attrs.field(init=False)

    def __attrs_post_init__(self) -> None:
        self.tokens = self.capacity

    def cost(self, error: BadgesError) -> float:
        """Give the tokens that a retry after *error* costs; none where no load was caused."""
        if isinstance(error, ConnectError) or (
            isinstance(error, RateLimitedError) and error.retry_after is not None
        ):
            return 0.0
        return 10.0 if isinstance(error, DeadlineError) else 5.0

    def take(self, cost: float) -> bool:
        """Take *cost* tokens, or none and say no."""
        if cost > self.tokens:
            return False
        self.tokens -= cost
        return True

    def succeeded(self, last_cost: float = 0.0) -> None:
        """Earn tokens for a success, whose last retry had cost *last_cost*."""
        self.tokens = min(self.capacity, self.tokens + (last_cost or 1.0))
