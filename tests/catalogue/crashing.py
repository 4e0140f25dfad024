"""
A run that kills itself at a point of its own: nothing of what it had in memory is written after it.

Here: the points, and the process that ends there. Not here: what must hold afterwards
(`test_crash_points`). The service is a file: what is in it was claimed, whatever the client heard.

`python -m tests.catalogue.crashing POINT FOLDER` runs it.
"""

from __future__ import annotations

import asyncio
import os
import signal
import sys
from collections.abc import Callable
from concurrent.futures import Executor, Future, ThreadPoolExecutor
from pathlib import Path
from typing import Any

from badges_async import ClaimRequest, Ledger, Ports
from badges_async.ledger.store import Store
from badges_async.messages import Reply
from tests.client.scripted import ScriptedTransport, Sent, make_client, make_rows, well

__all__ = ["CONCURRENCY", "POINTS", "ROWS", "FileService", "Places", "make_claims"]

POINTS = (
    *("before the intent", "inside the intent", "between intent and request"),
    *("between request and answer", "between answer and commit", "inside the commit"),
    "between commit and outcome",
)
ROWS, CONCURRENCY, _AT = 300, 4, 20


class Places:
    """The files of one job in *folder*."""

    def __init__(self, folder: Path) -> None:
        self.ledger = folder / "run.db"
        self.held = folder / "held.txt"  # by the service
        self.told = folder / "told.txt"  # to the consumer

    def lines(self, file: Path) -> list[str]:
        return file.read_text().split() if file.exists() else []


class FileService(ScriptedTransport):
    """A service that does not forget when the process of its client ends."""

    def __init__(self, places: Places, on_answer: Callable[[Sent], None] | None = None) -> None:
        super().__init__(then=self._claim, latency=0)
        self._places = places
        self._on_answer = on_answer
        self.held = set(map(_key, places.lines(places.held)))

    def _claim(self, sent: Sent) -> Reply:
        reply = well(sent)
        note(self._places.held, sent.key[1])
        if self._on_answer is not None:
            self._on_answer(sent)
        return reply


def make_claims() -> list[ClaimRequest]:
    return make_rows(ROWS)


def note(file: Path, word: str) -> None:
    with file.open("a") as notes:
        notes.write(word + "\n")


def _key(reference: str) -> tuple[str, str]:
    return f"{int(reference[1:]):024x}", reference


def _die() -> None:
    os.kill(os.getpid(), signal.SIGKILL)


class Crashing:
    """The parts of a run, one of which ends it at *point*, when its time has come."""

    def __init__(self, point: str, places: Places) -> None:
        self._point = point
        self._places = places
        self.service = FileService(places, self._on_answer)
        self._wrap("lease", "intent", before="before the intent")
        self._wrap("settle", "commit", before="between answer and commit")

    def _ripe(self) -> bool:
        return len(self._places.lines(self._places.held)) >= _AT

    def _reach(self, point: str) -> None:
        if point == self._point and self._ripe():
            _die()

    def _on_answer(self, _: Sent) -> None:
        self._reach("between request and answer")

    def _wrap(self, name: str, what: str, *, before: str) -> None:
        """Die before an operation of the store, or after it and before its transaction ends."""
        do = getattr(Store, name)

        def wrapped(store: Store, *args: Any, **options: Any) -> Any:
            self._reach(before)
            result = do(store, *args, **options)
            self._reach(f"inside the {what}")
            self._after = name
            return result

        setattr(Store, name, wrapped)

    def executor(self) -> Executor:
        """Give a thread that dies when a transaction is on disk and nobody has heard of it."""
        crashing = self

        class Dying(ThreadPoolExecutor):
            def submit(self, fn: Any, /, *args: Any, **options: Any) -> Future[Any]:
                return super().submit(crashing._do, fn, *args, **options)

        return Dying(1)

    def _do(self, fn: Callable[..., Any], *args: Any, **options: Any) -> Any:
        self._after = ""
        result = fn(*args, **options)
        if self._after == "settle":
            self._reach("between commit and outcome")
        elif self._after == "lease":
            self._reach("between intent and request")
        return result


async def run(point: str, folder: Path) -> None:
    """Claim, until it dies."""
    places = Places(folder)
    crashing = Crashing(point, places)
    client = make_client(crashing.service)
    async with Ledger.open(places.ledger, ports=Ports(executor=crashing.executor)) as ledger:
        await client.claim_all(
            make_claims(),
            concurrency=CONCURRENCY,
            ledger=ledger,
            on_outcome=lambda outcome: note(places.told, outcome.request.reference_id),
        )


if __name__ == "__main__":
    asyncio.run(run(sys.argv[1], Path(sys.argv[2])))
