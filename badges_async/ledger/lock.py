"""
One process at a time.

Here: the file beside a ledger that is locked as long as the ledger is open, names its holder, and
counts its commits. A lock on the ledger itself would not do: SQLite's own locks on it are dropped
when this process closes any other handle of the file. The lock ends with its process, however that
ends; the file stays.
"""

from __future__ import annotations

import contextlib
import os
import socket
import struct
from pathlib import Path

from badges_async.errors import LedgerError, LedgerLockedError

try:
    import fcntl
except ImportError:  # pragma: no cover - Windows
    fcntl = None  # type: ignore[assignment]

__all__ = ["Lock", "commits_counted", "lock_path"]

_COUNT = struct.Struct(">8sQ")
_MARK = b"commits "
_HOLDER_AT = _COUNT.size
_HOLDER_LIMIT = 200


def lock_path(path: Path) -> Path:
    """Give the lock's file for the ledger at *path*."""
    return path.with_name(path.name + "-lock")


def commits_counted(path: Path) -> int | None:
    """Give the commits that the ledger at *path* is known to have had; None when nobody counted."""
    try:
        with lock_path(path).open("rb") as file:
            head = file.read(_COUNT.size)
    except OSError:
        return None
    if len(head) < _COUNT.size:
        return None
    mark, count = _COUNT.unpack(head)
    return int(count) if mark == _MARK else None


class Lock:
    """
    The lock of the ledger at *path*, held from here on.

    Raises:
        LedgerLockedError: Somebody holds it; the message names the process.
        LedgerError: The file cannot be made.
    """

    def __init__(self, path: Path) -> None:
        self._path = lock_path(path)
        try:
            self._handle = os.open(self._path, os.O_RDWR | os.O_CREAT, 0o600)
        except OSError as error:
            raise LedgerError(f"cannot make {self._path}: {error.strerror}") from None
        try:
            self._take(path)
        except BaseException:
            os.close(self._handle)
            raise

    def count(self, commits: int) -> None:
        """Note how many commits the ledger has had: a copy that lacks some can be told by it."""
        # The ledger itself has them; a disk that is full must not turn a commit into a failure.
        with contextlib.suppress(OSError):
            os.pwrite(self._handle, _COUNT.pack(_MARK, commits), 0)

    def release(self) -> None:
        """Let go; the file stays, because another process may be about to lock it."""
        with contextlib.suppress(OSError):
            os.ftruncate(self._handle, _COUNT.size)
        os.close(self._handle)

    def _take(self, path: Path) -> None:
        if fcntl is not None:
            try:
                fcntl.flock(self._handle, fcntl.LOCK_EX | fcntl.LOCK_NB)
            except OSError:
                holder = _text(os.pread(self._handle, _HOLDER_LIMIT, _HOLDER_AT))
                raise LedgerLockedError(f"{path} is in use by {holder}") from None
        holder = f"process {os.getpid()} on {socket.gethostname()}"
        with contextlib.suppress(OSError):
            os.ftruncate(self._handle, _COUNT.size)
            os.pwrite(self._handle, holder.encode()[:_HOLDER_LIMIT], _HOLDER_AT)


def _text(raw: bytes) -> str:
    text = raw.decode(errors="replace").strip("\0 \n")
    return text if text and text.isprintable() else "another process"
