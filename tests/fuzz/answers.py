"""
Any answer of a service: what each operation, the token's reader and the retries make of it.

Here: bytes as an answer, and what must hold of whatever is read from it. Not here: how an answer is
cut out of a stream of bytes (`wire`).
"""

from __future__ import annotations

import json
import pickle
from collections.abc import Iterable, Mapping
from functools import partial
from typing import Any

from multidict import CIMultiDict

from badges_async import (
    APIError,
    Badge,
    BadgesError,
    BasicAuth,
    Claim,
    ClaimResult,
    OAuth,
    RateLimitedError,
    UnreadableReplyError,
)
from badges_async.converter import structure, unstructure
from badges_async.echoes import conceal, secrets_in
from badges_async.messages import Reply, Request
from badges_async.operations import read_badge, read_claim, read_unclaim
from badges_async.retry import RetryBudget, is_refused_for_good, is_transient
from tests import samples
from tests.answers import (
    ASKED,
    CLAIM_CASES,
    EVERYWHERE,
    GET_CASES,
    UNCLAIM_CASES,
    Case,
    envelope,
    held,
    notice,
    refusal,
)
from tests.virtual_clock import run_virtually

__all__ = ["WORDS", "check_claim", "seeds", "target"]

_READERS = (read_badge, partial(read_claim, asked=ASKED), partial(read_unclaim, asked=ASKED))
_TOKEN = "tok-5f1e9a77c3d2"  # in the seeds; wherever it is, no error may show it
_OURS = BasicAuth("till.demo", "s3cret-Pass").headers()
_SECRET = _OURS["Authorization"].rpartition(" ")[2].encode()
_LONGEST_WAIT = 1e9
_LONGEST_TEXT = 1500

WORDS = (
    *(b'"data":', b'"errors":', b'"warnings":', b'"code":', b'"message":', b'"reference":'),
    *(b'"errorCode":', b'"errorMessage":', b'"ownerType":', b'"referenceId":', b'"isActive":'),
    *(b'"badgeMetaId":', b'"id":', b'"name":', b'"accessToken":', b'"ttlSeconds":', b"900", b"717"),
    *(b"null", b"true", b"false", b"1e999", b"-0", b"NaN", b'"Loyalty"', b'"123"', b"\\ud800"),
    *(b"\xef\xbb\xbf", b"Retry-After: ", b"Date: ", b"X-CAP-REQUEST-ID: ", b"GMT", b"-0000"),
    *(
        b"Sun, 06 Nov 1994 08:49:37 GMT",
        b"200",
        b"400",
        b"401",
        b"409",
        b"429",
        b"503",
        _TOKEN.encode(),
    ),
)


def target(data: bytes) -> None:
    """
    Read *data* as the answer to everything that the client asks.

    It is written as HTTP has it, a little simpler: the status (with a ``-`` behind it where more
    followed than is read), header fields, an empty line, the body.
    """
    reply = reply_of(data)
    _check_facts(reply)
    for read in _READERS:
        try:
            value = read(reply)
        except (APIError, UnreadableReplyError) as error:
            _check_error(error, reply)
        else:
            _check_value(value, reply)
    _check_token(reply)
    _check_concealed(reply)


def reply_of(data: bytes) -> Reply:
    """Give the answer that *data* is, as one of the lanes would."""
    head, _, body = data.partition(b"\n\n")
    line, *lines = head.split(b"\n")
    digits = bytes(byte for byte in line if byte in b"0123456789")[:3]
    # As aiohttp reads them.
    texts = [text.decode("utf-8", "surrogateescape").partition(":") for text in lines]
    headers = CIMultiDict((name, value.strip()) for name, _, value in texts)
    return Reply(int(digits or b"200"), headers, body, 1e9, not line.endswith(b"-"))


def _check_facts(reply: Reply) -> None:
    wait, request_id = reply.retry_after, reply.request_id
    assert wait is None or 0 <= wait <= _LONGEST_WAIT
    assert request_id is None or (request_id.isprintable() and 0 < len(request_id) <= 100)


def _check_error(error: APIError | UnreadableReplyError, reply: Reply) -> None:
    assert error.status == reply.status
    assert error.request_id == reply.request_id
    text = str(error)
    assert text.isprintable()
    assert len(text) <= _LONGEST_TEXT
    assert not (is_transient(error) and is_refused_for_good(error))
    assert RetryBudget().cost(error) >= 0
    if isinstance(error, APIError):
        assert error.maybe_applied == (reply.status >= 500)
        assert error.code is None or (type(error.code) is int and abs(error.code) < 1e9)
        assert all(notice.message.isprintable() for notice in (*error.errors, *error.warnings))
    if isinstance(error, RateLimitedError):
        assert error.retry_after == reply.retry_after
    again = pickle.loads(pickle.dumps(error))  # noqa: S301 - our own
    assert (type(again), str(again), vars(again)) == (type(error), text, vars(error))


