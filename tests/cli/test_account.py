"""The account of a run: the books, the exit code, the summary and the record."""

from __future__ import annotations

import json
import os
import stat
from datetime import UTC, datetime
from pathlib import Path
from typing import Any

import pytest

from badges_async import (
    AuthenticationError,
    BadgeNotFoundError,
    BadgesError,
    BulkReport,
    ClaimOutcome,
    ClaimStatus,
    ConnectionLostError,
    LedgerFullError,
    LedgerStanding,
    Notice,
    OutageError,
    UnreadableReplyError,
)
from badges_async.cli import record, tally
from badges_async.cli.ending import Ending
from badges_async.cli.exits import Exit, UsageError
from badges_async.cli.rows import BadRow, Row
from badges_async.cli.standing import Standing
from badges_async.cli.summary import duration, summarise
from badges_async.cli.tally import Problem, Tally, cause_of

NOW = datetime(2026, 1, 2, 3, 4, 5, tzinfo=UTC)
MISSING = BadgeNotFoundError("gone", status=404, errors=(Notice(404, "no [bold]such\x1b badge"),))
READ_AHEAD = Tally(good_rows=8, last_line=9, last_settled=5)


def row(line: int) -> Row:
    return Row("b1", "Loyalty", f"={line}", line)


def report(**numbers: Any) -> BulkReport:
    counts = {status: numbers.pop(status.value, 0) for status in ClaimStatus}
    return BulkReport(counts=counts, **{"elapsed": 2.0, **numbers})


def ending(books: Tally | None = None, **parts: Any) -> Ending:
    return Ending(
        **{
            "file": "claims.csv",
            "host": "example.com",
            "options": {"concurrency": 16},
            "report": report(claimed=1),
            "tally": books or Tally(good_rows=1, exhausted=True, last_line=2),
            "began": NOW,
            "ended": NOW,
            **parts,
        }
    )


def books_with_trouble() -> Tally:
    books = Tally()
    for line in (2, 3, 4):
        books.pulled(row(line))
    books.refused(BadRow(5, "2 columns, the header has 3"))
    books.settled(ClaimOutcome(row(2), ClaimStatus.CLAIMED))
    books.settled(ClaimOutcome(row(3), ClaimStatus.REJECTED, error=MISSING))
    return books


@pytest.mark.parametrize(
    ("error", "cause"),
    [
        (MISSING, "404"),
        (BadgeNotFoundError("gone", status=404), "HTTP 404"),
        (UnreadableReplyError("html", status=502), "HTTP 502"),
        (ConnectionLostError("reset"), "ConnectionLostError"),
    ],
)
def test_a_cause_has_the_name_that_the_report_counts_it_under(
    error: BadgesError, cause: str
) -> None:
    """Otherwise a count would have no example."""
    assert cause_of(error) == cause


def test_the_books_keep_problems_and_an_example_of_each_cause() -> None:
    """A problem has its line, its ids and its words; what is settled is only counted."""
    books = books_with_trouble()

    assert (books.last_line, books.last_settled) == (5, 3)
    assert [(each.line, each.kind) for each in books.problems] == [(5, "bad_row"), (3, "rejected")]
    assert books.examples["404"].row == row(3)
    assert books.examples["404"].message == MISSING.message


def test_the_books_are_bounded(monkeypatch: pytest.MonkeyPatch) -> None:
    """A file of problems, or a service that invents codes, does not fill the memory."""
    monkeypatch.setattr(tally, "PROBLEMS_KEPT", 5)
    monkeypatch.setattr(tally, "_CAUSES_KEPT", 3)
    told: list[Problem] = []
    books = Tally(on_problem=told.append)
    for line in range(2, 12):
        books.pulled(row(line))
        error = BadgeNotFoundError("no", errors=(Notice(line, "no"),))
        books.settled(ClaimOutcome(row(line), ClaimStatus.REJECTED, error=error))

    assert (len(books.problems), len(books.examples), len(told)) == (5, 3, 10)


@pytest.mark.parametrize(
    ("parts", "code"),
    [
        ({}, Exit.OK),
        ({"report": report(claimed=1, already_claimed=2)}, Exit.OK),
        ({"report": report(rejected=1)}, Exit.PROBLEMS),
        ({"report": report(failed=1)}, Exit.PROBLEMS),
        ({"report": report(claimed=1, unsettled=1)}, Exit.PROBLEMS),
        ({"books": Tally(good_rows=1, bad_rows=1)}, Exit.PROBLEMS),
        ({"books": Tally()}, Exit.USAGE),
        ({"books": Tally(bad_rows=3)}, Exit.USAGE),
        ({"stop": "drained"}, Exit.INTERRUPTED),
        ({"stop": "at once"}, Exit.INTERRUPTED),
        ({"stopped_by": OutageError("down")}, Exit.STOPPED),
        ({"stopped_by": AuthenticationError("who?"), "stop": "drained"}, Exit.STOPPED),
        ({"stopped_by": OSError("disk gone")}, Exit.USAGE),
    ],
)
def test_the_exit_code_says_how_it_ended(parts: dict[str, Any], code: Exit) -> None:
    """One code for each way to end, the worst reason first."""
    assert ending(**parts).exit is code


