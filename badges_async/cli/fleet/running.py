"""
``worker run``: a worker from its first event to the last one handed back.

Here: a run, the signals that end it, and what is told after it. Not here: the clients it claims
with (`accounts`), what is shown (`showing`, `gauging`), or how a worker works.
"""

from __future__ import annotations

import asyncio
import contextlib
import math
from collections.abc import Callable
from typing import TYPE_CHECKING, Literal

import attrs

from badges_async import AttemptEvent, BadgesError, ClaimStatus
from badges_async.cli import loops
from badges_async.cli.exits import Exit, OutputError, in_words
from badges_async.cli.fleet.accounts import Account
from badges_async.cli.fleet.gauging import Watch, make_metrics, serving
from badges_async.cli.fleet.notices import said_by
from badges_async.cli.fleet.options import Place, with_extra
from badges_async.cli.fleet.showing import RunEnding, WorkerView, document, summarise
from badges_async.cli.output import complain, emit
from badges_async.cli.progress import Progress, progress_for
from badges_async.cli.summary import duration
from badges_async.worker import ClaimWorker, WorkerReport

if TYPE_CHECKING:
    from redis.asyncio import Redis

    from badges_async.worker import WorkerMetrics

__all__ = ["RunOptions", "run_worker"]

_DRAINING = (
    "Stopping: nothing new is taken, {} in flight may finish within {}. A second signal stops at "
    "once."
)
_NOTHING = WorkerReport(counts=dict.fromkeys(ClaimStatus, 0))


@attrs.frozen(kw_only=True)
class RunOptions:
    """
    How a worker is to work; see `ClaimWorker` and `RedisSource`.

    Attributes:
        outcomes: Seconds that outcomes are kept in a stream of their own, if at all.
        metrics_port: Where Prometheus is served, if it is.
        as_json: Print the end as JSON.
        progress: Whether standard error shows how it goes.
    """

    lease: float = 60.0
    max_deliveries: int = 5
    grace: float = 20.0
    once: bool = False
    outage_patience: float = math.inf
    outcomes: float | None = None
    metrics_port: int | None = None
    metrics_host: str = "127.0.0.1"
    as_json: bool = False
    progress: bool = True


def run_worker(place: Place, account: Account, options: RunOptions) -> Exit:
    """
    Claim what comes until somebody asks for the end; print what was done.

    Raises:
        UsageError: Something is missing or of no use; nothing was taken.
        InvalidInputError: Likewise.
    """
    with with_extra():
        from badges_async.worker import RedisSource, RedisStream  # noqa: F401, PLC0415 - is it there?
    ending = loops.run(_Run(place, account, options).to_its_end())
    return _conclude(ending, options)


def _conclude(ending: RunEnding, options: RunOptions) -> Exit:
    """Print the end, give the exit code."""
    error, code = ending.stopped_by, ending.exit
    nothing = not (ending.report.settled or ending.report.retried or ending.report.released)
    if error is not None and (nothing or options.as_json):
        # Wrong password, wrong host: a table of zeros would only hide the reason.
        complain(in_words(error))
    if nothing and error is not None and not options.as_json:
        return code
    try:
        emit(document(ending) if options.as_json else summarise(ending))
    except OutputError as lost:  # whatever else went wrong is the better exit code
        complain(in_words(lost))
        code = code or Exit.PROBLEMS
    return code


@attrs.define
class _Run:
    place: Place
    account: Account
    options: RunOptions
    stop: Literal["no", "drained", "at once"] = "no"
    stopped_by: Exception | None = None
    _worker: ClaimWorker | None = None
    _watch: Watch | None = None
    _working: asyncio.Task[None] | None = None

    async def to_its_end(self) -> RunEnding:
        metrics = None if self.options.metrics_port is None else make_metrics()
        progress = progress_for(self.place.stream, self._view, shown=self.options.progress)
        async with contextlib.AsyncExitStack() as stack:
            redis = await stack.enter_async_context(self.place.redis())
            if metrics is not None and self.options.metrics_port is not None:
                where = serving(metrics, self.options.metrics_host, self.options.metrics_port)
                progress.say(f"Metrics: {stack.enter_context(where)}")
            stack.enter_context(said_by(progress.say))
            stack.enter_context(progress)
            stack.enter_context(loops.StopSignals(lambda: self._drain(progress), self._cancel))
            await self._follow(redis, metrics, progress)
        return RunEnding(
            stream=self.place.stream,
            report=_NOTHING if self._worker is None else self._worker.report,
            stop=self.stop,
            stopped_by=self.stopped_by,
        )

    async def _follow(
        self, redis: Redis, metrics: WorkerMetrics | None, progress: Progress
    ) -> None:
        from badges_async.worker import RedisStream  # noqa: PLC0415 - needs the extra

        stream = RedisStream(redis, stream=self.place.stream, group=self.place.group)
        self._watch = Watch(stream, lambda: self._worker, progress.say, metrics)
        async with asyncio.TaskGroup() as group:
            watching = group.create_task(self._watch.run())
            self._working = group.create_task(self._work(redis, metrics, self._watch))
            await asyncio.wait([self._working])
            watching.cancel()

    async def _work(self, redis: Redis, metrics: WorkerMetrics | None, watch: Watch) -> None:
        from badges_async.worker import RedisSource  # noqa: PLC0415 - needs the extra

        options = self.options
        observers: list[Callable[[AttemptEvent], object]] = [watch.hear]
        if metrics is not None:
            observers.append(metrics.observer)
        try:
            source = RedisSource(
                redis,
                stream=self.place.stream,
                group=self.place.group,
                lease=options.lease,
                outcomes_for=options.outcomes,
            )
            async with self.account.clients(redis, observers) as clients:
                self._worker = ClaimWorker(
                    clients,
                    source,
                    concurrency=self.account.concurrency,
                    max_deliveries=options.max_deliveries,
                    grace=options.grace,
                    once=options.once,
                    outage_patience=options.outage_patience,
                    on_settled=None if metrics is None else metrics.settled,
                )
                await self._worker.run()
        except (BadgesError, OSError) as error:
            self.stopped_by = error

    def _drain(self, progress: Progress) -> None:
        self.stop = "drained"
        if self._worker is None:
            self._working_ends()
            return
        in_flight = self._worker.in_flight
        self._worker.drain()
        progress.say(_DRAINING.format(f"{in_flight:,}", duration(self.options.grace)))

    def _cancel(self) -> None:
        self.stop = "at once"
        self._working_ends()

    def _working_ends(self) -> None:
        if self._working is not None:
            self._working.cancel()

    def _view(self) -> WorkerView:
        worker, watch = self._worker, self._watch
        return WorkerView(
            report=_NOTHING if worker is None else worker.report,
            in_flight=0 if worker is None else worker.in_flight,
            held=0 if worker is None else worker.held,
            waiting=None if watch is None else watch.waiting,
            service_down=worker is not None and worker.waiting_for_service,
            redis_away=watch is not None and watch.redis_away,
        )
