"""How far a run is, and how long the rest takes."""

from __future__ import annotations

import contextlib
from collections.abc import Iterator
from pathlib import Path
from typing import Any

import pytest

from badges_async import BulkReport, ClaimStatus, LedgerStanding, Quota
from badges_async.cli.files import RowFile
from badges_async.cli.headway import Headway, quota_seconds
from badges_async.cli.tally import Tally
from tests.cli.conftest import claims, write_csv


@pytest.fixture
def rows(tmp_path: Path) -> Iterator[RowFile]:
    """Give a file of ten rows that was read to its end."""
    with contextlib.closing(RowFile(str(write_csv(tmp_path / "c.csv", claims(10))))) as rows:
        assert len(list(rows)) == 10
        yield rows


def report(claimed: int, **numbers: Any) -> BulkReport:
    counts = dict.fromkeys(ClaimStatus, 0) | {ClaimStatus.CLAIMED: claimed}
    return BulkReport(counts=counts, **numbers)


def before(*, settled: int, pending: int) -> LedgerStanding:
    counts = dict.fromkeys(ClaimStatus, 0) | {ClaimStatus.CLAIMED: settled}
    return LedgerStanding(counts=counts, pending=pending)


def test_the_part_done_counts_answers_and_not_what_was_read(rows: RowFile) -> None:
    """A row that waits for its answer is not done; a pipe has no end to be near to."""
    headway = Headway(rows, Tally(good_rows=10))

    assert headway.done(report(4)) == pytest.approx(0.4)
    assert headway.done(report(1, skipped=3)) == pytest.approx(0.4)
    assert Headway(rows, Tally()).done(report(0)) == 0
    rows.size = None
    assert headway.done(report(4)) is None
    assert headway.left(report(4, elapsed=4.0)) is None


def test_rows_that_were_counted_make_it_exact(rows: RowFile) -> None:
    """However far the file was read ahead."""
    headway = Headway(rows, Tally(good_rows=9))
    headway.count(40, before(settled=0, pending=40))

    assert headway.done(report(4, skipped=6)) == pytest.approx(0.25)
    assert headway.left(report(4, skipped=6, elapsed=2.0)) == pytest.approx(15)
    headway.count(0, before(settled=0, pending=0))
    assert headway.done(report(0)) == 0


def test_rows_that_the_ledger_has_take_no_time(rows: RowFile) -> None:
    """Three quarters were settled before, whether the run has come to them or not."""
    headway = Headway(rows, Tally(good_rows=20))
    headway.count(100, before(settled=75, pending=25))

    assert headway.left(report(5, skipped=10, elapsed=1.0)) == pytest.approx(4)
    assert headway.left(report(5, skipped=90, elapsed=1.0)) == pytest.approx(1)
    headway.tally.exhausted = True
    assert headway.left(report(5, skipped=12, elapsed=1.0)) == pytest.approx(0.6)


def test_the_quota_bounds_what_is_left(rows: RowFile) -> None:
    """A first window that went at once says nothing about the rest."""
    headway = Headway(rows, Tally(good_rows=10), Quota(100, 60))
    headway.count(1100, before(settled=0, pending=1100))

    assert headway.left(report(0)) == pytest.approx(600)
    assert headway.left(report(100, elapsed=1.0)) == pytest.approx(540)
    assert headway.left(report(1000, elapsed=600.0)) == pytest.approx(60)
    assert Headway(rows, Tally(good_rows=10)).left(report(0)) is None


@pytest.mark.parametrize(
    ("count", "seconds"), [(0, 0.0), (100, 0.0), (101, 0.6), (302, 121.2), (1_000_100, 600_000.0)]
)
def test_a_quota_means_time(count: int, seconds: float) -> None:
    """The first window's worth may go at once."""
    assert quota_seconds(count, Quota(100, 60)) == pytest.approx(seconds)
    assert quota_seconds(count, None) == 0
