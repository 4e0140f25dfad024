"""One run of a file: what its progress is told while it loads and claims, and who may end it."""

from __future__ import annotations

import asyncio
import contextlib
from collections.abc import AsyncIterable, Callable, Iterator
from pathlib import Path

import pytest

from badges_async import BadgesClient, BulkReport, ClaimOutcome, ClaimRequest, Ledger
from badges_async.cli.files import RowFile
from badges_async.cli.keeper import Keeper
from badges_async.cli.options import BulkOptions
from badges_async.cli.progress import Snapshot
from badges_async.cli.running import FileRun, Listener
from badges_async.cli.tally import Tally
from badges_async.sandbox import Sandbox
from tests.cli.conftest import claims, write_csv


@pytest.fixture
def rows(tmp_path: Path) -> Iterator[RowFile]:
    """Give a file of five hundred good rows and a bad one."""
    path = write_csv(tmp_path / "c.csv", [("b",), *claims(500)])
    with contextlib.closing(RowFile(str(path))) as rows:
        yield rows


async def run_of(
    rows: RowFile,
    client: BadgesClient,
    ledger: Path | None,
    on_outcome: Callable[[FileRun], None],
) -> tuple[FileRun, BulkReport]:
    """Run *rows*, with a look at the run for each outcome."""

    def heard(_: ClaimOutcome) -> None:
        on_outcome(run)

    run = FileRun(rows, BulkOptions(progress=False), Tally(), Listener(), heard)
    async with Keeper(ledger) as keeper:
        report = await run.to_its_end(client, keeper)
    return run, report


@pytest.mark.parametrize("with_ledger", [True, False])
async def test_its_progress_knows_where_it_is(
    with_ledger: bool,  # noqa: FBT001
    rows: RowFile,
    badges_client: BadgesClient,
    tmp_path: Path,
) -> None:
    """With a ledger of how many rows, and without one at least of how much of the file."""
    seen: list[Snapshot] = []

    def look(run: FileRun) -> None:
        seen.append(run._snapshot())  # noqa: SLF001 - what the progress asks for

    ledger = tmp_path / "run.db" if with_ledger else None
    run, report = await run_of(rows, badges_client, ledger, look)

    assert (report.total, run.stop, run.unsettled) == (500, "no", [])
    assert {each.rows for each in seen} == {500 if with_ledger else None}
    parts = [each.done for each in seen if each.done is not None]
    assert len(parts) == 500
    assert 0 < parts[0] < 0.5
    assert parts[-1] == 1.0
    assert all(each.loading is None and each.bad_rows == 1 for each in seen)
    assert seen[10].left is not None
    assert seen[-1].left == 0


async def test_its_progress_shows_the_loading(
    rows: RowFile, badges_client: BadgesClient, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    """How many rows are in the ledger, and how much of the file was read for that."""
    run = FileRun(rows, BulkOptions(progress=False), Tally(), Listener())
    seen: list[Snapshot] = [run._snapshot()]  # noqa: SLF001

    async def load(_: Ledger, requests: AsyncIterable[ClaimRequest]) -> int:
        seen.extend([run._snapshot() async for _request in requests])  # noqa: SLF001
        return len(seen)

    monkeypatch.setattr(Ledger, "load", load)
    async with Keeper(tmp_path / "run.db") as keeper:
        await run.to_its_end(badges_client, keeper)

    first, *loading = seen
    assert (first.loading, first.done) == (None, None)
    assert [each.loading for each in loading] == list(range(1, 501))
    assert loading[0].bad_rows == 1
    assert 0 < (loading[0].done or 0) < 0.01
    assert loading[-1].done == 1.0


@pytest.mark.parametrize("with_ledger", [True, False])
async def test_whoever_cancels_it_is_not_kept_waiting(
    with_ledger: bool,  # noqa: FBT001
    rows: RowFile,
    badges_client: BadgesClient,
    badges_sandbox: Sandbox,
    tmp_path: Path,
) -> None:
    """It takes only its own cancelling for an end of the run."""
    badges_sandbox.hold()
    ledger = tmp_path / "run.db" if with_ledger else None
    task = asyncio.ensure_future(run_of(rows, badges_client, ledger, lambda _: None))
    await badges_sandbox.wait_for_requests(1)

    task.cancel()
    with pytest.raises(asyncio.CancelledError):
        await task
