"""
A worker's numbers for Prometheus.

Here: the collectors, and what is counted when. Not here: how they are served (`cli`, or whatever
serves the application that a worker is a part of), or who looks at the stream.

No label carries a badge, a reference, a message or a name that somebody else chose: the number of
series is bounded, whatever the events hold.
"""

from __future__ import annotations

from prometheus_client import REGISTRY, CollectorRegistry, Counter, Gauge, Histogram

from badges_async import AttemptEvent, ClaimStatus
from badges_async.worker.source import Settlement, Verdict
from badges_async.worker.standing import Standing
from badges_async.worker.worker import ClaimWorker

__all__ = ["WorkerMetrics"]

# Seconds; an attempt ends after fifteen unless the client is told otherwise.
_BUCKETS = (0.005, 0.01, 0.025, 0.05, 0.1, 0.25, 0.5, 1.0, 2.5, 5.0, 10.0, 15.0, 30.0)
_NO_ANSWER = "none"


class WorkerMetrics:
    """
    Counts what one worker does.

    ```python
    metrics = WorkerMetrics()
    client = BadgesClient.from_env(observers=[metrics.observer])
    worker = ClaimWorker(client, source, on_settled=metrics.settled)
    ```

    Counters count by themselves then. Whoever looks at the worker and its stream from time to time
    tells the gauges: `look`, `stands`.

    Args:
        registry: Where the collectors are registered; Prometheus's own unless this says otherwise.

    Raises:
        ValueError: Another `WorkerMetrics` is registered there.
    """

    def __init__(self, registry: CollectorRegistry | None = None) -> None:
        home = REGISTRY if registry is None else registry
        self.registry = home
        self._claims = Counter(
            "badges_claims_total", "Claims by what became of them.", ["status"], registry=home
        )
        self._recovered = Counter(
            "badges_recovered_total",
            "Claims that stood already and are most likely ours: an answer was lost.",
            registry=home,
        )
        self._deliveries = Counter(
            "badges_deliveries_total",
            "Deliveries by what was done with them.",
            ["verdict"],
            registry=home,
        )
        self._buried = Counter(
            "badges_dead_letters_total", "Dead letters by reason.", ["reason"], registry=home
        )
        self._lost = Counter(
            "badges_lost_leases_total",
            "Deliveries whose lease another worker took over.",
            registry=home,
        )
        self._requests = Counter(
            "badges_requests_total",
            "Requests by HTTP status; none where no answer came.",
            ["status"],
            registry=home,
        )
        self._seconds = Histogram(
            "badges_request_seconds",
            "Seconds on the wire of a request.",
            buckets=_BUCKETS,
            registry=home,
        )
        self._make_gauges(home)
        self._known_lost = 0
        for status in ClaimStatus:  # so that a rate can be taken from the first one on
            self._claims.labels(status.value)
        for verdict in Verdict:
            self._deliveries.labels(verdict.value)

    def _make_gauges(self, home: CollectorRegistry) -> None:
        def gauge(name: str, what: str) -> Gauge:
            return Gauge(f"badges_{name}", what, registry=home)

        self._in_flight = gauge("in_flight", "Requests on the wire now.")
        self._held = gauge("held", "Deliveries in the worker's hands, those on the wire included.")
        self._down = gauge("service_down", "1 while the service answers nobody.")
        self._away = gauge("redis_away", "1 while Redis is away.")
        self._waiting = gauge("stream_waiting", "Events that nobody has taken.")
        self._pending = gauge("stream_pending", "Events in the hands of workers.")
        self._oldest = gauge("stream_oldest_seconds", "Age of the oldest event; 0 without one.")
        self._letters = gauge("stream_dead_letters", "Dead letters that are kept.")

    def settled(self, settlement: Settlement) -> None:
        """Count a settlement; fits `ClaimWorker`'s *on_settled*."""
        outcome = settlement.outcome
        if outcome is not None:
            self._claims.labels(outcome.status.value).inc()
            if outcome.recovered:
                self._recovered.inc()
        self._deliveries.labels(settlement.verdict.value).inc()
        if settlement.verdict is Verdict.BURY:
            self._buried.labels(settlement.reason).inc()

    def observer(self, event: AttemptEvent) -> None:
        """Count a request; fits `BadgesClient`'s *observers*."""
        self._requests.labels(_NO_ANSWER if event.status is None else str(event.status)).inc()
        self._seconds.observe(event.seconds)

    def look(self, worker: ClaimWorker) -> None:
        """Take note of what *worker* has in its hands."""
        self._in_flight.set(worker.in_flight)
        self._held.set(worker.held)
        self._down.set(worker.waiting_for_service)
        lost = worker.report.lost
        self._lost.inc(max(lost - self._known_lost, 0))
        self._known_lost = lost

    def stands(self, standing: Standing | None) -> None:
        """Take note of how the stream stands; None while Redis does not tell."""
        self._away.set(standing is None)
        if standing is None:
            return
        self._waiting.set(standing.waiting)
        self._pending.set(standing.pending)
        self._oldest.set(standing.oldest_seconds or 0.0)
        self._letters.set(standing.dead_letters)
