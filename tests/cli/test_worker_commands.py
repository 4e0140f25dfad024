"""A fleet's day at the shell: enqueue, run, look, mend; against a real Redis and the sandbox."""

from __future__ import annotations

import json
import signal
import sys
import urllib.request
from collections.abc import AsyncIterator, Iterable
from pathlib import Path
from typing import Any

import pytest
from redis.asyncio import Redis

from badges_async.sandbox import Sandbox
from badges_async.worker import Added, ClaimEvent, RedisStream, connect
from tests.cli.conftest import BADGES, HEADER, Starter, Tool, claims, write_csv
from tests.worker.redis_servers import RedisServer, free_port

NO_BADGE = "0" * 24
# What a terminal would obey: colours by C0 and C1, a title, and a word that looks like markup.
HOSTILE = "\x1b[31m\x9b2J\x1b]0;x\x07[bold]red[/bold]\u202e"


@pytest.fixture(autouse=True)
def redis_env(redis_url: str, monkeypatch: pytest.MonkeyPatch) -> str:
    """Point the environment to an empty Redis."""
    monkeypatch.setenv("BADGES_REDIS_URL", redis_url)
    return redis_url


@pytest.fixture
async def redis(redis_url: str) -> AsyncIterator[Redis]:
    async with connect(redis_url) as client:
        yield client


@pytest.fixture
def file(tmp_path: Path) -> Path:
    return write_csv(tmp_path / "claims.csv", claims(30))


async def say(tool: Tool, *arguments: str | Path, code: int = 0) -> str:
    """Run a command of the worker that ends with *code*; give what it prints."""
    ended = await tool("worker", *arguments)
    assert ended.code == code, ended
    return ended.out


async def facts(tool: Tool, *arguments: str | Path, code: int = 0) -> dict[str, Any]:
    """Run a command with --json; give what it prints."""
    found: dict[str, Any] = json.loads(await say(tool, *arguments, "--json", code=code))
    return found


async def dead_letters(tool: Tool, *arguments: str) -> list[dict[str, Any]]:
    """List them."""
    lines = await say(tool, "dlq", "list", "--json", *arguments)
    return [json.loads(line) for line in lines.splitlines()]


async def buried(tool: Tool, stream: RedisStream, count: int = 2) -> None:
    """Have so many claims refused for good, and one message that is none."""
    await stream.add(ClaimEvent(NO_BADGE, "Loyalty", f"no-{n}") for n in range(count))
    await stream._link.redis.xadd("{badges:claims}", {"d": b"nonsense"})  # noqa: SLF001
    await say(tool, "run", "--once", code=1)


async def test_a_file_is_enqueued_and_claimed(
    tool: Tool, badges_sandbox: Sandbox, file: Path
) -> None:
    """All of it, once, under a quota that the fleet shares; then the stream is empty."""
    added = await say(tool, "enqueue", file, "--no-progress")
    assert added.splitlines()[0].startswith("claims.csv: 30 rows in ")
    assert "Every row is on the stream." in added
    assert "  waiting      30   the oldest is " in await say(tool, "status")

    ended = await facts(tool, "run", "--once", "--quota", "1000/1s")
    assert ended["counts"] == {"claimed": 30, "already_claimed": 0, "rejected": 0, "failed": 0}
    assert (ended["buried"], ended["stopped_by"], ended["exit_code"]) == ({}, None, 0)
    assert len([one for one in badges_sandbox.claims if one[2].isdigit()]) >= 30

    status = await facts(tool, "status")
    assert [status[name] for name in ("waiting", "pending", "dead_letters")] == [0, 0, 0]
    assert status["oldest_seconds"] is None
    [quota] = status["quotas"]
    assert quota["quotas"] == "1000/1s"
    assert "till" not in quota["name"]


async def test_a_file_is_added_once_unless_it_has_another_label(tool: Tool, file: Path) -> None:
    """And of one that has grown the new rows."""
    first = await facts(tool, "enqueue", file)
    again = await facts(tool, "enqueue", file)
    write_csv(file, claims(35))
    grown = await facts(tool, "enqueue", file)
    anew = await facts(tool, "enqueue", file, "--label", "again")

    sums = [(one["added"], one["skipped"]) for one in (first, again, grown, anew)]
    assert sums == [(30, 0), (0, 30), (5, 30), (35, 0)]
    assert "added before          35" in await say(tool, "enqueue", file, "--no-progress")


