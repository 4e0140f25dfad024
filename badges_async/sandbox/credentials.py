"""
Who may ask: Basic credentials and OAuth tokens.

Here: checking them. Not here: answering who may not (`routes`). Nothing of this is printed.
"""

from __future__ import annotations

import base64
import hashlib
import time
from collections.abc import Mapping
from random import Random

__all__ = ["Credentials"]

_TOKEN_HEADER = "X-CAP-API-OAUTH-TOKEN"  # noqa: S105  (the name of a header)


class Credentials:
    """
    One till's password and one client key, with the tokens that the key was given.

    Attributes:
        token_ttl: Seconds that a new token lasts.
        tokens_issued: Token requests that succeeded.
    """

    def __init__(
        self,
        *,
        username: str,
        password: str,
        client_key: str,
        client_secret: str,
        token_ttl: float,
        seed: int,
    ) -> None:
        digest = hashlib.md5(password.encode(), usedforsecurity=False).hexdigest()
        pair = base64.b64encode(f"{username}:{digest}".encode()).decode()
        self.token_ttl = token_ttl
        self.tokens_issued = 0
        self._pair = pair
        self._key_and_secret = (client_key, client_secret)
        self._tokens: dict[str, float] = {}
        self._random = Random(seed)  # noqa: S311  (the same tokens in every run, and no secret)

    def accept(self, headers: Mapping[str, str]) -> bool:
        """Say whether a request is ours; a token, where there is one, decides alone."""
        token = headers.get(_TOKEN_HEADER)
        if token is None:
            scheme, _, pair = headers.get("Authorization", "").partition(" ")
            return scheme.lower() == "basic" and pair == self._pair
        ends = self._tokens.get(token)
        return ends is not None and time.monotonic() < ends

    def issue(self, key: str | None, secret: str | None) -> str | None:
        """Give a new token for the right key and secret; older ones stay good until they end."""
        if (key, secret) != self._key_and_secret:
            return None
        self.tokens_issued += 1
        # Three dotted parts, as the service's own; nothing is signed, we look it up.
        token = f"sandbox.{self.tokens_issued}.{self._random.getrandbits(128):032x}"
        self._tokens[token] = time.monotonic() + self.token_ttl
        return token

    def revoke(self, headers: Mapping[str, str]) -> bool:
        """End the token that a request carries; False when it carries none of ours."""
        return self._tokens.pop(headers.get(_TOKEN_HEADER, ""), None) is not None

    def revoke_all(self) -> None:
        """End every token."""
        self._tokens.clear()
