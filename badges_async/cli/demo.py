"""
``demo``: the main job, shown and proved.

A file of claims, a service in a process of its own on a bad day, the real `bulk-claim` between
them, and then every word of the report compared with what the service holds.
"""

from __future__ import annotations

import asyncio
import contextlib
import csv
import random
import sys
import tempfile
from collections.abc import AsyncIterator, Iterator, Sequence
from pathlib import Path

import attrs
from rich.text import Text

from badges_async import BadgesClient, BasicAuth, OwnerType
from badges_async.cli import loops
from badges_async.cli.bulk import claim_file, conclude
from badges_async.cli.ending import Ending
from badges_async.cli.exits import Exit
from badges_async.cli.files import RowFile
from badges_async.cli.options import BulkOptions
from badges_async.cli.output import emit
from badges_async.cli.proof import Check, Witness, ask_for_claims, ask_for_state, prove
from badges_async.sandbox import make_badge_ids

__all__ = ["DemoOptions", "run_demo"]

_BADGES = 500
_LATENCY = 0.03
_FAULT_RATE = 0.15
_START_WITHIN = 20.0
_END_WITHIN = 5.0


@attrs.frozen(kw_only=True)
class DemoOptions:
    """How much of it; `progress` as in `BulkOptions`."""

    rows: int = 3000
    concurrency: int = 32
    seed: int = 1
    progress: bool = True


def run_demo(options: DemoOptions) -> Exit:
    """
    Run the demonstration; the exit code is that of the proof.

    Raises:
        OSError: The sandbox's process could not be started.
    """
    return loops.run(_demo(options))


async def _demo(options: DemoOptions) -> Exit:
    with tempfile.TemporaryDirectory(prefix="badges-async-demo-") as folder:
        file = Path(folder) / "claims.csv"
        write_claims(file, options)
        _step(1, f"{options.rows:,} claims over {_BADGES} badges, in {file}")
        async with _sandbox(options.seed) as (url, password):
            weather = f"{_LATENCY * 1000:.0f} ms latency, faults on {_FAULT_RATE:.0%} of requests"
            _step(2, f"a sandbox in a process of its own, {url}: {weather}")
            before = await ask_for_claims(url)
            _step(3, f"badges-async bulk-claim claims.csv --concurrency {options.concurrency}")
            ending, witness = await _claim(url, password, file, options)
            state, held = await ask_for_state(url), await ask_for_claims(url)
    checks = prove(
        ending,
        witness,
        rows=options.rows,
        held=held,
        before=before,
        peak=int(state["peakInFlight"]),
    )
    _step(4, "that report, compared with what the sandbox holds")
    return _judge(ending, checks)


async def _claim(
    url: str, password: str, file: Path, options: DemoOptions
) -> tuple[Ending, Witness]:
    witness = Witness()
    bulk = BulkOptions(concurrency=options.concurrency, progress=options.progress)
    auth = BasicAuth("till.demo", password)
    client = BadgesClient(url, auth, max_connections=bulk.connections)
    with contextlib.closing(RowFile(str(file))) as rows:
        ending = await claim_file(client, url, rows, bulk, on_outcome=witness.note)
    conclude(ending, bulk)
    return ending, witness


def write_claims(file: Path, options: DemoOptions) -> None:
    """Write a file as people have it: ids of every kind, repeated rows, a few mistakes."""
    with file.open("w", encoding="utf-8-sig", newline="") as stream:
        writer = csv.writer(stream)
        writer.writerow(["badgeId", "ownerType", "referenceId", "note"])
        writer.writerows(_rows(options))


def _rows(options: DemoOptions) -> Iterator[Sequence[str]]:
    dice = random.Random(options.seed)  # noqa: S311 - a story, not a secret
    badges = list(make_badge_ids(_BADGES))
    owners = list(OwnerType)
    row = [badges[0], str(owners[0]), "007", ""]
    for number in range(options.rows):
        kind = dice.random()
        if kind < 0.985 or number == 0:  # noqa: PLR2004 - the rest is trouble
            reference = dice.choice([f"{number:06}", f"{number}e3", f"Zoë, {number}"])
            row = [dice.choice(badges), str(dice.choice(owners)), reference, ""]
            yield row
        elif kind < 0.995:  # noqa: PLR2004
            yield [*row[:3], "once more"]
        elif kind < 0.998:  # noqa: PLR2004
            yield [f"{number:024x}", str(owners[0]), f"{number}", "no such badge"]
        else:
            yield [badges[0], "Nobody", f"{number}", "no such owner"]


@contextlib.asynccontextmanager
async def _sandbox(seed: int) -> AsyncIterator[tuple[str, str]]:
    # Its own session: Ctrl-C is for us alone. And should we be killed outright, our end of its
    # standard input closes, and it ends as well.
    process = await asyncio.create_subprocess_exec(
        *(sys.executable, "-m", "badges_async", "sandbox"),
        *("--badges", str(_BADGES), "--latency", str(_LATENCY), "--seed", str(seed)),
        *("--fault", f"everyday={_FAULT_RATE}", "--until-eof"),
        stdin=asyncio.subprocess.PIPE,
        stdout=asyncio.subprocess.PIPE,
        start_new_session=True,
    )
    try:
        async with asyncio.timeout(_START_WITHIN):
            variables = await _exports(process)
        yield variables["BADGES_HOST"], variables["BADGES_PASSWORD"]
    finally:
        await _end(process)


async def _exports(process: asyncio.subprocess.Process) -> dict[str, str]:
    """Read the lines that the sandbox prints to be pasted, up to the last that is needed."""
    assert process.stdout is not None  # noqa: S101 - it was asked for
    variables: dict[str, str] = {}
    while "BADGES_PASSWORD" not in variables:
        line = (await process.stdout.readline()).decode()
        if not line:
            raise OSError("the sandbox did not start")
        name, separator, value = line.strip().removeprefix("export ").partition("=")
        if separator:
            variables[name] = value
    return variables


async def _end(process: asyncio.subprocess.Process) -> None:
    with contextlib.suppress(ProcessLookupError):
        process.terminate()
    try:
        async with asyncio.timeout(_END_WITHIN):
            await process.communicate()
    except TimeoutError:
        process.kill()
        await process.communicate()


def _step(number: int, what: str) -> None:
    emit(Text.assemble("\n" * (number > 1), (f"{number}  ", "bold cyan"), (what, "bold")))


def _judge(ending: Ending, checks: Sequence[Check]) -> Exit:
    width = max(len(check.sentence) for check in checks)
    for check in checks:
        mark = ("   ok  ", "green") if check.holds else ("   NO  ", "bold red")
        emit(Text.assemble(mark, f"{check.sentence:<{width}}  {check.count:>6,}"))
    if not all(check.holds for check in checks):
        emit(Text("\nThe report is wrong. That is a bug; please report it.", "bold red"))
        return Exit.PROBLEMS
    if not ending.complete:
        emit(Text("\nInterrupted, and true as far as it went.", "bold yellow"))
        return ending.exit
    emit(Text("\nProved: nothing lost, nothing doubled, nothing misreported.", "bold green"))
    return Exit.OK
