"""SIGKILL at any moment: what was acknowledged is there, and the file is whole."""

from __future__ import annotations

import os
import random
import sqlite3
import subprocess
import time
from contextlib import closing
from pathlib import Path

import pytest

from tests.ledger.support import child, entries

WORKS = """
import itertools, random
chance = random.Random(os.getpid())
async def main():
    async with running(path) as ledger:
        say("run", ledger._run)
        async def work(worker):
            for number in itertools.count():
                size = chance.randint(1, 8)
                names = [f"{os.getpid()}-{worker}-{number}-{n}" for n in range(size)]
                found = await ledger.lease(claims(*names), 8)
                say("leased", *names)
                some = chance.randint(0, len(names))
                await ledger.settle([settled(each.id) for each in found[:some]])
                say("settled", *names[:some])
        async with asyncio.TaskGroup() as group:
            for worker in range(4):
                group.create_task(work(worker))
asyncio.run(main())
"""


def said_until_killed(path: Path, seconds: float) -> list[list[str]]:
    """Let a child work for so long after its start, kill it, and give what it said."""
    with child(path, WORKS) as process:
        assert process.stdout is not None
        first = process.stdout.readline().split()
        time.sleep(seconds)
        process.kill()
        rest = process.stdout.read()
    lines = rest.splitlines(keepends=True)
    return [first, *[each.split() for each in lines if each.endswith("\n")]]


def check(path: Path, leased: set[str], settled: set[str]) -> None:
    with closing(sqlite3.connect(f"{path.as_uri()}?mode=ro", uri=True)) as connection:
        assert connection.execute("PRAGMA quick_check").fetchone() == ("ok",)
    found = entries(path)
    assert leased <= found.keys()
    assert {name for name in settled if found[name].outcome is None} == set()
    # What may have been sent is known to be, also where nothing was acknowledged.
    unsettled = [entry for name, entry in found.items() if name not in settled]
    assert all(entry.outcome or entry.in_doubt for entry in unsettled)


def kill_often(path: Path, times: int) -> None:
    chance = random.Random(7)  # noqa: S311 - spread, not secrecy
    leased: set[str] = set()
    settled: set[str] = set()
    runs = []
    for _ in range(times):
        for word, *names in said_until_killed(path, chance.uniform(0, 0.25)):
            if word == "leased":
                leased |= set(names)
            elif word == "settled":
                settled |= set(names)
            else:
                runs.append(int(names[0]))
        check(path, leased, settled)
    assert len(settled) > times
    assert runs == sorted(set(runs)), "no two runs have the same number"


def test_what_was_acknowledged_survives_a_kill(tmp_path: Path) -> None:
    kill_often(tmp_path / "run.db", 2)


@pytest.mark.slow
@pytest.mark.timeout(120)
def test_what_was_acknowledged_survives_twenty_kills(tmp_path: Path) -> None:
    """F103: killed twenty times within a quarter of a second, nothing acknowledged is gone."""
    kill_often(tmp_path / "run.db", 20)


LOADS = """
async def main():
    async with Ledger.open(path) as ledger:
        say("begins")
        say("added", await ledger.load(claims(*range(60_000))))
asyncio.run(main())
"""


@pytest.mark.slow
@pytest.mark.timeout(120)
def test_a_load_that_is_killed_is_loaded_again(tmp_path: Path) -> None:
    """F104: a load that was killed is loaded again, and nothing is there twice."""
    path = tmp_path / "run.db"
    had = 0
    for seconds in (0.0, 0.05, 0.1, 0.2, 0.3):
        with child(path, LOADS) as process:
            assert process.stdout is not None
            process.stdout.readline()
            time.sleep(seconds)
            process.kill()
        found = entries(path)
        assert list(found) == [str(number) for number in range(len(found))]
        assert len(found) >= had
        had = len(found)
    with child(path, LOADS) as process:
        assert process.stdout is not None
        assert process.stdout.read().split() == ["begins", "added", str(60_000 - had)]
    assert len(entries(path)) == 60_000


ENDS = """
async def main():
    async with running(path) as ledger:
        say("ready")
        found = await ledger.lease(claims(*range(100)), 100)
        for each in found:
            ledger.settle_soon([settled(each.id)])
        raise SystemExit(3)
asyncio.run(main())
"""


def test_a_process_that_exits_writes_what_was_asked_for(tmp_path: Path) -> None:
    path = tmp_path / "run.db"
    with child(path, ENDS) as process:
        assert process.wait(20) == 3
    assert all(entry.outcome for entry in entries(path).values())


FORKS = """
import subprocess
async def main():
    async with running(path) as ledger:
        other = subprocess.Popen(["sleep", "60"], stdout=subprocess.DEVNULL)
        say(other.pid)
        await asyncio.sleep(60)
asyncio.run(main())
"""


def test_a_program_that_was_started_meanwhile_does_not_keep_the_lock(tmp_path: Path) -> None:
    path = tmp_path / "run.db"
    with child(path, FORKS) as process:
        assert process.stdout is not None
        other = int(process.stdout.readline())
        process.kill()
        process.wait()
        try:
            with child(
                path,
                "async def main():\n async with running(path): say('open')\nasyncio.run(main())",
            ) as second:
                assert second.stdout is not None
                assert second.stdout.read().strip() == "open"
        finally:
            os.kill(other, 9)


def test_a_child_that_fails_is_seen(tmp_path: Path) -> None:
    """Or every test with one would pass for nothing."""
    with child(tmp_path / "run.db", "1 // 0") as process:
        assert process.wait(20) == 1
    assert isinstance(process, subprocess.Popen)
