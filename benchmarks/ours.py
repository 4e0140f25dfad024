"""The package, with everything that it does by default: deadlines, retries, checks, outcomes."""

from __future__ import annotations

from badges_async import BadgesClient, BasicAuth, ClaimRequest
from benchmarks.orders import Order

__all__ = ["by_session", "by_wire"]


async def by_session(url: str, orders: list[Order], concurrency: int) -> None:
    """Claim on the session lane."""
    await _claim_many("session", url, orders, concurrency)


async def by_wire(url: str, orders: list[Order], concurrency: int) -> None:
    """Claim on the wire lane."""
    await _claim_many("wire", url, orders, concurrency)


async def _claim_many(lane: str, url: str, orders: list[Order], concurrency: int) -> None:
    requests = (ClaimRequest(*order) for order in orders)
    async with BadgesClient(url, BasicAuth("till.demo", "password"), lane=lane) as client:
        run = client.claim_many(requests, concurrency=concurrency)
        async with run as outcomes:
            async for outcome in outcomes:
                if outcome.error is not None:
                    raise outcome.error
    if client.lane != lane or run.report.claimed != len(orders):
        raise AssertionError("a run that claims everything on its lane is measured, no other")
