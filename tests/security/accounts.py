"""Who asks, in tests of what must not be seen, and what that is."""

from __future__ import annotations

from badges_async import BasicAuth, OAuth
from badges_async.auth import Auth

__all__ = ["BADGE", "CLIENT_SECRET", "KINDS", "PASSWORD", "credentials", "secrets_of"]

BADGE = "69381220cebb9648d8974518"
PASSWORD, CLIENT_SECRET = "s3cret-Pass", "demo-secret"
KINDS = ("basic", "oauth")


def credentials(kind: str) -> Auth:
    """Give credentials of that *kind*, as the sandbox knows them."""
    if kind == "basic":
        return BasicAuth("till.demo", PASSWORD)
    return OAuth("demo-key", CLIENT_SECRET)


def secrets_of(auth: Auth) -> list[str]:
    """Give what must not be seen of *auth*, as it is now: tokens come and go."""
    sent = [str(value) for value in (auth.headers() or {}).values()]
    words = [word for value in sent for word in value.split() if word != "Basic"]
    return [PASSWORD, CLIENT_SECRET, *sent, *words]
