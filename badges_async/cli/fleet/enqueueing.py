"""
``worker enqueue``: a file of claims onto a stream.

Here: rows turned into events, the run, and what is told after it. Not here: reading (`files`,
`feed`), or how events are added and known again (`badges_async.worker`).
"""

from __future__ import annotations

import asyncio
from collections.abc import AsyncIterator, Callable, Iterator
from typing import TYPE_CHECKING, Any

import attrs
from rich.console import RenderableType
from rich.progress_bar import ProgressBar
from rich.text import Text

from badges_async import BadgesError
from badges_async.cli import loops
from badges_async.cli.exits import Exit, UsageError, exit_for, in_words
from badges_async.cli.feed import Feed
from badges_async.cli.files import RowFile
from badges_async.cli.fleet.options import Place
from badges_async.cli.fleet.showing import json_text
from badges_async.cli.output import clean, complain, emit
from badges_async.cli.progress import Pace, picture_of, progress_for
from badges_async.cli.rows import BadRow, Row
from badges_async.cli.summary import bad_row_lines, duration, rate
from badges_async.cli.tally import Tally
from badges_async.worker import ClaimEvent

if TYPE_CHECKING:
    from badges_async.worker import Added, RedisStream

__all__ = ["EnqueueOptions", "enqueue_file"]

_BAR_WIDTH = 20
# A message is at most 64 KiB; its time is still to be added. Short ids are not looked at twice.
_MOST_BYTES, _SURELY_SHORT = 64 * 1024 - 128, 8_000


@attrs.frozen(kw_only=True)
class EnqueueOptions:
    """
    How a file is to be entered; see `RedisStream.add`.

    Attributes:
        as_json: Print the end as JSON.
        progress: Whether standard error shows how far it is.
    """

    label: str = ""
    quota_name: str | None = None
    most_waiting: int | None = None
    as_json: bool = False
    progress: bool = True


def enqueue_file(place: Place, rows: RowFile, options: EnqueueOptions) -> Exit:
    """
    Enter every good row of *rows*; print what was entered.

    Raises:
        UsageError: It is not said which Redis, or the extra is not installed.
        SourceError: Redis is not there, or refuses us.
    """
    run = _Run(place, rows, options)
    loops.run(run.to_its_end())
    if run.stopped_by is not None:
        complain(in_words(run.stopped_by))
    emit(_document(run) if options.as_json else _summary(run))
    return run.exit


@attrs.define
class _Run:
    place: Place
    rows: RowFile
    options: EnqueueOptions
    tally: Tally = attrs.field(factory=Tally)
    added: Added | None = None
    elapsed: float = 0.0
    interrupted: bool = False
    stopped_by: Exception | None = None
    _clock: Callable[[], float] = float

    @property
    def exit(self) -> Exit:
        """The exit code."""
        if self.stopped_by is not None:
            return exit_for(self.stopped_by)
        if self.interrupted:
            return Exit.INTERRUPTED
        if not self.tally.good_rows:
            return Exit.USAGE
        return Exit.PROBLEMS if self.tally.bad_rows else Exit.OK

    @property
    def sums(self) -> tuple[int, int, int]:
        """Rows that are in the stream, those of this run, and those of an earlier one."""
        added = self.added
        return (0, 0, 0) if added is None else (added.rows, added.added, added.skipped)

    async def to_its_end(self) -> None:
        self._clock = asyncio.get_running_loop().time
        progress = progress_for(self.rows.name, self._view, shown=self.options.progress)
        async with (
            self.place.open_stream(progress.say) as (_, stream),
            asyncio.TaskGroup() as group,
        ):
            began = self._clock()
            self._clock = lambda: asyncio.get_running_loop().time() - began
            adding = group.create_task(self._add(stream))

            def stop() -> None:
                self.interrupted = True
                adding.cancel()

            with progress, loops.StopSignals(stop, stop):
                await asyncio.wait([adding])
            self.elapsed = self._clock()

    async def _add(self, stream: RedisStream) -> None:
        def heard(added: Added) -> None:
            self.added = added

        events = self._events() if self.rows.is_regular else self._arriving()
        try:
            self.added = await stream.add(
                events,
                label=self.options.label,
                most_waiting=self.options.most_waiting,
                on_batch=heard,
            )
        except (BadgesError, UsageError, OSError) as error:
            self.stopped_by = error

    def _events(self) -> Iterator[ClaimEvent]:
        """Give the events of a file: as fast as it can be read."""
        pulled, refused = self.tally.pulled, self.tally.refused
        for row in self.rows:
            if isinstance(row, BadRow):
                refused(row)
            elif (event := self._event(row)) is not None:
                pulled(row)
                yield event

    async def _arriving(self) -> AsyncIterator[ClaimEvent]:
        """Give the events of a pipe, as they come."""
        async for row in Feed(self.rows, self.tally):
            if (event := self._event(row)) is not None:
                yield event
            else:
                self.tally.good_rows -= 1

    def _event(self, row: Row) -> ClaimEvent | None:
        badge, reference = row.badge_id, row.reference_id
        event = ClaimEvent(badge, row.owner_type, reference, None, self.options.quota_name)
        if len(badge) + len(reference) > _SURELY_SHORT and len(event.to_json()) > _MOST_BYTES:
            self.tally.refused(BadRow(row.line, "larger than a message may be, 64 KiB"))
            return None
        return event

    def _view(self) -> _View:
        rows, added, skipped = self.sums
        size = self.rows.size
        done = min(self.rows.consumed / size, 1.0) if size else None
        return _View(rows, added, skipped, self.tally.bad_rows, done, self._clock())


