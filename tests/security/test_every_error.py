"""Every public class of error, raised for real and looked through."""

from __future__ import annotations

import sqlite3
from collections.abc import Awaitable, Callable
from pathlib import Path
from typing import Any

import attrs
import pytest

import badges_async
import badges_async.worker
from badges_async import (
    BadgesClient,
    BadgesError,
    ClaimRequest,
    Ledger,
    Quota,
    RetryPolicy,
    Timeout,
    converter,
)
from badges_async.auth import Auth
from badges_async.ledger import writer
from badges_async.sandbox import Fault, FaultSource, Sandbox
from badges_async.sandbox.answers import Problem, refusal
from badges_async.worker import ClaimEvent, RedisSource
from tests.ledger.support import beside
from tests.ledger.test_trouble import room
from tests.security.accounts import BADGE, KINDS, PASSWORD, credentials, secrets_of
from tests.security.seen import beside_frames, leaks, nothing_shows
from tests.worker.redis_servers import RedisServer

ROOTS = {"BadgesError", "TransportError"}
"""Never raised themselves."""


@attrs.frozen(kw_only=True)
class Case:
    """
    How a class of error comes to be.

    Attributes:
        faults: What the service does to every request, or what it is.
        act: What is asked of the client.
    """

    faults: FaultSource | None = None
    service: dict[str, Any] = attrs.field(factory=dict)
    host: str | None = None
    act: Callable[[BadgesClient], Awaitable[object]]


async def claim(client: BadgesClient) -> object:
    return await client.claim(BADGE, "Loyalty", "1")


async def claim_in_bulk(client: BadgesClient) -> object:
    return await client.claim_all([ClaimRequest(BADGE, "Loyalty", "1")], outage_patience=0)


async def claim_after_the_end(client: BadgesClient) -> object:
    await claim(client)
    await client.close()
    return await claim(client)


async def claim_without_an_id(client: BadgesClient) -> object:
    await claim(client)
    return await client.claim("", "Loyalty", "1")


async def get_another_badge(client: BadgesClient) -> object:
    return await client.get_badge("0" * 24)


def no(status: int, code: int) -> FaultSource:
    return [refusal(status, [Problem(code, "No.")])]


NOWHERE = "http://127.0.0.1:9"
ONLINE = {
    "APIError": Case(faults=no(418, 4711), act=claim),
    "AuthenticationError": Case(
        service={"password": "another", "client_secret": "another"}, act=claim
    ),
    "BadgeNotFoundError": Case(act=get_another_badge),
    "ClientClosedError": Case(act=claim_after_the_end),
    "ConflictError": Case(faults=no(409, 815), act=claim),
    "ConnectError": Case(host=NOWHERE, act=claim),
    "ConnectionLostError": Case(faults=[Fault.RESET_IN_BODY], act=claim),
    "DeadlineError": Case(faults=[Fault.HANG_AFTER], act=claim),
    "InvalidInputError": Case(act=claim_without_an_id),
    "InvalidRequestError": Case(faults=no(400, 716), act=claim),
    "OutageError": Case(host=NOWHERE, act=claim_in_bulk),
    "PermissionDeniedError": Case(faults=[Fault.FORBIDDEN], act=claim),
    "RateLimitedError": Case(faults=[Fault.THROTTLED_BARE], act=claim),
    "ServerError": Case(faults=[Fault.ERROR_500_AFTER], act=claim),
    "UnreadableReplyError": Case(faults=[Fault.HTML_502_AFTER], act=claim),
}


@pytest.mark.usefixtures("lane")
@pytest.mark.parametrize("kind", KINDS)
@pytest.mark.parametrize("name", ONLINE)
async def test_no_error_of_a_client_shows_a_credential(name: str, kind: str) -> None:
    """F130: nor does anything that hangs on it or stands in a frame that it went through."""
    case, auth = ONLINE[name], credentials(kind)
    async with Sandbox(faults=case.faults, **case.service) as sandbox:
        error = await raised_by(case, case.host or sandbox.url, auth)
    assert type(error) is vars(badges_async)[name]
    nothing_shows(error, secrets_of(auth))


async def raised_by(case: Case, host: str, auth: Auth) -> BadgesError:
    options: dict[str, Any] = {
        "retry": RetryPolicy(max_attempts=1),
        "timeout": Timeout(total=0.2 if case.faults == [Fault.HANG_AFTER] else 10.0),
        "quota": Quota(100),
    }
    async with BadgesClient(host, auth, **options) as client:
        with pytest.raises(BadgesError) as caught:
            await case.act(client)
    return caught.value


# Of ledgers, in the middle of a run of a client.


def make_nothing(path: Path) -> Path:
    return path.with_name("no such folder") / "run.db"


