"""Which release this is."""

from __future__ import annotations

from importlib.metadata import PackageNotFoundError, version

__all__ = ["installed_version"]


def installed_version() -> str:
    """Give the version, as the installer has it."""
    try:
        return version("badges_async")
    except PackageNotFoundError:  # run from a folder that was never installed
        return "unknown"
