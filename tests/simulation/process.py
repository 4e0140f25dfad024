"""
One process of the simulated application: a client, a ledger, a run, and its end.

Here: what a user of the library would write, with every way of stopping it, and how a process is
killed. Not here: what is between it and the gateway (`network`), and what comes after it (`world`).

A process that is killed does nothing more that the world hears of; afterwards all of its tasks are
cancelled, which must end them, whatever they were at.
"""

from __future__ import annotations

import asyncio
import random
from collections.abc import AsyncIterator, Callable, Iterable
from concurrent.futures import Executor
from typing import TYPE_CHECKING

from badges_async import (
    BadgesClient,
    BadgesError,
    BasicAuth,
    BulkRun,
    ClaimRequest,
    Ledger,
    OAuth,
    Ports,
    Quota,
)
from tests.simulation.disk import Thread
from tests.simulation.history import Caller, Run
from tests.simulation.plan import Application
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
        ended_at: When it ended, in the world's time; nothing that it does later reaches anybody.
        killed: It did not end by itself.
    """

    def __init__(self, world: World, number: int, application: Application, start: float) -> None:
        self.world = world
        self.number = number
        self.chance = world.chance
        self.loop = _Loop(start)
        self.ended_at: float | None = None
        self.killed = False
        self.thread = Thread(self, world.chance, world.chance.choice((1e-4, 1e-3, 0.02)))
        self.run: Run | None = None
        self._most_tasks = world.plan.concurrency + 2 * len(application.callers) + _OTHER_TASKS
        self._application = application
        self._network = world.network(self)
        self._ports = self._make_ports()

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

    # Its life.

    def live(self) -> None:
        """Run until it ends, by itself or not."""
        main = self.loop.create_task(self._main())
        main.add_done_callback(lambda _: self.loop.stop())
        self.loop.call_later(_LONGEST_LIFE, self.loop.stop)
        kill_after = self._application.kill_after
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
        return self._application.power_loss and self.world.plan.durable

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

    async def _main(self) -> None:
        client = self._client()
        async with client, asyncio.TaskGroup() as group:
            callers = [
                group.create_task(self._call(client, *each))
                for each in enumerate(self._application.callers)
            ]
            try:
                await self._job(client)
            finally:
                for caller in callers:
                    caller.cancel()
        if taken := client._dispatcher._permits.taken:  # noqa: SLF001 - nothing else tells
            self.world.history.violate(f"I14 {taken} permits are left")

    def _client(self) -> BadgesClient:
        plan = self.world.plan
        return BadgesClient(
            "badges.example.com",
            BasicAuth("till", "password") if plan.oauth is None else OAuth("key", "secret"),
            quota=None if plan.quota is None else Quota(*plan.quota),
            max_connections=plan.max_connections,
            ports=self._ports,
        )

    def _make_ports(self) -> Ports:
        def executor() -> Executor:
            return self.thread

        return Ports(
            transport=self._network,
            random=random.Random(f"client {self.world.plan.seed} {self.number}"),  # noqa: S311
            wall=self.world.wall,
            boot=lambda: self.world.boot,
            executor=executor,
        )

    async def _job(self, client: BadgesClient) -> None:
        run = self.run = Run(self.number, self.world.now())
        self.world.history.runs.append(run)
        try:
            async with Ledger.open(
                self.world.disk.path, durable=self.world.plan.durable, ports=self._ports
            ) as ledger:
                if self._application.loads:
                    await ledger.load(self.world.rows)
                await self._claim(client, ledger, run)
        except BadgesError as error:
            if not self.ended:
                run.ended = type(error).__name__
                self.world.note(f"run {self.number} ended: {error}")

    async def _claim(self, client: BadgesClient, ledger: Ledger, run: Run) -> None:
        plan, ends = self.world.plan, self._application.ends
        bulk = client.claim_many(self._source(), concurrency=plan.concurrency, ledger=ledger)
        consumer = self.loop.create_task(self._consume(bulk, run))
        timer = None
        if ends == "drain":
            timer = self.loop.call_later(self._application.ends_after, self._drain, bulk, run)
        elif ends == "cancel":
            timer = self.loop.call_later(self._application.ends_after, self._cancel, consumer, run)
        try:
            await asyncio.wait([consumer])
        finally:
            consumer.cancel()
            if timer is not None:
                timer.cancel()
            await asyncio.wait([consumer])
        if not consumer.cancelled() and (error := consumer.exception()) is not None:
            raise error

    async def _consume(self, bulk: BulkRun, run: Run) -> None:
        application = self._application
        try:
            async with bulk as outcomes:
                async for outcome in outcomes:
                    if self.ended:
                        return
                    run.told.append(outcome)
                    self.world.told(outcome, self.number)
                    self.crash_point()
                    if application.slow:
                        await asyncio.sleep(application.slow)
                    if application.ends == "leave" and len(run.told) > application.ends_after:
                        run.ended = "leave"
                        break
            run.ended = run.ended or "whole"
        finally:
            if not self.ended:
                run.report, run.unsettled = bulk.report, len(bulk.unsettled)

    def _drain(self, bulk: BulkRun, run: Run) -> None:
        if not self.ended and not run.ended:
            run.stopped, run.ended = self.world.now(), "drain"
            run.in_flight = frozenset(sending.key for sending in self._network.active)
            self.world.note("drain")
            bulk.drain(grace=self._application.grace)

    def _cancel(self, consumer: asyncio.Task[None], run: Run) -> None:
        if not self.ended and not run.ended:
            run.stopped, run.ended = self.world.now(), "cancel"
            self.world.note("cancel")
            consumer.cancel()

    def _source(self) -> Iterable[ClaimRequest] | AsyncIterator[ClaimRequest]:
        rows = self.world.rows
        match self._application.source:
            case "generator":
                return (row for row in rows)
            case "async":
                return self._trickle()
            case _:
                return rows

    async def _trickle(self) -> AsyncIterator[ClaimRequest]:
        for row in self.world.rows:
            if self.chance.random() < 0.1:
                await asyncio.sleep(self.chance.uniform(0, 0.5))
            yield row

    async def _call(
        self, client: BadgesClient, number: int, habits: tuple[float, float, float | None]
    ) -> None:
        """Claim one badge beside the run, as a request handler does."""
        after, timeout, cancelled_after = habits
        await asyncio.sleep(after)
        caller = Caller(f"c{self.number}-{number}", self.number)
        self.world.history.callers.append(caller)
        task = self.loop.create_task(
            client.claim("662749408fe258516a88fe89", "Loyalty", caller.key, timeout=timeout)
        )
        if cancelled_after is not None:
            self.loop.call_later(cancelled_after, task.cancel)
        try:
            await asyncio.wait([task])
        finally:
            task.cancel()
            await asyncio.wait([task])
        self._hear(caller, task)

    def _hear(self, caller: Caller, task: asyncio.Task[object]) -> None:
        if self.ended:
            return
        if task.cancelled():
            caller.ended = "cancelled"
        elif (error := task.exception()) is None:
            caller.held, caller.ended = True, "held"
            self.world.note(f"caller {caller.key} held")
        elif isinstance(error, BadgesError):
            caller.error, caller.ended = error, type(error).__name__
            self.world.note(f"caller {caller.key} {caller.ended}")
        else:
            self.world.history.violate(f"I6 a caller was given {error!r}")
