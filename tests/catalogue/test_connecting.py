"""
Connections that do not come about: nothing was sent, and no row is charged for it.

Here: ports, names, addresses, certificates, and what this machine has run out of. Not here: what a
connection does later (`test_cut_answers`, `test_kept_connections`), or proxies on the way.
"""

from __future__ import annotations

import asyncio
import errno
import os
import socket
from pathlib import Path
from typing import Any

import aiohappyeyeballs
import pytest

from badges_async import (
    AttemptEvent,
    BadgesClient,
    BadgesError,
    BasicAuth,
    ClaimOutcome,
    ClaimRequest,
    ClaimStatus,
    ConnectError,
    RetryPolicy,
    Timeout,
)
from badges_async.sandbox import Sandbox
from tests.answers import envelope, held
from tests.catalogue.names import Names
from tests.client.black_hole import black_hole
from tests.client.byte_server import ByteServer, answer, http, until
from tests.client.certificates import EXPIRED, VALID, server_context, trusting_context

pytestmark = pytest.mark.usefixtures("lane")

BADGE = "69381220cebb9648d8974518"
AUTH = BasicAuth("till.demo", "s3cret-Pass")
NAMED = "http://localhost:1"
# One attempt that counts: a row that is charged for what is tried here fails at once.
ONCE = RetryPolicy(max_attempts=1, base=0)


def make_rows(count: int) -> list[ClaimRequest]:
    return [ClaimRequest(BADGE, "Loyalty", f"row {number}") for number in range(count)]


class Failures:
    """An observer that keeps what attempts ended with."""

    def __init__(self) -> None:
        self.errors: list[BadgesError] = []

    def __call__(self, event: AttemptEvent) -> None:
        if event.error is not None:
            self.errors.append(event.error)

    def check(self) -> None:
        """See that there were some, and that none can have sent anything."""
        assert self.errors
        assert {type(error) for error in self.errors} == {ConnectError}
        assert {getattr(error, "maybe_applied", None) for error in self.errors} == {False}


async def claim_all(client: BadgesClient, count: int, concurrency: int = 2) -> list[ClaimOutcome]:
    async with client.claim_many(make_rows(count), concurrency=concurrency) as run:
        outcomes = [outcome async for outcome in run]
    assert {outcome.request for outcome in outcomes} == set(make_rows(count))
    assert {outcome.status for outcome in outcomes} == {ClaimStatus.CLAIMED}
    return outcomes


def holds(sandbox: Sandbox, count: int) -> bool:
    return {ClaimRequest(*claim) for claim in sandbox.claims} >= set(make_rows(count))


async def test_a_run_resumes_by_itself_when_somebody_listens_again() -> None:
    """F001: refused as often as it takes, and no row is charged for it."""
    failures = Failures()
    async with (
        Sandbox() as sandbox,
        BadgesClient(sandbox.url, AUTH, retry=ONCE, observers=[failures]) as client,
    ):
        await sandbox.stop_listening()
        run = client.claim_many(make_rows(6), concurrency=2)
        async with run:
            # Taken to be down, which is when rows are parked and one of them probes.
            await until(lambda: run.waiting_for_service)
            await sandbox.start_listening()
            outcomes = [outcome async for outcome in run]
        assert holds(sandbox, 6)
    assert [outcome.status for outcome in outcomes] == [ClaimStatus.CLAIMED] * 6
    assert len(failures.errors) >= 5
    failures.check()


async def test_a_name_that_cannot_be_resolved_is_asked_for_until_it_can(
    monkeypatch: pytest.MonkeyPatch,
) -> None:
    """F002: each attempt asks anew, so no failure is remembered at all."""
    trouble = socket.gaierror(socket.EAI_AGAIN, "Temporary failure in name resolution")
    failures = Failures()
    async with Sandbox() as sandbox:
        port = int(sandbox.url.rpartition(":")[2])
        names = Names(monkeypatch, trouble, trouble, trouble, port)
        async with BadgesClient(NAMED, AUTH, retry=ONCE, observers=[failures]) as client:
            outcomes = await claim_all(client, 3, concurrency=1)
        assert holds(sandbox, 3)
    assert (len(failures.errors), names.asked) == (3, 4)
    assert [outcome.attempts for outcome in outcomes] == [4, 1, 1]
    failures.check()


