"""Very many rows: what a run keeps is a matter of its width, not of its length."""

from __future__ import annotations

import asyncio
import gc
import tracemalloc

import pytest

from badges_async import BadgesClient, BasicAuth, Ports
from tests.kill_helpers import Echo, make_claims

ROWS, CONCURRENCY, MEBIBYTE = 100_000, 16, 1 << 20


@pytest.mark.slow
@pytest.mark.timeout(180)
async def test_a_run_of_very_many_rows_keeps_nothing_of_them() -> None:
    """F099: a tenth of a million rows; `python -m benchmarks memory` does it with all of it."""
    client = BadgesClient("badges.test", BasicAuth("a", "b"), ports=Ports(transport=Echo()))
    before = len(asyncio.all_tasks())
    tasks, sizes = 0, list[int]()
    tracemalloc.start()
    try:
        async with client.claim_many(make_claims(ROWS), concurrency=CONCURRENCY) as run:
            done = 0
            async for _ in run:
                done += 1
                if done % 5000 == 0:
                    gc.collect()
                    tasks = max(tasks, len(asyncio.all_tasks()) - before)
                    sizes.append(tracemalloc.get_traced_memory()[0])
    finally:
        tracemalloc.stop()
    assert run.report.claimed == ROWS
    assert tasks <= CONCURRENCY + 10
    assert max(sizes) - sizes[0] < MEBIBYTE
