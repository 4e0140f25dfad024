"""No value of ours shows a credential: not by its repr, nor where it is a part of another."""

from __future__ import annotations

import copy
import logging
import pickle
from collections.abc import Iterator
from pathlib import Path
from typing import Any

import pytest
from rich.pretty import pretty_repr

import badges_async
from badges_async import (
    AttemptEvent,
    BadgesClient,
    BadgesError,
    ClaimOutcome,
    ClaimRequest,
    Ledger,
    LedgerReader,
    RetryPolicy,
    SessionManager,
)
from badges_async.sandbox import Fault, Sandbox
from tests.security.accounts import BADGE, KINDS, credentials, secrets_of
from tests.security.seen import Sight, leaks


def shown(what: str, value: object) -> Iterator[Sight]:
    """Give what prints, logs, asserts and consoles make of a value."""
    record = logging.makeLogRecord({"msg": "%s %r %a", "args": (value, value, value)})
    yield Sight(f"log of {what}", record.getMessage())
    yield Sight(f"format of {what}", f"{value}{value!r}{value!s}{[value]}{ {'a': value} }")
    yield Sight(f"{what} as rich shows it", pretty_repr(value, max_string=20))


def pickled(what: str, value: object) -> Sight:
    """Give what another process is sent, or why it is not."""
    try:
        data = pickle.dumps(value)
    except Exception as refusal:  # noqa: BLE001 - each type refuses in its own way
        return Sight(f"refusal to pickle {what}", repr(refusal))
    return Sight(f"pickle of {what}", data.decode("latin-1"))


@pytest.mark.usefixtures("lane")
@pytest.mark.parametrize("kind", KINDS)
async def test_no_part_of_a_client_in_use_shows_a_credential(kind: str, tmp_path: Path) -> None:
    """F131: in the middle of a run, with an error behind it and a token in its hands."""
    auth, events = credentials(kind), list[AttemptEvent]()
    async with (
        Sandbox(faults=[Fault.ERROR_500_BEFORE, None, Fault.FORBIDDEN]) as sandbox,
        BadgesClient(
            sandbox.url, auth, observers=[events.append], retry=RetryPolicy(base=0)
        ) as client,
        Ledger.open(tmp_path / "run.db") as ledger,
    ):
        result = await client.claim(BADGE, "Loyalty", "1")
        run = client.claim_many([ClaimRequest(BADGE, "Loyalty", str(n)) for n in range(3)])
        outcomes: list[ClaimOutcome] = []
        with pytest.raises(BadgesError):
            async with run:
                outcomes.extend([outcome async for outcome in run])
        report = await client.claim_all([ClaimRequest(BADGE, "Loyalty", "9")], ledger=ledger)
        values: dict[str, object] = {
            "client": client,
            "auth": auth,
            "run": run,
            "ledger": ledger,
            "report": report,
            "events": events,
            "outcomes": outcomes,
            "result": result,
            "header fields": dict(auth.headers() or {}),
            "its report": run.report,
            **parts_of(client),
        }
        with LedgerReader.open(tmp_path / "run.db") as reader:
            values |= {"reader": reader, "standing": reader.standing()}
        sights = [sight for what, value in values.items() for sight in shown(what, value)]
        # What is told to others may be sent to other processes; a client and its parts are not.
        sights += [pickled(what, values[what]) for what in TOLD]
        assert leaks(sights, secrets_of(auth)) == []
        assert [event.status for event in events][-1] == 200
        for what in TOLD:
            assert copy.deepcopy(values[what]) is not None


TOLD = ("report", "events", "outcomes", "result")


def parts_of(client: BadgesClient) -> dict[str, object]:
    """Give each object that a client is made of, as a debugger would find them."""
    found: dict[str, object] = {}
    waiting: list[tuple[str, Any]] = [("client", client)]
    while waiting:
        where, one = waiting.pop()
        held = [*getattr(one, "__dict__", {}).items()]
        for kind in type(one).__mro__:
            names = kind.__dict__.get("__slots__", ())
            held += [(name, getattr(one, name, None)) for name in names if isinstance(names, tuple)]
        for name, value in held:
            ours = type(value).__module__.startswith("badges_async")
            # Bare text has no way to hide: whoever digs for it finds it, and we do not promise.
            if ours and not isinstance(value, str) and id(value) not in map(id, found.values()):
                found[f"{where}.{name}"] = value
                waiting.append((f"{where}.{name}", value))
    assert any(isinstance(value, SessionManager) for value in found.values())
    return found


@pytest.mark.parametrize("kind", KINDS)
async def test_what_holds_connections_is_not_pickled_and_says_so_without_a_credential(
    kind: str,
) -> None:
    auth = credentials(kind)
    async with Sandbox() as sandbox, BadgesClient(sandbox.url, auth) as client:
        await client.claim(BADGE, "Loyalty", "1")
        with pytest.raises(TypeError) as caught:
            pickle.dumps(client)
        assert leaks([Sight("refusal", repr(caught.value))], secrets_of(auth)) == []


def test_settings_hold_no_credentials() -> None:
    for made in (badges_async.RetryPolicy(), badges_async.Timeout(), badges_async.Quota(5)):
        assert pickle.loads(pickle.dumps(made)) == made  # noqa: S301 - ours
