"""
The service as it really is: what it holds, what it has refused, whom it lets in.

Here: the model that the client's word is measured against, and its answers. Not here: what becomes
of an answer on its way back (`network`).
"""

from __future__ import annotations

import random
from collections import deque
from collections.abc import Mapping

import attrs

from badges_async.messages import Reply, Request
from tests.answers import HTML, envelope, gateway, held, make_reply, notice, refusal
from tests.simulation.history import Sending
from tests.simulation.plan import Plan

__all__ = ["EPOCH", "Gateway"]

EPOCH = 1_790_000_000.0
"""Seconds since the epoch when a world begins."""
_TOKEN_FIELD = "X-CAP-API-OAUTH-TOKEN"
_POISONED = 717
_PAGE, _ERROR = (502, HTML), (500, refusal(999999))
# What is answered before a claim has taken effect; a "late" one takes effect when nobody listens.
_BEFORE = {"page before": _PAGE, "error before": _ERROR, "late": _PAGE}
_AFTER = {"page after": _PAGE, "error after": _ERROR}


@attrs.define(eq=False)
class _Token:
    text: str
    ends: float


class Gateway:
    """
    The service.

    Attributes:
        holds: The keys of the claims that stand, and the request that made each; None for those
            that stood before.
        refused: The keys that it has refused for good.
        tokens: How many it has given.
        revoked: How many it has ended before their time.
    """

    def __init__(self, plan: Plan, chance: random.Random, keys: list[str]) -> None:
        self.holds: dict[str, Sending | None] = {}
        self.refused: set[str] = set()
        self.tokens = self.revoked = 0
        self.poisoned: set[str] = set()
        self._plan = plan
        self._chance = chance
        self._token: _Token | None = None
        self._accepted: deque[float] = deque()
        for key in keys:
            drawn = chance.random()
            if drawn < plan.poison:
                self.poisoned.add(key)
            elif drawn < plan.poison + plan.standing:
                self.holds[key] = None

    def answer(
        self, sending: Sending, request: Request, headers: Mapping[str, str], fault: str | None
    ) -> Reply | None:
        """Decide on a request that has arrived; None when nobody will hear of it."""
        at = sending.arrived
        assert at is not None
        if any(begins <= at < ends for begins, ends in self._plan.outages):
            sending.said = "nothing"
            return None
        if (busy := self._throttle(at, fault)) is not None:
            sending.said = "throttled"
            return busy
        if sending.operation == "token":
            return self._give_token(sending, at, fault)
        if (refused := self._refuse_entry(at, headers, fault)) is not None:
            sending.said = "unknown"
            return refused
        return self._decide(sending, request, fault)

    def apply(self, sending: Sending, at: float) -> bool:
        """Let a claim take effect; say whether it stood already."""
        stood = sending.key in self.holds
        if not stood:
            self.holds[sending.key] = sending
            sending.applied = at
        return stood

    def would_claim(self, sending: Sending) -> bool:
        """Whether a request that nothing was said of is a claim that can be held."""
        is_claim = sending.operation == "claim" and not sending.said
        return is_claim and sending.key not in self.poisoned

    def _throttle(self, at: float, fault: str | None) -> Reply | None:
        limit, per = self._plan.true_quota or (None, 0.0)
        while self._accepted and self._accepted[0] <= at - per:
            self._accepted.popleft()
        if limit is not None and len(self._accepted) >= limit:
            return self._busy(429, self._accepted[0] + per - at)
        if fault == "throttle":
            return self._busy(429, self._chance.choice((0.5, 3.0, 30.0, 2000.0)))
        if fault == "unavailable":
            return self._busy(503, self._chance.choice((1.0, 10.0)), named=True)
        self._accepted.append(at)
        return None

    def _busy(self, status: int, seconds: float, *, named: bool | None = None) -> Reply:
        whole = max(1, int(seconds) + 1)
        named = self._plan.names_time if named is None else named
        return make_reply(status, b"{}", {"Retry-After": str(whole)} if named else {})

    def _give_token(self, sending: Sending, at: float, fault: str | None) -> Reply | None:
        if any(begins <= at < ends for begins, ends in self._plan.lockouts):
            sending.said = "refused"
            return make_reply(401, gateway(401, 1001))
        if fault in {"page before", "error before", "garbage"}:
            return make_reply(502, HTML)
        assert self._plan.oauth is not None
        self.tokens += 1
        self._token = _Token(f"token-{self.tokens}", at + self._plan.oauth)
        sending.said = "token"
        data = {"accessToken": self._token.text, "ttlSeconds": self._plan.oauth}
        return make_reply(200, envelope(data))

    def _refuse_entry(
        self, at: float, headers: Mapping[str, str], fault: str | None
    ) -> Reply | None:
        locked = any(begins <= at < ends for begins, ends in self._plan.lockouts)
        if self._plan.oauth is None:
            return make_reply(401, gateway(401, 1001)) if locked else None
        if fault == "unknown token" and self._token is not None:
            self._token, self.revoked = None, self.revoked + 1
        token = self._token
        known = token is not None and headers.get(_TOKEN_FIELD) == token.text and at < token.ends
        return None if known and not locked else make_reply(401, gateway(401, 1001))

    def _decide(self, sending: Sending, request: Request, fault: str | None) -> Reply:
        if sending.operation == "get_badge":
            return make_reply(200, envelope({"id": request.subject, "name": "A badge"}))
        if fault in _BEFORE:
            return make_reply(*_BEFORE[fault])
        if sending.key in self.poisoned:
            self.refused.add(sending.key)
            sending.said = "refused"
            return make_reply(self._chance.choice((200, 400)), refusal(_POISONED))
        assert sending.arrived is not None
        stood = self.apply(sending, sending.arrived)
        sending.said = "stood" if stood else "claimed"
        if fault in _AFTER:
            return make_reply(*_AFTER[fault])
        if fault == "garbage":
            return self._garbage(sending, request)
        return self._well(sending, request, stood=stood)

    def _well(self, sending: Sending, request: Request, *, stood: bool) -> Reply:
        data = held(referenceId=sending.key, badgeMetaId=request.subject)
        if not stood:
            return make_reply(200, envelope(data))
        if self._chance.random() < 0.5:
            return make_reply(200, envelope(data, None, [notice(900)]))
        return make_reply(400, refusal(900))

    def _garbage(self, sending: Sending, request: Request) -> Reply:
        good = self._well(sending, request, stood=False).body
        return make_reply(
            200,
            self._chance.choice(
                (
                    HTML,
                    b"",
                    good[: len(good) // 2],
                    envelope(held(referenceId="somebody else")),
                    envelope(None),
                    b"[]",
                )
            ),
        )
