"""
What is written into a ledger, as SQL.

Here: each operation of a run as one or two statements on the connection, in whatever transaction
the `writer` has begun. Not here: transactions, threads, what is read by people (`reader`).

A batch travels as one JSON array and is taken apart by SQLite: a statement for each row would hand
Python's lock back and forth with the event loop, and each time wait for it.
"""

from __future__ import annotations

import json
import sqlite3
from collections.abc import Iterable, Sequence
from typing import Any

import attrs

from badges_async.claims import ClaimRequest
from badges_async.ledger.clock import Moment
from badges_async.ledger.records import Fate, Found, State

__all__ = ["Beginning", "Pause", "Store", "keys_of"]

_INSERT = """
INSERT INTO claim (badge_id, owner_type, reference_id)
SELECT json_extract(value, '$[0]'), json_extract(value, '$[1]'), json_extract(value, '$[2]')
FROM json_each(?) WHERE true ORDER BY key ON CONFLICT DO NOTHING
"""
# CROSS JOIN keeps the order of the tables: the batch is the outer loop, whatever is guessed.
_FIND = """
SELECT json_group_array(json_array(
    asked.key, claim.id, claim.state, claim.doubt, claim.run,
    claim.attempts, claim.recovered, CASE WHEN claim.run = ?2 THEN claim.error END
))
FROM json_each(?1) AS asked CROSS JOIN claim
WHERE claim.badge_id = json_extract(asked.value, '$[0]')
  AND claim.owner_type = json_extract(asked.value, '$[1]')
  AND claim.reference_id = json_extract(asked.value, '$[2]')
"""
_LEASE = """
UPDATE claim SET doubt = doubt OR state = 1, state = 1, run = ?2, updated_at = ?3
WHERE id IN (SELECT value FROM json_each(?1))
"""
_SETTLE = """
UPDATE claim SET
    state = new.state, attempts = claim.attempts + new.attempts, recovered = new.recovered,
    doubt = CASE new.state WHEN 5 THEN claim.doubt OR new.doubt ELSE 0 END,
    error = new.error, run = ?2, updated_at = ?3
FROM (
    SELECT json_extract(value, '$[0]') AS id, json_extract(value, '$[1]') AS state,
        json_extract(value, '$[2]') AS attempts, json_extract(value, '$[3]') AS recovered,
        json_extract(value, '$[4]') AS doubt, json_extract(value, '$[5]') AS error
    FROM json_each(?1)
) AS new
WHERE claim.id = new.id AND claim.state = 1
"""
_RELEASE = """
UPDATE claim SET state = 0, doubt = claim.doubt OR new.doubt, updated_at = ?2
FROM (
    SELECT json_extract(value, '$[0]') AS id, json_extract(value, '$[1]') AS doubt
    FROM json_each(?1)
) AS new
WHERE claim.id = new.id AND claim.state = 1
"""
_ABANDON = "UPDATE claim SET state = 0, updated_at = ?2 WHERE state = 1 AND run = ?1"


def keys_of(requests: Iterable[ClaimRequest]) -> str:
    """Give the keys of *requests* as the statements here take them."""
    return json.dumps([[each.badge_id, each.owner_type, each.reference_id] for each in requests])


@attrs.frozen
class Pause:
    """A pause that the service asked for: when it was learnt, and how long it was from there."""

    learnt: Moment
    seconds: float


@attrs.frozen
class Beginning:
    """
    A run that has begun, or could not.

    Attributes:
        sends: The number of the last request that was let go.
        mismatch: What the ledger has another of: service or account.
        known: That other one, where it may be named.
    """

    run: int
    sends: int
    mismatch: str = ""
    known: str = ""


