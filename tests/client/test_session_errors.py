"""Every way in which an exchange can fail, as one of our errors, and whether it may have acted."""

from __future__ import annotations

import asyncio
import errno
import inspect
import socket
import ssl
from typing import Any, cast

import aiohttp
import pytest
from aiohttp.client_reqrep import ConnectionKey, RequestInfo
from multidict import CIMultiDict, CIMultiDictProxy
from yarl import URL

from badges_async import (
    BadgesClient,
    BadgesError,
    BasicAuth,
    ClientClosedError,
    ConnectError,
    ConnectionLostError,
    DeadlineError,
    RetryPolicy,
    SessionManager,
    TransportError,
)
from badges_async.messages import Reply, Request
from badges_async.sandbox import Fault, Sandbox
from tests.client.byte_server import Answer, ByteServer, Exchange, http
from tests.conftest import FakeService

BADGE = "69381220cebb9648d8974518"
POST = Request("claim", BADGE, "POST", f"/api_gateway/v1/badges/badgeMeta/{BADGE}/claim", b"{}")
AUTH = BasicAuth("till.demo", "s3cret-Pass")
ONCE = RetryPolicy(max_attempts=1)


async def send(manager: SessionManager, **options: Any) -> Reply:
    return await manager.send(POST, AUTH.headers(), **{"seconds": 5.0, **options})


# All of aiohttp's exceptions: what raises them in a session is a table, on no connection

_INFO = RequestInfo(URL("http://x/"), "POST", CIMultiDictProxy(CIMultiDict()), URL("http://x/"))
_KEY = ConnectionKey("x", 80, False, True, None, None, None)  # noqa: FBT003 - aiohttp's own
_OS = OSError(errno.ECONNREFUSED, "refused")

MADE: dict[str, Exception] = {
    "ClientConnectorError": aiohttp.ClientConnectorError(_KEY, _OS),
    "ClientConnectorDNSError": aiohttp.ClientConnectorDNSError(_KEY, _OS),
    "ClientProxyConnectionError": aiohttp.ClientProxyConnectionError(_KEY, _OS),
    "ClientSSLError": aiohttp.ClientSSLError(_KEY, _OS),
    "ClientConnectorSSLError": aiohttp.ClientConnectorSSLError(_KEY, _OS),
    "ClientConnectorCertificateError": aiohttp.ClientConnectorCertificateError(
        _KEY, ssl.SSLCertVerificationError(1, "self-signed certificate")
    ),
    "ServerFingerprintMismatch": aiohttp.ServerFingerprintMismatch(b"a", b"b", "x", 443),
    "ClientResponseError": aiohttp.ClientResponseError(_INFO, (), status=400),
    "ClientHttpProxyError": aiohttp.ClientHttpProxyError(_INFO, (), status=407),
    "ContentTypeError": aiohttp.ContentTypeError(_INFO, ()),
    "TooManyRedirects": aiohttp.TooManyRedirects(_INFO, ()),
    "WSServerHandshakeError": aiohttp.WSServerHandshakeError(_INFO, ()),
    "InvalidURL": aiohttp.InvalidURL("x"),
    "InvalidUrlClientError": aiohttp.InvalidUrlClientError("x"),
    "InvalidUrlRedirectClientError": aiohttp.InvalidUrlRedirectClientError("x"),
    "NonHttpUrlClientError": aiohttp.NonHttpUrlClientError("x"),
    "NonHttpUrlRedirectClientError": aiohttp.NonHttpUrlRedirectClientError("x"),
}
NEVER_SENT = {
    "ClientConnectorError",
    "ClientHttpProxyError",
    "ClientConnectorDNSError",
    "ClientProxyConnectionError",
    "ClientSSLError",
    "ClientConnectorSSLError",
    "ClientConnectorCertificateError",
    "ServerFingerprintMismatch",
    "ConnectionTimeoutError",
}
# Raised by its server, by its web sockets, or by reading a form: no request of ours meets them.
NOT_OURS = {
    "BadContentDispositionHeader",
    "BadContentDispositionParam",
    "EofStream",
    "WSMessageTypeError",
    "WebSocketError",
}
EXPORTED = {
    name: thing
    for name, thing in vars(aiohttp).items()
    if inspect.isclass(thing) and issubclass(thing, BaseException)
}


