"""
One simulated process: its loop, its one thread, its life and its end.

Here: what is killed, and how. Not here: what the process does (`application`), what is between it
and the gateway (`network`), and what comes after it (`world`).

A process that is killed does nothing more that the world hears of; afterwards all of its tasks are
cancelled, which must end them, whatever they were at.
"""

from __future__ import annotations

import asyncio
from collections.abc import Callable
from typing import TYPE_CHECKING

from badges_async import BulkRun
from tests.simulation.application import Application
from tests.simulation.disk import Thread
from tests.simulation.history import Run
from tests.simulation.plan import Habits
from tests.virtual_clock import StalledError, VirtualClockLoop

if TYPE_CHECKING:
    from tests.simulation.world import World

__all__ = ["Process"]

# Beside workers and callers: three pipelines, the main task, its consumer.
_OTHER_TASKS = 5
# Callbacks in one moment of the virtual clock that are no progress any more.
_ENDLESS = 100_000
# Seconds in which everything that is cancelled must have ended: a stalled disk takes 45.
_AFTERLIFE = 600.0
# Seconds after which a job of an hour is not done because it never will be.
_LONGEST_LIFE = 300_000.0


class _Loop(VirtualClockLoop):
    """A virtual loop that finds out when it runs and time does not."""

    def __init__(self, start: float) -> None:
        self._turns, self._at = 0, start
        super().__init__(start)

    def _run_once(self) -> None:
        self._turns = self._turns + 1 if self.time() == self._at else 0
        self._at = self.time()
        if self._turns > _ENDLESS:
            raise StalledError("everything runs and nothing comes of it")
        super()._run_once()  # type: ignore[misc]


class Process:
    """
    One process.

    Attributes:
        loop: Its own.
        chance: The world's, for all that is drawn on the way.
        habits: How its application behaves.
        network, thread: Its ways to the world.
        run, bulk: The bulk run that it makes: what is known of it, and itself.
        ended_at: When it ended, in the world's time; nothing that it does later reaches anybody.
        killed: It did not end by itself.
    """

    def __init__(self, world: World, number: int, habits: Habits, start: float) -> None:
        self.world = world
        self.number = number
        self.chance = world.chance
        self.loop = _Loop(start)
        self.ended_at: float | None = None
        self.killed = False
        self.thread = Thread(self, world.chance, world.chance.choice((1e-4, 1e-3, 0.02)))
        self.run: Run | None = None
        self.bulk: BulkRun | None = None
        self._most_tasks = world.plan.concurrency + 2 * len(habits.callers) + _OTHER_TASKS
        self.habits = habits
        self.network = world.network(self)

    @property
    def ended(self) -> bool:
        """Whether it has ended."""
        return self.ended_at is not None

    # What the world and the disk ask of it.

    def call_later(self, seconds: float, what: Callable[[], object]) -> object:
        """Call *what* later, in its own time."""
        return self.loop.call_later(seconds, what)

    def fault(self, kinds: tuple[str, ...]) -> str | None:
        """Draw what goes wrong now; nothing once it has ended or the world has healed."""
        return None if self.ended else self.world.draw(kinds)

    def happened(self, what: str) -> None:
        """Hear what has just happened to it."""
        if not self.ended:
            self.world.note(what)
            self.crash_point()

    def crash_point(self) -> None:
        """Be killed here, if chance will have it."""
        if not self.ended and self.world.crashes():
            self.kill(power_loss=False)

    def kill(self, *, power_loss: bool) -> None:
        """End at once, leaving what is on the disk."""
        if not self.ended:
            self.world.crash(self, power_loss=power_loss)
            self._end()
            self.killed = True
            self.loop.stop()

    def begins_sending(self) -> None:
        """Hear that a request of its own begins."""
        tasks = len(asyncio.all_tasks(self.loop))
        if tasks > self._most_tasks:
            self.world.history.violate(f"I15 {tasks} tasks, {self._most_tasks} would do")

    def look_at_run(self) -> None:
        """Note whether its run takes the service to be down now."""
        if self.run is not None and self.bulk is not None and self.bulk.waiting_for_service:
            self.run.closed.append(self.world.now())

    # Its life.

    def live(self) -> None:
        """Run until it ends, by itself or not."""
        main = self.loop.create_task(Application(self).main())
        main.add_done_callback(lambda _: self.loop.stop())
        self.loop.call_later(_LONGEST_LIFE, self.loop.stop)
        kill_after = self.habits.kill_after
        if kill_after is not None:
            self.loop.call_later(kill_after, lambda: self.kill(power_loss=self._power_loss))
        try:
            self.loop.run_forever()
            if not (self.ended or main.done()):
                self.world.history.violate(f"I9 not done after {_LONGEST_LIFE:g} s")
            self._end()
            self._bury(main)
        except StalledError as error:
            self.world.history.violate(f"I9 {error}")
            self._end()
        finally:
            self.loop.close()

    def _end(self) -> None:
        if self.ended_at is None:
            self.ended_at = self.world.now()

    @property
    def _power_loss(self) -> bool:
        return self.habits.power_loss and self.world.plan.durable

    def _bury(self, main: asyncio.Task[None]) -> None:
        """Cancel what is left; nothing may survive that."""
        for task in asyncio.all_tasks(self.loop):
            task.cancel()
        limit = self.loop.call_later(_AFTERLIFE, self.loop.stop)
        if not main.done():
            self.loop.run_forever()
        self.loop.run_until_complete(asyncio.sleep(0))
        limit.cancel()
        left = [task for task in asyncio.all_tasks(self.loop) if not task.done()]
        if left:
            self.world.history.violate(f"I14 tasks survive being cancelled: {left}")
        if main.done() and not main.cancelled() and main.exception() is not None:
            self.world.history.violate(f"I6 the process raised {main.exception()!r}")
        if self.loop.complaints:
            self.world.history.violate(f"I14 the loop was told of {self.loop.complaints}")
