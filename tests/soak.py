"""
A long mixed load on one process: `python -m tests.soak --minutes 30`.

Handlers claim with timeouts of their own and are cancelled, runs with and without a ledger end,
drain, are left or cancelled, clients come and go, and the service resets, hangs, throttles and
answers HTML all the while. After each round of it everything rests, and what the process holds is
counted: file descriptors, tasks, memory. It ends with 1 if files or tasks are left in the end, if
memory grew after the first rounds, or if an outcome was told that the service does not know of.
"""

from __future__ import annotations

import argparse
import asyncio
import contextlib
import gc
import itertools
import os
import random
import sys
import tempfile
import time
from collections import Counter
from collections.abc import Iterable
from pathlib import Path

import attrs

from badges_async import BadgesClient, BadgesError, ClaimRequest, ClaimStatus, Ledger, OwnerType
from tests.kill_helpers import BADGES, Service, client_of, running_service

_FAULTS = (
    *("slow", "reset-before", "reset-after", "close-before", "close-after", "stale-keep-alive"),
    *("idle-close", "truncated", "reset-in-body", "malformed", "malformed-chunk", "long-header"),
    *("500-before", "500-after", "502-before", "502-after", "504-after", "empty-200", "html-200"),
    *("wrong-shape", "half-json", "other-claim", "redirect", "late-commit", "throttled-bare"),
)
_RATE = 0.004  # of each of them: one request in ten
_RARE = ("hang-after=0.0005", "stalled=0.0005", "unavailable=0.0005")
_HANDLERS = 16
# Rounds after which caches are warm, and what may be more at the end than then.
_WARM, _MORE_KIB = 3, 4096


@attrs.frozen
class Held:
    """What the process holds."""

    files: int
    tasks: int
    kib: int

    @classmethod
    def now(cls) -> Held:
        """Count."""
        gc.collect()
        pages = int(Path("/proc/self/statm").read_text("ascii").split()[1])
        files = sum(1 for _ in Path("/proc/self/fd").iterdir()) - 1
        kib = pages * os.sysconf("SC_PAGE_SIZE") // 1024
        return cls(files, len(asyncio.all_tasks()), kib)


@attrs.define
class Soak:
    """
    The load.

    Attributes:
        ended: How calls and runs ended, counted.
        told: References of the claims that were told as held.
    """

    service: Service
    folder: Path
    chance: random.Random
    ended: Counter[str] = attrs.field(factory=Counter)
    told: set[str] = attrs.field(factory=set)
    _numbers: Iterable[int] = attrs.field(factory=itertools.count)

    def claims(self, count: int) -> list[ClaimRequest]:
        """Give so many claims that nobody has made."""
        numbers = itertools.islice(self._numbers, count)
        return [
            ClaimRequest(BADGES[number % len(BADGES)], OwnerType.LOYALTY, f"s{number}")
            for number in numbers
        ]

    async def round(self, client: BadgesClient, seconds: float) -> None:
        """Load *client*, and one that lives no longer than this, for so long."""
        ends = asyncio.get_running_loop().time() + seconds
        async with client_of(self.service.url) as other, asyncio.TaskGroup() as group:
            for _ in range(_HANDLERS):
                group.create_task(self._handle(client, ends))
            for each in (client, client, other):
                group.create_task(self._run(each, ends))

    async def _handle(self, client: BadgesClient, ends: float) -> None:
        loop = asyncio.get_running_loop()
        while loop.time() < ends:
            (asked,) = self.claims(1)
            patience = self.chance.choice((0.05, 1.0, 5.0))
            try:
                async with asyncio.timeout(self.chance.choice((0.01, 0.1, 60.0))):
                    await client.claim(
                        asked.badge_id, asked.owner_type, asked.reference_id, timeout=patience
                    )
            except BadgesError as error:
                self.ended[type(error).__name__] += 1
            except TimeoutError:
                self.ended["cancelled"] += 1
            else:
                self.ended["held"] += 1
                self.told.add(asked.reference_id)

    async def _run(self, client: BadgesClient, ends: float) -> None:
        loop = asyncio.get_running_loop()
        while (left := ends - loop.time()) > 0:
            rows = self.claims(self.chance.choice((20, 300, 2000)))
            end = self.chance.choice(("whole", "drain", "leave", "cancel"))
            path = self.folder / f"{rows[0].reference_id}.db"
            async with contextlib.AsyncExitStack() as stack:
                ledger = None
                if self.chance.random() < 0.5:
                    ledger = await stack.enter_async_context(Ledger.open(path))
                run = loop.create_task(self._consume(client, rows, ledger, end))
                await asyncio.wait([run], timeout=min(left, self.chance.uniform(0.1, 10)))
                if not run.done():
                    run.cancel()
                    await asyncio.wait([run])
                    end = "cancel"
            self.ended[f"run: {end}"] += 1
            for file in self.folder.glob(f"{path.name}*"):
                file.unlink()

    async def _consume(
        self, client: BadgesClient, rows: list[ClaimRequest], ledger: Ledger | None, end: str
    ) -> None:
        enough = self.chance.randrange(len(rows))
        async with client.claim_many(rows, concurrency=32, ledger=ledger) as run:
            count = 0
            async for outcome in run:
                count += 1
                if outcome.status in {ClaimStatus.CLAIMED, ClaimStatus.ALREADY_CLAIMED}:
                    self.told.add(outcome.request.reference_id)
                if count == enough and end == "drain":
                    run.drain(grace=self.chance.choice((None, 0.0, 1.0)))
                elif count == enough and end == "leave":
                    break


