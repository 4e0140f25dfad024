"""
The application in a simulated process: what a user of the library would write.

Here: a client, a ledger, a run and every way of stopping it, and single calls beside it. Not here:
how the process is killed (`process`).
"""

from __future__ import annotations

import asyncio
import random
from collections.abc import AsyncIterator, Iterable
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
from tests.simulation.history import Caller, Run

if TYPE_CHECKING:
    from tests.simulation.process import Process

__all__ = ["Application"]


class Application:
    """What *process* does, by its habits."""

    def __init__(self, process: Process) -> None:
        self._process = process
        self._world = process.world
        self._habits = process.habits

    async def main(self) -> None:
        """Do the job, with callers beside it."""
        client = self._client()
        try:
            async with client, asyncio.TaskGroup() as group:
                callers = [
                    group.create_task(self._call(client, *each))
                    for each in enumerate(self._habits.callers)
                ]
                try:
                    await self._job(client)
                finally:
                    for caller in callers:
                        caller.cancel()
        finally:
            if taken := client._dispatcher._permits.taken:  # noqa: SLF001 - nothing else tells
                self._world.history.violate(f"I14 {taken} permits are left")

    def _client(self) -> BadgesClient:
        plan = self._world.plan
        return BadgesClient(
            "badges.example.com",
            BasicAuth("till", "password") if plan.oauth is None else OAuth("key", "secret"),
            quota=None if plan.quota is None else Quota(*plan.quota),
            max_connections=plan.max_connections,
            ports=self._ports(),
        )

    def _ports(self) -> Ports:
        def executor() -> Executor:
            return self._process.thread

        return Ports(
            transport=self._process.network,
            random=random.Random(f"client {self._world.plan.seed} {self._process.number}"),  # noqa: S311
            wall=self._world.wall,
            boot=lambda: self._world.boot,
            executor=executor,
        )

    async def _job(self, client: BadgesClient) -> None:
        run = self._process.run = Run(self._process.number, self._world.now())
        self._world.history.runs.append(run)
        try:
            async with Ledger.open(
                self._world.disk.path, durable=self._world.plan.durable, ports=self._ports()
            ) as ledger:
                if self._habits.loads:
                    await ledger.load(self._world.rows)
                await self._claim(client, ledger, run)
        except BadgesError as error:
            if not self._process.ended:
                run.ended = type(error).__name__
                self._world.note(f"run {self._process.number} ended: {error}")

    async def _claim(self, client: BadgesClient, ledger: Ledger, run: Run) -> None:
        plan, ends = self._world.plan, self._habits.ends
        bulk = client.claim_many(self._source(), concurrency=plan.concurrency, ledger=ledger)
        self._process.bulk = bulk
        loop = asyncio.get_running_loop()
        consumer = loop.create_task(self._consume(bulk, run))
        timer = None
        if ends == "drain":
            timer = loop.call_later(self._habits.ends_after, self._drain, bulk, run)
        elif ends == "cancel":
            timer = loop.call_later(self._habits.ends_after, self._cancel, consumer, run)
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
        habits = self._habits
        try:
            async with bulk as outcomes:
                async for outcome in outcomes:
                    if self._process.ended:
                        return
                    run.told.append(outcome)
                    self._world.told(outcome, self._process.number)
                    self._process.crash_point()
                    if habits.slow:
                        await asyncio.sleep(habits.slow)
                    if habits.ends == "leave" and len(run.told) > habits.ends_after:
                        run.ended = "leave"
                        break
            run.ended = run.ended or "whole"
        finally:
            if not self._process.ended:
                run.report, run.unsettled = bulk.report, len(bulk.unsettled)

    def _drain(self, bulk: BulkRun, run: Run) -> None:
        if not self._process.ended and not run.ended:
            run.stopped, run.ended = self._world.now(), "drain"
            run.in_flight = frozenset(sending.key for sending in self._process.network.active)
            self._world.note("drain")
            bulk.drain(grace=self._habits.grace)

    def _cancel(self, consumer: asyncio.Task[None], run: Run) -> None:
        if not self._process.ended and not run.ended:
            run.stopped, run.ended = self._world.now(), "cancel"
            self._world.note("cancel")
            consumer.cancel()

    def _source(self) -> Iterable[ClaimRequest] | AsyncIterator[ClaimRequest]:
        rows = self._world.rows
        match self._habits.source:
            case "generator":
                return (row for row in rows)
            case "async":
                return self._trickle()
            case _:
                return rows

    async def _trickle(self) -> AsyncIterator[ClaimRequest]:
        for row in self._world.rows:
            if self._world.chance.random() < 0.1:
                await asyncio.sleep(self._world.chance.uniform(0, 0.5))
            yield row

    async def _call(
        self, client: BadgesClient, number: int, habits: tuple[float, float, float | None]
    ) -> None:
        """Claim one badge beside the run, as a request handler does."""
        after, timeout, cancelled_after = habits
        await asyncio.sleep(after)
        caller = Caller(f"c{self._process.number}-{number}", self._process.number)
        self._world.history.callers.append(caller)
        task = asyncio.get_running_loop().create_task(
            client.claim("662749408fe258516a88fe89", "Loyalty", caller.key, timeout=timeout)
        )
        if cancelled_after is not None:
            asyncio.get_running_loop().call_later(cancelled_after, task.cancel)
        try:
            await asyncio.wait([task])
        finally:
            task.cancel()
            await asyncio.wait([task])
        self._hear(caller, task)

    def _hear(self, caller: Caller, task: asyncio.Task[object]) -> None:
        if self._process.ended:
            return
        if task.cancelled():
            caller.ended = "cancelled"
        elif (error := task.exception()) is None:
            caller.held, caller.ended = True, "held"
            self._world.note(f"caller {caller.key} held")
        elif isinstance(error, BadgesError):
            caller.error, caller.ended = error, type(error).__name__
            self._world.note(f"caller {caller.key} {caller.ended}")
        else:
            self._world.history.violate(f"I6 a caller was given {error!r}")
