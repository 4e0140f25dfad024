"""
Contenders in processes of their own, which take turns.

Here: starting one, asking it for a round, being one. Not here: what a round is.

What one contender does to the memory of a process, or imports into it, changes the cost of another;
what else the machine does changes the cost of all. So each has a process of its own, a round of one
follows a round of the other, and neighbours in time are compared.
"""

from __future__ import annotations

import json
import subprocess
import sys
from collections.abc import Callable, Iterator, Mapping
from contextlib import ExitStack, contextmanager
from pathlib import Path
from statistics import median
from typing import Any

from benchmarks.cores import available

__all__ = ["contender", "cores", "medians", "our_process", "serve_rounds", "take_turns"]

_ROOT = Path(__file__).parent.parent
_LARGE_BLOCK = 1 << 20
_PATIENCE = 10.0  # seconds, for a process that was told to end

Round = Callable[[], Any]


def cores() -> tuple[int | None, int | None]:
    """Give the cores of client and service; None for both where there are not two."""
    found = available()
    return (found[0], found[1]) if len(found) > 1 else (None, None)


@contextmanager
def our_process(module: str, *arguments: object) -> Iterator[subprocess.Popen[str]]:
    """
    Run a module of ours that ends when its standard input does, and end it.

    A process that is to clean up must get the chance: it is killed only when it does not end.
    """
    command = [sys.executable, "-m", module, *map(str, arguments)]
    with subprocess.Popen(  # noqa: S603 - our own module
        command, cwd=_ROOT, stdin=subprocess.PIPE, stdout=subprocess.PIPE, text=True
    ) as process:
        try:
            yield process
        finally:
            assert process.stdin is not None  # noqa: S101 - asked for above
            process.stdin.close()
            try:
                process.wait(_PATIENCE)
            except subprocess.TimeoutExpired:
                process.kill()


@contextmanager
def contender(module: str, *arguments: object) -> Iterator[Round]:
    """Start a process that is in `serve_rounds`; give what runs a round there and its result."""
    with our_process(module, *arguments) as process:
        asked, told = process.stdin, process.stdout
        assert asked is not None  # noqa: S101 - `our_process` asks for both
        assert told is not None  # noqa: S101 - likewise

        def answer() -> Any:  # noqa: ANN401 - parsed JSON
            line = told.readline()
            if not line:
                raise RuntimeError(f"{module} {' '.join(map(str, arguments))} ended early")
            return json.loads(line)

        def run() -> Any:  # noqa: ANN401 - parsed JSON
            asked.write("run\n")
            asked.flush()
            return answer()

        answer()  # it is warm
        yield run


def serve_rounds(warm_up: Round, run: Round) -> None:
    """Be a contender: run a round for each line of standard input, until it ends."""
    _settle_allocator()
    print(json.dumps(warm_up()), flush=True)
    for _ in sys.stdin:
        print(json.dumps(run()), flush=True)


def _settle_allocator() -> None:
    """
    Leave to chance nothing that a receive costs.

    For each, asyncio allocates 256 KiB. In a process that has never freed as large a block, glibc
    asks the kernel for it, which takes three system calls and a page fault, 20 us in all; in one
    that has, it comes from the heap. Which of the two it is hangs on what a process imports, and
    is no merit of a client: here all of them have freed one.
    """
    block = bytearray(_LARGE_BLOCK)
    del block


def take_turns(commands: Mapping[str, tuple[object, ...]], rounds: int) -> dict[str, list[Any]]:
    """Run rounds of all contenders, one after the other; give the results of each."""
    results: dict[str, list[Any]] = {name: [] for name in commands}
    with ExitStack() as stack:
        running = {
            name: stack.enter_context(contender(str(module), *arguments))
            for name, (module, *arguments) in commands.items()
        }
        for _ in range(rounds):
            for name, run in running.items():
                results[name].append(run())
    return results


def medians(
    results: Mapping[str, list[float]], baseline: str
) -> Iterator[tuple[str, float, float]]:
    """Give name, ratio to the baseline and own figure of each: medians over the rounds."""
    for name, own in results.items():
        pairs = zip(own, results[baseline], strict=True)
        yield name, median(cost / other for cost, other in pairs), median(own)
