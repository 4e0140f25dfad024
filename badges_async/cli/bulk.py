"""
``bulk-claim``: a file of claims through the library, and a true account of it.

Here: what is needed before a run, and what is told after it. Not here: the run (`running`), its
ledger (`keeper`), showing (`progress`, `summary`), or anything about how a claim is made.
"""

from __future__ import annotations

from collections.abc import Callable
from datetime import UTC, datetime

from badges_async import BadgesClient, ClaimOutcome
from badges_async.cli import loops, page, record
from badges_async.cli.ending import Ending
from badges_async.cli.exits import Exit, OutputError, in_words
from badges_async.cli.files import RowFile
from badges_async.cli.keeper import Keeper, files_of
from badges_async.cli.options import BulkOptions, Service
from badges_async.cli.output import complain, emit
from badges_async.cli.running import FileRun, Listener
from badges_async.cli.standing import Standing
from badges_async.cli.summary import summarise
from badges_async.cli.tally import Tally

__all__ = ["bulk_claim", "claim_file", "conclude"]

_PAGES = (".html", ".htm")


def bulk_claim(service: Service, rows: RowFile, options: BulkOptions) -> Exit:
    """
    Claim every good row of *rows*; print the summary, write the record.

    Raises:
        UsageError: Something is missing or of no use; nothing was sent.
        InvalidInputError: Likewise.
        LedgerError: There is no room for the ledger; nothing was sent.
    """
    ledger = [] if options.ledger is None else files_of(options.ledger)
    record.check_apart(rows.path, *options.reports, options.problems, *ledger)
    for path in (*options.reports, options.problems):
        if path is not None:
            record.check_writable(path)
    host = service.address()
    listener = Listener()
    client = service.client(
        quota=options.quota,
        lane=options.lane,
        max_connections=options.connections,
        observers=[listener],
    )
    ending = loops.run(claim_file(client, host, rows, options, listener=listener))
    return conclude(ending, options)


def conclude(ending: Ending, options: BulkOptions) -> Exit:
    """Write the reports, print the summary, give the exit code."""
    code = ending.exit
    for path in options.reports:
        write = page.write if path.suffix.lower() in _PAGES else record.write
        try:
            write(path, ending)
        except OSError as error:
            complain(f"the report {path} was not written: {error.strerror or error}")
            code = code or Exit.PROBLEMS
    if ending.problems_lost is not None:
        reason = ending.problems_lost.strerror or ending.problems_lost
        complain(f"{options.problems} is not complete: {reason}")
        code = code or Exit.PROBLEMS
    if ending.stopped_by is not None and not (ending.report.total or ending.report.skipped):
        # Wrong password, wrong host: a table of zeros would only hide the reason.
        complain(f"{in_words(ending.stopped_by)}. Nothing was claimed.")
        return code
    try:
        emit(summarise(ending))
    except OutputError as error:  # whatever else went wrong is the better exit code
        complain(in_words(error))
        code = code or Exit.PROBLEMS
    return code


async def claim_file(
    client: BadgesClient,
    host: str,
    rows: RowFile,
    options: BulkOptions,
    *,
    listener: Listener | None = None,
    on_outcome: Callable[[ClaimOutcome], None] | None = None,
) -> Ending:
    """
    Run *rows* through *client*, which is closed in the end.

    Two signals end it early, see `StopSignals`; an error that stops the run is part of the ending.

    Args:
        listener: One of the client's observers.
        on_outcome: Called with every outcome.

    Raises:
        UsageError: The ledger cannot be used, or the file of problems not be made.
        LedgerError: There is no room for the ledger.
    """
    began = datetime.now(UTC)
    async with client, Keeper(options.ledger) as keeper:
        with record.ProblemFile(options.problems) as problems:
            tally = Tally(on_problem=problems.add)
            run = FileRun(rows, options, tally, listener or Listener(), on_outcome)
            report = await run.to_its_end(client, keeper)
    return Ending(
        file=rows.name,
        host=host,
        options=options.as_values(),
        report=report,
        tally=tally,
        timeline=run.listener.timeline,
        unsettled=run.unsettled,
        in_doubt=None if keeper.standing is None else keeper.standing.in_doubt,
        ledger=_standing(keeper),
        resumes=options.ledger is not None,
        stop=run.stop,
        stopped_by=run.stopped_by,
        problems_lost=problems.lost,
        began=began,
        ended=datetime.now(UTC),
    )


def _standing(keeper: Keeper) -> Standing | None:
    if keeper.path is None or keeper.standing is None:
        return None
    return Standing(keeper.path.name, keeper.standing)
