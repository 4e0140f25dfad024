"""Answers as real servers send them: on kept connections, compressed, in chunks."""

from __future__ import annotations

import pytest

from badges_async import BadgesClient, BasicAuth
from badges_async.sandbox import Sandbox
from tests.interop.configurations import Settings
from tests.interop.tap import Tap
from tests.interop.work import BADGE, arrived, as_held, make_requests

pytestmark = pytest.mark.usefixtures("lane")

GZIP = pytest.mark.parametrize("settings", [Settings(gzip=True)], ids=["gzip"])
NAME = "Früh “am” Morgen " * 5_000
COMPRESSED, IN_CHUNKS = "content-encoding: gzip", "transfer-encoding: chunked"


async def test_many_claims_share_few_connections(
    tap: Tap, badges_sandbox: Sandbox, auth: BasicAuth
) -> None:
    requests = make_requests(badges_sandbox, 100)
    async with BadgesClient(tap.url, auth) as client:
        report = await client.claim_all(requests, concurrency=4)
    assert (report.claimed, report.total) == (100, 100)
    assert sorted(arrived(badges_sandbox)) == sorted(as_held(requests))
    assert len(tap.connections) <= 4
    assert len(tap.heads) == 100


@GZIP
async def test_a_compressed_answer_is_read(
    tap: Tap, badges_sandbox: Sandbox, auth: BasicAuth
) -> None:
    badges_sandbox.add_badge({"id": BADGE, "name": NAME})
    async with BadgesClient(tap.url, auth) as client:
        badge = await client.get_badge(BADGE)
        first = await client.claim(BADGE, "Loyalty", "Zoë")
        second = await client.claim(BADGE, "Loyalty", "Zoë")
    assert badge.name == NAME
    assert (first.already_claimed, second.already_claimed) == (False, True)
    assert [COMPRESSED in head for head in tap.heads] == [True] * 3
    # And they were: what came is far shorter than what it says.
    assert len(tap.connections[0].said) < len(NAME) / 10


async def test_an_answer_in_chunks_is_read(
    tap: Tap, badges_sandbox: Sandbox, auth: BasicAuth
) -> None:
    # Long, for what is there at once lighttpd sends with its length.
    reference_id = "Zoë " * 40_000
    badges_sandbox.add_badge({"id": BADGE, "name": NAME * 2})
    async with BadgesClient(tap.url, auth) as client:
        badge = await client.get_badge(BADGE)
        first = await client.claim(BADGE, "Loyalty", reference_id)
        second = await client.claim(BADGE, "Loyalty", reference_id)
    assert badge.name == NAME * 2
    assert (first.already_claimed, second.already_claimed) == (False, True)
    assert first.claim.reference_id == reference_id
    assert (BADGE, "Loyalty", reference_id) in badges_sandbox.claims
    assert [IN_CHUNKS in head for head in tap.heads] == [True] * 3
    assert not any(COMPRESSED in head for head in tap.heads)
    assert len(tap.connections) == 1
