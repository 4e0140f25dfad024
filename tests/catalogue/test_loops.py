"""
The matrix: asyncio's loop and uvloop, the session lane and the wire.

The fixture `lane` makes every test that has it run on all four. Here: one job with a bit of
everything, which must come to the same on each. Not here: which loop the command line takes
(`tests/cli/test_loops.py`).
"""

from __future__ import annotations

import random
from pathlib import Path

import pytest

from badges_async import BadgesClient, BasicAuth, ClaimOutcome, ClaimStatus, Ledger, Ports
from badges_async.sandbox import Fault, Sandbox
from tests.kill_helpers import BADGES, held_by, make_claims

# Of each row that begins with a fault: its attempts, and whether the first one may have counted.
DAY: list[tuple[Fault | None, int, bool]] = [
    (None, 1, False),
    (Fault.ERROR_500_BEFORE, 2, False),
    (Fault.RESET_AFTER, 2, True),
    (Fault.RESET_BEFORE, 2, False),
    (Fault.HTML_502_AFTER, 2, True),
    (Fault.TRUNCATED, 2, True),
    (Fault.MALFORMED_CHUNK, 2, True),
    (Fault.EMPTY_200, 2, False),
    (Fault.HALF_JSON, 2, True),
    (None, 1, False),
]


@pytest.mark.usefixtures("lane")
async def test_each_loop_and_lane_comes_to_the_same(tmp_path: Path) -> None:
    """F100: the same faults in the same order, and the same outcome and attempts of each row."""
    faults = [step for fault, attempts, _ in DAY for step in (fault, None)[:attempts]]
    ports = Ports(random=random.Random(1))  # noqa: S311 - jitter
    told: list[ClaimOutcome] = []
    async with (
        Sandbox(badges=BADGES, faults=faults) as sandbox,
        BadgesClient(
            sandbox.url, BasicAuth(sandbox.username, sandbox.password), ports=ports
        ) as client,
        Ledger.open(tmp_path / "run.db") as ledger,
    ):
        rows = list(make_claims(len(DAY)))
        report = await client.claim_all(rows, concurrency=1, ledger=ledger, on_outcome=told.append)
        standing = await ledger.standing()
        assert held_by(sandbox) == set(rows)
    assert [(each.request, each.attempts, each.recovered) for each in told] == [
        (row, attempts, counted) for row, (_, attempts, counted) in zip(rows, DAY, strict=True)
    ]
    assert report.counts == dict(standing.counts)
    assert report.counts[ClaimStatus.ALREADY_CLAIMED] == report.recovered == 5
    assert report.counts[ClaimStatus.CLAIMED] == len(DAY) - 5
