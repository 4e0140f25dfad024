"""The main job through each server: many claims at once, all of them right."""

from __future__ import annotations

import pytest

from badges_async import BadgesClient, BasicAuth
from badges_async.sandbox import Sandbox
from tests.interop.authority import trusting_context
from tests.interop.configurations import Settings
from tests.interop.servers import Server
from tests.interop.work import arrived, as_held, make_requests

COUNT = 400


@pytest.mark.slow
@pytest.mark.usefixtures("lane")
@pytest.mark.parametrize(
    ("settings", "tls"),
    [(Settings(), False), (Settings(gzip=True), True)],
    ids=["plain-chunked", "tls-gzip"],
)
async def test_all_claims_of_a_large_fan_out_are_held_once(
    server: Server, badges_sandbox: Sandbox, auth: BasicAuth, *, tls: bool
) -> None:
    before = set(badges_sandbox.claims)
    requests = make_requests(badges_sandbox, COUNT)
    url = server.tls_url if tls else server.url
    async with BadgesClient(url, auth, ssl=trusting_context()) as client:
        report = await client.claim_all(requests, concurrency=32, outage_patience=10)
    assert (report.claimed, report.total, report.ok) == (COUNT, COUNT, True), server.log()
    assert badges_sandbox.claims - before == as_held(requests)
    assert sorted(arrived(badges_sandbox)) == sorted(as_held(requests))
