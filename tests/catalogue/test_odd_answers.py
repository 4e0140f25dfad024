"""
Answers that look odd and are the service's all the same, and answers without an end.

Here: what is read though it is dressed up, and how much is read of what is too long. Not here: what
is no answer (`test_foreign_answers`).
"""

from __future__ import annotations

import gzip
import tracemalloc
import zlib
from collections.abc import Callable, Iterator
from contextlib import contextmanager

import pytest

from badges_async import BadgesClient, BasicAuth, ClaimRequest, ClaimStatus, RetryPolicy
from tests.answers import MEBIBYTE, envelope, held, notice
from tests.client.byte_server import ByteServer, Exchange, answer, http, until

pytestmark = pytest.mark.usefixtures("lane")

AUTH = BasicAuth("till.demo", "s3cret-Pass")
BADGE = "69381220cebb9648d8974518"
ROW = ClaimRequest(BADGE, "Loyalty", "1")
HELD = envelope(held(referenceId="1"))
CONTINUE = b"HTTP/1.1 100 Continue\r\n\r\n"
HINTS = b"HTTP/1.1 103 Early Hints\r\nLink: </style.css>; rel=preload\r\n\r\n"


@pytest.mark.parametrize(
    "data",
    [
        pytest.param(CONTINUE * 5 + HINTS + http(HELD), id="F026"),
        pytest.param(http(HELD, status="299 Hardly"), id="F051"),
        pytest.param(http(b"\xef\xbb\xbf" + HELD), id="F054 byte order mark"),
        pytest.param(
            http(HELD, "Content-Type: application/json; charset=klingon"), id="F054 charset"
        ),
        pytest.param(
            http(HELD, "Content-Type: text/plain; charset=utf-16"), id="F054 other charset"
        ),
        pytest.param(http(HELD, "Content-Type: text/plain"), id="F060 plain"),
        pytest.param(http(HELD, "Content-Type: /;=,"), id="F060 nonsense"),
        pytest.param(http(HELD), id="F060 no type"),
        pytest.param(http(gzip.compress(HELD), "Content-Encoding: gzip"), id="gzip"),
    ],
)
async def test_an_answer_of_the_service_is_read_however_it_comes(data: bytes) -> None:
    """
    F026, F051, F054, F060: what counts is the document, and whose claim it is about.

    The catalogue would have a false type logged; the type decides nothing here, so nothing is.
    """
    async with (
        ByteServer(answer(data)) as server,
        BadgesClient(server.url, AUTH) as client,
        client.claim_many([ROW], outage_patience=0) as run,
    ):
        (end,) = [outcome async for outcome in run]
    assert (end.status, end.attempts) == (ClaimStatus.CLAIMED, 1)


class Pouring:
    """
    An answer far too long to a claim that takes effect, then answers that it is held.

    Attributes:
        taken: Bytes of it that the client's machine took.
    """

    def __init__(self, head: bytes, pieces: Callable[[], Iterator[bytes]]) -> None:
        self.taken = 0
        self._head = head
        self._pieces = pieces
        self.ended = False

    async def __call__(self, exchange: Exchange) -> None:
        """Pour until it is all said or the client has had enough."""
        if exchange.connection > 1:
            await exchange.say(http(envelope(held(referenceId="1"), None, [notice(900)])))
            return
        await exchange.say(self._head)
        for piece in self._pieces():
            await exchange.say(piece)
            if exchange.writer.transport.is_closing():
                break
            self.taken += len(piece)
        self.ended = True


@contextmanager
def in_little_memory() -> Iterator[None]:
    """See that no more than 8 MiB are allocated at a time."""
    tracemalloc.start()
    try:
        yield
        assert tracemalloc.get_traced_memory()[1] < 8 * MEBIBYTE
    finally:
        tracemalloc.stop()


async def check(pouring: Pouring) -> None:
    """Claim once: the long answer costs its connection and leaves a doubt, no more."""
    async with (
        ByteServer(pouring) as server,
        BadgesClient(server.url, AUTH, retry=RetryPolicy(base=0)) as client,
        client.claim_many([ROW], outage_patience=5) as run,
    ):
        with in_little_memory():
            (end,) = [outcome async for outcome in run]
            await until(lambda: pouring.ended)
    assert (end.status, end.attempts) == (ClaimStatus.ALREADY_CLAIMED, 2)
    assert end.recovered
    assert [exchange.connection for exchange in server.seen] == [1, 2]


@pytest.mark.parametrize("status", ["500 Oops", "200 OK"])
async def test_a_page_without_an_end_is_not_read_to_its_end(status: str) -> None:
    """F050: a mebibyte of it, not the catalogue's 64 KiB: a badge may be as long."""
    most = 64 * MEBIBYTE
    piece = b"<p>" + b"x" * 65_533
    pouring = Pouring(
        http(b"", "Content-Type: text/html", status=status, length=most),
        lambda: iter([piece] * (most // len(piece))),
    )
    await check(pouring)
    # What the kernel holds on both sides is beyond what the client has asked for.
    assert pouring.taken < most // 2


@pytest.mark.parametrize("coding", ["gzip", "deflate"])
async def test_a_bomb_is_not_unpacked(coding: str) -> None:
    """F057: 300 MB in 300 KB; unpacking stops at a mebibyte, and the claim is in doubt."""
    compress = zlib.compressobj(9, zlib.DEFLATED, 31 if coding == "gzip" else 15)
    first, other = (
        compress.compress(bytes(MEBIBYTE)) + compress.flush(zlib.Z_FULL_FLUSH) for _ in "12"
    )
    bomb = first + other * 299
    assert len(bomb) < 350_000
    head = http(b"", f"Content-Encoding: {coding}", length=len(bomb))
    await check(Pouring(head, lambda: iter([bomb])))
