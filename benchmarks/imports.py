"""
What `import badges_async` takes, each time in a fresh interpreter.

The baseline is `import aiohttp`, which is in it and cannot be left out.
"""

from __future__ import annotations

import subprocess
import sys
from collections.abc import Iterator
from statistics import median

from benchmarks.table import Row

ROUNDS = 15

_MODULES = ("aiohttp", "badges_async")
_SCRIPT = "import time; t = time.perf_counter(); import {}; print(time.perf_counter() - t)"


def rows(rounds: int = ROUNDS) -> Iterator[Row]:
    """Give a row for each module."""
    times: dict[str, list[float]] = {module: [] for module in _MODULES}
    for module in _MODULES:
        _seconds(module)  # compiles and caches what is new
    for _ in range(rounds):
        for module in _MODULES:
            times[module].append(_seconds(module))
    for module, own in times.items():
        ratio = median(own) / median(times[_MODULES[0]])
        yield Row(f"import {module}", ratio, min(own) * 1e3, "ms at least", f"import {_MODULES[0]}")


def _seconds(module: str) -> float:
    command = [sys.executable, "-c", _SCRIPT.format(module)]
    done = subprocess.run(command, check=True, capture_output=True, text=True)  # noqa: S603 - ours
    return float(done.stdout)
