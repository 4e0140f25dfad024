"""What people write with httpx."""

from __future__ import annotations

import asyncio
import ssl
from collections.abc import Iterable
from typing import Any

import httpx

from benchmarks.orders import HEADERS, PATH, Order

__all__ = ["claim_all"]

# Each client would make one of its own, which takes longer than some claims do.
_TLS = ssl.create_default_context()


async def claim_all(url: str, orders: Iterable[Order], concurrency: int) -> list[Any]:
    """Claim with one task for each order; give what each answer says is held."""
    slots = asyncio.Semaphore(concurrency)
    # Its default limits: it costs less under them than with a connection for each slot.
    async with httpx.AsyncClient(verify=_TLS, headers=HEADERS) as client:

        async def claim(badge_id: str, owner_type: str, reference_id: str) -> Any:  # noqa: ANN401 - parsed JSON
            async with slots:
                response = await client.post(
                    f"{url}{PATH}/{badge_id}/claim",
                    json={"ownerType": owner_type, "referenceId": reference_id},
                )
            response.raise_for_status()
            return response.json()["data"]

        return await asyncio.gather(*(claim(*order) for order in orders))
