"""
What a claim costs the client: CPU time, in the kernel as well, of its process and all its threads.

The baseline is `by_hand.claim_all`: `session.post`, `gather` and a semaphore. The service is nginx,
on a core of its own; the contenders take turns on the other core, each in a process of its own. A
ratio is the median, over the rounds, of what two neighbours in time cost.

The package runs with all that it does by default: deadlines, retries, the check that an answer is
about its claim, a value for each outcome, the stream of outcomes. Of the others only `by hand, with
care` does something like it. `bare Protocol` is the floor of an event loop, wrk that of a machine.
What a receive costs in memory management is made the same for all, see `processes`.

Each claim is on a badge of its own, which is the job of the package, except in the rows that say
"one badge": there the URL is always the same, and the URL library's cache spares all sides work.
Those rows have `benchmarks.service` for nginx, which could not tell the claims apart.
"""

from __future__ import annotations

import json
import shutil
from collections.abc import Iterator
from importlib.util import find_spec

import attrs

from benchmarks.conditions import conditions
from benchmarks.cores import pinned
from benchmarks.processes import cores, medians, take_turns
from benchmarks.service import running_service
from benchmarks.serving import serving
from benchmarks.table import Row, note

__all__ = ["LOOPS", "MANY", "OURS", "WAYS", "ClaimRow", "Setup", "rows"]

CLAIMS = 10_000
ROUNDS = 5
MANY, FEW = 64, 16
LOOPS = ("asyncio", "uvloop")

_HAND, _CARE = "post + gather + semaphore", "by hand, with care"
_SESSION, _WIRE = "claim_many, session lane", "claim_many, wire lane"
_RUST, _FLOOR, _WRK = "pyreqwest (Rust)", "bare Protocol, no parser", "wrk (C)"
_LEAST = 20  # claims of a round, however much one costs

OURS = (_SESSION, _WIRE)


@attrs.frozen
class ClaimRow(Row):
    """
    What a claim costs with one contender.

    Attributes:
        way: The contender.
        loop: The event loop; wrk has none.
        conditions: What it was measured with.
        concurrency: Claims in flight.
        one_badge: Whether all claims were on the same badge.
    """

    way: str
    loop: str | None
    conditions: str
    concurrency: int
    one_badge: bool


@attrs.frozen
class _Way:
    """
    A way to claim.

    Attributes:
        claim: What does it, and where that is.
        prepare: What is done before the clock starts.
        needs: A library that may be missing.
        share: It does only one of so many claims, as it takes so long.
    """

    claim: str
    prepare: str | None = None
    needs: str | None = None
    share: int = 1


WAYS = {
    _HAND: _Way("benchmarks.by_hand:claim_all"),
    _CARE: _Way("benchmarks.by_hand:claim_all_with_care", share=2),
    _SESSION: _Way("benchmarks.ours:by_session"),
    _WIRE: _Way("benchmarks.ours:by_wire"),
    "httpx": _Way("benchmarks.by_httpx:claim_all", needs="httpx", share=40),
    _RUST: _Way("benchmarks.by_pyreqwest:claim_all", needs="pyreqwest"),
    _FLOOR: _Way("benchmarks.bare_protocol:claim_all", prepare="benchmarks.bare_protocol:prepare"),
}
_MAIN = (_HAND, _SESSION, _WIRE)


@attrs.frozen
class Setup:
    """What all contenders of a comparison have in common."""

    loop: str
    concurrency: int
    claims: int
    ways: tuple[str, ...]
    one_badge: bool = False

    def title(self, way: str) -> str:
        """Give the name of the row of *way*."""
        loop = "" if way == _WRK else f"{self.loop}, "
        one_badge = ", one badge" if self.one_badge else ""
        return f"claim, {loop}{self.concurrency} at once{one_badge}: {way}"

    def command(self, way: str, url: str) -> tuple[object, ...]:
        """Give the module that is a contender, and its arguments."""
        if way == _WRK:
            return "benchmarks.by_wrk", url, self.concurrency
        facts = {
            "url": url,
            "claim": WAYS[way].claim,
            "prepare": WAYS[way].prepare,
            "loop": self.loop,
            "concurrency": self.concurrency,
            "claims": max(_LEAST, self.claims // WAYS[way].share),
            "one_badge": self.one_badge,
        }
        return "benchmarks.claim_rounds", json.dumps(facts)


def rows(claims: int = CLAIMS, rounds: int = ROUNDS) -> Iterator[Row]:
    """Give a row for each loop, concurrency and contender."""
    client, service = cores()
    machine = conditions()
    # What is started after the pinning inherits it, so that all contenders share a core.
    with serving(service) as served, pinned(client):
        told = f"{machine}; {served.name}; median of {rounds} rounds of {claims:,} claims"
        told += "".join(f", {name} 1/{way.share}" for name, way in WAYS.items() if way.share > 1)
        note(told)
        for concurrency in (MANY, FEW):
            for loop in LOOPS:
                ways = _all_ways(loop) if concurrency == MANY else _MAIN
                setup = Setup(loop, concurrency, claims, ways)
                yield from _compare(setup, served.url, rounds, told)
    with running_service(service) as url, pinned(client):
        one_badge = Setup(LOOPS[0], FEW, claims, _MAIN, one_badge=True)
        yield from _compare(one_badge, url, rounds, told)


def _all_ways(loop: str) -> tuple[str, ...]:
    ways = tuple(name for name, way in WAYS.items() if not way.needs or find_spec(way.needs))
    for missing in WAYS.keys() - ways:
        note(f"{WAYS[missing].needs} is not installed: no row for it")
    if loop != LOOPS[0]:
        return ways
    if shutil.which("wrk"):
        return (*ways, _WRK)
    note("wrk is not installed: no row for it")
    return ways


def _compare(setup: Setup, url: str, rounds: int, told: str) -> Iterator[Row]:
    commands = {way: setup.command(way, url) for way in setup.ways}
    costs = take_turns(commands, rounds)
    for way, ratio, cost in medians(costs, _HAND):
        yield ClaimRow(
            name=setup.title(way),
            ratio=ratio,
            figure=cost * 1e6,
            unit="us CPU",
            baseline=_HAND,
            way=way,
            loop=None if way == _WRK else setup.loop,
            concurrency=setup.concurrency,
            one_badge=setup.one_badge,
            conditions=told,
        )
    if _RUST in costs:
        yield from _beside_rust(setup, costs)


def _beside_rust(setup: Setup, costs: dict[str, list[float]]) -> Iterator[Row]:
    rivals = {way: costs[way] for way in (_WIRE, _RUST)}
    _, ratio, cost = next(medians(rivals, _RUST))
    yield Row(f"{setup.title('wire lane')}, again", ratio, cost * 1e6, "us CPU", _RUST)
