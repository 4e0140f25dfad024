"""
What a ledger costs a run: throughput and CPU time of a claim with it and without, synced to disk.

The service answers after 50 ms, on another core; 100 claims are in flight. The two take turns, each
in a process of its own, all on one core; a ratio is the median, over the rounds, of what two
neighbours in time cost. A ledger is made anew for each round, in the folder for temporary files,
and opening and closing it is part of the round: what counts is how quickly that disk syncs.

Below that what a million rows take: loading them, beside a script that puts them into a table of
the same kind with `executemany`, and going on after they are all settled, which only skips them.
"""

from __future__ import annotations

import asyncio
import contextlib
import gc
import itertools
import json
import sqlite3
import subprocess
import sys
import tempfile
import time
from collections.abc import Callable, Iterator
from contextlib import ExitStack, contextmanager
from importlib import import_module
from pathlib import Path
from statistics import median

import attrs

from badges_async import BadgesClient, BasicAuth, ClaimRequest
from badges_async.ledger import Ledger
from badges_async.ledger.records import State
from benchmarks.cores import available, pinned
from benchmarks.service import running_service
from benchmarks.table import Row

CLAIMS, ROUNDS, MANY = 5_000, 7, 1_000_000
WARM_UP = 500
LATENCY, CONCURRENCY = 0.05, 100
LOOPS = ("asyncio", "uvloop")

_WITHOUT, _WITH = "no ledger", "with a ledger"
_HAND, _LOAD, _RESUME = "by hand", "Ledger.load", "a run that skips them"
_AT_ONCE = 10_000
_HOST = "https://badges.example.com"
_ROOT = Path(__file__).parent.parent


@attrs.frozen
class _Cost:
    """What a round took, in seconds: on the clock, and of the processor."""

    wall: float
    cpu: float


def rows(claims: int = CLAIMS, rounds: int = ROUNDS, many: int = MANY) -> Iterator[Row]:
    """Give rows for each loop, then for very many rows."""
    cores = available()
    client, service = (cores[0], cores[1]) if len(cores) > 1 else (None, None)
    # What is started after the pinning inherits it, so that both contenders share a core.
    with running_service(service, LATENCY) as url, pinned(client):
        for loop in LOOPS:
            yield from _compare(loop, url, claims, rounds)
    yield from _compare_many(many)


def _compare(loop: str, url: str, claims: int, rounds: int) -> Iterator[Row]:
    costs: dict[str, list[_Cost]] = {_WITHOUT: [], _WITH: []}
    with ExitStack() as stack:
        contenders = {
            name: stack.enter_context(_contender(name, loop, url, claims)) for name in costs
        }
        for _ in range(rounds):
            for name, run in contenders.items():
                costs[name].append(run())
    setup = f"{loop}, {CONCURRENCY} at once, {LATENCY * 1e3:.0f} ms"
    for what, field in (("time", "wall"), ("CPU", "cpu")):
        baseline = [getattr(cost, field) for cost in costs[_WITHOUT]]
        for name, measured in costs.items():
            own = [getattr(cost, field) for cost in measured]
            ratio = median(cost / least for cost, least in zip(own, baseline, strict=True))
            figure = median(own) / claims * 1e6
            yield Row(f"{what}, {setup}: {name}", ratio, figure, f"us {what}", _WITHOUT)


@contextmanager
def _contender(name: str, loop: str, url: str, claims: int) -> Iterator[Callable[[], _Cost]]:
    """Start the process of a contender; give what runs a round there and returns its cost."""
    command = [sys.executable, "-m", "benchmarks.ledger", name, loop, url, str(claims)]
    with subprocess.Popen(  # noqa: S603 - our own module
        command, cwd=_ROOT, stdin=subprocess.PIPE, stdout=subprocess.PIPE, text=True
    ) as process:
        asked, told = process.stdin, process.stdout
        assert asked is not None  # noqa: S101 - asked for above
        assert told is not None  # noqa: S101 - likewise

        def run() -> _Cost:
            asked.write("run\n")
            asked.flush()
            return _Cost(**json.loads(told.readline()))

        try:
            told.readline()  # it is warm
            yield run
        finally:
            process.kill()


