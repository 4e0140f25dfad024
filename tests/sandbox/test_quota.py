"""The service's limit: who is refused, what it is told, and when it is let in again."""

from __future__ import annotations

from typing import Any

import attrs
import pytest

from badges_async.errors import InvalidInputError
from badges_async.sandbox import Sandbox
from badges_async.sandbox.throttle import Window, read_quota
from tests.sandbox.clients import Till


@attrs.frozen
class AnyQuota:
    """A quota of somebody else's."""

    limit: int
    per: float


@pytest.mark.parametrize("badges_sandbox_options", [{"quota": "2/60s"}])
async def test_the_request_beyond_the_quota_is_429_with_retry_after(
    till: Till, sandbox: Sandbox
) -> None:
    await till.claim(reference_id="1")
    await till.get()
    async with till.session.get("/api_gateway/v1/badges/badgeMeta/x") as response:
        answer = await response.json()

    assert response.status == 429
    assert 59 <= int(response.headers["Retry-After"]) <= 60
    assert (answer["data"], answer["errors"][0]["code"]) == (None, 429)
    assert [record.status for record in sandbox.requests] == [200, 200, 429]


@pytest.mark.parametrize("badges_sandbox_options", [{"quota": (1, 60), "retry_after": False}])
async def test_retry_after_may_be_left_out(till: Till) -> None:
    await till.get()
    async with till.session.get("/x") as response:
        assert (response.status, response.headers.get("Retry-After")) == (429, None)


@pytest.mark.parametrize("badges_sandbox_options", [{"quota": AnyQuota(1, 60.0)}])
async def test_a_refused_claim_takes_no_effect_and_meets_no_fault(
    till: Till, sandbox: Sandbox
) -> None:
    await till.get()
    sandbox.set_faults(["reset-after"])

    status, _ = await till.claim()

    assert (status, sandbox.requests[-1].fault) == (429, None)
    assert ("69381220cebb9648d8974518", "Loyalty", "123") not in sandbox.claims


@pytest.mark.parametrize("badges_sandbox_options", [{"quota": "1/60s"}])
async def test_a_token_request_counts(till: Till) -> None:
    await till.ask("POST", "/v3/oauth/token/generate", json={})

    assert (await till.get())[0] == 429


@pytest.mark.parametrize("badges_sandbox_options", [{"quota": "1/60s"}])
async def test_a_quota_may_be_lifted_and_set_while_it_runs(till: Till, sandbox: Sandbox) -> None:
    statuses = [(await till.get())[0] for _ in range(2)]
    sandbox.set_quota(None)
    statuses += [(await till.get())[0] for _ in range(2)]
    sandbox.set_quota("1/1h")
    statuses += [(await till.get())[0] for _ in range(2)]

    assert statuses == [200, 429, 200, 200, 200, 429]


def test_the_window_slides() -> None:
    window = Window(2, 10.0)

    assert [window.wait(now) for now in (0.0, 4.0, 9.0, 10.0, 13.0, 14.0)] == [
        None,
        None,
        1.0,
        None,
        1.0,
        None,
    ]


def test_a_refused_arrival_does_not_prolong_the_wait() -> None:
    window = Window(1, 10.0)
    window.wait(0.0)
    for now in range(1, 10):
        assert window.wait(float(now)) == 10.0 - now

    assert window.wait(10.0) is None


@pytest.mark.parametrize(
    ("source", "quota"),
    [
        (None, None),
        ("100/60s", (100, 60.0)),
        (" 100 / 60 ", (100, 60.0)),
        ("5/0.5s", (5, 0.5)),
        ("100/m", (100, 60.0)),
        ("100/2min", (100, 120.0)),
        ("5000/1h", (5000, 3600.0)),
        ((3, 1), (3, 1.0)),
        (AnyQuota(7, 2.0), (7, 2.0)),
    ],
)
def test_a_quota_may_be_given_in_several_ways(source: Any, quota: Any) -> None:
    assert read_quota(source) == quota


@pytest.mark.parametrize("source", ["", "100", "100/", "/60s", "0/60s", "1/0s", "-1/60s", (0, 1)])
def test_a_quota_that_is_none_is_refused(source: Any) -> None:
    with pytest.raises(InvalidInputError, match="quota"):
        Sandbox(quota=source)
