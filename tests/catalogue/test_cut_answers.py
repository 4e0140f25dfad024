"""
Answers that end too early or not in time: the claim is in doubt, and asked for again.

Here: connections that end or fall silent at any point of a good answer. Not here: answers that are
whole and not the service's (`test_foreign_answers`), or connections that ended between two requests
(`test_kept_connections`).
"""

from __future__ import annotations

import asyncio
import gzip
import json

import attrs
import pytest

from badges_async import (
    AttemptEvent,
    BadgesClient,
    BadgesError,
    BasicAuth,
    ClaimRequest,
    ClaimResult,
    ClaimStatus,
    ConnectionLostError,
    DeadlineError,
    RetryPolicy,
    Timeout,
    UnreadableReplyError,
)
from tests.answers import envelope, held, notice
from tests.client.byte_server import Answer, ByteServer, Exchange, http, until

pytestmark = pytest.mark.usefixtures("lane")

BADGE = "69381220cebb9648d8974518"
AUTH = BasicAuth("till.demo", "s3cret-Pass")
ROW = ClaimRequest(BADGE, "Loyalty", "1")
HELD = envelope(held(referenceId="1"))
PLAIN = b"HTTP/1.1 200 OK\r\n"
CHUNKED = PLAIN + b"Transfer-Encoding: chunked\r\n\r\n%x\r\n%b\r\n"
PATIENCE = 0.2  # seconds for an attempt, where it is to run out
BOUNDED = 16


def cut(data: bytes, *, reset: bool = False) -> Answer:
    """Say so much of an answer and end the connection."""

    async def step(exchange: Exchange) -> None:
        if data:
            await exchange.say(data)
            await asyncio.sleep(0)
        (exchange.reset if reset else exchange.close)()

    return step


def stall(data: bytes) -> Answer:
    """Say so much of an answer, and then nothing."""

    async def step(exchange: Exchange) -> None:
        await exchange.say(data)
        await exchange.hang()

    return step


async def drip(exchange: Exchange) -> None:
    """Say a byte at a time, each long before anybody could call it late."""
    for byte in http(HELD, "X-Padding: " + "x" * 1000):
        await exchange.say(bytes([byte]))
        await asyncio.sleep(PATIENCE / 20)
        if exchange.writer.is_closing():
            break


@attrs.define
class Service:
    """Answers the first claims with a step, whether they take effect or not, then truly."""

    steps: list[Answer]
    applies: bool
    holds: bool = False

    async def __call__(self, exchange: Exchange) -> None:
        """Answer one request."""
        if self.steps:
            self.holds |= self.applies
            await self.steps.pop(0)(exchange)
            return
        warnings = [notice(900)] if self.holds else []
        self.holds = True
        await exchange.say(http(envelope(held(referenceId="1"), None, warnings)))


LOST, UNREADABLE, LATE = ConnectionLostError, UnreadableReplyError, DeadlineError
ENDINGS = [
    pytest.param(cut(b""), LOST, id="F007 closed"),
    pytest.param(cut(b"", reset=True), LOST, id="F010 reset"),
    pytest.param(cut(http(b"", length=len(HELD)), reset=True), LOST, id="F011 reset in between"),
    pytest.param(cut(http(HELD, length=len(HELD) + 1)), LOST, id="F012 short of a byte"),
    pytest.param(cut(http(HELD[:-9], length=len(HELD))), LOST, id="F012 half a document"),
    pytest.param(cut(CHUNKED % (len(HELD), HELD)), LOST, id="F013 no last chunk"),
    pytest.param(cut(PLAIN + b"\r\n" + HELD[:-9]), UNREADABLE, id="F014 no length"),
    pytest.param(drip, LATE, id="F015 drips"),
    pytest.param(stall(b""), LATE, id="F016 says nothing"),
    pytest.param(stall(http(b"", length=len(HELD))), LATE, id="F017 says the head"),
    pytest.param(stall(http(HELD, length=len(HELD) + 1)), LATE, id="F017 says all but a byte"),
]


