"""
Plant the bugs: `python -m tests.planted [NAME ...] [--simulation-only] [--seeds N]`.

Ends with 1 when nobody notices one of them.
"""

from __future__ import annotations

import argparse
import sys

from tests.planted.bugs import BUGS
from tests.planted.hunt import SIMULATION, catch


def main(arguments: list[str] | None = None) -> int:
    """Plant one after the other; give the exit code."""
    parser = argparse.ArgumentParser(prog="python -m tests.planted")
    parser.add_argument("names", nargs="*", help="parts of the names of bugs")
    parser.add_argument("--simulation-only", action="store_true")
    parser.add_argument("--seeds", type=int, default=400)
    asked = parser.parse_args(arguments)
    survivors = 0
    for bug in BUGS:
        if asked.names and not any(name in bug.name for name in asked.names):
            continue
        only = SIMULATION if asked.simulation_only else ""
        caught = catch(bug, only=only, seeds=asked.seeds)
        survivors += not caught.by
        what = caught.by or "NOBODY"
        sys.stdout.write(f"{bug.room:22} {bug.name:58} {caught.seconds:4.0f} s  {what}\n")
        sys.stdout.flush()
    return 1 if survivors else 0


if __name__ == "__main__":
    sys.exit(main())
