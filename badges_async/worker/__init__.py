"""
The event-consumer worker: claim events in, outcomes out, at least once and harmlessly so.

```python
async with FleetQuota(connect(url), Quota(100, per=60.0), name="brand-a") as quota:
    async with BadgesClient.from_env(quota=quota) as client:
        await ClaimWorker(client, RedisSource(connect(url))).run()
```

This list is public. What speaks to Redis (`RedisSource`, `RedisStream`, `FleetQuota`, `connect`)
needs the extra ``worker``; the rest, `MemorySource` with it, needs nothing.
"""

from __future__ import annotations

from importlib import import_module
from typing import TYPE_CHECKING, Any

from badges_async.worker.dead_letters import DeadLetter
from badges_async.worker.errors import SourceError
from badges_async.worker.events import ClaimEvent, UnreadableEventError
from badges_async.worker.memory import MemorySource
from badges_async.worker.report import WorkerReport
from badges_async.worker.source import Delivery, Settlement, Source, Verdict
from badges_async.worker.standing import Consumer, Standing
from badges_async.worker.worker import ClaimWorker

if TYPE_CHECKING:
    from badges_async.worker.fleet_quota import FleetQuota, QuotaUse, quota_uses
    from badges_async.worker.metrics import WorkerMetrics
    from badges_async.worker.redis_enqueue import Added
    from badges_async.worker.redis_link import connect
    from badges_async.worker.redis_source import RedisSource
    from badges_async.worker.redis_stream import RedisStream

__all__ = [
    "Added",
    "ClaimEvent",
    "ClaimWorker",
    "Consumer",
    "DeadLetter",
    "Delivery",
    "FleetQuota",
    "MemorySource",
    "QuotaUse",
    "RedisSource",
    "RedisStream",
    "Settlement",
    "Source",
    "SourceError",
    "Standing",
    "UnreadableEventError",
    "Verdict",
    "WorkerMetrics",
    "WorkerReport",
    "connect",
    "quota_uses",
]

# What needs the extra is imported when it is asked for.
_EXTRA = {
    "Added": "redis_enqueue",
    "FleetQuota": "fleet_quota",
    "QuotaUse": "fleet_quota",
    "RedisSource": "redis_source",
    "RedisStream": "redis_stream",
    "WorkerMetrics": "metrics",
    "connect": "redis_link",
    "quota_uses": "fleet_quota",
}


def __getattr__(name: str) -> Any:  # noqa: ANN401 - any of the names above
    room = _EXTRA.get(name)
    if room is None:
        raise AttributeError(f"module {__name__!r} has no attribute {name!r}")
    try:
        return getattr(import_module(f"{__name__}.{room}"), name)
    except ModuleNotFoundError as error:
        missing = (error.name or "").partition(".")[0]
        if missing in {"", __name__.partition(".")[0]}:
            raise
        raise ImportError(
            f"{name} needs {missing}: pip install 'badges_async[worker]'", name=missing
        ) from error


def __dir__() -> list[str]:
    return __all__