async def soak(minutes: float, seconds: float, folder: Path) -> int:
    """Run rounds of so many *seconds*; give the exit code."""
    faults = [f"--fault={name}={_RATE}" for name in _FAULTS] + [f"--fault={each}" for each in _RARE]
    with running_service(*faults) as service:
        load = Soak(service, folder, random.Random(1))  # noqa: S311
        before, held = Held.now(), list[Held]()
        async with client_of(service.url) as client:
            began = time.monotonic()
            while time.monotonic() - began < 60 * minutes or len(held) <= _WARM:
                await load.round(client, seconds)
                await asyncio.sleep(0.2)
                held.append(Held.now())
                passed = time.monotonic() - began
                _say(f"{passed:7.0f} s: {held[-1]}, {sum(load.ended.values())} ended")
                for reference in service.references():
                    load.told.discard(reference)
                if load.told:
                    _say(f"told as held, and not: {sorted(load.told)[:10]}")
                    return 1
        await asyncio.sleep(0.2)
        after = Held.now()
    _say(f"before {before}, after {after}")
    _say(", ".join(f"{number} {what}" for what, number in sorted(load.ended.items())))
    return 0 if is_flat(before, held, after) else 1


def is_flat(before: Held, rounds: list[Held], after: Held) -> bool:
    """Whether nothing is left but what was there, and memory did not grow once it was warm."""
    grown = rounds[-1].kib - rounds[_WARM - 1].kib
    # In between connections are kept, as many as the round happened to need.
    return after.files <= before.files and after.tasks <= before.tasks and grown <= _MORE_KIB


def _say(line: str) -> None:
    sys.stdout.write(f"{line}\n")
    sys.stdout.flush()


def main(arguments: list[str] | None = None) -> int:
    """Run it; give the exit code."""
    parser = argparse.ArgumentParser(prog="python -m tests.soak")
    parser.add_argument("--minutes", type=float, default=30)
    parser.add_argument("--round", type=float, default=30, help="seconds of load before a rest")
    asked = parser.parse_args(arguments)
    with tempfile.TemporaryDirectory() as folder:
        return asyncio.run(soak(asked.minutes, asked.round, Path(folder)))


if __name__ == "__main__":
    sys.exit(main())
