"""A service that never comes to an end costs a bounded time and a bounded memory, and one error."""

from __future__ import annotations

import asyncio
import contextlib
import itertools
import json
import tracemalloc
from collections.abc import Callable, Iterator
from pathlib import Path

import pytest

from badges_async import (
    BadgesClient,
    BadgesError,
    BasicAuth,
    ConnectionLostError,
    DeadlineError,
    OAuth,
    RetryPolicy,
    Timeout,
    UnreadableReplyError,
)
from badges_async.cli.app import run as run_tool
from tests.client.byte_server import Answer, ByteServer, Exchange, answer, http
from tests.security.accounts import BADGE

ONCE = RetryPolicy(max_attempts=1)
OK, CHUNKED = b"HTTP/1.1 200 OK\r\n", b"Transfer-Encoding: chunked\r\n\r\n"
BASIC = BasicAuth("till.demo", "s3cret-Pass")


@contextlib.contextmanager
def at_most(mebibytes: float) -> Iterator[None]:
    """See that no more is allocated at a time."""
    tracemalloc.start()
    try:
        yield
        assert tracemalloc.get_traced_memory()[1] < mebibytes * 2**20
    finally:
        tracemalloc.stop()


def endless(begin: bytes, part: bytes) -> Answer:
    """Begin an answer and go on with *part* until the client leaves."""

    async def say(exchange: Exchange) -> None:
        await exchange.say(begin)
        block = part * max(1, 16384 // len(part))
        with contextlib.suppress(ConnectionError):
            while not exchange.writer.transport.is_closing():
                exchange.writer.write(block)
                await exchange.writer.drain()
                await asyncio.sleep(0)

    return say


ENDLESS = {
    "a status line": endless(b"HTTP/1.1 200 ", b"a"),
    "a header line": endless(OK + b"X: ", b"a"),
    "a name": endless(OK, b"a"),
    "header lines": endless(OK, b"X: a\r\n"),
    "interim answers": endless(b"", b"HTTP/1.1 103 X\r\nLink: x\r\n\r\n"),
    "the size of a chunk": endless(OK + CHUNKED, b"0"),
    "an extension of a chunk": endless(OK + CHUNKED + b"1;", b"a"),
    "chunks": endless(OK + CHUNKED, b"1\r\n \r\n"),
    "trailers": endless(OK + CHUNKED + b"1\r\n{\r\n0\r\n", b"X: a\r\n"),
    "a body": endless(OK + b"\r\n", b" "),
    "a body with a length": endless(OK + b"Content-Length: 999999999999\r\n\r\n", b"["),
}


@pytest.mark.slow
@pytest.mark.usefixtures("lane")
@pytest.mark.parametrize("name", ENDLESS)
async def test_what_has_no_end_is_not_heard_to_its_end(name: str) -> None:
    """F050: it ends by its size, or by the time that an attempt may take."""
    bounds = Timeout(total=5, attempt=0.3)
    async with (
        ByteServer(ENDLESS[name]) as server,
        BadgesClient(server.url, BASIC, retry=ONCE, timeout=bounds) as client,
    ):
        with at_most(16), pytest.raises(BadgesError) as caught:
            await client.claim(BADGE, "Loyalty", "1")
    assert isinstance(caught.value, ConnectionLostError | UnreadableReplyError | DeadlineError)
    assert caught.value.maybe_applied
    assert len(str(caught.value)) < 1000


@pytest.mark.usefixtures("lane")
@pytest.mark.parametrize("begin", [b"", OK, OK + CHUNKED], ids=["line", "head", "body"])
async def test_who_speaks_a_byte_at_a_time_gets_the_time_of_an_attempt(begin: bytes) -> None:
    """F052: each byte comes in time, and the answer never does."""

    async def drip(exchange: Exchange) -> None:
        await exchange.say(begin)
        for byte in itertools.cycle(b"1"):
            await exchange.say(bytes([byte]))
            await asyncio.sleep(0.01)

    async with (
        ByteServer(drip) as server,
        BadgesClient(server.url, BASIC, retry=ONCE, timeout=Timeout(5, 0.2)) as client,
    ):
        began = asyncio.get_running_loop().time()
        with pytest.raises(BadgesError) as caught:
            await client.claim(BADGE, "Loyalty", "1")
        assert asyncio.get_running_loop().time() - began < 4
    assert isinstance(caught.value, DeadlineError | ConnectionLostError)


@pytest.mark.usefixtures("lane")
@pytest.mark.parametrize(
    "token",
    ["t" * 30_000, "t" * 2_000_000, [["t"] * 10] * 10_000, int("9" * 4000)],
    ids=["long", "longer than an answer", "nested", "digits"],
)
async def test_a_token_of_any_size_is_used_or_refused(token: object) -> None:
    """A header field may be as long as the service takes; ours to bound is the answer."""
    given = answer(http(json.dumps({"data": {"accessToken": token}}).encode()))
    refuse: Answer = answer(http(b"", status="431 Too Large"))
    async with (
        ByteServer(given, refuse) as server,
        BadgesClient(server.url, OAuth("key", "secret"), retry=ONCE) as client,
    ):
        with at_most(32), pytest.raises(BadgesError) as caught:
            await client.claim(BADGE, "Loyalty", "1")
    assert not caught.value.maybe_applied
    assert len(str(caught.value)) < 1000


@pytest.mark.parametrize(
    ("name", "line"),
    [
        ("rows.csv", lambda size: "b," * 2 + "x" * size),
        ("rows.csv", lambda size: '"' + "x" * size),
        ("rows.jsonl", lambda size: '{"badge_id": "' + "x" * size),
        ("rows.jsonl", lambda size: "[" * size),
        ("rows.jsonl", lambda size: '{"badge_id": ' + "9" * size + "}"),
    ],
    ids=["cell", "open quote", "open text", "nested", "digits"],
)
def test_a_line_of_a_file_without_an_end_is_a_bad_row(
    name: str, line: Callable[[int], str], tmp_path: Path, capsys: pytest.CaptureFixture[str]
) -> None:
    """F128: it is told in few words, and the tool ends as with other bad rows."""
    path = tmp_path / name
    header = "badge_id,owner_type,reference_id\n" if name.endswith("csv") else ""
    path.write_text(f"{header}{line(8_000_000)}\n")
    with at_most(160):
        code = run_tool(["bulk-claim", str(path), "--dry-run", "--host", "http://127.0.0.1:9"])
    told = capsys.readouterr()
    assert code in {1, 2}
    assert len(told.out + told.err) < 4000
