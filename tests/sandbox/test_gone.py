"""A client that has left before its request is served."""

# ruff: noqa: SLF001 - no client leaves so early on purpose

from __future__ import annotations

import pytest
from aiohttp.streams import EMPTY_PAYLOAD
from aiohttp.test_utils import make_mocked_request
from aiohttp.web import Request

from badges_async.sandbox import Fault, RawAnswer, Sandbox
from badges_async.sandbox.line import CLOSED, Line
from tests.sandbox.clients import AUTHORIZATION

BADGE = "/api_gateway/v1/badges/badgeMeta/69381220cebb9648d8974518"


def left() -> Request:
    """Give a request whose connection is gone."""
    headers = {"Authorization": AUTHORIZATION}
    request = make_mocked_request("GET", BADGE, headers, payload=EMPTY_PAYLOAD)
    request.protocol.transport = None
    return request


@pytest.mark.parametrize(
    "turn",
    [None, Fault.STALE_KEEP_ALIVE, Fault.IDLE_CLOSE, Fault.RESET_BEFORE, RawAnswer(b"HTTP/1.1 ")],
    ids=str,
)
async def test_who_has_left_is_told_nothing(turn: Fault | RawAnswer | None) -> None:
    async with Sandbox(faults=[turn]) as sandbox:
        assert await sandbox._service.handle(left()) is CLOSED
        [record] = sandbox.requests
        assert (record.operation, record.status) == ("get", None)
        assert sandbox._service._stale == set()


async def test_a_connection_without_a_socket_is_broken_as_well() -> None:
    request = make_mocked_request("GET", BADGE)
    assert await Line(request, 1).reset() is CLOSED
    assert request.transport is not None
    request.transport.abort.assert_called_once_with()  # type: ignore[attr-defined]