def test_the_summary_shows_counts_causes_bad_rows_and_a_verdict() -> None:
    """Text of others stays text: markup is shown, a terminal's commands are not."""
    numbers = report(claimed=1, already_claimed=0, rejected=1, unsettled=1, errors={"404": 1})
    parts = {"report": numbers, "unsettled": [row(4)], "stop": "drained"}
    text = summarise(ending(books_with_trouble(), **parts)).plain

    assert "claims.csv: 4 rows in 2.0 s, 1.0 claims/s" in text
    assert "  claimed         1\n" in text
    assert "  rejected        1\n" in text
    assert "  unsettled       1   lines 4\n" in text
    assert r"  code 404  1  such as line 3: no [bold]such\x1b badge" in text
    assert "  line 5: 2 columns, the header has 3" in text
    assert text.endswith("Interrupted. Nothing after line 5 was attempted.")


@pytest.mark.parametrize(
    ("parts", "verdict"),
    [
        ({}, "All well: the service holds all 1 row."),
        ({"report": report(rejected=1)}, "Of 1 row, 1 not claimed."),
        ({"report": report(failed=2)}, "Of 1 row, 2 in doubt."),
        ({"report": report(rejected=1, failed=2)}, "Of 1 row, 1 not claimed, 2 in doubt."),
        ({"books": Tally()}, "claims.csv holds no row to claim."),
        (
            {"stopped_by": OutageError("nobody answers")},
            "Stopped: nobody answers. The whole file was read.",
        ),
        ({"stop": "drained", "books": Tally()}, "Interrupted. Nothing was sent."),
        (
            {"stop": "drained", "books": READ_AHEAD, "in_doubt": 0},
            "Interrupted. Nothing after line 5 was claimed.",
        ),
        (
            {"stop": "drained", "books": Tally(good_rows=3, last_line=9), "in_doubt": 0},
            "Interrupted. Nothing was claimed.",
        ),
        (
            {"stop": "drained", "books": READ_AHEAD, "in_doubt": 3, "resumes": True},
            "Interrupted. Nothing after line 9 was attempted. The same command goes on from here.",
        ),
        (
            {"stopped_by": LedgerFullError("run.db: the disk is full"), "resumes": True},
            (
                "Stopped: run.db: the disk is full; make room and run the same command again, it "
                "goes on from there. The whole file was read."
            ),
        ),
    ],
)
def test_the_summary_ends_with_one_sentence(parts: dict[str, Any], verdict: str) -> None:
    """What a person looks for first stands last."""
    assert summarise(ending(**parts)).plain.splitlines()[-1] == verdict


def test_the_summary_stays_short_whatever_happened() -> None:
    """A hundred causes and a hundred bad rows do not scroll the counts away."""
    books = Tally(good_rows=500)
    for line in range(2, 102):
        books.refused(BadRow(line, "x" * 1000))
    errors = {str(code): 1 for code in range(100)}
    lines = summarise(ending(books, report=report(rejected=100, errors=errors))).plain.splitlines()

    assert len(lines) < 40
    assert max(map(len, lines)) < 160
    assert "  and 92 more causes" in lines
    assert "  and 95 more" in lines


@pytest.mark.parametrize(
    ("seconds", "said"),
    [
        (0.04, "0.0 s"),
        (9.96, "10.0 s"),
        (59, "59 s"),
        (60, "1:00"),
        (185, "3:05"),
        (60_000, "16:40:00"),
    ],
)
def test_a_duration_is_said_as_people_do(seconds: float, said: str) -> None:
    """Tenths while they matter, then seconds, minutes, hours."""
    assert duration(seconds) == said


def test_the_record_holds_the_whole_account(tmp_path: Path) -> None:
    """Everything that the summary says and more, as JSON, for its owner only."""
    path = tmp_path / "run.json"
    numbers = report(claimed=1, rejected=1, unsettled=1, errors={"404": 1}, retries=3)
    record.write(path, ending(books_with_trouble(), report=numbers, unsettled=[row(4)]))
    values = json.loads(path.read_text())

    assert values["schema"] == "badges_async.bulk-claim/1"
    assert values["counts"] == {
        "rows": 4,
        "claimed": 1,
        "already_claimed": 0,
        "rejected": 1,
        "failed": 0,
        "recovered": 0,
        "skipped": 0,
        "rejected_before": 0,
        "unsettled": 1,
        "bad_rows": 1,
        "retries": 3,
        "throttled": 0,
    }
    assert values["errors"]["404"] == {
        "count": 1,
        "example": {"line": 3, "message": MISSING.message},
    }
    assert [problem["line"] for problem in values["problems"]] == [5, 3]
    assert values["problems"][1]["reference_id"] == "=3"
    assert [each["line"] for each in values["unsettled"]] == [4]
    assert (values["began"], values["exit_code"], values["complete"]) == (NOW.isoformat(), 1, False)
    assert stat.S_IMODE(path.stat().st_mode) == 0o600