def _serve_rounds(name: str, loop: str, url: str, claims: str) -> None:
    """Be a contender: run a round for each line of standard input, until it ends."""
    first = itertools.count(step=int(claims))  # other claims in each round
    for size in itertools.chain([min(WARM_UP, int(claims))], (int(claims) for _ in sys.stdin)):
        cost = _round(loop, url, _requests(size, next(first)), recorded=name == _WITH)
        print(json.dumps(attrs.asdict(cost)), flush=True)


def _round(loop: str, url: str, requests: Iterator[ClaimRequest], *, recorded: bool) -> _Cost:
    factory = import_module(loop).new_event_loop
    gc.collect()
    with tempfile.TemporaryDirectory() as folder, asyncio.Runner(loop_factory=factory) as runner:
        path = Path(folder, "run.db") if recorded else None
        wall, cpu = time.perf_counter(), time.process_time()
        runner.run(_claim(url, requests, path))
        return _Cost(time.perf_counter() - wall, time.process_time() - cpu)


async def _claim(url: str, requests: Iterator[ClaimRequest], path: Path | None) -> None:
    async with contextlib.AsyncExitStack() as stack:
        client = await stack.enter_async_context(BadgesClient(url, _auth()))
        ledger = None if path is None else await stack.enter_async_context(Ledger.open(path))
        report = await client.claim_all(requests, concurrency=CONCURRENCY, ledger=ledger)
    if not report.ok:
        raise AssertionError("a ledger is measured with runs that claim everything")


# Very many rows.


def _compare_many(many: int) -> Iterator[Row]:
    with tempfile.TemporaryDirectory() as folder:
        by_hand = _seconds_by_hand(Path(folder, "hand.db"), many)
        load, resume = asyncio.run(_seconds_of_ledger(Path(folder, "run.db"), many))
    for name, seconds in ((_HAND, by_hand), (_LOAD, load), (_RESUME, resume)):
        yield Row(f"{many:,} rows: {name}", seconds / by_hand, seconds, "s", _HAND)


def _seconds_by_hand(path: Path, many: int) -> float:
    with contextlib.closing(sqlite3.connect(path)) as connection:
        connection.executescript(
            "PRAGMA journal_mode = WAL; PRAGMA synchronous = FULL; CREATE TABLE claim ("
            "id INTEGER PRIMARY KEY, badge_id TEXT, owner_type TEXT, reference_id TEXT, "
            "state INTEGER DEFAULT 0, UNIQUE (badge_id, owner_type, reference_id))"
        )
        began = time.perf_counter()
        with connection:
            connection.executemany(
                "INSERT OR IGNORE INTO claim (badge_id, owner_type, reference_id) VALUES (?, ?, ?)",
                ((each.badge_id, each.owner_type, each.reference_id) for each in _requests(many)),
            )
        return time.perf_counter() - began


async def _seconds_of_ledger(path: Path, many: int) -> tuple[float, float]:
    """Give how long loading takes, and a run that finds all of it settled."""
    async with Ledger.open(path) as ledger:
        began = time.perf_counter()
        await ledger.load(_requests(many))
        loaded = time.perf_counter() - began
        await _settle_all(ledger, many)
        async with BadgesClient(_HOST, _auth()) as client:
            began = time.perf_counter()
            report = await client.claim_all(_requests(many), ledger=ledger)
            resumed = time.perf_counter() - began
    if report.skipped != many:
        raise AssertionError("what is settled is skipped")
    return loaded, resumed


async def _settle_all(ledger: Ledger, many: int) -> None:
    await ledger.begin_run(_HOST, _auth().account)
    requests = _requests(many)
    while batch := list(itertools.islice(requests, _AT_ONCE)):
        found = await ledger.lease(batch, len(batch))
        await ledger.settle([[each.id, State.CLAIMED, 1, 0, 0, None] for each in found])
    ledger.end_run()


def _auth() -> BasicAuth:
    return BasicAuth("till.demo", "password")


def _requests(count: int, first: int = 0) -> Iterator[ClaimRequest]:
    return (
        ClaimRequest(f"{number % 1000:024x}", "Loyalty", str(number))
        for number in range(first, first + count)
    )


if __name__ == "__main__":
    _serve_rounds(*sys.argv[1:])
