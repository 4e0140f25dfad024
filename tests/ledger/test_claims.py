"""What a run asks the ledger for, and what the ledger knows afterwards."""

# ruff: noqa: SLF001 - a setting is seen on its connection only

from __future__ import annotations

import sqlite3
import unicodedata
from contextlib import closing
from pathlib import Path

import pytest

from badges_async.claims import ClaimRequest
from badges_async.enums import ClaimStatus, OwnerType
from badges_async.errors import InvalidInputError, LedgerMismatchError
from badges_async.ledger import Ledger
from badges_async.ledger.records import Fate, State
from tests.ledger.support import (
    ACCOUNT,
    HOST,
    claims,
    contents,
    entries,
    killed,
    running,
    settle_all,
    settled,
)


async def test_what_is_found_comes_in_the_order_that_was_asked(tmp_path: Path) -> None:
    path = tmp_path / "run.db"
    async with running(path) as ledger:
        await settle_all(ledger, claims("settled"))
    async with running(path) as ledger:
        await settle_all(ledger, claims("told"))
        await ledger.lease(claims("in hand"), 1)
        asked = claims("new", "told", "settled", "new", "in hand", "other", "late", "other", "late")
        found = await ledger.lease(asked, 2)
        assert [each.fate for each in found] == [
            *(Fate.SEND, Fate.TOLD, Fate.SETTLED, Fate.TWIN, Fate.TWIN),
            *(Fate.SEND, Fate.LATER, Fate.TWIN, Fate.LATER),
        ]
        assert found[0].id == found[3].id
        assert found[5].id == found[7].id
        assert found[6].id == found[8].id
        [late] = await ledger.lease(claims("late"), 1)
        assert (late.fate, late.id, late.doubt) == (Fate.SEND, found[6].id, False)


@pytest.mark.parametrize("most", [0, -1])
async def test_no_more_than_may_be_in_hand(tmp_path: Path, most: int) -> None:
    async with running(tmp_path / "run.db") as ledger:
        found = await ledger.lease(claims(1, 2), most)
        assert [each.fate for each in found] == [Fate.LATER, Fate.LATER]
        assert await ledger.lease([], 10) == []
        standing = await ledger.standing()
        assert (standing.pending, standing.in_doubt) == (2, 0)


async def test_what_a_crash_left_in_hand_is_in_doubt(tmp_path: Path) -> None:
    path = tmp_path / "run.db"
    killed(path)
    async with running(path) as ledger:
        found = await ledger.lease(claims(*range(95, 115)), 100)
        assert [each.fate for each in found] == [Fate.SETTLED] * 5 + [Fate.SEND] * 15
        assert [each.doubt for each in found[5:]] == [True] * 10 + [False] * 5
        # Given back unsent, they are in doubt all the same.
        ledger.release_soon([(each.id, False) for each in found[5:]])
    found_then = entries(path)
    assert [found_then[str(n)].in_doubt for n in range(100, 115)] == [True] * 10 + [False] * 5
    async with running(path) as ledger:
        found = await ledger.lease(claims(*range(100, 115)), 100)
        assert [each.doubt for each in found] == [True] * 10 + [False] * 5
        ledger.release_soon([(found[12].id, True)])
        assert [each.doubt for each in await ledger.lease(claims(112), 1)] == [True]


async def test_a_failed_one_gets_a_new_chance_and_a_rejected_one_does_not(tmp_path: Path) -> None:
    path = tmp_path / "run.db"
    for run in range(3):
        async with running(path) as ledger:
            failed, rejected = await ledger.lease(claims("failed", "rejected"), 2)
            assert failed.fate is Fate.SEND
            assert failed.doubt == (run > 0)
            assert rejected.fate is (Fate.SETTLED if run else Fate.SEND)
            error = {"kind": "ServerError", "key": "HTTP 502", "text": "bad", "status": 502}
            rows = [settled(failed.id, State.FAILED, attempts=5, doubt=run == 0, error=error)]
            if not run:
                rows.append(settled(rejected.id, State.REJECTED, error={**error, "key": "717"}))
            await ledger.settle(rows)
            [told] = await ledger.lease(claims("failed"), 1)
            assert told.fate is Fate.TOLD
            assert told.told == (5 * (run + 1), False, error)
    found = entries(path)
    assert found["failed"].in_doubt, "doubt ends with an answer, and there was none"
    assert found["failed"].outcome is not None
    assert found["failed"].outcome.attempts == 15
    async with running(path) as ledger:
        [failed] = await ledger.lease(claims("failed"), 1)
        await ledger.settle([settled(failed.id, State.ALREADY_CLAIMED, recovered=True, doubt=True)])
    found = entries(path)
    assert not found["failed"].in_doubt
    assert found["failed"].outcome
    assert found["failed"].outcome.recovered
    assert found["failed"].outcome.error is None


