"""
What a ledger says: read only, at any time, also while a run uses it.

Here: standing, and entries one by one. Not here: how they are shown (`cli`), or anything written.
"""

from __future__ import annotations

import contextlib
import json
import os
from collections.abc import Collection, Iterator
from pathlib import Path
from types import TracebackType
from typing import Any, Self

from badges_async.claims import ClaimRequest
from badges_async.enums import ClaimStatus
from badges_async.ledger import schema
from badges_async.ledger.faults import translated
from badges_async.ledger.records import (
    LedgerEntry,
    LedgerStanding,
    State,
    outcome_of,
    state_of,
)
from badges_async.ledger.store import Store

__all__ = ["LedgerReader"]

# Read in one go: a reader that takes its time must not keep SQLite from tidying up.
_READ_AT_ONCE = 1000
_WITH_OUTCOME = {state_of(status): status for status in ClaimStatus}


class LedgerReader:
    """
    A ledger, read by whoever wants to know where a run stands.

    Needs no event loop and takes no lock: a run goes on meanwhile. A ledger of a newer release is
    read as far as this one understands it.

    ```python
    with LedgerReader.open("run.db") as ledger:
        print(ledger.standing())
    ```
    """

    def __init__(self, path: Path, store: Store) -> None:
        self._path = path
        self._store = store

    @classmethod
    def open(cls, path: str | os.PathLike[str]) -> Self:
        """
        Open the ledger at *path*.

        Raises:
            LedgerCorruptError: It is no database, or a copy that lacks its latest entries.
            LedgerMismatchError: It is another program's.
            LedgerError: It cannot be read.
        """
        place = Path(path)
        return cls(place, Store(schema.connect_read_only(place)))

    def __enter__(self) -> Self:
        return self

    def __exit__(
        self,
        kind: type[BaseException] | None,
        error: BaseException | None,
        trace: TracebackType | None,
    ) -> None:
        self.close()

    def close(self) -> None:
        """Close the file; idempotent."""
        self._store.connection.close()

    def standing(self) -> LedgerStanding:
        """
        Tell where it stands.

        Raises:
            LedgerError: It cannot be read.
        """
        with translated(self._path):
            groups = self._store.connection.execute(
                "SELECT state, doubt, sum(recovered), count(*) FROM claim GROUP BY state, doubt"
            ).fetchall()
            causes = self._store.connection.execute(
                "SELECT json_extract(error, '$.key'), count(*) FROM claim "
                "WHERE error IS NOT NULL AND state >= 4 GROUP BY 1"
            ).fetchall()
            return self._summed(groups, causes)

    def entries(self, statuses: Collection[ClaimStatus] | None = None) -> Iterator[LedgerEntry]:
        """
        Give the claims one by one, in the order in which they were entered.

        What changes while they are read is given as it is when its turn comes.

        Args:
            statuses: Only those with one of these outcomes; None for all, also those without any.

        Raises:
            LedgerError: It cannot be read.
        """
        states = None if statuses is None else json.dumps([state_of(each) for each in statuses])
        last = 0
        while rows := self._page(last, states):
            last = rows[-1][0]
            yield from map(_entry, rows)

    def _page(self, after: int, states: str | None) -> list[Any]:
        with translated(self._path):
            return self._store.connection.execute(
                "SELECT id, badge_id, owner_type, reference_id, state, doubt, attempts, recovered, "
                "error, updated_at FROM claim WHERE id > ?1 "
                "AND (?2 IS NULL OR state IN (SELECT value FROM json_each(?2))) "
                "ORDER BY id LIMIT ?3",
                (after, states, _READ_AT_ONCE),
            ).fetchall()

    def _summed(self, groups: list[Any], causes: list[Any]) -> LedgerStanding:
        counts = dict.fromkeys(ClaimStatus, 0)
        pending = in_doubt = recovered = 0
        for state, doubt, some, count in groups:
            if status := _WITH_OUTCOME.get(state):
                counts[status] += count
                recovered += some
            elif doubt or state == State.SENDING:
                in_doubt += count
            else:
                pending += count
        pause = self._store.pause()
        return LedgerStanding(
            pending=pending,
            in_doubt=in_doubt,
            counts=counts,
            recovered=recovered,
            errors={str(cause): count for cause, count in causes},
            host=self._store.meta("host"),
            paused_until=None if pause is None else pause.learnt.wall + pause.seconds,
            in_use=bool(self._store.meta("open")),
        )


def _entry(row: Any) -> LedgerEntry:  # noqa: ANN401 - a row of SQLite's
    _, badge_id, owner_type, reference_id, code, doubt, attempts, recovered, error, updated_at = row
    request = ClaimRequest(badge_id, owner_type, reference_id)
    outcome = None
    if code in _WITH_OUTCOME:
        why = None
        if error is not None:
            with contextlib.suppress(ValueError):
                why = json.loads(error)
        outcome = outcome_of(request, State(code), attempts, bool(recovered), why)
    return LedgerEntry(request, outcome, bool(doubt) or code == State.SENDING, updated_at)
