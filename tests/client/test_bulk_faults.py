"""
The promise of a bulk run, on a bad day: what is reported is what the service holds.

Faults are random under a seed; what each outcome must be is derived from the sandbox's own records,
never from what the client says.
"""

from __future__ import annotations

import asyncio
from collections import Counter
from collections.abc import Sequence
from random import Random
from typing import Literal

import pytest

from badges_async import (
    BadgesClient,
    BasicAuth,
    BulkReport,
    ClaimOutcome,
    ClaimRequest,
    ClaimStatus,
    OAuth,
    RetryPolicy,
    Timeout,
)
from badges_async.auth import Auth
from badges_async.sandbox import Fault, RecordedRequest, Sandbox, make_badge_ids

pytestmark = pytest.mark.usefixtures("lane")

CLAIMED, ALREADY = ClaimStatus.CLAIMED, ClaimStatus.ALREADY_CLAIMED
REJECTED, FAILED = ClaimStatus.REJECTED, ClaimStatus.FAILED

# 15 % in all: losses before and after the commit, foreign answers, ends of connections.
FAULTS = dict.fromkeys(
    [
        Fault.RESET_BEFORE,
        Fault.RESET_AFTER,
        Fault.CLOSE_BEFORE,
        Fault.CLOSE_AFTER,
        Fault.TRUNCATED,
        Fault.TRUNCATED_CHUNKS,
        Fault.RESET_IN_BODY,
        Fault.MALFORMED,
        Fault.MALFORMED_CHUNK,
        Fault.HTML_502_BEFORE,
        Fault.HTML_502_AFTER,
        Fault.HALF_JSON,
        Fault.HTML_200,
        Fault.OTHER_CLAIM,
        Fault.ERROR_503_BEFORE,
        Fault.ERROR_503_AFTER,
        Fault.STALE_KEEP_ALIVE,
        Fault.IDLE_CLOSE,
    ],
    0.15 / 18,
)
# After these the client has read a whole answer of the API: no doubt is left.
WHOLE = {None, Fault.STALE_KEEP_ALIVE, Fault.IDLE_CLOSE, Fault.THROTTLED, Fault.THROTTLED_BARE}
QUICK = RetryPolicy(max_attempts=8, base=0.002, cap=0.05)

BADGES = list(make_badge_ids(20))
NOBODYS = "f" * 24


def make_rows(count: int) -> list[ClaimRequest]:
    """Give rows over many badges, one in fifty of them for a badge that is not there."""
    return [
        ClaimRequest(
            NOBODYS if number % 50 == 7 else BADGES[number % len(BADGES)], "Loyalty", f"r{number}"
        )
        for number in range(count)
    ]


class BadDay:
    """Rolls the dice for each claim, and notes whether it was held when it was asked for."""

    def __init__(self, sandbox: Sandbox, faults: dict[Fault, float], seed: int) -> None:
        self.held: dict[int, bool] = {}
        self.requests: dict[tuple[str, str | None], list[RecordedRequest]] = {}
        self._sandbox = sandbox
        self._faults = faults
        self._dice = Random(seed)  # noqa: S311 - a schedule

    def __call__(self, record: RecordedRequest) -> Fault | None:
        if record.operation != "claim":
            return None
        key = record.badge_id, record.reference_id
        self.requests.setdefault(key, []).append(record)
        self.held[record.number] = (key[0], "Loyalty", key[1]) in self._sandbox.claims
        rest = self._dice.random()
        for fault, rate in self._faults.items():
            rest -= rate
            if rest < 0:
                return fault
        return None


def check(
    sandbox: Sandbox, day: BadDay, rows: Sequence[ClaimRequest], outcomes: Sequence[ClaimOutcome]
) -> None:
    """Compare what was said with what the service holds, and with how it got there."""
    assert Counter(outcome.request for outcome in outcomes) == Counter(rows)
    held = {(badge_id, reference) for badge_id, _, reference in sandbox.claims}
    for outcome in outcomes:
        key = (outcome.request.badge_id, outcome.request.reference_id)
        if outcome.status is FAILED:
            continue
        assert (outcome.status is REJECTED) == (key[0] == NOBODYS), outcome
        assert (outcome.status in {CLAIMED, ALREADY}) == (key in held), outcome
        *earlier, last = day.requests[key]
        assert last.fault in WHOLE
        assert (outcome.status is ALREADY) == day.held[last.number], outcome
        # A stale connection ends before its request is read: it is in no record.
        unread = outcome.attempts > len(earlier) + 1
        doubt = unread or any(record.fault not in WHOLE for record in earlier)
        assert outcome.recovered == (outcome.status is ALREADY and doubt), outcome


