"""Which service, and as whom."""

from __future__ import annotations

from pathlib import Path

import pytest

from badges_async import Auth, BasicAuth, OAuth
from badges_async.cli.exits import UsageError
from badges_async.cli.options import Service


@pytest.fixture
def secret(tmp_path: Path) -> Path:
    path = tmp_path / "secret"
    path.write_text("\ufeffpass word \r\nsecond line\n", encoding="utf-8")
    return path


def same(found: Auth, expected: Auth) -> bool:
    """Whether two would say the same to the service; neither shows its secret."""
    if isinstance(found, OAuth) and isinstance(expected, OAuth):
        return (found.client_key, found._client_secret) == (  # noqa: SLF001 - on purpose hard to see
            expected.client_key,
            expected._client_secret,  # noqa: SLF001
        )
    return type(found) is type(expected) and found.headers() == expected.headers()


def test_the_environment_is_enough(monkeypatch: pytest.MonkeyPatch) -> None:
    """Nothing needs to be typed."""
    monkeypatch.setenv("BADGES_HOST", "example.com")
    monkeypatch.setenv("BADGES_USERNAME", "till")
    monkeypatch.setenv("BADGES_PASSWORD", "p")

    assert Service().address() == "example.com"
    assert same(Service().auth(), BasicAuth("till", "p"))
    assert Service().client().lane


def test_what_is_typed_goes_before_the_environment(
    monkeypatch: pytest.MonkeyPatch, secret: Path
) -> None:
    """A host, a username or a client key on the command line wins, also over the other scheme."""
    monkeypatch.setenv("BADGES_HOST", "example.com")
    monkeypatch.setenv("BADGES_USERNAME", "till")
    monkeypatch.setenv("BADGES_PASSWORD", "p")

    assert Service(host="other").address() == "other"
    assert same(Service(username="me").auth(), BasicAuth("me", "p"))
    assert same(Service(password_file=secret).auth(), BasicAuth("till", "pass word "))
    assert same(Service(client_key="k", secret_file=secret).auth(), OAuth("k", "pass word "))


def test_oauth_comes_from_the_environment(monkeypatch: pytest.MonkeyPatch) -> None:
    """The other pair of variables is as good."""
    monkeypatch.setenv("BADGES_CLIENT_KEY", "k")
    monkeypatch.setenv("BADGES_CLIENT_SECRET", "s")

    assert same(Service().auth(), OAuth("k", "s"))


@pytest.mark.parametrize(
    ("service", "variables", "said"),
    [
        (Service(), {}, "as whom"),
        (Service(username="u", client_key="k"), {}, "give one of the two"),
        (Service(), {"BADGES_USERNAME": "u", "BADGES_CLIENT_KEY": "k"}, "give one of the two"),
        (Service(username="u"), {}, "password of u is missing; set BADGES_PASSWORD or"),
        (Service(client_key="k"), {}, "secret of k is missing; set BADGES_CLIENT_SECRET or"),
        (Service(password_file=Path("x")), {}, "needs --username"),
        (Service(secret_file=Path("x")), {}, "needs --client-key"),
        (Service(username="u", password_file=Path("missing")), {}, "No such file"),
        (Service(username="u", password_file=Path("/dev/null")), {}, "first line is empty"),
    ],
)
def test_what_is_missing_is_named(
    service: Service, variables: dict[str, str], said: str, monkeypatch: pytest.MonkeyPatch
) -> None:
    """One line that says what to set or to type."""
    for name, value in variables.items():
        monkeypatch.setenv(name, value)

    with pytest.raises(UsageError, match=said):
        service.auth()


def test_a_missing_host_is_named() -> None:
    """There is no default host."""
    with pytest.raises(UsageError, match="BADGES_HOST"):
        Service().address()


def test_a_secret_file_that_is_no_text_shows_nothing_of_it(tmp_path: Path) -> None:
    """Not even the byte that was wrong."""
    path = tmp_path / "secret"
    path.write_bytes(b"geheim\xff\n")

    with pytest.raises(UsageError, match="is not UTF-8") as caught:
        Service(username="u", password_file=path).auth()
    assert "geheim" not in str(caught.value)
    assert caught.value.__suppress_context__


class _Terminal:
    """Stands in for a standard stream that a person sits at."""

    def isatty(self) -> bool:
        return True


def test_a_person_is_asked(monkeypatch: pytest.MonkeyPatch) -> None:
    """On a terminal a missing secret is no error."""
    asked: list[str] = []

    def answer(prompt: str) -> str:
        asked.append(prompt)
        return "typed"

    monkeypatch.setattr("sys.stdin", _Terminal())
    monkeypatch.setattr("sys.stderr", _Terminal())
    monkeypatch.setattr("getpass.getpass", answer)

    assert same(Service(username="u").auth(), BasicAuth("u", "typed"))
    assert asked == ["The password of u: "]