@attrs.frozen
class _View:
    """How far a file is; a `View`."""

    total: int
    added: int
    skipped: int
    bad_rows: int
    done: float | None
    elapsed: float

    def line(self, pace: Pace) -> str:
        """Give a line for a log."""
        numbers = (f"{label} {count:,}" for label, count, _ in self._numbers())
        return ", ".join([f"{self.total:,} rows", *self._position(pace), *numbers])

    def picture(self, name: str, pace: Pace) -> RenderableType:
        """Give two lines for a terminal."""
        cells: list[RenderableType] = [Text(f"{self.total:,} rows", style="bold")]
        if self.done is not None:
            cells.insert(0, ProgressBar(total=1.0, completed=self.done, width=_BAR_WIDTH))
        return picture_of(name, cells, self._position(pace), list(self._numbers()))

    def _position(self, pace: Pace) -> list[str]:
        part = [] if self.done is None else [f"{self.done:.0%}"]
        return [*part, f"{rate(pace.per_second)}/s", duration(self.elapsed)]

    def _numbers(self) -> Iterator[tuple[str, int, str]]:
        yield "added", self.added, "green"
        if self.skipped:
            yield "added before", self.skipped, "green"
        if self.bad_rows:
            yield "bad rows", self.bad_rows, "red"


def _document(run: _Run) -> Text:
    rows, added, skipped = run.sums
    error = run.stopped_by
    values: dict[str, Any] = {
        "file": run.rows.name,
        "stream": run.place.stream,
        "rows": rows,
        "added": added,
        "skipped": skipped,
        "bad_rows": run.tally.bad_rows,
        "problems": [
            {"line": problem.line, "message": problem.message} for problem in run.tally.problems
        ],
        "elapsed": round(run.elapsed, 3),
        "interrupted": run.interrupted,
        "stopped_by": None
        if error is None
        else {"error": type(error).__name__, "message": str(error)},
        "exit_code": int(run.exit),
    }
    return json_text(values)


def _summary(run: _Run) -> Text:
    rows, added, skipped = run.sums
    pace = rate(rows / run.elapsed if run.elapsed else 0.0)
    numbers = f": {rows:,} rows in {duration(run.elapsed)}, {pace} rows/s"
    lines = [
        Text.assemble((clean(run.rows.name), "bold"), numbers),
        _count("added", added, "green", f"to the stream {clean(run.place.stream)}"),
        _count("added before", skipped, "green", "by another run; not added again"),
        _count("bad rows", run.tally.bad_rows, "red", "nothing was added for them"),
    ]
    if run.tally.bad_rows:
        lines += bad_row_lines(run.tally.first_bad, run.tally.bad_rows)
    return Text("\n").join([*lines, Text(), _verdict(run)])


def _count(name: str, count: int, style: str, note: str) -> Text:
    tail = f"   {note}" if count else ""
    return Text.assemble((f"  {name:<12} {count:>11,}", style if count else "dim"), (tail, "dim"))


def _verdict(run: _Run) -> Text:
    if run.interrupted or run.stopped_by is not None:
        return Text("Ended early; the same command goes on from here.", "bold yellow")
    if not run.tally.good_rows:
        return Text("There is no claim in it.", "bold yellow")
    if run.tally.bad_rows:
        return Text("Every good row is on the stream.", "yellow")
    return Text("Every row is on the stream.", "green")
