"""
What a run of many claims takes in memory: how far its process grows, each run in a fresh one.

The ratio is that of the largest sizes of the whole processes, interpreter and libraries included.

The network is left out: a transport that answers at once stands in for it, so that a million
claims take a minute. `gather` beside it is a task for each claim through the same transport, with
the same reading of answers, as a script without a library would have it.

Below that the real wire: see `endurance`.
"""

from __future__ import annotations

import asyncio
import subprocess
import sys
from collections.abc import Callable, Iterator, Mapping
from pathlib import Path

import psutil  # type: ignore[import-untyped]
from multidict import CIMultiDict, CIMultiDictProxy

from badges_async import BadgesClient, BasicAuth, ClaimRequest, Ports, operations
from badges_async.messages import Reply, Request
from benchmarks import endurance
from benchmarks.table import Row

FEW, MANY, GATHERED = 10_000, 1_000_000, 100_000
RECONNECTS = 10_000
WARM_UP = 100
CONCURRENCY = 16
LOOK_EVERY = 500  # claims

_MEBIBYTE = 1 << 20
_ROOT = Path(__file__).parent.parent


def rows(
    few: int = FEW, many: int = MANY, gathered: int = GATHERED, reconnects: int = RECONNECTS
) -> Iterator[Row]:
    """Give a row for each number of claims, then those of the wire."""
    baseline = None
    for way, claims in (("claim_many", few), ("claim_many", many), ("gather", gathered)):
        growth, peak = _measured(way, claims)
        baseline = baseline or peak
        name = f"memory, {claims:,} claims: {way}"
        yield Row(name, peak / baseline, growth, "MB growth", f"peak of claim_many, {few:,}")
    yield from endurance.rows(many, reconnects)


def _measured(way: str, claims: int) -> tuple[float, float]:
    command = [sys.executable, "-m", "benchmarks.memory", way, str(claims)]
    done = subprocess.run(  # noqa: S603 - our own module
        command, cwd=_ROOT, check=True, stdout=subprocess.PIPE, text=True
    )
    growth, peak = done.stdout.split()
    return float(growth), float(peak)


class _Echo:
    """A transport that says yes to every claim, and looks at the memory of the process."""

    lane = "echo"

    def __init__(self) -> None:
        self._process = psutil.Process()
        self._headers = CIMultiDictProxy(CIMultiDict({"X-CAP-REQUEST-ID": "0f1e2d3c"}))
        self._until_look = LOOK_EVERY
        self.start_over()

    def start_over(self) -> None:
        """Take the memory of now for the start."""
        self._least = self._most = self._process.memory_info().rss

    def sizes(self) -> tuple[float, float]:
        """Give the MB that the process grew by at the most, and its size then."""
        self._look()
        return (self._most - self._least) / _MEBIBYTE, self._most / _MEBIBYTE

    def _look(self) -> None:
        self._until_look = LOOK_EVERY
        self._most = max(self._most, self._process.memory_info().rss)

    def ensure_usable(self) -> None:
        """Be usable."""

    async def send(
        self,
        request: Request,
        headers: Mapping[str, str],  # noqa: ARG002 - the protocol's
        *,
        seconds: float,  # noqa: ARG002 - likewise
        fresh: bool = False,  # noqa: ARG002 - likewise
        on_sent: Callable[[], None] | None = None,
    ) -> Reply:
        """Let the others go first, then answer with what was asked for."""
        self._until_look -= 1
        if not self._until_look:
            self._look()
        if on_sent is not None:
            on_sent()
        await asyncio.sleep(0)
        body = b'{"data":%b,"errors":[],"warnings":[]}' % (request.body or b"{}")
        return Reply(200, self._headers, body)

    async def close(self) -> None:
        """Have nothing to close."""


def _requests(claims: int) -> Iterator[ClaimRequest]:
    return (ClaimRequest(f"{number:024x}", "Loyalty", str(number)) for number in range(claims))


async def _claim_many(echo: _Echo, claims: int) -> int:
    auth = BasicAuth("till.demo", "password")
    async with BadgesClient("badges.example.com", auth, ports=Ports(transport=echo)) as client:
        run = client.claim_many(_requests(claims), concurrency=CONCURRENCY)
        async with run as outcomes:
            async for _ in outcomes:
                pass
    return run.report.claimed


async def _gather(echo: _Echo, claims: int) -> int:
    slots = asyncio.Semaphore(CONCURRENCY)

    async def claim(asked: ClaimRequest) -> object:
        async with slots:
            reply = await echo.send(operations.claim_request(asked), {}, seconds=15.0)
            return operations.read_claim(reply, asked)

    return len(await asyncio.gather(*(claim(asked) for asked in _requests(claims))))


async def _measure(way: str, claims: int) -> tuple[float, float]:
    claim = {"claim_many": _claim_many, "gather": _gather}[way]
    echo = _Echo()
    await claim(echo, WARM_UP)
    echo.start_over()
    if await claim(echo, claims) != claims:
        raise AssertionError("memory is measured of runs that claim everything")
    return echo.sizes()


if __name__ == "__main__":
    print(*asyncio.run(_measure(sys.argv[1], int(sys.argv[2]))))
