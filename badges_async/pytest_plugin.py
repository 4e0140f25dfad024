"""
Fixtures for the tests of our users: a sandbox, and a client joined to it.

pytest loads this module into every run of an environment that has the package, so it imports
nothing of ours and nothing large until a fixture is asked for.

Works with pytest-asyncio, in its auto and in its strict mode; without pytest-asyncio the fixtures
are plain async ones, which anyio's plugin runs.
"""

from __future__ import annotations

import contextlib
from collections.abc import AsyncIterator
from typing import TYPE_CHECKING, Any

import pytest

async_fixture = pytest.fixture
with contextlib.suppress(ImportError):
    import pytest_asyncio

    # Its strict mode runs only async fixtures that are marked as its own.
    async_fixture = pytest_asyncio.fixture  # type: ignore[assignment]

if TYPE_CHECKING:
    from badges_async import BadgesClient
    from badges_async.sandbox import Sandbox

__all__ = ["badges_client", "badges_client_options", "badges_sandbox", "badges_sandbox_options"]


@pytest.fixture
def badges_sandbox_options() -> dict[str, Any]:
    """Keyword arguments for the `Sandbox`; override this fixture to set some."""
    return {}


@pytest.fixture
def badges_client_options() -> dict[str, Any]:
    """Keyword arguments for the `BadgesClient`; override this fixture to set some."""
    return {}


@async_fixture
async def badges_sandbox(badges_sandbox_options: dict[str, Any]) -> AsyncIterator[Sandbox]:
    """Give a Badges service on loopback that has started, new for each test."""
    from badges_async.sandbox import Sandbox  # noqa: PLC0415  (see the module's docstring)

    async with Sandbox(**badges_sandbox_options) as sandbox:
        yield sandbox


@async_fixture
async def badges_client(
    badges_sandbox: Sandbox, badges_client_options: dict[str, Any]
) -> AsyncIterator[BadgesClient]:
    """Give an open client of `badges_sandbox`, with Basic credentials."""
    from badges_async import BadgesClient, BasicAuth  # noqa: PLC0415  (see the module's docstring)

    auth = BasicAuth(badges_sandbox.username, badges_sandbox.password)
    async with BadgesClient(badges_sandbox.url, auth, **badges_client_options) as client:
        yield client
