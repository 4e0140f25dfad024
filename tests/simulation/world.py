"""
The world of one seed: a machine, a gateway and true time, from the first process to the last.

Here: what outlives a process. Time here counts from 0; a machine's own clock begins anew with each
boot, and its wall clock is set now and then.
"""

from __future__ import annotations

import heapq
import math
import random
from collections.abc import Callable

from badges_async import ClaimOutcome, ClaimRequest, OwnerType
from tests.simulation.disk import Disk
from tests.simulation.gateway import EPOCH, Gateway
from tests.simulation.history import History, Pause, Sending
from tests.simulation.invariants import check_intents, check_truth
from tests.simulation.network import Network
from tests.simulation.plan import Habits, Plan
from tests.simulation.process import Process
from tests.virtual_clock import START

__all__ = ["World"]

# Processes after which nothing that still is not done will ever be.
_MOST_PROCESSES = 40
_MOST_KILLS = 15
# What a client keeps of a pause at the most, see the gate.
_SHORTEST_PAUSE, _LONGEST_PAUSE = 1.0, 900.0


class World:
    """
    The world of one seed.

    Attributes:
        rows: What the application wants to claim.
        spread: Seconds by which requests may come closer together on their way.
        boot: What the machine's clock counts from.
        boots: When the machine started anew.
    """

    def __init__(self, plan: Plan) -> None:
        self.plan = plan
        self.history = History()
        self.chance = random.Random(f"world {plan.seed}")  # noqa: S311
        self.rows = _rows(plan, self.chance)
        keys = list(dict.fromkeys(row.reference_id for row in self.rows))
        self.gateway = Gateway(plan, self.chance, keys)
        self.disk = Disk()
        self.spread = min(0.3, 0.04 * plan.quota[1]) if plan.quota else 0.3
        self.boot = "boot-0"
        self.boots: list[float] = []
        self._booted_at = -START  # in the world's time
        self._resting = 0.0
        self._process: Process | None = None
        self._later: list[tuple[float, int, Callable[[], object]]] = []
        self._count = 0

    # Time.

    def now(self) -> float:
        """Seconds since the world began."""
        process = self._process
        if process is None:
            return self._resting
        if process.ended_at is not None:
            return max(process.ended_at, self._resting)
        return process.loop.time() + self._booted_at

    def wall(self) -> float:
        """What the machine takes for the seconds since the epoch."""
        now = self.now()
        return EPOCH + now + sum(by for at, by in self.plan.jumps if at <= now)

    def later(self, seconds: float, what: Callable[[], object]) -> None:
        """Do *what* then, whatever becomes of the process that caused it."""
        at, self._count = self.now() + seconds, self._count + 1
        heapq.heappush(self._later, (at, self._count, what))
        if self._process is not None and not self._process.ended:
            self._process.loop.call_at(at - self._booted_at, self._catch_up)

    def _catch_up(self) -> None:
        # A little early is what the sum of two clocks makes of the same moment.
        while self._later and self._later[0][0] <= self.now() + 1e-9:
            heapq.heappop(self._later)[2]()

    # What processes tell and ask.

    def note(self, what: str) -> None:
        """Put down an event."""
        self.history.note(self.now(), what)

    def draw(self, kinds: tuple[str, ...]) -> str | None:
        """Draw one of *kinds* of faults, or none."""
        if self.now() >= self.plan.heal_at:
            return None
        drawn = self.chance.random()
        for kind in kinds:
            drawn -= self.plan.rates[kind]
            if drawn < 0:
                return kind
        return None

    def crashes(self) -> bool:
        """Whether the process is killed at this point."""
        if self.now() >= self.plan.heal_at or self.history.kills >= _MOST_KILLS:
            return False
        return self.chance.random() < self.plan.crash

    def network(self, process: Process) -> Network:
        """Give the transport of *process*."""
        return Network(process)

    def begin_sending(self, process: Process, operation: str, key: str) -> Sending:
        """Put down a request."""
        number = len(self.history.sendings) + 1
        sending = Sending(number, operation, key, process.number, self.now())
        if not process.ended:
            self.history.sendings.append(sending)
            if operation == "claim" and key.startswith("r"):
                self.history.first_claims.setdefault(process.number, self.now())
        return sending

    def pause(self, sending: Sending, seconds: float) -> None:
        """Put down that the service asked to wait."""
        assert self._process is not None
        kept = min(max(seconds, _SHORTEST_PAUSE), _LONGEST_PAUSE)
        begun = self._process.thread.begun
        now = self.now()
        self.history.pauses.append(Pause(sending, now, now + kept, begun))

    def told(self, outcome: ClaimOutcome, life: int) -> None:
        """Put down what the application was told, and whether that is true now."""
        self.note(f"told {outcome.request.reference_id} {outcome.status} {outcome.recovered}")
        check_truth(self.gateway, self.history, outcome, life)

    def crash(self, process: Process, *, power_loss: bool) -> None:
        """Leave what a killed process leaves."""
        history = self.history
        history.kills += 1
        self.note("power loss" if power_loss else "kill")
        self._excuse(process)
        torn = None
        if power_loss:
            history.power_losses += 1
            torn = self._tear(process)
        self.disk.crash(torn)

    def _excuse(self, process: Process) -> None:
        """Excuse that the next process does not know what this one could not write down."""
        for pause in self.history.pauses:
            if (
                pause.sending.life == process.number
                and process.thread.done < pause.commits_begun + 2
            ):
                pause.until = min(pause.until, self.now())

    def _tear(self, process: Process) -> int | None:
        """Write a part of what is being written; say where it was cut off."""
        job = process.thread.half_done()
        if job is None:
            return None
        before = self.disk.wal_size()
        try:
            job()
        except Exception as error:  # noqa: BLE001 - nobody is left to be told
            self.note(f"a transaction that was cut off: {type(error).__name__}")
        after = self.disk.wal_size()
        return self.chance.randint(before, after) if after > before else None

    # The course of things.

    def run(self) -> None:
        """Run one process after the other until the job is done."""
        number = 0
        try:
            while number < _MOST_PROCESSES:
                habits = self._habits(number)
                process = self._live(number, habits)
                number += 1
                if self.history.violations or self._is_done(process):
                    break
                self._rest(habits, process)
            else:
                self.history.violate(f"I9 not done after {number} processes")
        finally:
            self._let_arrive(math.inf)

    def _habits(self, number: int) -> Habits:
        planned = self.plan.habits
        if number < len(planned) and self.now() < self.plan.heal_at:
            return planned[number]
        return Habits(rest=5.0)

    def _live(self, number: int, habits: Habits) -> Process:
        process = self._process = Process(self, number, habits, self._resting - self._booted_at)
        for at, _, _ in self._later:
            process.loop.call_at(max(at, self._resting) - self._booted_at, self._catch_up)
        self.note(f"process {number}: {habits}")
        process.live()
        self._resting = self.now()
        if process.thread.failing:
            self._excuse(process)
        self.disk.restore()
        if process.killed:
            check_intents(self.disk, self.history)
        return process

    def _rest(self, habits: Habits, process: Process) -> None:
        rested = self._resting + habits.rest
        self._let_arrive(rested)
        self._resting = rested
        if process.killed and habits.power_loss and self.plan.durable:
            self.boot = f"boot-{process.number + 1}"
            self.boots.append(self._resting)
            self._booted_at = self._resting - START

    def _is_done(self, process: Process) -> bool:
        run = process.run
        if process.killed or run is None or run.ended != "whole" or run.report is None:
            return False
        return not (run.report.failed or run.report.unsettled)

    def _let_arrive(self, until: float) -> None:
        """Let arrive what is on its way, while nobody runs."""
        while self._later and self._later[0][0] <= until:
            at, _, what = heapq.heappop(self._later)
            self._resting = max(self._resting, at)
            what()


def _rows(plan: Plan, chance: random.Random) -> list[ClaimRequest]:
    rows = [
        ClaimRequest(f"{number % 7:024x}", OwnerType.LOYALTY, f"r{number}")
        for number in range(plan.rows)
    ]
    again = [chance.choice(rows) for _ in range(math.ceil(plan.rows * plan.repeated))]
    for row in again:
        rows.insert(chance.randrange(len(rows)), row)
    return rows
