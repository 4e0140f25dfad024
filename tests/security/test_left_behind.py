"""What runs leave behind, on disk, in Redis and on a terminal, holds no credential."""

from __future__ import annotations

import asyncio
from collections.abc import Iterator
from pathlib import Path
from typing import Any

import pytest

from badges_async import BadgesClient, ClaimRequest, Ledger, RetryPolicy
from badges_async.cli.app import run as run_tool
from badges_async.worker import ClaimEvent, ClaimWorker, RedisSource, connect
from tests.client.byte_server import ByteServer
from tests.security.accounts import BADGE, CLIENT_SECRET, KINDS, PASSWORD, credentials
from tests.security.hostile import SECRETS, hostile_service
from tests.security.seen import Sight, leaks
from tests.worker.redis_servers import RedisServer

ROWS = [ClaimRequest(BADGE, "Loyalty", str(number)) for number in range(8)]
TWICE = RetryPolicy(max_attempts=2, base=0, cap=0)


def files_in(folder: Path) -> Iterator[Sight]:
    """Give every byte of every file."""
    for path in folder.rglob("*"):
        if path.is_file():
            yield Sight(path.name, path.read_bytes().decode("latin-1"))


@pytest.mark.parametrize("kind", KINDS)
async def test_no_file_of_a_ledger_holds_a_credential(kind: str, tmp_path: Path) -> None:
    """F130: neither in the middle of a run nor after it."""
    path = tmp_path / "run.db"
    open_files: list[Sight] = []
    async with (
        hostile_service() as service,
        BadgesClient(service.url, credentials(kind), retry=TWICE) as client,
        Ledger.open(path) as ledger,
    ):
        report = await client.claim_all(
            ROWS, ledger=ledger, on_outcome=lambda _: open_files.extend(files_in(tmp_path))
        )
        open_files += files_in(tmp_path)
    assert report.total == len(ROWS)
    assert {"run.db", "run.db-wal", "run.db-shm"} <= {sight.where for sight in open_files}
    assert leaks([*open_files, *files_in(tmp_path), Sight("report", repr(report))], SECRETS) == []


@pytest.fixture(params=KINDS)
def environment(request: pytest.FixtureRequest, monkeypatch: pytest.MonkeyPatch) -> None:
    """Say in the environment who asks."""
    names = {"USERNAME": "till.demo", "PASSWORD": PASSWORD}
    if request.param == "oauth":
        names = {"CLIENT_KEY": "demo-key", "CLIENT_SECRET": CLIENT_SECRET}
    for name in ("HOST", "USERNAME", "PASSWORD", "CLIENT_KEY", "CLIENT_SECRET"):
        monkeypatch.delenv(f"BADGES_{name}", raising=False)
    for name, value in names.items():
        monkeypatch.setenv(f"BADGES_{name}", value)


async def ask_the_tool(service: ByteServer, *arguments: str | Path) -> int:
    words = [*map(str, arguments), "--host", service.url]
    return await asyncio.to_thread(run_tool, words)


@pytest.mark.slow
@pytest.mark.usefixtures("environment")
async def test_nothing_that_the_tool_writes_or_prints_holds_a_credential(
    tmp_path: Path, capfd: pytest.CaptureFixture[str]
) -> None:
    rows = tmp_path / "rows.csv"
    lines = [f"{row.badge_id},{row.owner_type},{row.reference_id}\n" for row in ROWS]
    rows.write_text("badge_id,owner_type,reference_id\n" + "".join(lines))
    reports = ("run.html", "run.json", "run.db", "rows.jsonl")
    html, facts, ledger, problems = (tmp_path / name for name in reports)
    async with hostile_service() as service:
        bulk: list[str | Path] = ["bulk-claim", rows, "--ledger", ledger, "--problems", problems]
        code = await ask_the_tool(service, *bulk, "--report", html, "--report", facts)
        assert code == 1
        for reference in "0123":
            await ask_the_tool(service, "claim", BADGE, "Loyalty", reference)
            await ask_the_tool(service, "claim", BADGE, "Loyalty", reference, "--json")
    export = tmp_path / "failed.csv"
    status = "FAILED,REJECTED"
    await asyncio.to_thread(
        run_tool, ["ledger", str(ledger), "--export", str(export), "--status", status]
    )
    printed = capfd.readouterr()
    sights = [*files_in(tmp_path), Sight("out", printed.out), Sight("err", printed.err)]
    assert all((tmp_path / name).stat().st_size for name in (*reports, "failed.csv"))
    assert leaks(sights, SECRETS) == []


@pytest.mark.slow
@pytest.mark.parametrize("kind", KINDS)
async def test_nothing_that_workers_leave_in_redis_or_tell_holds_a_credential(
    kind: str, tmp_path: Path
) -> None:
    """Outcomes, dead letters, notes of failures, the fleet's quota, metrics: all of it."""
    metrics_module: Any = pytest.importorskip("badges_async.worker.metrics")
    prometheus: Any = pytest.importorskip("prometheus_client")
    metrics = metrics_module.WorkerMetrics(prometheus.CollectorRegistry())
    options = ("--requirepass", "wr1tten-nowhere")
    settled: list[str] = []
    with RedisServer(tmp_path, appendonly=True, appendfsync="always", options=options) as server:
        async with (
            connect(server.url, password="wr1tten-nowhere") as redis,
            hostile_service() as service,
            BadgesClient(
                service.url, credentials(kind), retry=TWICE, observers=[metrics.observer]
            ) as client,
        ):
            for row in ROWS:
                event = ClaimEvent(row.badge_id, row.owner_type, row.reference_id)
                await redis.xadd("{badges:claims}", {"d": event.to_json()})
            source = RedisSource(redis, outcomes_for=60.0)
            worker = ClaimWorker(
                client,
                source,
                once=True,
                max_deliveries=1,
                on_settled=lambda settlement: settled.append(repr(settlement)),
            )
            report = await worker.run()
        sights = list(files_in(tmp_path))
    told = [*settled, repr(report), repr(worker), repr(source), repr(redis)]
    sights += [Sight("told", text) for text in told]
    sights += [Sight("metrics", prometheus.generate_latest(metrics.registry).decode())]
    assert len(settled) == len(ROWS)
    assert any("dlq.reason" in sight.text for sight in sights)
    assert leaks(sights, [*SECRETS, "wr1tten-nowhere"]) == []
