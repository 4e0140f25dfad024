"""
A million claims on their way into a ledger, while the event loop goes on.

Here: how much is taken at once. Not here: what is written (`store`), or when (`writer`).
"""

from __future__ import annotations

import asyncio
import contextlib
from collections import deque
from collections.abc import AsyncGenerator, AsyncIterable, AsyncIterator, Callable, Iterable

from badges_async.claims import ClaimRequest
from badges_async.errors import InvalidInputError
from badges_async.ledger.store import keys_of
from badges_async.ledger.writer import Operation

__all__ = ["load"]

# Encoding more at once would hold up the event loop.
_AT_ONCE = 1000
# Those asked for while a transaction runs share the next one; more in hand only costs memory.
_IN_HAND = 20


async def load(
    requests: Iterable[ClaimRequest] | AsyncIterable[ClaimRequest],
    submit: Callable[[Operation[int]], asyncio.Future[int]],
) -> int:
    """
    Enter *requests* that are not there yet; give how many that were.

    Cancelled, or failed on the way, some of them are there.

    Raises:
        InvalidInputError: One of them is no `ClaimRequest`.
        LedgerError: They cannot be recorded.
    """
    added = 0
    pending: deque[asyncio.Future[int]] = deque()
    async with contextlib.aclosing(_chunks(requests)) as chunks:
        async for chunk in chunks:
            pending.append(submit(_adding(chunk)))
            if len(pending) >= _IN_HAND:
                added += await pending.popleft()
            await asyncio.sleep(0)
    while pending:
        added += await pending.popleft()
    return added


def _adding(requests: list[ClaimRequest]) -> Operation[int]:
    keys = keys_of(requests)
    return lambda store: store.add(keys)


async def _chunks(
    requests: Iterable[ClaimRequest] | AsyncIterable[ClaimRequest],
) -> AsyncGenerator[list[ClaimRequest], None]:
    chunk: list[ClaimRequest] = []
    async for request in _each(requests):
        if not isinstance(request, ClaimRequest):
            raise InvalidInputError(f"requests must be ClaimRequest, not {type(request).__name__}")
        chunk.append(request)
        if len(chunk) >= _AT_ONCE:
            yield chunk
            chunk = []
    if chunk:
        yield chunk


async def _each(
    requests: Iterable[ClaimRequest] | AsyncIterable[ClaimRequest],
) -> AsyncIterator[ClaimRequest]:
    if isinstance(requests, AsyncIterable):
        async for request in requests:
            yield request
    else:
        for request in requests:
            yield request
