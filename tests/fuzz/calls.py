"""
Any answers, one after another: what a whole call of the client makes of them.

Here: the shipped client on the virtual clock, whose service answers with what the fuzzer drew, its
retries, pauses and tokens included. What one answer means is in `answers`.
"""

from __future__ import annotations

from collections.abc import Iterable

import attrs

from badges_async import (
    APIError,
    Badge,
    BadgesError,
    BasicAuth,
    ClaimResult,
    OAuth,
    TransportError,
    UnreadableReplyError,
)
from badges_async.messages import Reply
from tests.answers import ASKED, BADGE_ID, envelope, held, notice, refusal
from tests.client.scripted import ScriptedTransport, Sent, Step, lost_after, make_client, well
from tests.fuzz import answers
from tests.virtual_clock import now, run_virtually

__all__ = ["WORDS", "seeds", "target"]

WORDS = (*answers.WORDS, b"\n\x1e", b"\x1e\x1e")
_OPERATIONS = ("claim", "unclaim", "get_badge")
_MOST = 12
_TOTAL = 60.0
_ASKS = {408, 425, 429, 500, 502, 503, 504}  # with one of these a service may ask to wait
_SECRET = "secret-of-the-key"


@attrs.define
class _Heard:
    """What a call was answered: the reply to each request, None where it was lost."""

    replies: list[Reply | None] = attrs.field(factory=list)

    def step(self, data: bytes) -> Step:
        """Give the step that answers with *data*, or with nothing where it is empty."""

        def say(sent: Sent) -> Reply:
            if not data:
                self.replies.append(None)
                return lost_after(sent)
            reply = answers.reply_of(data)
            self.replies.append(reply)
            return attrs.evolve(reply)  # what is read may be changed, to conceal an echo

        return say

    def well(self, sent: Sent) -> Reply:
        """Answer as the service does, for as long as it is asked."""
        if sent.request.operation == "token":
            reply = answers.reply_of(
                b"200\n\n" + envelope({"accessToken": "tok-1", "ttlSeconds": 60})
            )
        elif sent.request.operation == "unclaim":
            reply = answers.reply_of(b"200\n\n" + envelope(held(isActive=False)))
        else:
            reply = well(sent)
        self.replies.append(reply)
        return reply


def target(data: bytes) -> None:
    """
    Make a call that is answered with *data*: a byte that says which, then answers.

    They are written as `answers` has them, with an ASCII record separator between them; an empty
    one is a lost connection. After the last of them the service works.
    """
    which = data[0] if data else 0
    heard = _Heard()
    steps = [heard.step(each) for each in data[1:].split(b"\x1e")[:_MOST]]
    service = ScriptedTransport(*steps, then=heard.well)
    run_virtually(lambda: _call(service, heard, _OPERATIONS[which % 3], oauth=which >= 128))


async def _call(service: ScriptedTransport, heard: _Heard, operation: str, *, oauth: bool) -> None:
    auth = OAuth("key", _SECRET) if oauth else BasicAuth("till", _SECRET)
    began = now()
    async with make_client(service, auth=auth) as client:
        try:
            if operation == "get_badge":
                value: Badge | ClaimResult = await client.get_badge(BADGE_ID)
            else:
                ask = client.claim if operation == "claim" else client.unclaim
                value = await ask(BADGE_ID, "Loyalty", ASKED.reference_id)
        except BadgesError as error:
            _check_error(error, service, heard, operation)
        else:
            _check_value(value, service, heard, operation)
    assert now() <= began + _TOTAL
    _check_pauses(service, heard)
    told = [
        reply.status if reply else 0
        for reply in map(heard.replies.__getitem__, _sent(service, operation))
    ]
    assert (401, 401, 401) not in zip(told, told[1:], told[2:], strict=False)


def _sent(service: ScriptedTransport, operation: str) -> list[int]:
    """Give the places of the requests of that *operation* among all."""
    return [n for n, sent in enumerate(service.sent) if sent.request.operation == operation]


def _check_error(
    error: BadgesError, service: ScriptedTransport, heard: _Heard, operation: str
) -> None:
    assert isinstance(error, APIError | UnreadableReplyError | TransportError)
    assert str(error).isprintable()
    sent = [heard.replies[n] for n in _sent(service, operation)]
    assert error.attempts == len(sent)
    if any(reply is None for reply in sent):
        assert error.maybe_applied, "an answer was lost"
    if not sent:
        assert not error.maybe_applied
    ids = {reply.request_id for reply in heard.replies if reply}
    told = f"{error!r}{vars(error)}{error.__cause__!r}{error.__context__!r}"
    for each in ids - {None}:
        told = told.replace(str(each), "")
    assert _SECRET not in told


def _check_value(
    value: Badge | ClaimResult, service: ScriptedTransport, heard: _Heard, operation: str
) -> None:
    last = heard.replies[_sent(service, operation)[-1]]
    assert last is not None
    assert last.complete
    if isinstance(value, ClaimResult):
        assert value.attempts == len(_sent(service, operation))
        answers.check_claim(value, last)


def _check_pauses(service: ScriptedTransport, heard: _Heard) -> None:
    """Check that nothing was sent before the time that the service asked for."""
    for earlier, later, reply in zip(service.sent, service.sent[1:], heard.replies, strict=False):
        if reply is not None and reply.status in _ASKS and reply.retry_after is not None:
            assert later.at >= earlier.at + reply.retry_after


def seeds() -> Iterable[bytes]:
    """Give the ways of a call: well at once, after trouble of each kind, with a token, never."""
    fine, token = b"200\n\n" + envelope(held()), b"200\n\n" + envelope({"accessToken": "t" * 9})
    trouble = (
        b"",
        b"503\nRetry-After: 2\n\n{}",
        b"429\nRetry-After: 3\n\n" + refusal(429),
        b"429\n\n",
        b"500\n\n<html>",
        b"500\nRetry-After: 5\n\n{}",
        b"401\n\n{}",
        b"400\n\n" + refusal(717),
        b"200\n\n" + envelope(None, [notice(900)]),
        b"200-\n\n{",
        b"429\nRetry-After: 99\n\n{}",
    )
    for each in trouble:
        yield b"\0" + b"\x1e".join([each, fine])
        yield b"\1" + b"\x1e".join([each, each])
        yield b"\2" + each
        yield b"\x80" + b"\x1e".join([token, each, token, fine])
        yield b"\x81" + b"\x1e".join([each, token, each])
        yield b"\0" + b"\x1e".join([each] * 9)
        yield b"\1" + b"\x1e".join([b"", each, b"400\n\n" + refusal(717)])
        yield b"\x80" + b"\x1e".join([token, each] * 6)
