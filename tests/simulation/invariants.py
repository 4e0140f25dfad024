"""
What must hold, whatever goes wrong: the numbers are those of the reliability plan.

Here: judging, as functions of a world and its history. Not here: what a `process` finds out by
itself: I9 (it ends, and never runs without time going by), I14 (no permit, task or complaint is
left, also when everything is cancelled at once), I15 (no more tasks than concurrency allows).

- I1 each row of the input is in the ledger once, and nothing else is; a second of the same claim
  has the same outcome.
- I2 what is told as claimed is held. I12 what is told as rejected was refused, and is not held.
- I3 no more requests at once than connections, no more claims than the run's concurrency.
- I4 no window of the quota holds more requests than it allows, across kills and restarts.
- I5 no claim is tried more often than the policy allows, as far as the tries count: none of those
  during which the run took the service to be down, and one more after each such time.
- I6 reports add up to what was told; nobody is given another exception than ours.
- I7 what has left is in the ledger as possibly sent.
- I8 nothing is sent in a pause that the service asked for, after a restart neither.
- I10 nothing is begun after a drain, or after the run was cancelled.
- I11 one token is asked for at a time.
- I13 what was told is in the ledger, after any crash.
- I16 what is told of the past is true: new is new, ours is ours, and what cannot have taken effect
  has not.
"""

from __future__ import annotations

from collections import Counter
from collections.abc import Iterator
from itertools import pairwise
from operator import itemgetter
from typing import TYPE_CHECKING

from badges_async import ClaimOutcome, ClaimStatus, RetryPolicy
from badges_async.ledger.records import state_of
from tests.simulation.disk import Disk
from tests.simulation.gateway import Gateway
from tests.simulation.history import History, Run, Sending

if TYPE_CHECKING:
    from tests.simulation.world import World

__all__ = ["check_intents", "check_truth", "judge"]

_HELD = {ClaimStatus.CLAIMED, ClaimStatus.ALREADY_CLAIMED}
_HAIR = 1e-6
# What a try ends with that is held against the claim (a connection found stale is not: it is lost).
_COUNTED = {"500", "502", "DeadlineError"}
_UNANSWERED = {"", "ConnectionLostError", "DeadlineError"}


def check_truth(gateway: Gateway, history: History, outcome: ClaimOutcome, life: int) -> None:
    """Judge one outcome in the moment in which it is told."""
    key, status = outcome.request.reference_id, outcome.status
    made_by = gateway.holds.get(key)
    if status in _HELD and key not in gateway.holds:
        history.violate(f"I2 {key} told as {status}, not held")
    if status is ClaimStatus.REJECTED and (key in gateway.holds or key not in gateway.refused):
        history.violate(f"I12 {key} told as rejected, and was not")
    if status is ClaimStatus.CLAIMED and (made_by is None or made_by.life != life):
        history.violate(f"I16 {key} told as new, made by {made_by}")
    if status is ClaimStatus.ALREADY_CLAIMED and made_by is not None and not outcome.recovered:
        history.violate(f"I16 {key} is ours, told as somebody else's: {made_by}")
    if outcome.error is not None and made_by is not None and not outcome.error.maybe_applied:
        history.violate(f"I16 {key} told as surely not applied: {made_by}")


def check_intents(disk: Disk, history: History) -> None:
    """Judge the ledger that a killed process has left: it must know what may have been applied."""
    with disk.read_only() as ledger:
        known = dict(
            ledger.execute("SELECT reference_id, state > 0 OR doubt FROM claim") if ledger else ()
        )
    for key in {each.key for each in _claims(history) if each.left and each.heard in _UNANSWERED}:
        if not known.get(key):
            history.violate(f"I7 {key} was sent, and the ledger does not know")


def judge(world: World) -> None:
    """Judge all of it, when nothing more happens."""
    history = world.history
    _check_ledger(world)
    _check_at_once(world)
    _check_quota(world)
    _check_pauses(world)
    _check_tokens(history)
    for run in history.runs:
        _check_run(world, run)
    for caller in history.callers:
        made_by = world.gateway.holds.get(caller.key)
        if caller.held and made_by is None:
            history.violate(f"I2 {caller.key} told as held, and is not")
        if caller.error is not None and made_by is not None and not caller.error.maybe_applied:
            history.violate(f"I16 {caller.key} told as surely not applied: {made_by}")


def _claims(history: History) -> Iterator[Sending]:
    """Give the claims of the runs."""
    return (each for each in history.sendings if each.operation == "claim" and each.key[0] == "r")


def _check_ledger(world: World) -> None:
    history = world.history
    with world.disk.read_only() as ledger:
        rows = (
            ledger.execute("SELECT reference_id, state, recovered, attempts FROM claim").fetchall()
            if ledger
            else []
        )
    entries = {key: rest for key, *rest in rows}
    if sorted(key for key, *_ in rows) != sorted({row.reference_id for row in world.rows}):
        history.violate("I1 the ledger's rows are not those of the input")
    for key, (state, _, _) in entries.items():
        if state in {2, 3} and key not in world.gateway.holds:
            history.violate(f"I2 {key} recorded as held, and is not")
    told: dict[str, ClaimOutcome] = {}
    for outcome in (outcome for run in history.runs for outcome in run.told):
        key = outcome.request.reference_id
        before = told.setdefault(key, outcome)
        if before.status is ClaimStatus.FAILED:
            told[key] = outcome
        elif before.status is not outcome.status:
            history.violate(f"I1 {key} told as {before.status} and as {outcome.status}")
    for key, outcome in told.items():
        state, recovered, attempts = entries.get(key, (None, None, None))
        if outcome.status is ClaimStatus.FAILED and state != state_of(outcome.status):
            continue  # sent again since
        expected = (state_of(outcome.status), outcome.recovered)
        # Those of the runs before are counted as well.
        if (state, recovered) != expected or attempts < outcome.attempts:
            history.violate(f"I13 {key} told as {expected}, recorded {entries.get(key)}")


