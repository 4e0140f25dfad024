"""Inside of somebody else's program: nothing of theirs is changed, nothing of ours is left."""

from __future__ import annotations

import asyncio
import logging
import signal
import subprocess
import sys
import textwrap
import time
import warnings
from pathlib import Path
from typing import Any

import pytest

from badges_async import (
    BadgesClient,
    BasicAuth,
    ClaimOutcome,
    ClaimRequest,
    ClaimStatus,
    InvalidInputError,
    Ledger,
)
from badges_async.ledger.records import State
from badges_async.sandbox import Fault, Sandbox, make_badge_ids
from tests.client.ledgers import disk, kept
from tests.client.scripted import ScriptedTransport, make_client, make_rows
from tests.kill_helpers import ROOT
from tests.ledger.support import entries
from tests.virtual_clock import on_virtual_clock

(BADGE,) = make_badge_ids(1)
AUTH = BasicAuth("till.demo", "s3cret-Pass")


def settings_of_the_process() -> dict[str, Any]:
    """Give what belongs to the program and not to a library."""
    root, ours = logging.getLogger(), logging.getLogger("badges_async")
    return {
        "signals": {each: signal.getsignal(each) for each in signal.valid_signals()},
        "loggers": [(list(each.handlers), each.level, each.propagate) for each in (root, ours)],
        "disabled": logging.root.manager.disable,
        "policy": asyncio.get_event_loop_policy(),
        "hooks": (sys.excepthook, sys.unraisablehook, sys.getswitchinterval()),
        "warnings": list(warnings.filters),
        "handler": asyncio.get_running_loop().get_exception_handler(),
        "factory": asyncio.get_running_loop().get_task_factory(),
    }


@pytest.mark.usefixtures("lane")
async def test_a_library_changes_nothing_of_the_program_around_it(tmp_path: Path) -> None:
    """F093: no signal handler, no logging, no loop policy, neither meanwhile nor afterwards."""
    before = settings_of_the_process()
    meanwhile: list[dict[str, Any]] = []
    async with (
        Sandbox(badges=[BADGE], faults=[Fault.ERROR_500_BEFORE]) as sandbox,
        BadgesClient(sandbox.url, AUTH) as client,
        Ledger.open(tmp_path / "run.db") as ledger,
    ):
        report = await client.claim_all(
            [ClaimRequest(BADGE, "Loyalty", "1")],
            ledger=ledger,
            on_outcome=lambda _: meanwhile.append(settings_of_the_process()),
        )
    assert report.claimed == 1
    assert meanwhile == [before]
    assert settings_of_the_process() == before


async def test_a_ledger_of_another_loop_says_so_and_goes_on_where_it_belongs(
    tmp_path: Path,
) -> None:
    """F094: used from a second loop, in a thread of its own, nothing is sent and nothing hangs."""
    service = ScriptedTransport()

    async def elsewhere() -> None:
        client = make_client(service)
        with pytest.raises(InvalidInputError, match="another event loop"):
            await client.claim_all(make_rows(3), ledger=ledger)
        with pytest.raises(InvalidInputError, match="another event loop"):
            await ledger.standing()
        with pytest.raises(InvalidInputError, match="another event loop"):
            await ledger.load(make_rows(3))

    async with Ledger.open(tmp_path / "run.db") as ledger:
        await asyncio.to_thread(asyncio.run, elsewhere())
        assert service.sent == []
        report = await make_client(service).claim_all(make_rows(3), ledger=ledger)
    assert report.claimed == 3


FORGOTTEN = """
    import asyncio, gc, sys, warnings
    from badges_async import BadgesClient, BasicAuth, ClaimRequest, Ledger
    from badges_async.sandbox import Sandbox, make_badge_ids

    (BADGE,) = make_badge_ids(1)

    async def forget(url):
        client = BadgesClient(url, BasicAuth("till.demo", "s3cret-Pass"), lane=sys.argv[1])
        ledger = await Ledger.open(sys.argv[2]).__aenter__()
        await client.claim_all([ClaimRequest(BADGE, "Loyalty", "1")], ledger=ledger)

    async def main():
        async with Sandbox(badges=[BADGE]) as sandbox:
            with warnings.catch_warnings(record=True) as caught:
                warnings.simplefilter("always")
                await forget(sandbox.url)
                gc.collect()
                await asyncio.sleep(0)
                gc.collect()
            for each in caught:
                print(each.category.__name__, each.message)

    asyncio.run(main())
"""


@pytest.mark.parametrize("lane_name", ["session", "wire"])
def test_what_is_never_closed_is_told_and_loses_nothing(lane_name: str, tmp_path: Path) -> None:
    """F096: a warning when it is collected, an end without a hang, and all that was recorded."""
    path = tmp_path / "run.db"
    ended = subprocess.run(  # noqa: S603 - our own script
        [sys.executable, "-c", textwrap.dedent(FORGOTTEN), lane_name, str(path)],
        capture_output=True,
        text=True,
        check=False,
        timeout=25,
        cwd=ROOT,
    )
    assert ended.returncode == 0, ended.stderr
    told = ended.stdout.splitlines()
    assert told, "nobody was told"
    assert all(each.startswith("ResourceWarning Unclosed") for each in told)
    assert {name: entry.outcome is not None for name, entry in entries(path).items()} == {"1": True}


@on_virtual_clock
async def test_a_callback_that_raises_or_is_slow_costs_no_row(tmp_path: Path) -> None:
    """F097: what it is told of is on the disk; raising stops the run, and the next one goes on."""
    path, service = tmp_path / "run.db", ScriptedTransport()
    rows = make_rows(40)

    def stumble(outcome: ClaimOutcome) -> None:
        with disk(path) as on_disk:
            assert on_disk.state(outcome.request) is State.CLAIMED
        time.sleep(0.001)  # slow, and on the loop
        if outcome.request is rows[5]:
            raise LookupError("theirs")

    async with kept(path, service) as (client, ledger):
        with pytest.raises(LookupError, match="theirs"):
            await client.claim_all(rows, concurrency=4, ledger=ledger, on_outcome=stumble)
        first = (await ledger.standing()).counts[ClaimStatus.CLAIMED]
        assert 6 <= first < 40
        report = await client.claim_all(rows, ledger=ledger)
    assert report.ok
    assert report.skipped == first
    assert report.total == report.claimed + report.recovered == 40 - first
    assert len(service.held) == 40
