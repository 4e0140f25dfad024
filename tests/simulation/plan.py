"""
What a seed draws: how large the job is, what goes wrong how often, and when.

Here: values only, all of them drawn before anything runs. Each kind of fault is off in half of the
plans, so that faults also meet alone ("swarm testing"): where all are always on they hide one
another.
"""

from __future__ import annotations

import random
from collections.abc import Mapping

import attrs

__all__ = ["DISK_FAULTS", "NETWORK_FAULTS", "Habits", "Plan"]

NETWORK_FAULTS = (
    "connect",  # not reached: refused, or no answer to the handshake
    "stale",  # an idle connection was closed: lost before or after it took effect
    "lost before",
    "lost after",
    "hang before",
    "hang after",
    "late",  # takes effect 5 to 60 s after the request, whose answer is lost
    "page before",  # a gateway's HTML under 502
    "page after",
    "error before",  # the API's own document under 500
    "error after",
    "garbage",  # 200, and not the API: HTML, an empty body, half a document, another claim's echo
    "throttle",  # 429, with a time to wait or bare
    "unavailable",  # 503, with a time to wait
    "slow",  # the answer takes 8 s more
    "unknown token",  # 401, whatever was sent
)
DISK_FAULTS = ("full", "busy", "stall")
_RATES = (0.0, 0.0, 0.02, 0.1, 0.3)
# All together; more, and nothing is left to look at but the waiting.
_MOST_FAULTS = 0.7


@attrs.frozen(kw_only=True)
class Habits:
    """
    How the application in one process behaves.

    Attributes:
        kill_after: Seconds after its start at which it is killed; None for not at a set time.
        power_loss: The kill is the machine's.
        rest: Seconds until the next process starts.
        ends: How its run ends, if nothing stops it: ``whole``, ``drain``, ``leave`` (the block is
            left early), ``cancel``.
        ends_after: Seconds after which, or outcomes where it leaves.
        grace: Of a drain.
        loads: The rows are entered before the run.
        source: ``list``, ``generator`` or ``async``.
        slow: Seconds that it takes over each outcome.
        callers: Single claims beside the run: begin after, timeout, cancelled after (or None).
    """

    kill_after: float | None = None
    power_loss: bool = False
    rest: float = 0.5
    ends: str = "whole"
    ends_after: float = 0.0
    grace: float | None = None
    loads: bool = False
    source: str = "list"
    slow: float = 0.0
    callers: tuple[tuple[float, float, float | None], ...] = ()


