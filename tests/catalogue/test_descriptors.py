"""
A process that has no file descriptor left, which only a process of its own can be.

Here: a run that has fewer than it has workers. Not here: what one such failure means
(`test_connecting`).
"""

from __future__ import annotations

import asyncio
import json
import sys
import textwrap
from pathlib import Path

import pytest

from badges_async import ClaimStatus, LedgerReader
from badges_async.sandbox import Sandbox
from tests.kill_helpers import BADGES, ROOT, environment, held_by

SPARE = 6
RUN = """
    import asyncio, json, os, resource, sys
    from badges_async import ConnectError, Ledger, RetryPolicy
    from tests.kill_helpers import client_of, make_claims

    async def main(url, path, lane, count, spare):
        errors = []
        client = client_of(
            url,
            lane=lane,
            retry=RetryPolicy(max_attempts=1, base=0.01),
            observers=[lambda event: event.error and errors.append(event.error)],
        )
        async with Ledger.open(path) as ledger, client:
            used = max(map(int, os.listdir("/proc/self/fd"))) + 1
            limits = used + spare, resource.getrlimit(resource.RLIMIT_NOFILE)[1]
            resource.setrlimit(resource.RLIMIT_NOFILE, limits)
            report = await client.claim_all(make_claims(count), concurrency=16, ledger=ledger)
        clean = all(type(error) is ConnectError and not error.maybe_applied for error in errors)
        print(json.dumps([report.claimed, report.failed, len(errors), clean]))

    asyncio.run(main(*sys.argv[1:4], *map(int, sys.argv[4:])))
"""


@pytest.mark.slow
@pytest.mark.parametrize("way", ["session", "wire"])
async def test_a_run_goes_on_with_as_many_connections_as_it_can_open(
    way: str, tmp_path: Path
) -> None:
    """F022: who gets none has sent nothing and tries again; the ledger was open before."""
    count = 200
    async with Sandbox() as sandbox:
        sandbox.add_badges(BADGES)
        arguments = sandbox.url, str(tmp_path / "run.db"), way, str(count), str(SPARE)
        process = await asyncio.create_subprocess_exec(
            *(sys.executable, "-W", "error", "-c", textwrap.dedent(RUN), *arguments),
            cwd=ROOT,
            env=environment(),
            stdout=asyncio.subprocess.PIPE,
            stderr=asyncio.subprocess.PIPE,
        )
        told, complaints = await process.communicate()
        assert complaints.decode() == ""
        claimed, failed, errors, clean = json.loads(told)
        assert (claimed, failed, clean) == (count, 0, True)
        assert errors > 0
        assert len(held_by(sandbox)) == count
        assert len(sandbox.requests) == count
        assert sandbox.peak_in_flight <= SPARE
    with LedgerReader.open(tmp_path / "run.db") as ledger:
        standing = ledger.standing()
    assert standing.counts[ClaimStatus.CLAIMED] == standing.total == count
