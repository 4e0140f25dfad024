"""What people write with pyreqwest, whose requests are made by Rust, in threads of its own."""

from __future__ import annotations

import asyncio
from collections.abc import Iterable
from typing import Any

from pyreqwest.client import ClientBuilder

from benchmarks.orders import HEADERS, PATH, Order

__all__ = ["claim_all"]


async def claim_all(url: str, orders: Iterable[Order], concurrency: int) -> list[Any]:
    """Claim with one task for each order; give what each answer says is held."""
    slots = asyncio.Semaphore(concurrency)
    builder = ClientBuilder().error_for_status(enable=True).default_headers(HEADERS)
    async with builder.build() as client:

        async def claim(badge_id: str, owner_type: str, reference_id: str) -> Any:  # noqa: ANN401 - parsed JSON
            async with slots:
                request = client.post(f"{url}{PATH}/{badge_id}/claim").body_json(
                    {"ownerType": owner_type, "referenceId": reference_id}
                )
                response = await request.build().send()
                return (await response.json())["data"]

        return await asyncio.gather(*(claim(*order) for order in orders))