async def run_on_a_bad_day(
    seed: int,
    *,
    count: int = 600,
    auth: Auth | None = None,
    faults: dict[Fault, float] = FAULTS,
    already_claimed: Literal["warning", "error"] = "warning",
    concurrency: int = 16,
) -> BulkReport:
    rows = make_rows(count)
    outcomes: list[ClaimOutcome] = []
    async with Sandbox(badges=BADGES, seed=seed, already_claimed=already_claimed) as sandbox:
        day = BadDay(sandbox, faults, seed)
        sandbox.set_faults(day)
        for row in rows[::40]:
            if row.badge_id != NOBODYS:
                sandbox.add_claim(row.badge_id, "Loyalty", row.reference_id)
        async with BadgesClient(
            sandbox.url,
            auth or BasicAuth(sandbox.username, sandbox.password),
            retry=QUICK,
            timeout=Timeout(attempt=5),
        ) as client:
            report = await client.claim_all(
                rows, concurrency=concurrency, on_outcome=outcomes.append
            )
    check(sandbox, day, rows, outcomes)
    assert report.total == count
    assert report.unsettled == 0
    assert report.recovered == sum(outcome.recovered for outcome in outcomes)
    return report


@pytest.mark.parametrize("seed", range(4))
async def test_outcomes_are_what_the_service_holds(seed: int) -> None:
    report = await run_on_a_bad_day(seed)
    assert report.recovered > 5
    assert report.retries > 40
    assert report.failed <= 1


async def test_outcomes_are_right_where_code_900_is_an_error() -> None:
    report = await run_on_a_bad_day(7, already_claimed="error")
    assert report.recovered > 5


async def test_outcomes_are_right_with_tokens_that_end_in_the_middle() -> None:
    async with Sandbox(badges=BADGES, faults=FAULTS, seed=3) as sandbox:
        rows = [row for row in make_rows(600) if row.badge_id != NOBODYS]
        outcomes: list[ClaimOutcome] = []
        auth = OAuth(sandbox.client_key, sandbox.client_secret)
        async with (
            BadgesClient(sandbox.url, auth, retry=QUICK) as client,
            client.claim_many(rows, concurrency=16) as run,
        ):
            async for outcome in run:
                outcomes.append(outcome)
                if len(outcomes) % 100 == 0:
                    sandbox.revoke_tokens()
        assert 5 <= sandbox.tokens_issued <= 7
        assert Counter(outcome.request for outcome in outcomes) == Counter(rows)
        assert {outcome.status for outcome in outcomes} <= {CLAIMED, ALREADY}
        assert {(row.badge_id, "Loyalty", row.reference_id) for row in rows} <= sandbox.claims


@pytest.mark.parametrize("concurrency", [1, 64])
async def test_outcomes_are_right_with_few_and_with_many_workers(concurrency: int) -> None:
    await run_on_a_bad_day(11, count=300, concurrency=concurrency)


@pytest.mark.slow
@pytest.mark.parametrize("seed", range(100, 103))
async def test_outcomes_are_right_on_a_very_bad_day(seed: int) -> None:
    faults = {fault: rate * 3 for fault, rate in FAULTS.items()}
    await run_on_a_bad_day(seed, count=2000, faults=faults)


@pytest.mark.slow
async def test_ten_thousand_rows_on_a_bad_day() -> None:
    report = await run_on_a_bad_day(42, count=10_000)
    assert report.recovered > 100


@pytest.mark.slow
async def test_a_service_that_goes_away_in_the_middle_costs_no_row() -> None:
    rows = [row for row in make_rows(400) if row.badge_id != NOBODYS]
    outcomes: list[ClaimOutcome] = []
    back: list[asyncio.Future[None]] = []
    async with Sandbox(badges=BADGES) as sandbox:

        def come_back() -> None:
            back.append(asyncio.ensure_future(sandbox.start_listening()))

        auth = BasicAuth(sandbox.username, sandbox.password)
        async with BadgesClient(sandbox.url, auth, retry=QUICK) as client:
            async with client.claim_many(rows, concurrency=8) as run:
                async for outcome in run:
                    outcomes.append(outcome)
                    if len(outcomes) == 100:
                        await sandbox.stop_listening()
                        asyncio.get_running_loop().call_later(0.5, come_back)
            await asyncio.gather(*back)
    assert {outcome.status for outcome in outcomes} <= {CLAIMED, ALREADY}
    assert len(sandbox.claims) >= len(rows) == len(outcomes)
