"""What the worker's commands are told: which Redis, whose quota, how old; and what they refuse."""

from __future__ import annotations

import re
import sys
from pathlib import Path

import pytest

from badges_async import BasicAuth, InvalidInputError, Quota
from badges_async.cli.app import run
from badges_async.cli.exits import UsageError
from badges_async.cli.fleet.accounts import Account
from badges_async.cli.fleet.options import (
    Place,
    account_name,
    check_no_password,
    read_age,
    read_quotas,
)

HUSH = "hush-hush"


def complaint(capsys: pytest.CaptureFixture[str], *arguments: str) -> str:
    """Run the tool, which refuses; give the one line that it says."""
    assert run(arguments) == 2
    out, err = capsys.readouterr()
    assert out == ""
    assert err.count("\n") == 1, err
    return err


def test_the_url_comes_from_the_option_or_the_environment(monkeypatch: pytest.MonkeyPatch) -> None:
    """What is typed goes first; a password may be in the variable."""
    monkeypatch.setenv("BADGES_REDIS_URL", f"redis://:{HUSH}@there:6379/0")

    assert Place().url() == f"redis://:{HUSH}@there:6379/0"
    assert Place(redis_url="redis://here:1/0").url() == "redis://here:1/0"


def test_without_a_url_it_says_how_to_set_one(capsys: pytest.CaptureFixture[str]) -> None:
    """There is no default: the wrong Redis would take the claims."""
    said = complaint(capsys, "worker", "status")
    assert "set BADGES_REDIS_URL" in said
    assert "--redis-url" in said


@pytest.mark.parametrize(
    "url",
    [
        f"redis://:{HUSH}@host:6379/0",
        f"redis://user:{HUSH}@host:6379/0",
        f"rediss://user:{HUSH}@host",
        f"REDIS://user:{HUSH}@host",
        f"redis://user:{HUSH}/with@host/0",
        f"redis://user:{HUSH}?with@host/0",
        f"unix://user:{HUSH}@/path",
        f"redis://host:6379/0?db=1&password={HUSH}",
    ],
)
@pytest.mark.parametrize("command", ["status", "run", "enqueue", "dlq"])
def test_a_url_with_a_password_is_refused_and_not_repeated(
    command: str, url: str, capsys: pytest.CaptureFixture[str]
) -> None:
    """However it is typed, also where it does not belong."""
    for arguments in (["--redis-url", url], [f"--redis-url={url}"], [url], ["--stream", url]):
        said = complaint(capsys, "worker", command, *arguments)
        assert HUSH not in said
        assert "BADGES_REDIS_URL" in said
        assert "--redis-password-file" in said
    with pytest.raises(UsageError, match="no password"):
        Place(redis_url=url).url()


@pytest.mark.parametrize(
    "url",
    ["redis://host:6379/0", "redis://user@host", "unix:///run/redis.sock", "rediss://[::1]:6379/0"],
)
def test_a_url_without_a_password_is_none(url: str) -> None:
    check_no_password(url)


def test_an_option_for_the_password_is_refused_and_not_repeated(
    capsys: pytest.CaptureFixture[str],
) -> None:
    said = complaint(capsys, "worker", "status", f"--redis-password={HUSH}")
    assert HUSH not in said
    assert "BADGES_REDIS_PASSWORD, or give --redis-password-file" in said


def test_the_password_comes_from_a_file_or_the_environment(
    monkeypatch: pytest.MonkeyPatch, tmp_path: Path
) -> None:
    file = tmp_path / "password"
    file.write_text("from a file\nsecond line\n")
    assert Place().password() is None
    monkeypatch.setenv("BADGES_REDIS_PASSWORD", "from the environment")
    assert Place().password() == "from the environment"
    assert Place(redis_password_file=file).password() == "from a file"
    with pytest.raises(UsageError, match="--redis-password-file"):
        Place(redis_password_file=tmp_path / "none").password()


@pytest.mark.parametrize("url", ["nonsense", "http://host/", "redis://host:port/0"])
def test_a_url_that_is_none_is_wrong_usage(url: str, capsys: pytest.CaptureFixture[str]) -> None:
    said = complaint(capsys, "worker", "status", "--redis-url", url)
    assert "redis://host:6379/0" in said


