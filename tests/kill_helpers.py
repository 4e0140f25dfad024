"""What the tests of kills, limits and long runs share: claims, windows, runs in processes."""

from __future__ import annotations

import asyncio
import contextlib
import http.client
import json
import os
import random
import subprocess
import sys
import time
from collections.abc import AsyncIterator, Callable, Iterator, Mapping, Sequence
from pathlib import Path
from typing import Any

import aiohappyeyeballs
import attrs
from multidict import CIMultiDict, CIMultiDictProxy

from badges_async import BadgesClient, BasicAuth, ClaimRequest, OwnerType, Ports, Quota
from badges_async.ledger import Ledger
from badges_async.messages import Reply, Request
from badges_async.sandbox import Sandbox, make_badge_ids

ROOT = Path(__file__).parent.parent
TOOL = (sys.executable, "-m", "badges_async")
BADGES = list(make_badge_ids(80))
_OURS = frozenset(BADGES)
USERNAME, PASSWORD = "till.demo", "s3cret-Pass"
_STEP = 0.01  # seconds
_BACKLOG = 0.05  # seconds; what arrived while a loop stood still is not read all at once


def make_claims(count: int) -> Iterator[ClaimRequest]:
    """Give *count* different claims on `BADGES`."""
    return (
        ClaimRequest(BADGES[number % len(BADGES)], OwnerType.LOYALTY, f"member-{number}")
        for number in range(count)
    )


def held_by(sandbox: Sandbox) -> set[ClaimRequest]:
    """Give what a sandbox holds beside its samples."""
    return {ClaimRequest(*claim) for claim in sandbox.claims if claim[0] in _OURS}


def busiest(moments: Sequence[float], per: float) -> int:
    """Count the most *moments* in any window of *per* seconds, without its beginning."""
    moments = sorted(moments)
    most = first = 0
    for last, moment in enumerate(moments):
        while moments[first] <= moment - per:
            first += 1
        most = max(most, last - first + 1)
    return most


def arrivals(sandbox: Sandbox) -> list[float]:
    """Give when each request arrived."""
    return [request.arrived for request in sandbox.requests]


@contextlib.asynccontextmanager
async def lag() -> AsyncIterator[list[float]]:
    """
    Measure by how much this event loop is late, in seconds, a hundred times a second.

    A service on it stamps what arrives meanwhile when it is over: closer together than it came.
    """
    late: list[float] = []

    async def measure() -> None:
        while True:
            began = time.perf_counter()
            await asyncio.sleep(_STEP)
            late.append(time.perf_counter() - began - _STEP)

    measuring = asyncio.create_task(measure())  # a group would wrap what a test fails of
    try:
        yield late
    finally:
        measuring.cancel()
        await asyncio.wait([measuring])


def beyond(guard: float, late: Sequence[float]) -> float:
    """Give by how much more than *guard* a service may have been late, see `lag`."""
    worst = max(late)
    return worst + _BACKLOG - guard if worst > guard else 0.0


def client_of(url: str, *, seed: int = 1, **options: Any) -> BadgesClient:
    """Give a client of the sandbox at *url*, with dice of its own."""
    ports = Ports(random=random.Random(seed))  # noqa: S311 - jitter
    return BadgesClient(url, BasicAuth(USERNAME, PASSWORD), ports=ports, **options)


@contextlib.contextmanager
def slow_connecting(longest: float, seed: int = 1) -> Iterator[None]:
    """Let each new connection take up to *longest* seconds."""
    chance = random.Random(seed)  # noqa: S311 - jitter
    at_once = aiohappyeyeballs.start_connection

    async def slowly(*args: Any, **options: Any) -> Any:
        await asyncio.sleep(chance.uniform(0.0, longest))
        return await at_once(*args, **options)

    aiohappyeyeballs.start_connection = slowly
    try:
        yield
    finally:
        aiohappyeyeballs.start_connection = at_once


def environment(url: str = "") -> dict[str, str]:
    """Give the environment of a process that claims at *url*; coverage would only slow it down."""
    kept = {key: value for key, value in os.environ.items() if not key.startswith("COV")}
    names = {"BADGES_HOST": url, "BADGES_USERNAME": USERNAME, "BADGES_PASSWORD": PASSWORD}
    return kept | names


