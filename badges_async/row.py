"""
A claim on its way through a bulk run, and the outcomes that it can have.

Here: what one row knows of itself. Not here: who works on it, and when (`crew`).
"""

from __future__ import annotations

import asyncio
import random
from collections.abc import Iterator
from typing import Self

import attrs

from badges_async import operations
from badges_async.calls import Call, concluded
from badges_async.claims import ClaimOutcome, ClaimRequest, ClaimResult
from badges_async.enums import ClaimStatus
from badges_async.errors import (
    AuthenticationError,
    BadgesError,
    ClientClosedError,
    ConnectError,
    LedgerError,
    PermissionDeniedError,
)
from badges_async.messages import Reply
from badges_async.retry import RetryPolicy
from badges_async.thawing import mutable_twin

__all__ = ["Row", "concerns_everyone"]

_OutcomeTwin = mutable_twin(ClaimOutcome)


@attrs.define(eq=False)
class Row(Call):
    """
    A patient call, and what the run knows of it.

    Attributes:
        asked: The request, as it was pulled.
        began: When it was pulled, in the loop's time.
        spent: Attempts that count against it.
        cost: What its last attempt cost of the retry budget, given back when it is answered.
    """

    asked: ClaimRequest = attrs.field(kw_only=True)
    began: float = attrs.field(kw_only=True)
    spent: int = attrs.field(default=0, kw_only=True)
    cost: float = attrs.field(default=0.0, kw_only=True)
    _delays: Iterator[float] | None = attrs.field(default=None, kw_only=True)

    def read(self, reply: Reply) -> ClaimResult:
        """Read the answer to an attempt."""
        return operations.read_claim(reply, self.asked)

    def renewed(self) -> Self:
        """Give back the time that it has waited for the service."""
        now = asyncio.get_running_loop().time()
        self.deadline = max(self.deadline, now + self.timeout.attempt)
        self.over = False
        return self

    def next_delay(self, policy: RetryPolicy, chance: random.Random) -> float:
        """Give the seconds before its next attempt."""
        if self._delays is None:
            self._delays = policy.delays(chance)
        return self.spaced(next(self._delays))

    def is_spent(self, policy: RetryPolicy) -> bool:
        """Whether its attempts or its time are exhausted."""
        now = asyncio.get_running_loop().time()
        return self.spent >= policy.max_attempts or self.deadline <= now

    def held(self, result: ClaimResult) -> ClaimOutcome:
        """Give the outcome of a row whose claim the service holds."""
        already, attempts = result.already_claimed, self.attempts
        if attempts != result.attempts:
            result = operations.with_attempts(result, attempts)
        status = ClaimStatus.ALREADY_CLAIMED if already else ClaimStatus.CLAIMED
        outcome = _OutcomeTwin(
            self.asked, status, result, None, attempts, already and self.maybe_applied
        )
        outcome.__class__ = ClaimOutcome
        return outcome  # type: ignore[no-any-return]

    def rejected(self, error: BadgesError) -> ClaimOutcome:
        """Give the outcome of a row that was refused for good."""
        return self._without_result(ClaimStatus.REJECTED, error)

    def failed(self) -> ClaimOutcome:
        """Give the outcome of a row that nothing more is tried for; at least one attempt failed."""
        assert self.last_error is not None  # noqa: S101 - only failed attempts lead here
        return self._without_result(ClaimStatus.FAILED, self.last_error)

    def _without_result(self, status: ClaimStatus, error: BadgesError) -> ClaimOutcome:
        return ClaimOutcome(
            self.asked, status, error=concluded(self, error), attempts=self.attempts
        )


def concerns_everyone(error: BadgesError) -> bool:
    """Whether *error* will meet every row, so that going on is no use."""
    if isinstance(error, ConnectError):
        return error.certificate_refused
    return isinstance(
        error, AuthenticationError | PermissionDeniedError | ClientClosedError | LedgerError
    )
