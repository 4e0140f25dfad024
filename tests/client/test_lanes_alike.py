"""
Whatever a server says, cut into whatever pieces: both lanes make the same of it.

There are two exceptions, and in both the wire knows better:

- an answer that ends with its connection, and the connection was reset: it may be cut, so to the
  wire it is lost, and to aiohttp's session whole;
- an answer that breaks HTTP after its head came in a piece of its own (a trailer that is too long,
  a deflated body that is cut): the wire says so at once. In aiohttp's session whoever reads the
  body does not hear of it, and waits until the deadline.
"""

from __future__ import annotations

import asyncio
import gzip
import zlib
from contextlib import suppress
from typing import Any

import attrs
import pytest
from hypothesis import example, given, settings
from hypothesis import strategies as st

from badges_async import BadgesError, ConnectionLostError, DeadlineError, SessionManager
from badges_async.messages import Request
from tests.client.byte_server import ByteServer, Exchange, answer, http

CLAIM = Request("claim", "b", "POST", "/b/claim", b"{}")
NEXT = b"the next one"
OK = http(b"{}")
HEAD = b"HTTP/1.1 200 OK\r\n"
CHUNKED = HEAD + b"Transfer-Encoding: chunked\r\n"
LENGTH = b"Content-Length: 2\r\n"
GZIPPED, DEFLATED = gzip.compress(b"hello" * 50, mtime=0), zlib.compress(b"hello" * 50)

