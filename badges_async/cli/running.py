"""
One run of a file, from its first row to its end, however that comes.

Here: loading, claiming, signals, and what ends it early. Not here: what it is told by afterwards
(`bulk`), reading (`rows`, `feed`), showing (`progress`), or how a claim is made.
"""

from __future__ import annotations

import asyncio
import contextlib
from collections.abc import Callable, Iterator, Sequence
from functools import partial
from typing import cast

import attrs

from badges_async import (
    AttemptEvent,
    BadgesClient,
    BadgesError,
    BulkReport,
    BulkRun,
    ClaimOutcome,
    ClaimStatus,
    ConnectError,
)
from badges_async.cli import loops
from badges_async.cli.ending import Stop
from badges_async.cli.exits import UsageError
from badges_async.cli.feed import Feed
from badges_async.cli.files import RowFile
from badges_async.cli.headway import Headway
from badges_async.cli.keeper import Keeper, refused
from badges_async.cli.options import BulkOptions
from badges_async.cli.progress import Snapshot, progress_for
from badges_async.cli.rows import Row
from badges_async.cli.summary import duration
from badges_async.cli.tally import Tally
from badges_async.cli.timeline import Timeline

__all__ = ["FileRun", "Listener"]

_REACH_WITHIN = 10.0  # seconds that a service may take to be there at all
_DRAINING = (
    "Stopping: nothing new is sent, {} in flight may finish within {}. Ctrl-C again stops at once."
)
_LOADING_STOPPED = "Stopping: nothing was sent yet."
_NOTHING = BulkReport(counts=dict.fromkeys(ClaimStatus, 0))


class Listener:
    """
    An observer that knows whether the service was ever reached, and keeps the timeline.

    A service that goes away is waited for. One that was never there is a mistyped host, and nobody
    should have to wait for it.

    Attributes:
        reached: Whether it was.
        error: The last failure to connect, as long as nothing else has happened; else None.
        timeline: What happened when; it begins with the run, and not when a ledger is loaded.
    """

    def __init__(self) -> None:
        self.reached = False
        self.error: ConnectError | None = None
        self.timeline = Timeline()

    def __call__(self, event: AttemptEvent) -> None:
        """Look at one attempt."""
        self.timeline(event)
        if not self.reached:
            self.reached = not isinstance(event.error, ConnectError)
            self.error = None if self.reached else cast("ConnectError", event.error)


