"""
The event loop of a command, and the signals that end it.

Here: uvloop where it is installed; the first SIGINT, SIGTERM or SIGHUP asks a run to come to an
end, the second ends it. The library itself never touches a signal.
"""

from __future__ import annotations

import asyncio
import contextlib
import importlib
import signal
from collections.abc import Callable, Coroutine
from types import TracebackType
from typing import Any, Self, TypeVar

__all__ = ["StopSignals", "run"]

_T = TypeVar("_T")
# SIGHUP: the terminal is gone; Windows has none.
_SIGNALS = [
    getattr(signal, name) for name in ("SIGINT", "SIGTERM", "SIGHUP") if hasattr(signal, name)
]
# Windows, and any thread but the main one: asyncio and uvloop say it in their own ways.
_NO_HANDLERS = (NotImplementedError, RuntimeError, ValueError)


def run(main: Coroutine[Any, Any, _T]) -> _T:
    """Run *main* on the fastest loop there is."""
    with asyncio.Runner(loop_factory=_loop_factory()) as runner:
        return runner.run(main)


def _loop_factory() -> Callable[[], asyncio.AbstractEventLoop] | None:
    try:
        factory: Callable[[], asyncio.AbstractEventLoop]
        factory = importlib.import_module("uvloop").new_event_loop
    except ImportError:
        return None
    return factory


class StopSignals:
    """
    A context manager that turns signals into calls, for as long as it is open.

    Args:
        first: Called at the first signal: ask for an end.
        second: Called at the second: end. A third one meets what was there before.

    Where an event loop has no signal handlers, Ctrl-C stays a `KeyboardInterrupt`.

    Attributes:
        count: Signals so far.
    """

    def __init__(self, first: Callable[[], None], second: Callable[[], None]) -> None:
        self.count = 0
        self._calls = [first, second]
        self._loop = asyncio.get_running_loop()
        self._signals = [each for each in _SIGNALS if not _is_to_be_ignored(each)]

    def __enter__(self) -> Self:
        with contextlib.suppress(*_NO_HANDLERS):
            for each in self._signals:
                self._loop.add_signal_handler(each, self._arrived)
        return self

    def __exit__(
        self,
        kind: type[BaseException] | None,
        error: BaseException | None,
        trace: TracebackType | None,
    ) -> None:
        self._let_go()

    def _arrived(self) -> None:
        call = self._calls[self.count]
        self.count += 1
        if self.count == len(self._calls):
            self._let_go()
        call()

    def _let_go(self) -> None:
        with contextlib.suppress(*_NO_HANDLERS):
            for each in self._signals:
                self._loop.remove_signal_handler(each)


def _is_to_be_ignored(each: signal.Signals) -> bool:
    # nohup means it. A shell's script that lets its background jobs ignore SIGINT only keeps the
    # terminal's Ctrl-C from them: a `kill -INT` of one is meant for it, and must drain.
    is_interrupt = each in {signal.SIGINT, signal.SIGTERM}
    return not is_interrupt and signal.getsignal(each) is signal.SIG_IGN