ANSWERS: dict[str, bytes] = {
    "plain": OK,
    "interim": b"HTTP/1.1 100 Continue\r\n\r\n" * 5 + b"HTTP/1.1 103 X\r\nLink: x\r\n\r\n" + OK,
    "interim with a length": b"HTTP/1.1 103 X\r\nContent-Length: 3\r\n\r\nabc" + OK,
    "interim in chunks": b"HTTP/1.1 102 X\r\nTransfer-Encoding: chunked\r\n\r\n0\r\n\r\n" + OK,
    "199": b"HTTP/1.1 199 X\r\n\r\n" + OK,
    "101": b"HTTP/1.1 101 X\r\n\r\n",
    "101 to another protocol": b"HTTP/1.1 101 X\r\nUpgrade: x\r\nConnection: upgrade\r\n\r\n" + OK,
    "200 with an upgrade": HEAD + b"Upgrade: h2c\r\nConnection: upgrade\r\n" + LENGTH + b"\r\n{}",
    "099": b"HTTP/1.1 099 X\r\n" + LENGTH + b"\r\n{}",
    "999": b"HTTP/1.1 999 X\r\n" + LENGTH + b"\r\n{}",
    "four digits": b"HTTP/1.1 2000 X\r\n" + LENGTH + b"\r\n{}",
    "no reason": b"HTTP/1.1 200\r\n" + LENGTH + b"\r\n{}",
    "204": b"HTTP/1.1 204 X\r\n\r\n",
    "204 with a length": b"HTTP/1.1 204 X\r\n" + LENGTH + b"\r\n",
    "204 with a body": b"HTTP/1.1 204 X\r\n" + LENGTH + b"\r\n{}",
    "204 in chunks": b"HTTP/1.1 204 X\r\nTransfer-Encoding: chunked\r\n\r\n0\r\n\r\n",
    "204 and gzip": b"HTTP/1.1 204 X\r\nContent-Encoding: gzip\r\n\r\n",
    "304": b"HTTP/1.1 304 X\r\nContent-Length: 20\r\n\r\n",
    "close": http(b"{}", "Connection: close"),
    "close and more": http(b"{}", "Connection: close") + OK,
    "HTTP/1.0": OK.replace(b"1.1", b"1.0", 1),
    "HTTP/1.0 that stays": http(b"{}", "Connection: keep-alive").replace(b"1.1", b"1.0", 1),
    "HTTP/0.9": OK.replace(b"1.1", b"0.9", 1),
    "HTTP/2.0": OK.replace(b"1.1", b"2.0", 1),
    "ICY": OK.replace(b"HTTP/1.1", b"ICY", 1),
    "no HTTP": b"220 mail.example.com ESMTP\r\n\r\n",
    "a request": b"GET / HTTP/1.1\r\nHost: x\r\n\r\n",
    "TLS": b"\x16\x03\x01\x02\x00\x01",
    "nothing": b"",
    "empty lines": b"\r\n\r\n",
    "empty lines first": b"\r\n\r\n" + OK,
    "the same length twice": HEAD + LENGTH + LENGTH + b"\r\n{}",
    "two lengths": HEAD + LENGTH + b"Content-Length: 3\r\n\r\n{}a",
    "a length and chunks": CHUNKED + LENGTH + b"\r\n2\r\n{}\r\n0\r\n\r\n",
    "no length": HEAD + b"Content-Length: \r\n\r\n{}",
    "a length with a sign": HEAD + b"Content-Length: +2\r\n\r\n{}",
    "a length beyond all": HEAD + b"Content-Length: " + b"9" * 30 + b"\r\n\r\n{}",
    "chunks": CHUNKED + b"\r\n1;a=b\r\n{\r\n1 \r\n}\r\n0\r\n\r\n",
    "a trailer": CHUNKED + b"\r\n2\r\n{}\r\n0\r\nX: 1\r\n\r\n",
    "a bad trailer": CHUNKED + b"\r\n2\r\n{}\r\n0\r\nX T\0: 1\r\n\r\n",
    "a long trailer": CHUNKED + b"\r\n2\r\n{}\r\n0\r\nX: " + b"a" * 9000 + b"\r\n\r\n",
    "many trailers": CHUNKED + b"\r\n2\r\n{}\r\n0\r\n" + b"X: 1\r\n" * 200 + b"\r\n",
    "a chunk of no size": CHUNKED + b"\r\nzz\r\n{}\r\n0\r\n\r\n",
    "a chunk of a negative size": CHUNKED + b"\r\n-1\r\n{}\r\n0\r\n\r\n",
    "a chunk beyond all": CHUNKED + b"\r\n" + b"f" * 17 + b"\r\n{}\r\n0\r\n\r\n",
    "a chunk without an end": CHUNKED + b"\r\n2\r\n{}0\r\n\r\n",
    "chunks that are coded": HEAD + b"Transfer-Encoding: gzip, chunked\r\n\r\n2\r\n{}\r\n0\r\n\r\n",
    "bare line feeds": OK.replace(b"\r\n", b"\n"),
    "gzip": http(GZIPPED, "Content-Encoding: GZIP"),
    "gzip, cut": http(GZIPPED[:-9], "Content-Encoding: gzip"),
    "gzip, twice": http(GZIPPED * 2, "Content-Encoding: gzip"),
    "gzip and more": http(GZIPPED + b"more", "Content-Encoding: gzip"),
    "gzip in chunks": CHUNKED
    + b"Content-Encoding: gzip\r\n\r\n%x\r\n%s\r\n0\r\n\r\n" % (len(GZIPPED), GZIPPED),
    "no gzip": http(b"no gzip at all", "Content-Encoding: gzip"),
    "gzip of nothing": http(b"", "Content-Encoding: gzip"),
    "deflate": http(DEFLATED, "Content-Encoding: deflate"),
    "deflate, bare": http(DEFLATED[2:-4], "Content-Encoding: deflate"),
    "br": http(b"xx", "Content-Encoding: br"),
    "a coding of nobody's": http(b"xx", "Content-Encoding: x"),
    "two answers": OK + OK,
    "and a line": OK + b"\r\n",
    "and rubbish": OK + b"rubbish",
    "a folded field": HEAD + LENGTH + b"X: a\r\n b\r\n\r\n{}",
    "a null": HEAD + LENGTH + b"X: a\0b\r\n\r\n{}",
    "a control character": HEAD + LENGTH + b"X: a\x01b\r\n\r\n{}",
    "a name with a space": HEAD + LENGTH + b"X Y: a\r\n\r\n{}",
    "a space before the colon": HEAD + b"Content-Length : 2\r\n\r\n{}",
    "no colon": HEAD + b"x\r\n" + LENGTH + b"\r\n{}",
    "no text": HEAD + LENGTH + b"X: \xfc\r\n\r\n{}",
    "a field of 8,190": http(b"{}", "X: " + "a" * 8190),
    "a field of 8,191": http(b"{}", "X: " + "a" * 8191),
    "a long reason": http(b"{}", status="200 " + "a" * 8192),
    "128 fields": http(b"{}", *["X: 1"] * 127),
    "129 fields": http(b"{}", *["X: 1"] * 128),
    "a body that is cut": http(b"{}", length=5),
    "a head that is cut": HEAD + b"Content-Le",
    "until the end": HEAD + b"\r\n{}",
    "until the end, gzip": HEAD + b"Content-Encoding: gzip\r\n\r\n" + GZIPPED,
}


