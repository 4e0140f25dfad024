"""SIGTERM, as a supervisor sends it, in whatever state the tool is."""

from __future__ import annotations

import asyncio
import os
import signal
import sys
from collections.abc import AsyncIterator
from pathlib import Path
from typing import Any

import pytest

from badges_async import LedgerReader
from badges_async.sandbox import RecordedRequest, Sandbox
from tests.client.byte_server import until
from tests.kill_helpers import BADGES, ROOT, environment, held_by, make_claims

STATES = ("idle", "sending", "pausing", "refreshing")


def fault_of(state: str) -> Any:
    """Give what brings the tool into *state*."""

    def choose(request: RecordedRequest) -> str | None:
        if state == "refreshing" and request.operation == "token":
            return "hang-before"
        if state == "sending" and request.operation == "claim":
            return "hang-after"
        return "throttled" if state == "pausing" and request.operation == "claim" else None

    return choose


@pytest.fixture(params=STATES)
async def tool(
    request: pytest.FixtureRequest, tmp_path: Path
) -> AsyncIterator[tuple[str, Sandbox, asyncio.subprocess.Process]]:
    """Run `bulk-claim` with OAuth until it is in the state, which is given with its service."""
    state: str = request.param
    async with Sandbox(badges=BADGES, faults=fault_of(state), fault_retry_after=3) as sandbox:
        env = environment(sandbox.url)
        del env["BADGES_USERNAME"], env["BADGES_PASSWORD"]
        env |= {"BADGES_CLIENT_KEY": sandbox.client_key}
        env |= {"BADGES_CLIENT_SECRET": sandbox.client_secret}
        process = await asyncio.create_subprocess_exec(
            *(sys.executable, "-m", "badges_async", "bulk-claim", "-", "--no-progress"),
            *("--ledger", tmp_path / "run.db", "--concurrency", "4"),
            # Of no use while it pauses: what waits there is let go at once, and not when that ends.
            *("--grace", "8" if state == "pausing" else "0.5"),
            cwd=ROOT,
            env=env,
            stdin=asyncio.subprocess.PIPE,
            stdout=asyncio.subprocess.PIPE,
            stderr=asyncio.subprocess.PIPE,
        )
        try:
            assert process.stdin is not None
            rows = [f"{each.badge_id},Loyalty,{each.reference_id}\n" for each in make_claims(4)]
            process.stdin.write(b"badge_id,owner_type,reference_id\n")
            process.stdin.write("".join(rows).encode())
            await until(lambda: in_state(state, sandbox))
            yield state, sandbox, process
        finally:
            if process.returncode is None:
                process.kill()
            await process.communicate()


def in_state(state: str, sandbox: Sandbox) -> bool:
    claims = [each for each in sandbox.requests if each.operation == "claim"]
    match state:
        case "idle":
            return len(held_by(sandbox)) == 4
        case "refreshing":
            return bool(sandbox.requests)
        case "pausing":
            return len(claims) >= 1
        case _:
            return len(claims) == 4


@pytest.mark.slow
async def test_a_termination_ends_it_in_every_state(
    tool: tuple[str, Sandbox, asyncio.subprocess.Process], tmp_path: Path
) -> None:
    """F091, F092: nothing is sent after it, the grace time ends it, and the ledger is exact."""
    state, sandbox, process = tool
    if state == "pausing":
        await until(lambda: sandbox.counters()["inFlight"] == 0)
    await asyncio.sleep(0.2)  # what was on its way has arrived
    sent = len(sandbox.requests)
    os.kill(process.pid, signal.SIGTERM)
    async with asyncio.timeout(10):
        assert process.stdin is not None
        assert process.stdout is not None
        process.stdin.write(f"{BADGES[0]},Loyalty,too late\n".encode())
        said = (await process.stdout.read()).decode()
        assert await process.wait() == 130

    assert len(sandbox.requests) == sent
    with LedgerReader.open(tmp_path / "run.db") as reader:
        standing = reader.standing()
    held = {"idle": 4, "sending": 4}.get(state, 0)
    assert len(held_by(sandbox)) == held
    assert standing.settled == (4 if state == "idle" else 0)
    assert standing.in_doubt == (4 if state == "sending" else 0)
    assert standing.total >= 4  # what comes too late may be entered, as pending
    assert not standing.in_use
    assert "Interrupted" in said