async def test_an_outcome_stays_as_it_was_recorded_first(tmp_path: Path) -> None:
    path = tmp_path / "run.db"
    async with running(path) as ledger:
        [one, two] = await ledger.lease(claims(1, 2), 2)
        for _ in range(2):
            await ledger.settle([settled(one.id, attempts=3), settled(one.id, attempts=3)])
        await ledger.settle([settled(one.id, State.FAILED)])
        ledger.release_soon([(one.id, True), (two.id, False)])
        await ledger.settle([settled(two.id), settled(999)])
    found = entries(path)
    assert found["1"].outcome
    assert (found["1"].outcome.status, found["1"].outcome.attempts) == (ClaimStatus.CLAIMED, 3)
    assert found["2"].outcome is None


ODD = ["007", "7", "1e3", "1000", "1000.0", "9007199254740993", "9007199254740992", "0x10", "null"]
ODD += [
    "true",
    "'",
    '"',
    "\\",
    "'); DROP TABLE claim;--",
    "100%",
    "_",
    "%",
    "🐕",
    "🐕🏽",
    " a",
    "a ",
]
ODD += ["a", "A", "ß", "SS", "\u00a0a", "\u212b", "\u00c5", "A\u030a", "\ufffd", "\ufeff", "{}"]
ODD += ["[1]", "\U0010ffff", "\u200b", "x" * 100_000, "-1", "+1", "1", "01", "NaN", "$[0]"]


async def test_ids_survive_byte_for_byte_and_are_never_confused(tmp_path: Path) -> None:
    path = tmp_path / "run.db"
    asked = [ClaimRequest(odd, OwnerType.LOYALTY, odd) for odd in ODD]
    assert await loaded(path, asked) == len(ODD)
    async with running(path) as ledger:
        found = await ledger.lease(asked, 1000)
        assert len({each.id for each in found}) == len(ODD)
        assert {each.fate for each in found} == {Fate.SEND}
    assert list(entries(path)) == ODD
    assert [entry.request for entry in entries(path).values()] == asked
    forms = {unicodedata.normalize("NFC", odd) for odd in ODD}
    assert len(forms) < len(ODD), "or the test would not test it"


async def loaded(path: Path, asked: list[ClaimRequest]) -> int:
    async with Ledger.open(path) as ledger:
        return await ledger.load(asked)


async def test_the_parts_of_a_key_do_not_run_together(tmp_path: Path) -> None:
    asked = [
        ClaimRequest("a", OwnerType.LOYALTY, "b"),
        ClaimRequest("b", OwnerType.LOYALTY, "a"),
        ClaimRequest("a", OwnerType.JOURNEYS, "b"),
        ClaimRequest("aLoyalty", OwnerType.LOYALTY, "b"),
        ClaimRequest("a", OwnerType.LOYALTY, "bLoyalty"),
    ]
    assert await loaded(tmp_path / "run.db", asked) == 5
    assert await loaded(tmp_path / "run.db", asked) == 0