async def test_an_address_that_died_is_given_up_within_ten_seconds(
    monkeypatch: pytest.MonkeyPatch,
) -> None:
    """F003: the old address is remembered for that long, and then asked for again."""
    failures = Failures()
    async with Sandbox() as old, Sandbox() as new:
        names = Names(monkeypatch, int(old.url.rpartition(":")[2]))
        async with BadgesClient(NAMED, AUTH, retry=ONCE, observers=[failures]) as client:
            await client.claim(BADGE, "Loyalty", "the first")
            names.change(int(new.url.rpartition(":")[2]))
            await old.stop_listening()
            claiming = asyncio.create_task(claim_all(client, 4))
            await until(lambda: len(failures.errors) >= 2)
            names.let_pass(10.0)
            await claiming
        assert holds(new, 4)
    assert names.asked == 2
    failures.check()


async def test_knocks_that_nobody_answers_hold_up_no_worker_that_is_connected(
    monkeypatch: pytest.MonkeyPatch,
) -> None:
    """F004: who cannot connect waits for that, and who is connected works on."""
    order: list[str] = []

    def hear(event: AttemptEvent) -> None:
        order.append("failed" if event.error else "claimed")

    failures = Failures()
    with black_hole() as nowhere:
        async with Sandbox() as sandbox:
            names = Names(monkeypatch, int(sandbox.url.rpartition(":")[2]), nowhere)
            client = BadgesClient(
                NAMED, AUTH, retry=ONCE, timeout=Timeout(connect=0.2), observers=[hear, failures]
            )
            async with client:
                await client.claim(BADGE, "Loyalty", "the first")
                names.let_pass(10.0)
                await claim_all(client, 30, concurrency=3)
            assert holds(sandbox, 30)
    # The connected one had answers before the others had waited for long enough.
    assert order.index("failed") > 1
    assert order.count("claimed") == 31
    failures.check()


@pytest.mark.parametrize(
    ("shown", "trusted", "name"),
    [
        pytest.param(VALID, VALID, "badges.example.com", id="wrong host"),
        pytest.param(VALID, None, "localhost", id="self-signed"),
        pytest.param(EXPIRED, EXPIRED, "localhost", id="expired"),
    ],
)
async def test_a_certificate_that_is_no_good_ends_the_run(
    shown: str, trusted: str | None, name: str, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    """F005: at once, with nothing sent and no row charged; nobody goes on unverified."""
    well = answer(http(envelope(held(referenceId="1"))))
    async with ByteServer(well, tls=server_context(tmp_path, shown)) as server:
        Names(monkeypatch, server.port)
        context = trusting_context(trusted) if trusted else None
        async with BadgesClient(f"https://{name}", AUTH, ssl=context) as client:
            run = client.claim_many(make_rows(1000), concurrency=4)
            with pytest.raises(ConnectError, match="certificate was refused") as caught:
                async with run:
                    assert not [outcome async for outcome in run]
    assert (caught.value.certificate_refused, caught.value.maybe_applied) == (True, False)
    assert server.seen == []
    assert (run.report.total, run.report.retries) == (0, 0)
    assert run.report.unsettled <= 4


@pytest.mark.parametrize(
    "number",
    [
        pytest.param(errno.EMFILE, id="F022"),
        pytest.param(errno.ENFILE, id="F022 of the system"),
        pytest.param(errno.EADDRNOTAVAIL, id="F023"),
        pytest.param(errno.ENETUNREACH, id="no network"),
    ],
)
async def test_a_machine_that_cannot_open_a_connection_has_sent_nothing(
    number: int, monkeypatch: pytest.MonkeyPatch
) -> None:
    """F022, F023: it is tried again, and no row is charged for it."""
    connect, left = aiohappyeyeballs.start_connection, 4

    async def run_out(*args: Any, **options: Any) -> Any:
        nonlocal left
        if left:
            left -= 1
            raise OSError(number, os.strerror(number))
        return await connect(*args, **options)

    failures = Failures()
    monkeypatch.setattr(aiohappyeyeballs, "start_connection", run_out)
    async with (
        Sandbox() as sandbox,
        BadgesClient(sandbox.url, AUTH, retry=ONCE, observers=[failures]) as client,
    ):
        outcomes = await claim_all(client, 6)
        assert holds(sandbox, 6)
    assert len(failures.errors) == 4
    assert sum(outcome.attempts for outcome in outcomes) == 6 + 4
    failures.check()
