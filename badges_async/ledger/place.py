"""
Where a ledger lies: whether the file system keeps its promises.

Here: file systems that are another machine's, by their names. Not here: what is done about it
(`book`).
"""

from __future__ import annotations

from pathlib import Path

__all__ = ["shared_file_system"]

_MOUNTS = Path("/proc/self/mountinfo")
# Several machines may use one at once, and see neither each other's locks nor SQLite's shared
# memory. What runs in user space under "fuse." may be anything, so it counts as one.
_SHARED = {"9p", "afs", "ceph", "cifs", "glusterfs", "lustre", "ncpfs", "nfs", "nfs4", "smb3"}


def shared_file_system(path: Path) -> str | None:
    """Give the kind of the file system that *path* is on, if it may be shared; None if not."""
    try:
        lines = _MOUNTS.read_text(encoding="utf-8", errors="surrogateescape").splitlines()
    except OSError:
        return None  # not Linux
    kind, longest = "", -1
    for line in lines:
        # Each with the mount point as its fifth word, and the kind as the first after the dash.
        before, _, after = line.partition(" - ")
        point = before.split()[4].replace("\\040", " ")
        if path.is_relative_to(point) and len(point) >= longest:
            kind, longest = after.split()[0], len(point)
    return kind if kind in _SHARED or kind.startswith("fuse.") else None
