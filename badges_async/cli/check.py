"""
``bulk-claim --dry-run``: every row looked at, nothing sent.

Here: what is said about a file and about what a run would do. Not here: how its claims are compared
with each other and with a ledger (`matching`).
"""

from __future__ import annotations

import time
from collections.abc import Iterator
from pathlib import Path

import attrs
from rich.text import Text

from badges_async import LedgerReader, LedgerStanding, Quota
from badges_async.cli.exits import Exit
from badges_async.cli.files import RowFile
from badges_async.cli.headway import quota_seconds
from badges_async.cli.keeper import files_of, refused
from badges_async.cli.matching import Known, Match, Piles
from badges_async.cli.output import clean, emit
from badges_async.cli.record import check_apart
from badges_async.cli.rows import BadRow, Row
from badges_async.cli.standing import claims
from badges_async.cli.summary import bad_row_lines, duration
from badges_async.cli.tally import Tally

__all__ = ["check_file"]

_SHOWN = 5


@attrs.define
class _Findings:
    """
    What a file holds.

    Attributes:
        match: What its claims have in common with each other and with the ledger.
        blanks: The first few lines with an id that begins or ends with a blank.
        ledger: The ledger's path, if one was named.
        sums: Where it stands, if it is there.
    """

    tally: Tally = attrs.field(factory=Tally)
    match: Match = attrs.field(factory=Match)
    blanks: list[int] = attrs.field(factory=list)
    blanks_in_all: int = 0
    ledger: Path | None = None
    sums: LedgerStanding | None = None

    def look_at(self, row: Row | BadRow, piles: Piles) -> None:
        if isinstance(row, BadRow):
            self.tally.refused(row)
            return
        self.tally.pulled(row)
        piles.add_row(row)
        if row.badge_id.strip() != row.badge_id or row.reference_id.strip() != row.reference_id:
            self.blanks_in_all += 1
            if len(self.blanks) < _SHOWN:
                self.blanks.append(row.line)

    def look_into(self, piles: Piles) -> None:
        """Read the ledger, and never make it."""
        if self.ledger is None or not self.ledger.exists():
            return
        with refused(), LedgerReader.open(self.ledger) as reader:
            self.sums = reader.standing()
            piles.add_entries(reader.entries())


def check_file(rows: RowFile, quota: Quota | None, ledger: Path | None = None) -> Exit:
    """
    Look at every row of *rows* and print what a run would do with them.

    Raises:
        UsageError: The ledger cannot be read, or is the file itself.
        OSError: A large file needs room for temporary ones, and there is none.
    """
    check_apart(rows.path, *([] if ledger is None else files_of(ledger)))
    findings = _Findings(ledger=ledger)
    with Piles() as piles:
        findings.look_into(piles)
        for row in rows:
            findings.look_at(row, piles)
        findings.match = piles.match()
    _tell(rows.name, findings, quota)
    tally = findings.tally
    if not tally.good_rows:
        return Exit.USAGE
    wrong = tally.bad_rows or findings.match.rows[Known.REJECTED]
    return Exit.PROBLEMS if wrong else Exit.OK


def _tell(name: str, findings: _Findings, quota: Quota | None) -> None:
    tally = findings.tally
    head = Text.assemble((clean(name), "bold"), ": looked at every row, nothing was sent")
    blocks = [[head], list(_counts(findings))]
    if tally.bad_rows:
        lines = bad_row_lines(tally.first_bad, tally.bad_rows)
        blocks.append([Text("  Bad rows", "bold"), *lines])
    blocks += [list(_known(findings)), [_verdict(findings, quota)]]
    emit(Text("\n\n").join(Text("\n").join(block) for block in blocks if block))


def _counts(findings: _Findings) -> Iterator[Text]:
    match = findings.match
    repeats = [f"line {line} repeats {first}" for line, first in match.repeats]
    blanks = [f"line {line}" for line in findings.blanks]
    entries = [
        ("good rows", findings.tally.good_rows, "green", ""),
        ("bad rows", findings.tally.bad_rows, "red", ""),
        ("repeated", match.repeats_in_all, "yellow", _few(repeats, match.repeats_in_all)),
    ]
    if blanks:
        note = "ids with a blank at an end, kept as they are: "
        few = note + _few(blanks, findings.blanks_in_all)
        entries.append(("odd blanks", findings.blanks_in_all, "yellow", few))
    yield from _lines(entries)


def _known(findings: _Findings) -> Iterator[Text]:
    """Say what the ledger knows of the rows."""
    match = findings.match
    if findings.ledger is None:
        return
    name = clean(findings.ledger.name)
    if findings.sums is None:
        yield Text(f"  {name} is not there yet; a run would make it.")
        return
    whose = f", the ledger for {clean(findings.sums.host)}" if findings.sums.host else ""
    yield Text.assemble((f"  Of {name}", "bold"), (f"{whose}", "dim"))
    rejected = match.rows[Known.REJECTED]
    refused_before = f"; {rejected:,} of them rejected" if rejected else ""
    yield from _lines(
        [
            ("settled", match.settled, "green", f"not sent again{refused_before}"),
            ("failed", match.rows[Known.FAILED], "yellow", "sent again"),
            ("in doubt", match.rows[Known.IN_DOUBT], "yellow", "sent again"),
            ("new", match.rows[Known.NOTHING], "", ""),
        ]
    )


def _lines(entries: list[tuple[str, int, str, str]]) -> Iterator[Text]:
    width = max(len(f"{count:,}") for _, count, _, _ in entries)
    for name, count, style, note in entries:
        text = f"  {name:<11} {count:>{width},}"
        said = f"   {note}".rstrip() if count else ""
        yield Text.assemble((text, style if count else "dim"), (said, "dim"))


def _few(shown: list[str], total: int) -> str:
    more = f", and {total - len(shown):,} more" if total > len(shown) else ""
    return ", ".join(shown) + more


def _verdict(findings: _Findings, quota: Quota | None) -> Text:
    match = findings.match
    if not findings.tally.good_rows:
        return Text("There is no row to claim.", "bold red")
    if not match.to_send:
        return Text("A run would send nothing: every claim is settled.", "green")
    again = f", {match.again:,} of them again" if match.again else ""
    takes = _takes(match.to_send, findings.sums, quota)
    return Text(f"A run would send {claims(match.to_send)}{again}{takes}.")


def _takes(count: int, sums: LedgerStanding | None, quota: Quota | None) -> str:
    pause = 0.0 if sums is None or sums.paused_until is None else sums.paused_until - time.time()
    first = f" after a pause of {duration(pause)} that the service asked for" if pause > 0 else ""
    if quota is None:
        return first
    # What went out in the window before, as the ledger knows, may make it a window longer.
    return f"{first}, which takes about {duration(quota_seconds(count, quota))} with {quota}"
