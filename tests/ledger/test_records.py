"""Errors and outcomes as rows, and back."""

# ruff: noqa: FBT003 - the values of a row, in its order

from __future__ import annotations

import inspect
import json
from pathlib import Path
from typing import Any

import pytest
from hypothesis import given
from hypothesis import strategies as st

from badges_async import errors
from badges_async.claims import ClaimOutcome
from badges_async.enums import ClaimStatus
from badges_async.errors import APIError, BadgesError, RateLimitedError, UnreadableReplyError
from badges_async.ledger.records import State, error_values, outcome_of, state_of
from badges_async.models import Notice
from badges_async.report import error_key
from tests.ledger.support import claims, entries, running, settled

KINDS = [
    kind for _, kind in inspect.getmembers(errors, inspect.isclass) if issubclass(kind, BadgesError)
]
NASTY = ["", "plain", "\ud800 alone", "\0\x1b[2J\n", "🐕 'quoted\" \\ %s", "x" * 10_000, "\u2028"]
texts = st.sampled_from(NASTY) | st.text(st.characters())
notices = st.builds(Notice, st.none() | st.integers(-(2**63), 2**63), texts, st.none() | texts)


def made(kind: type[BadgesError], text: str, notice: Notice, *, maybe: bool) -> BadgesError:
    facts: dict[str, Any] = {}
    if issubclass(kind, APIError | UnreadableReplyError):
        facts |= {"status": 418, "request_id": text}
    if issubclass(kind, APIError):
        facts["errors"] = (notice, Notice(None, text, None))
    error = kind(text, **facts)
    error.maybe_applied, error.attempts = maybe, 3
    return error


def facts_of(error: BadgesError | None) -> dict[str, Any]:
    names = ("status", "code", "message", "reference", "errors", "request_id")
    return {
        "kind": type(error),
        "text": str(error),
        "key": error and error_key(error),
        "attempts": error and error.attempts,
        "maybe": error and error.maybe_applied,
        **{name: getattr(error, name, None) for name in names},
    }


@pytest.mark.parametrize("kind", KINDS)
@given(text=texts, notice=notices, maybe=st.booleans())
def test_every_error_of_ours_survives(
    kind: type[BadgesError],
    text: str,
    notice: Notice,
    maybe: bool,  # noqa: FBT001 - drawn
) -> None:
    error = made(kind, text, notice, maybe=maybe)
    values = json.loads(json.dumps(error_values(error)))
    [request] = claims(1)
    outcome = outcome_of(request, State.FAILED, 3, False, values)
    assert facts_of(outcome.error) == facts_of(error)
    assert (outcome.request, outcome.status, outcome.attempts) == (request, ClaimStatus.FAILED, 3)


class SulkingError(RateLimitedError):
    """Somebody's own."""


def test_an_error_that_is_not_ours_is_the_nearest_one_that_is() -> None:
    values = error_values(SulkingError("no", status=429))
    assert values is not None
    outcome = outcome_of(claims(1)[0], State.FAILED, 1, False, values)
    assert type(outcome.error) is RateLimitedError
    assert error_key(outcome.error) == values["key"]


@pytest.mark.parametrize("values", [{}, {"kind": "Notice"}, {"kind": "TYPE_CHECKING"}, {"kind": 7}])
def test_a_kind_that_nobody_knows_is_an_error_all_the_same(values: dict[str, Any]) -> None:
    outcome = outcome_of(claims(1)[0], State.REJECTED, 1, False, values)
    assert type(outcome.error) is BadgesError


def test_a_newer_release_may_say_more() -> None:
    values = {"kind": "ServerError", "errors": [[1, "a", None, "more"]], "more": 1, "status": 500}
    error = outcome_of(claims(1)[0], State.FAILED, 1, False, values).error
    assert isinstance(error, APIError)
    assert error.errors == (Notice(1, "a", None),)


def test_without_an_error_there_are_no_values() -> None:
    assert error_values(None) is None


@pytest.mark.parametrize("state", [State.CLAIMED, State.ALREADY_CLAIMED])
def test_a_claim_that_is_held_has_a_result(state: State) -> None:
    [request] = claims("007")
    recovered = state is State.ALREADY_CLAIMED
    outcome = outcome_of(request, state, 2, recovered, None)
    assert outcome.result is not None
    assert outcome.result.already_claimed == recovered
    assert outcome.recovered == recovered
    assert state_of(outcome.status) is state
    claim = outcome.result.claim
    assert (outcome.result.badge_id, claim.owner_type, claim.reference_id) == (
        *(request.badge_id, request.owner_type, "007"),
    )


async def test_outcomes_survive_the_file(tmp_path: Path) -> None:
    """SQLite takes the rows apart: no text may break them, or reach another row."""
    path = tmp_path / "run.db"
    wanted: dict[str, ClaimOutcome] = {}
    cases = [(kind, text) for kind in KINDS for text in NASTY]
    async with running(path) as ledger:
        requests = claims(*range(len(cases)))
        found = await ledger.lease(requests, len(cases))
        rows = []
        for (kind, text), request, each in zip(cases, requests, found, strict=True):
            error = made(kind, text, Notice(717, text, text), maybe=True)
            rows.append(settled(each.id, State.FAILED, attempts=3, error=error_values(error)))
            wanted[request.reference_id] = ClaimOutcome(request, ClaimStatus.FAILED, error=error)
        await ledger.settle(rows)
        told = await ledger.lease(requests, 1)
        for each, request in zip(told, requests, strict=True):
            assert each.told is not None
            read = outcome_of(request, each.state, *each.told).error
            assert facts_of(read) == facts_of(wanted[request.reference_id].error)
    for reference, entry in entries(path).items():
        assert entry.outcome is not None
        assert facts_of(entry.outcome.error) == facts_of(wanted[reference].error)