@attrs.define
class FileRun:
    """
    One run.

    Attributes:
        on_outcome: Told every outcome.
        stop: Whether somebody interrupted it.
        stopped_by: The error that ended it early, if one did.
        unsettled: Rows that were read and have no outcome, once it has ended.
    """

    rows: RowFile
    options: BulkOptions
    tally: Tally
    listener: Listener
    on_outcome: Callable[[ClaimOutcome], None] | None = None
    stop: Stop = "no"
    stopped_by: Exception | None = None
    unsettled: Sequence[Row] = ()
    _headway: Headway = attrs.field(init=False)
    _loading: tuple[Tally, RowFile] | None = None
    _run: BulkRun | None = None
    _timer: asyncio.TimerHandle | None = None
    _cancelled: bool = False

    def __attrs_post_init__(self) -> None:
        self._headway = Headway(self.rows, self.tally, self.options.quota)

    async def to_its_end(self, client: BadgesClient, keeper: Keeper) -> BulkReport:
        """Load the ledger, if one was asked for, and claim."""
        with self._watched(), self._cut_short():
            if self.rows.is_regular and not keeper.is_temporary:
                await self._load(keeper)
            return await self._claim(client, keeper)
        return _NOTHING  # it was ended while the ledger was made ready

    async def _load(self, keeper: Keeper) -> None:
        def heard(books: Tally, file: RowFile) -> None:
            self._loading = books, file

        rows = await keeper.load(self.rows, heard)
        assert keeper.ledger is not None  # noqa: S101 - it was loaded
        self._headway.count(rows, await keeper.ledger.standing())
        self._loading = None

    async def _claim(self, client: BadgesClient, keeper: Keeper) -> BulkReport:
        run = client.claim_many(
            Feed(self.rows, self.tally),
            concurrency=self.options.concurrency,
            ledger=keeper.ledger,
        )
        async with contextlib.AsyncExitStack() as stack:
            with refused():
                await stack.enter_async_context(run)
            self._run, self.listener.timeline = run, Timeline()
            with self._given_up_if_unreached(), self._cut_short():
                await self._follow(run)
        self.unsettled = [row for row in run.unsettled if isinstance(row, Row)]
        return run.report

    async def _follow(self, run: BulkRun) -> None:
        enter = self.listener.timeline.settled
        async for outcome in run:
            self.tally.settled(outcome)
            enter(outcome)
            if self.on_outcome is not None:
                self.on_outcome(outcome)

    @contextlib.contextmanager
    def _cut_short(self) -> Iterator[None]:
        """Let an error, or our own cancelling, end a block early and nothing else."""
        try:
            yield
        except asyncio.CancelledError:
            task = asyncio.current_task()
            # Not only ours: whoever runs us is ended as well.
            if not self._cancelled or (task is not None and task.uncancel()):
                raise
        except (BadgesError, UsageError, OSError) as error:
            self.stopped_by = error

    @contextlib.contextmanager
    def _watched(self) -> Iterator[None]:
        """Show how far it is, and end it early when somebody asks for that."""
        task = asyncio.current_task()
        progress = progress_for(self.rows.name, self._snapshot, shown=self.options.progress)

        def drain() -> None:
            self.stop = "drained"
            if self._run is None:
                self._cancel(task)
                progress.say(_LOADING_STOPPED)
                return
            in_flight = self._run.in_flight
            self._run.drain(grace=self.options.grace)
            progress.say(_DRAINING.format(in_flight, duration(self.options.grace)))

        def stop_at_once() -> None:
            self.stop = "at once"
            self._cancel(task)

        with progress, loops.StopSignals(drain, stop_at_once):
            yield

    @contextlib.contextmanager
    def _given_up_if_unreached(self) -> Iterator[None]:
        """End the run when the service was not there from the beginning."""
        self._look_after_a_while(asyncio.current_task())
        try:
            yield
        finally:
            assert self._timer is not None  # noqa: S101 - set above
            self._timer.cancel()

    def _look_after_a_while(self, task: asyncio.Task[object] | None) -> None:
        look = partial(self._give_up_if_unreached, task)
        self._timer = asyncio.get_running_loop().call_later(_REACH_WITHIN, look)

    def _give_up_if_unreached(self, task: asyncio.Task[object] | None) -> None:
        if self.listener.error is not None:
            self.stopped_by = self.listener.error
            self._cancel(task)
        elif not self.listener.reached:  # a pause that the ledger knows of, or a slow disk
            self._look_after_a_while(task)

    def _cancel(self, task: asyncio.Task[object] | None) -> None:
        if task is not None and not self._cancelled:
            self._cancelled = True
            task.cancel()

    def _snapshot(self) -> Snapshot:
        if self._run is None:
            return self._snapshot_of_loading()
        report = self._run.report
        return Snapshot(
            report=report,
            in_flight=self._run.in_flight,
            bad_rows=self.tally.bad_rows,
            done=self._headway.done(report),
            rows=self._headway.known,
            left=self._headway.left(report),
            service_down=self._run.waiting_for_service,
        )

    def _snapshot_of_loading(self) -> Snapshot:
        if self._loading is None:
            return Snapshot(_NOTHING, 0, 0, None)
        books, file = self._loading
        done = min(file.consumed / file.size, 1.0) if file.size else None
        return Snapshot(_NOTHING, 0, books.bad_rows, done, loading=books.good_rows)
