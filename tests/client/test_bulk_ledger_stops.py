"""However a run with a ledger is stopped: what is unsettled is what the ledger holds as pending."""

from __future__ import annotations

import asyncio
from collections.abc import AsyncIterator, Iterator, Sequence
from pathlib import Path
from typing import Any

import pytest

from badges_async import (
    AuthenticationError,
    BulkRun,
    ClaimOutcome,
    ClaimRequest,
    ClaimStatus,
    OutageError,
    Quota,
)
from badges_async.ledger.records import Found, State
from badges_async.messages import Reply
from tests.client.ledgers import disk, kept, make_ports
from tests.client.scripted import (
    ScriptedTransport,
    Sent,
    lost_before,
    make_rows,
    refused,
    unreachable,
    well,
)
from tests.ledger.support import Inline
from tests.virtual_clock import START, now, on_virtual_clock

ROWS = 500
STOPS = [
    "drain",
    "drain with grace",
    "cancel",
    "consumer raises",
    "early break",
    "401",
    "outage",
    "source raises",
    "source is cancelled",
]
MOMENTS = [0.0, 0.05, 0.06, 0.155, 0.21, 1.0]


class Stopped:
    """A run that is stopped at some moment, and what it came to."""

    def __init__(self, stop: str, moment: float) -> None:
        self.rows = make_rows(ROWS)
        self.yielded: list[ClaimOutcome] = []
        self.error: BaseException | None = None
        self._stop = stop
        self._at = START + moment
        self.service = ScriptedTransport(then=self._step)
        self.run: BulkRun | None = None

    async def go(self, client: Any, ledger: Any, concurrency: int) -> None:
        run: BulkRun = client.claim_many(
            self._source(), concurrency=concurrency, ledger=ledger, outage_patience=1.0
        )
        self.run = run
        task = asyncio.create_task(self._consume(run))
        if self._stop == "cancel":
            asyncio.get_running_loop().call_at(self._at, task.cancel)
        if self._stop.startswith("drain"):
            grace = 0.02 if "grace" in self._stop else None
            asyncio.get_running_loop().call_at(self._at, lambda: run.drain(grace=grace))
        try:
            await task
        except (asyncio.CancelledError, Exception) as error:  # noqa: BLE001 - looked at
            self.error = error

    async def _consume(self, run: BulkRun) -> None:
        async with run:
            async for outcome in run:
                self.yielded.append(outcome)
                if now() >= self._at and self._stop == "consumer raises":
                    raise ZeroDivisionError
                if now() >= self._at and self._stop == "early break":
                    break

    async def _source(self) -> AsyncIterator[ClaimRequest]:
        for row in self.rows:
            if now() >= self._at and self._stop == "source raises":
                raise ZeroDivisionError
            if now() >= self._at and self._stop == "source is cancelled":
                raise asyncio.CancelledError
            yield row

    def _step(self, sent: Sent) -> Reply:
        if now() >= self._at and self._stop == "401":
            return refused(401, 401)(sent)  # type: ignore[return-value]
        if now() >= self._at and self._stop == "outage":
            return unreachable(sent)
        return (lost_before if sent.number % 9 == 0 else well)(sent)


@pytest.mark.slow
@pytest.mark.parametrize("stop", STOPS)
@pytest.mark.parametrize("seconds", [0.0, 0.02])
@on_virtual_clock
async def test_what_is_unsettled_is_what_the_ledger_holds_as_pending(
    tmp_path: Path, stop: str, seconds: float
) -> None:
    """F117: report and ledger are equal, whatever stopped the run."""
    for moment in MOMENTS:
        for concurrency in (1, 8):
            stopped = Stopped(stop, now() - START + moment)
            path = tmp_path / f"{moment}-{concurrency}.db"
            ports = make_ports(stopped.service, executor=Inline(seconds))
            async with kept(path, stopped.service, ports=ports) as (client, ledger):
                await stopped.go(client, ledger, concurrency)
                await _check(stopped, ledger)
            _check_disk(stopped, path)
            await _check_next(stopped, path)


async def _check(stopped: Stopped, ledger: Any) -> None:
    assert stopped.run is not None
    report = stopped.run.report
    standing = await ledger.standing()
    context = f"{report} {standing}"
    # Told is recorded, and counted; recorded is counted.
    assert report.total >= len(stopped.yielded)
    assert {status: standing.counts[status] for status in ClaimStatus} == report.counts, context
    assert report.unsettled == standing.pending + standing.in_doubt, context
    assert report.unsettled == len(stopped.run.unsettled)
    expected: dict[str, type[BaseException]] = {
        "cancel": asyncio.CancelledError,
        "consumer raises": ZeroDivisionError,
        "401": AuthenticationError,
        "outage": OutageError,
        "source raises": ZeroDivisionError,
        "source is cancelled": asyncio.CancelledError,
    }
    if report.total < ROWS:
        assert type(stopped.error) is expected.get(stopped._stop, type(None))  # noqa: SLF001


