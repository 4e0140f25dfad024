"""``sandbox``: the embedded service until somebody ends it."""

from __future__ import annotations

import asyncio
import sys
from collections.abc import Mapping, Sequence
from typing import Literal

import attrs
from rich.text import Text

from badges_async.cli import loops
from badges_async.cli.exits import Exit, UsageError
from badges_async.cli.output import emit
from badges_async.sandbox import Fault, Sandbox, parse_fault

__all__ = ["AlreadyClaimed", "SandboxOptions", "serve"]

AlreadyClaimed = Literal["warning", "error"]

# The documented credentials of a sandbox; they open nothing else.
_USERNAME, _PASSWORD = "till.demo", "s3cret-Pass"
_LAST_PORT = 65_535


@attrs.frozen(kw_only=True)
class SandboxOptions:
    """
    What kind of service it is to be; see `badges_async.sandbox.Sandbox`.

    Attributes:
        until_eof: End also when standard input ends, so that it never outlives the process that
            started it, however that one ends.
    """

    port: int = 0
    quota: str | None = None
    latency: float = 0.0
    faults: Sequence[str] = ()
    seed: int = 0
    badges: int = 100
    already_claimed: AlreadyClaimed = "warning"
    until_eof: bool = False


def serve(options: SandboxOptions) -> Exit:
    """
    Run a sandbox; its address and credentials go to standard output, ready to be pasted.

    Raises:
        InvalidInputError: An option has no meaning.
        UsageError: The port is taken.
    """
    if not 0 <= options.port <= _LAST_PORT:
        raise UsageError(f"a port is a number from 0 to {_LAST_PORT}, not {options.port}")
    if options.badges < 0:
        raise UsageError("--badges is 0 or more")
    sandbox = Sandbox(
        port=options.port,
        username=_USERNAME,
        password=_PASSWORD,
        quota=options.quota,
        latency=options.latency,
        faults=read_faults(options.faults),
        seed=options.seed,
        badges=options.badges,
        already_claimed=options.already_claimed,
        keep_requests=0,
    )
    return loops.run(_serve(sandbox, options))


def read_faults(specs: Sequence[str]) -> Mapping[Fault, float] | None:
    """
    Read ``KIND=RATE``, and ``everyday=RATE`` for what a bad day looks like.

    Raises:
        InvalidInputError: One is nothing of the kind.
    """
    rates: dict[Fault, float] = {}
    for spec in specs:
        name, _, rate = spec.partition("=")
        if name.strip() == "everyday":
            # Any fault's name checks the rate.
            rates |= Fault.everyday(parse_fault(f"{Fault.SLOW}={rate}")[1])
        else:
            fault, share = parse_fault(spec)
            rates[fault] = share
    return rates or None


async def _serve(sandbox: Sandbox, options: SandboxOptions) -> Exit:
    ended = asyncio.Event()
    with loops.StopSignals(ended.set, ended.set):
        try:
            await sandbox.start()
        except OSError as error:
            raise UsageError(f"port {options.port}: {error.strerror or error}") from None
        try:
            emit(_welcome(sandbox, options))
            if options.until_eof:
                _end_with_input(ended)
            await ended.wait()
        finally:
            await sandbox.close()
    return Exit.OK


def _end_with_input(ended: asyncio.Event) -> None:
    loop = asyncio.get_running_loop()
    # Whoever holds the other end of the pipe never writes: readable means closed.
    loop.add_reader(sys.stdin.fileno(), ended.set)


def _welcome(sandbox: Sandbox, options: SandboxOptions) -> Text:
    faults = ", ".join(options.faults) or "none"
    lines = [
        Text(f"# {sandbox!r}", "dim"),
        Text(f"# faults: {faults}; Ctrl-C ends it", "dim"),
        Text(f"export BADGES_HOST={sandbox.url}"),
        Text(f"export BADGES_USERNAME={_USERNAME}"),
        Text(f"export BADGES_PASSWORD={_PASSWORD}"),
        Text(f"# badges-async get {next(iter(sandbox.badges))}", "dim"),
    ]
    return Text("\n").join(lines)