async def test_a_ledger_is_for_one_service_and_account(tmp_path: Path) -> None:
    path = tmp_path / "run.db"
    async with running(path) as ledger:
        await settle_all(ledger, claims(1))
    async with Ledger.open(path) as ledger:
        with pytest.raises(LedgerMismatchError) as caught:
            await ledger.begin_run("elsewhere.test", ACCOUNT)
        assert f"{HOST}, not elsewhere.test" in str(caught.value)
        with pytest.raises(LedgerMismatchError) as caught:
            await ledger.begin_run(HOST, "till-8@example.org")
        # Neither the account nor what it is known by.
        assert str(caught.value) == f"{path} belongs to another account; use another ledger"
        # Nothing of it is remembered, and the ledger goes on for whom it is.
        assert ledger.failure is None
        assert await ledger.begin_run(HOST, ACCOUNT) == 2
    for content in contents(tmp_path).values():
        assert ACCOUNT.encode() not in content


async def test_an_account_that_is_not_known_at_first(tmp_path: Path) -> None:
    async with Ledger.open(tmp_path / "run.db") as ledger:
        for number, account in enumerate(("", ACCOUNT, ""), start=1):
            assert await ledger.begin_run(HOST, account) == number
            ledger.end_run()
        with pytest.raises(LedgerMismatchError):
            await ledger.begin_run(HOST, "another")
        assert (await ledger.standing()).host == HOST


async def test_one_run_at_a_time(tmp_path: Path) -> None:
    async with running(tmp_path / "run.db") as ledger:
        with pytest.raises(InvalidInputError, match="another run"):
            await ledger.begin_run(HOST, ACCOUNT)
        [found] = await ledger.lease(claims(1), 1)
        ledger.end_run()
        assert await ledger.begin_run(HOST, ACCOUNT) == 2
        [again] = await ledger.lease(claims(1), 1)
        assert (again.id, again.fate, again.doubt) == (found.id, Fate.SEND, False)


async def test_a_run_begins_only_once_when_two_ask_at_once(tmp_path: Path) -> None:
    async with Ledger.open(tmp_path / "run.db") as ledger:
        first = ledger.begin_run(HOST, ACCOUNT)
        first.send(None)
        with pytest.raises(InvalidInputError, match="another run"):
            await ledger.begin_run(HOST, ACCOUNT)
        first.close()  # as a cancellation would
        assert await ledger.begin_run(HOST, ACCOUNT) > 0


@pytest.mark.parametrize(("durable", "synchronous"), [(None, 2), (True, 2), (False, 1)])
async def test_every_commit_is_on_the_disk_unless_nobody_will_resume(
    tmp_path: Path,
    durable: bool | None,  # noqa: FBT001 - a case
    synchronous: int,
) -> None:
    """F115: SQLite is told to sync each commit, but where the user said not to."""
    path = tmp_path / "run.db"
    opening = Ledger.open(path) if durable is None else Ledger.open(path, durable=durable)
    async with opening as ledger:
        assert ledger._writer is not None
        found = await ledger._writer.submit(
            lambda store: store.connection.execute("PRAGMA synchronous").fetchone()
        )
        assert found == (synchronous,)


async def test_a_lease_that_was_cut_off_goes_back_at_the_end_of_its_run(tmp_path: Path) -> None:
    """Without doubt, unless there was some before; an answer and a release come first."""
    path = tmp_path / "run.db"
    killed(path)
    async with running(path) as ledger:
        found = await ledger.lease(claims("new", 100, "sent", "settled"), 4)
        ledger.settle_soon([settled(found[3].id)])
        ledger.release_soon([(found[2].id, True)])
        ledger.end_run()
        ledger.end_run()
    states = entries(path)
    assert [states[name].in_doubt for name in ("new", "100", "sent", "settled")] == [
        *(False, True, True, False),
    ]
    assert states["settled"].outcome
    # What an earlier run left in doubt, and this one did not ask for, stays so.
    assert states["101"].in_doubt


async def test_the_file_is_as_the_schema_says(tmp_path: Path) -> None:
    path = tmp_path / "run.db"
    async with running(path) as ledger:
        await settle_all(ledger, claims(*range(500)))
    with closing(sqlite3.connect(path)) as connection:
        assert connection.execute("PRAGMA integrity_check").fetchall() == [("ok",)]
        assert connection.execute("PRAGMA journal_mode").fetchone() == ("wal",)
        assert connection.execute("PRAGMA application_id").fetchone() == (0x62616467,)
