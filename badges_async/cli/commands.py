"""
``bulk-claim`` and ``ledger`` as they are typed.

Here: their options and what is said about them. Not here: the other commands and how all of them
end (`app`), what these two do (`bulk`, `check`, `ledger`).
"""

from __future__ import annotations

import contextlib
from pathlib import Path
from typing import Annotated

from cyclopts import Parameter

from badges_async import Quota
from badges_async.cli.bulk import bulk_claim
from badges_async.cli.check import check_file
from badges_async.cli.exits import UsageError
from badges_async.cli.files import Format, RowFile
from badges_async.cli.ledger import show_ledger
from badges_async.cli.options import NOWHERE, BulkOptions, Lane, Service

__all__ = ["FileName", "Flag", "bulk_claim_command", "ledger_command", "seconds"]

Flag = Annotated[bool, Parameter(negative="", show_default=False)]
# ``-`` is standard input or output.
FileName = Annotated[str, Parameter(allow_leading_hyphen=True)]
Files = Annotated[list[Path] | None, Parameter(negative="")]

_ENDLESS = 1e6  # seconds; also keeps out what is no number


def bulk_claim_command(
    file: FileName,
    /,
    *,
    format: Format | None = None,  # noqa: A002 - the option's name
    concurrency: int = 16,
    quota: str | None = None,
    lane: Lane = "auto",
    ledger: Path | None = None,
    grace: float = 10.0,
    report: Files = None,
    problems: Path | None = None,
    dry_run: Flag = False,
    no_progress: Flag = False,
    service: Service = NOWHERE,
) -> int:
    """
    Claim every row of a file.

    A .csv needs a header with badge_id, owner_type and reference_id (or the API's badgeId,
    ownerType, referenceId), a .jsonl an object with these keys on every line. Ids stay byte for
    byte. A bad row is reported with its line and nothing is sent for it. A claim on several lines
    is sent once and reported for each of them. Ctrl-C lets what is in flight finish, a second one
    does not.

    With --ledger the same command goes on where it was killed or stopped: what is settled is not
    sent again, failed claims are.

    Exit codes: 0 all well; 1 some claims rejected or failed, or rows bad; 2 wrong usage or input,
    or a ledger that is in use or another's; 3 stopped by an outage, by authentication, or by a
    ledger that can no longer be written; 130 interrupted.

    Args:
        file: The file, or - for standard input.
        format: Of a file whose name does not tell; standard input is CSV unless this says jsonl.
        concurrency: Claims in flight at most.
        quota: Requests in any window, such as 100/60s; without it, as fast as the service answers.
        lane: How requests travel.
        ledger: Keep what is claimed and what became of it in this file, made if it is not there.
        grace: Seconds that what is in flight may take after Ctrl-C.
        report: Write the account of the run to this file: run.html is a page with plots, anything
            else JSON. Repeatable.
        problems: Write every row that is not claimed to this file, as JSON lines.
        dry_run: Look at every row, send nothing; with --ledger, tell what it would skip.
        no_progress: Show nothing while it runs.
    """
    limit = None if quota is None else Quota.parse(quota)
    with contextlib.closing(RowFile(file, format)) as rows:
        if dry_run:
            return check_file(rows, limit, ledger)
        options = BulkOptions(
            concurrency=concurrency,
            quota=limit,
            lane=lane,
            ledger=ledger,
            grace=seconds("--grace", grace),
            reports=report or (),
            problems=problems,
            progress=not no_progress,
        )
        return bulk_claim(service, rows, options)


def ledger_command(
    file: Path,
    /,
    *,
    json: Flag = False,
    export: FileName | None = None,
    status: str | None = None,
) -> int:
    """
    Show where a ledger stands, also while a run uses it or after one was killed.

    Exit codes: 0 every claim is settled, or the export is written; 1 some are not: pending, in
    doubt or failed; 2 wrong usage, or a file that is no ledger.

    Args:
        file: The ledger.
        json: Print it as JSON.
        export: Write claims to this file, or - for standard output, as CSV that bulk-claim reads.
        status: Which ones: some of CLAIMED, ALREADY_CLAIMED, REJECTED, FAILED, PENDING, IN_DOUBT,
            with commas between; FAILED unless this says otherwise.
    """
    return show_ledger(file, as_json=json, export_to=export, statuses=status)


def seconds(option: str, value: float) -> float:
    """
    Give *value*, a number of seconds.

    Raises:
        UsageError: It is none.
    """
    if not 0 <= value < _ENDLESS:
        raise UsageError(f"{option} is a number of seconds, 0 or more")
    return value