class Store:
    """
    The operations of a run; to be used by one thread at a time.

    Every method may raise `sqlite3.Error`, and is harmless to repeat after a rollback.

    Attributes:
        unsure_until: The number of the last request that was let go by a run that was cut off: one
            that had to connect first may have left later than is noted.
    """

    def __init__(self, connection: sqlite3.Connection) -> None:
        self.connection = connection
        cut_off = self._last_send() if self.meta("open") else 0
        self.unsure_until = max(cut_off, int(self.meta("unsure") or 0))

    def _last_send(self) -> int:
        return self.connection.execute("SELECT max(number) FROM send").fetchone()[0] or 0

    def add(self, keys: str) -> int:
        """Enter the claims that are not there yet; give how many that were."""
        return self.connection.execute(_INSERT, (keys,)).rowcount

    def lease(self, keys: str, run: int, most: int, now: float) -> list[Found]:
        """
        Note that *run* may send the claims with these *keys* from here on, at most *most* of them.

        Gives what was found, in the order of *keys*.
        """
        self.add(keys)
        (packed,) = self.connection.execute(_FIND, (keys, run)).fetchone()
        rows = sorted(json.loads(packed))
        taken: set[int] = set()
        found = [_found(row, run, taken, most) for row in rows]
        if taken:
            self.connection.execute(_LEASE, (json.dumps(sorted(taken)), run, now))
        return found

    def settle(self, rows: Sequence[Sequence[Any]], run: int, now: float) -> None:
        """
        Record outcomes: id, state, attempts, recovered, doubt and error as JSON text of each.

        Only of what is in hand: an outcome stays as it was recorded first. Doubt ends with an
        answer; where there is none again (FAILED), it stays.
        """
        self.connection.execute(_SETTLE, (json.dumps(rows), run, now))

    def release(self, rows: Sequence[tuple[int, bool]], now: float) -> None:
        """
        Give claims back that were not settled: their ids, and whether they may have been sent now.

        Doubt from before stays.
        """
        packed = json.dumps([[id_, int(doubt)] for id_, doubt in rows])
        self.connection.execute(_RELEASE, (packed, now))

    def abandon(self, run: int, now: float) -> None:
        """Give back whatever *run* has still in hand: it never came to be sent."""
        self.connection.execute(_ABANDON, (run, now))

    def begin(self, host: str, mark: str) -> Beginning:
        """
        Begin a run for a *host* and the account of that *mark*.

        When it is another's, nothing is changed.
        """
        belongs_to = str(self.meta("host") or ""), str(self.meta("account") or "")
        for what, known, now in zip(("service", "account"), belongs_to, (host, mark), strict=True):
            if known and now and known != now:
                return Beginning(0, 0, what, known if what == "service" else "")
        for key, value in (("host", host), ("account", mark)):
            if value:
                self.set_meta(key, value)
        number = int(self.meta("run") or 0) + 1
        self.set_meta("run", number)
        # The run after this one has to know as well, however well this one ends.
        self.set_meta("unsure", self.unsure_until)
        return Beginning(number, self._last_send())

    def meta(self, key: str) -> Any:  # noqa: ANN401 - whatever SQLite holds
        """Give a value of the ledger as a whole; None when it has none."""
        row = self.connection.execute("SELECT value FROM meta WHERE key = ?", (key,)).fetchone()
        return None if row is None else row[0]

    def set_meta(self, key: str, value: float | str) -> None:
        """Set a value of the ledger as a whole."""
        self.connection.execute("INSERT OR REPLACE INTO meta VALUES (?, ?)", (key, value))

    def record_send(self, number: int, moment: Moment, keep: int) -> None:
        """Note when a request was let go; of the last ones at least *keep* are kept."""
        self.connection.execute(
            "INSERT OR REPLACE INTO send VALUES (?, ?, ?, ?)",
            (number, moment.wall, moment.loop, moment.boot),
        )
        # A request that was restamped has used up two numbers.
        self.connection.execute("DELETE FROM send WHERE number <= ?", (number - 2 * keep,))

    def restamp(self, number: int, new: int, moment: Moment, keep: int) -> None:
        """Note that the request of that *number* left later; it counts as the *new* one."""
        self.connection.execute("DELETE FROM send WHERE number = ?", (number,))
        self.record_send(new, moment, keep)

    def sends(self) -> list[tuple[int, Moment]]:
        """Give when the last requests were let go, the oldest first."""
        rows = self.connection.execute("SELECT number, wall, loop, boot FROM send ORDER BY number")
        return [(number, Moment(*moment)) for number, *moment in rows]

    def record_pause(self, pause: Pause) -> None:
        """Note until when nothing may be sent."""
        learnt = pause.learnt
        self.set_meta("pause", json.dumps([learnt.wall, learnt.loop, learnt.boot, pause.seconds]))

    def pause(self) -> Pause | None:
        """Give the last pause that was noted, over or not."""
        text = self.meta("pause")
        if text is None:
            return None
        *learnt, seconds = json.loads(text)
        return Pause(Moment(*learnt), seconds)


def _found(row: Sequence[Any], run: int, taken: set[int], most: int) -> Found:
    _, id_, code, doubt, last_run, attempts, recovered, error = row
    state = State(code)
    if id_ in taken or (state is State.SENDING and last_run == run):
        return Found(Fate.TWIN, id_, bool(doubt), state)
    if state >= State.CLAIMED and last_run == run:
        told = (attempts, bool(recovered), None if error is None else json.loads(error))
        return Found(Fate.TOLD, id_, bool(doubt), state, told)
    if state in {State.CLAIMED, State.ALREADY_CLAIMED, State.REJECTED}:
        return Found(Fate.SETTLED, id_, bool(doubt), state)
    if len(taken) >= most:
        return Found(Fate.LATER, id_, bool(doubt), state)
    taken.add(id_)
    return Found(Fate.SEND, id_, bool(doubt) or state is State.SENDING, state)
