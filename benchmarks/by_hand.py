"""
What people write when they claim many badges with aiohttp and no library.

`claim_all` is the short version. `claim_all_with_care` is what it grows into when a run must not
lose, double or misreport a claim: a bound for each attempt, retries, the errors inside of an
answer, the check that the answer is about this claim, one result object for each.
"""

from __future__ import annotations

import asyncio
from collections.abc import Iterable
from typing import Any

import aiohttp
import attrs
import backoff

from benchmarks.orders import HEADERS as _HEADERS
from benchmarks.orders import PATH as _PATH
from benchmarks.orders import Order

__all__ = ["claim_all", "claim_all_with_care"]

_BUSY = frozenset({408, 425, 429, 500, 502, 503, 504})
_ALREADY_CLAIMED = 900


async def claim_all(url: str, orders: Iterable[Order], concurrency: int) -> list[Any]:
    """Claim with one task for each order; give what each answer says is held."""
    slots = asyncio.Semaphore(concurrency)
    async with aiohttp.ClientSession() as session:

        async def claim(badge_id: str, owner_type: str, reference_id: str) -> Any:  # noqa: ANN401 - parsed JSON
            async with (
                slots,
                session.post(
                    f"{url}{_PATH}/{badge_id}/claim",
                    json={"ownerType": owner_type, "referenceId": reference_id},
                    headers=_HEADERS,
                ) as response,
            ):
                response.raise_for_status()
                return (await response.json())["data"]

        return await asyncio.gather(*(claim(*order) for order in orders))


@attrs.frozen
class Result:
    """What became of an order."""

    order: Order
    data: Any
    already_claimed: bool
    warnings: list[Any]
    request_id: str | None
    attempts: int


class BusyError(Exception):
    """The service may answer later."""


class RefusedError(Exception):
    """The service said no."""


async def claim_all_with_care(url: str, orders: Iterable[Order], concurrency: int) -> list[Result]:
    """Claim with one task for each order, as a run that matters would have it."""
    slots = asyncio.Semaphore(concurrency)
    async with aiohttp.ClientSession() as session:

        async def claim(order: Order) -> Result:
            badge_id, owner_type, reference_id = order
            attempts = 0

            @backoff.on_exception(
                backoff.expo, (aiohttp.ClientError, TimeoutError, BusyError), max_tries=5
            )
            async def attempt() -> Result:
                nonlocal attempts
                attempts += 1
                async with (
                    asyncio.timeout(15),
                    session.post(
                        f"{url}{_PATH}/{badge_id}/claim",
                        json={"ownerType": owner_type, "referenceId": reference_id},
                        headers=_HEADERS,
                        allow_redirects=False,
                    ) as response,
                ):
                    if response.status in _BUSY:
                        raise BusyError(response.status)
                    document = await response.json(content_type=None)
                errors = document.get("errors") or []
                warnings = document.get("warnings") or []
                already = any(said.get("code") == _ALREADY_CLAIMED for said in errors + warnings)
                if (errors or response.status != 200) and not already:  # noqa: PLR2004 - HTTP's OK
                    raise RefusedError(errors)
                data = document.get("data") or {}
                if not already and data.get("referenceId") != reference_id:
                    raise BusyError("the answer is about another claim")
                request_id = response.headers.get("X-CAP-REQUEST-ID")
                return Result(order, data, already, warnings, request_id, attempts)

            async with slots:
                return await attempt()

        return await asyncio.gather(*(claim(order) for order in orders))
