"""A worker's numbers for Prometheus."""

from __future__ import annotations

from typing import cast

import pytest
from prometheus_client import CollectorRegistry, generate_latest

from badges_async import (
    AttemptEvent,
    BadgesClient,
    BasicAuth,
    ClaimOutcome,
    ClaimStatus,
    ConnectError,
)
from badges_async.sandbox import Sandbox
from badges_async.worker import (
    ClaimEvent,
    ClaimWorker,
    Delivery,
    MemorySource,
    Settlement,
    Standing,
    Verdict,
    WorkerMetrics,
    WorkerReport,
)

BADGE = "662749408fe258516a88fe89"


@pytest.fixture
def metrics() -> WorkerMetrics:
    return WorkerMetrics(CollectorRegistry())


def value(metrics: WorkerMetrics, name: str, **labels: str) -> float | None:
    return metrics.registry.get_sample_value(f"badges_{name}", labels)


def settlement(
    verdict: Verdict,
    status: ClaimStatus | None = None,
    *,
    recovered: bool = False,
    reason: str = "",
) -> Settlement:
    event = ClaimEvent(BADGE, "Loyalty", "secret-reference", "event-id")
    outcome = None if status is None else ClaimOutcome(event, status, recovered=recovered)
    return Settlement(Delivery(event, "0-1"), verdict, outcome, reason, "said secret-reference")


def attempt(status: int | None, seconds: float = 0.2) -> AttemptEvent:
    error = None if status else ConnectError("gone")
    return AttemptEvent(
        operation="claim",
        badge_id=BADGE,
        attempt=1,
        status=status,
        error=error,
        seconds=seconds,
        waits={},
    )


def test_every_series_with_a_known_label_is_there_from_the_start(metrics: WorkerMetrics) -> None:
    """A rate needs the zero before the first one."""
    for status in ClaimStatus:
        assert value(metrics, "claims_total", status=status.value) == 0
    for verdict in Verdict:
        assert value(metrics, "deliveries_total", verdict=verdict.value) == 0
    for name in ("recovered_total", "lost_leases_total", "in_flight", "held", "redis_away"):
        assert value(metrics, name) == 0


def test_settlements_are_counted_by_what_became_of_them(metrics: WorkerMetrics) -> None:
    """A claim by status, a delivery by verdict, a dead letter by reason."""
    metrics.settled(settlement(Verdict.SETTLE, ClaimStatus.CLAIMED))
    metrics.settled(settlement(Verdict.SETTLE, ClaimStatus.ALREADY_CLAIMED, recovered=True))
    metrics.settled(settlement(Verdict.RETRY, ClaimStatus.FAILED))
    metrics.settled(settlement(Verdict.BURY, ClaimStatus.REJECTED, reason="rejected"))
    metrics.settled(settlement(Verdict.BURY, reason="unreadable"))
    metrics.settled(settlement(Verdict.RELEASE))

    for status in ("claimed", "already_claimed", "failed", "rejected"):
        assert value(metrics, "claims_total", status=status) == 1
    assert value(metrics, "recovered_total") == 1
    verdicts = {"settle": 2, "retry": 1, "bury": 2, "release": 1}
    for verdict, count in verdicts.items():
        assert value(metrics, "deliveries_total", verdict=verdict) == count
    assert value(metrics, "dead_letters_total", reason="rejected") == 1
    assert value(metrics, "dead_letters_total", reason="unreadable") == 1


def test_requests_are_counted_and_measured(metrics: WorkerMetrics) -> None:
    """By status, and those without an answer too."""
    for status in (200, 200, 429, None):
        metrics.observer(attempt(status))

    assert value(metrics, "requests_total", status="200") == 2
    assert value(metrics, "requests_total", status="429") == 1
    assert value(metrics, "requests_total", status="none") == 1
    assert value(metrics, "request_seconds_count") == 4
    assert value(metrics, "request_seconds_sum") == pytest.approx(0.8)
    assert value(metrics, "request_seconds_bucket", le="0.1") == 0
    assert value(metrics, "request_seconds_bucket", le="0.25") == 4


def test_no_label_tells_whose_claim_it_was(metrics: WorkerMetrics) -> None:
    """Nor which badge, which event, or what somebody said."""
    metrics.settled(settlement(Verdict.BURY, ClaimStatus.REJECTED, reason="rejected"))
    metrics.observer(attempt(200))
    text = generate_latest(metrics.registry).decode()

    for word in (BADGE, "secret-reference", "event-id", "0-1"):
        assert word not in text


def test_gauges_say_how_the_stream_stands(metrics: WorkerMetrics) -> None:
    """And keep what was known while Redis is away."""
    metrics.stands(Standing(waiting=7, pending=3, oldest_seconds=12.5, dead_letters=2))
    metrics.stands(None)

    names = ("stream_waiting", "stream_pending", "stream_oldest_seconds", "stream_dead_letters")
    assert [value(metrics, name) for name in names] == [7, 3, 12.5, 2]
    assert value(metrics, "redis_away") == 1

    metrics.stands(Standing())
    assert value(metrics, "stream_oldest_seconds") == 0
    assert value(metrics, "redis_away") == 0


async def test_a_worker_counts_by_itself(metrics: WorkerMetrics, badges_sandbox: Sandbox) -> None:
    """With its two hooks, and a look at it."""
    source = MemorySource()
    for badge, reference in ((BADGE, "1"), (BADGE, "2"), ("no-such-badge", "1")):
        await source.put(ClaimEvent(badge, "Loyalty", reference))
    auth = BasicAuth(badges_sandbox.username, badges_sandbox.password)
    async with BadgesClient(badges_sandbox.url, auth, observers=[metrics.observer]) as client:
        worker = ClaimWorker(client, source, once=True, on_settled=metrics.settled)
        await worker.run()
    metrics.look(worker)

    assert value(metrics, "claims_total", status="claimed") == 2
    assert value(metrics, "dead_letters_total", reason="rejected") == 1
    assert value(metrics, "requests_total", status="200") == 2
    assert value(metrics, "request_seconds_count") == 3
    assert value(metrics, "held") == value(metrics, "in_flight") == 0


def test_lost_leases_are_counted_once(metrics: WorkerMetrics) -> None:
    """However often somebody looks."""

    class Loser:
        in_flight, held, waiting_for_service = 3, 5, True
        report = WorkerReport(counts=dict.fromkeys(ClaimStatus, 0), lost=2)

    for _ in range(3):
        metrics.look(cast("ClaimWorker", Loser()))

    assert value(metrics, "lost_leases_total") == 2
    assert value(metrics, "in_flight") == 3
    assert value(metrics, "held") == 5
    assert value(metrics, "service_down") == 1


def test_two_of_them_need_two_registries(metrics: WorkerMetrics) -> None:
    """As everywhere with Prometheus."""
    with pytest.raises(ValueError, match="Duplicated"):
        WorkerMetrics(metrics.registry)
