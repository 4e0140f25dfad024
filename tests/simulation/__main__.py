"""
Run seeds: `python -m tests.simulation --seeds 0-9999 [--processes N] [--trace]`.

Here: arguments and printing. Ends with 1 when a seed violates something, and prints the first one
with the end of its trace; ``--seeds N --trace`` prints all of it.
"""

from __future__ import annotations

import argparse
import logging
import os
import sys
import time
from collections import Counter

from tests.simulation.plan import Plan
from tests.simulation.simulator import Verdict, simulate_all

_END_OF_TRACE = 60


def main(arguments: list[str] | None = None) -> int:
    """Run the seeds that are asked for; give the exit code."""
    asked = _read(arguments)
    began, sums, failed = time.perf_counter(), Counter[str](), list[Verdict]()
    for verdict in simulate_all(asked.seeds, asked.processes, trace=asked.trace):
        sums.update(verdict.sums)
        if verdict.violations:
            failed.append(verdict)
            _say(f"seed {verdict.seed}: {verdict.violations[0]}")
        if asked.trace:
            _say(*verdict.trace, f"digest {verdict.digest}")
    seconds = time.perf_counter() - began
    if failed and not asked.trace:
        _say(str(Plan.of(failed[0].seed)), *failed[0].trace[-_END_OF_TRACE:], *failed[0].violations)
    _say(
        ", ".join(f"{number:,.0f} {what}" for what, number in sums.items()),
        f"{len(asked.seeds):,} seeds, {len(failed)} with violations, "
        f"{len(asked.seeds) / seconds:.1f} seeds a second",
    )
    return 1 if failed else 0


def _read(arguments: list[str] | None) -> argparse.Namespace:
    parser = argparse.ArgumentParser(prog="python -m tests.simulation")
    parser.add_argument("--seeds", type=_seeds, default=range(1000), help="such as 0-9999, or 17")
    parser.add_argument("--processes", type=int, default=os.cpu_count() or 1)
    parser.add_argument("--trace", action="store_true", help="print every event")
    return parser.parse_args(arguments)


def _seeds(text: str) -> range:
    first, _, last = text.partition("-")
    return range(int(first), int(last or first) + 1)


def _say(*lines: str) -> None:
    sys.stdout.writelines(f"{line}\n" for line in lines)
    sys.stdout.flush()


if __name__ == "__main__":
    logging.disable(logging.CRITICAL)  # a ledger on a disk that fails says so each time
    sys.exit(main())
