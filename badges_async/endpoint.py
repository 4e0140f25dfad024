"""
Which service: a host name or base URL, checked so that credentials only go where they should.

Here: text in, base URL out. No network.
"""

from __future__ import annotations

import ipaddress
from urllib.parse import SplitResult, urlsplit

from yarl import URL

from badges_async.errors import InvalidInputError

__all__ = ["read_host"]


def read_host(host: str) -> str:
    """
    Give the base URL, without a trailing slash, that *host* means.

    A bare name means https. Every documented cluster has a name of its own; there is no default.

    Raises:
        InvalidInputError: *host* is no host; it carries credentials, a path, a query or a
            fragment; or it asks for plain http to anything but this machine.
    """
    if not isinstance(host, str) or not host.strip():
        raise InvalidInputError(
            "host must be a host name or a base URL, such as eu.api.example.com"
        )
    text = host if "://" in host else f"https://{host}"
    parts = _split(text)
    # What was given is shown only once it cannot hold a password.
    if "@" in text:
        raise InvalidInputError("host must not carry credentials: pass them as auth")
    if any(
        character.isspace() or not character.isprintable() or character == "\\"
        for character in text
    ):
        raise InvalidInputError(f"host holds a blank or a control character: {host!r}")
    if parts.path not in {"", "/"} or parts.query or parts.fragment or "?" in text or "#" in text:
        raise InvalidInputError(f"host must not carry a path, a query or a fragment: {host!r}")
    if parts.scheme not in {"https", "http"}:
        raise InvalidInputError(f"host must use https: {host!r}")
    if not parts.hostname:
        raise InvalidInputError(f"host names no host: {host!r}")
    if parts.scheme == "http" and not _is_loopback(parts.hostname):
        raise InvalidInputError(
            f"plain http is for this machine only, credentials would travel in clear: {host!r}"
        )
    return _normalise(host, text)


def _split(text: str) -> SplitResult:
    try:
        parts = urlsplit(text)
        parts.port  # noqa: B018 - raises when it is no port
    except ValueError as error:
        raise InvalidInputError(f"host is not a valid host name or base URL: {error}") from None
    return parts


def _normalise(host: str, text: str) -> str:
    try:
        url = URL(text)
        origin = str(url.origin())
    except ValueError:
        raise InvalidInputError(f"host is not a valid host name or base URL: {host!r}") from None
    return origin


def _is_loopback(hostname: str) -> bool:
    if hostname == "localhost":
        return True
    try:
        return ipaddress.ip_address(hostname).is_loopback
    except ValueError:
        return False
