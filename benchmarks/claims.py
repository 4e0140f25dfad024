"""
What a claim costs the client: CPU time, in the kernel as well, of its process alone.

The baseline is `by_hand.claim_all`, against the same `service` on another core. Each contender has
a process of its own, because what one does to the memory of a process changes the cost of the
other. They take turns, all on one core; a ratio is the median, over the rounds, of what two
neighbours in time cost.

Each claim is on a badge of its own, which is the job of the package, except in the rows that say
"one badge": there the URL is always the same, and the URL library's cache spares both sides work.
"""

from __future__ import annotations

import asyncio
import gc
import json
import subprocess
import sys
import time
from collections.abc import Awaitable, Callable, Iterator
from contextlib import ExitStack, contextmanager
from importlib import import_module
from pathlib import Path
from statistics import median

import attrs

from badges_async import BadgesClient, BasicAuth, ClaimRequest
from benchmarks.by_hand import Order, claim_all, claim_all_with_care
from benchmarks.cores import available, pinned
from benchmarks.service import running_service
from benchmarks.table import Row

CLAIMS = 10_000
ROUNDS = 7
WARM_UP = 1_000
CONCURRENCIES = (16, 64)
LOOPS = ("asyncio", "uvloop")

Claim = Callable[[str, list[Order], int], Awaitable[object]]
_HAND, _OURS, _CARE = "by hand", "claim_many", "by hand with care"
_ROOT = Path(__file__).parent.parent


@attrs.frozen
class _Setup:
    """What all contenders of a comparison have in common."""

    loop: str
    concurrency: int
    claims: int
    badges: int
    contenders: tuple[str, ...] = (_HAND, _OURS)

    def __str__(self) -> str:
        one_badge = ", one badge" if self.badges == 1 else ""
        return f"{self.loop}, {self.concurrency} at once{one_badge}"

    @property
    def orders(self) -> list[Order]:
        """What is to be claimed."""
        return [
            (f"{number % self.badges:024x}", "Loyalty", str(number))
            for number in range(self.claims)
        ]


def rows(claims: int = CLAIMS, rounds: int = ROUNDS) -> Iterator[Row]:
    """Give a row for each loop, concurrency and contender."""
    cores = available()
    client, service = (cores[0], cores[1]) if len(cores) > 1 else (None, None)
    # What is started after the pinning inherits it, so that all contenders share a core.
    with running_service(service) as url, pinned(client):
        for setup in _setups(claims):
            yield from _compare(setup, url, rounds)


def _setups(claims: int) -> Iterator[_Setup]:
    for loop in LOOPS:
        few, many = CONCURRENCIES
        yield _Setup(loop, few, claims, claims, (_HAND, _OURS, _CARE))
        yield _Setup(loop, many, claims, claims)
    yield _Setup(LOOPS[0], CONCURRENCIES[0], claims, 1)


def _compare(setup: _Setup, url: str, rounds: int) -> Iterator[Row]:
    costs: dict[str, list[float]] = {name: [] for name in setup.contenders}
    with ExitStack() as stack:
        contenders = {
            name: stack.enter_context(_contender(name, setup, url)) for name in setup.contenders
        }
        for _ in range(rounds):
            for name, run in contenders.items():
                costs[name].append(run() / setup.claims)
    for name, own in costs.items():
        pairs = zip(own, costs[_HAND], strict=True)
        ratio = median(cost / baseline for cost, baseline in pairs)
        yield Row(f"claim, {setup}: {name}", ratio, median(own) * 1e6, "us CPU", _HAND)


@contextmanager
def _contender(name: str, setup: _Setup, url: str) -> Iterator[Callable[[], float]]:
    """Start the process of a contender; give what runs a round there and returns its seconds."""
    facts = json.dumps(attrs.asdict(setup))
    command = [sys.executable, "-m", "benchmarks.claims", name, url, facts]
    with subprocess.Popen(  # noqa: S603 - our own module
        command, cwd=_ROOT, stdin=subprocess.PIPE, stdout=subprocess.PIPE, text=True
    ) as process:
        asked, told = process.stdin, process.stdout
        assert asked is not None  # noqa: S101 - asked for above
        assert told is not None  # noqa: S101 - likewise

        def run() -> float:
            asked.write("run\n")
            asked.flush()
            return float(told.readline())

        try:
            told.readline()  # it is warm
            yield run
        finally:
            process.kill()


async def claim_many(url: str, orders: list[Order], concurrency: int) -> None:
    """Claim with the package."""
    requests = (ClaimRequest(*order) for order in orders)
    async with BadgesClient(url, BasicAuth("till.demo", "password")) as client:
        run = client.claim_many(requests, concurrency=concurrency)
        async with run as outcomes:
            async for outcome in outcomes:
                if outcome.error is not None:
                    raise outcome.error


def _seconds(claim: Claim, setup: _Setup, url: str, orders: list[Order]) -> float:
    async def all_of_it() -> None:
        await claim(url, orders, setup.concurrency)

    factory = import_module(setup.loop).new_event_loop
    gc.collect()
    with asyncio.Runner(loop_factory=factory) as runner:
        started = time.process_time()
        runner.run(all_of_it())
        return time.process_time() - started


def _serve_rounds(name: str, url: str, facts: str) -> None:
    """Be a contender: run a round for each line of standard input, until it ends."""
    claim: Claim = {_HAND: claim_all, _OURS: claim_many, _CARE: claim_all_with_care}[name]
    setup = _Setup(**json.loads(facts))
    orders = setup.orders
    print(_seconds(claim, setup, url, orders[:WARM_UP]), flush=True)
    for _ in sys.stdin:
        print(_seconds(claim, setup, url, orders), flush=True)


if __name__ == "__main__":
    _serve_rounds(*sys.argv[1:])
