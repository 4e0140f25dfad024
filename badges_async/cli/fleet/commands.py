"""
``badges-async worker``: its commands and their options, as they are typed.

Here: what is typed, checked and turned into calls, and what is said about it. Not here: what the
commands do.
"""

from __future__ import annotations

import contextlib
import math
from typing import Annotated

from cyclopts import App, Parameter

from badges_async.cli.commands import FileName, Flag, seconds
from badges_async.cli.exits import UsageError
from badges_async.cli.files import Format, RowFile
from badges_async.cli.fleet import letters
from badges_async.cli.fleet.accounts import Account
from badges_async.cli.fleet.enqueueing import EnqueueOptions, enqueue_file
from badges_async.cli.fleet.options import SOMEWHERE, Place, read_age, read_quotas
from badges_async.cli.fleet.running import RunOptions, run_worker
from badges_async.cli.fleet.standing import show_standing
from badges_async.cli.options import NOWHERE, Lane, Service

__all__ = ["worker"]

Quotas = Annotated[list[str] | None, Parameter(negative="")]
Concurrency = Annotated[int, Parameter(env_var="BADGES_CONCURRENCY")]
Lease = Annotated[float, Parameter(env_var="BADGES_LEASE")]

worker = App(name="worker", help="Claim badges as a fleet: workers that share a Redis stream.")
dlq = App(name="dlq", help="Look after the dead letters: events that no worker could settle.")
worker.command(dlq)


@worker.command
def run(
    *,
    place: Place = SOMEWHERE,
    concurrency: Concurrency = 64,
    quota: Quotas = None,
    guard: float = 0.35,
    lease: Lease = 60.0,
    max_deliveries: int = 5,
    grace: float = 20.0,
    outage_patience: float | None = None,
    once: Flag = False,
    outcomes: float | None = None,
    lane: Lane = "auto",
    metrics_port: int | None = None,
    metrics_host: str = "127.0.0.1",
    json: Flag = False,
    no_progress: Flag = False,
    service: Service = NOWHERE,
) -> int:
    """
    Claim what comes on the stream, until it is told to stop.

    Start as many as you like, on as many machines: they share the stream, and the quota of an
    account. A claim is sent again when a worker was killed or an answer was lost, and is then
    recovered, not made twice. What the service refuses for good, and what failed in every
    delivery, becomes a dead letter, which is kept for 30 days.

    SIGTERM or Ctrl-C drains: nothing new is taken, what is in flight may finish, the rest is
    handed back. A second signal stops at once. While Redis or the service is away, it waits.

    Exit codes: 0 drained, or with --once the stream is empty; 1 likewise, and some claims are dead
    letters now; 2 wrong usage, or Redis is not there or refuses us at the start; 3 stopped by an
    outage, by authentication, or by Redis; 130 stopped at once by a second signal.

    Args:
        concurrency: Claims in flight at most, for each quota.
        quota: Requests of the whole fleet in any window, such as 100/60s; several limits as
            100/10s,20/1s; NAME=100/60s for events that name a quota. Repeatable; an event
            under a quota that is not given becomes a dead letter. Without any, as
            fast as the service answers.
        guard: Seconds by which the network may change the distance of two requests; each window
            of a quota is kept longer by it.
        lease: Seconds after which the events of a worker that was killed are another's.
        max_deliveries: A claim that failed so often is a dead letter.
        grace: Seconds that what is in flight may take after the first signal.
        outage_patience: Seconds without an answer from the service, after which it gives up; for
            ever unless this says otherwise.
        once: End when the stream is empty and nobody holds anything.
        outcomes: Write what became of each claim to a stream beside it, and keep it so many
            seconds.
        lane: How requests travel.
        metrics_port: Serve metrics for Prometheus on this port; 0 picks a free one.
        metrics_host: Where they are served.
        json: Print the summary as JSON.
        no_progress: Show nothing while it runs.
    """
    account = Account.of(
        service, read_quotas(quota or ()), guard=guard, concurrency=concurrency, lane=lane
    )
    options = RunOptions(
        lease=seconds("--lease", lease),
        max_deliveries=max_deliveries,
        grace=seconds("--grace", grace),
        once=once,
        outage_patience=_or_for_ever("--outage-patience", outage_patience),
        outcomes=None if outcomes is None else seconds("--outcomes", outcomes),
        metrics_port=metrics_port,
        metrics_host=metrics_host,
        as_json=json,
        progress=not no_progress,
    )
    return run_worker(place, account, options)


