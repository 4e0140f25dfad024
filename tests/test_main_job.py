"""The main job at size: a file of 100,000 claims, the tool and the service as processes."""

from __future__ import annotations

import asyncio
import csv
import json
import os
import sys
from pathlib import Path
from typing import Any

import aiohttp
import attrs
import pytest

from badges_async.sandbox import make_badge_ids

ROWS = 100_000
CONCURRENCY = 32
BADGES = 500
TOOL = (sys.executable, "-m", "badges_async")


@attrs.frozen
class Run:
    """How a run of the tool ended."""

    code: int
    peak_kib: int
    report: dict[str, Any]


def write_claims(path: Path, rows: int, prefix: str) -> set[tuple[str, str, str]]:
    """Write a file of claims, all different; give their keys."""
    badges = list(make_badge_ids(BADGES))
    keys = [(badges[row % BADGES], "Loyalty", f"{prefix}-{row:06}") for row in range(rows)]
    with path.open("w", encoding="utf-8", newline="") as file:
        writer = csv.writer(file)
        writer.writerow(["badge_id", "owner_type", "reference_id"])
        writer.writerows(keys)
    return set(keys)


def bulk_claim(path: Path, environment: dict[str, str]) -> Run:
    """Run the tool to its end; its peak memory is what the system says of exactly that process."""
    report = path.with_suffix(".report.json")
    command = [*TOOL, "bulk-claim", str(path), "--no-progress"]
    command += ["--concurrency", str(CONCURRENCY), "--report", str(report)]
    with Path(os.devnull).open("wb") as nowhere:
        pid = os.posix_spawn(
            command[0],
            command,
            environment,
            file_actions=[(os.POSIX_SPAWN_DUP2, nowhere.fileno(), 1)],
        )
        _, status, usage = os.wait4(pid, 0)
    return Run(
        os.waitstatus_to_exitcode(status),
        usage.ru_maxrss // (1024 if sys.platform == "darwin" else 1),
        json.loads(report.read_text("utf-8")),
    )


async def held_claims(session: aiohttp.ClientSession) -> set[tuple[str, str, str]]:
    async with session.get("/sandbox/claims") as response:
        return {tuple(json.loads(line)) async for line in response.content}


@pytest.mark.slow
@pytest.mark.timeout(240)
@pytest.mark.skipif(not hasattr(os, "posix_spawn"), reason="needs a POSIX system")
async def test_a_large_file_gets_an_exact_report_in_flat_memory(tmp_path: Path) -> None:
    sandbox = await asyncio.create_subprocess_exec(
        *TOOL, "sandbox", "--badges", str(BADGES), stdout=asyncio.subprocess.PIPE
    )
    try:
        assert sandbox.stdout is not None
        while not (line := (await sandbox.stdout.readline()).decode()).startswith("export"):
            assert line, "the sandbox ended without saying where it is"
        url = line.partition("=")[2].strip()
        environment = {
            **os.environ,
            "BADGES_HOST": url,
            "BADGES_USERNAME": "till.demo",
            "BADGES_PASSWORD": "s3cret-Pass",
        }
        small, large = tmp_path / "small.csv", tmp_path / "large.csv"
        few = write_claims(small, 1_000, "small")
        many = write_claims(large, ROWS, "large")
        async with aiohttp.ClientSession(url) as session:
            before = await held_claims(session)
            first = await asyncio.to_thread(bulk_claim, small, environment)
            second = await asyncio.to_thread(bulk_claim, large, environment)
            after = await held_claims(session)
            async with session.get("/sandbox/state") as response:
                state = await response.json()
    finally:
        sandbox.terminate()
        await sandbox.communicate()

    assert (first.code, second.code) == (0, 0)
    assert after - before == few | many
    assert second.report["counts"]["claimed"] == ROWS
    assert state["peakInFlight"] <= CONCURRENCY
    assert second.peak_kib - first.peak_kib < 20 * 1024
