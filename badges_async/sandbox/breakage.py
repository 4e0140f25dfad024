"""
How each fault looks on the wire.

Here: fault -> bytes, or the lack of them. Not here: who is hit (`faults`), nor the few that
are about more than their own answer: late ones, a token's end, a stale connection (`service`).
"""

from __future__ import annotations

from collections.abc import Awaitable, Callable, Mapping

import attrs
from aiohttp import web

from badges_async.sandbox.answers import Answer, Problem, claim_answer, refusal
from badges_async.sandbox.faults import Fault
from badges_async.sandbox.line import Line
from badges_async.sandbox.records import RecordedRequest

__all__ = ["BROKEN", "canned_answer", "throttled"]

_HTML = "text/html; charset=UTF-8"
_BAD_GATEWAY = Answer(
    502,
    b"<html>\r\n<head><title>502 Bad Gateway</title></head>\r\n<body>\r\n<center><h1>502 Bad "
    b"Gateway</h1></center>\r\n<hr><center>sandbox</center>\r\n</body>\r\n</html>\r\n",
    content_type=_HTML,
)
_CATCH_ALL = refusal(500, [Problem(999999, "Something went wrong")])
# The page prints these as lines; what JSON the gateway makes of them is not known.
_NOT_SURE = b'{"HttpStatusCode":503,"errorCode":4001,"errorMessage":"Try again after some time"}'
_DENIED = b'{"HttpStatusCode":403,"errorCode":4000,"errorMessage":"Not authorized"}'
_TOO_MANY = refusal(429, [Problem(429, "Too many requests")]).body
_WRONG_SHAPES = (
    b"[]",
    b"null",
    b'"ok"',
    b"{}",
    b'{"status":"ok"}',
    b'{"data":[],"errors":null,"warnings":[]}',
    b'{"data":null,"errors":null,"warnings":null}',
    b'{"data":{"ownerType":7,"referenceId":{}},"errors":"none","warnings":"none"}',
)


def throttled(retry_after: float | None) -> Answer:
    """Answer 429; how the service does that is not documented, Retry-After included."""
    headers = () if retry_after is None else (("Retry-After", f"{retry_after:g}"),)
    return Answer(429, _TOO_MANY, headers)


def canned_answer(
    fault: Fault, record: RecordedRequest, *, retry_after: float, url: str
) -> Answer | None:
    """Give the answer that a fault sends in place of the real one; None for other kinds."""
    if fault is Fault.THROTTLED:
        return throttled(retry_after)
    if fault is Fault.UNAVAILABLE:
        return Answer(503, _NOT_SURE, (("Retry-After", f"{retry_after:g}"),))
    if fault is Fault.REDIRECT:
        return Answer(302, b"", (("Location", f"{url}/elsewhere"),), content_type="")
    if fault is Fault.WRONG_SHAPE:
        return Answer(200, _WRONG_SHAPES[record.number % len(_WRONG_SHAPES)])
    if fault is Fault.OTHER_CLAIM:
        other = f"{record.reference_id or ''}-other"
        is_active = record.operation != "unclaim"
        return claim_answer(record.owner_type or "Loyalty", other, is_active=is_active)
    return _CANNED.get(fault)


_CANNED: Mapping[Fault, Answer] = {
    Fault.ERROR_500_BEFORE: _CATCH_ALL,
    Fault.ERROR_500_AFTER: _CATCH_ALL,
    Fault.HTML_502_BEFORE: _BAD_GATEWAY,
    Fault.HTML_502_AFTER: _BAD_GATEWAY,
    Fault.ERROR_503_BEFORE: Answer(503, _NOT_SURE),
    Fault.ERROR_503_AFTER: Answer(503, _NOT_SURE),
    Fault.EMPTY_504_BEFORE: Answer(504, content_type=""),
    Fault.EMPTY_504_AFTER: Answer(504, content_type=""),
    Fault.THROTTLED_BARE: throttled(None),
    Fault.EMPTY_200: Answer(200),
    Fault.HTML_200: Answer(
        200, b"<!DOCTYPE html><html><title>One moment</title></html>", content_type=_HTML
    ),
    Fault.UNAUTHORIZED: refusal(401, [Problem(401, "Authentication failed")]),
    Fault.FORBIDDEN: Answer(403, _DENIED),
}


async def _reset(line: Line, _: Answer) -> web.StreamResponse:
    return await line.reset()


async def _close(line: Line, _: Answer) -> web.StreamResponse:
    return line.close()


async def _hang(line: Line, _: Answer) -> web.StreamResponse:
    await line.hang()


def _write_half(line: Line, answer: Answer) -> None:
    line.write(line.head(answer, len(answer.body)) + answer.body[: len(answer.body) // 2])


async def _truncate(line: Line, answer: Answer) -> web.StreamResponse:
    _write_half(line, answer)
    return line.close()


async def _truncate_chunks(line: Line, answer: Answer) -> web.StreamResponse:
    body = answer.body
    line.write(b"%b%x\r\n%b\r\n" % (line.head(answer, None), len(body), body))
    return line.close()


async def _reset_in_body(line: Line, answer: Answer) -> web.StreamResponse:
    _write_half(line, answer)
    return await line.reset()


async def _stall(line: Line, answer: Answer) -> web.StreamResponse:
    _write_half(line, answer)
    await line.hang()


async def _talk_nonsense(line: Line, _: Answer) -> web.StreamResponse:
    line.write(b"220 mail.sandbox ESMTP at your service\r\n\r\n")
    return line.close()


async def _misname_chunk(line: Line, answer: Answer) -> web.StreamResponse:
    line.write(line.head(answer, None) + b"xyz\r\n" + answer.body + b"\r\n0\r\n\r\n")
    return line.close()


async def _lengthen_header(line: Line, answer: Answer) -> web.StreamResponse:
    padded = attrs.evolve(answer, headers=(*answer.headers, ("X-Padding", "x" * 20_000)))
    line.write(line.head(padded, len(answer.body)) + answer.body)
    return line.close()


BROKEN: Mapping[Fault, Callable[[Line, Answer], Awaitable[web.StreamResponse]]] = {
    Fault.RESET_BEFORE: _reset,
    Fault.RESET_AFTER: _reset,
    Fault.CLOSE_BEFORE: _close,
    Fault.CLOSE_AFTER: _close,
    Fault.HANG_BEFORE: _hang,
    Fault.HANG_AFTER: _hang,
    Fault.TRUNCATED: _truncate,
    Fault.TRUNCATED_CHUNKS: _truncate_chunks,
    Fault.RESET_IN_BODY: _reset_in_body,
    Fault.STALLED: _stall,
    Fault.MALFORMED: _talk_nonsense,
    Fault.MALFORMED_CHUNK: _misname_chunk,
    Fault.LONG_HEADER: _lengthen_header,
}
"""Faults without a whole answer: what to do with the line and the answer that would have been."""