def _check_value(value: Badge | ClaimResult, reply: Reply) -> None:
    assert reply.complete
    if isinstance(value, ClaimResult):
        check_claim(value, reply)
        _check_written(value.claim)
    else:
        assert reply.ok
        assert unstructure(value) == json.loads(reply.body.decode("utf-8-sig"))["data"]
        _check_written(value)


def _check_written(document: Badge | Claim) -> None:
    """Check that it can be written and read again: also what nobody knows, and each number."""
    written = unstructure(document)
    assert structure(written, type(document)) == document
    assert structure(json.loads(json.dumps(written)), type(document)) == document
    hash(document)


def check_claim(result: ClaimResult, reply: Reply) -> None:
    """Check that what is taken for a claim, or for its end, is what the answer says."""
    document = json.loads(reply.body.decode("utf-8-sig"))
    data = document.get("data")
    assert (result.badge_id, result.claim.reference_id) == (ASKED.badge_id, ASKED.reference_id)
    assert result.claim.owner_type.casefold() == "loyalty"
    if result.already_claimed:
        assert b"900" in reply.body
        assert data or result.claim == Claim(ASKED.owner_type, ASKED.reference_id)
        return
    errors: Any = document.get("errors")
    assert reply.ok
    assert not errors or all(error is None for error in errors)
    assert data["referenceId"] == ASKED.reference_id
    assert result.claim.is_active is data.get("isActive")


def _check_token(reply: Reply) -> None:
    async def send(_: Request) -> Reply:
        return reply

    async def fetch() -> Mapping[str, str]:
        auth = OAuth("key", "secret-of-the-key")
        headers = await auth.fetch(send)
        assert auth.headers() is headers, "it lives, and for a while"
        return headers

    try:
        [(name, token)] = run_virtually(fetch).items()
    except BadgesError as error:
        _check_no_token(error, reply)
    else:
        assert reply.ok
        assert name == "X-CAP-API-OAUTH-TOKEN"
        assert str(token).isascii()
        assert str(token).isprintable()
        assert str(token).strip()
        assert repr(token) == "'***'"


def _check_no_token(error: BadgesError, reply: Reply) -> None:
    assert isinstance(error, APIError | UnreadableReplyError)
    assert not error.maybe_applied
    told = f"{error!r}{error}{vars(error)}".replace(str(reply.request_id), "")
    assert _TOKEN not in told
    assert "secret-of-the-key" not in told


def _check_concealed(reply: Reply) -> None:
    before, fields = reply.body, [*reply.headers.values()]
    echoed = conceal(reply, secrets_in(_OURS))
    assert echoed == (_SECRET in before or any(_SECRET.decode() in value for value in fields))
    assert _SECRET not in reply.body
    assert echoed or reply.body == before


def seeds() -> Iterable[bytes]:
    """Give answers of every documented kind, and of many others."""
    for case in (*EVERYWHERE, *CLAIM_CASES, *UNCLAIM_CASES, *GET_CASES):
        if len(case.body) < 2000:  # of the endless ones nothing is learnt
            yield _written(case)
    yield b"200\n\n" + envelope(held(badgeMetaId=ASKED.badge_id), None, [notice(901)])
    yield b"200\n\n" + envelope(held(), [], ["slow", {"code": "900", "reference": "x"}])
    yield b"404\n\n" + envelope(held())
    yield b"200\n\n" + envelope(held(badgeMetaId=ASKED.badge_id, isActive=1))
    yield b"408\n\n" + envelope(None, [notice("12345678901", "a\x1b[2J\n", reference="\ud800")])
    yield b"408\n\n" + refusal(717)
    yield b"200\n\n" + b'{"data":' * 2000
    for _, text in samples.SHAPES.values():
        yield b'200\nX-CAP-REQUEST-ID: 7f\n\n{"data":' + text.encode() + b"}"
    for time in ("1e999", "-1e300", "1765178896000", "9" * 400, "0.0000001", "-0.0"):
        badge = f'{{"data": {{"id": "a", "name": "b", "startOn": {time}, "x": {time}}}}}'
        yield b"200\n\n" + badge.encode()
    year = b"9" * 20
    for wait in (
        b"7",
        b"9" * 400,
        b"Sun, 06 Nov 1994 08:49:47 GMT",
        b"6 Nov " + year + b" 0:0",
        b"x",
    ):
        yield b"429\nDate: Sun, 06 Nov 1994 08:49:37 GMT\nRetry-After: " + wait + b"\n\n{}"
    for lifetime in (300, 1e999, 10**400, -1, "300", None):
        yield b"200\n\n" + envelope({"accessToken": _TOKEN, "ttlSeconds": lifetime})
    yield b"400\n\n" + envelope({"accessToken": _TOKEN}, [{"code": 1, "message": _TOKEN}])
    yield b"200-\n\n" + envelope({"accessToken": _TOKEN})
    yield b"403\n\nwho is " + _SECRET + b", " + _SECRET + b"?"


def _written(case: Case) -> bytes:
    fields = "".join(f"{name}: {value}\n" for name, value in case.headers.items())
    return f"{case.status}\n{fields}\n".encode() + case.body
