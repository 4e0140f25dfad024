"""TLS with a test CA: who is trusted is spoken to, and nobody else."""

from __future__ import annotations

import pytest

from badges_async import BadgesClient, BasicAuth, ConnectError
from badges_async.sandbox import Sandbox
from tests.interop.authority import trusting_context
from tests.interop.configurations import Settings
from tests.interop.servers import Server
from tests.interop.work import BADGE, arrived

pytestmark = pytest.mark.usefixtures("lane")


@pytest.mark.parametrize("settings", [Settings(), Settings(gzip=True)], ids=["chunked", "gzip"])
async def test_a_server_that_the_ca_vouches_for_is_spoken_to(
    server: Server, badges_sandbox: Sandbox, auth: BasicAuth
) -> None:
    badges_sandbox.add_badges([BADGE])
    async with BadgesClient(server.tls_url, auth, ssl=trusting_context()) as client:
        badge = await client.get_badge(BADGE)
        first = await client.claim(BADGE, "Loyalty", "Zoë")
        second = await client.claim(BADGE, "Loyalty", "Zoë")
    assert badge.id == BADGE
    assert (first.already_claimed, second.already_claimed) == (False, True)
    assert [result.attempts for result in (first, second)] == [1, 1]
    assert (BADGE, "Loyalty", "Zoë") in badges_sandbox.claims


async def test_a_server_that_nobody_vouches_for_is_told_nothing(
    server: Server, badges_sandbox: Sandbox, auth: BasicAuth
) -> None:
    badges_sandbox.add_badges([BADGE])
    async with BadgesClient(server.tls_url, auth) as client:
        with pytest.raises(ConnectError, match="certificate was refused") as caught:
            await client.claim(BADGE, "Loyalty", "Zoë")
    error = caught.value
    assert (error.certificate_refused, error.maybe_applied, error.attempts) == (True, False, 1)
    assert arrived(badges_sandbox) == []