LOST, LATE = (ConnectionLostError, True, False), (DeadlineError, True, None)


@attrs.frozen
class Told:
    """What a server does: says these pieces, each in a turn of its own, and ends."""

    pieces: list[bytes]
    reset: bool


async def made_of(told: Told, lane: str, seconds: float = 10) -> tuple[object, ...]:
    """Give what a lane makes of an answer: a reply, or the kind of an error."""
    over = asyncio.Event()

    async def step(exchange: Exchange) -> None:
        for piece in told.pieces:
            if not exchange.writer.is_closing():
                await exchange.say(piece)
            for _ in range(4):
                await asyncio.sleep(0)
        with suppress(OSError):  # the client has left
            (exchange.reset if told.reset else exchange.close)()
        over.set()

    async with (
        ByteServer(step, answer(http(NEXT))) as server,
        SessionManager(server.url, lane=lane) as manager,
    ):
        try:
            reply = await manager.send(CLAIM, {}, seconds=seconds)
        except BadgesError as error:
            made: tuple[object, ...] = (
                type(error),
                getattr(error, "maybe_applied", None),
                getattr(error, "stale", None),
            )
        else:
            headers: Any = reply.headers
            made = (reply.status, tuple(headers.items()), reply.body, reply.complete)
        await over.wait()  # for how else could a later piece be told from a later answer
        for _ in range(5):
            await asyncio.sleep(0)
        if lane == "wire":  # nothing of all this is anybody's answer
            assert (await manager.send(CLAIM, {}, seconds=10)).body == NEXT
    return made


async def compare(told: Told) -> None:
    by_wire, by_session = await made_of(told, "wire"), await made_of(told, "session", 1)
    if by_wire == LOST and (by_session == LATE or (told.reset and ends_with_it(by_session))):
        return  # the exceptions above
    if by_session == LATE:  # the machine was busy
        by_session = await made_of(told, "session")
    assert by_wire == by_session


def ends_with_it(made: tuple[object, ...]) -> bool:
    """Whether a reply ended with its connection."""
    if len(made) != 4:
        return False
    fields = {name.lower(): value for name, value in made[1]}  # type: ignore[attr-defined]
    last_coding = fields.get("transfer-encoding", "").lower().rpartition(",")[2].strip()
    return "content-length" not in fields and last_coding != "chunked"


@pytest.mark.parametrize("reset", [False, True], ids=["close", "reset"])
@pytest.mark.parametrize("name", ANSWERS)
async def test_both_lanes_make_the_same_of_an_answer(name: str, *, reset: bool) -> None:
    data = ANSWERS[name]
    middle = len(data) // 2
    for cuts in ([0], [0, middle], [0, 1], [0, max(len(data) - 1, 0)]):
        ends = [*cuts[1:], len(data)]
        pieces = [data[begin:end] for begin, end in zip(cuts, ends, strict=True)]
        await compare(Told(pieces, reset))


async def test_the_wire_takes_no_answer_for_whole_that_was_reset() -> None:
    for pieces in ([HEAD, b"\r\n{}"], [HEAD + b"\r\n{}"], [OK[:-1]]):
        assert await made_of(Told(pieces, reset=True), "wire") == LOST


@st.composite
def told(draw: st.DrawFn) -> Told:
    """Draw an answer or two, a few bytes of which are other ones, in pieces."""
    names = [name for name, data in ANSWERS.items() if len(data) < 400 and "deflate" not in name]
    data = bytearray(
        b"".join(draw(st.lists(st.sampled_from(names).map(ANSWERS.__getitem__), max_size=2)))
    )
    for place in draw(st.lists(st.integers(0, len(data)), max_size=3)):
        size = draw(st.integers(0, 3))
        data[place : place + size] = draw(st.binary(max_size=3) | st.sampled_from([b"\r\n", b"0"]))
    cuts = sorted(draw(st.sets(st.integers(0, len(data)), max_size=5)))
    pieces = [bytes(data[a:b]) for a, b in zip([0, *cuts], [*cuts, len(data)], strict=True)]
    return Told([piece for piece in pieces if piece], draw(st.booleans()))


@pytest.mark.slow
@given(told=told())
@example(told=Told([OK + OK[:20]], reset=False))
@example(told=Told([OK[:-2], OK[-2:] + b"rubbish"], reset=False))
@settings(deadline=None, max_examples=150)
def test_both_lanes_make_the_same_of_whatever_a_server_says(told: Told) -> None:
    asyncio.run(compare(told))
