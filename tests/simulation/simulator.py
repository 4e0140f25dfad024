"""One seed from its plan to its verdict, and many of them, on all cores."""

from __future__ import annotations

import functools
import logging
import multiprocessing
from collections.abc import Iterable, Iterator

import attrs

from tests.simulation.invariants import judge
from tests.simulation.plan import Plan
from tests.simulation.world import World

__all__ = ["Verdict", "simulate", "simulate_all"]


@attrs.frozen(kw_only=True)
class Verdict:
    """
    What became of a seed.

    Attributes:
        digest: Of its history.
        trace: Its events, a line each; empty where nothing was violated, unless asked for.
        sums: How much of what happened.
    """

    seed: int
    digest: str
    violations: tuple[str, ...]
    trace: tuple[str, ...]
    sums: dict[str, float]


def simulate(seed: int, *, trace: bool = False) -> Verdict:
    """Run the world of *seed* and judge it."""
    world = World(Plan.of(seed))
    try:
        world.run()
        if not world.history.violations:
            judge(world)
    finally:
        world.disk.remove()
    history = world.history
    return Verdict(
        seed=seed,
        digest=history.digest,
        violations=tuple(history.violations),
        trace=tuple(history.trace) if trace or history.violations else (),
        sums=_sums(world),
    )


def simulate_all(
    seeds: Iterable[int], processes: int = 1, *, trace: bool = False
) -> Iterator[Verdict]:
    """Run many seeds on so many cores; their verdicts come in the order of *seeds*."""
    one = functools.partial(simulate, trace=trace)
    if processes == 1:
        yield from map(one, seeds)
        return
    quiet = functools.partial(logging.disable, logging.CRITICAL)
    with multiprocessing.get_context("spawn").Pool(processes, initializer=quiet) as pool:
        yield from pool.imap(one, seeds, chunksize=4)


def _sums(world: World) -> dict[str, float]:
    history = world.history
    told = [outcome for run in history.runs for outcome in run.told]
    return {
        "claims": len(world.rows),
        "requests": len(history.sendings),
        "told": len(told),
        "recovered": sum(outcome.recovered for outcome in told),
        "processes": len(history.runs),
        "kills": history.kills,
        "power losses": history.power_losses,
        "pauses": len(history.pauses),
        "tokens": world.gateway.tokens,
        "hours": world.now() / 3600,
    }
