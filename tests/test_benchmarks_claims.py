"""What claims are measured with: the services, each contender, and the picture of the result."""

from __future__ import annotations

import http.client
import json
import shutil
import sys
from collections.abc import Iterator
from pathlib import Path
from xml.etree import ElementTree as ET

import pytest

from benchmarks import claims, plot, serving
from benchmarks.__main__ import main
from benchmarks.claims import ClaimRow
from benchmarks.nginx import path_of_nginx, running_nginx
from benchmarks.orders import OWNER, PATH
from benchmarks.processes import contender, our_process
from benchmarks.table import Row

needs_nginx = pytest.mark.skipif(path_of_nginx() is None, reason="nginx is not installed")


def ask(connection: http.client.HTTPConnection, badge: str) -> http.client.HTTPResponse:
    connection.request("POST", f"{PATH}/{badge}/claim", json.dumps({"referenceId": OWNER}))
    return connection.getresponse()


def connected(url: str) -> http.client.HTTPConnection:
    return http.client.HTTPConnection(url.removeprefix("http://"), timeout=10)


@needs_nginx
@pytest.mark.slow
def test_nginx_says_which_claim_is_held_and_keeps_the_connection() -> None:
    with running_nginx(None) as url:
        connection = connected(url)
        for badge in ("0" * 24, "f" * 24):
            with ask(connection, badge) as response:
                held = json.load(response)["data"]
                assert (response.status, response.will_close) == (200, False)
                assert response.headers["X-CAP-REQUEST-ID"]
            assert held == {
                "ownerType": "Loyalty",
                "referenceId": OWNER,
                "isActive": True,
                "badgeMetaId": badge,
            }
        connection.close()


@needs_nginx
@pytest.mark.slow
def test_nginx_does_not_outlive_who_started_it() -> None:
    with our_process("benchmarks.nginx") as process:
        assert process.stdin is not None
        assert process.stdout is not None
        url = f"http://127.0.0.1:{int(process.stdout.readline())}"
        process.stdin.close()
        assert process.wait(10) == 0
        with pytest.raises(ConnectionRefusedError):
            ask(connected(url), "0" * 24)


@pytest.mark.slow
@pytest.mark.parametrize("installed", [pytest.param(True, marks=needs_nginx), False])
def test_a_service_can_close_after_each_answer(
    monkeypatch: pytest.MonkeyPatch, capsys: pytest.CaptureFixture[str], *, installed: bool
) -> None:
    if not installed:
        monkeypatch.setattr(serving, "path_of_nginx", lambda: None)
    with serving.serving(None, keep_alive=False) as served:
        connection = connected(served.url)
        with ask(connection, "0" * 24) as response:
            assert response.will_close
            assert json.load(response)["data"]["referenceId"] == OWNER
        connection.close()
    assert ("nginx is not installed" in capsys.readouterr().out) is not installed


@pytest.fixture(scope="module")
def service() -> Iterator[str]:
    with serving.serving(None) as served:
        yield served.url


@pytest.mark.slow
@pytest.mark.parametrize("loop", claims.LOOPS)
@pytest.mark.parametrize("way", claims.WAYS)
def test_each_contender_claims(way: str, loop: str, service: str) -> None:
    pytest.importorskip(claims.WAYS[way].needs or "asyncio", reason="the extra `bench` has it")
    module, *arguments = claims.Setup(loop, 4, 20, (way,)).command(way, service)
    with contender(str(module), *arguments) as run:
        assert 0 < run() < 1


@pytest.mark.slow
@pytest.mark.skipif(shutil.which("wrk") is None, reason="wrk is not installed")
def test_wrk_is_a_contender(service: str) -> None:
    with contender("benchmarks.by_wrk", service, 4) as run:
        assert 0 < run() < 1


def test_a_contender_that_ends_early_is_named() -> None:
    with (
        pytest.raises(RuntimeError, match=r"benchmarks\.conditions x ended early"),
        contender("benchmarks.conditions", "x") as run,
    ):
        run()


def row(way: str, loop: str | None, figure: float, *, at_once: int = claims.MANY) -> ClaimRow:
    baseline = "post + gather + semaphore"
    return ClaimRow(
        name=f"{loop} {way} {at_once}",
        ratio=figure / 100,
        figure=figure,
        unit="us CPU",
        baseline=baseline,
        way=way,
        loop=loop,
        concurrency=at_once,
        one_badge=False,
        conditions="Python <3> & nginx",
    )


ROWS = [
    row("post + gather + semaphore", "asyncio", 100.0),
    row("claim_many, wire lane", "asyncio", 41.26),
    row("httpx", "asyncio", 3100.0),
    row("wrk <C>", None, 7.0),
    row("post + gather + semaphore", "uvloop", 100.0),
    row("claim_many, wire lane", "uvloop", 28.0),
    row("claim_many, wire lane", "asyncio", 55.5, at_once=16),
    Row("another benchmark", 1.0, 66.6, "us", "itself"),
]


def texts(svg: str) -> list[str]:
    return [each.text or "" for each in ET.fromstring(svg).iter() if each.tag.endswith("}text")]  # noqa: S314 - our own


def test_the_picture_has_the_figures_of_the_table() -> None:
    drawn = texts(plot.draw(ROWS))
    assert "41.3 asyncio, 2.4x less" in drawn
    assert "28.0 uvloop, 3.6x less" in drawn
    assert "3100.0 asyncio, 31.0x" in drawn
    assert "100.0 asyncio" in drawn
    assert "7.0, 14.3x less" in drawn
    assert "wrk <C>" in drawn
    assert "Python <3> & nginx" in drawn
    assert not any("55.5" in text or "66.6" in text for text in drawn)


def test_the_bars_stay_within_the_picture() -> None:
    root = ET.fromstring(plot.draw(ROWS))  # noqa: S314 - our own
    bars = [each for each in root.iter() if each.get("class", "").startswith("bar")]
    ends = [float(each.attrib["x"]) + float(each.attrib["width"]) for each in bars]
    assert len(bars) == 6
    assert max(ends) <= 700
    assert sum(each.get("class") == "bar-ours" for each in bars) == 2
    assert sum(each.get("class") == "cut" for each in root.iter()) == 1
    assert root.get("role") == "img"


def test_nothing_to_draw_is_an_error() -> None:
    with pytest.raises(ValueError, match="no claim"):
        plot.draw(ROWS[-2:])


def test_the_picture_is_of_the_run_that_was_printed(
    monkeypatch: pytest.MonkeyPatch, tmp_path: Path, capsys: pytest.CaptureFixture[str]
) -> None:
    monkeypatch.setattr(claims, "rows", lambda: iter(ROWS))
    monkeypatch.setattr(sys, "argv", ["benchmarks", "claims", "--svg", str(tmp_path / "a.svg")])
    main()
    assert len(capsys.readouterr().out.splitlines()) == 2 + len(ROWS)
    assert (tmp_path / "a.svg").read_text(encoding="utf-8") == plot.draw(ROWS)


def test_a_picture_needs_the_claims(
    monkeypatch: pytest.MonkeyPatch, capsys: pytest.CaptureFixture[str]
) -> None:
    monkeypatch.setattr(sys, "argv", ["benchmarks", "decode", "--svg", "a.svg"])
    with pytest.raises(SystemExit):
        main()
    assert "--svg draws what `claims` measures" in capsys.readouterr().err
