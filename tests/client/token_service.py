"""A service that gives tokens and wants them back, as steps of a script without a network."""

from __future__ import annotations

import inspect

from badges_async import OAuth
from badges_async.messages import Reply
from tests.answers import envelope, make_reply
from tests.client.scripted import ScriptedTransport, Sent, Step, well

__all__ = ["TokenService", "oauth"]


class TokenService(ScriptedTransport):
    """
    Wants a token that it gave; tokens are numbered.

    Args:
        ttl: The lifetime that it states, whatever it is.

    Attributes:
        script: What becomes of the next requests for a token; then they are given.
        operation: What becomes of a request with the valid token.
        valid: The only token that is accepted.
        fetched: Tokens given.
        at_once: The most requests for a token at the same time.
    """

    def __init__(self, *script: Step, ttl: object = 300.0, then: Step | None = None) -> None:
        super().__init__(then=self._answer)
        self.script = list(script)
        self.operation = then or well
        self.valid = ""
        self.fetched = self.at_once = 0
        self._asking = 0
        self._ttl = ttl

    @property
    def operations(self) -> list[str]:
        """What was asked for, oldest first."""
        return [sent.request.operation for sent in self.sent]

    @property
    def fetches(self) -> list[float]:
        """When tokens were asked for, in the loop's time."""
        return [sent.at for sent in self.sent if sent.request.operation == "token"]

    async def _answer(self, sent: Sent) -> Reply:
        if sent.request.operation == "token":
            return await self._give_token(sent)
        assert "Authorization" not in sent.headers
        if sent.headers["X-CAP-API-OAUTH-TOKEN"] != self.valid:
            return make_reply(401, b"")
        return await _taken(self.operation, sent)

    async def _give_token(self, sent: Sent) -> Reply:
        assert not sent.headers
        if self.script:
            self._asking += 1
            self.at_once = max(self.at_once, self._asking)
            try:
                return await _taken(self.script.pop(0), sent)
            finally:
                self._asking -= 1
        self.fetched += 1
        self.valid = f"token-{self.fetched}"
        return make_reply(200, envelope({"accessToken": self.valid, "ttlSeconds": self._ttl}))


async def _taken(step: Step, sent: Sent) -> Reply:
    answer = step(sent)
    return await answer if inspect.isawaitable(answer) else answer


def oauth() -> OAuth:
    """Give the credentials of a client key."""
    return OAuth("key", "secret")