def _check_disk(stopped: Stopped, path: Path) -> None:
    assert stopped.run is not None
    with disk(path) as on_disk:
        unsettled = {row.reference_id for row in stopped.run.unsettled}
        assert unsettled == on_disk.in_state(State.PENDING)
        assert not on_disk.in_state(State.SENDING)
        # In doubt is whatever was sent and had no answer, and nothing else.
        sent = {each.key[1] for each in stopped.service.sent}
        doubtful = on_disk.doubtful()
        assert doubtful <= sent
        held = {reference for _, reference in stopped.service.held}
        assert held & unsettled <= doubtful


async def _check_next(stopped: Stopped, path: Path) -> None:
    later = ScriptedTransport()
    later.held = set(stopped.service.held)
    async with kept(path, later) as (client, ledger):
        report = await client.claim_all(stopped.rows, ledger=ledger)
        assert report.ok
        assert report.skipped + report.total == ROWS
        assert (await ledger.standing()).settled == ROWS
    assert len(later.sent) == report.total


@pytest.mark.parametrize("stop", ["drain", "cancel"])
@on_virtual_clock
async def test_rows_that_were_never_sent_go_back_without_doubt(tmp_path: Path, stop: str) -> None:
    """F084: a queued row that is cancelled is pending, without a doubt."""
    path = tmp_path / "run.db"
    stopped = Stopped(stop, 10.0)
    ports = make_ports(stopped.service)
    quota = Quota(4, per=1000.0)
    async with kept(path, stopped.service, ports=ports, quota=quota) as (client, ledger):
        await stopped.go(client, ledger, 8)
        assert (await ledger.standing()).in_doubt == 0
    assert len(stopped.service.sent) == 4
    with disk(path) as on_disk:
        assert on_disk.doubtful() == set()


@on_virtual_clock
async def test_rows_on_the_wire_go_back_in_doubt(tmp_path: Path) -> None:
    """F085: a row that is cancelled in flight is in doubt."""
    path = tmp_path / "run.db"
    stopped = Stopped("cancel", 0.07)
    async with kept(path, stopped.service, ports=make_ports(stopped.service)) as (client, ledger):
        await stopped.go(client, ledger, 8)
    with disk(path) as on_disk:
        assert on_disk.doubtful() == {f"r{number}" for number in range(8, 16)}


@on_virtual_clock
async def test_doubt_from_before_stays_with_a_row_that_is_let_go_again(tmp_path: Path) -> None:
    path = tmp_path / "run.db"
    for moment in (0.07, 0.0):
        stopped = Stopped("cancel", now() - START + moment)
        ports = make_ports(stopped.service)
        async with kept(path, stopped.service, ports=ports) as (client, ledger):
            await stopped.go(client, ledger, 8)
        with disk(path) as on_disk:
            assert {f"r{number}" for number in range(8, 16)} <= on_disk.doubtful()


@on_virtual_clock
async def test_an_outcome_that_nobody_takes_is_recorded_and_counted(tmp_path: Path) -> None:
    path, rows = tmp_path / "run.db", make_rows(ROWS)
    service = ScriptedTransport()
    async with kept(path, service) as (client, ledger):
        async with client.claim_many(rows, concurrency=4, ledger=ledger) as run:
            await asyncio.sleep(100)  # until every way is full
        standing = await ledger.standing()
    assert standing.counts[ClaimStatus.CLAIMED] == run.report.claimed == len(service.held)
    assert 4 < run.report.claimed < 4 * 4 + 100
    assert standing.in_doubt == 0


@on_virtual_clock
async def test_a_source_that_raises_at_once_sends_nothing(tmp_path: Path) -> None:
    def rows() -> Iterator[ClaimRequest]:
        raise ZeroDivisionError
        yield

    service = ScriptedTransport()
    async with kept(tmp_path / "run.db", service) as (client, ledger):
        with pytest.raises(ZeroDivisionError):
            await client.claim_all(rows(), ledger=ledger)
        assert (await ledger.standing()).total == 0
    assert service.sent == []


@on_virtual_clock
async def test_what_the_ledger_puts_off_is_asked_for_again(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    async def lease(requests: Sequence[ClaimRequest], most: int) -> list[Found]:
        del most
        return await own_lease(requests, 3)

    service, rows = ScriptedTransport(), make_rows(50)
    async with kept(tmp_path / "run.db", service) as (client, ledger):
        own_lease = ledger.lease
        monkeypatch.setattr(ledger, "lease", lease)
        report = await client.claim_all(rows, ledger=ledger, concurrency=4)
    assert (report.claimed, len(service.sent)) == (50, 50)