def _check_at_once(world: World) -> None:
    history, plan = world.history, world.plan
    for what, most, chosen in (
        ("requests", plan.max_connections, history.sendings),
        ("claims of a run", plan.concurrency, list(_claims(history))),
    ):
        steps = [(each.called, 1, each.life) for each in chosen]
        steps += [(each.ended, -1, each.life) for each in chosen if each.ended is not None]
        at_once: Counter[int] = Counter()
        for _, step, life in sorted(steps):
            at_once[life] += step
            if at_once[life] > most:
                history.violate(f"I3 more than {most} {what} at once")
                break


def _check_quota(world: World) -> None:
    if world.plan.quota is None:
        return
    limit, per = world.plan.quota
    for name in ("left", "arrived"):
        moments = ((getattr(each, name), each) for each in world.history.sendings)
        counted = sorted((pair for pair in moments if pair[0] is not None), key=itemgetter(0))
        first = 0
        for last, (at, each) in enumerate(counted):
            while counted[first][0] <= at - per + _HAIR:
                first += 1
            if last - first < limit:
                continue
            window = [one for _, one in counted[first : last + 1] if _knows(world, each, one)]
            if len(window) > limit:
                world.history.violate(
                    f"I4 {len(window)} requests {name} in {per} s before {at:.3f}, {limit} allowed"
                )
                return


def _knows(world: World, later: Sending, earlier: Sending) -> bool:
    """Whether the process of one request can know of another."""
    if earlier.life == later.life:
        return True
    # By the ledger, which is told of single calls only as long as a run goes on beside them.
    began = world.history.began
    if earlier.called < began(earlier.life) or later.called < began(later.life):
        return False
    if earlier.key.startswith("c"):
        return False
    return not _clock_was_lost(world, earlier.called, later.called)


def _clock_was_lost(world: World, since: float, until: float) -> bool:
    """Whether a boot and a wall clock that was set leave nothing to tell the time by."""
    booted = any(since < boot <= until for boot in world.boots)
    return booted and any(since < at <= until for at, _ in world.plan.jumps)


def _check_pauses(world: World) -> None:
    for pause in world.history.pauses:
        for each in world.history.sendings:
            if not pause.learnt < each.called < pause.until - _HAIR:
                continue
            if not _knows(world, each, pause.sending):
                continue
            world.history.violate(
                f"I8 request {each.number} at {each.called:.3f}, "
                f"in the pause from {pause.learnt:.3f} to {pause.until:.3f}"
            )
            return


def _check_tokens(history: History) -> None:
    asked = [each for each in history.sendings if each.operation == "token"]
    for one, other in pairwise(asked):
        at_once = one.ended is None or other.called < one.ended
        if one.life == other.life and at_once:
            history.violate(f"I11 two tokens asked for at once, at {other.called:.3f}")


def _check_run(world: World, run: Run) -> None:
    if run.report is not None and run.ended in {"whole", "drain"}:
        _check_report(world, run)
    if run.report is not None:
        _check_tries(world.history, run)
    if run.stopped is not None:
        _check_stop(world.history, run, run.stopped)


def _check_tries(history: History, run: Run) -> None:
    def closed(since: float, until: float) -> bool:
        return any(since <= moment <= until for moment in run.closed)

    tries: dict[str, list[tuple[float, float]]] = {}
    for each in _claims(history):
        if each.life == run.life and each.heard in _COUNTED and each.ended is not None:
            tries.setdefault(each.key, []).append((each.called, each.ended))
    for key, times in tries.items():
        counted = [each for each in times if not closed(*each)]
        for (_, since), (until, _) in pairwise(counted[RetryPolicy().max_attempts - 1 :]):
            if not closed(since, until):
                history.violate(f"I5 {key} tried {len(counted)} times")
                return


def _check_report(world: World, run: Run) -> None:
    history, report = world.history, run.report
    assert report is not None
    counts = Counter(outcome.status for outcome in run.told)
    if {status: number for status, number in report.counts.items() if number} != counts:
        history.violate(f"I6 reported {report.counts}, told {counts}")
    if report.recovered != sum(outcome.recovered for outcome in run.told):
        history.violate("I6 reported other recovered ones than told")
    if report.unsettled != run.unsettled:
        history.violate(f"I6 reported {report.unsettled} unsettled of {run.unsettled}")
    whole = report.total + report.skipped
    if run.ended == "whole" and (whole != len(world.rows) or run.unsettled):
        history.violate(f"I6 a whole run of {len(world.rows)} accounts for {whole}")


def _check_stop(history: History, run: Run, stopped: float) -> None:
    for each in history.sendings:
        if each.life != run.life or each.called <= stopped or each.operation == "token":
            continue  # what is on the wire may need one
        if not (each.key.startswith("c") or each.key in run.in_flight):
            history.violate(f"I10 request {each.number} at {each.called:.3f}, after {stopped:.3f}")
            return
