"""
Looking at a worker and its stream now and then, and what Prometheus is served.

Here: the looking, and the one thread, which Prometheus's server needs. Not here: the collectors
(`badges_async.worker`), or what a person is shown (`showing`).
"""

from __future__ import annotations

import asyncio
import contextlib
from collections.abc import Callable, Iterator
from typing import TYPE_CHECKING

import attrs

from badges_async import AttemptEvent, BadgesError
from badges_async.cli.exits import UsageError
from badges_async.cli.fleet.options import with_extra
from badges_async.worker import ClaimWorker, SourceError, Standing

if TYPE_CHECKING:
    from badges_async.worker import RedisStream, WorkerMetrics

__all__ = ["Watch", "make_metrics", "serving"]

_LOOK_EVERY = 2.0
_AWAY_AFTER = 1.5  # seconds without an answer
_LAST_PORT = 65_535


@attrs.define
class Watch:
    """
    Looks at a stream every two seconds.

    Args:
        worker: Gives the worker, once there is one.
        say: Told in a line when the service goes away and when it is back.
        metrics: Told everything, if there are some.

    Attributes:
        waiting: Events that nobody has taken, as far as is known.
        redis_away: Redis did not answer the last look.
    """

    _stream: RedisStream
    _worker: Callable[[], ClaimWorker | None]
    _say: Callable[[str], object]
    _metrics: WorkerMetrics | None = None
    waiting: int | None = None
    redis_away: bool = False
    _service_away: bool = False
    _error: BadgesError | None = None

    def hear(self, event: AttemptEvent) -> None:
        """Observe a request: its error is the reason if nobody is answered."""
        self._error = event.error

    async def run(self) -> None:
        """Look, until it is cancelled. Never raises: a worker does not end for it."""
        while True:
            self._look_at_the_service()
            with contextlib.suppress(SourceError):  # the worker says it, if it matters
                await self._look()
            await asyncio.sleep(_LOOK_EVERY)

    def _look_at_the_service(self) -> None:
        worker = self._worker()
        away = worker is not None and worker.waiting_for_service
        if away and not self._service_away:
            reason = "" if self._error is None else f" ({self._error})"
            self._say(f"The service answers nobody{reason}; waiting for it")
        elif self._service_away and not away:
            self._say("The service answers again")
        self._service_away = away

    async def _look(self) -> None:
        standing: Standing | None = None
        with contextlib.suppress(TimeoutError):
            async with asyncio.timeout(_AWAY_AFTER):
                standing = await self._stream.standing()
        self.redis_away = standing is None
        if standing is not None:
            self.waiting = standing.waiting
        if self._metrics is not None:
            self._metrics.stands(standing)
            worker = self._worker()
            if worker is not None:
                self._metrics.look(worker)


def make_metrics() -> WorkerMetrics:
    """
    Make the metrics of a process that is a worker and nothing else.

    Raises:
        UsageError: The extra is not installed.
    """
    with with_extra():
        from prometheus_client import CollectorRegistry, ProcessCollector  # noqa: PLC0415

        from badges_async.worker import WorkerMetrics  # noqa: PLC0415 - needs the extra
    registry = CollectorRegistry()
    ProcessCollector(registry=registry)
    return WorkerMetrics(registry)


@contextlib.contextmanager
def serving(metrics: WorkerMetrics, host: str, port: int) -> Iterator[str]:
    """
    Serve *metrics* over HTTP for as long as this is open; give the address.

    Raises:
        UsageError: The port is taken, or there is no such host or port here.
    """
    from prometheus_client import start_http_server  # noqa: PLC0415 - needs the extra

    if not 0 <= port <= _LAST_PORT:
        raise UsageError(f"--metrics-port is a number from 0 to {_LAST_PORT}, not {port}")
    try:
        server, thread = start_http_server(port, host, metrics.registry)
    except OSError as error:
        raise UsageError(f"--metrics-port {port}: {error.strerror or error}") from None
    try:
        yield f"http://{host}:{server.server_port}/metrics"
    finally:
        server.shutdown()
        server.server_close()
        thread.join()
