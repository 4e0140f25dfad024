"""
The commands of `badges-async`, their options, and how each ends.

Here: what is typed, turned into calls; errors turned into one line and an exit code. Not here: what
a command does, and the commands with the most options (`commands`).
"""

from __future__ import annotations

import sys
import traceback
from collections.abc import Sequence
from typing import Annotated

from cyclopts import App, CycloptsError, Parameter

from badges_async import BadgesError, SortOrder
from badges_async.cli import single
from badges_async.cli.commands import Flag, bulk_claim_command, ledger_command
from badges_async.cli.demo import DemoOptions, run_demo
from badges_async.cli.exits import Exit, OutputError, UsageError, exit_for, in_words
from badges_async.cli.fleet.commands import worker
from badges_async.cli.fleet.options import check_no_password
from badges_async.cli.options import NOWHERE, Service
from badges_async.cli.output import complain, prepare_streams, silence
from badges_async.cli.service import AlreadyClaimed, SandboxOptions, serve
from badges_async.cli.version import installed_version

__all__ = ["run"]

Faults = Annotated[list[str] | None, Parameter(negative="", name="--fault")]
Hidden = Annotated[bool, Parameter(negative="", show=False)]

app = App(
    name="badges-async",
    help="Claim Capillary badges, one or a million, and say truthfully what became of each.",
    version=installed_version,
)
app.command(bulk_claim_command, name="bulk-claim")
app.command(ledger_command, name="ledger")
app.command(worker)

# What people try first; they must not find a secret echoed back at them.
_INSTEAD = "BADGES_PASSWORD or BADGES_CLIENT_SECRET, or give --password-file or --secret-file"
_SECRET_OPTIONS = {
    "--password": _INSTEAD,
    "--secret": _INSTEAD,
    "--client-secret": _INSTEAD,
    "--redis-password": "BADGES_REDIS_PASSWORD, or give --redis-password-file",
}


def run(arguments: Sequence[str]) -> int:
    """Run the command line *arguments*; give the exit code."""
    prepare_streams()
    try:
        return _run(arguments)
    except KeyboardInterrupt:
        return Exit.INTERRUPTED
    except BrokenPipeError:
        silence(sys.stdout)
        return Exit.OK
    except (UsageError, OutputError, BadgesError, OSError) as error:
        complain(in_words(error))
        return exit_for(error)
    except Exception:  # noqa: BLE001 - a bug: whoever reports it needs to see all of it
        traceback.print_exc()
        return Exit.PROBLEMS


def _run(arguments: Sequence[str]) -> int:
    _refuse_secrets(arguments)
    try:
        # Not app(): what it prints and how it exits differs between the releases that we allow.
        command, bound, _ = app.parse_args(arguments, exit_on_error=False, print_error=False)
    except CycloptsError as error:
        raise UsageError(f"{error} (badges-async --help)") from None
    return command(*bound.args, **bound.kwargs) or Exit.OK


def _refuse_secrets(arguments: Sequence[str]) -> None:
    for argument in arguments:
        name, _, value = argument.partition("=")
        if name in _SECRET_OPTIONS:
            raise UsageError(
                f"there is no {name}: others on this machine could read it. "
                f"Set {_SECRET_OPTIONS[name]}"
            )
        check_no_password(value if name.startswith("--") else argument)


@app.command
def demo(
    *,
    rows: int = 3000,
    concurrency: int = 32,
    seed: int = 1,
    no_progress: Flag = False,
) -> int:
    """
    Show the main job: a bad day's service, a file of claims, and the proof of the report.

    Args:
        rows: Rows of the file.
        concurrency: Claims in flight at most.
        seed: Decides the file and the faults.
        no_progress: Show nothing while it runs.
    """
    if rows < 1:
        raise UsageError("--rows must be at least 1")
    options = DemoOptions(rows=rows, concurrency=concurrency, seed=seed, progress=not no_progress)
    return run_demo(options)


@app.command
def get(
    badge_id: str,
    /,
    *,
    include_statistics: Flag = False,
    limit: int | None = None,
    order: SortOrder | None = None,
    json: Flag = False,
    service: Service = NOWHERE,
) -> int:
    """
    Show a badge.

    Args:
        badge_id: Its id.
        include_statistics: With how often it was issued and earned.
        limit: As the API has it.
        order: As the API has it.
        json: Print the API's JSON.
    """
    return single.get(
        service.client(),
        badge_id,
        include_statistics=include_statistics or None,
        limit=limit,
        order=order,
        as_json=json,
    )


@app.command
def claim(
    badge_id: str,
    owner: str,
    reference: str,
    /,
    *,
    json: Flag = False,
    service: Service = NOWHERE,
) -> int:
    """
    Claim one badge. One that is already claimed is fine.

    Args:
        badge_id: The badge's id.
        owner: The owner type, such as Loyalty or Journeys.
        reference: The owner's reference id.
        json: Print the answer as JSON.
    """
    return single.claim(service.client(), badge_id, owner, reference, as_json=json)


@app.command
def unclaim(
    badge_id: str,
    owner: str,
    reference: str,
    /,
    *,
    json: Flag = False,
    service: Service = NOWHERE,
) -> int:
    """
    Take back one claim.

    Args:
        badge_id: The badge's id.
        owner: The owner type, such as Loyalty or Journeys.
        reference: The owner's reference id.
        json: Print the answer as JSON.
    """
    return single.unclaim(service.client(), badge_id, owner, reference, as_json=json)


@app.command
def sandbox(
    *,
    port: int = 0,
    quota: str | None = None,
    latency: float = 0.0,
    fault: Faults = None,
    seed: int = 0,
    badges: int = 100,
    already_claimed: AlreadyClaimed = "warning",
    until_eof: Hidden = False,
) -> int:
    """
    Run the embedded service on this machine until Ctrl-C.

    Args:
        port: 0 picks a free one.
        quota: Requests in any window, such as 100/60s; beyond it the answer is 429.
        latency: Seconds that every answer takes.
        fault: KIND=RATE, such as reset-after=0.05; everyday=0.15 is a mixture. Repeatable.
        seed: Decides the faults.
        badges: Badges beside the samples.
        already_claimed: How code 900 is answered.
        until_eof: End when standard input ends.
    """
    options = SandboxOptions(
        port=port,
        quota=quota,
        latency=latency,
        faults=fault or (),
        seed=seed,
        badges=badges,
        already_claimed=already_claimed,
        until_eof=until_eof,
    )
    return serve(options)
