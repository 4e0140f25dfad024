"""Where a ledger lies: file systems of other machines, whose locks may not hold."""

from __future__ import annotations

from pathlib import Path

import pytest

from badges_async.ledger import book, place
from tests.ledger.support import running

MOUNTS = """\
40 22 0:5 / /mnt/with\\040blank rw - nfs4 server:/share rw
41 22 0:6 / /home rw - fuse.sshfs host: rw
42 41 0:7 / /home/me rw - tmpfs tmpfs rw
43 22 0:8 / /over rw - nfs server:/x rw
44 43 0:9 / /over rw - ext4 /dev/vdb rw
22 1 254:0 / / rw,relatime shared:1 - ext4 /dev/vda rw
"""


@pytest.mark.parametrize(
    ("path", "kind"),
    [
        ("/var/run.db", None),
        ("/mnt/with blank/run.db", "nfs4"),
        ("/mnt/with/run.db", None),
        ("/home/you/run.db", "fuse.sshfs"),
        ("/home/me/run.db", None),
        ("/over/run.db", None),
    ],
)
def test_a_file_system_of_another_machine_is_known(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch, path: str, kind: str | None
) -> None:
    """F118: by its kind of mount, network and FUSE."""
    mounts = tmp_path / "mountinfo"
    monkeypatch.setattr(place, "_MOUNTS", mounts)
    assert place.shared_file_system(Path(path)) is None
    mounts.write_text(MOUNTS)
    assert place.shared_file_system(Path(path)) == kind


async def test_a_ledger_on_another_machine_is_warned_of(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch, caplog: pytest.LogCaptureFixture
) -> None:
    """F118: whose locks may not hold."""
    monkeypatch.setattr(book, "shared_file_system", lambda _: "nfs")
    async with running(tmp_path / "run.db"):
        pass
    assert "one machine at a time" in caplog.text
