"""Nothing on the event loop waits for a disk, a name server or the clock."""

from __future__ import annotations

import asyncio
import socket
import time
from pathlib import Path

import pytest

from badges_async import BadgesClient, BasicAuth, Ledger, LedgerReader, Quota, RetryPolicy
from badges_async.sandbox import Fault, Sandbox
from tests.catalogue.blocking_watch import watch_blocking_calls
from tests.kill_helpers import BADGES, make_claims

# Memory, not a disk: what the kernel calls this boot.
ALLOWED = {"open /proc/sys/kernel/random/boot_id"}


@pytest.mark.usefixtures("lane")
async def test_no_call_of_a_run_holds_the_loop_up(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    """F101: a name to look up, a ledger on the disk, a quota, retries: all of it off the loop."""
    async with Sandbox(
        badges=BADGES, faults=[Fault.ERROR_500_BEFORE, Fault.RESET_AFTER]
    ) as sandbox:
        url = sandbox.url.replace("127.0.0.1", "localhost")
        seen = watch_blocking_calls(monkeypatch)
        async with (
            BadgesClient(
                url,
                BasicAuth(sandbox.username, sandbox.password),
                quota=Quota(1000, per=1.0),
                retry=RetryPolicy(base=0.01),
            ) as client,
            Ledger.open(tmp_path / "run.db") as ledger,
        ):
            assert await ledger.load(make_claims(50)) == 50
            report = await client.claim_all(make_claims(100), ledger=ledger)
            assert (await ledger.standing()).settled == 100
        monkeypatch.undo()
    assert report.ok
    assert report.retries >= 2
    assert set(seen) - ALLOWED == set()


async def test_the_watch_sees_what_it_is_for(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    """Or the test above would pass for nothing."""
    path = tmp_path / "run.db"
    async with Ledger.open(path):
        pass
    seen = watch_blocking_calls(monkeypatch)
    time.sleep(0)  # noqa: ASYNC251 - to be seen
    socket.getaddrinfo("127.0.0.1", 80)
    (tmp_path / "file").open("w").close()
    await asyncio.to_thread(time.sleep, 0)
    with LedgerReader.open(path) as reader:
        reader.standing()
    monkeypatch.undo()
    assert seen[:3] == ["sleep 0", "getaddrinfo 127.0.0.1", f"open {tmp_path / 'file'}"]
    assert sum(each.startswith("sleep") for each in seen) == 1
    assert any(each.startswith("sqlite3.execute ") for each in seen)
