"""
What a run of many claims adds up to.

Here: the numbers, the rule for "all well", and the tally that they are read from. Not here: how
they are printed (`cli`), or what counts as which (`bulk`).
"""

from __future__ import annotations

from collections.abc import Mapping

import attrs

from badges_async.claims import ClaimOutcome, ClaimRequest
from badges_async.enums import ClaimStatus
from badges_async.errors import APIError, BadgesError, UnreadableReplyError

__all__ = ["BulkReport", "Tally", "error_key"]


@attrs.frozen(kw_only=True)
class BulkReport:
    """
    The sums of one bulk run.

    Attributes:
        counts: Outcomes by status; every status is a key.
        recovered: Those of ALREADY_CLAIMED that are most likely ours, see `ClaimOutcome`.
        skipped: Requests that a ledger knew to be settled before this run; nothing was sent.
        rejected_before: Of `skipped`, those that the ledger knew as rejected.
        unsettled: Requests that were pulled and got no outcome, because the run was stopped.
        retries: Attempts beyond the first of each request.
        throttled: Answers that said "too many requests" (429).
        errors: Requests that ended REJECTED or FAILED, by cause: the API's code as text, such as
            ``"717"``, else the HTTP status, such as ``"HTTP 502"``, else the error's class name.
        waits: Seconds that went by, summed over all requests of the run, by cause: ``slot`` (a free
            connection), ``token``, ``gate`` (a pause that the service asked for), ``quota``,
            ``pace`` (the learned limit), ``backoff``, ``outage`` (nobody was answered),
            ``ledger``, ``service`` (requests on the wire). With n claims in flight they add up to
            about n times `elapsed`. A cause that cost nothing is absent.
        elapsed: Seconds from the start of the run to its end, or to now while it runs.
    """

    counts: Mapping[ClaimStatus, int] = attrs.field(hash=False)
    recovered: int = 0
    skipped: int = 0
    rejected_before: int = 0
    unsettled: int = 0
    retries: int = 0
    throttled: int = 0
    errors: Mapping[str, int] = attrs.field(factory=dict, hash=False)
    waits: Mapping[str, float] = attrs.field(factory=dict, hash=False)
    elapsed: float = 0.0

    @property
    def claimed(self) -> int:
        """Claims that are new with this run."""
        return self.counts[ClaimStatus.CLAIMED]

    @property
    def already_claimed(self) -> int:
        """Claims that stood when the answer was given, `recovered` ones included."""
        return self.counts[ClaimStatus.ALREADY_CLAIMED]

    @property
    def rejected(self) -> int:
        """Claims that were refused for good."""
        return self.counts[ClaimStatus.REJECTED]

    @property
    def failed(self) -> int:
        """Claims whose attempts are exhausted; what the service holds of them is not known."""
        return self.counts[ClaimStatus.FAILED]

    @property
    def total(self) -> int:
        """Outcomes, of any status."""
        return sum(self.counts.values())

    @property
    def claims_per_second(self) -> float:
        """Outcomes for each second of the run; 0.0 before any time has passed."""
        return self.total / self.elapsed if self.elapsed > 0 else 0.0

    @property
    def ok(self) -> bool:
        """
        Whether every request that was pulled is held by the service now.

        One that was rejected is not, be it in this run or, as the ledger knows, in one before.
        """
        return not (self.rejected or self.rejected_before or self.failed or self.unsettled)


def error_key(error: BadgesError) -> str:
    """Give the word under which `BulkReport.errors` counts *error*."""
    if isinstance(error, APIError) and error.code is not None:
        return str(error.code)
    if isinstance(error, APIError | UnreadableReplyError):
        return f"HTTP {error.status}"
    return type(error).__name__


@attrs.define
class Tally:
    """
    The sums of a run so far, counted up as it goes.

    Attributes:
        pulled: Requests that were pulled.
        waits: Seconds that requests waited, by cause.
        served: Seconds that they were on the wire.
        open: Those of them without an outcome, by their identity: equal ones are two requests all
            the same. One that was pulled several times is in `again` as often as it is still open.
        doubtful: Those of them, by their identity, that an attempt may have been applied of.
    """

    pulled: int = 0
    recovered: int = 0
    skipped: int = 0
    rejected_before: int = 0
    retries: int = 0
    throttled: int = 0
    counts: dict[ClaimStatus, int] = attrs.field(factory=lambda: dict.fromkeys(ClaimStatus, 0))
    errors: dict[str, int] = attrs.field(factory=dict)
    waits: dict[str, float] = attrs.field(factory=dict)
    served: float = 0.0
    open: dict[int, ClaimRequest] = attrs.field(factory=dict)
    again: dict[int, int] = attrs.field(factory=dict)
    doubtful: set[int] = attrs.field(factory=set)

    def enter(self, asked: ClaimRequest) -> None:
        """Hear that a request was pulled."""
        self.pulled += 1
        key = id(asked)
        if key in self.open:
            self.again[key] = self.again.get(key, 0) + 1
        self.open[key] = asked

    def skip(self, asked: ClaimRequest, *, rejected: bool) -> None:
        """Count a request that was settled before this run."""
        self.skipped += 1
        self.rejected_before += rejected
        self._close(asked)

    def add(self, outcome: ClaimOutcome) -> None:
        """Count an outcome."""
        if self.again:
            self._close(outcome.request)
        else:
            self.open.pop(id(outcome.request), None)
        if self.doubtful:
            self.doubtful.discard(id(outcome.request))
        self.counts[outcome.status] += 1
        self.recovered += outcome.recovered
        if outcome.error is not None:
            key = error_key(outcome.error)
            self.errors[key] = self.errors.get(key, 0) + 1

    def waited(self, cause: str, seconds: float) -> None:
        """Count seconds that one request waited."""
        self.waits[cause] = self.waits.get(cause, 0.0) + seconds

    def left_open(self) -> list[ClaimRequest]:
        """Give the requests without an outcome, each as often as it was pulled."""
        if not self.again:
            return list(self.open.values())
        return [
            asked for key, asked in self.open.items() for _ in range(1 + self.again.get(key, 0))
        ]

    def report(self, *, elapsed: float, ended: bool) -> BulkReport:
        """Give the sums; what was pulled and has no outcome is unsettled once the run has ended."""
        return BulkReport(
            counts=dict(self.counts),
            recovered=self.recovered,
            skipped=self.skipped,
            rejected_before=self.rejected_before,
            unsettled=self.pulled - self.skipped - sum(self.counts.values()) if ended else 0,
            retries=self.retries,
            throttled=self.throttled,
            errors=dict(self.errors),
            waits=self.waits | ({"service": self.served} if self.served else {}),
            elapsed=elapsed,
        )

    def _close(self, asked: ClaimRequest) -> None:
        key = id(asked)
        if self.again.get(key):
            self.again[key] -= 1
        else:
            self.open.pop(key, None)
