"""``python -m benchmarks`` measures everything; with names of parts, those parts."""

from __future__ import annotations

import argparse
from importlib import import_module
from pathlib import Path

from benchmarks.table import Row, show

# In this order: what takes the longest to import comes last and is in nobody's way before.
PARTS = ("imports", "memory", "claims", "latency", "stream", "ledger", "decode")


def main() -> None:
    """Print the table of the parts that are asked for."""
    parser = argparse.ArgumentParser(prog="python -m benchmarks", description=__doc__)
    parser.add_argument("part", nargs="*", help=f"of {', '.join(PARTS)}; all by default")
    parser.add_argument("--svg", type=Path, metavar="FILE", help="draw what `claims` measures")
    asked = parser.parse_args()
    parts = asked.part or PARTS
    for part in parts:
        if part not in PARTS:
            parser.error(f"there is no {part!r}; choose from {', '.join(PARTS)}")
    if asked.svg and "claims" not in parts:
        parser.error("--svg draws what `claims` measures: ask for that part")
    shown: list[Row] = []
    for place, part in enumerate(parts):
        # Each is imported when its turn comes: more objects in memory cost every collection.
        shown += show(import_module(f"benchmarks.{part}").rows(), head=place == 0)
    if asked.svg:
        import_module("benchmarks.plot").write(asked.svg, shown)


if __name__ == "__main__":
    main()
