"""Signals that end a run, and the loop that it is on."""

from __future__ import annotations

import asyncio
import os
import signal
import sys

import pytest

from badges_async.cli import loops


async def test_two_signals_are_two_calls_and_the_third_meets_what_was_before() -> None:
    """Somebody who presses Ctrl-C a third time gets what Python does."""
    calls: list[str] = []
    arrived = asyncio.Event()

    def note(what: str) -> None:
        calls.append(what)
        arrived.set()

    signals = loops.StopSignals(lambda: note("first"), lambda: note("second"))
    with signals:
        for each in (signal.SIGTERM, signal.SIGINT):
            arrived.clear()
            os.kill(os.getpid(), each)
            await asyncio.wait_for(arrived.wait(), 10)
        assert signal.getsignal(signal.SIGINT) is signal.default_int_handler
        assert signal.getsignal(signal.SIGTERM) is signal.SIG_DFL

    assert calls == ["first", "second"]
    assert signals.count == 2


async def test_signals_are_as_before_afterwards() -> None:
    """The block leaves no handler behind."""
    before = signal.getsignal(signal.SIGTERM)
    with loops.StopSignals(lambda: None, lambda: None):
        assert signal.getsignal(signal.SIGTERM) != before

    assert signal.getsignal(signal.SIGTERM) == before


async def test_a_signal_that_is_ignored_stays_ignored() -> None:
    """`nohup badges-async bulk-claim ...` outlives its terminal."""
    before = signal.signal(signal.SIGHUP, signal.SIG_IGN)
    try:
        with loops.StopSignals(lambda: None, lambda: None):
            assert signal.getsignal(signal.SIGHUP) is signal.SIG_IGN
        assert signal.getsignal(signal.SIGHUP) is signal.SIG_IGN
    finally:
        signal.signal(signal.SIGHUP, before)


async def test_an_interrupt_of_a_background_job_drains_it() -> None:
    """A script's `badges-async ... &` starts with SIGINT ignored; `kill -INT` is meant for it."""
    before = signal.signal(signal.SIGINT, signal.SIG_IGN)
    arrived = asyncio.Event()
    try:
        with loops.StopSignals(arrived.set, lambda: None):
            os.kill(os.getpid(), signal.SIGINT)
            await asyncio.wait_for(arrived.wait(), 10)
    finally:
        signal.signal(signal.SIGINT, before)


async def running() -> asyncio.AbstractEventLoop:
    return asyncio.get_running_loop()


def test_the_loop_is_uvloop_where_it_is_installed(monkeypatch: pytest.MonkeyPatch) -> None:
    """And asyncio's own where it is not."""
    pytest.importorskip("uvloop")
    assert type(loops.run(running())).__module__ == "uvloop"

    monkeypatch.setitem(sys.modules, "uvloop", None)
    assert type(loops.run(running())).__module__.startswith("asyncio.")
