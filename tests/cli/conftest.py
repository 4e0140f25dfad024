"""What the tests of the tool share: the tool in this process, and the tool as a process."""

from __future__ import annotations

import asyncio
import contextlib
import csv
import os
import signal
import sys
from collections.abc import AsyncIterator, Awaitable, Callable, Iterable, Sequence
from pathlib import Path
from typing import Any, Protocol

import attrs
import pytest

from badges_async import BadgesClient, BasicAuth, ClaimRequest, Ledger, RetryPolicy
from badges_async.cli.app import run
from badges_async.sandbox import RecordedRequest, Sandbox, make_badge_ids

BADGES = list(make_badge_ids(50))
HEADER = ("badge_id", "owner_type", "reference_id")


@attrs.frozen
class Ended:
    """What a run of the tool left behind."""

    code: int
    out: str
    err: str


class Tool(Protocol):
    """Run the tool on these arguments, in this process."""

    async def __call__(self, *arguments: str | Path) -> Ended: ...


@pytest.fixture
def service_env(monkeypatch: pytest.MonkeyPatch) -> Callable[[Sandbox], None]:
    """Give a function that points the environment to a sandbox."""

    def point(sandbox: Sandbox) -> None:
        monkeypatch.setenv("BADGES_HOST", sandbox.url)
        monkeypatch.setenv("BADGES_USERNAME", "till.demo")
        monkeypatch.setenv("BADGES_PASSWORD", "s3cret-Pass")

    return point


@pytest.fixture(autouse=True)
def no_service(monkeypatch: pytest.MonkeyPatch) -> None:
    """Take away what the machine's own environment may hold."""
    for name in list(os.environ):
        if name.startswith("BADGES_"):
            monkeypatch.delenv(name)


@pytest.fixture
def badges_sandbox_options() -> dict[str, Any]:
    """Give the sandbox badges that files can be made of."""
    return {"badges": BADGES}


@pytest.fixture
def tool(
    badges_sandbox: Sandbox,
    service_env: Callable[[Sandbox], None],
    capsys: pytest.CaptureFixture[str],
) -> Tool:
    """Give the tool, pointed to `badges_sandbox`; its event loop is in a thread of its own."""
    service_env(badges_sandbox)

    async def call(*arguments: str | Path) -> Ended:
        code = await asyncio.to_thread(run, [str(argument) for argument in arguments])
        out, err = capsys.readouterr()
        return Ended(code, out, err)

    return call


@attrs.define
class Process:
    """The tool as a process of its own."""

    process: asyncio.subprocess.Process

    @property
    def pid(self) -> int:
        return self.process.pid

    def interrupt(self, how: signal.Signals = signal.SIGINT) -> None:
        """Send a signal."""
        self.process.send_signal(how)

    async def said(self, words: str) -> str:
        """Wait until a line of its standard error holds *words*, and give that line."""
        assert self.process.stderr is not None
        while words not in (line := (await self.process.stderr.readline()).decode()):
            assert line, f"it ended without saying {words!r}"
        return line

    async def end(self) -> Ended:
        """Wait for its end."""
        out, err = await self.process.communicate()
        assert self.process.returncode is not None
        return Ended(self.process.returncode, (out or b"").decode(), (err or b"").decode())


Starter = Callable[..., Awaitable[Process]]


@pytest.fixture
async def start(
    badges_sandbox: Sandbox, service_env: Callable[[Sandbox], None]
) -> AsyncIterator[Starter]:
    """Give a function that starts the tool as a process, pointed to `badges_sandbox`."""
    service_env(badges_sandbox)
    started: list[asyncio.subprocess.Process] = []

    async def begin(*arguments: str | Path, **options: Any) -> Process:
        pipes = dict.fromkeys(("stdin", "stdout", "stderr"), asyncio.subprocess.PIPE)
        process = await asyncio.create_subprocess_exec(
            sys.executable, "-m", "badges_async", *map(str, arguments), **(pipes | options)
        )
        started.append(process)
        return Process(process)

    yield begin
    for process in started:
        with contextlib.suppress(ProcessLookupError):
            process.kill()
        await process.communicate()


def write_csv(
    path: Path, rows: Iterable[Sequence[str]], header: Sequence[str] | None = HEADER
) -> Path:
    """Write a file of claims."""
    with path.open("w", encoding="utf-8", newline="") as file:
        writer = csv.writer(file, lineterminator="\n")
        if header is not None:
            writer.writerow(header)
        writer.writerows(rows)
    return path


def names_in(folder: Path) -> set[str]:
    """Give the names of what is in *folder*."""
    return {path.name for path in folder.iterdir()}


def claims(count: int) -> list[tuple[str, str, str]]:
    """Give *count* different claims that a sandbox of `BADGES` accepts."""
    return [(BADGES[n % len(BADGES)], "Loyalty", f"{n:05}") for n in range(count)]


def bad_for(sandbox: Sandbox, prefix: str, fault: str | None) -> None:
    """Let *sandbox* answer claims whose reference begins with *prefix* with *fault*."""

    def choose(request: RecordedRequest) -> str | None:
        return fault if (request.reference_id or "").startswith(prefix) else None

    sandbox.set_faults(choose)


async def make_ledger(
    path: Path, sandbox: Sandbox, rows: Iterable[Sequence[str]], **loaded: Sequence[Sequence[str]]
) -> None:
    """
    Claim *rows* with a ledger at *path*, each with one attempt, and only load *loaded*.

    References that begin with ``fail`` fail.
    """
    bad_for(sandbox, "fail", "500-before")
    auth = BasicAuth("till.demo", "s3cret-Pass")
    client = BadgesClient(sandbox.url, auth, retry=RetryPolicy(max_attempts=1))
    async with client, Ledger.open(path) as ledger:
        await client.claim_all([ClaimRequest(*row) for row in rows], ledger=ledger)
        await ledger.load([ClaimRequest(*row) for rest in loaded.values() for row in rest])
    sandbox.set_faults(None)
