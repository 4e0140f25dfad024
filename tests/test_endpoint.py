"""Which service a host means, and that credentials go nowhere else."""

from __future__ import annotations

import pytest
from hypothesis import given
from hypothesis import strategies as st
from yarl import URL

from badges_async import BadgesClient, BasicAuth, InvalidInputError
from badges_async.endpoint import read_host


@pytest.mark.parametrize(
    ("host", "base_url"),
    [
        ("eu.api.capillarytech.com", "https://eu.api.capillarytech.com"),
        ("EU.API.Capillarytech.com", "https://eu.api.capillarytech.com"),
        ("https://eu.api.capillarytech.com", "https://eu.api.capillarytech.com"),
        ("https://eu.api.capillarytech.com/", "https://eu.api.capillarytech.com"),
        ("HTTPS://eu.api.capillarytech.com", "https://eu.api.capillarytech.com"),
        ("host.example:8443", "https://host.example:8443"),
        ("https://host.example:443", "https://host.example"),
        ("host.example.", "https://host.example."),
        ("localhost", "https://localhost"),
        ("http://localhost:8080", "http://localhost:8080"),
        ("http://LOCALHOST/", "http://localhost"),
        ("http://127.0.0.1", "http://127.0.0.1"),
        ("http://127.8.9.10:1", "http://127.8.9.10:1"),
        ("http://[::1]:8080", "http://[::1]:8080"),
        ("[2001:db8::1]:8443", "https://[2001:db8::1]:8443"),
        ("10.0.0.1", "https://10.0.0.1"),
        ("münchen.example", "https://xn--mnchen-3ya.example"),
        ("xn--mnchen-3ya.example", "https://xn--mnchen-3ya.example"),
    ],
)
def test_a_host_is_a_name_or_a_base_url(host: str, base_url: str) -> None:
    assert read_host(host) == base_url


@pytest.mark.parametrize(
    ("host", "why"),
    [
        ("", "must be a host name"),
        ("  ", "must be a host name"),
        (None, "must be a host name"),
        (b"host.example", "must be a host name"),
        (443, "must be a host name"),
        (URL("https://host.example"), "must be a host name"),
        ("till:pw@host.example", "must not carry credentials"),
        ("https://till@host.example", "must not carry credentials"),
        ("https://host.example/@", "must not carry credentials"),
        ("https://till:p/w@host.example", "must not carry credentials"),
        ("https://till:pw\uff20host.example", "must not carry credentials"),
        ("https://till:pw%40host.example", "must not carry credentials"),
        ("host.example/api_gateway", "must not carry a path"),
        ("https://host.example//", "must not carry a path"),
        ("https://host.example?", "must not carry a path"),
        ("https://host.example?x=1", "must not carry a path"),
        ("https://host.example#", "must not carry a path"),
        ("https://host.example/#top", "must not carry a path"),
        ("//host.example", "must not carry a path"),
        ("https:///", "not a valid host"),
        ("https://", "not a valid host"),
        ("ftp://host.example", "must use https"),
        ("ws://host.example", "must use https"),
        ("file:///etc/passwd", "must not carry a path"),
        ("http://host.example", "plain http is for this machine only"),
        ("http://10.0.0.1", "plain http is for this machine only"),
        ("http://0.0.0.0", "plain http is for this machine only"),
        ("http://localhost.example", "plain http is for this machine only"),
        ("http://127.0.0.1.example", "plain http is for this machine only"),
        ("http://127.1", "plain http is for this machine only"),
        ("http://[2001:db8::1]", "plain http is for this machine only"),
        ("host.example:port", "not a valid host"),
        ("host.example:99999", "not a valid host"),
        ("host.example:-1", "not a valid host"),
        ("::1", "not a valid host"),
        ("https://[::1", "not a valid host"),
        ("host example", "blank or a control"),
        (" host.example", "blank or a control"),
        ("host.example ", "blank or a control"),
        ("host\\.example", "blank or a control"),
        ("host.example\\@evil.example", "must not carry credentials"),
        ("host\u00ad.example", "blank or a control"),
        ("host.example\x00", "blank or a control"),
        ("a..example", "names no host"),
        (".", "names no host"),
        ("..", "names no host"),
        (".example", "names no host"),
        ("x" * 64 + ".example", "names no host"),
        ("host\u00b4.example", "names no host"),
        ("host.\u2474", "names no host"),
    ],
)
def test_anything_else_is_refused_before_credentials_go_there(host: object, why: str) -> None:
    """F133, F135: plain HTTP to elsewhere, user info, fragments, other schemes."""
    with pytest.raises(InvalidInputError, match=why):
        read_host(host)  # type: ignore[arg-type]


@pytest.mark.parametrize("end", ["\n", "\r\n", "\t"])
def test_a_line_end_is_refused_wherever_it_is(end: str) -> None:
    """Python's own `urlsplit` takes line ends out without a word."""
    for host in (f"host.example{end}", f"ho{end}st.example", f"{end}host.example"):
        with pytest.raises(InvalidInputError, match=r"blank or a control|must be a host name"):
            read_host(host)


@pytest.mark.parametrize(
    "host",
    [
        "till:s3cret@host.example",
        "https://till:s3cret@host.example",
        "https://till:s3cret/x@host.example",
        "https://till:s3cret\uff20host.example",
        "https://till:s3cret%40host.example",
        "till:s3cret",
        "https://till:s3cret",
        "https://[till:s3cret@host",
        "https://host.example/?password=s3cret",
        "https://host.example/s3cret value",
        "https://host.example#s3cret",
    ],
)
def test_a_refusal_never_shows_a_password(host: str) -> None:
    with pytest.raises(InvalidInputError) as caught:
        read_host(host)
    assert "s3cret" not in str(caught.value)
    assert caught.value.__cause__ is None
    assert caught.value.__suppress_context__ or caught.value.__context__ is None


@given(host=st.text(max_size=30) | st.text("htps:/.@[]%0123456789abcdef\\?# ", max_size=30))
def test_any_text_is_a_host_or_refused(host: str) -> None:
    try:
        base_url = read_host(host)
    except InvalidInputError:
        return
    url = URL(base_url)
    assert str(url.origin()) == base_url
    assert url.user is None
    assert url.scheme == "https" or (url.raw_host or "").startswith(("localhost", "127.", "::1"))


def test_the_client_refuses_a_bad_host_when_it_is_made() -> None:
    with pytest.raises(InvalidInputError, match="plain http"):
        BadgesClient("http://host.example", BasicAuth("till", "password"))
