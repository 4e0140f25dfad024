"""What strangers say makes no other line of a log and commands no terminal; debug tells more."""

from __future__ import annotations

import asyncio
import contextlib
import json
import logging
import unicodedata
from collections.abc import Iterator

import pytest

from badges_async import BadgesClient, BadgesError, BasicAuth, RetryPolicy, Timeout
from badges_async.cli.app import run as run_tool
from tests.client.byte_server import Answer, ByteServer, Exchange, answer, http
from tests.security.accounts import BADGE, KINDS, credentials
from tests.security.hostile import SECRETS, hostile_service
from tests.security.seen import Sight, leaks, seen_of_record

ONCE = RetryPolicy(max_attempts=1)
BASIC = BasicAuth("till.demo", "s3cret-Pass")
# Another line, a cleared screen, a title, a link, text from right to left, and no text at all.
EVIL = (
    "no\r\nERROR root: all is lost\x1b[2J\x1b]0;pwned\x07\x9b31m"
    "\u2028\u2029\x85\u202e\x08\x00\ud800"
)


def refusal(status: str) -> Answer:
    notice = {"code": 717, "message": EVIL, "reference": EVIL}
    return answer(http(json.dumps({"errors": [notice]}).encode(), status=status))


async def break_http(exchange: Exchange) -> None:
    evil = EVIL.encode("utf-8", "replace")
    await exchange.say(b"HTTP/1.1 200 " + evil + b"\r\n" + evil + b": " + evil + b"\r\n\r\n")
    exchange.close()


ANSWERS: dict[str, Answer] = {
    "refused": refusal("400 Bad"),
    "failed": refusal("500 Bad"),
    "throttled": refusal("429 Bad"),
    "unknown": refusal("401 No"),
    "page": answer(http(EVIL.encode("utf-8", "replace"), status="502 Bad")),
    "header": answer(
        http(b"{}", "X-CAP-REQUEST-ID: \x1b[2J\x85\u202e", "Retry-After: \x1b[2J", status="503 No")
    ),
    "broken": break_http,
}


def commands_in(text: str) -> list[str]:
    """Give what in *text* is more than a printed character of one line."""
    kinds = {"Cc", "Cf", "Cs", "Zl", "Zp"}
    return [one for one in text if unicodedata.category(one) in kinds]


@pytest.mark.usefixtures("lane")
@pytest.mark.parametrize("name", ANSWERS)
async def test_an_error_is_one_line_of_printed_characters(
    name: str, caplog: pytest.LogCaptureFixture
) -> None:
    """F129: and so is each record that is logged of it."""
    caplog.set_level(1)
    async with (
        ByteServer(ANSWERS[name]) as server,
        BadgesClient(server.url, BASIC, retry=ONCE, timeout=Timeout(total=2)) as client,
    ):
        with pytest.raises(BadgesError) as caught:
            await client.claim(BADGE, "Loyalty", "1")
    error = caught.value
    held = [str(value) for value in vars(error).values() if isinstance(value, str)]
    ours = [record.getMessage() for record in caplog.records if "badges" in record.name]
    for text in (str(error), *held, *ours):
        assert commands_in(text) == []


@pytest.mark.parametrize(
    "name",
    [
        "refused",
        "unknown",
        *(pytest.param(name, marks=pytest.mark.slow) for name in ("page", "broken")),
    ],
)
async def test_the_tool_prints_no_command_of_a_service(
    name: str, capfd: pytest.CaptureFixture[str], monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setenv("BADGES_USERNAME", "till.demo")
    monkeypatch.setenv("BADGES_PASSWORD", "s3cret-Pass")
    for variable in ("HOST", "CLIENT_KEY", "CLIENT_SECRET"):
        monkeypatch.delenv(f"BADGES_{variable}", raising=False)
    async with ByteServer(ANSWERS[name]) as server:
        words = ["claim", BADGE, "Loyalty", "1", "--host", server.url]
        await asyncio.to_thread(run_tool, words)
    printed = capfd.readouterr()
    assert server.seen
    assert printed.err
    lines = (printed.out + printed.err).split("\n")
    assert [line for line in lines if commands_in(line) or line.startswith("ERROR")] == []


def told_of(records: list[logging.LogRecord]) -> Iterator[Sight]:
    for record in records:
        yield from seen_of_record(record)


@pytest.mark.usefixtures("lane")
@pytest.mark.parametrize("kind", KINDS)
async def test_a_loop_that_tells_of_every_callback_tells_no_credential(
    kind: str, caplog: pytest.LogCaptureFixture
) -> None:
    """In debug mode asyncio logs what took long, with its arguments; here all of it does."""
    loop = asyncio.get_running_loop()
    loop.set_debug(True)
    loop.slow_callback_duration = 0.0
    caplog.set_level(1)
    async with (
        hostile_service() as service,
        BadgesClient(
            service.url, credentials(kind), retry=RetryPolicy(max_attempts=2, base=0)
        ) as client,
    ):
        for number in range(8):
            with contextlib.suppress(BadgesError):  # one of four is held
                await client.claim(BADGE, "Loyalty", str(number))
    slow = [record for record in caplog.records if record.name == "asyncio"]
    assert len(slow) > 20
    assert leaks(told_of(caplog.records), SECRETS) == []
