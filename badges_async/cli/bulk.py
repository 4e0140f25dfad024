"""
``bulk-claim``: a file of claims through the library, and a true account of it.

Here: the run and its ways to end. Not here: reading (`rows`, `feed`), showing (`progress`,
`summary`), or anything about how a claim is made.
"""

from __future__ import annotations

import asyncio
import contextlib
from collections.abc import Callable, Iterator, Sequence
from datetime import UTC, datetime
from functools import partial
from pathlib import Path
from typing import Literal, cast

import attrs

from badges_async import (
    AttemptEvent,
    BadgesClient,
    BadgesError,
    BulkReport,
    BulkRun,
    ClaimOutcome,
    ConnectError,
    Quota,
)
from badges_async.cli import loops, page, record
from badges_async.cli.ending import Ending, Stop
from badges_async.cli.exits import Exit, OutputError, UsageError, in_words
from badges_async.cli.feed import Feed
from badges_async.cli.files import RowFile
from badges_async.cli.options import Service
from badges_async.cli.output import complain, emit
from badges_async.cli.progress import Snapshot, progress_for
from badges_async.cli.summary import summarise
from badges_async.cli.tally import Tally
from badges_async.cli.timeline import Timeline

__all__ = ["BulkOptions", "FirstContact", "bulk_claim", "claim_file", "conclude"]

Lane = Literal["auto", "session", "wire"]

_PAGES = (".html", ".htm")
_CONNECTIONS = 100  # the client's own default
_REACH_WITHIN = 10.0  # seconds that a service may take to be there at all
_DRAINING = "Stopping: nothing new is sent, {} in flight may finish. Ctrl-C again stops at once."


@attrs.frozen(kw_only=True)
class BulkOptions:
    """
    How a file is to be claimed.

    Attributes:
        reports: Where the account of the run goes: a page for people where the name ends in
            ``.html`` or ``.htm``, else the record for machines.
        problems: Where every row that is not claimed goes, if anywhere.
        progress: Whether standard error shows how far it is.
    """

    concurrency: int = 16
    quota: Quota | None = None
    lane: Lane = "auto"
    reports: Sequence[Path] = ()
    problems: Path | None = None
    progress: bool = True

    @property
    def connections(self) -> int:
        """Connections that the client needs: no claim in flight waits for one."""
        return max(self.concurrency, _CONNECTIONS)

    def as_values(self) -> dict[str, str | int | float | None]:
        """Give what belongs into the record of a run."""
        quota = None if self.quota is None else str(self.quota)
        return {"concurrency": self.concurrency, "quota": quota, "lane": self.lane}


def bulk_claim(service: Service, rows: RowFile, options: BulkOptions) -> Exit:
    """
    Claim every good row of *rows*; print the summary, write the record.

    Raises:
        UsageError: Something is missing or of no use; nothing was sent.
        InvalidInputError: Likewise.
    """
    record.check_apart(rows.path, *options.reports, options.problems)
    for path in (*options.reports, options.problems):
        if path is not None:
            record.check_writable(path)
    host = service.address()
    contact, timeline = FirstContact(), Timeline()
    client = service.client(
        quota=options.quota,
        lane=options.lane,
        max_connections=options.connections,
        observers=[contact, timeline],
    )
    ending = loops.run(claim_file(client, host, rows, options, contact=contact, timeline=timeline))
    return conclude(ending, options)


def conclude(ending: Ending, options: BulkOptions) -> Exit:
    """Write the reports, print the summary, give the exit code."""
    code = ending.exit
    for path in options.reports:
        write = page.write if path.suffix.lower() in _PAGES else record.write
        try:
            write(path, ending)
        except OSError as error:
            complain(f"the report {path} was not written: {error.strerror or error}")
            code = code or Exit.PROBLEMS
    if ending.problems_lost is not None:
        reason = ending.problems_lost.strerror or ending.problems_lost
        complain(f"{options.problems} is not complete: {reason}")
        code = code or Exit.PROBLEMS
    if ending.stopped_by is not None and not ending.report.total:
        # Wrong password, wrong host: a table of zeros would only hide the reason.
        complain(f"{in_words(ending.stopped_by)}. Nothing was claimed.")
        return code
    try:
        emit(summarise(ending))
    except OutputError as error:  # whatever else went wrong is the better exit code
        complain(in_words(error))
        code = code or Exit.PROBLEMS
    return code


