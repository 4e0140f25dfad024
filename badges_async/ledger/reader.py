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
from badges_async.errors import InvalidInputError, LedgerError
from badges_async.ledger.connection import connect_read_only
from badges_async.ledger.faults import translated
from badges_async.ledger.records import (
    LedgerEntry,
    LedgerStanding,
    State,
    outcome_of,
    state_of,
)
from badges_async.ledger.schema import IN_USE, read_path
from badges_async.ledger.store import Store

__all__ = ["LedgerReader"]

# Read in one go: a reader that takes its time must not keep SQLite from tidying up.
_READ_AT_ONCE = 1000
_WITH_OUTCOME = {state_of(status) for status in ClaimStatus}
# Sums in one go: groups would be sorted first, which takes several times as long.
_COUNTED = "".join(
    [
        "SELECT count(*), sum(state = 1 OR (state = 0 AND doubt)), ",
        "sum(recovered AND state IN (2, 3, 4, 5))",
        *[f", sum(state = {state_of(status):d})" for status in ClaimStatus],
        " FROM claim",
    ]
)
_CAUSES = (
    "SELECT json_extract(error, '$.key'), count(*) FROM claim "
    "WHERE error IS NOT NULL AND state >= 4 GROUP BY 1"
)


class LedgerReader:
    """
    A ledger, read by whoever wants to know where a run stands.

    Needs no event loop and takes no lock: a run goes on meanwhile. To be used by one thread at a
    time. A ledger of a newer release is
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
            InvalidInputError: *path* is none.
        """
        place = read_path(path)
        return cls(place, Store(connect_read_only(place)))

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
        connection = self._store.connection
        with translated(self._path, reading=True):
            ours = not connection.in_transaction
            if ours:
                connection.execute("BEGIN")  # all of it as of one moment
            try:
                return self._summed(
                    connection.execute(_COUNTED).fetchone(), connection.execute(_CAUSES).fetchall()
                )
            finally:
                if ours:
                    connection.execute("ROLLBACK")

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
            yield from map(self._entry, rows)

    def _page(self, after: int, states: str | None) -> list[Any]:
        with translated(self._path, reading=True):
            return self._store.connection.execute(
                "SELECT id, badge_id, owner_type, reference_id, state, doubt, attempts, recovered, "
                "error, updated_at FROM claim WHERE id > ?1 "
                "AND (?2 IS NULL OR state IN (SELECT value FROM json_each(?2))) "
                "ORDER BY id LIMIT ?3",
                (after, states, _READ_AT_ONCE),
            ).fetchall()

    def _entry(self, row: Any) -> LedgerEntry:  # noqa: ANN401 - a row of SQLite's
        try:
            return _entry(row)
        except InvalidInputError as error:
            raise LedgerError(
                f"{self._path}: entry {row[0]} is not to be read, a newer release may: {error}"
            ) from error

    def _summed(self, counted: list[int | None], causes: list[Any]) -> LedgerStanding:
        total, in_doubt, recovered, *by_status = (number or 0 for number in counted)
        pause = self._store.pause()
        return LedgerStanding(
            pending=total - in_doubt - sum(by_status),
            in_doubt=in_doubt,
            counts=dict(zip(ClaimStatus, by_status, strict=True)),
            recovered=recovered,
            errors={str(cause): count for cause, count in causes},
            host=self._store.meta("host"),
            paused_until=None if pause is None else pause.learnt.wall + pause.seconds,
            in_use=self._store.meta("open") == IN_USE,
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
