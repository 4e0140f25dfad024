"""The commands beside `bulk-claim`, and how every command ends."""

from __future__ import annotations

import asyncio
import json
import os
import subprocess
import sys
from pathlib import Path

import pytest

from badges_async import __main__
from badges_async.cli import app, single
from badges_async.cli.exits import Exit
from badges_async.cli.service import read_faults
from badges_async.sandbox import Fault, Sandbox
from tests.cli.conftest import BADGES, Starter, Tool, claims, write_csv

SAMPLE = "693804d8cebb9648d8974489"


@pytest.fixture
def folder(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> Path:
    """Give an empty folder that is the current one."""
    monkeypatch.chdir(tmp_path)
    return tmp_path


async def test_get_shows_a_card(tool: Tool) -> None:
    """What a person wants to know of a badge; an impossible time is left out."""
    ended = await tool("get", SAMPLE)

    assert ended.code == 0
    assert ended.out.startswith("Regular\n")
    assert f"  id          {SAMPLE}\n" in ended.out
    assert ended.out.endswith("  claims      1\n    Journeys  j-7\n")
    assert "expires" not in ended.out


async def test_get_prints_the_apis_json(tool: Tool) -> None:
    """With the API's keys, and with what no model knows."""
    ended = await tool("get", SAMPLE, "--json", "--include-statistics")

    document = json.loads(ended.out)
    assert document["id"] == SAMPLE
    assert document["expiresOnISO"] == "+57906-04-18T07:06:40Z"
    assert document["ownership"]["claims"][0]["ownerType"] == "Journeys"


async def test_claim_and_unclaim_are_one_line_each(tool: Tool, badges_sandbox: Sandbox) -> None:
    """Claiming twice is fine, and says so."""
    key = (BADGES[0], "Loyalty", "007")

    assert (await tool("claim", BADGES[0], "LOYALTY", "007")).out == (
        f"claimed  badge {BADGES[0]} for Loyalty 007\n"
    )
    assert key in badges_sandbox.claims
    assert (await tool("claim", *key)).out.startswith("already claimed  badge")
    again = json.loads((await tool("claim", *key, "--json")).out)
    assert again["alreadyClaimed"] is True
    assert again["warnings"][0]["code"] == 900
    assert (await tool("unclaim", *key)).out == f"unclaimed  badge {BADGES[0]} for Loyalty 007\n"
    assert key not in badges_sandbox.claims
    assert json.loads((await tool("unclaim", "--json", SAMPLE, "Journeys", "j-7")).out)[
        "referenceId"
    ] == "j-7"  # fmt: skip


@pytest.mark.parametrize(
    ("arguments", "code", "said"),
    [
        (["get", "unknown"], 1, "HTTP 404: The badge passed is not found (code 404)"),
        (["claim", BADGES[0], "Nobody", "1"], 2, "owner_type must be one of Loyalty"),
        (["claim", BADGES[0], "Loyalty", " "], 2, "must not be blank"),
        (["get", "x", "--host", "http://127.0.0.1:1"], 3, "could not connect"),
        (["get", "x", "--host", "http://example.com"], 2, "http"),
        (["get", "x", "--host", "https://me:geheim@example.com"], 2, "credentials"),
        (["get"], 2, "get"),
        (["get", "x", "--limit", "many"], 2, "--limit"),
        (["gte", "x"], 2, "gte"),
        (["get", "x", "--password", "geheim"], 2, "there is no --password: others"),
        (["get", "x", "--client-secret=geheim"], 2, "there is no --client-secret: others"),
        (["bulk-claim", "missing.csv"], 2, "cannot read missing.csv: No such file or directory"),
        (["bulk-claim", "c.csv", "--quota", "lots"], 2, "a quota looks like 100/60s"),
        (["bulk-claim", "c.csv", "--concurrency", "0"], 2, "concurrency must be"),
        (["bulk-claim", "c.csv", "--report", "missing/r.json"], 2, "there is no folder"),
        (["bulk-claim", "c.csv", "--report=r", "--report=missing/r.html"], 2, "no folder"),
        (["bulk-claim", "c.csv", "--report"], 2, "--report"),
        (["bulk-claim", "c.csv", "--problems", "missing/p"], 2, "there is no folder"),
        (["bulk-claim", "c.csv", "--lane", "fast"], 2, "--lane"),
        (["sandbox", "--fault", "reset-after"], 2, "KIND=RATE"),
        (["sandbox", "--latency", "-1"], 2, "latency"),
        (["demo", "--rows", "0"], 2, "--rows"),
    ],
)
async def test_what_goes_wrong_is_one_line(
    arguments: list[str], code: int, said: str, tool: Tool, folder: Path
) -> None:
    """On standard error, without a traceback, without a secret, with its exit code."""
    write_csv(folder / "c.csv", claims(1))

    ended = await tool(*arguments)

    assert ended.code == code
    assert ended.out == ""
    assert ended.err.startswith("badges-async: ")
    assert ended.err.count("\n") == 1
    assert said in ended.err
    assert "geheim" not in ended.err


async def test_a_wrong_password_says_what_to_check(
    tool: Tool, monkeypatch: pytest.MonkeyPatch
) -> None:
    """Exit 3, as in bulk."""
    monkeypatch.setenv("BADGES_PASSWORD", "geheim")

    ended = await tool("get", SAMPLE)

    assert ended.code == 3
    assert ended.err.endswith("; check the credentials\n")
    assert "geheim" not in ended.err


def test_a_bug_shows_all_of_itself(
    monkeypatch: pytest.MonkeyPatch, capsys: pytest.CaptureFixture[str]
) -> None:
    """One line would help nobody to mend it."""

    def broken(*_: object, **__: object) -> int:
        raise ZeroDivisionError("a bug")

    monkeypatch.setattr(single, "get", broken)
    monkeypatch.setenv("BADGES_HOST", "example.com")
    monkeypatch.setenv("BADGES_USERNAME", "u")
    monkeypatch.setenv("BADGES_PASSWORD", "p")

    assert app.run(["get", "x"]) == 1
    assert "Traceback" in capsys.readouterr().err


def test_ctrl_c_outside_of_a_run_is_quiet(
    monkeypatch: pytest.MonkeyPatch, capsys: pytest.CaptureFixture[str]
) -> None:
    """No traceback for somebody who has changed their mind."""

    def interrupted(*_: object) -> int:
        raise KeyboardInterrupt

    monkeypatch.setattr(app, "run_demo", interrupted)

    assert app.run(["demo"]) == Exit.INTERRUPTED
    assert capsys.readouterr().err == ""


@pytest.mark.parametrize("arguments", [[], ["--help"], ["bulk-claim", "--help"], ["--version"]])
def test_help_and_version_are_no_errors(
    arguments: list[str], capsys: pytest.CaptureFixture[str]
) -> None:
    """They go to standard output."""
    assert app.run(arguments) == 0
    out, err = capsys.readouterr()
    assert out.strip()
    assert err == ""


def test_without_the_extra_it_says_what_to_install(tmp_path: Path) -> None:
    """The library works without cyclopts and rich; the command line names the way to it."""
    (tmp_path / "rich").mkdir()
    (tmp_path / "rich" / "__init__.py").write_text("raise ModuleNotFoundError(name='rich')\n")

    ended = subprocess.run(
        [sys.executable, "-m", "badges_async", "--version"],
        capture_output=True,
        text=True,
        env={"PYTHONPATH": str(tmp_path)},
        check=False,
    )

    assert ended.returncode == 2
    assert "pip install 'badges_async[cli]'" in ended.stderr
    assert ended.stdout == ""


def test_another_missing_module_is_not_the_extras_fault(monkeypatch: pytest.MonkeyPatch) -> None:
    """A broken installation must not be explained away."""
    monkeypatch.setitem(sys.modules, "badges_async.cli.app", None)

    with pytest.raises(ModuleNotFoundError):
        __main__.main()


def test_main_runs_the_command_line(
    monkeypatch: pytest.MonkeyPatch, capsys: pytest.CaptureFixture[str]
) -> None:
    """The console script ends as the command does."""
    monkeypatch.setattr("sys.argv", ["badges-async", "get", "x"])

    assert __main__.main() == 2
    assert "BADGES_HOST" in capsys.readouterr().err


async def test_output_that_a_terminal_cannot_show_is_escaped(
    start: Starter, tmp_path: Path
) -> None:
    """An ASCII terminal gets numbers instead of a traceback."""
    path = write_csv(tmp_path / "Zoë.csv", claims(1))
    process = await start("bulk-claim", path, env={**os.environ, "PYTHONIOENCODING": "ascii"})

    ended = await process.end()

    assert ended.code == 0
    assert r"Zo\xeb.csv: 1 row" in ended.out


async def test_the_sandbox_serves_until_it_is_interrupted(start: Starter) -> None:
    """Its lines can be pasted into a shell, and its claims be asked for."""
    process = await start("sandbox", "--badges", "3", "--fault", "slow=0.5", "--quota", "100/60s")
    stdout = process.process.stdout
    assert stdout is not None
    lines = [(await stdout.readline()).decode() for _ in range(6)]
    assert lines[0].startswith("# <Sandbox http://127.0.0.1:")
    assert [line.partition("=")[0] for line in lines[2:5]] == [
        "export BADGES_HOST",
        "export BADGES_USERNAME",
        "export BADGES_PASSWORD",
    ]

    process.interrupt()
    ended = await process.end()

    assert (ended.code, ended.err) == (0, "")


async def test_a_sandbox_of_a_parent_that_is_gone_ends(start: Starter) -> None:
    """Nobody has to hunt for a process that was left behind."""
    process = await start("sandbox", "--until-eof")
    assert process.process.stdout is not None
    await process.process.stdout.readline()
    assert process.process.stdin is not None
    process.process.stdin.close()

    assert await asyncio.wait_for(process.process.wait(), 10) == 0


async def test_a_port_that_is_taken_is_named(tool: Tool, badges_sandbox: Sandbox) -> None:
    """Exit 2 and the port."""
    port = badges_sandbox.url.rpartition(":")[2]

    ended = await tool("sandbox", "--port", port)

    assert ended.code == 2
    assert ended.err.startswith(f"badges-async: port {port}: ")


def test_faults_are_read_one_by_one_and_as_a_mixture() -> None:
    """`everyday` is a bad day; a fault that is named beside it goes before."""
    rates = read_faults(["everyday=0.11", "slow=0.5"])
    assert rates is not None
    assert rates[Fault.SLOW] == 0.5
    assert sum(rates.values()) == pytest.approx(0.11 * 10 / 11 + 0.5)
    assert read_faults([]) is None
