"""
Certificates for tests of TLS on this machine, signed by themselves: one valid until 2120, one past.

Their key is public, as the tests are: nothing else must ever trust it.
"""

from __future__ import annotations

import ssl
from pathlib import Path

__all__ = ["EXPIRED", "VALID", "server_context", "trusting_context"]

VALID = """\
-----BEGIN CERTIFICATE-----
MIIBrDCCAVKgAwIBAgIBATAKBggqhkjOPQQDAjAeMRwwGgYDVQQDDBNiYWRnZXMg
c2FuZGJveCB0ZXN0MCAXDTIwMDEwMTAwMDAwMFoYDzIxMjAwMTAxMDAwMDAwWjAe
MRwwGgYDVQQDDBNiYWRnZXMgc2FuZGJveCB0ZXN0MFkwEwYHKoZIzj0CAQYIKoZI
zj0DAQcDQgAEYwFhqxesijAJzRpHUjzR4RK4faRg95J1cOxM/Ll+DUEQJm/VJ2MM
SiDe3reONb0c0GEursPyTBoaEoF4kYoPPKN/MH0wDwYDVR0TAQH/BAUwAwEB/zAa
BgNVHREEEzARhwR/AAABgglsb2NhbGhvc3QwHQYDVR0OBBYEFNN4xAHxSY1gNqTb
0AEi5Hq6tLUwMB8GA1UdIwQYMBaAFNN4xAHxSY1gNqTb0AEi5Hq6tLUwMA4GA1Ud
DwEB/wQEAwIChDAKBggqhkjOPQQDAgNIADBFAiEA2PzgilN1Md01B6jNwv6zASca
BpP1WvJ0Srpx1goo77YCIEkoSaJ/Ctezp7QVJIb95KRKYGdvfFo9LoyFDDwdFS+C
-----END CERTIFICATE-----
"""
"""Of 127.0.0.1 and localhost."""
EXPIRED = """\
-----BEGIN CERTIFICATE-----
MIIBqzCCAVCgAwIBAgIBAjAKBggqhkjOPQQDAjAeMRwwGgYDVQQDDBNiYWRnZXMg
c2FuZGJveCB0ZXN0MB4XDTIwMDEwMTAwMDAwMFoXDTIxMDEwMTAwMDAwMFowHjEc
MBoGA1UEAwwTYmFkZ2VzIHNhbmRib3ggdGVzdDBZMBMGByqGSM49AgEGCCqGSM49
AwEHA0IABGMBYasXrIowCc0aR1I80eESuH2kYPeSdXDsTPy5fg1BECZv1SdjDEog
3t63jjW9HNBhLq7D8kwaGhKBeJGKDzyjfzB9MA8GA1UdEwEB/wQFMAMBAf8wGgYD
VR0RBBMwEYcEfwAAAYIJbG9jYWxob3N0MB0GA1UdDgQWBBTTeMQB8UmNYDak29AB
IuR6urS1MDAfBgNVHSMEGDAWgBTTeMQB8UmNYDak29ABIuR6urS1MDAOBgNVHQ8B
Af8EBAMCAoQwCgYIKoZIzj0EAwIDSQAwRgIhANiBwWiN/YBww36macX++M86riGI
H3RjzFrGXuPQ2UgvAiEA3BJYEa7eAdO5T48/vw+YGexflA7SYjyC7/zBsvQC5wo=
-----END CERTIFICATE-----
"""
"""Of the same names and key, until the end of 2020."""
_KEY = """\
-----BEGIN PRIVATE KEY-----
MIGHAgEAMBMGByqGSM49AgEGCCqGSM49AwEHBG0wawIBAQQgvu3p8cJ8ROwZAhNE
9Zmw3QzzMf4cSfNA8rASwo6uXFGhRANCAARjAWGrF6yKMAnNGkdSPNHhErh9pGD3
knVw7Ez8uX4NQRAmb9UnYwxKIN7et441vRzQYS6uw/JMGhoSgXiRig88
-----END PRIVATE KEY-----
"""


def server_context(folder: Path, shown: str = VALID) -> ssl.SSLContext:
    """Give what a server shows the certificate *shown* with; *folder* is for its files."""
    certificate, key = folder / "certificate.pem", folder / "key.pem"
    certificate.write_text(shown)
    key.write_text(_KEY)
    context = ssl.SSLContext(ssl.PROTOCOL_TLS_SERVER)
    context.load_cert_chain(certificate, key)
    return context


def trusting_context(trusted: str = VALID) -> ssl.SSLContext:
    """Give what a client trusts the certificate *trusted* with, and no other."""
    return ssl.create_default_context(cadata=trusted)