@attrs.frozen(kw_only=True)
class Plan:
    """
    Everything that a seed decides beforehand.

    Attributes:
        rows: Claims to make; some of them twice, see `repeated`.
        concurrency, max_connections: Of the run and of the client.
        quota: Limit and seconds that the client is told to keep; None for none.
        true_quota: What the service keeps; None for none.
        names_time: The service says how long to wait when it throttles.
        oauth: Seconds that a token lives; None for Basic.
        durable: Of the ledger.
        poison, standing: Shares of the rows that the service refuses, and that stood before.
        rates: How often each fault fires.
        crash: How often a process is killed at a point where something has just happened.
        heal_at: Seconds after which nothing goes wrong any more.
        jumps: When the wall clock is set, and by how much.
        outages: From when to when nobody is answered.
        lockouts: From when to when the credentials are refused.
        habits: Those of one process after the other; whoever comes later has none, and goes on to
            the end.
    """

    seed: int
    rows: int
    repeated: float
    concurrency: int
    max_connections: int
    quota: tuple[int, float] | None
    true_quota: tuple[int, float] | None
    names_time: bool
    oauth: float | None
    durable: bool
    poison: float
    standing: float
    rates: Mapping[str, float]
    crash: float
    heal_at: float
    jumps: tuple[tuple[float, float], ...]
    outages: tuple[tuple[float, float], ...]
    lockouts: tuple[tuple[float, float], ...]
    habits: tuple[Habits, ...]

    @classmethod
    def of(cls, seed: int) -> Plan:
        """Draw the plan of *seed*."""
        chance = random.Random(f"plan {seed}")  # noqa: S311
        rows = chance.choices((20, 80, 150, 400), (6, 6, 3, 1))[0]
        concurrency = chance.choice((1, 3, 8, 32))
        quota = _quota(chance, rows)
        true_quota = quota
        if quota is not None and chance.random() < 0.25:
            # With fewer the only place could be for a token that has ended by the next.
            true_quota = max(3, int(quota[0] * chance.choice((0.3, 0.6, 0.9)))), quota[1]
        elif quota is None and chance.random() < 0.15:
            true_quota = max(10, rows // 3), 10.0
        busy = chance.choice((5.0, 60.0, 300.0))
        crash = chance.choice((0.0, 0.0, 0.0, 0.002, 0.01))
        kills = chance.choice((0, 0, 1, 2, 3))
        return cls(
            seed=seed,
            rows=rows,
            repeated=chance.choice((0.0, 0.0, 0.1)),
            concurrency=concurrency,
            max_connections=max(1, chance.choice((concurrency // 2, concurrency, 100))),
            quota=quota,
            true_quota=true_quota,
            names_time=chance.random() < 0.7,
            oauth=chance.choice((None, None, 60.0, 100.0, 300.0)),
            durable=chance.random() < 0.9,
            poison=chance.choice((0.0, 0.0, 0.05, 0.3)),
            standing=chance.choice((0.0, 0.0, 0.1, 0.5)),
            rates=_rates(chance),
            crash=crash,
            heal_at=busy * chance.choice((1.0, 2.0)),
            jumps=_jumps(chance, busy),
            outages=_spans(chance, busy, (1.0, 30.0, 300.0), 0.15),
            lockouts=_spans(chance, busy, (1.0, 20.0), 0.1),
            habits=tuple(
                _habits(chance, busy, kill=number < kills)
                for number in range(kills + chance.choice((0, 0, 1, 2)))
            ),
        )


def _quota(chance: random.Random, rows: int) -> tuple[int, float] | None:
    if chance.random() < 0.5:
        return None
    limit = chance.choice((5, 20, 100))
    per = chance.choice((1.0, 10.0, 60.0))
    # A job of days shows no more than one of hours.
    return (limit, per) if rows / limit * per < 3600 else (100, per)


def _rates(chance: random.Random) -> dict[str, float]:
    rates = {kind: chance.choice(_RATES) for kind in (*NETWORK_FAULTS, *DISK_FAULTS)}
    if chance.random() < 0.1:
        rates = dict.fromkeys(rates, 0.0)
    total = sum(rates[kind] for kind in NETWORK_FAULTS)
    if total > _MOST_FAULTS:
        rates |= {kind: rates[kind] * _MOST_FAULTS / total for kind in NETWORK_FAULTS}
    # One that stops the whole client for a while stops everything else from happening, too.
    for kind in ("throttle", "unavailable", *DISK_FAULTS):
        rates[kind] /= 5
    return rates


def _spans(
    chance: random.Random, busy: float, lengths: tuple[float, ...], share: float
) -> tuple[tuple[float, float], ...]:
    if chance.random() > share:
        return ()
    begins = chance.uniform(0, busy)
    return ((begins, begins + chance.choice(lengths)),)


def _jumps(chance: random.Random, busy: float) -> tuple[tuple[float, float], ...]:
    if chance.random() < 0.7:
        return ()
    steps = (-3600.0, -30.0, 30.0, 3600.0, 86_400.0)
    return tuple(
        sorted(
            (chance.uniform(0, busy), chance.choice(steps)) for _ in range(chance.choice((1, 2)))
        )
    )


def _habits(chance: random.Random, busy: float, *, kill: bool) -> Habits:
    ends = "whole" if kill else chance.choice(("whole", "drain", "leave", "cancel"))
    callers = tuple(
        (
            chance.uniform(0, busy),
            chance.choice((0.5, 5.0, 60.0)),
            chance.choice((None, None, chance.uniform(0, 2))),
        )
        for _ in range(chance.choice((0, 0, 1, 5)))
    )
    return Habits(
        kill_after=chance.uniform(0, busy * chance.choice((0.05, 0.5, 1.0))) if kill else None,
        power_loss=kill and chance.random() < 0.4,
        rest=chance.choice((0.5, 5.0, 70.0)),
        ends=ends,
        ends_after=chance.choice((0.0, chance.uniform(0, 5), chance.uniform(0, busy))),
        grace=chance.choice((None, 0.0, chance.uniform(0, 5))),
        loads=chance.random() < 0.3,
        source=chance.choice(("list", "generator", "async")),
        slow=chance.choice((0.0, 0.0, 0.0, 0.05)),
        callers=callers,
    )
