"""
What is shown while a run goes on; all of it on standard error.

On a terminal two lines that renew themselves, elsewhere one quiet line every ten seconds. Drawn
from the event loop: no thread, and nothing that outlives the ``with`` block. Whatever is a `View`
can be shown; the one here is that of a file's run.
"""

from __future__ import annotations

import asyncio
import sys
from collections import deque
from collections.abc import Callable, Sequence
from functools import partial
from types import TracebackType
from typing import Protocol, Self

import attrs
from rich.console import Console, Group, RenderableType
from rich.live import Live
from rich.progress_bar import ProgressBar
from rich.table import Table
from rich.text import Text

from badges_async import BulkReport
from badges_async.cli.output import clean, console, silence
from badges_async.cli.summary import duration, rate

__all__ = ["Pace", "Progress", "Snapshot", "View", "picture_of", "progress_for"]

_REDRAW = 0.125  # seconds: eight times a second looks alive and costs a hundredth of a core
_LOOK = 1.0
_LOOKS_FOR_A_LINE = 10
_RATE_OVER = 5.0  # seconds that the shown rate looks back
_BAR_WIDTH = 20
_NAME_WIDTH = 24
_STALLED = 3.0  # seconds without an outcome after which a person begins to wonder


class Counted(Protocol):
    """Something that has a number of outcomes."""

    @property
    def total(self) -> int: ...


class View(Counted, Protocol):
    """What is to be shown of a run at one moment."""

    def line(self, pace: Pace) -> str:
        """Give a line for a log."""
        ...

    def picture(self, name: str, pace: Pace) -> RenderableType:
        """Give two lines for a terminal."""
        ...


@attrs.frozen
class Snapshot:
    """
    How far a run is.

    Attributes:
        done: The part of the file that is accounted for, 0 to 1, or None where nobody can tell.
        rows: Rows of the whole file that can be claimed, where they were counted.
        left: Seconds that the rest will take, as far as anybody can tell.
        loading: Rows that are in the ledger by now, as long as it is being loaded.
        service_down: Nobody is answered, and the run waits for the service to come back.
    """

    report: BulkReport
    in_flight: int
    bad_rows: int
    done: float | None
    rows: int | None = None
    left: float | None = None
    loading: int | None = None
    service_down: bool = False

    @property
    def position(self) -> str:
        """How many rows are accounted for, of how many."""
        if self.loading is not None:
            return f"loading {self.loading:,}"
        settled = f"{self.report.total + self.report.skipped:,}"
        return settled if self.rows is None else f"{settled} of {self.rows:,}"

    @property
    def total(self) -> int:
        """Outcomes so far."""
        return self.report.total

    def line(self, pace: Pace) -> str:
        """Give a line for a log."""
        if self.loading is not None:
            return f"{self.position} rows"
        parts = [f"{self.position} settled", *_position(self, pace)]
        return ", ".join([*parts, *(f"{n} {c:,}" for n, c, _ in _numbers(self))])

    def picture(self, name: str, pace: Pace) -> RenderableType:
        """Give two lines for a terminal."""
        return _picture(name, self, pace)


class Progress(Protocol):
    """A context manager that shows how far a run is, and lets other lines through."""

    def __enter__(self) -> Self: ...

    def __exit__(
        self,
        kind: type[BaseException] | None,
        error: BaseException | None,
        trace: TracebackType | None,
    ) -> None: ...

    def say(self, message: str) -> None:
        """Print a line of its own."""
        ...


def progress_for(name: str, snapshot: Callable[[], View], *, shown: bool) -> Progress:
    """Give the kind of progress that fits standard error."""
    if sys.stderr is None:  # how Python shows a descriptor that was closed
        return _Silent(Console(quiet=True))
    screen = console(sys.stderr)
    if not shown:
        return _Silent(screen)
    kind = _Bar if screen.is_terminal and not screen.is_dumb_terminal else _Lines
    return kind(screen, name, snapshot)


class _Silent:
    """Shows nothing but what is said."""

    def __init__(self, screen: Console) -> None:
        self._screen = screen

    def __enter__(self) -> Self:
        return self

    def __exit__(
        self,
        kind: type[BaseException] | None,
        error: BaseException | None,
        trace: TracebackType | None,
    ) -> None:
        pass

    def say(self, message: str) -> None:
        self._show(Text(clean(message)))

    def _show(self, line: Text) -> None:
        self._quietly(partial(self._screen.print, line))

    def _quietly(self, write: Callable[[], None]) -> None:
        try:
            write()
        except OSError:  # nobody can read it: no reason to stop the run
            silence(self._screen.file)


class _Lines(_Silent):
    """A line now and then, for a log."""

    _every = _LOOK

    def __init__(self, screen: Console, name: str, snapshot: Callable[[], View]) -> None:
        super().__init__(screen)
        self._name = name
        self._snapshot = snapshot
        self._pace = Pace()
        self._looks = 0
        self._timer: asyncio.TimerHandle | None = None

    def __enter__(self) -> Self:
        self._timer = asyncio.get_running_loop().call_later(self._every, self._tick)
        return self

    def __exit__(
        self,
        kind: type[BaseException] | None,
        error: BaseException | None,
        trace: TracebackType | None,
    ) -> None:
        assert self._timer is not None  # noqa: S101 - it was entered
        self._timer.cancel()

    def _tick(self) -> None:
        snapshot = self._snapshot()
        self._pace.look(snapshot)
        self._draw(snapshot)
        self._timer = asyncio.get_running_loop().call_later(self._every, self._tick)

    def _draw(self, snapshot: View) -> None:
        self._looks += 1
        if self._looks % _LOOKS_FOR_A_LINE == 0:
            self._show(Text(snapshot.line(self._pace)))


