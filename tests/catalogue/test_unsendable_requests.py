"""
Values that no request can carry: refused where they come in, before the ledger or the service.

Here: what JSON has no word for, or aiohttp one of its own. Not here: ids that read as another
endpoint, or bad rows of a file.
"""

from __future__ import annotations

import math
from collections.abc import Iterator
from pathlib import Path
from typing import Any

import pytest

from badges_async import ClaimRequest, InvalidInputError
from badges_async.ledger.records import State
from tests.client.ledgers import disk, kept
from tests.client.scripted import ScriptedTransport, make_rows
from tests.virtual_clock import on_virtual_clock

BADGE = "662749408fe258516a88fe89"


@pytest.mark.parametrize("field", ["badge_id", "owner_type", "reference_id"])
@pytest.mark.parametrize(
    "value",
    [math.nan, -math.inf, 10**5000, b"7", bytearray(b"7"), object(), {"a": {1}}, "7\ud800"],
    ids=["NaN", "infinity", "endless", "bytes", "bytearray", "object", "set", "surrogate"],
)
@on_virtual_clock
async def test_what_cannot_be_sent_is_entered_nowhere(
    tmp_path: Path, field: str, value: Any
) -> None:
    """F061: the claim is refused, and with a ledger the run ends before it is written there."""
    parts = {"badge_id": BADGE, "owner_type": "Loyalty", "reference_id": "odd", field: value}
    service, rows = ScriptedTransport(), make_rows(3)

    def source() -> Iterator[ClaimRequest]:
        yield from rows
        yield ClaimRequest(**parts)

    async with kept(tmp_path / "run.db", service) as (client, ledger):
        for operation in (client.claim, client.unclaim):
            with pytest.raises(InvalidInputError) as caught:
                await operation(*parts.values())
            assert (caught.value.attempts, caught.value.maybe_applied) == (0, False)
            assert len(str(caught.value)) < 400
        assert service.sent == []
        with pytest.raises(InvalidInputError):
            await client.claim_all(source(), concurrency=1, ledger=ledger)
    with disk(tmp_path / "run.db") as entered:
        assert entered.in_state(*State) <= {row.reference_id for row in rows}
        assert sum(entered.counts().values()) <= len(rows)
    assert {sent.key[1] for sent in service.sent} <= {row.reference_id for row in rows}


@pytest.mark.parametrize("item", [math.nan, b"{}", (BADGE, "Loyalty", math.nan), None])
@on_virtual_clock
async def test_what_is_no_claim_is_entered_nowhere(tmp_path: Path, item: Any) -> None:
    """F061: nor is anything else that a source gives."""
    service = ScriptedTransport()
    async with kept(tmp_path / "run.db", service) as (client, ledger):
        with pytest.raises(InvalidInputError):
            await client.claim_all([item], ledger=ledger)
    with disk(tmp_path / "run.db") as entered:
        assert not entered.counts()
    assert service.sent == []