def test_the_lists_above_name_what_aiohttp_has() -> None:
    # What it adds is caught below: a new class is made without arguments, and must be mapped.
    assert EXPORTED.keys() >= MADE.keys() | NOT_OURS | NEVER_SENT


@pytest.mark.parametrize("name", sorted(EXPORTED.keys() - NOT_OURS))
async def test_every_exception_of_aiohttp_becomes_one_of_ours(
    name: str, fake_service: FakeService
) -> None:
    error = MADE[name] if name in MADE else EXPORTED[name]()
    fake_service.post(f"http://127.0.0.1:1{POST.target}", exception=error)

    async with SessionManager("http://127.0.0.1:1") as manager:
        with pytest.raises(TransportError) as caught:
            await send(manager)

    ours = caught.value
    assert ours.maybe_applied is (name not in NEVER_SENT)
    assert isinstance(ours, ConnectError) is (name in NEVER_SENT)
    assert isinstance(ours, DeadlineError) is (
        issubclass(EXPORTED[name], TimeoutError) and name not in NEVER_SENT
    )
    refused = name in {"ClientConnectorCertificateError", "ServerFingerprintMismatch"}
    assert getattr(ours, "certificate_refused", False) is refused
    assert (ours.__cause__, ours.__context__) == (None, None)


@pytest.mark.parametrize(
    "error",
    [
        TimeoutError(),
        ConnectionResetError(104, "reset"),
        OSError(errno.EMFILE, "too many open files"),
        RuntimeError("Session is closed"),
        ValueError("of a parser"),
        ssl.SSLError(1, "bad record"),
    ],
    ids=lambda error: type(error).__name__,
)
async def test_what_the_system_raises_becomes_one_of_ours(
    error: Exception, fake_service: FakeService
) -> None:
    fake_service.post(f"http://127.0.0.1:1{POST.target}", exception=error)
    async with SessionManager("http://127.0.0.1:1") as manager:
        with pytest.raises(TransportError):
            await send(manager)


@pytest.mark.parametrize("error", [KeyboardInterrupt, asyncio.CancelledError, LookupError])
async def test_what_is_no_failure_of_the_network_is_left_alone(
    error: type[BaseException], fake_service: FakeService
) -> None:
    fake_service.post(f"http://127.0.0.1:1{POST.target}", exception=cast("Exception", error()))
    async with SessionManager("http://127.0.0.1:1") as manager:
        with pytest.raises(error):
            await send(manager)


# Before the connection is there: never sent


@pytest.mark.usefixtures("lane")
async def test_a_port_where_nobody_listens_was_never_reached() -> None:
    """F001: refused is not reached."""
    with socket.socket() as taken:
        taken.bind(("127.0.0.1", 0))
        async with SessionManager(f"http://127.0.0.1:{taken.getsockname()[1]}") as manager:
            with pytest.raises(ConnectError, match="could not connect") as caught:
                await send(manager)
    assert (caught.value.maybe_applied, caught.value.certificate_refused) == (False, False)


@pytest.mark.usefixtures("lane")
async def test_a_name_that_nobody_has_was_never_reached(monkeypatch: pytest.MonkeyPatch) -> None:
    async def no_such_name(*_: Any, **__: Any) -> Any:
        raise socket.gaierror(socket.EAI_NONAME, "Name or service not known")

    monkeypatch.setattr(asyncio.get_running_loop(), "getaddrinfo", no_such_name)
    async with SessionManager("nobody.example.com") as manager:
        with pytest.raises(ConnectError, match=r"nobody\.example\.com") as caught:
            await send(manager)
    assert not caught.value.maybe_applied


@pytest.mark.usefixtures("lane")
async def test_a_name_that_fails_once_is_asked_for_again(monkeypatch: pytest.MonkeyPatch) -> None:
    """F002: no failure of a name is remembered."""
    asked = 0

    async def fail(*_: Any, **__: Any) -> Any:
        nonlocal asked
        asked += 1
        raise socket.gaierror(socket.EAI_AGAIN, "Try again")

    monkeypatch.setattr(asyncio.get_running_loop(), "getaddrinfo", fail)
    client = BadgesClient("nobody.example.com", AUTH, retry=RetryPolicy(max_attempts=3, base=0))
    async with client:
        with pytest.raises(ConnectError) as caught:
            await client.get_badge(BADGE)
    assert (asked, caught.value.attempts) == (3, 3)


