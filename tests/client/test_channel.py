"""One connection of the wire lane: whose answer it is, where it ends, what comes after it."""

from __future__ import annotations

import pytest

from badges_async import BasicAuth, SessionManager
from badges_async.messages import Request
from tests.client.byte_server import ByteServer, answer, http
from tests.client.leftovers import nothing_left_behind

pytestmark = pytest.mark.usefixtures("lane")

AUTH = BasicAuth("till.demo", "s3cret-Pass")
GET = Request("get_badge", "b", "GET", "/b")


def in_chunks(parts: list[bytes], *fields: str) -> bytes:
    """Write an answer whose body comes in *parts*."""
    head = "\r\n".join(["HTTP/1.1 200 OK", "Transfer-Encoding: chunked", *fields, "", ""])
    chunks = b"".join(b"%x\r\n%s\r\n" % (len(part), part) for part in parts)
    return head.encode() + chunks + b"0\r\n\r\n"


# A stream of aiohttp stops reading at a number of parts: 32,768 with our limit.
@pytest.mark.parametrize("count", [32_768, 32_769, 32_770, 33_000, 70_000])
async def test_an_answer_in_very_many_parts_is_whole_and_hurts_no_other(count: int) -> None:
    body = bytes(65 + place % 26 for place in range(count))
    parts = [body[place : place + 1] for place in range(count)]
    script = answer(in_chunks(parts)), answer(http(b"{}"))
    async with (
        nothing_left_behind(),
        ByteServer(*script) as server,
        SessionManager(server.url) as manager,
    ):
        first = await manager.send(GET, AUTH.headers(), seconds=10)
        second = await manager.send(GET, AUTH.headers(), seconds=10)
    assert (first.body, first.complete) == (body, True)
    assert second.body == b"{}"
