"""`badges-async` and ``python -m badges_async``: the way in, also where the extra is missing."""

from __future__ import annotations

import sys

__all__ = ["main"]

_EXTRA = {"cyclopts", "rich"}


def main() -> int:
    """Run the command line; give the exit code."""
    try:
        from badges_async.cli.app import run  # noqa: PLC0415 - what it needs may not be installed
    except ModuleNotFoundError as error:
        if error.name not in _EXTRA:
            raise
        sys.stderr.write(
            f"badges-async: {error.name} is not installed; "
            "the command line needs: pip install 'badges_async[cli]'\n"
        )
        return 2
    return run(sys.argv[1:])


if __name__ == "__main__":
    sys.exit(main())
