"""
Which claims of a file come more than once, and what a ledger knows of them, without sending any.

Here: two lists of any length compared in bounded memory. Not here: what is said about it (`check`).

Each claim becomes a number, and the numbers are dealt to piles by their value, so that equal claims
lie on one pile. Then one pile after the other is looked at, and each is small.
"""

from __future__ import annotations

import contextlib
import heapq
import struct
import tempfile
from collections.abc import Iterable, Iterator
from enum import IntEnum
from typing import IO, Self

import attrs

from badges_async import ClaimRequest, ClaimStatus, LedgerEntry
from badges_async.cli.rows import Row

__all__ = ["REPEATS_KEPT", "Known", "Match", "Piles"]

REPEATS_KEPT = 5
_PILES = 64
_IN_MEMORY = 64 * 1024  # bytes of a pile; a larger one goes to a temporary file
_CARD = struct.Struct("<qQB")  # the claim's number, its line, what is known


class Known(IntEnum):
    """What a ledger knows of a claim."""

    NOTHING = 0  # or that it is to be sent, which is the same
    HELD = 1
    REJECTED = 2
    FAILED = 3
    IN_DOUBT = 4


@attrs.define
class Match:
    """
    What became of the comparison.

    Attributes:
        repeats: The first (line, line of the same claim before it); `repeats_in_all` counts them.
        rows: Rows by what is known of their claims.
        claims: The same without repeats.
    """

    repeats: list[tuple[int, int]] = attrs.field(factory=list)
    repeats_in_all: int = 0
    rows: dict[Known, int] = attrs.field(factory=lambda: dict.fromkeys(Known, 0))
    claims: dict[Known, int] = attrs.field(factory=lambda: dict.fromkeys(Known, 0))

    @property
    def to_send(self) -> int:
        """Claims that a run would send."""
        return self.claims[Known.NOTHING] + self.again

    @property
    def again(self) -> int:
        """Those of them that were sent before."""
        return self.claims[Known.FAILED] + self.claims[Known.IN_DOUBT]

    @property
    def settled(self) -> int:
        """Rows that a run would skip."""
        return self.rows[Known.HELD] + self.rows[Known.REJECTED]


class Piles:
    """
    A context manager that takes a ledger's entries first, then a file's rows, and compares them.

    Raises:
        OSError: There is no room for the temporary files.
    """

    def __init__(self) -> None:
        self._open = contextlib.ExitStack()
        self._piles: list[IO[bytes]] = []
        for _ in range(_PILES):
            pile = tempfile.SpooledTemporaryFile(_IN_MEMORY)  # noqa: SIM115 - the stack closes it
            self._piles.append(self._open.enter_context(pile))

    def __enter__(self) -> Self:
        return self

    def __exit__(self, *_: object) -> None:
        self._open.close()

    def add_entries(self, entries: Iterable[LedgerEntry]) -> None:
        """Take what a ledger knows."""
        for entry in entries:
            known = _known(entry)
            if known is not Known.NOTHING:
                self._add(entry.request, 0, known)

    def add_row(self, row: Row) -> None:
        """Take a row of the file."""
        self._add(row, row.line, Known.NOTHING)

    def match(self) -> Match:
        """Compare."""
        match = Match()
        for pile in self._piles:
            pile.seek(0)
            repeats = list(_compare(pile.read(), match))
            match.repeats_in_all += len(repeats)
            match.repeats = heapq.nsmallest(REPEATS_KEPT, [*match.repeats, *repeats])
        return match

    def _add(self, claim: ClaimRequest, line: int, known: Known) -> None:
        number = hash((claim.badge_id, claim.owner_type, claim.reference_id))
        self._piles[number % _PILES].write(_CARD.pack(number, line, known))


def _compare(pile: bytes, match: Match) -> Iterator[tuple[int, int]]:
    """Count the rows of *pile*; yield those that repeat another."""
    known: dict[int, Known] = {}
    lines: dict[int, int] = {}
    for number, line, said in _CARD.iter_unpack(pile):
        if said:
            known[number] = Known(said)
            continue
        fate = known.get(number, Known.NOTHING)
        match.rows[fate] += 1
        first = lines.setdefault(number, line)
        if first == line:
            match.claims[fate] += 1
        else:
            yield line, first


def _known(entry: LedgerEntry) -> Known:
    match entry.outcome:
        case None:
            return Known.IN_DOUBT if entry.in_doubt else Known.NOTHING
        case outcome if outcome.status is ClaimStatus.REJECTED:
            return Known.REJECTED
        case outcome if outcome.status is ClaimStatus.FAILED:
            return Known.FAILED
        case _:
            return Known.HELD
