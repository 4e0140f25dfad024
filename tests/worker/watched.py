"""A source that can be looked at, slowed, and made to fail: what tests of the worker hand it."""

from __future__ import annotations

import asyncio
from collections.abc import Awaitable, Callable, Iterable, Mapping, Sequence
from typing import Any

from badges_async import BadgesClient, RetryPolicy, Timeout
from badges_async.messages import Reply
from badges_async.worker import (
    ClaimEvent,
    ClaimWorker,
    Delivery,
    MemorySource,
    Settlement,
    Source,
    Verdict,
    WorkerReport,
)
from tests.client.scripted import ScriptedTransport, Sent, Step, make_client, well

Hook = Callable[[], Awaitable[object]]


class WatchedSource:
    """
    Passes everything on to *source*, and notes it.

    Attributes:
        hooks: Awaited before the method of that name does anything.
        calls: The methods that were called, in their order.
        asked: For how many events each fetch asked.
        fetched: What came of it.
        settled: What the source was told, each batch.
        renewed: Which leases were to be renewed, each time.
    """

    def __init__(self, source: Source, **hooks: Hook) -> None:
        self.source = source
        self.hooks: dict[str, Hook] = hooks
        self.calls: list[str] = []
        self.asked: list[int] = []
        self.fetched: list[Delivery] = []
        self.settled: list[list[Settlement]] = []
        self.renewed: list[list[Delivery]] = []

    @property
    def lease(self) -> float:
        return self.source.lease

    @property
    def settlements(self) -> list[Settlement]:
        """All that the source was told."""
        return [settlement for batch in self.settled for settlement in batch]

    def verdicts(self) -> dict[Verdict, int]:
        """Count what the source was told."""
        told = [settlement.verdict for settlement in self.settlements]
        return {verdict: told.count(verdict) for verdict in Verdict if verdict in told}

    async def open(self) -> None:
        await self._before("open")
        await self.source.open()

    async def fetch(self, most: int, wait: float) -> list[Delivery]:
        self.asked.append(most)
        await self._before("fetch")
        came = await self.source.fetch(most, wait)
        self.fetched += came
        return came

    async def renew(self, deliveries: Sequence[Delivery]) -> Sequence[Delivery]:
        self.renewed.append(list(deliveries))
        await self._before("renew")
        return await self.source.renew(deliveries)

    async def settle(self, settlements: Sequence[Settlement]) -> None:
        await self._before("settle")
        await self.source.settle(settlements)
        self.settled.append(list(settlements))

    async def is_empty(self) -> bool:
        await self._before("is_empty")
        return await self.source.is_empty()

    async def close(self) -> None:
        await self._before("close")
        await self.source.close()

    async def _before(self, name: str) -> None:
        self.calls.append(name)
        if name in self.hooks:
            await self.hooks[name]()


async def hang() -> None:
    """Wait for ever."""
    await asyncio.get_running_loop().create_future()


def rest(seconds: float) -> Hook:
    """Give a hook that takes so long."""

    async def hook() -> None:
        await asyncio.sleep(seconds)

    return hook


def fail(error: BaseException, *, after: int = 0) -> Hook:
    """Give a hook that raises, after so many times without."""
    left = after

    async def hook() -> None:
        nonlocal left
        left -= 1
        if left < 0:
            raise error

    return hook


def an_event(number: int = 0, **options: Any) -> ClaimEvent:
    return ClaimEvent(f"{number:024x}", "Loyalty", f"r{number}", **options)


def events(count: int, *, start: int = 0) -> list[ClaimEvent]:
    return [an_event(number) for number in range(start, start + count)]


async def filled(
    source: MemorySource, items: Iterable[ClaimEvent | bytes], *, deliveries: int = 0
) -> WatchedSource:
    """Give a look at *source* with events in it that were handed out so often before."""
    for item in items:
        await source.put(item)
    for entry in source._store.ready:  # noqa: SLF001 - a test must not wait for five leases
        entry.deliveries = deliveries
    return WatchedSource(source)


def a_client(service: ScriptedTransport, **options: Any) -> BadgesClient:
    """Give a client that fails after one attempt and soon, unless told otherwise."""
    options.setdefault("retry", RetryPolicy(max_attempts=1))
    options.setdefault("timeout", Timeout(total=20, attempt=10))
    return make_client(service, **options)


def a_worker(service: ScriptedTransport, source: Source, **options: Any) -> ClaimWorker:
    options.setdefault("once", True)
    return ClaimWorker(a_client(service), source, **options)


async def work_off(
    service: ScriptedTransport, source: Source, **options: Any
) -> tuple[ClaimWorker, WorkerReport]:
    """Run a worker until the source is empty."""
    worker = a_worker(service, source, **options)
    return worker, await worker.run()


async def waiting_in(source: MemorySource) -> list[tuple[str, int]]:
    """Give what can be had at once, and how often each was handed out, with this time."""
    other = source.sibling()
    return [
        (delivery.event.reference_id, delivery.deliveries)
        for delivery in await other.fetch(10_000, 0.0)
        if isinstance(delivery.event, ClaimEvent)
    ]


def by_event(fates: Mapping[int, Step], otherwise: Step = well) -> Step:
    """Give a service that treats some claims otherwise than the rest; badges can always be read."""
    names = {an_event(number).badge_id: step for number, step in fates.items()}

    def step(sent: Sent) -> Reply | Awaitable[Reply]:
        if sent.request.operation != "claim":
            return well(sent)
        return names.get(sent.key[0], otherwise)(sent)

    return step
