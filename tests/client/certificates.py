"""
A certificate for tests of TLS on this machine, signed by itself, valid until 2120.

Its key is public, as the tests are: nothing else must ever trust it.
"""

from __future__ import annotations

import ssl
from pathlib import Path

__all__ = ["server_context", "trusting_context"]

# Of 127.0.0.1 and localhost.
_CERTIFICATE = """\
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
_KEY = """\
-----BEGIN PRIVATE KEY-----
MIGHAgEAMBMGByqGSM49AgEGCCqGSM49AwEHBG0wawIBAQQgvu3p8cJ8ROwZAhNE
9Zmw3QzzMf4cSfNA8rASwo6uXFGhRANCAARjAWGrF6yKMAnNGkdSPNHhErh9pGD3
knVw7Ez8uX4NQRAmb9UnYwxKIN7et441vRzQYS6uw/JMGhoSgXiRig88
-----END PRIVATE KEY-----
"""


def server_context(folder: Path) -> ssl.SSLContext:
    """Give what a server shows the certificate with; *folder* is for its files."""
    certificate, key = folder / "certificate.pem", folder / "key.pem"
    certificate.write_text(_CERTIFICATE)
    key.write_text(_KEY)
    context = ssl.SSLContext(ssl.PROTOCOL_TLS_SERVER)
    context.load_cert_chain(certificate, key)
    return context


def trusting_context() -> ssl.SSLContext:
    """Give what a client trusts that certificate with, and no other."""
    return ssl.create_default_context(cadata=_CERTIFICATE)
