"""What another process may ask a sandbox."""

from __future__ import annotations

import json

import aiohttp
import pytest

from badges_async.sandbox import Sandbox, make_badge_ids
from tests.sandbox.clients import Till

BADGE = "69381220cebb9648d8974518"


async def test_the_state_is_counters_and_needs_no_password(till: Till, sandbox: Sandbox) -> None:
    sandbox.set_faults([None, "reset-after", "500-before"])
    await till.claim()
    with pytest.raises(aiohttp.ClientOSError):
        await till.claim(reference_id="2")
    await till.claim(reference_id="3")
    await till.ask("POST", "/v3/oauth/token/generate", json={"key": "demo-key"})
    async with aiohttp.request("GET", f"{sandbox.url}/sandbox/state") as response:
        state = await response.json()

    assert state == {
        "badges": 5,
        "claims": 3,
        "requests": 4,
        "inFlight": 0,
        "peakInFlight": 1,
        "tokens": 0,
        "operations": {"claim": 3, "token": 1},
        "statuses": {"200": 1, "none": 1, "500": 1, "401": 1},
        "faults": {"reset-after": 1, "500-before": 1},
    }
    assert state == sandbox.counters()


async def test_the_claims_that_stand_come_one_a_line(till: Till, sandbox: Sandbox) -> None:
    badge_ids = list(make_badge_ids(12_000))
    sandbox.add_badges(badge_ids)
    for badge_id in badge_ids:
        sandbox.add_claim(badge_id, "Loyalty", 'a "b"\n✓')
    await till.claim(reference_id="gone")
    await till.unclaim(reference_id="gone")

    async with till.session.get("/sandbox/claims") as response:
        lines = (await response.text()).splitlines()

    assert {tuple(json.loads(line)) for line in lines} == sandbox.claims
    assert len(lines) == len(sandbox.claims) == 12_001


async def test_looking_is_not_recorded_and_meets_neither_fault_nor_quota(
    till: Till, sandbox: Sandbox
) -> None:
    sandbox.set_faults(lambda _: "500-before")
    sandbox.set_quota("1/60s")
    for _ in range(3):
        assert (await till.ask("GET", "/sandbox/state"))[0] == 200

    assert not sandbox.requests
    assert sandbox.counters()["requests"] == 0
