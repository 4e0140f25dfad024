"""
Run a campaign: `python -m tests.fuzz answers|calls|input|wire --minutes 30 [--folder FOLDER]`.

Here: arguments and what came of it. Ends with 1 when something was found: the bytes of each find
are in the folder, its traceback was printed. A folder that is used again goes on from its corpus.
"""

from __future__ import annotations

import argparse
import subprocess
import sys
import tempfile
from importlib.util import find_spec
from pathlib import Path

from tests.fuzz.targets import NAMES

_LONGEST = 8192  # bytes of an input
_LONGEST_RUN = 60  # seconds of one, on a busy machine


def main(arguments: list[str] | None = None) -> int:
    """Run what is asked for; give the exit code."""
    parser = argparse.ArgumentParser(prog="python -m tests.fuzz")
    parser.add_argument("target", choices=NAMES)
    parser.add_argument("--minutes", type=float, default=1.0)
    parser.add_argument("--folder", type=Path, help="for corpus and finds; a new one if not given")
    asked = parser.parse_args(arguments)
    if find_spec("atheris") is None:
        sys.stderr.write("the campaigns want atheris: pip install atheris\n")
        return 2
    folder: Path = asked.folder or Path(tempfile.mkdtemp(prefix=f"fuzz-{asked.target}-"))
    folder.mkdir(parents=True, exist_ok=True)
    options = (
        f"-max_total_time={max(1, round(asked.minutes * 60))}",
        f"-max_len={_LONGEST}",
        f"-timeout={_LONGEST_RUN}",
        "-print_final_stats=1",
    )
    command = [sys.executable, "-m", "tests.fuzz.campaign", asked.target, str(folder), *options]
    ended = subprocess.run(command, check=False).returncode  # noqa: S603 - ourselves
    finds = sorted(folder.glob("find-*"))
    sys.stderr.write(f"{len(finds)} finds in {folder}\n")
    return 1 if finds or ended else 0


if __name__ == "__main__":
    sys.exit(main())
