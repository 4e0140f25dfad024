"""
Ids that a server could take for something else.

A reference id travels in the body, where no server looks. A badge id is a segment of the path, and
whether it arrives as it was sent is up to each server and what it is told.
"""

from __future__ import annotations

import pytest

from badges_async import (
    BadgeNotFoundError,
    BadgesClient,
    BadgesError,
    BasicAuth,
    UnreadableReplyError,
)
from badges_async.sandbox import Sandbox
from tests.interop.configurations import Kind, Settings
from tests.interop.servers import Server
from tests.interop.work import BADGE, arrived

pytestmark = pytest.mark.usefixtures("lane")

OWN_PATHS = pytest.mark.parametrize("settings", [Settings(raw_paths=False)], ids=["own-paths"])
REFERENCES = (
    "Zoë Ωmega 東京 🎖",
    "e\u0301 is not \u00e9",
    """"double" 'single' `back` \\ slash / and \\u0041""",
    "%2F%2f%00%25 &amp; <b>?a=b#c;d",
    "../../unclaim",
    "x" * 2_048,
    "🎖" * 512,
    " blank at both ends ",
)
BADGES = ("a%2Fb", "a/b", "a b", "ä?b#c", "a//b", "%", "a\\b", "a;b", "a+b&c=d", "~a!$'()*,:@")


async def test_reference_ids_arrive_byte_for_byte(
    server: Server, badges_sandbox: Sandbox, auth: BasicAuth
) -> None:
    badges_sandbox.add_badges([BADGE])
    async with BadgesClient(server.url, auth) as client:
        for reference_id in REFERENCES:
            result = await client.claim(BADGE, "Loyalty", reference_id)
            assert result.claim.reference_id == reference_id
    expected = [(BADGE, "Loyalty", reference_id) for reference_id in REFERENCES]
    assert arrived(badges_sandbox) == expected
    assert set(expected) <= badges_sandbox.claims


async def test_badge_ids_arrive_as_sent_when_the_server_passes_paths_on(
    server: Server, badges_sandbox: Sandbox, auth: BasicAuth
) -> None:
    badges_sandbox.add_badges(BADGES)
    async with BadgesClient(server.url, auth) as client:
        for badge_id in BADGES:
            await client.claim(badge_id, "Loyalty", "Zoë")
    assert arrived(badges_sandbox) == [(badge_id, "Loyalty", "Zoë") for badge_id in BADGES]


@OWN_PATHS
async def test_badge_ids_with_a_slash_are_claimed_or_refused_by_servers_that_read_paths(
    server: Server, badges_sandbox: Sandbox, auth: BasicAuth, kind: Kind
) -> None:
    badges_sandbox.add_badges([*BADGES, "a", "b"])
    well = []
    async with BadgesClient(server.url, auth) as client:
        for badge_id in BADGES:
            try:
                await client.claim(badge_id, "Loyalty", "Zoë")
            except (BadgeNotFoundError, UnreadableReplyError) as error:
                assert error.status == 404  # noqa: PT017 - which of them it is depends
            else:
                well.append(badge_id)
    # nginx and lighttpd decode it and Apache answers 404 by itself; HAProxy leaves paths alone.
    read = kind.name != "haproxy"
    assert well == [badge_id for badge_id in BADGES if not (read and "/" in badge_id)]
    assert arrived(badges_sandbox) == [(badge_id, "Loyalty", "Zoë") for badge_id in well]


@OWN_PATHS
async def test_a_badge_id_with_dots_between_slashes_claims_no_other_badge(
    server: Server, badges_sandbox: Sandbox, auth: BasicAuth
) -> None:
    badges_sandbox.add_badges([BADGE])
    async with BadgesClient(server.url, auth) as client:
        with pytest.raises(BadgesError):
            await client.claim(f"x/../{BADGE}", "Loyalty", "Zoë")
    assert (BADGE, "Loyalty", "Zoë") not in badges_sandbox.claims
