"""What the tests of runs with a ledger share: the disk as a stranger sees it, disks that fail."""

from __future__ import annotations

import contextlib
import json
import random
import sqlite3
from collections import Counter
from collections.abc import AsyncIterator, Callable, Iterator
from concurrent.futures import Future
from pathlib import Path
from typing import Any

from badges_async import BadgesClient, ClaimRequest, Ledger, Ports
from badges_async.ledger.records import State
from badges_async.messages import Request
from tests.client.scripted import ScriptedTransport, make_client
from tests.ledger.support import Inline

Key = tuple[str, str]
PENDING, SENDING, FAILED = State.PENDING, State.SENDING, State.FAILED


def key_of(request: Request) -> Key:
    """Give the badge and the reference that a claim is about, as `Sent.key` does."""
    return request.subject, json.loads(request.body or b"{}")["referenceId"]


class Disk:
    """What a second connection reads of the ledger at *path*: only what is committed."""

    def __init__(self, path: Path) -> None:
        self._connection = sqlite3.connect(f"file:{path}?mode=ro", uri=True)

    def state(self, row: ClaimRequest | Key) -> State | None:
        """Give the state of one claim; None when it was never entered."""
        key = row if isinstance(row, tuple) else (row.badge_id, row.reference_id)
        found = self._connection.execute(
            "SELECT state FROM claim WHERE badge_id = ? AND reference_id = ?", key
        ).fetchone()
        return None if found is None else State(found[0])

    def doubtful(self) -> set[str]:
        """Give the references of all unsettled claims that may have been sent."""
        return {
            reference
            for (reference,) in self._connection.execute(
                "SELECT reference_id FROM claim WHERE state = 1 OR (doubt AND state IN (0, 5))"
            )
        }

    def in_state(self, *states: State) -> set[str]:
        """Give the references of the claims in one of *states*."""
        wanted = {int(state) for state in states}
        return {
            reference
            for reference, state in self._connection.execute(
                "SELECT reference_id, state FROM claim"
            )
            if state in wanted
        }

    def counts(self) -> Counter[State]:
        """Count the claims by state."""
        rows = self._connection.execute("SELECT state, count(*) FROM claim GROUP BY state")
        return Counter({State(state): count for state, count in rows})

    def close(self) -> None:
        self._connection.close()


@contextlib.contextmanager
def disk(path: Path) -> Iterator[Disk]:
    """Read the ledger at *path* for a while."""
    reading = Disk(path)
    try:
        yield reading
    finally:
        reading.close()


class Failing(Inline):
    """
    Writes on the loop, as long as the disk is well.

    Attributes:
        broken: Every commit meets a disk that cannot be written.
        failures: Commits that did.
    """

    def __init__(self, seconds: float = 0.0) -> None:
        super().__init__(seconds)
        self.broken = False
        self.failures = 0

    def break_down(self) -> None:
        self.broken = True

    def get_well(self) -> None:
        self.broken = False

    def submit(self, fn: Callable[..., Any], /, *args: Any, **kwargs: Any) -> Future[Any]:
        def run() -> Any:
            # Opening and closing take no arguments; a commit takes its operations.
            if self.broken and args:
                self.failures += 1
                error = sqlite3.OperationalError("disk I/O error")
                error.sqlite_errorcode = sqlite3.SQLITE_IOERR
                raise error
            return fn(*args, **kwargs)

        return super().submit(run)


def make_ports(
    service: ScriptedTransport, *, seed: int = 1, executor: Inline | None = None, **parts: Any
) -> Ports:
    """Give the ports of a client and its ledger; without an executor each has its own."""
    return Ports(
        transport=service,
        random=random.Random(seed),  # noqa: S311 - jitter
        executor=Inline if executor is None else lambda: executor,
        **parts,
    )


@contextlib.asynccontextmanager
async def kept(
    path: Path, service: ScriptedTransport, *, ports: Ports | None = None, **options: Any
) -> AsyncIterator[tuple[BadgesClient, Ledger]]:
    """Give a client of *service* and an open ledger at *path*."""
    ports = ports or make_ports(service)
    async with Ledger.open(path, ports=ports) as ledger:
        yield make_client(service, ports=ports, **options), ledger
