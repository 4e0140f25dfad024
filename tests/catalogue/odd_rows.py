"""
A bulk run in which three rows meet an answer of the test's choice, and all others go well.

Here: the service, the run, and what became of each row. Not here: the answers, or what they mean.
"""

from __future__ import annotations

import json
from collections import Counter
from collections.abc import Iterator

import attrs

from badges_async import (
    BadgesClient,
    BasicAuth,
    BulkReport,
    ClaimOutcome,
    ClaimRequest,
    RetryPolicy,
)
from tests.answers import envelope, held, notice
from tests.client.byte_server import ByteServer, Exchange, http, until

__all__ = ["ANYBODY", "BADGE", "MOST_ATTEMPTS", "Ends", "claim_with_odd_rows"]

BADGE = "69381220cebb9648d8974518"
PATH = f"/api_gateway/v1/badges/badgeMeta/{BADGE}/claim"
MOST_ATTEMPTS = 3
WORKERS = 4
ANYBODY = "ANYREF"
"""Where an answer says this, each row finds its own reference: they are as long."""
_ODD = ("before", "behind", "always")


@attrs.frozen
class Ends:
    """
    What became of the rows.

    Attributes:
        before: Of the row that met the answer once, in the place of its claim.
        behind: Of the row that met it once, when its claim had taken effect.
        always: Of the row that met it with every request; none of them took effect.
        others: Of all others.
        held: The references of the claims that the service holds.
        requests: How many claims arrived, by reference.
    """

    before: ClaimOutcome
    behind: ClaimOutcome
    always: ClaimOutcome
    others: list[ClaimOutcome]
    held: set[str]
    requests: Counter[str]
    report: BulkReport


@attrs.define
class _Run:
    """The service and what the run has told so far, which the service waits for."""

    answer: bytes
    held: set[str] = attrs.field(factory=set)
    requests: Counter[str] = attrs.field(factory=Counter)
    outcomes: dict[str, ClaimOutcome] = attrs.field(factory=dict)

    async def serve(self, exchange: Exchange) -> None:
        """Answer one request."""
        if not exchange.body:  # nothing like it is to be asked for, see below
            await exchange.say(http(b"{}"))
            return
        reference = json.loads(exchange.body)["referenceId"]
        self.requests[reference] += 1
        if reference == "always" or (reference in _ODD and self.requests[reference] == 1):
            if reference == "behind":
                self.held.add(reference)
            # Others that were asked meanwhile are answered: it is a row's trouble, no outage.
            enough = len(self.outcomes) + 2 * WORKERS
            await until(lambda: len(self.outcomes) >= enough)
            await exchange.say(self.answer.replace(ANYBODY.encode(), reference.encode()))
            return
        warnings = [notice(900)] if reference in self.held else []
        self.held.add(reference)
        await exchange.say(http(envelope(held(referenceId=reference), None, warnings)))

    def rows(self) -> Iterator[ClaimRequest]:
        """Give the odd rows, and others for as long as those have no outcome."""
        for name in _ODD:
            yield ClaimRequest(BADGE, "Loyalty", name)
        number = 0
        while not self.outcomes.keys() >= set(_ODD):
            number += 1
            yield ClaimRequest(BADGE, "Loyalty", f"other {number}")

    def hear(self, outcome: ClaimOutcome) -> None:
        """Note what became of a row."""
        self.outcomes[outcome.request.reference_id] = outcome


async def claim_with_odd_rows(answer: bytes) -> Ends:
    """Claim some rows, three of which meet *answer*, on a connection that the service keeps."""
    run = _Run(answer)
    retry = RetryPolicy(max_attempts=MOST_ATTEMPTS, base=0)
    async with (
        ByteServer(run.serve) as server,
        BadgesClient(server.url, BasicAuth("till", "password"), retry=retry) as client,
    ):
        report = await client.claim_all(run.rows(), concurrency=WORKERS, on_outcome=run.hear)
    # Whatever the answer was, there were claims and nothing else: no redirect is followed.
    assert {exchange.line for exchange in server.seen} == {f"POST {PATH} HTTP/1.1"}
    odd = {name: run.outcomes.pop(name) for name in _ODD}
    return Ends(
        **odd,
        others=list(run.outcomes.values()),
        held=run.held,
        requests=run.requests,
        report=report,
    )
