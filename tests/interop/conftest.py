"""Each server as a fixture, before a sandbox of its own."""

from __future__ import annotations

from collections.abc import AsyncIterator

import pytest
import pytest_asyncio

from badges_async import BasicAuth
from badges_async.sandbox import Sandbox
from tests.interop.configurations import KINDS, Kind, Settings
from tests.interop.servers import Server
from tests.interop.tap import Tap


@pytest.fixture(params=[*KINDS.values()], ids=[*KINDS])
def kind(request: pytest.FixtureRequest) -> Kind:
    """Run a test once for each kind of server."""
    chosen: Kind = request.param
    return chosen


@pytest.fixture
def settings() -> Settings:
    """Give how the server treats its clients; a test parametrises it to have it otherwise."""
    return Settings()


@pytest_asyncio.fixture
async def server(kind: Kind, settings: Settings, badges_sandbox: Sandbox) -> AsyncIterator[Server]:
    """Start a server before the sandbox."""
    upstream = int(badges_sandbox.url.rpartition(":")[2])
    async with Server(kind, settings, upstream) as started:
        yield started


@pytest_asyncio.fixture
async def tap(server: Server) -> AsyncIterator[Tap]:
    """Give a line to the server that keeps its answers."""
    async with Tap(server.port) as line:
        yield line


@pytest.fixture
def auth(badges_sandbox: Sandbox) -> BasicAuth:
    """Give the sandbox's credentials."""
    return BasicAuth(badges_sandbox.username, badges_sandbox.password)
