"""
What very many claims over real connections leave behind in a process: memory and open files.

Here: a run of a million claims over connections that are kept, and one whose connections the
service closes after each answer. Both on the wire lane, each in a process of its own, with one
client from start to end. A size is that of the process at rest, when so many claims were done; the
ratio is to the size at the earlier of two such points, when pools and caches are full.
"""

from __future__ import annotations

import asyncio
import gc
import json
import subprocess
import sys
from collections.abc import Iterator
from importlib import import_module
from pathlib import Path

import attrs
import psutil  # type: ignore[import-untyped]

from badges_async import BadgesClient, BasicAuth, ClaimRequest
from benchmarks.cores import pinned
from benchmarks.orders import OWNER, OWNER_TYPE
from benchmarks.processes import cores
from benchmarks.serving import serving
from benchmarks.table import Row

LOOPS = ("asyncio", "uvloop")
CONCURRENCY = 64

_REST = 0.2  # seconds, in which what is being closed is closed
_MEBIBYTE = 1 << 20
_ROOT = Path(__file__).parent.parent


@attrs.frozen
class _Size:
    """What a process holds."""

    bytes: int
    files: int


def rows(claims: int, reconnects: int) -> Iterator[Row]:
    """Give rows for each loop, with connections that are kept and such that are not."""
    client, service = cores()
    with serving(service) as served, pinned(client):
        for loop in LOOPS:
            early, late = _sizes(loop, served.url, claims // 10, claims)
            name = f"memory, {loop}, wire lane: {claims // 10:,} to {claims:,} claims"
            yield _in_memory(name, early, late)
    with serving(service, keep_alive=False) as served, pinned(client):
        for loop in LOOPS:
            # The first thousands still find room for themselves between what was there before.
            early, late = _sizes(loop, served.url, reconnects, 2 * reconnects)
            name = f"{loop}, wire lane: {reconnects:,} to {2 * reconnects:,} reconnects"
            yield _in_memory(f"memory, {name}", early, late)
            ratio, growth = late.files / early.files, late.files - early.files
            yield Row(f"open files, {name}", ratio, growth, "files growth", "the earlier number")


def _in_memory(name: str, early: _Size, late: _Size) -> Row:
    growth = (late.bytes - early.bytes) / _MEBIBYTE
    return Row(name, late.bytes / early.bytes, growth, "MB growth", "the earlier size")


def _sizes(loop: str, url: str, early: int, late: int) -> tuple[_Size, _Size]:
    command = [sys.executable, "-m", "benchmarks.endurance", loop, url, str(early), str(late)]
    done = subprocess.run(  # noqa: S603 - our own module
        command, cwd=_ROOT, check=True, stdout=subprocess.PIPE, text=True
    )
    first, last = json.loads(done.stdout)
    return _Size(**first), _Size(**last)


async def _endure(url: str, early: int, late: int) -> list[_Size]:
    process = psutil.Process()

    def size() -> _Size:
        gc.collect()  # what waits for the collector is no leak
        return _Size(process.memory_info().rss, process.num_fds())

    sizes = []
    async with BadgesClient(url, BasicAuth("till.demo", "password"), lane="wire") as client:
        for numbers in (range(early), range(early, late)):
            badges = (f"{number:024x}" for number in numbers)
            requests = ClaimRequest.for_badges(badges, OWNER_TYPE, OWNER)
            async with client.claim_many(requests, concurrency=CONCURRENCY) as outcomes:
                async for outcome in outcomes:
                    if outcome.error is not None:
                        raise outcome.error
            await asyncio.sleep(_REST)
            sizes.append(size())
    return sizes


def main(loop: str, url: str, early: str, late: str) -> None:
    """Claim, and print the sizes."""
    with asyncio.Runner(loop_factory=import_module(loop).new_event_loop) as runner:
        sizes = runner.run(_endure(url, int(early), int(late)))
    print(json.dumps([attrs.asdict(size) for size in sizes]))


if __name__ == "__main__":
    main(*sys.argv[1:])
