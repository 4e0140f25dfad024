"""
Which service: a host name or base URL, checked so that credentials only go where they should.

Here: text in, base URL out. No network.
"""

from __future__ import annotations

import ipaddress
import re
import unicodedata
from urllib.parse import SplitResult, unquote, urlsplit

from yarl import URL

from badges_async.errors import InvalidInputError

__all__ = ["read_host"]

_LONGEST_LABEL = 63  # of the parts of a host name, says the DNS
_HOSTNAME = re.compile(r"[\w.:%~-]+", re.ASCII)  # a name, or an address, which may have a zone


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
    # What was given is shown only once it cannot hold a password.
    if "@" in unicodedata.normalize("NFKC", unquote(host)):
        raise InvalidInputError("host must not carry credentials: pass them as auth")
    text = host if "://" in host else f"https://{host}"
    parts = _split(text)
    if parts.path not in {"", "/"} or parts.query or parts.fragment or "?" in text or "#" in text:
        raise InvalidInputError("host must not carry a path, a query or a fragment")
    if any(
        character.isspace() or not character.isprintable() or character == "\\"
        for character in text
    ):
        raise InvalidInputError(f"host holds a blank or a control character: {host!r}")
    if parts.scheme not in {"https", "http"}:
        raise InvalidInputError(f"host must use https: {host!r}")
    origin = _origin(host, text)
    if origin.scheme == "http" and not _is_loopback(origin.raw_host or ""):
        raise InvalidInputError(
            f"plain http is for this machine only, credentials would travel in clear: {host!r}"
        )
    return str(origin)


def _split(text: str) -> SplitResult:
    try:
        parts = urlsplit(text)
        parts.port  # noqa: B018 - raises when it is no port
    except ValueError:
        parts = None
    if parts is None:
        # Outside of the handler: the other error quotes a part of the text, such as the secret of
        # name:secret, and must not hang on ours.
        raise InvalidInputError("host is not a valid host name or base URL")
    return parts


def _origin(host: str, text: str) -> URL:
    """Read *text* with the library that the request is sent by: what it says, goes."""
    try:
        # Twice, because capitals beside letters that no IDNA knows are left as they are at first.
        origin = URL(str(URL(text).origin())).origin()
    except ValueError:
        raise InvalidInputError(f"host is not a valid host name or base URL: {host!r}") from None
    hostname = origin.raw_host or ""
    labels = hostname.removesuffix(".").split(".")
    is_name = all(0 < len(label) <= _LONGEST_LABEL for label in labels)
    # Some letters become a blank or a bracket only when the name is brought into its one form.
    if not is_name or not _HOSTNAME.fullmatch(hostname):
        raise InvalidInputError(f"host names no host: {host!r}")
    return origin


def _is_loopback(hostname: str) -> bool:
    if hostname == "localhost":
        return True
    try:
        return ipaddress.ip_address(hostname).is_loopback
    except ValueError:
        return False
