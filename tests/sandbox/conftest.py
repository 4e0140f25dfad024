"""Clients that are joined to a sandbox."""

from __future__ import annotations

from collections.abc import AsyncIterator

import aiohttp
import pytest

from badges_async.sandbox import Sandbox
from tests.sandbox.clients import AUTHORIZATION, Till, Wire


@pytest.fixture
async def sandbox(badges_sandbox: Sandbox) -> Sandbox:
    """Give a sandbox with the options that `badges_sandbox_options` names."""
    return badges_sandbox


@pytest.fixture
async def till(sandbox: Sandbox) -> AsyncIterator[Till]:
    """Give a client with the right password."""
    headers = {"Authorization": AUTHORIZATION}
    async with aiohttp.ClientSession(sandbox.url, headers=headers) as session:
        yield Till(session)


@pytest.fixture
async def wire(sandbox: Sandbox) -> AsyncIterator[Wire]:
    """Give a bare connection."""
    wire = await Wire.open(sandbox)
    yield wire
    await wire.close()


@pytest.fixture
def open_wire() -> type[Wire]:
    """Give the class, for tests that open several connections."""
    return Wire