@worker.command
def enqueue(
    file: FileName,
    /,
    *,
    format: Format | None = None,  # noqa: A002 - the option's name
    label: str = "",
    quota_name: str | None = None,
    most_waiting: int | None = None,
    json: Flag = False,
    no_progress: Flag = False,
    place: Place = SOMEWHERE,
) -> int:
    """
    Put every row of a file on the stream.

    The file is as bulk-claim takes it: .csv or .jsonl. A bad row is reported with its line and
    does not stop the rest. The same command goes on where it was killed or stopped, and adds no
    row twice; of a file that has grown it adds the new rows. The stream knows what was added for
    30 days.

    Exit codes: 0 every row is on the stream; 1 some rows are bad; 2 wrong usage or input, or Redis
    is not there or refuses us; 130 interrupted.

    Args:
        file: The file, or - for standard input.
        format: Of a file whose name does not tell; standard input is CSV unless this says jsonl.
        label: The same rows under another label are added once more.
        quota_name: Under which of the workers' quotas the claims fall, such as a brand.
        most_waiting: Wait while more events than that are on the stream.
        json: Print the counts as JSON.
        no_progress: Show nothing while it runs.
    """
    if most_waiting is not None and most_waiting < 1:
        raise UsageError("--most-waiting must be at least 1")
    if quota_name is not None and not (quota_name.isprintable() and quota_name.strip()):
        raise UsageError("--quota-name is the name of one of the workers' quotas")
    options = EnqueueOptions(
        label=label,
        quota_name=quota_name,
        most_waiting=most_waiting,
        as_json=json,
        progress=not no_progress,
    )
    with contextlib.closing(RowFile(file, format)) as rows:
        return enqueue_file(place, rows, options)


@worker.command
def status(*, json: Flag = False, place: Place = SOMEWHERE) -> int:
    """
    Show where the stream stands: what waits, who works, how much of each quota is used.

    Args:
        json: Print it as JSON.
    """
    return show_standing(place, as_json=json)


@dlq.command(name="list")
def list_letters(
    *,
    reason: str | None = None,
    limit: int = 50,
    json: Flag = False,
    place: Place = SOMEWHERE,
) -> int:
    """
    List dead letters, the newest first.

    Args:
        reason: Only these: rejected, exhausted, invalid, unreadable, unknown_version,
            unknown_quota or abandoned.
        limit: At most so many.
        json: Print them as JSON lines.
    """
    if limit < 1:
        raise UsageError("--limit must be at least 1")
    return letters.list_letters(place, reason=reason, limit=limit, as_json=json)


@dlq.command(name="show")
def show_letter(letter: str, /, *, json: Flag = False, place: Place = SOMEWHERE) -> int:
    """
    Show one dead letter, with its message as it was sent.

    Exit codes: 0 it is there; 1 it is not.

    Args:
        letter: Its id, as list shows it.
        json: Print it as JSON.
    """
    return letters.show_letter(place, letter, as_json=json)


@dlq.command(name="requeue")
def requeue_letters(
    *ids: str,
    all: Flag = False,  # noqa: A002 - the option's name
    reason: str | None = None,
    json: Flag = False,
    place: Place = SOMEWHERE,
) -> int:
    """
    Put dead letters back on the stream, as if they had never been delivered.

    Exit codes: 0 done; 1 some of the ids are not there.

    Args:
        ids: Which ones, as list shows them.
        all: Every one of them.
        reason: Of all only those with this reason.
        json: Print the count as JSON.
    """
    chosen = letters.Choice.of(ids, everything=all, reason=reason)
    return letters.requeue_letters(place, chosen, as_json=json)


@dlq.command(name="purge")
def purge_letters(
    *ids: str,
    all: Flag = False,  # noqa: A002 - the option's name
    reason: str | None = None,
    older_than: str | None = None,
    json: Flag = False,
    place: Place = SOMEWHERE,
) -> int:
    """
    Throw dead letters away, for good.

    Exit codes: 0 done; 1 some of the ids are not there.

    Args:
        ids: Which ones, as list shows them.
        all: Every one of them.
        reason: Of all only those with this reason.
        older_than: Of all only those of an age such as 12h or 7d.
        json: Print the count as JSON.
    """
    age = None if older_than is None else read_age(older_than)
    chosen = letters.Choice.of(ids, everything=all, reason=reason, older_than=age)
    return letters.purge_letters(place, chosen, as_json=json)


def _or_for_ever(option: str, value: float | None) -> float:
    return math.inf if value is None else seconds(option, value)