class _Bar(_Lines):
    """Two lines at the bottom of a terminal, gone at the end: the summary follows."""

    _every = _REDRAW

    def __init__(self, screen: Console, name: str, snapshot: Callable[[], View]) -> None:
        super().__init__(screen, name, snapshot)
        self._live = Live(console=screen, auto_refresh=False, transient=True)

    def __enter__(self) -> Self:
        self._quietly(self._live.start)
        self._draw(self._snapshot())
        return super().__enter__()

    def __exit__(
        self,
        kind: type[BaseException] | None,
        error: BaseException | None,
        trace: TracebackType | None,
    ) -> None:
        super().__exit__(kind, error, trace)
        self._quietly(self._live.stop)

    def _draw(self, snapshot: View) -> None:
        picture = snapshot.picture(self._name, self._pace)
        self._quietly(partial(self._live.update, picture, refresh=True))


class Pace:
    """The rate of the last seconds, and how long nothing has come."""

    def __init__(self, clock: Callable[[], float] | None = None) -> None:
        self._clock = clock or asyncio.get_running_loop().time
        self._changed = self._clock()
        self._seen = deque([(self._changed, 0)])

    def look(self, counted: Counted) -> None:
        """Take note of where the run is now."""
        now, total = self._clock(), counted.total
        if self._seen[-1][1] != total:
            self._changed = now
        self._seen.append((now, total))
        while len(self._seen) > 2 and now - self._seen[0][0] > _RATE_OVER:  # noqa: PLR2004 - two ends
            self._seen.popleft()

    @property
    def per_second(self) -> float:
        """Outcomes a second; 0 before the first look."""
        (start, before), (end, after) = self._seen[0], self._seen[-1]
        return (after - before) / (end - start) if end > start else 0.0

    @property
    def idle(self) -> float:
        """Seconds since an outcome came."""
        return self._clock() - self._changed


def _picture(name: str, snapshot: Snapshot, pace: Pace) -> Group:
    cells: list[RenderableType] = []
    if snapshot.done is not None:
        cells.append(ProgressBar(total=1.0, completed=snapshot.done, width=_BAR_WIDTH))
    cells.append(Text(snapshot.position, style="bold"))
    return picture_of(name, cells, _position(snapshot, pace), _numbers(snapshot))


def picture_of(
    name: str,
    cells: Sequence[RenderableType],
    position: Sequence[str],
    numbers: Sequence[tuple[str, int, str]],
) -> Group:
    """
    Give two lines: how far it is, and what has come of it.

    Args:
        name: Of what is run.
        cells: What follows the name.
        position: Short texts that change their length.
        numbers: Labels, counts and styles.
    """
    top = Table.grid(padding=(0, 2))
    texts = [Text(f"{part:>6}") for part in position]  # so that nothing jumps
    row = [Text(_clipped(clean(name)), style="bold"), *cells, *texts]
    for _ in row:
        top.add_column(no_wrap=True)
    top.add_row(*row)
    bottom = Text("  ").join(Text(f"{label} {count:,}", style) for label, count, style in numbers)
    bottom.overflow, bottom.no_wrap = "ellipsis", True
    return Group(top, bottom)


def _clipped(name: str) -> str:
    return name if len(name) <= _NAME_WIDTH else f"{name[: _NAME_WIDTH - 3]}..."


def _position(snapshot: Snapshot, pace: Pace) -> list[str]:
    part = [] if snapshot.done is None else [f"{snapshot.done:.0%}"]
    if snapshot.loading is not None:
        return part
    parts = [*part, f"{rate(pace.per_second)}/s", duration(snapshot.report.elapsed)]
    if snapshot.left is not None:
        parts.append(f"{duration(snapshot.left)} left")
    if snapshot.service_down:
        parts.append(f"no answer for {duration(pace.idle)}")
    elif pace.idle > _STALLED:
        parts.append(f"waiting for {duration(pace.idle)}")
    return parts


def _numbers(snapshot: Snapshot) -> list[tuple[str, int, str]]:
    report = snapshot.report
    numbers = [
        ("claimed", report.claimed, "green"),
        ("already", report.already_claimed, "green"),
        ("rejected", report.rejected, "red"),
        ("failed", report.failed, "yellow"),
        ("bad rows", snapshot.bad_rows, "red"),
        ("settled before", report.skipped, "green"),
        ("in flight", snapshot.in_flight, ""),
        ("retries", report.retries, "dim"),
        ("throttled", report.throttled, "dim"),
    ]
    always = set() if snapshot.loading is not None else {"claimed", "in flight"}
    return [entry for entry in numbers if entry[1] or entry[0] in always]
