"""The benchmarks run, at sizes that say nothing about speed, and leave no process behind."""

from __future__ import annotations

import subprocess
import sys
from importlib import import_module
from pathlib import Path
from typing import Any

import pytest

from benchmarks import claims
from benchmarks.__main__ import PARTS, main
from benchmarks.redis_server import path_of_redis
from benchmarks.table import Row, show

ROOT = Path(__file__).parent.parent
SMALL: dict[str, dict[str, int]] = {
    "imports": {"rounds": 1},
    "memory": {"few": 20, "many": 40, "gathered": 20, "reconnects": 20},
    "claims": {"claims": 40, "rounds": 1},
    "latency": {"calls": 5, "rounds": 1},
    "stream": {"claims": 40, "rounds": 1, "entered": 40},
    "ledger": {"claims": 40, "rounds": 1, "many": 200},
    "decode": {"calls": 1, "rounds": 1},
}
# What the extra `bench` brings and `test` does not.
NEEDS = {"memory": "psutil", "decode": "msgspec"}


@pytest.mark.slow
@pytest.mark.timeout(180)  # `claims` starts many processes
@pytest.mark.parametrize("part", PARTS)
def test_each_part_compares_with_a_baseline(part: str) -> None:
    if part in NEEDS:
        pytest.importorskip(NEEDS[part])
    if part == "stream" and path_of_redis() is None:
        pytest.skip("redis-server is not installed")
    rows: list[Row] = list(import_module(f"benchmarks.{part}").rows(**SMALL[part]))
    assert len({row.name for row in rows}) == len(rows) > 1
    assert all(row.ratio > 0 for row in rows)
    assert all(row.figure >= 0 for row in rows if not row.unit.endswith("growth"))
    assert any(row.ratio == 1 for row in rows), "a baseline is a row as well"


def test_a_part_can_be_chosen(
    monkeypatch: pytest.MonkeyPatch, capsys: pytest.CaptureFixture[str]
) -> None:
    monkeypatch.setattr(sys, "argv", ["benchmarks", "claims"])
    monkeypatch.setattr(claims, "rows", lambda: [Row("a claim", 0.5, 60.0, "us", "by hand")])
    main()
    head, _, row = capsys.readouterr().out.splitlines()
    assert head.split()[:3] == ["what", "ratio", "absolute"]
    assert row.split() == ["a", "claim", "0.50x", "60.0", "us", "by", "hand"]


def test_a_part_that_is_not_there_is_named(
    monkeypatch: pytest.MonkeyPatch, capsys: pytest.CaptureFixture[str]
) -> None:
    monkeypatch.setattr(sys, "argv", ["benchmarks", "sleep"])
    with pytest.raises(SystemExit):
        main()
    assert "there is no 'sleep'" in capsys.readouterr().err


def test_the_head_is_shown_once(capsys: pytest.CaptureFixture[str]) -> None:
    row = Row("a", 1.0, 1.0, "us", "b")
    show([row], head=True)
    show([row, row], head=False)
    assert len(capsys.readouterr().out.splitlines()) == 5


@pytest.mark.slow
def test_no_process_is_left_when_a_comparison_is_given_up(monkeypatch: pytest.MonkeyPatch) -> None:
    started: list[subprocess.Popen[Any]] = []

    class Noted(subprocess.Popen[Any]):
        def __init__(self, *args: Any, **options: Any) -> None:
            super().__init__(*args, **options)
            started.append(self)

    monkeypatch.setattr(subprocess, "Popen", Noted)
    rows = claims.rows(claims=40, rounds=1)
    next(rows)
    rows.close()  # type: ignore[attr-defined]
    assert len(started) > 1
    assert all(process.poll() is not None for process in started)


@pytest.mark.slow
def test_the_service_does_not_outlive_who_started_it() -> None:
    command = [sys.executable, "-m", "benchmarks.service"]
    with subprocess.Popen(  # noqa: S603 - our own module
        command, cwd=ROOT, stdin=subprocess.PIPE, stdout=subprocess.PIPE, text=True
    ) as process:
        assert process.stdout is not None
        assert process.stdin is not None
        assert int(process.stdout.readline()) > 0
        process.stdin.close()
        assert process.wait(10) == 0
