"""
A bulk run in which a few rows meet an answer of the test's choice, and all others go well.

Here: the service, the run, and what became of each row. Not here: the answers, or what they mean.
"""

from __future__ import annotations

from collections import Counter

import attrs

from badges_async import (
    BadgesClient,
    BasicAuth,
    BulkReport,
    ClaimOutcome,
    ClaimRequest,
    RetryPolicy,
)
from badges_async.sandbox import RawAnswer, RecordedRequest, Sandbox

__all__ = ["BADGE", "MOST_ATTEMPTS", "Ends", "claim_with_odd_rows"]

BADGE = "69381220cebb9648d8974518"
MOST_ATTEMPTS = 3
# The rows that meet it: with the first request before or after that took effect, or with each one.
_ODD = {"before", "after", "always"}


@attrs.frozen
class Ends:
    """
    What became of the rows.

    Attributes:
        before: Of the row that met the answer once, in the place of its claim.
        after: Of the row that met it once, in the place of the answer to its claim.
        always: Of the row that met it with every request; none of them took effect.
        others: Of all others.
        held: The references of the claims that the service holds.
        requests: How many claims arrived, by reference.
        paths: What the requests asked for.
    """

    before: ClaimOutcome
    after: ClaimOutcome
    always: ClaimOutcome
    others: list[ClaimOutcome]
    held: set[str]
    requests: Counter[str | None]
    paths: set[tuple[str, str]]
    report: BulkReport


async def claim_with_odd_rows(answer: bytes) -> Ends:
    """Claim some rows, three of which meet *answer*, on a connection that the service keeps."""
    requests: Counter[str | None] = Counter()

    def choose(record: RecordedRequest) -> RawAnswer | None:
        reference = record.reference_id
        requests[reference] += record.operation == "claim"
        first = requests[reference] == 1
        if reference == "always" or (reference in _ODD and first):
            return RawAnswer(answer, closes=False, commits=reference == "after")
        return None

    names = ["o1", "before", "o2", "after", "o3", "always", *(f"o{n}" for n in range(4, 24))]
    outcomes: dict[str, ClaimOutcome] = {}
    async with Sandbox(faults=choose) as sandbox:
        auth = BasicAuth(sandbox.username, sandbox.password)
        retry = RetryPolicy(max_attempts=MOST_ATTEMPTS, base=0)
        async with BadgesClient(sandbox.url, auth, retry=retry) as client:
            report = await client.claim_all(
                [ClaimRequest(BADGE, "Loyalty", name) for name in names],
                concurrency=4,
                on_outcome=lambda outcome: outcomes.update({outcome.request.reference_id: outcome}),
            )
    assert outcomes.keys() == set(names)
    return Ends(
        before=outcomes.pop("before"),
        after=outcomes.pop("after"),
        always=outcomes.pop("always"),
        others=list(outcomes.values()),
        held={reference for badge_id, _, reference in sandbox.claims if badge_id == BADGE},
        requests=requests,
        paths={(record.method, record.path) for record in sandbox.requests},
        report=report,
    )
