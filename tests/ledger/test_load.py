"""A great many claims at once."""

from __future__ import annotations

import asyncio
import time
from collections.abc import AsyncIterator, Iterator
from pathlib import Path

import pytest

from badges_async.claims import ClaimRequest
from badges_async.enums import OwnerType
from badges_async.errors import InvalidInputError
from badges_async.ledger import Ledger, loading
from tests.ledger.support import claims, entries


async def test_loading_again_adds_nothing(tmp_path: Path) -> None:
    path = tmp_path / "run.db"
    async with Ledger.open(path) as ledger:
        assert await ledger.load([]) == 0
        assert await ledger.load(claims(*range(2500), *range(100))) == 2500
        assert await ledger.load(claims(*range(2500))) == 0
        assert await ledger.load(iter(claims(*range(2400, 2600)))) == 100
    assert list(entries(path)) == [str(number) for number in range(2600)]


async def test_a_source_may_take_its_time(tmp_path: Path) -> None:
    async def source() -> AsyncIterator[ClaimRequest]:
        for each in claims(*range(1500)):
            await asyncio.sleep(0)
            yield each

    async with Ledger.open(tmp_path / "run.db") as ledger:
        assert await ledger.load(source()) == 1500


@pytest.mark.parametrize("wrong", ["text", None, ("b", "Loyalty", "1")])
async def test_what_is_no_request_is_refused(tmp_path: Path, wrong: object) -> None:
    async with Ledger.open(tmp_path / "run.db") as ledger:
        with pytest.raises(InvalidInputError, match="must be ClaimRequest"):
            await ledger.load([*claims(*range(1500)), wrong])  # type: ignore[list-item]
        assert ledger.failure is None
        assert (await ledger.standing()).total == 1000


async def test_a_source_that_fails_and_a_load_that_is_cancelled(tmp_path: Path) -> None:
    def source(error: type[BaseException]) -> Iterator[ClaimRequest]:
        yield from claims(*range(1500))
        raise error

    async with Ledger.open(tmp_path / "run.db") as ledger:
        for error in (OSError, asyncio.CancelledError):
            with pytest.raises(error):
                await ledger.load(source(error))
        assert await ledger.load(claims(*range(1500))) == 500


def memory() -> int:
    """Give the bytes that this process has in use now."""
    pages = Path("/proc/self/statm").read_text(encoding="ascii").split()[1]
    return int(pages) * 4096


@pytest.mark.slow
@pytest.mark.timeout(180)
async def test_a_million(tmp_path: Path) -> None:
    """Under 30 s and 64 MB, and the event loop goes on meanwhile."""

    def million() -> Iterator[ClaimRequest]:
        for number in range(1_000_000):
            yield ClaimRequest("65f1c2a94be7d0135a9c7e10", OwnerType.LOYALTY, f"{number}")

    most = before = memory()
    late: list[float] = []
    over = False

    async def measure() -> None:
        nonlocal most
        while not over:
            began = time.perf_counter()
            await asyncio.sleep(0.01)
            late.append(time.perf_counter() - began - 0.01)
            most = max(most, memory())

    async with Ledger.open(tmp_path / "run.db") as ledger, asyncio.TaskGroup() as group:
        group.create_task(measure())
        began = time.process_time()
        assert await ledger.load(million()) == 1_000_000
        assert time.process_time() - began < 30  # of its own: the machine may be busy
        assert await ledger.load(claims(*range(1000, 3000))) == 0
        assert (await ledger.standing()).pending == 1_000_000
        over = True
    assert most - before < 64 * 1024 * 1024
    assert len(late) > 50, "the event loop had hardly a turn"


async def test_a_source_is_not_read_further_ahead_than_the_disk_allows(
    monkeypatch: pytest.MonkeyPatch,
) -> None:
    monkeypatch.setattr(loading, "_AT_ONCE", 2)
    asked: list[asyncio.Future[int]] = []

    def submit(_: object) -> asyncio.Future[int]:
        asked.append(asyncio.get_running_loop().create_future())
        return asked[-1]

    load = asyncio.ensure_future(loading.load(claims(*range(100)), submit))
    for written in range(5):
        for _ in range(50):
            await asyncio.sleep(0)
        assert len(asked) == 20 + written
        asked[written].set_result(2)
    while not load.done():
        await asyncio.sleep(0)
        for future in asked[5:]:
            if not future.done():
                future.set_result(2)
    assert load.result() == 100
