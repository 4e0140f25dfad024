"""
Schemathesis, with all its checks, finds nothing in the sandbox but what `explorer` explains.

Three checks find no place to look: nothing is deleted (`use_after_free`), nothing is made with a
201 (`ensure_resource_availability`), and one account owns all (`object_level_authorization`).
"""

from __future__ import annotations

import asyncio
import json
import sys
from pathlib import Path
from typing import Any

import aiohttp
import pytest

from badges_async.sandbox import Sandbox

EXPLORER = Path(__file__).with_name("explorer.py")
BASIC = {"basic": {"username": "till.demo", "password": "863be81445ba1fc8fdbe1977492197a9"}}
CHECKS = {
    "allow_header_conformance",
    "content_type_conformance",
    "ensure_resource_availability",
    "ignored_auth",
    "missing_required_header",
    "negative_data_rejection",
    "not_a_server_error",
    "object_level_authorization",
    "positive_data_acceptance",
    "response_headers_conformance",
    "response_schema_conformance",
    "status_code_conformance",
    "unsupported_method",
    "use_after_free",
}


async def explore(
    sandbox: Sandbox, auth: dict[str, Any], *phases: str, examples: int = 1
) -> dict[str, Any]:
    """Run Schemathesis against *sandbox* and give its report."""
    options = {
        "url": sandbox.url,
        "seed": 6,
        "examples": examples,
        "phases": phases,
        "auth": auth,
    }
    process = await asyncio.create_subprocess_exec(
        *(sys.executable, "-W", "error", str(EXPLORER), json.dumps(options)),
        stdout=asyncio.subprocess.PIPE,
    )
    try:
        output, _ = await process.communicate()
    finally:
        if process.returncode is None:
            process.kill()
            await process.wait()
    assert process.returncode == 0
    report: dict[str, Any] = json.loads(output)
    return report


def assert_nothing_was_found(report: dict[str, Any], sandbox: Sandbox) -> None:
    assert report["failed"] == []
    assert report["checks"].keys() >= CHECKS
    assert not report["unused"]
    # Or it would have found nothing because it got nowhere.
    seen: Any = sandbox.counters()["statuses"]
    assert {"200", "400", "401", "404", "405", "409", "415"} <= seen.keys()
    assert len(sandbox.claims) > 1 or "737" in report["explained"]


@pytest.mark.slow
async def test_every_boundary_of_the_description_holds(sandbox: Sandbox) -> None:
    report = await explore(sandbox, BASIC, "examples", "coverage")

    assert_nothing_was_found(report, sandbox)


@pytest.mark.slow
@pytest.mark.timeout(240)
@pytest.mark.parametrize(
    "badges_sandbox_options", [{}, {"already_claimed": "error"}], ids=["warning", "error"]
)
async def test_what_is_drawn_at_random_and_in_sequences_holds(sandbox: Sandbox) -> None:
    phases = ("examples", "coverage", "fuzzing", "stateful")
    report = await explore(sandbox, BASIC, *phases, examples=150)

    assert_nothing_was_found(report, sandbox)


@pytest.mark.slow
@pytest.mark.timeout(240)
async def test_it_holds_with_a_token_as_well(sandbox: Sandbox) -> None:
    keys = {"key": sandbox.client_key, "secret": sandbox.client_secret}
    url = f"{sandbox.url}/v3/oauth/token/generate"
    async with aiohttp.request("POST", url, json=keys) as response:
        token = (await response.json())["data"]["accessToken"]

    auth = {"token": {"api_key": token}}
    report = await explore(sandbox, auth, "examples", "coverage", "fuzzing", examples=50)

    assert_nothing_was_found(report, sandbox)