def write_junk(path: Path) -> Path:
    path.write_bytes(b"junk" * 500)
    return path


def write_anothers(path: Path) -> Path:
    with sqlite3.connect(path) as connection:
        connection.execute("CREATE TABLE theirs (x)")
    connection.close()
    return path


UNUSABLE: dict[str, Callable[[Path], Path]] = {
    "LedgerCorruptError": write_junk,
    "LedgerError": make_nothing,
    "LedgerMismatchError": write_anothers,
}


async def run(client: BadgesClient, path: Path) -> object:
    async with Ledger.open(path) as ledger:
        return await run_in(client, ledger)


async def run_in(client: BadgesClient, ledger: Ledger) -> object:
    return await client.claim_all([ClaimRequest(BADGE, "Loyalty", "1")], ledger=ledger)


async def open_twice(client: BadgesClient, path: Path) -> None:
    async with Ledger.open(path):
        await run(client, path)


async def write_a_later_version(client: BadgesClient, path: Path) -> None:
    await run(client, path)
    with sqlite3.connect(path) as connection:
        connection.execute("PRAGMA user_version = 999999")
    connection.close()
    await run(client, path)


async def fill_the_disk(client: BadgesClient, path: Path) -> None:
    with pytest.MonkeyPatch.context() as patch:
        patch.setattr(writer, "_PATIENCE", 0)  # real seconds, of a real client
        async with Ledger.open(path) as ledger:
            await room(ledger, 0)
            rows = [ClaimRequest(BADGE, "Loyalty", f"{number:0200}") for number in range(200)]
            await client.claim_all(rows, ledger=ledger)


async def remove_it(client: BadgesClient, path: Path) -> None:
    async with Ledger.open(path) as ledger:
        for file in beside(path, "", "-wal", "-shm"):
            file.unlink(missing_ok=True)
        await run_in(client, ledger)


IN_A_RUN: dict[str, Callable[[BadgesClient, Path], Awaitable[None]]] = {
    "LedgerFullError": fill_the_disk,
    "LedgerLockedError": open_twice,
    "LedgerLostError": remove_it,
    "LedgerVersionError": write_a_later_version,
}


@pytest.mark.parametrize("kind", KINDS)
@pytest.mark.parametrize("name", [*UNUSABLE, *IN_A_RUN])
async def test_no_error_of_a_ledger_shows_a_credential(
    name: str, kind: str, tmp_path: Path
) -> None:
    auth, path = credentials(kind), tmp_path / "run.db"
    async with Sandbox() as sandbox, BadgesClient(sandbox.url, auth) as client:
        await claim(client)
        with pytest.raises(BadgesError) as caught:  # noqa: PT012 - one of two
            if name in UNUSABLE:
                await run(client, UNUSABLE[name](path))
            else:
                await IN_A_RUN[name](client, path)
        assert type(caught.value) is vars(badges_async)[name]
        nothing_shows(caught.value, secrets_of(auth))


# Of workers, and of what is read without any client.


async def test_a_source_that_is_refused_does_not_show_redis_password(tmp_path: Path) -> None:
    """Nor do the frames of redis-py's login, which hold it."""
    redis = pytest.importorskip("redis.asyncio")
    with RedisServer(tmp_path, options=("--requirepass", "right")) as server:
        asking = redis.Redis.from_url(f"redis://:wr0ng-secret@127.0.0.1:{server.port}")
        with pytest.raises(badges_async.worker.SourceError) as caught:
            await RedisSource(asking).open()
        await asking.aclose()
    nothing_shows(caught.value, ["wr0ng-secret"])


def test_an_event_that_cannot_be_read_is_told_without_what_is_in_it() -> None:
    """A dead letter keeps the bytes; the error, which goes into logs, does not."""
    with pytest.raises(badges_async.worker.UnreadableEventError) as caught:
        ClaimEvent.parse(b'{"v": 1, "password": "' + PASSWORD.encode())
    assert leaks(beside_frames(caught.value), [PASSWORD]) == []


def test_a_document_is_told_without_what_is_in_it() -> None:
    with pytest.raises(badges_async.StructureError) as caught:
        converter.structure({"id": 7, "password": PASSWORD}, badges_async.Badge)
    assert leaks(beside_frames(caught.value), [PASSWORD]) == []


def test_no_class_is_left_out() -> None:
    public = {**vars(badges_async), **vars(badges_async.worker)}
    named = {
        name
        for name, value in public.items()
        if isinstance(value, type) and issubclass(value, BadgesError)
    }
    shown = {*ONLINE, *UNUSABLE, *IN_A_RUN, "SourceError", "StructureError", "UnreadableEventError"}
    assert shown | ROOTS == named
