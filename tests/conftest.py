"""What all tests share. Helpers without a fixture are in modules of this package."""

from __future__ import annotations

import asyncio
import gc
from collections.abc import Callable, Iterator, Mapping
from types import SimpleNamespace
from typing import Any

import aiohttp
import pytest
from aioresponses import aioresponses
from hypothesis import HealthCheck, settings
from yarl import URL

from badges_async import BadgesClient, SessionManager

# The first would be loaded by itself, and too early: see addopts in pyproject.toml.
pytest_plugins = ["badges_async.pytest_plugin", "tests.worker.redis_servers"]

# No drawn case is judged by the clock: the machine may be busy with something else.
settings.register_profile(
    "unhurried",
    parent=settings.default,
    deadline=None,
    suppress_health_check=[HealthCheck.too_slow],
)
settings.load_profile("unhurried")


@pytest.hookimpl(tryfirst=True)  # before what is slow is left out
def pytest_collection_modifyitems(items: list[pytest.Item]) -> None:
    """
    Leave the `session` lane on uvloop to the slow tests.

    A quick run has each lane on asyncio's loop, and each loop with the `wire` lane.
    """
    for item in items:
        chosen = getattr(item, "callspec", None)
        if chosen and chosen.params.get("lane") == "session" and "uvloop" in item.nodeid:
            item.add_marker(pytest.mark.slow)


def pytest_collection_finish() -> None:
    """
    Take what the collected tests hold out of the garbage collector's sight.

    It looks at all of it again and again, for a quarter of a second and more, in which no loop
    runs. A server on the loop of a test then sees requests late that left in time.
    """
    gc.collect()
    gc.freeze()


class _Answer(aiohttp.ClientResponse):
    """An answer as aiohttp 3.14 makes it; aioresponses 0.7.9 leaves out the `stream_writer`."""

    def __init__(self, method: str, url: URL, **options: Any) -> None:
        writer: Any = SimpleNamespace(output_size=0)
        super().__init__(method, url, stream_writer=writer, **options)


class FakeService(aioresponses):
    """
    `aioresponses`, repaired: ``fake_service.post(url, payload={...})`` and the like.

    Attributes:
        asked: Every URL that was asked for, as it came; the keys of `requests` are normalised.
    """

    def __init__(self, **options: Any) -> None:
        self.asked: list[URL] = []
        super().__init__(**options)

    async def _request_mock(
        self, orig_self: aiohttp.ClientSession, method: str, url: Any, *args: Any, **kwargs: Any
    ) -> aiohttp.ClientResponse:
        self.asked.append(url)
        return await super()._request_mock(orig_self, method, url, *args, **kwargs)

    def add(self, url: Any, *args: Any, **options: Any) -> None:
        """Answer requests to *url*, as `aioresponses` documents it."""
        super().add(url, *args, **{"response_class": _Answer, **options})


@pytest.fixture
def fake_service() -> Iterator[FakeService]:
    """
    Answer aiohttp's requests from a table, without a network.

    For statuses and bodies; timeouts, pools and broken connections need the sandbox. Works on the
    virtual clock as well.
    """
    service = FakeService()
    with service:
        yield service


@pytest.fixture(params=["session", "wire"])
def lane(request: pytest.FixtureRequest, monkeypatch: pytest.MonkeyPatch) -> str:
    """
    Run a test once for each lane: every client that names none gets this one.

    ``@pytest.mark.usefixtures("lane")`` is enough. An async test then also runs on both loops; one
    on the virtual clock has a loop of its own. Without this fixture a client's lane is ``auto``.
    """
    name: str = request.param
    for maker in (BadgesClient, SessionManager):
        monkeypatch.setitem(vars(maker)["__init__"].__kwdefaults__, "lane", name)
    assert SessionManager("badges.example.com").lane == name
    return name


def pytest_asyncio_loop_factories(
    item: pytest.Item,
) -> Mapping[str, Callable[[], asyncio.AbstractEventLoop]]:
    """Run the tests that have a `lane` on both loops, and all others on asyncio's."""
    loops: dict[str, Callable[[], asyncio.AbstractEventLoop]] = {"asyncio": asyncio.new_event_loop}
    if "lane" in getattr(item, "fixturenames", ()):
        loops["uvloop"] = _new_uvloop
    return loops


def _new_uvloop() -> asyncio.AbstractEventLoop:
    uvloop = pytest.importorskip("uvloop", reason="needs uvloop, of the extra `fast`")
    loop: asyncio.AbstractEventLoop = uvloop.new_event_loop()
    return loop
