"""``bulk-claim --dry-run``: every row looked at, nothing sent."""

from __future__ import annotations

from collections.abc import Iterator

import attrs
from rich.text import Text

from badges_async import Quota
from badges_async.cli.exits import Exit
from badges_async.cli.files import RowFile
from badges_async.cli.output import clean, emit
from badges_async.cli.rows import BadRow, Row
from badges_async.cli.summary import bad_row_lines, duration
from badges_async.cli.tally import Tally

__all__ = ["check_file"]

_SHOWN = 5


@attrs.define
class _Findings:
    """
    What a file holds.

    Attributes:
        seen: The line of each claim, by hash: a million rows must fit, their texts need not.
        repeats: The first few (line, line of the same claim before it).
        blanks: The first few lines with an id that begins or ends with a blank.
    """

    tally: Tally = attrs.field(factory=Tally)
    seen: dict[int, int] = attrs.field(factory=dict)
    repeats: list[tuple[int, int]] = attrs.field(factory=list)
    repeats_in_all: int = 0
    blanks: list[int] = attrs.field(factory=list)
    blanks_in_all: int = 0

    def look_at(self, row: Row | BadRow) -> None:
        if isinstance(row, BadRow):
            self.tally.refused(row)
            return
        self.tally.good_rows += 1
        first = self.seen.setdefault(
            hash((row.badge_id, row.owner_type, row.reference_id)), row.line
        )
        if first != row.line:
            self.repeats_in_all += 1
            if len(self.repeats) < _SHOWN:
                self.repeats.append((row.line, first))
        if row.badge_id.strip() != row.badge_id or row.reference_id.strip() != row.reference_id:
            self.blanks_in_all += 1
            if len(self.blanks) < _SHOWN:
                self.blanks.append(row.line)


def check_file(rows: RowFile, quota: Quota | None) -> Exit:
    """Look at every row of *rows* and print what a run would do with them."""
    findings = _Findings()
    for row in rows:
        findings.look_at(row)
    tally = findings.tally
    head = [
        Text.assemble((clean(rows.name), "bold"), ": looked at every row, nothing was sent"),
    ]
    blocks = [head, list(_counts(findings))]
    if tally.bad_rows:
        lines = bad_row_lines(tally.first_bad, tally.bad_rows)
        blocks.append([Text("  Bad rows", "bold"), *lines])
    blocks.append([_verdict(findings, quota)])
    emit(Text("\n\n").join(Text("\n").join(block) for block in blocks))
    if not tally.good_rows:
        return Exit.USAGE
    return Exit.PROBLEMS if tally.bad_rows else Exit.OK


def _counts(findings: _Findings) -> Iterator[Text]:
    repeats = [f"line {line} repeats {first}" for line, first in findings.repeats]
    blanks = [f"line {line}" for line in findings.blanks]
    entries = [
        ("good rows", findings.tally.good_rows, "green", ""),
        ("bad rows", findings.tally.bad_rows, "red", ""),
        ("repeated", findings.repeats_in_all, "yellow", _few(repeats, findings.repeats_in_all)),
    ]
    if blanks:
        note = "ids with a blank at an end, kept as they are: "
        few = note + _few(blanks, findings.blanks_in_all)
        entries.append(("odd blanks", findings.blanks_in_all, "yellow", few))
    width = max(len(f"{count:,}") for _, count, _, _ in entries)
    for name, count, style, note in entries:
        text = f"  {name:<11} {count:>{width},}"
        yield Text.assemble((text, style if count else "dim"), (f"   {note}".rstrip(), "dim"))


def _few(shown: list[str], total: int) -> str:
    more = f", and {total - len(shown):,} more" if total > len(shown) else ""
    return ", ".join(shown) + more


def _verdict(findings: _Findings, quota: Quota | None) -> Text:
    count = findings.tally.good_rows
    if not count:
        return Text("There is no row to claim.", "bold red")
    claims = "1 claim" if count == 1 else f"{count:,} claims"
    if quota is None:
        return Text(f"A run would send {claims}.")
    # The first window's worth may go at once; every further one has to wait for its turn.
    least = duration(max(count - quota.limit, 0) * quota.per / quota.limit)
    return Text(f"A run would send {claims}, which takes about {least} with {quota}.")
