"""`kill -9` at each point of a claim's way: the next run finishes, and nothing was told in vain."""

from __future__ import annotations

import signal
import subprocess
import sys
from pathlib import Path

import pytest

from badges_async import ClaimStatus, LedgerReader
from tests.catalogue.crashing import POINTS, ROWS, FileService, Places, make_claims
from tests.client.ledgers import kept
from tests.kill_helpers import ROOT, environment
from tests.ledger.support import entries
from tests.virtual_clock import run_virtually

HELD = {ClaimStatus.CLAIMED, ClaimStatus.ALREADY_CLAIMED}
ONE, *OTHERS = POINTS


def crash(point: str, folder: Path) -> None:
    ended = subprocess.run(  # noqa: S603 - our own module
        [sys.executable, "-m", "tests.catalogue.crashing", point, str(folder)],
        cwd=ROOT,
        env=environment(),
        check=False,
        timeout=25,
    )
    assert ended.returncode == -signal.SIGKILL


def check_what_is_left(point: str, places: Places) -> None:
    """See that the ledger knows what was told, and has doubts of what else is held."""
    held, told = set(places.lines(places.held)), set(places.lines(places.told))
    found = entries(places.ledger)
    recorded = {name for name, entry in found.items() if entry.outcome}
    in_doubt = {name for name, entry in found.items() if entry.in_doubt}
    assert told <= recorded <= held <= recorded | in_doubt
    assert len(held) < ROWS
    unheard = len(held - recorded)
    if point in {"between request and answer", "between answer and commit", "inside the commit"}:
        assert unheard > 0
    if point == "between commit and outcome":
        assert recorded - told


async def finish(places: Places) -> None:
    before = entries(places.ledger)
    recorded = {name for name, entry in before.items() if entry.outcome}
    in_doubt = {name for name, entry in before.items() if entry.in_doubt}
    service = FileService(places)
    unheard = {reference for _, reference in service.held} - recorded
    async with kept(places.ledger, service) as (client, ledger):
        report = await client.claim_all(make_claims(), ledger=ledger)
    assert report.ok
    assert report.skipped == len(recorded)
    assert report.recovered == report.already_claimed == len(unheard)
    assert unheard <= in_doubt
    assert len(service.sent) == ROWS - len(recorded), "what is settled is not sent again"
    with LedgerReader.open(places.ledger) as reader:
        standing = reader.standing()
        assert {entry.outcome.status for entry in reader.entries() if entry.outcome} <= HELD
    assert standing.settled == standing.total == ROWS == len(service.held)


@pytest.mark.parametrize(
    "point", [ONE, *(pytest.param(point, marks=pytest.mark.slow) for point in OTHERS)]
)
def test_a_run_that_is_killed_at_a_point_is_finished_by_the_next(
    point: str, tmp_path: Path
) -> None:
    """F102: what was told is recorded, and what is held and was not recorded is in doubt."""
    places = Places(tmp_path)
    crash(point, tmp_path)
    check_what_is_left(point, places)
    run_virtually(lambda: finish(places))
