"""
A CA for tests of TLS on this machine, and a server's certificate that it signed, until 2120.

The CA's own key was thrown away: it signs nothing more. The server's is public, as the tests are:
nothing else must ever trust either.
"""

from __future__ import annotations

import ssl
from pathlib import Path

__all__ = ["trusting_context", "write_server_files"]

_CA = """\
-----BEGIN CERTIFICATE-----
MIIBdTCCARugAwIBAgIBAjAKBggqhkjOPQQDAjAhMR8wHQYDVQQDDBZiYWRnZXMg
aW50ZXJvcCB0ZXN0IENBMCAXDTIwMDEwMTAwMDAwMFoYDzIxMjAwMTAxMDAwMDAw
WjAhMR8wHQYDVQQDDBZiYWRnZXMgaW50ZXJvcCB0ZXN0IENBMFkwEwYHKoZIzj0C
AQYIKoZIzj0DAQcDQgAEaO4CAonfHch0CKiOwnYvCvmOdUcLgW7lSvdXMOmmq/RB
ugeaANWh0jrMMYKsrsBppkUlVirmhdmfZu/L1Qdbd6NCMEAwDwYDVR0TAQH/BAUw
AwEB/zAOBgNVHQ8BAf8EBAMCAQYwHQYDVR0OBBYEFGTcavpSnv2tbe8qUXjrKtJ7
vrOiMAoGCCqGSM49BAMCA0gAMEUCIEBFRg6r55VvD35DOAZ9j9QYRksaO2skvddn
pgvzgTTKAiEAu4wsROZrRmI4XG/u7KJN7ieAsBWfv+tt1EjKK3NbNok=
-----END CERTIFICATE-----
"""
# Of 127.0.0.1 and localhost.
_CERTIFICATE = """\
-----BEGIN CERTIFICATE-----
MIIByzCCAXCgAwIBAgIBAzAKBggqhkjOPQQDAjAhMR8wHQYDVQQDDBZiYWRnZXMg
aW50ZXJvcCB0ZXN0IENBMCAXDTIwMDEwMTAwMDAwMFoYDzIxMjAwMTAxMDAwMDAw
WjAlMSMwIQYDVQQDDBpiYWRnZXMgaW50ZXJvcCB0ZXN0IHNlcnZlcjBZMBMGByqG
SM49AgEGCCqGSM49AwEHA0IABJSGx/6F9hjlpZ+mc3LXmCsIdexXpAAY+omQho7u
moBeLrtjnDXt/gbxX8XFrTioy/xQSIJfLBNqLjKei4NrxsajgZIwgY8wDAYDVR0T
AQH/BAIwADAOBgNVHQ8BAf8EBAMCB4AwEwYDVR0lBAwwCgYIKwYBBQUHAwEwGgYD
VR0RBBMwEYcEfwAAAYIJbG9jYWxob3N0MB0GA1UdDgQWBBTC3u5QgUJo1x6SSLJ1
MEN6MR8c1jAfBgNVHSMEGDAWgBRk3Gr6Up79rW3vKlF46yrSe76zojAKBggqhkjO
PQQDAgNJADBGAiEAwajiLD7X+sbyhxtacrcCWklPZ42Fxp/KZ5/jcBA+2M8CIQCu
V3ErFn2PP3uxx5L2G2v6ZkmOJcRzvBR7MCIJcqmoSw==
-----END CERTIFICATE-----
"""
_KEY = """\
-----BEGIN PRIVATE KEY-----
MIGHAgEAMBMGByqGSM49AgEGCCqGSM49AwEHBG0wawIBAQQgkUJw+SFXiOnLXA5R
7r8o2K7KgkgQGL1uq8qB4IN9o5ShRANCAASUhsf+hfYY5aWfpnNy15grCHXsV6QA
GPqJkIaO7pqAXi67Y5w17f4G8V/Fxa04qMv8UEiCXywTai4ynouDa8bG
-----END PRIVATE KEY-----
"""


def write_server_files(folder: Path) -> None:
    """Write `certificate.pem` and `key.pem`, and both in `bundle.pem` as HAProxy wants them."""
    (folder / "certificate.pem").write_text(_CERTIFICATE)
    (folder / "key.pem").write_text(_KEY)
    (folder / "bundle.pem").write_text(_CERTIFICATE + _KEY)


def trusting_context() -> ssl.SSLContext:
    """Give what a client trusts that CA with, and no other."""
    return ssl.create_default_context(cadata=_CA)
