"""
The report of a run against what the service holds: nothing lost, doubled or misreported.

Here: what one process can count about the other. Not here: how the two are started (`demo`).
"""

from __future__ import annotations

import json
from collections.abc import Iterable
from collections.abc import Set as AbstractSet
from typing import Any

import aiohttp
import attrs

from badges_async import ClaimOutcome, ClaimStatus
from badges_async.cli.ending import Ending
from badges_async.cli.rows import Row

__all__ = ["Check", "Key", "Witness", "ask_for_claims", "ask_for_state", "prove"]

Key = tuple[str, str, str]


@attrs.frozen
class Check:
    """One sentence, whether it is true, and the number that it is about."""

    sentence: str
    holds: bool
    count: int


@attrs.define
class Witness:
    """
    What the run said, claim by claim.

    Attributes:
        held: Reported as claimed or already claimed.
        rejected: Reported as rejected.
        open: Reported as failed: may be held, may be not.
        divided: Reported with one outcome for one line and with another for another.
        new: Reported as newly claimed.
    """

    held: set[Key] = attrs.field(factory=set)
    rejected: set[Key] = attrs.field(factory=set)
    open: set[Key] = attrs.field(factory=set)
    divided: set[Key] = attrs.field(factory=set)
    new: set[Key] = attrs.field(factory=set)
    _said: dict[Key, ClaimStatus] = attrs.field(factory=dict)

    def note(self, outcome: ClaimOutcome) -> None:
        """Take note of one outcome."""
        request = outcome.request
        key = (request.badge_id, str(request.owner_type), request.reference_id)
        if self._said.setdefault(key, outcome.status) is not outcome.status:
            self.divided.add(key)
        match outcome.status:
            case ClaimStatus.CLAIMED:
                self.new.add(key)
                self.held.add(key)
            case ClaimStatus.ALREADY_CLAIMED:
                self.held.add(key)
            case ClaimStatus.REJECTED:
                self.rejected.add(key)
            case _:
                self.open.add(key)


def prove(
    ending: Ending,
    witness: Witness,
    *,
    rows: int,
    held: AbstractSet[Key],
    before: AbstractSet[Key],
    peak: int,
) -> list[Check]:
    """
    Compare.

    Args:
        rows: Rows of the file, bad ones included.
        held: What the service holds now; *before*: what it held before the run.
        peak: The most requests that it ever served at once.
    """
    open_keys = witness.open | {_key(row) for row in ending.unsettled}
    lied = witness.held - held
    silent = held - before - witness.held - open_keys
    wrongly_rejected = witness.rejected & held - before
    repeats = ending.report.total - len(witness.held | witness.rejected | witness.open)
    concurrency = int(ending.options["concurrency"] or 0)
    checks = [
        Check("every claim reported as held is held", not lied, len(witness.held)),
        Check("every claim that is new was reported", not silent, len(held - before)),
        Check("no rejected claim is held", not wrongly_rejected, len(witness.rejected)),
        Check("no claim that was held before is new", not witness.new & before, len(before)),
        Check("a claim on several lines has one outcome", not witness.divided, repeats),
        Check(f"never more than {concurrency} requests in flight", peak <= concurrency, peak),
    ]
    if ending.complete:
        accounted = ending.report.total + ending.report.skipped + ending.tally.bad_rows
        checks.insert(0, Check("every row of the file is accounted for", accounted == rows, rows))
    return checks


async def ask_for_claims(url: str) -> frozenset[Key]:
    """Fetch every claim that the sandbox at *url* holds."""
    return frozenset(_read_claims((await _fetch(f"{url}/sandbox/claims")).splitlines()))


async def ask_for_state(url: str) -> dict[str, Any]:
    """Fetch the counters of the sandbox at *url*."""
    state: dict[str, Any] = json.loads(await _fetch(f"{url}/sandbox/state"))
    return state


def _read_claims(lines: Iterable[str]) -> Iterable[Key]:
    for line in lines:
        badge_id, owner_type, reference_id = json.loads(line)
        yield badge_id, owner_type, reference_id


async def _fetch(url: str) -> str:
    async with aiohttp.ClientSession() as session, session.get(url) as response:
        response.raise_for_status()
        return await response.text()


def _key(row: Row) -> Key:
    return row.badge_id, str(row.owner_type), row.reference_id