async def test_bad_rows_are_told_with_their_lines_and_do_not_stop_the_rest(
    tool: Tool, tmp_path: Path, redis: Redis
) -> None:
    """One that no message can hold is a bad row as well."""
    rows = [
        *claims(1),
        (BADGES[0], "Nobody", "1"),
        (BADGES[0], "Loyalty"),
        (BADGES[0], "Loyalty", "x" * 66_000),
        *claims(2)[1:],
    ]
    file = write_csv(tmp_path / "claims.csv", rows)

    ended = await facts(tool, "enqueue", file, code=1)
    assert (ended["rows"], ended["bad_rows"]) == (2, 3)
    assert [problem["line"] for problem in ended["problems"]] == [3, 4, 5]
    said = await say(tool, "enqueue", file, "--label", "again", "--no-progress", code=1)
    assert "line 3: there is no owner type 'Nobody'" in said
    assert "line 5: larger than a message may be, 64 KiB" in said
    assert await redis.xlen("{badges:claims}") == 4


async def test_the_stream_is_told_how_much_may_wait(
    tool: Tool, file: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    asked: dict[str, Any] = {}

    async def add(_: RedisStream, events: Iterable[ClaimEvent], **options: Any) -> Added:
        asked.update(options)
        return Added(rows=len(list(events)))

    monkeypatch.setattr(RedisStream, "add", add)
    await say(tool, "enqueue", file, "--most-waiting", "1500", "--label", "x")
    assert (asked["most_waiting"], asked["label"]) == (1500, "x")


async def test_json_lines_and_a_quota_s_name(tool: Tool, tmp_path: Path, redis: Redis) -> None:
    """Every event carries the name."""
    badge, owner, reference = claims(1)[0]
    file = tmp_path / "claims.jsonl"
    file.write_text(
        json.dumps({"badgeId": badge, "ownerType": owner, "referenceId": reference}) + "\n"
    )
    await say(tool, "enqueue", file, "--quota-name", "brand-a")
    [(_, fields)] = await redis.xrange("{badges:claims}") or []
    message = json.loads((fields or {})[b"d"])
    assert message["quota"] == "brand-a"
    assert message["referenceId"] == reference

    ended = await facts(tool, "run", "--once", "--quota", "brand-b=9/s", code=1)
    assert ended["buried"] == {"unknown_quota": 1}
    await say(tool, "dlq", "requeue", "--all")
    ended = await facts(tool, "run", "--once", "--quota", "brand-a=9/s,99/m")
    assert ended["counts"]["claimed"] == 1


async def test_beside_named_quotas_nothing_is_claimed_without_one(
    tool: Tool, badges_sandbox: Sandbox, redis: Redis
) -> None:
    """A forgotten name must not lead past an account's quota."""
    await RedisStream(redis).add([ClaimEvent(*claims(1)[0])])
    ended = await facts(tool, "run", "--once", "--quota", "brand-a=9/s", code=1)
    assert ended["buried"] == {"unknown_quota": 1}
    assert not badges_sandbox.requests


async def test_a_file_without_a_claim_is_wrong_input(tool: Tool, tmp_path: Path) -> None:
    file = write_csv(tmp_path / "claims.csv", [])
    assert "There is no claim in it." in await say(tool, "enqueue", file, code=2)


async def test_another_stream_and_group_by_the_environment(
    tool: Tool, file: Path, redis: Redis, monkeypatch: pytest.MonkeyPatch
) -> None:
    """So that a unit of systemd or a container needs no options."""
    for name, value in {
        "STREAM": "others",
        "GROUP": "them",
        "CONCURRENCY": "3",
        "LEASE": "7",
    }.items():
        monkeypatch.setenv(f"BADGES_{name}", value)
    await say(tool, "enqueue", file)
    assert [group["name"] for group in await redis.xinfo_groups("{others}")] == [b"them"]
    assert (await facts(tool, "run", "--once"))["counts"]["claimed"] == 30
    assert (await facts(tool, "status"))["stream"] == "others"

    monkeypatch.setenv("BADGES_CONCURRENCY", "many")
    ended = await tool("worker", "run", "--once")
    assert ended.code == 2
    assert "many" in ended.err


async def test_dead_letters_are_listed_shown_sent_back_and_thrown_away(
    tool: Tool, redis: Redis, badges_sandbox: Sandbox
) -> None:
    """By id, by reason, by age or all of them."""
    stream = RedisStream(redis)
    await buried(tool, stream)
    listed = await say(tool, "dlq", "list")
    assert listed.count("rejected") == 2
    assert "Loyalty no-0  badge " + NO_BADGE in listed
    assert "no claim" in listed
    newest, *_ = letters = await dead_letters(tool)
    assert [one["id"] for one in letters] == sorted((one["id"] for one in letters), reverse=True)
    assert len(await dead_letters(tool, "--reason", "unreadable")) == 1
    assert len(await dead_letters(tool, "--limit", "2")) == 2
    assert "3 in all; --limit shows more" in await say(tool, "dlq", "list", "--limit", "2")

    assert newest["reason"] in await say(tool, "dlq", "show", newest["id"])
    assert (await facts(tool, "dlq", "show", newest["id"]))["id"] == newest["id"]

    one, other = (each["id"] for each in await dead_letters(tool, "--reason", "rejected"))
    assert "1 dead letter requeued." in await say(tool, "dlq", "requeue", one)
    assert await facts(tool, "dlq", "purge", "--all", "--older-than", "1h") == {
        "purged": 0,
        "missing": [],
    }
    assert "1 dead letter purged." in await say(tool, "dlq", "purge", other)
    assert "0 dead letters requeued." in await say(
        tool, "dlq", "requeue", "--all", "--reason", "exhausted"
    )
    assert (await facts(tool, "dlq", "purge", "--all"))["purged"] == 1
    assert "No dead letter." in await say(tool, "dlq", "list")

    badges_sandbox.set_faults(None)
    assert (await facts(tool, "run", "--once", code=1))["buried"] == {"rejected": 1}
    assert (await dead_letters(tool))[0]["requeued"] == 1


@pytest.mark.parametrize("command", ["show", "requeue", "purge"])
async def test_ids_that_are_not_there_are_named(tool: Tool, redis: Redis, command: str) -> None:
    """The others are dealt with all the same."""
    await buried(tool, RedisStream(redis), 1)
    [letter, _] = await dead_letters(tool)
    ids = ["1-1"] if command == "show" else ["1-1", letter["id"], "nonsense\x1b[31m"]
    ended = await tool("worker", "dlq", command, *ids)
    assert ended.code == 1
    assert "there is no dead letter 1-1" in ended.err
    assert "\x1b" not in ended.err
    if command != "show":
        assert ended.out.startswith("1 dead letter ")
        assert "nonsense" in ended.err


async def test_what_others_wrote_is_no_command_to_the_terminal(
    tool: Tool, redis: Redis, monkeypatch: pytest.MonkeyPatch
) -> None:
    """Neither as escape codes nor as markup, wherever it is from: message, worker, reason."""
    monkeypatch.setenv("TTY_COMPATIBLE", "0")
    letter: dict[Any, Any] = {
        "d": json.dumps(
            {"badgeId": "[red]b", "ownerType": "Loyalty", "referenceId": "[bold]r", "id": HOSTILE}
        ),
        HOSTILE: HOSTILE,
    }
    names = ("reason", "error", "worker", "requestId", "source", "at")
    await redis.xadd("{badges:claims}:dlq", {**{f"dlq.{n}": HOSTILE for n in names}, **letter})
    note = {"worker": HOSTILE, HOSTILE: HOSTILE}
    await redis.xadd("{badges:claims}:dlq", {"d": HOSTILE, "dlq.history": json.dumps(note) + "\n"})
    await redis.xgroup_create("{badges:claims}", "claim-workers", "0", mkstream=True)
    await redis.xgroup_createconsumer("{badges:claims}", "claim-workers", HOSTILE)
    ids = [each["id"] for each in await dead_letters(tool)]
    printed = [
        await say(tool, "status"),
        await say(tool, "status", "--json"),
        await say(tool, "dlq", "list"),
        await say(tool, "dlq", "list", "--json"),
        *[await say(tool, "dlq", "show", one) for one in ids],
        *[await say(tool, "dlq", "show", one, "--json") for one in ids],
    ]
    for text in printed:
        assert text.replace("\n", "").isprintable()
        assert "[bold]" in text  # as text, and not as bold
    [_, first] = await dead_letters(tool)
    assert first["reason"] == HOSTILE  # JSON still holds what was there


async def test_a_refused_credential_stops_a_worker_and_buries_nothing(
    tool: Tool, file: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    """Exit code 3, and everything waits."""
    await say(tool, "enqueue", file)
    monkeypatch.setenv("BADGES_PASSWORD", "wrong")
    ended = await tool("worker", "run", "--json")
    assert ended.code == 3
    assert "401" in ended.err
    assert "check the credentials" in ended.err
    document = json.loads(ended.out)
    assert document["stopped_by"]["error"] == "AuthenticationError"
    assert document["exit_code"] == 3
    status = await facts(tool, "status")
    assert status["waiting"] + status["pending"] == 30
    assert status["dead_letters"] == 0


@pytest.mark.parametrize("arguments", [["status"], ["run"], ["enqueue"], ["dlq", "list"]])
async def test_a_redis_that_refuses_us_is_wrong_usage(
    tool: Tool, file: Path, redis: Redis, arguments: list[str]
) -> None:
    """A wrong kind of key as well; in one line."""
    await redis.set("{badges:claims}", "no stream")
    ended = await tool("worker", *arguments, *([file] if arguments == ["enqueue"] else []))
    assert ended.code == 2
    assert "a key that belongs to the stream holds something else (WRONGTYPE" in ended.err
    assert "script" not in ended.err
    assert ended.out == ""


async def test_a_redis_that_is_not_there_is_wrong_usage(
    tool: Tool, file: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    """It is looked for for a while, and nobody waits for it for ever."""
    monkeypatch.setattr("badges_async.cli.fleet.options._REACH_WITHIN", 0.2)
    monkeypatch.setattr("badges_async.worker.redis_link._REACH_WITHIN", 0.2)
    port = free_port()
    monkeypatch.setenv("BADGES_REDIS_URL", f"redis://:hush@127.0.0.1:{port}/0")
    for arguments in (["status"], ["enqueue", file], ["run", "--json"], ["run", "--quota", "9/s"]):
        ended = await tool("worker", *arguments)
        assert ended.code == 2
        assert f"Redis at 127.0.0.1:{port} does not answer" in ended.err
        assert "hush" not in ended.err


async def test_a_password_beside_the_url(
    tool: Tool, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    """From the environment or a file; a wrong one is told and not repeated."""
    with RedisServer(tmp_path, options=("--requirepass", "open sesame")) as server:
        monkeypatch.setenv("BADGES_REDIS_URL", server.url)
        ended = await tool("worker", "status")
        assert ended.code == 2
        assert "; set BADGES_REDIS_PASSWORD" in ended.err

        monkeypatch.setenv("BADGES_REDIS_PASSWORD", "open sesame")
        await say(tool, "status")
        monkeypatch.delenv("BADGES_REDIS_PASSWORD")
        (tmp_path / "password").write_text("open sesame\n")
        await say(tool, "status", "--redis-password-file", tmp_path / "password")
        (tmp_path / "password").write_text("wrong word\n")
        ended = await tool("worker", "status", "--redis-password-file", tmp_path / "password")
        assert ended.code == 2
        assert "; set BADGES_REDIS_PASSWORD" in ended.err
        assert "wrong word" not in ended.err


async def test_a_port_for_metrics_that_is_taken_is_wrong_usage(
    tool: Tool, redis_server: RedisServer
) -> None:
    ended = await tool("worker", "run", "--once", "--metrics-port", str(redis_server.port))
    assert ended.code == 2
    assert f"--metrics-port {redis_server.port}: " in ended.err


async def test_outcomes_are_kept_if_asked_for(tool: Tool, file: Path, redis: Redis) -> None:
    await say(tool, "enqueue", file)
    await say(tool, "run", "--once", "--outcomes", "600")
    assert await redis.xlen("{badges:claims}:outcomes") == 30
    assert (await facts(tool, "status"))["outcomes"] == 30


@pytest.mark.slow
@pytest.mark.skipif(sys.platform == "win32", reason="there are no such signals")
async def test_the_first_signal_drains_and_metrics_are_served(
    start: Starter, badges_sandbox: Sandbox, redis: Redis
) -> None:
    """What is in flight finishes, the rest is handed back, and systemd sees a clean end."""
    stream = RedisStream(redis)
    await stream.add(ClaimEvent(*one) for one in claims(40))
    badges_sandbox.set_latency(0.3)
    options = ("--concurrency", "4", "--json", "--no-progress", "--metrics-port", "0")
    process = await start("worker", "run", *options)
    where = (await process.said("Metrics: ")).split()[1]
    await badges_sandbox.wait_for_requests(9)  # the first four are settled by now
    served = urllib.request.urlopen(where).read().decode()  # noqa: ASYNC210, S310 - loopback
    process.interrupt(signal.SIGTERM)
    ended = await process.end()

    assert ended.code == 0, ended
    assert "Stopping: nothing new is taken" in ended.err
    claims_line = 'badges_claims_total{status="claimed"} '
    assert float(served.partition(claims_line)[2].split()[0]) >= 4
    assert float(served.partition("\nbadges_stream_waiting ")[2].split()[0]) > 0
    document = json.loads(ended.out)
    assert document["interrupted"] is True
    claimed = document["counts"]["claimed"]
    assert 4 <= claimed == len(badges_sandbox.requests) < 40
    standing = await stream.standing()
    assert standing.waiting + standing.pending == 40 - claimed


@pytest.mark.slow
@pytest.mark.skipif(sys.platform == "win32", reason="there are no such signals")
async def test_a_second_signal_stops_at_once(
    start: Starter, badges_sandbox: Sandbox, redis: Redis
) -> None:
    """Exit code 130; what was on the wire counts as delivered, and comes again."""
    stream = RedisStream(redis)
    await stream.add(ClaimEvent(*one) for one in claims(10))
    badges_sandbox.set_latency(60.0)
    process = await start("worker", "run", "--concurrency", "4", "--no-progress")
    await badges_sandbox.wait_for_requests(4)
    process.interrupt()
    await process.said("Stopping")
    process.interrupt()
    ended = await process.end()

    assert ended.code == 130, ended
    assert "Stopped at once" in ended.out
    standing = await stream.standing()
    assert standing.waiting + standing.pending == 10


@pytest.mark.slow
@pytest.mark.skipif(sys.platform == "win32", reason="there are no such signals")
async def test_a_service_that_is_away_is_waited_for_and_named(
    start: Starter, badges_sandbox: Sandbox, redis: Redis
) -> None:
    """Also where nobody looks at the progress: a mistyped host would look like an idle worker."""
    await RedisStream(redis).add(ClaimEvent(*one) for one in claims(20))
    await badges_sandbox.stop_listening()
    process = await start("worker", "run", "--no-progress", "--concurrency", "4")
    said = await process.said("The service answers nobody")
    assert "could not connect" in said
    assert said.rstrip().endswith("; waiting for it")
    await badges_sandbox.start_listening()
    await process.said("The service answers again")
    await badges_sandbox.wait_for_requests(20)
    process.interrupt(signal.SIGTERM)
    ended = await process.end()
    assert ended.code == 0, ended


@pytest.mark.slow
async def test_enqueue_waits_for_room_is_interrupted_and_goes_on(
    start: Starter, tool: Tool, redis: Redis, tmp_path: Path
) -> None:
    """From a pipe and from a file; each row is on the stream once."""
    file = write_csv(tmp_path / "many.csv", claims(5000))
    process = await start("worker", "enqueue", file, "--most-waiting", "1500", "--json")
    while await redis.xlen("{badges:claims}") < 2000:
        assert process.process.returncode is None
    process.interrupt(signal.SIGTERM)
    ended = await process.end()
    assert ended.code == 130, ended
    # The answer to the second batch may have been on its way.
    assert json.loads(ended.out)["added"] in {1000, 2000}

    rows = [",".join(row) for row in (HEADER, *claims(5000))]
    process = await start("worker", "enqueue", "-", "--json")
    out, _ = await process.process.communicate("\n".join(rows).encode())
    document = json.loads(out)
    assert (document["added"], document["skipped"]) == (3000, 2000)
    assert await redis.xlen("{badges:claims}") == 5000
    assert (await facts(tool, "enqueue", file))["skipped"] == 5000