def test_a_record_that_fails_leaves_the_old_one_and_no_rest(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    """The file is the old or the new one, never half of one."""
    path = tmp_path / "run.json"
    path.write_text("old")

    def full(_: int) -> None:
        raise OSError(28, "No space left on device")

    monkeypatch.setattr("os.fsync", full)
    with pytest.raises(OSError, match="No space left"):
        record.write(path, ending())

    assert path.read_text() == "old"
    assert list(tmp_path.iterdir()) == [path]


def test_a_record_follows_a_link_and_spares_what_is_no_file(tmp_path: Path) -> None:
    """A link stays a link, and a pipe or a device is written to, never replaced."""
    target, link, pipe = (tmp_path / name for name in ("target.json", "link.json", "pipe"))
    link.symlink_to(target)
    # Not /dev/stdout or /dev/null: a mistake here must not cost the machine its devices.
    os.mkfifo(pipe)
    end = os.open(pipe, os.O_RDWR)
    try:
        record.write(link, ending())
        record.write(pipe, ending())
        assert pipe.is_fifo()
        assert json.loads(os.read(end, 100_000))["exit_code"] == 0
    finally:
        os.close(end)

    assert link.is_symlink()
    assert json.loads(target.read_text())["exit_code"] == 0


@pytest.mark.parametrize("place", [".", "missing/run.json"])
def test_a_record_that_cannot_be_written_is_refused_before_the_run(
    place: str, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    """Nobody wants to learn that after an hour."""
    monkeypatch.chdir(tmp_path)
    with pytest.raises(UsageError):
        record.check_writable(Path(place))


def test_problems_that_do_not_fit_on_the_disk_end_nothing() -> None:
    """The run goes on, and it is known that the file is not complete."""
    books = books_with_trouble()
    with record.ProblemFile(Path("/dev/full")) as problems:
        for _ in range(1000):
            problems.add(books.problems[1])

    assert problems.lost is not None
    assert problems.lost.strerror == "No space left on device"


@pytest.mark.parametrize(
    ("in_doubt", "said"),
    [
        (None, "lines 4, 5"),
        (0, "lines 4, 5; none of them in doubt"),
        (1, "lines 4, 5; at most 1 of them in doubt"),
        (7, "lines 4, 5; at most 2 of them in doubt"),
    ],
)
def test_what_was_only_read_ahead_is_not_in_doubt(in_doubt: int | None, said: str) -> None:
    """With a ledger many rows are read ahead of the few that are sent."""
    parts: dict[str, Any] = {"unsettled": [row(4), row(5)], "in_doubt": in_doubt}

    text = summarise(ending(report=report(unsettled=2), **parts)).plain
    assert f"  unsettled       2   {said}\n" in text


def standing(**numbers: Any) -> Standing:
    counts = {status: numbers.pop(status.value, 0) for status in ClaimStatus}
    return Standing("run.db", LedgerStanding(counts=counts, **numbers))


@pytest.mark.parametrize(
    ("sums", "said"),
    [
        ({}, "The ledger: 0 claims, 0 settled"),
        ({"claimed": 1}, "The ledger: 1 claim, 1 settled"),
        (
            {"claimed": 7000, "already_claimed": 990, "failed": 10},
            "The ledger: 8,000 claims, 7,990 settled, 10 failed: run again to try those",
        ),
        (
            {"claimed": 1, "rejected": 2, "failed": 3, "in_doubt": 4, "pending": 5},
            (
                "The ledger: 15 claims, 3 settled (2 of them rejected), 3 failed, 4 in doubt, "
                "5 pending: run again to go on"
            ),
        ),
    ],
)
def test_the_summary_says_where_the_ledger_stands(sums: dict[str, int], said: str) -> None:
    """And what to do about what is left."""
    assert f"\n\n  {said}\n\n" in summarise(ending(ledger=standing(**sums))).plain


def test_the_record_says_where_the_ledger_stands() -> None:
    """All of its sums, and none where there was no ledger."""
    ledger = standing(claimed=1, rejected=2, failed=3, in_doubt=4, pending=5, recovered=1)

    assert record.document(ending())["ledger"] is None
    assert record.document(ending(ledger=ledger))["ledger"] == {
        "file": "run.db",
        "claims": 15,
        "settled": 3,
        "unsettled": 12,
        "claimed": 1,
        "already_claimed": 0,
        "rejected": 2,
        "failed": 3,
        "recovered": 1,
        "pending": 5,
        "in_doubt": 4,
    }
