"""
``ledger``: where a ledger stands, also while a run uses it and after one was killed.

Here: the picture for people and the object for machines. Not here: the file for `bulk-claim`
(`export`), the line below a run's summary (`standing`).
"""

from __future__ import annotations

import json
import time
from collections.abc import Iterator, Mapping
from datetime import UTC, datetime
from itertools import islice
from pathlib import Path
from typing import Any

from rich.text import Text

from badges_async import ClaimStatus, LedgerEntry, LedgerReader, LedgerStanding
from badges_async.cli.exits import Exit, UsageError
from badges_async.cli.export import export, read_statuses
from badges_async.cli.keeper import files_of, refused
from badges_async.cli.output import clean, emit
from badges_async.cli.record import check_apart, check_writable
from badges_async.cli.standing import Standing, claims
from badges_async.cli.summary import duration, shortened
from badges_async.cli.tally import cause_of, message_of

__all__ = ["SCHEMA", "show_ledger"]

SCHEMA = "badges_async.ledger/1"

_CAUSES_SHOWN = 8
# Of so many claims that went wrong some are looked at for an example; a million take long.
_LOOKED_AT = 50_000


def show_ledger(
    path: Path, *, as_json: bool = False, export_to: str | None = None, statuses: str | None = None
) -> Exit:
    """
    Print where the ledger at *path* stands, or write some of its claims to a file.

    Raises:
        UsageError: It is no ledger or cannot be read, or an option makes no sense.
        OutputError: The file could not be written.
    """
    if statuses is not None and export_to is None:
        raise UsageError("--status says what --export FILE writes; give both")
    if as_json and export_to == "-":
        raise UsageError("--json and --export - would both write to standard output")
    wanted = read_statuses(statuses or str(ClaimStatus.FAILED))
    if export_to not in {None, "-"}:
        check_apart(*files_of(path), Path(str(export_to)))
        check_writable(Path(str(export_to)))
    with refused(), LedgerReader.open(path) as reader:
        if export_to == "-":
            export(reader, export_to, wanted)
            return Exit.OK
        sums = reader.standing()
        emit(_picture(path, sums, reader) if not as_json else _document(path, sums, reader))
        if export_to is None:
            return Exit.PROBLEMS if sums.unsettled else Exit.OK
        count = export(reader, export_to, wanted)
    if not as_json:
        emit(Text(f"\n{claims(count)} written to {clean(export_to)}.", "green"))
    return Exit.OK


def _examples(reader: LedgerReader, sums: LedgerStanding) -> Mapping[str, LedgerEntry]:
    """Give a claim for each cause of errors, as far as one is found soon."""
    found: dict[str, LedgerEntry] = {}
    if not sums.errors:
        return found
    wrong = reader.entries([ClaimStatus.REJECTED, ClaimStatus.FAILED])
    for entry in islice(wrong, _LOOKED_AT):
        if entry.outcome is not None and entry.outcome.error is not None:
            found.setdefault(cause_of(entry.outcome.error), entry)
        if len(found) >= len(sums.errors):
            break
    return found


def _document(path: Path, sums: LedgerStanding, reader: LedgerReader) -> Text:
    examples = _examples(reader, sums)
    until = sums.paused_until
    values = {
        "schema": SCHEMA,
        **Standing(path.name, sums).as_values(),
        "host": sums.host,
        "in_use": sums.in_use,
        "paused_until": None if until is None else datetime.fromtimestamp(until, UTC).isoformat(),
        "errors": {
            cause: {"count": count, "example": _example(examples.get(cause))}
            for cause, count in sums.errors.items()
        },
    }
    return Text(json.dumps(values, ensure_ascii=False, indent=2))


def _example(entry: LedgerEntry | None) -> dict[str, Any] | None:
    if entry is None or entry.outcome is None:
        return None
    request = entry.request
    return {
        "badge_id": request.badge_id,
        "owner_type": str(request.owner_type),
        "reference_id": request.reference_id,
        "attempts": entry.outcome.attempts,
        "message": _said(entry),
    }