def test_where_the_extra_is_missing_it_says_what_to_install(
    monkeypatch: pytest.MonkeyPatch, capsys: pytest.CaptureFixture[str]
) -> None:
    """And help works all the same."""
    for name in list(sys.modules):
        if re.match(r"redis(\.|$)|badges_async\.worker\.(redis|fleet_quota)", name):
            monkeypatch.delitem(sys.modules, name)
    monkeypatch.setitem(sys.modules, "redis", None)
    monkeypatch.setenv("BADGES_REDIS_URL", "redis://127.0.0.1:1/0")

    said = complaint(capsys, "worker", "status")
    assert said == (
        "badges-async: redis is not installed; "
        "the worker's commands need: pip install 'badges_async[worker]'\n"
    )
    assert run(["worker", "run", "--help"]) == 0


def test_quotas_have_names_and_limits() -> None:
    assert read_quotas([]) == {}
    assert read_quotas(["100/60s"]) == {None: (Quota(100, 60.0),)}
    assert read_quotas(["100/10s,20/1s", "brand-a=5/m"]) == {
        None: (Quota(100, 10.0), Quota(20, 1.0)),
        "brand-a": (Quota(5, 60.0),),
    }


@pytest.mark.parametrize(
    ("specs", "words"),
    [
        (["1/s", "2/s"], "--quota without a name is given twice"),
        (["a=1/s", "a=2/s"], "the quota a is given twice"),
        (["=1/s"], "brand-a=100/60s"),
        (["a=b=1/s"], "brand-a=100/60s"),  # or a brand's backlog would become dead letters
        (["a=fast"], "a quota looks like"),
        (["100/10s,"], "a quota looks like"),
    ],
)
def test_quotas_that_make_no_sense_are_refused(specs: list[str], words: str) -> None:
    with pytest.raises((UsageError, InvalidInputError), match=words):
        read_quotas(specs)


def test_all_workers_of_an_account_share_a_quota_and_nobody_reads_whose_it_is() -> None:
    """However the host is spelt."""
    name = account_name("eu.api.capillarytech.com", "basic till")
    assert re.fullmatch("[0-9a-f]{16}", name)
    assert name == account_name("https://EU.api.capillarytech.com/", "basic till")
    assert name != account_name("eu.api.capillarytech.com", "oauth till")
    assert name != account_name("us.api.capillarytech.com", "basic till")

    account = Account(
        host="eu.api.capillarytech.com", auth=BasicAuth("till", HUSH), guard=0.3, concurrency=1
    )
    assert account.quota_name(None) == name
    assert account.quota_name("brand-a") == f"{name}:brand-a"
    assert HUSH not in repr(account)


def test_an_age_has_a_unit() -> None:
    assert [read_age(text) for text in ("90s", "30m", "12h", "7d")] == [90, 1800, 43200, 604800]
    for text in ("7", "d", "-1d", "1w", "1.5h", ""):
        with pytest.raises(InvalidInputError, match="an age looks like"):
            read_age(text)


@pytest.mark.parametrize(
    ("arguments", "words"),
    [
        (["run"], "which service?"),
        (["run", "--host", "h"], "as whom?"),
        (["run", "--lease", "never"], "--lease"),
        (["run", "--grace", "-1"], "--grace is a number of seconds"),
        (["run", "--concurrency", "many"], "--concurrency"),
        (["run", "--quota", "fast"], "a quota looks like"),
        (["run", "--metrics-port", "70000"], "--metrics-port is a number from 0 to 65535"),
        (["enqueue", "no-such-file.csv"], "no-such-file.csv"),
        (["enqueue", "x.csv", "--most-waiting", "0"], "--most-waiting must be at least 1"),
        (["dlq", "list", "--limit", "0"], "--limit must be at least 1"),
        (["dlq", "requeue"], "--all"),
        (["dlq", "purge"], "--all"),
        (["dlq", "purge", "--older-than", "7d"], "--all"),
        (["dlq", "purge", "--all", "1-0"], "--all"),
        (["dlq", "requeue", "--reason", "rejected", "1-0"], "--reason"),
        (["dlq", "purge", "--all", "--older-than", "soon"], "an age looks like"),
        (["nothing"], "nothing"),
    ],
)
def test_wrong_usage_is_one_line_and_exit_code_2(
    arguments: list[str],
    words: str,
    monkeypatch: pytest.MonkeyPatch,
    capsys: pytest.CaptureFixture[str],
) -> None:
    monkeypatch.setenv("BADGES_REDIS_URL", "redis://127.0.0.1:1/0")
    if len(arguments) > 1 and arguments[0] == "run" and arguments[1] != "--host":
        monkeypatch.setenv("BADGES_HOST", "http://127.0.0.1:1")
        monkeypatch.setenv("BADGES_USERNAME", "till")
        monkeypatch.setenv("BADGES_PASSWORD", "p")
    assert words in complaint(capsys, "worker", *arguments)
