"""Looking for what a test leaves behind: tasks, warnings, complaints to the loop."""

from __future__ import annotations

import asyncio
import contextlib
import functools
import gc
from collections.abc import AsyncIterator, Callable, Coroutine
from typing import Any, ParamSpec

__all__ = ["leaving_nothing", "nothing_left_behind"]

P = ParamSpec("P")


@contextlib.asynccontextmanager
async def nothing_left_behind() -> AsyncIterator[None]:
    """
    Fail if the block leaves a task, or something that complains when it is collected.

    The loop's debug mode is on meanwhile. Warnings are errors in all tests, also those of a
    connection or session that was not closed; collecting here says which test it was.
    """
    loop = asyncio.get_running_loop()
    complaints: list[dict[str, Any]] = []
    before = asyncio.all_tasks()
    loop.set_debug(True)
    loop.set_exception_handler(lambda _, context: complaints.append(context))
    yield
    for _ in range(3):
        await asyncio.sleep(0)
    gc.collect()
    await asyncio.sleep(0)
    left = asyncio.all_tasks() - before
    assert not left, f"left behind: {left}"
    assert not complaints, f"the loop was told of: {complaints}"


def leaving_nothing(
    test: Callable[P, Coroutine[Any, Any, None]],
) -> Callable[P, Coroutine[Any, Any, None]]:
    """Make a test fail if it leaves something behind."""

    @functools.wraps(test)
    async def run(*args: P.args, **kwargs: P.kwargs) -> None:
        async with nothing_left_behind():
            await test(*args, **kwargs)

    return run
