"""Which lane a request takes: the wire, until somebody watches or changes aiohttp's session."""

from __future__ import annotations

import functools
import os
import subprocess
import sys
import textwrap
from collections.abc import Callable
from types import FunctionType, SimpleNamespace
from typing import Any

import aiohttp
import pytest
from aioresponses import aioresponses

from badges_async import BadgesClient, BasicAuth, InvalidInputError, SessionManager, lanes
from badges_async.messages import Reply, Request
from badges_async.sandbox import Sandbox
from tests.client.byte_server import ByteServer, answer, http
from tests.client.leftovers import leaving_nothing
from tests.conftest import FakeService

AUTH = BasicAuth("till.demo", "s3cret-Pass")
BADGE = "69381220cebb9648d8974518"
GET = Request("get_badge", BADGE, "GET", "/b")
WELL = answer(http(b"{}"))


async def send(manager: SessionManager) -> Reply:
    return await manager.send(GET, AUTH.headers(), seconds=5)


def wrapping_init(change: Callable[[dict[str, Any]], None]) -> Any:
    """Wrap `ClientSession.__init__` as instrumentations do, so that *change* sees its options."""
    plain: Any = aiohttp.ClientSession.__init__

    def init(self: Any, *args: Any, **options: Any) -> None:
        change(options)
        plain(self, *args, **options)

    return init


class Wrapped:
    """What wrapt puts in a function's place: it pretends to be one in every way but its type."""

    def __init__(self, function: Any, seen: list[Any]) -> None:
        self.__wrapped__, self._seen = function, seen

    def __getattr__(self, name: str) -> Any:
        return getattr(self.__wrapped__, name)

    @property  # type: ignore[misc]
    def __class__(self) -> type:
        return FunctionType

    def __get__(self, session: Any, _: type | None = None) -> Any:
        return Wrapped(self.__wrapped__.__get__(session), self._seen) if session else self

    def __call__(self, *args: Any, **options: Any) -> Any:
        self._seen.append(args)
        return self.__wrapped__(*args, **options)


def add_trace(options: dict[str, Any]) -> None:
    options["trace_configs"] = [*options.get("trace_configs", ()), aiohttp.TraceConfig()]


async def look_on(request: aiohttp.ClientRequest, handler: Any) -> aiohttp.ClientResponse:
    response: aiohttp.ClientResponse = await handler(request)
    return response


WATCHERS: dict[str, Callable[[dict[str, Any]], None]] = {
    "trace configs": add_trace,
    "middlewares": lambda options: options.update(middlewares=(look_on,)),
    "a proxy": lambda options: options.update(proxy="http://127.0.0.1:9"),
}


# Who is there when the client is opened


@leaving_nothing
async def test_nobody_watches_so_it_is_the_wire() -> None:
    async with ByteServer(WELL) as server, SessionManager(server.url) as manager:
        assert manager.lane == "wire"
        await send(manager)
        assert manager.lane == "wire"
    assert BadgesClient("badges.example.com", AUTH).lane == "wire"
    assert BadgesClient("badges.example.com", AUTH, lane="session").lane == "session"


@leaving_nothing
async def test_a_trace_that_an_instrumentation_adds_sees_every_request(
    monkeypatch: pytest.MonkeyPatch,
) -> None:
    seen: list[str] = []

    async def note(_: aiohttp.ClientSession, __: Any, params: Any) -> None:
        seen.append(params.url.path)

    def add(options: dict[str, Any]) -> None:
        config = aiohttp.TraceConfig()
        config.on_request_end.append(note)
        options["trace_configs"] = [*(options.get("trace_configs") or ()), config]

    monkeypatch.setattr(aiohttp.ClientSession, "__init__", wrapping_init(add))
    async with Sandbox() as sandbox, BadgesClient(sandbox.url, AUTH) as client:
        assert client.lane == "session"
        await client.claim(BADGE, "Loyalty", "1")
        await client.get_badge(BADGE)
    assert len(seen) == 2