class FirstContact:
    """
    An observer that knows whether the service was ever reached.

    A service that goes away is waited for. One that was never there is a mistyped host, and nobody
    should have to wait for it.

    Attributes:
        error: The last failure to connect, as long as nothing else has happened; else None.
    """

    def __init__(self) -> None:
        self.error: ConnectError | None = None
        self._reached = False

    def __call__(self, event: AttemptEvent) -> None:
        """Look at one attempt."""
        self._reached |= not isinstance(event.error, ConnectError)
        self.error = None if self._reached else cast("ConnectError", event.error)


async def claim_file(
    client: BadgesClient,
    host: str,
    rows: RowFile,
    options: BulkOptions,
    *,
    contact: FirstContact | None = None,
    timeline: Timeline | None = None,
    on_outcome: Callable[[ClaimOutcome], None] | None = None,
) -> Ending:
    """
    Run *rows* through *client*, which is closed in the end.

    Two signals end it early, see `StopSignals`; an error that stops the run is part of the ending.

    Args:
        contact: One of the client's observers; *timeline* is another.
        on_outcome: Called with every outcome.
    """
    began = datetime.now(UTC)
    timeline = timeline or Timeline()
    with record.ProblemFile(options.problems) as problems:
        tally = Tally(on_problem=problems.add)
        heard = [timeline.settled, *([on_outcome] if on_outcome else [])]
        run = _FileRun(rows, options, tally, contact or FirstContact(), heard)
        async with client:
            report = await run.to_its_end(client)
    return Ending(
        file=rows.name,
        host=host,
        options=options.as_values(),
        report=report,
        tally=tally,
        timeline=timeline,
        stop=run.stop,
        stopped_by=run.stopped_by,
        problems_lost=problems.lost,
        began=began,
        ended=datetime.now(UTC),
    )


@attrs.define
class _FileRun:
    """One run, from its first row to its end, however it comes."""

    rows: RowFile
    options: BulkOptions
    tally: Tally
    contact: FirstContact
    on_outcome: Sequence[Callable[[ClaimOutcome], None]]
    stop: Stop = "no"
    stopped_by: Exception | None = None
    _cancelled: bool = False

    async def to_its_end(self, client: BadgesClient) -> BulkReport:
        feed = Feed(self.rows, self.tally)
        async with client.claim_many(feed, concurrency=self.options.concurrency) as run:
            with self._watched(run):
                await self._follow(run)
        return run.report

    async def _follow(self, run: BulkRun) -> None:
        try:
            async for outcome in run:
                self.tally.settled(outcome)
                for hear in self.on_outcome:
                    hear(outcome)
        except asyncio.CancelledError:
            task = asyncio.current_task()
            # Not only ours: whoever runs us is ended as well.
            if not self._cancelled or (task is not None and task.uncancel()):
                raise
        except (BadgesError, UsageError, OSError) as error:
            self.stopped_by = error

    @contextlib.contextmanager
    def _watched(self, run: BulkRun) -> Iterator[None]:
        """Show how far *run* is, and end it early when somebody or something asks for that."""
        task = asyncio.current_task()
        progress = progress_for(
            self.rows.name, partial(self._snapshot, run), shown=self.options.progress
        )

        def drain() -> None:
            self.stop = "drained"
            run.drain()
            progress.say(_DRAINING.format(run.in_flight))

        def stop_at_once() -> None:
            self.stop = "at once"
            self._cancel(task)

        loop = asyncio.get_running_loop()
        unreached = loop.call_later(_REACH_WITHIN, self._give_up_unreached, task)
        with progress, loops.StopSignals(drain, stop_at_once):
            try:
                yield
            finally:
                unreached.cancel()

    def _give_up_unreached(self, task: asyncio.Task[object] | None) -> None:
        if self.contact.error is not None:
            self.stopped_by = self.contact.error
            self._cancel(task)

    def _cancel(self, task: asyncio.Task[object] | None) -> None:
        if task is not None and not self._cancelled:
            self._cancelled = True
            task.cancel()

    def _snapshot(self, run: BulkRun) -> Snapshot:
        report = run.report
        return Snapshot(
            report=report,
            in_flight=run.in_flight,
            bad_rows=self.tally.bad_rows,
            done=self._part_done(report),
            service_down=run.waiting_for_service,
        )

    def _part_done(self, report: BulkReport) -> float | None:
        size, pulled = self.rows.size, self.tally.good_rows
        if not size:
            return None
        read = min(self.rows.consumed / size, 1.0)  # a file may grow meanwhile
        # What was read and waits for an answer is not done.
        return read * report.total / pulled if pulled else 0.0
