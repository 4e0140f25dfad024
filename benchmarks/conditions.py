"""What a figure was measured with: it says nothing without."""

from __future__ import annotations

import os
import platform
from importlib.metadata import PackageNotFoundError, version

from benchmarks.cores import available

__all__ = ["conditions"]

_LIBRARIES = ("aiohttp", "uvloop", "orjson", "pyreqwest", "httpx")


def conditions() -> str:
    """Give Python, the libraries that are installed, and the number of cores."""
    cores = len(available()) or os.cpu_count() or 1
    python = f"{platform.python_implementation()} {platform.python_version()}"
    return ", ".join((f"{cores} cores", python, *_installed()))


def _installed() -> list[str]:
    found = []
    for name in _LIBRARIES:
        try:
            found.append(f"{name} {version(name)}")
        except PackageNotFoundError:
            found.append(f"no {name}")
    return found