# After it: maybe


def cut(data: bytes, *, reset: bool = False) -> Answer:
    async def step(exchange: Exchange) -> None:
        if data:
            await exchange.say(data)
            await asyncio.sleep(0)
        (exchange.reset if reset else exchange.close)()

    return step


BROKEN: dict[str, Answer] = {
    "closed": cut(b""),
    "reset": cut(b"", reset=True),
    "half a head": cut(b"HTTP/1.1 200 OK\r\nContent-Le"),
    "head only": cut(http(b"", length=30)),
    "half a body": cut(http(b'{"data"', length=30)),
    "reset in the body": cut(http(b'{"data"', length=30), reset=True),
    "no last chunk": cut(b"HTTP/1.1 200 OK\r\nTransfer-Encoding: chunked\r\n\r\n5\r\nhello\r\n"),
    "no chunk": cut(b"HTTP/1.1 200 OK\r\nTransfer-Encoding: chunked\r\n\r\nxyz\r\n"),
    "no HTTP": cut(b"220 mail.example.com ESMTP\r\n\r\n"),
    "a long line": cut(http(b"{}", "X-Padding: " + "x" * 20_000)),
    "two lengths": cut(http(b"{}", "Content-Length: 3")),
    "no gzip": cut(http(b"not compressed at all", "Content-Encoding: gzip")),
}


@pytest.mark.usefixtures("lane")
@pytest.mark.parametrize("name", BROKEN)
async def test_an_answer_that_breaks_may_have_been_applied(name: str) -> None:
    """F007, F010, F011, F012, F013, F027, F028, F029, F058: lost, in doubt, and no refusal."""
    async with ByteServer(BROKEN[name]) as server, SessionManager(server.url) as manager:
        with pytest.raises(ConnectionLostError) as caught:
            await send(manager)
    assert caught.value.maybe_applied
    assert not caught.value.stale  # the connection was new


@pytest.mark.usefixtures("lane")
async def test_a_parser_error_is_never_taken_for_status_400() -> None:
    async with (
        ByteServer(BROKEN["no chunk"]) as server,
        BadgesClient(server.url, AUTH, retry=ONCE) as client,
    ):
        with pytest.raises(BadgesError) as caught:
            await client.claim(BADGE, "Loyalty", "1")
    assert type(caught.value) is ConnectionLostError


@pytest.mark.usefixtures("lane")
async def test_an_answer_cut_anywhere_is_whole_or_lost() -> None:
    whole = http(b'{"data":null,"errors":[{"code":900}]}', status="409 Conflict")
    for size in range(len(whole) + 1):
        async with ByteServer(cut(whole[:size])) as server, SessionManager(server.url) as manager:
            if size < len(whole):
                with pytest.raises(ConnectionLostError) as caught:
                    await send(manager)
                assert caught.value.maybe_applied
            else:
                assert (await send(manager)).status == 409


@pytest.mark.usefixtures("lane")
@pytest.mark.parametrize(
    "fault",
    [
        fault
        for fault in Fault
        if fault.name.startswith(("RESET", "CLOSE", "TRUNC", "MALF", "LONG"))
    ],
)
async def test_each_breakage_of_the_sandbox_is_recovered_from(fault: Fault) -> None:
    async with (
        Sandbox(faults=[fault]) as sandbox,
        BadgesClient(sandbox.url, AUTH, retry=RetryPolicy(base=0)) as client,
    ):
        result = await client.claim(BADGE, "Loyalty", "1")
    assert (result.attempts, result.already_claimed) == (2, fault.commits)
    assert sandbox.claims >= {(BADGE, "Loyalty", "1")}


async def test_an_error_of_ours_stays_as_it_is() -> None:
    """A middleware of a session that was passed in may use this library as well."""

    async def refuse(_: aiohttp.ClientRequest, __: object) -> aiohttp.ClientResponse:
        raise refusal

    refusal = ClientClosedError("the other client is closed")
    async with Sandbox() as sandbox, aiohttp.ClientSession(middlewares=(refuse,)) as session:
        with pytest.raises(ClientClosedError) as caught:
            await send(SessionManager(sandbox.url, session=session))
        assert caught.value is refusal
        assert sandbox.requests == ()
