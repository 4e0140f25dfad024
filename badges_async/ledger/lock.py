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

import attrs

from badges_async.errors import LedgerError, LedgerLockedError

try:
    import fcntl
except ImportError:  # pragma: no cover - Windows
    fcntl = None  # type: ignore[assignment]

__all__ = ["Count", "Lock", "commits_counted", "lock_path"]

_MARK = b"commits "
_RECORD = struct.Struct(">8s16sQQ")
_HOLDER_AT = _RECORD.size
_HOLDER_LIMIT = 200
# Of a planted symbolic link the target must not be overwritten.
_FLAGS = os.O_RDWR | os.O_CREAT | getattr(os, "O_NOFOLLOW", 0)


@attrs.frozen
class Count:
    """
    How many commits a ledger has had.

    Attributes:
        ledger: Which one, see `schema`.
        inode: Which file that was: a copy of the two may have been made one after the other, so of
            a copy it says nothing.
    """

    ledger: str
    inode: int
    commits: int


def lock_path(path: Path) -> Path:
    """Give the lock's file for the ledger at *path*."""
    return path.with_name(path.name + "-lock")


def commits_counted(path: Path) -> Count | None:
    """Give what was counted beside *path*; None when nobody counted."""
    try:
        with lock_path(path).open("rb") as file:
            head = file.read(_RECORD.size)
    except OSError:
        return None
    if len(head) < _RECORD.size or not head.startswith(_MARK):
        return None
    _, ledger, inode, commits = _RECORD.unpack(head)
    return Count(ledger.decode(errors="replace"), inode, commits)


class Lock:
    """
    The lock of the ledger at *path*, held from here on.

    Raises:
        LedgerLockedError: Somebody holds it; the message names the process.
        LedgerError: The file cannot be made or locked, or is something else.
    """

    def __init__(self, path: Path) -> None:
        self.path = lock_path(path)
        if fcntl is None:  # pragma: no cover - Windows
            raise LedgerError("a ledger needs a system with flock(), which this one has not")
        try:
            self._handle = os.open(self.path, _FLAGS, 0o600)
        except OSError as error:
            raise LedgerError(f"cannot make {self.path}: {error.strerror}") from None
        try:
            self._take(path)
        except OSError as error:
            os.close(self._handle)
            raise LedgerError(f"cannot lock {self.path}: {error.strerror}") from None
        except BaseException:
            os.close(self._handle)
            raise

    def count(self, count: Count) -> None:
        """Note how many commits the ledger has had: a copy that lacks some can be told by it."""
        record = _RECORD.pack(_MARK, count.ledger.encode(), count.inode, count.commits)
        # The ledger itself has them; a disk that is full must not turn a commit into a failure.
        with contextlib.suppress(OSError):
            os.pwrite(self._handle, record, 0)

    def release(self) -> None:
        """Let go; the file stays, because another process may be about to lock it."""
        with contextlib.suppress(OSError):
            os.ftruncate(self._handle, _RECORD.size)
        os.close(self._handle)

    def _take(self, path: Path) -> None:
        head = os.pread(self._handle, len(_MARK), 0)
        if head not in {b"", _MARK}:
            raise LedgerError(f"{self.path} is not a ledger's lock; move it out of the way")
        try:
            fcntl.flock(self._handle, fcntl.LOCK_EX | fcntl.LOCK_NB)
        except BlockingIOError:
            holder = _text(os.pread(self._handle, _HOLDER_LIMIT, _HOLDER_AT))
            raise LedgerLockedError(f"{path} is in use by {holder}") from None
        us = f"process {os.getpid()} on {socket.gethostname()}".encode()[:_HOLDER_LIMIT]
        with contextlib.suppress(OSError):
            if not head:
                os.pwrite(self._handle, _RECORD.pack(_MARK, b"", 0, 0), 0)
            os.ftruncate(self._handle, _RECORD.size)
            os.pwrite(self._handle, us, _HOLDER_AT)


def _text(raw: bytes) -> str:
    text = raw.decode(errors="ignore").strip("\0 \n")
    return text if text and text.isprintable() else "another process"