@pytest.mark.parametrize("what", WATCHERS)
@leaving_nothing
async def test_who_changes_a_session_gets_the_session_lane(
    what: str, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr(aiohttp.ClientSession, "__init__", wrapping_init(WATCHERS[what]))
    async with SessionManager("http://127.0.0.1:1") as manager:
        assert manager.lane == "session"


@pytest.mark.parametrize("what", WATCHERS)
@leaving_nothing
async def test_the_wire_and_a_changed_session_is_an_error_that_leaves_nothing(
    what: str, monkeypatch: pytest.MonkeyPatch
) -> None:
    sessions: list[aiohttp.ClientSession] = []
    init = wrapping_init(WATCHERS[what])

    def keep(self: Any, *args: Any, **options: Any) -> None:
        init(self, *args, **options)
        sessions.append(self)

    monkeypatch.setattr(aiohttp.ClientSession, "__init__", keep)
    manager = SessionManager("http://127.0.0.1:1", lane="wire")
    with pytest.raises(InvalidInputError, match=rf"lane='wire'.*{what}"):
        manager.ensure_usable()
    assert [session.closed for session in sessions] == [True]
    await manager.close()


async def test_a_session_that_is_passed_in_is_used() -> None:
    async with aiohttp.ClientSession() as session, ByteServer(WELL) as server:
        async with SessionManager(server.url, session=session) as manager:
            assert manager.lane == "session"
            await send(manager)
        with pytest.raises(InvalidInputError, match="pass no session"):
            SessionManager(server.url, session=session, lane="wire")
        with pytest.raises(InvalidInputError, match="pass no session"):
            BadgesClient(server.url, AUTH, session=session, lane="wire")


@pytest.mark.parametrize("lane", ["", "Wire", "http2", None])
async def test_a_lane_that_nobody_knows_is_refused(lane: Any) -> None:
    with pytest.raises(InvalidInputError, match="auto, session or wire"):
        SessionManager("badges.example.com", lane=lane)


class Subclass:
    """In the place of `aiohttp.ClientSession`: what some mocks put there."""

    def __new__(cls, **options: Any) -> Any:
        return SimpleNamespace(closed=False, detach=lambda: None, close=cls.close, **options)

    @staticmethod
    async def close() -> None:
        pass

    async def _request(self) -> None: ...

    async def request(self) -> None: ...


async def test_a_class_in_place_of_the_session_gets_the_session_lane(
    monkeypatch: pytest.MonkeyPatch,
) -> None:
    monkeypatch.setattr(aiohttp, "ClientSession", Subclass)
    async with SessionManager("http://127.0.0.1:1") as manager:
        assert manager.lane == "session"
        monkeypatch.undo()
        assert manager.lane == "session"  # what it was opened with, it keeps
    monkeypatch.setattr(aiohttp, "ClientSession", Subclass)
    with pytest.raises(InvalidInputError, match="another class"):
        SessionManager("http://127.0.0.1:1", lane="wire").ensure_usable()


# Who comes and goes while it is open


@leaving_nothing
async def test_a_mock_may_come_and_go() -> None:
    async with ByteServer(WELL) as server, SessionManager(server.url) as manager:
        lanes = [manager.lane, len(server.seen)]
        await send(manager)
        for _ in range(2):
            with FakeService() as service:
                service.get(f"{server.url}/b", body=b"mocked")
                lanes += [manager.lane]
                assert (await send(manager)).body == b"mocked"
            lanes += [manager.lane]
            assert (await send(manager)).body == b"{}"
    assert lanes == ["wire", 0, "session", "wire", "session", "wire"]
    assert (len(server.seen), server.accepted) == (3, 1)


async def test_a_subclass_may_come_while_the_client_is_open(
    monkeypatch: pytest.MonkeyPatch,
) -> None:
    with pytest.warns(DeprecationWarning, match="Inheritance"):
        subclass = type("Watching", (aiohttp.ClientSession,), {})
    async with ByteServer(WELL) as server, SessionManager(server.url) as manager:
        with monkeypatch.context() as patch:
            patch.setattr(aiohttp, "ClientSession", subclass)
            assert manager.lane == "session"
            await send(manager)
            async with SessionManager(server.url) as other:
                assert other.lane == "session"
        assert manager.lane == "wire"


async def test_a_mock_that_was_there_before_the_client_may_go() -> None:
    async with ByteServer(WELL) as server:
        with aioresponses():
            manager = SessionManager(server.url)
            manager.ensure_usable()
            assert manager.lane == "session"
        assert manager.lane == "wire"
        assert (await send(manager)).body == b"{}"
        await manager.close()


@pytest.mark.parametrize("name", ["_request", "request"])
@leaving_nothing
async def test_a_wrapper_that_looks_like_the_function_is_noticed(
    name: str, monkeypatch: pytest.MonkeyPatch
) -> None:
    seen: list[Any] = []
    async with ByteServer(WELL) as server, SessionManager(server.url) as manager:
        wrapper = Wrapped(getattr(aiohttp.ClientSession, name), seen)
        assert isinstance(wrapper, FunctionType)
        monkeypatch.setattr(aiohttp.ClientSession, name, wrapper)
        assert manager.lane == "session"
        await send(manager)
        assert len(seen) == 1


def test_what_wraps_aiohttps_function_is_not_taken_for_it() -> None:
    """Also when it was there before us."""
    own, wrapper = aiohttp.ClientSession.request, Wrapped(aiohttp.ClientSession.request, [])
    given = [own, wrapper, functools.wraps(own)(lambda: None)]
    assert [lanes._own(each) for each in given] == [own, None, None]  # noqa: SLF001


@leaving_nothing
async def test_the_wire_and_a_mock_is_an_error_as_long_as_it_is_there() -> None:
    async with ByteServer(WELL) as server, SessionManager(server.url, lane="wire") as manager:
        with aioresponses(), pytest.raises(InvalidInputError, match="ClientSession is patched"):
            await send(manager)
        assert (await send(manager)).body == b"{}"
    assert len(server.seen) == 1


# What aiohttp must have for the wire; a process of its own for each

CHANGES = {
    "no base of protocols": "sys.modules['aiohttp.base_protocol'] = None",
    "another base of protocols": "del aiohttp.base_protocol.BaseProtocol",
    "no such base argument": "aiohttp.base_protocol.BaseProtocol = object",
    "no parser": "del aiohttp.http.HttpResponseParser",
    "a parser with other arguments": "aiohttp.http.HttpResponseParser = lambda limit: None",
    "a parser that ends otherwise": """
class Parser:
    def __init__(self, *args, **options):
        self.real = real(*args, **options)
    def __getattr__(self, name):
        return getattr(self.real, name)
    def feed_eof(self):
        return None
real = aiohttp.http.HttpResponseParser
aiohttp.http.HttpResponseParser = Parser
""",
    "a parser that fails": """
class Parser:
    def __init__(self, *args, **options):
        raise SystemError("of a extension module")
aiohttp.http.HttpResponseParser = Parser
""",
    "a connector with other arguments": """
async def connect(self, req, timeout): ...
aiohttp.BaseConnector.connect = connect
""",
    "no connector": "del aiohttp.BaseConnector.connect",
    "no request to ask with": "del aiohttp.ClientRequest",
    "a request with other arguments": """
class Request:
    def __init__(self, method, url, *, headers): ...
aiohttp.ClientRequest = Request
""",
    "a protocol with another state": """
class Protocol(asyncio.Protocol):
    def __init__(self, loop, parser=None):
        self.loop = loop
aiohttp.base_protocol.BaseProtocol = Protocol
""",
    "no class of connection": "del aiohttp.connector.Connection",
}
SCRIPT = """
import asyncio, logging, sys
import aiohttp, aiohttp.base_protocol, aiohttp.connector, aiohttp.http
records = []
class Keep(logging.Handler):
    def emit(self, record):
        records.append(record)
logging.getLogger("badges_async").addHandler(Keep())
{change}
from badges_async import SessionManager
from badges_async.messages import Request

async def answer(reader, writer):
    await reader.readuntil(b"\\r\\n\\r\\n")
    writer.write(b"HTTP/1.1 200 OK\\r\\nContent-Length: 2\\r\\nConnection: close\\r\\n\\r\\n{{}}")
    writer.close()

async def main():
    server = await asyncio.start_server(answer, "127.0.0.1", 0)
    url = "http://127.0.0.1:%d" % server.sockets[0].getsockname()[1]
    async with server, SessionManager(url) as manager:
        print(manager.lane)
        {send}

asyncio.run(main())
for record in records:
    print(record.levelname, record.getMessage())
"""
SEND = 'assert (await manager.send(Request("g", "b", "GET", "/b"), {}, seconds=5)).body == b"{}"'


def run(change: str, *, send: bool = True, **environment: str) -> list[str]:
    """Import the package into an aiohttp that was changed, send, and give what it said."""
    script = SCRIPT.format(change=textwrap.dedent(change), send=SEND if send else "pass")
    done = subprocess.run(  # noqa: S603 - our own script
        [sys.executable, "-W", "error", "-c", script],
        env={**os.environ, **environment},
        capture_output=True,
        text=True,
        timeout=25,
        check=False,
    )
    assert done.returncode == 0, done.stderr
    return done.stdout.splitlines()


def test_an_aiohttp_as_we_know_it_has_the_wire_and_says_nothing() -> None:
    assert run("") == ["wire"]


@pytest.mark.slow
@pytest.mark.parametrize("change", CHANGES)
def test_another_aiohttp_gets_the_session_lane_and_one_warning(change: str) -> None:
    # Some of these aiohttp itself cannot do without.
    broken = {"no connector", "a connector with other arguments", "no class of connection"}
    lane, *warnings = run(CHANGES[change], send=change not in broken)
    assert lane == "session"
    [warning] = warnings
    assert warning.startswith("WARNING requests take the session lane: ")


def test_a_parser_without_extension_is_known_or_left_alone() -> None:
    lane, *warnings = run("", AIOHTTP_NO_EXTENSIONS="1")
    assert (lane, len(warnings)) in {("wire", 0), ("session", 1)}