@attrs.frozen
class Service:
    """A sandbox in a process of its own."""

    url: str

    def requests(self) -> int:
        """Give how many requests have arrived."""
        return int(json.loads(self._get("/sandbox/state"))["requests"])

    def claims(self) -> set[ClaimRequest]:
        """Give what it holds beside its samples."""
        held = map(json.loads, self._get("/sandbox/claims").splitlines())
        return {ClaimRequest(*claim) for claim in held if claim[0] in _OURS}

    def references(self) -> Iterator[str]:
        """Give the reference of each claim that it holds, without having all of them in memory."""
        connection = http.client.HTTPConnection(self.url.removeprefix("http://"), timeout=30)
        with contextlib.closing(connection):
            connection.request("GET", "/sandbox/claims")
            yield from (json.loads(line)[2] for line in connection.getresponse())

    def _get(self, path: str) -> str:
        connection = http.client.HTTPConnection(self.url.removeprefix("http://"), timeout=30)
        with contextlib.closing(connection):
            connection.request("GET", path)
            return connection.getresponse().read().decode()


@contextlib.contextmanager
def running_service(*options: str) -> Iterator[Service]:
    """Run a sandbox of `BADGES` with these *options*."""
    command = [*TOOL, "sandbox", "--until-eof", "--badges", str(len(BADGES)), *options]
    with subprocess.Popen(  # noqa: S603 - our own tool
        command,
        cwd=ROOT,
        env=environment(),
        stdin=subprocess.PIPE,
        stdout=subprocess.PIPE,
        text=True,
    ) as process:
        try:
            assert process.stdout is not None
            url = ""
            while not url.startswith("export BADGES_HOST="):
                url = process.stdout.readline()
                assert url, "the sandbox ended without saying where it is"
            yield Service(url.partition("=")[2].strip())
        finally:
            process.kill()


@contextlib.asynccontextmanager
async def child(what: str, *arguments: object) -> AsyncIterator[asyncio.subprocess.Process]:
    """Run one of the `JOBS` in a process of its own, and kill it in the end."""
    command = [sys.executable, "-m", "tests.kill_helpers", what, *map(str, arguments)]
    process = await asyncio.create_subprocess_exec(
        *command, cwd=ROOT, env=environment(), stdout=asyncio.subprocess.PIPE
    )
    try:
        yield process
    finally:
        with contextlib.suppress(ProcessLookupError):
            process.kill()
        await process.communicate()


async def claim_with_ledger(url: str, path: str, quota: str, count: str, connecting: str) -> None:
    """Claim *count* claims with a ledger at *path*; a new connection takes up to *connecting*."""
    client = client_of(url, quota=Quota.parse(quota))
    with slow_connecting(float(connecting)):
        async with Ledger.open(path) as ledger, client:
            report = await client.claim_all(make_claims(int(count)), concurrency=32, ledger=ledger)
    assert report.ok, report


async def tell_each(url: str, path: str, count: str) -> None:
    """Claim *count* claims with a ledger at *path*; write each reference when its outcome comes."""
    async with Ledger.open(path) as ledger, client_of(url) as client:
        run = client.claim_many(make_claims(int(count)), concurrency=32, ledger=ledger)
        async with run as outcomes:
            async for outcome in outcomes:
                os.write(1, f"{outcome.request.reference_id}\n".encode())


class Echo:
    """A transport that says yes to every claim."""

    lane = "echo"
    _headers = CIMultiDictProxy(CIMultiDict[str]())

    def ensure_usable(self) -> None:
        """Be usable."""

    async def send(
        self,
        request: Request,
        headers: Mapping[str, str],
        *,
        seconds: float,
        fresh: bool = False,
        on_sent: Callable[[], None] | None = None,
    ) -> Reply:
        """Let the others go first, then answer with what was asked for."""
        del headers, seconds, fresh
        if on_sent is not None:
            on_sent()
        await asyncio.sleep(0)
        body = b'{"data":%b,"errors":[],"warnings":[]}' % (request.body or b"{}")
        return Reply(200, self._headers, body)

    async def close(self) -> None:
        """Have nothing to close."""


async def tell_peak(path: str, count: str) -> None:
    """Claim *count* claims with a ledger at *path*; print this process's largest size in KiB."""
    ports = Ports(transport=Echo())
    client = BadgesClient("badges.example.com", BasicAuth(USERNAME, PASSWORD), ports=ports)
    async with Ledger.open(path) as ledger, client:
        report = await client.claim_all(make_claims(int(count)), ledger=ledger)
    assert report.claimed == int(count), report
    print(_peak_kib(), flush=True)  # noqa: T201 - to whoever started us


def _peak_kib() -> int:
    # Not getrusage(): its maximum begins with the size of the process that started this one.
    status = Path("/proc/self/status").read_text("ascii")
    return int(status.partition("VmHWM:")[2].split()[0])


JOBS = {"claim": claim_with_ledger, "tell": tell_each, "peak": tell_peak}

if __name__ == "__main__":
    asyncio.run(JOBS[sys.argv[1]](*sys.argv[2:]))  # type: ignore[operator]
