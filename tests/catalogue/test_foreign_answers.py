"""
Answers that are not the API's, in a bulk run on both lanes: asked again, and never taken for one.

Here: bytes that break HTTP or JSON, and documents that are not about the claim. Not here: answers
that say no in the API's own words (`test_refusals`), or connections that end.
"""

from __future__ import annotations

import gzip
import json

import pytest

from badges_async import (
    BadgesError,
    ClaimStatus,
    ConnectionLostError,
    ServerError,
    UnreadableReplyError,
)
from tests.answers import HTML, envelope, held, refusal
from tests.catalogue.odd_rows import ANYBODY, MOST_ATTEMPTS, claim_with_odd_rows
from tests.client.byte_server import http

pytestmark = pytest.mark.usefixtures("lane")

GZIP = "Content-Encoding: gzip"
NOT_HTTP = b"220 mail.example.com ESMTP\r\n\r\n"
NO_CHUNK = b"HTTP/1.1 200 OK\r\nTransfer-Encoding: chunked\r\n\r\nxyz\r\n{}\r\n0\r\n\r\n"
HELD = envelope(held(referenceId=ANYBODY))


async def check(answer: bytes, error: type[BadgesError]) -> None:
    """Let *answer* be met, which is no word of the service's about the claim."""
    ends = await claim_with_odd_rows(answer)

    # Once: asked again, and said as it is, also where the first request had taken effect.
    assert (ends.before.status, ends.before.attempts) == (ClaimStatus.CLAIMED, 2)
    assert (ends.behind.status, ends.behind.attempts) == (ClaimStatus.ALREADY_CLAIMED, 2)
    assert (ends.before.recovered, ends.behind.recovered) == (False, True)
    # Always: asked again as often as allowed, then left open, in doubt; rejected by nobody.
    assert (ends.always.status, ends.always.attempts) == (ClaimStatus.FAILED, MOST_ATTEMPTS)
    assert type(ends.always.error) is error
    assert ends.always.error.maybe_applied
    # Nobody else is concerned.
    assert {(end.status, end.attempts) for end in ends.others} == {(ClaimStatus.CLAIMED, 1)}
    assert ends.held == {name for name in ends.requests if name != "always"}
    assert ends.report.recovered == 1


@pytest.mark.parametrize(
    "answer",
    [
        pytest.param(NO_CHUNK, id="F027 no chunk size"),
        pytest.param(http(HELD, "X-Padding: " + "x" * 8200), id="F028 long header line"),
        pytest.param(NOT_HTTP, id="F029 mail"),
        pytest.param(HELD, id="F029 only a body"),
        pytest.param(http(HELD, GZIP), id="F058 no gzip"),
        pytest.param(http(gzip.compress(HELD)[:-8] + b"\0" * 8, GZIP), id="F058 bad sum"),
    ],
)
async def test_what_is_not_http_is_a_lost_answer_and_no_refusal(answer: bytes) -> None:
    """F027, F028, F029, F058: aiohttp calls some of it status 400, which nobody sent."""
    await check(answer, ConnectionLostError)


@pytest.mark.parametrize(
    "answer",
    [
        pytest.param(http(b""), id="F030 empty"),
        pytest.param(b"HTTP/1.1 204 No Content\r\n\r\n", id="F030 204"),
        pytest.param(http(HTML, "Content-Type: text/html"), id="F031 challenge"),
        pytest.param(http(HTML, "Location: /", status="302 Found"), id="F036 redirect"),
        pytest.param(http(HTML, "Location: /", status="307 Again"), id="F036 redirect of a post"),
        pytest.param(http(HTML, status="421 Misdirected Request"), id="F044"),
        pytest.param(http(HTML, status="299 Hardly"), id="F051 299"),
        pytest.param(http(HTML, status="418 Teapot"), id="F051 418"),
        pytest.param(http(HTML, status="599 Network"), id="F051 599"),
    ],
)
async def test_a_page_or_nothing_is_no_answer(answer: bytes) -> None:
    """F030, F031, F036, F044, F051: whatever status it comes under, it decides nothing."""
    await check(answer, UnreadableReplyError)


@pytest.mark.parametrize(
    "body",
    [
        pytest.param(HELD[:-1] + b', "x": "\xff"}', id="F053 not UTF-8"),
        pytest.param(HELD.decode().encode("utf-16"), id="F054 UTF-16"),
        pytest.param(HELD[:-1] + b', "x": ' + b"[" * 100_000, id="F055 deep, open"),
        pytest.param(
            HELD[:-1] + b', "x": ' + b"[" * 100_000 + b"]" * 100_000 + b"}", id="F055 deep"
        ),
        pytest.param(HELD[:-1] + b', "note": "a:b", "x": ' + b"9" * 5000 + b"}", id="F056"),
        pytest.param(HELD[:-1] + b', "x": NaN}', id="F059 NaN"),
        pytest.param(HELD[:-1] + b', "x": -Infinity}', id="F059 infinite"),
        pytest.param(
            b'{"errors": [{"code": 717}], ' + HELD[1:], id="F059 errors and then none of them"
        ),
        pytest.param(HELD.replace(b"true", b'false, "isActive": true'), id="F059 active or not"),
    ],
)
async def test_a_body_that_is_no_json_is_no_answer(body: bytes) -> None:
    """F053, F054, F055, F056, F059: no codec, parser or stack raises through, none half reads."""
    await check(http(body), UnreadableReplyError)


@pytest.mark.parametrize(
    "document",
    [
        [],
        None,
        900,
        {},
        {"data": None},
        {"data": {}},
        {"data": [held()]},
        {"data": held(referenceId=None)},
        {"data": held(referenceId=7)},
        {"data": held(referenceId="somebody")},
        {"data": held(referenceId=ANYBODY, isActive=False)},
        {"data": held(referenceId=ANYBODY, isActive="true")},
        {"data": held(referenceId=ANYBODY, ownerType=["Loyalty"])},
        {"data": held(referenceId=ANYBODY, ownerType="Journeys")},
        {"data": held(referenceId=ANYBODY, badgeMetaId="f" * 24)},
        {"datum": held(referenceId=ANYBODY)},
        held(referenceId=ANYBODY),
    ],
    ids=json.dumps,
)
async def test_json_of_another_shape_is_no_answer(document: object) -> None:
    """F032: nothing is missing, of another type or about somebody else in what counts."""
    await check(http(json.dumps(document).encode()), UnreadableReplyError)


@pytest.mark.parametrize("status", [500, 502, 503, 504, 520, 521, 522, 523, 524])
async def test_a_service_that_fails_may_have_claimed(status: int) -> None:
    """F045, F046, F048: a 5xx in the API's own words leaves as much doubt as one without."""
    await check(http(refusal(999999), status=f"{status} Failed"), ServerError)
    await check(http(HTML, status=f"{status} Failed"), UnreadableReplyError)
