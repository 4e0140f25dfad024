"""
Planting a bug in a copy of the project, and finding out who notices.

Here: the copy, and what is run in it. The tree that lies here is never touched.
"""

from __future__ import annotations

import contextlib
import os
import shutil
import subprocess
import sys
import tempfile
import time
from collections.abc import Iterator
from pathlib import Path

import attrs

__all__ = ["ROOT", "SIMULATION", "Bug", "Catch", "catch", "plant"]

ROOT = Path(__file__).parents[2]
SIMULATION = "simulation"
# Seconds: a hang is noticed as well.
_PATIENCE = 240.0
_FAILED_TESTS = 1

_SEEK = """
import logging, pathlib, sys
import badges_async
assert pathlib.Path(badges_async.__file__).is_relative_to(pathlib.Path.cwd())
logging.disable(logging.CRITICAL)
from tests.simulation.simulator import simulate
for seed in range(int(sys.argv[1])):
    try:
        found = simulate(seed).violations
    except Exception as error:
        found = [f"it crashed: {error!r}"]
    if found:
        sys.exit(f"{seed + 1} seeds: {found[0][:100]}")
"""


@attrs.frozen(kw_only=True)
class Bug:
    """
    One change of one file.

    Attributes:
        room: The file below the package.
        is_: What stands there, once; `becomes`: what it is changed to.
        hunters: Who should notice, in the order in which they are asked: the simulation, or what
            pytest is given.
    """

    name: str
    room: str
    is_: str
    becomes: str
    hunters: tuple[str, ...]

    def planted_in(self, text: str) -> str:
        """Give *text* with the bug."""
        assert text.count(self.is_) == 1, f"{self.room}: not there once: {self.is_!r}"
        return text.replace(self.is_, self.becomes)


@attrs.frozen
class Catch:
    """Who noticed, by what, and after how many seconds; nobody when *hunter* is empty."""

    hunter: str
    by: str
    seconds: float


@contextlib.contextmanager
def plant(bug: Bug) -> Iterator[Path]:
    """Give a copy of the project with the bug in it."""
    with tempfile.TemporaryDirectory(prefix="planted-") as name:
        copy = Path(name)
        for folder in ("badges_async", "tests"):
            ignored = shutil.ignore_patterns("__pycache__", ".*")
            shutil.copytree(ROOT / folder, copy / folder, ignore=ignored)
        for file in ("pyproject.toml", "README.md", "CHANGELOG.md"):
            shutil.copy(ROOT / file, copy)
        room = copy / "badges_async" / bug.room
        room.write_text(bug.planted_in(room.read_text("utf-8")), "utf-8")
        yield copy


def catch(bug: Bug, *, only: str = "", seeds: int = 400) -> Catch:
    """
    Plant *bug* and ask its hunters, one after the other, until one notices.

    Args:
        only: The one to ask.
        seeds: How many the simulation tries.
    """
    began = time.perf_counter()
    with plant(bug) as copy:
        for hunter in (only,) if only else bug.hunters:
            if by := _ask(hunter, copy, seeds):
                return Catch(hunter, by, time.perf_counter() - began)
    return Catch("", "", time.perf_counter() - began)


def _ask(hunter: str, copy: Path, seeds: int) -> str:
    """Give what a hunter says of the copy; nothing when it finds nothing."""
    if hunter == SIMULATION:
        command = ["-c", _SEEK, str(seeds)]
    else:
        options = ("-q", "-x", "-n0", "--no-header", "--tb=no", "-m", "slow or not slow")
        command = ["-m", "pytest", *options, *hunter.split()]
    environment = {key: value for key, value in os.environ.items() if not key.startswith("COV")}
    try:
        ended = subprocess.run(  # noqa: S603 - our own code
            [sys.executable, *command],
            cwd=copy,
            env=environment | {"PYTHONPATH": str(copy)},
            capture_output=True,
            text=True,
            timeout=_PATIENCE,
            check=False,
        )
    except subprocess.TimeoutExpired:
        return f"it did not end within {_PATIENCE:g} s"
    if not ended.returncode:
        return ""
    if hunter == SIMULATION:
        return ended.stderr.strip().splitlines()[-1]
    # Anything but a failed test, such as one that is not there any more, proves nothing.
    assert ended.returncode == _FAILED_TESTS, ended.stdout + ended.stderr
    return next(line for line in ended.stdout.splitlines() if line.startswith(("FAILED", "ERROR")))