@pytest.mark.slow
@pytest.mark.parametrize("applies", [False, True], ids=["not applied", "applied"])
@pytest.mark.parametrize(("ending", "error"), ENDINGS)
async def test_an_answer_that_does_not_end_well_leaves_a_doubt_that_the_next_one_ends(
    ending: Answer, error: type[BadgesError], *, applies: bool
) -> None:
    """F007, F010, F011, F012, F013, F014, F015, F016, F017: whether it was applied or not."""
    failed: list[BadgesError] = []

    def hear(event: AttemptEvent) -> None:
        if event.error is not None:
            failed.append(event.error)

    service = Service([ending], applies)
    timeout = Timeout(attempt=PATIENCE if error is LATE else 15.0)
    retry = RetryPolicy(base=0)
    async with (
        ByteServer(service) as server,
        BadgesClient(server.url, AUTH, retry=retry, timeout=timeout, observers=[hear]) as client,
        client.claim_many([ROW], outage_patience=5) as run,
    ):
        (end,) = [outcome async for outcome in run]
        # What it broke on is not used again, and not kept open either.
        await until(lambda: server.open <= 1)
    assert {type(each) for each in failed} == {error}
    assert all(each.maybe_applied for each in failed)
    assert end.attempts == len(failed) + 1
    assert end.status is (ClaimStatus.ALREADY_CLAIMED if applies else ClaimStatus.CLAIMED)
    assert end.recovered is applies
    assert [exchange.connection for exchange in server.seen] == [*range(1, end.attempts + 1)]


@pytest.mark.parametrize("applies", [False, True], ids=["not applied", "applied"])
@pytest.mark.parametrize("reset", [False, True], ids=["F008 closed", "F010 reset"])
async def test_a_kept_connection_that_ends_instead_of_an_answer_leaves_the_same_doubt(
    *, reset: bool, applies: bool
) -> None:
    """F008, F010: one retry on a new connection, at once, and not counted."""

    async def answer_well(exchange: Exchange) -> None:
        await exchange.say(http(HELD))

    service = Service([answer_well, cut(b"", reset=reset)], applies=False)
    async with (
        ByteServer(service) as server,
        BadgesClient(server.url, AUTH, retry=RetryPolicy(max_attempts=1)) as client,
    ):
        await client.claim(BADGE, "Loyalty", "1")
        service.applies = applies
        async with client.claim_many([ROW]) as run:
            (end,) = [outcome async for outcome in run]
    assert end.status is (ClaimStatus.ALREADY_CLAIMED if applies else ClaimStatus.CLAIMED)
    assert (end.attempts, end.recovered) == (2, applies)
    # At once, and not as the failure of a service that seems to be down.
    assert not run.report.waits.keys() & {"backoff", "outage"}
    assert [exchange.connection for exchange in server.seen] == [1, 1, 2]


def whole(shape: str, reference: str) -> bytes:
    """Give a good answer of one of the shapes that answers have."""
    body = envelope(held(referenceId=reference))
    if shape == "chunks":
        return CHUNKED % (len(body), body) + b"0\r\n\r\n"
    if shape == "no length":
        return PLAIN + b"\r\n" + body
    if shape == "gzip":
        # Not compressed at all, so that all references make it as long.
        return http(gzip.compress(body, 0, mtime=0), "Content-Encoding: gzip")
    return http(body)


@pytest.mark.parametrize("reset", [False, True], ids=["closed", "reset"])
@pytest.mark.parametrize("shape", ["length", "chunks", "gzip", "no length"])
async def test_an_answer_cut_at_any_byte_is_read_right_or_in_doubt(
    shape: str, *, reset: bool
) -> None:
    """F025: never wrongly, and never as an exception that is not ours."""

    async def serve(exchange: Exchange) -> None:
        reference = json.loads(exchange.body)["referenceId"]
        await cut(whole(shape, reference)[: int(reference)], reset=reset)(exchange)

    size = len(whole(shape, "000"))
    places = asyncio.Semaphore(BOUNDED)
    once = RetryPolicy(max_attempts=1)
    async with ByteServer(serve) as server, BadgesClient(server.url, AUTH, retry=once) as client:

        async def claim(length: int) -> ClaimResult:
            async with places:
                return await client.claim(BADGE, "Loyalty", f"{length:03}")

        calls = [claim(length) for length in range(size + 1)]
        ends = await asyncio.gather(*calls, return_exceptions=True)
    assert len(server.seen) == size + 1
    for length, end in enumerate(ends):
        if isinstance(end, ClaimResult):
            assert end.claim.reference_id == f"{length:03}"
            assert length == size
        else:
            assert isinstance(end, ConnectionLostError | UnreadableReplyError), (length, end)
            assert end.maybe_applied
    # With a length all of it is read however the connection then ends.
    assert isinstance(ends[-1], ClaimResult) or (reset and shape == "no length")
