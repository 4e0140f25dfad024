"""What a ledger says while a run writes, after a kill, and to an older release."""

from __future__ import annotations

import asyncio
import sqlite3
import time
from collections import Counter
from contextlib import closing
from pathlib import Path

import pytest

from badges_async.enums import ClaimStatus
from badges_async.errors import LedgerError
from badges_async.ledger import Ledger, LedgerReader, LedgerStanding, reader
from badges_async.ledger.records import State
from tests.ledger.support import HOLDS, child, claims, entries, line, running, settle_all, settled

ERROR = {"kind": "InvalidRequestError", "key": "717", "text": "no", "status": 400, "errors": []}


async def mixed(path: Path) -> None:
    """Make a ledger with some of everything."""
    async with running(path) as ledger:
        asked = claims(*range(70))
        found = await ledger.lease(asked, 60)
        rows = [settled(each.id, error=None) for each in found[:10]]
        rows += [settled(each.id, State.ALREADY_CLAIMED) for each in found[10:15]]
        rows += [settled(each.id, State.ALREADY_CLAIMED, recovered=True) for each in found[15:18]]
        rows += [settled(each.id, State.REJECTED, error=ERROR) for each in found[18:25]]
        odd = {**ERROR, "key": "OutageError", "kind": "OutageError"}
        rows += [settled(each.id, State.FAILED, doubt=True, error=odd) for each in found[25:30]]
        await ledger.settle(rows)
        ledger.release_soon([(each.id, each.id % 2 == 0) for each in found[30:40]])
        ledger.record_pause_soon(asyncio.get_running_loop().time() + 100)


def summed(path: Path) -> LedgerStanding:
    """Give what the entries add up to."""
    all_of_them = entries(path).values()
    outcomes = [entry.outcome for entry in all_of_them if entry.outcome]
    counts = Counter(outcome.status for outcome in outcomes)
    doubt = sum(entry.in_doubt for entry in all_of_them if entry.outcome is None)
    return LedgerStanding(
        pending=len(all_of_them) - len(outcomes) - doubt,
        in_doubt=doubt,
        counts={status: counts[status] for status in ClaimStatus},
        recovered=sum(outcome.recovered for outcome in outcomes),
    )


async def test_the_standing_is_what_the_entries_add_up_to(tmp_path: Path) -> None:
    path = tmp_path / "run.db"
    await mixed(path)
    with LedgerReader.open(path) as ledger:
        standing = ledger.standing()
    sums = summed(path)
    for name in ("pending", "in_doubt", "counts", "recovered", "total", "settled", "unsettled"):
        assert getattr(standing, name) == getattr(sums, name), name
    assert standing.total == 70
    assert (standing.pending, standing.in_doubt, standing.recovered) == (15, 25, 3)
    assert standing.errors == {"717": 7, "OutageError": 5}
    assert not standing.in_use
    assert standing.host == "badges.test"
    assert standing.paused_until is not None
    assert 0 < standing.paused_until - time.time() <= 100
    async with Ledger.open(path) as ledger_:
        again = await ledger_.standing()
        assert again.in_use
        assert (again.counts, again.in_doubt) == (standing.counts, standing.in_doubt)


@pytest.mark.parametrize("status", ClaimStatus)
async def test_entries_of_one_outcome(tmp_path: Path, status: ClaimStatus) -> None:
    path = tmp_path / "run.db"
    await mixed(path)
    with LedgerReader.open(path) as ledger:
        found = list(ledger.entries([status]))
        assert len(found) == ledger.standing().counts[status] > 0
        assert {entry.outcome and entry.outcome.status for entry in found} == {status}
        assert list(ledger.entries([])) == []
        assert len(list(ledger.entries(list(ClaimStatus)))) == 30


async def test_entries_are_paged_while_the_ledger_changes(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr(reader, "_READ_AT_ONCE", 10)
    path = tmp_path / "run.db"
    async with running(path) as ledger:
        await ledger.load(claims(*range(50)))
        with LedgerReader.open(path) as reading:
            seen = []
            for entry in reading.entries():
                seen.append(entry)
                if len(seen) == 15:
                    await settle_all(ledger, claims(5, 30))
                    await ledger.load(claims(*range(50, 60)))
        assert [entry.request.reference_id for entry in seen] == [str(n) for n in range(60)]
        assert [entry.request.reference_id for entry in seen if entry.outcome] == ["30"]


async def test_it_is_read_while_another_process_writes_and_after_its_kill(tmp_path: Path) -> None:
    path = tmp_path / "run.db"
    with child(path, HOLDS) as process:
        line(process)
        with LedgerReader.open(path) as ledger:
            assert ledger.standing().in_use
            assert ledger.standing().settled == 100
        process.kill()
        process.wait()
        with LedgerReader.open(path) as ledger:
            assert ledger.standing().in_use
            assert (ledger.standing().settled, ledger.standing().in_doubt) == (100, 10)
            assert sum(1 for _ in ledger.entries()) == 110


async def test_a_reader_never_fails_while_a_run_goes_on(tmp_path: Path) -> None:
    """Not at its start, not at its end, and not in between."""
    path = tmp_path / "run.db"
    async with Ledger.open(path):
        pass
    over = False

    def read() -> int:
        count = 0
        while not over or not count:
            with LedgerReader.open(path) as ledger:
                standing = ledger.standing()
                assert standing.settled <= sum(1 for entry in ledger.entries() if entry.outcome)
            count += 1
        return count

    reading = asyncio.get_running_loop().run_in_executor(None, read)
    for run in range(15):
        async with running(path) as ledger:
            for number in range(5):
                await settle_all(ledger, claims(f"{run}-{number}"))
    over = True
    assert await reading > 5
    assert len(entries(path)) == 75


async def test_a_newer_ledger_is_read_as_far_as_it_is_understood(tmp_path: Path) -> None:
    """F107: what a newer release wrote can be reported on."""
    path = tmp_path / "run.db"
    await mixed(path)
    with closing(sqlite3.connect(path)) as connection:
        connection.executescript(
            "PRAGMA user_version = 7; ALTER TABLE claim ADD COLUMN line INTEGER;"
            "UPDATE claim SET state = 9 WHERE id = 60;"
            "INSERT INTO claim (badge_id, owner_type, reference_id) VALUES ('b', 'Loyalty', 'new')"
        )
    with LedgerReader.open(path) as ledger:
        assert ledger.standing().total == 71
        assert len(list(ledger.entries())) == 71
    with closing(sqlite3.connect(path)) as connection:
        connection.execute("UPDATE claim SET owner_type = 'Martians' WHERE id = 3")
        connection.commit()
    with LedgerReader.open(path) as ledger, pytest.raises(LedgerError, match="newer release"):
        list(ledger.entries())


async def test_a_closed_reader_says_so(tmp_path: Path) -> None:
    path = tmp_path / "run.db"
    async with Ledger.open(path):
        pass
    ledger = LedgerReader.open(path)
    ledger.close()
    ledger.close()
    with pytest.raises(LedgerError):
        ledger.standing()
    with pytest.raises(LedgerError):
        list(ledger.entries())