def _picture(path: Path, sums: LedgerStanding, reader: LedgerReader) -> Text:
    parts = (_head(path, sums), _counts(sums), _causes(sums, reader), _state(sums))
    blocks = [Text("\n").join(lines) for part in parts if (lines := list(part))]
    return Text("\n\n").join([*blocks, _verdict(sums)])


def _head(path: Path, sums: LedgerStanding) -> Iterator[Text]:
    whose = f" for {clean(sums.host)}" if sums.host else ", no run has used it yet"
    yield Text.assemble((clean(path.name), "bold"), f": {claims(sums.total)}{whose}")


def _counts(sums: LedgerStanding) -> Iterator[Text]:
    counts = sums.counts
    recovered = f"{sums.recovered:,} recovered after a lost answer" if sums.recovered else ""
    failed, already = counts[ClaimStatus.FAILED], counts[ClaimStatus.ALREADY_CLAIMED]
    lines = [
        ("claimed", counts[ClaimStatus.CLAIMED], "green", ""),
        ("already claimed", already, "green", recovered),
        ("rejected", counts[ClaimStatus.REJECTED], "red", ""),
        ("failed", failed, "yellow", "may be held or not; a run sends them again"),
        ("in doubt", sums.in_doubt, "yellow", "perhaps sent, no answer known; a run asks again"),
        ("pending", sums.pending, "", "not sent yet"),
    ]
    width = max(len(f"{count:,}") for _, count, _, _ in lines)
    for name, count, style, note in lines:
        text = f"  {name:<15} {count:>{width},}"
        tail = f"   {note}" if note and count else ""
        yield Text.assemble((text, style if count else "dim"), (tail, "dim"))


def _causes(sums: LedgerStanding, reader: LedgerReader) -> Iterator[Text]:
    causes = sorted(sums.errors.items(), key=lambda item: (-item[1], item[0]))
    if not causes:
        return
    yield Text("  Errors", "bold")
    examples = _examples(reader, sums)
    shown = causes[:_CAUSES_SHOWN]
    names = [f"code {cause}" if cause.isdigit() else clean(cause) for cause, _ in shown]
    name_width, width = max(map(len, names)), max(len(f"{count:,}") for _, count in shown)
    for name, (cause, count) in zip(names, shown, strict=True):
        said = _in_words(examples[cause]) if cause in examples else ""
        yield Text(f"  {name:<{name_width}}  {count:>{width},}  {said}".rstrip())
    if len(causes) > _CAUSES_SHOWN:
        yield Text(f"  and {len(causes) - _CAUSES_SHOWN} more causes", "dim")


def _in_words(entry: LedgerEntry) -> str:
    request = entry.request
    whose = f"{request.owner_type} {request.reference_id}, badge {request.badge_id}"
    return f"such as {shortened(whose)}: {shortened(_said(entry))}"


def _said(entry: LedgerEntry) -> str:
    error = None if entry.outcome is None else entry.outcome.error
    return "" if error is None else message_of(error)


def _state(sums: LedgerStanding) -> Iterator[Text]:
    if sums.in_use:
        yield Text("  A run uses it now, or the last one was cut off.")
    left = 0.0 if sums.paused_until is None else sums.paused_until - time.time()
    if left > 0:
        yield Text(f"  The service asked to send nothing for {duration(left)} more.", "yellow")


def _verdict(sums: LedgerStanding) -> Text:
    if not sums.total:
        return Text("It holds no claim.")
    if not sums.unsettled:
        return Text(f"All settled: no run would send any of the {claims(sums.total)}.", "green")
    rest = f"{sums.unsettled:,} of {claims(sums.total)} not settled"
    return Text(f"{rest}: the same bulk-claim command goes on with them.", "bold yellow")
