"""Credentials that stop being good in the middle of a run, and what is left of it."""

from __future__ import annotations

from collections.abc import Awaitable
from pathlib import Path

import pytest

from badges_async import (
    AuthenticationError,
    BadgesClient,
    ClaimOutcome,
    ClaimRequest,
    ClaimStatus,
    Ledger,
    OAuth,
)
from badges_async.ledger.records import State
from badges_async.messages import Reply
from badges_async.sandbox import Sandbox, make_badge_ids
from tests.client.ledgers import disk, kept
from tests.client.scripted import Sent, make_rows, refused, well
from tests.client.token_service import TokenService, oauth
from tests.virtual_clock import on_virtual_clock


class Revocable(TokenService):
    """
    Refuses the key after so many claims, until it is good again.

    Args:
        gives: It still gives tokens, and takes none of them.
    """

    def __init__(self, after: int, *, gives: bool) -> None:
        super().__init__()
        self._left = after
        self._gives = gives
        self.operation = self._count

    def restore(self) -> None:
        """Let the key be good again."""
        self.script.clear()
        self.operation = well

    def _count(self, sent: Sent) -> Reply | Awaitable[Reply]:
        if self._left:
            self._left -= 1
            return well(sent)
        if not self._gives:
            self.script = [refused(401, 401)] * 1000
        return refused(401, 401)(sent)


@pytest.mark.parametrize("gives", [True, False], ids=["tokens are given", "no token is given"])
@on_virtual_clock
async def test_a_key_that_is_revoked_stops_a_run_which_goes_on_when_it_is_good_again(
    tmp_path: Path,
    gives: bool,  # noqa: FBT001 - a parameter
) -> None:
    """F079, F083: nothing more is sent, no row is refused for it, and none is lost by it."""
    rows, seen = make_rows(100), list[ClaimOutcome]()
    path, service = tmp_path / "run.db", Revocable(40, gives=gives)
    async with kept(path, service, auth=oauth()) as (client, ledger):
        with pytest.raises(AuthenticationError):
            await client.claim_all(rows, ledger=ledger, concurrency=8, on_outcome=seen.append)

    assert {outcome.status for outcome in seen} == {ClaimStatus.CLAIMED}
    assert len(seen) == len(service.held) == 40
    # One more token for all, one more request for each that was on its way, and that is all.
    assert service.operations.count("claim") <= 40 + 2 * 8
    assert len(service.fetches) == 2
    with disk(path) as found:
        assert set(found.counts()) <= {State.CLAIMED, State.PENDING}
        assert found.counts()[State.CLAIMED] == 40

    service.restore()
    async with kept(path, service, auth=oauth()) as (client, ledger):
        report = await client.claim_all(rows, ledger=ledger, concurrency=8)
    assert (report.skipped, report.claimed, report.already_claimed) == (40, 60, 0)
    assert all(service.holds(row) for row in rows)


@pytest.mark.usefixtures("lane")
async def test_a_real_service_that_refuses_every_token_stops_a_run_and_later_takes_it(
    tmp_path: Path,
) -> None:
    """F079, F083: the same, on each lane."""
    badges = list(make_badge_ids(60))
    rows = list(ClaimRequest.for_badges(badges, "Loyalty", "1"))
    async with Sandbox(badges=badges, faults=[None] * 20 + ["401"] * 500) as sandbox:

        async def claim_all() -> set[ClaimRequest]:
            auth = OAuth(sandbox.client_key, sandbox.client_secret)
            async with (
                Ledger.open(tmp_path / "run.db") as ledger,
                BadgesClient(sandbox.url, auth) as client,
            ):
                seen: list[ClaimOutcome] = []
                try:
                    await client.claim_all(rows, ledger=ledger, on_outcome=seen.append)
                finally:
                    assert {outcome.status for outcome in seen} == {ClaimStatus.CLAIMED}
            return {outcome.request for outcome in seen}

        with pytest.raises(AuthenticationError):
            await claim_all()
        taken = {claim for claim in sandbox.claims if claim[0] in badges}
        assert len(taken) == 20
        sandbox.set_faults(None)
        assert len(await claim_all()) == 60 - 20
        assert sandbox.claims >= {(badge, "Loyalty", "1") for badge in badges}
