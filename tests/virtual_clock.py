"""
An event loop whose clock moves only when everything waits: tests of time that take none.

Put `on_virtual_clock` on an async test. The loop starts at `START`; whenever nothing is left to do
but wait, its time jumps to the next timer, exactly. An hour of pauses takes a millisecond.

```python
@on_virtual_clock
async def test_a_pause_is_kept() -> None:
    gate = Gate(random.Random(1))
    gate.pause(120.0)
    await gate.opened()
    assert now() >= START + 120.0
```

A test fails when

- everything waits and no timer is set (`StalledError`, which says who waits and where),
- it leaves a task behind,
- the loop is told of an exception that nobody caught.

Sync fixtures, parameters and Hypothesis (`@given` above, `@on_virtual_clock` below) work as ever.
Async fixtures do not: pytest-asyncio runs them on another loop. There is no network here, and no
thread to wait for. Outside of a test, `run_virtually(main)` does the same and gives the result.
"""

from __future__ import annotations

import asyncio
import functools
import math
import selectors
from collections.abc import Callable, Coroutine, Mapping
from pathlib import Path
from typing import Any, ParamSpec, TypeVar

__all__ = [
    "START",
    "StalledError",
    "VirtualClockLoop",
    "now",
    "on_virtual_clock",
    "pending_timers",
    "run_virtually",
]

P = ParamSpec("P")
T = TypeVar("T")

START = 1000.0
"""The loop's time when a test begins. Not zero: zero would hide a mark that was never set."""


class StalledError(AssertionError):
    """Everything waits for something that nobody will do."""


class _NeverWaits(selectors.DefaultSelector):
    """A selector that hands its timeout to the loop instead of waiting for it."""

    def __init__(self, advance: Callable[[float | None], None]) -> None:
        super().__init__()
        self._advance = advance

    def select(self, timeout: float | None = None) -> list[tuple[selectors.SelectorKey, int]]:
        ready = super().select(0)
        if not ready and timeout != 0:
            self._advance(timeout)
        return ready


class VirtualClockLoop(asyncio.SelectorEventLoop):
    """An event loop that owns its clock."""

    _scheduled: list[asyncio.TimerHandle]  # asyncio's own heap of timers

    def __init__(self, start: float = START) -> None:
        self.complaints: list[Mapping[str, Any]] = []
        super().__init__(_NeverWaits(self._advance))
        self._set(start)
        self.set_exception_handler(lambda _, context: self.complaints.append(context))

    def time(self) -> float:
        """Give the seconds that the tests have made of it."""
        return self._now

    def _set(self, moment: float) -> None:
        self._now = moment
        # A timer runs when it is due before time plus this: with the next float after now, neither
        # a bit early nor (as with asyncio's nanosecond, lost in a large sum) never.
        self._clock_resolution = math.ulp(moment)

    def _advance(self, timeout: float | None) -> None:
        if timeout is None:
            raise StalledError(f"everything waits and no timer is set:\n{_who_waits(self)}")
        # The distance to the next timer, which asyncio gives, is rounded; the timer's time is not.
        self._set(self._scheduled[0].when())


def _who_waits(loop: asyncio.AbstractEventLoop) -> str:
    lines = [
        f"  {task.get_name()} at {_where(task.get_coro())}" for task in asyncio.all_tasks(loop)
    ]
    return "\n".join(sorted(lines)) or "  no task at all"


def _where(waiting: object) -> str:
    """Give the innermost of our own lines that a coroutine waits in."""
    where = "its end"
    while (frame := getattr(waiting, "cr_frame", None)) is not None:
        if "asyncio" not in Path(frame.f_code.co_filename).parts:
            where = f"{frame.f_code.co_filename}:{frame.f_lineno}"
        waiting = getattr(waiting, "cr_await", None)
    return where


def now() -> float:
    """Give the running loop's time."""
    return asyncio.get_running_loop().time()


def pending_timers() -> int:
    """Count what the running loop will still do by itself."""
    loop = asyncio.get_running_loop()
    assert isinstance(loop, VirtualClockLoop)
    return sum(not timer.cancelled() for timer in loop._scheduled)  # noqa: SLF001 - asyncio's


def run_virtually(main: Callable[[], Coroutine[Any, Any, T]], *, start: float = START) -> T:
    """
    Run *main* on a new virtual loop and give its result.

    Raises:
        StalledError: Everything waited and no timer was set.
        AssertionError: *main* left a task behind, or an exception that nobody caught.
    """
    loop = VirtualClockLoop(start)
    with asyncio.Runner(loop_factory=lambda: loop) as runner:
        result = runner.run(_leaving_nothing(main))
    assert not loop.complaints, f"the loop was told of: {loop.complaints}"
    return result


async def _leaving_nothing(main: Callable[[], Coroutine[Any, Any, T]]) -> T:
    result = await main()
    await asyncio.sleep(0)  # whoever was just cancelled or told to end may do so
    left = asyncio.all_tasks() - {asyncio.current_task()}
    assert not left, f"left behind:\n{_who_waits(asyncio.get_running_loop())}"
    return result


def on_virtual_clock(test: Callable[P, Coroutine[Any, Any, None]]) -> Callable[P, None]:
    """Make of an async test a sync one, which runs it on a virtual loop of its own."""

    @functools.wraps(test)
    def run(*args: P.args, **kwargs: P.kwargs) -> None:
        run_virtually(lambda: test(*args, **kwargs))

    return run
