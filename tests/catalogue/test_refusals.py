"""
Answers that say no, in a bulk run on both lanes: whom they settle, and whom they stop.

Here: what the API or a server on the way refuses, by code and by status. Not here: what is no
answer (`test_foreign_answers`), throttles and tokens.
"""

from __future__ import annotations

import pytest

from badges_async import (
    APIError,
    BadgesClient,
    BadgesError,
    BasicAuth,
    ClaimRequest,
    ClaimStatus,
    ConflictError,
    InvalidRequestError,
    PermissionDeniedError,
    RetryPolicy,
    ServerError,
)
from badges_async.sandbox import Answer, Fault, RecordedRequest, Sandbox
from tests.answers import HTML, envelope, gateway, held, notice, refusal
from tests.catalogue.odd_rows import ANYBODY, BADGE, MOST_ATTEMPTS, claim_with_odd_rows
from tests.client.byte_server import ByteServer, Exchange, http

pytestmark = pytest.mark.usefixtures("lane")

CLAIMED, ALREADY = ClaimStatus.CLAIMED, ClaimStatus.ALREADY_CLAIMED
REJECTED, FAILED = ClaimStatus.REJECTED, ClaimStatus.FAILED
HELD = envelope(held(referenceId=ANYBODY))
ENDLESS = envelope(None, [notice(728, "no" * 50_000)])


@pytest.mark.parametrize(
    ("status", "body", "ends", "error", "code"),
    [
        pytest.param(200, refusal(717), REJECTED, InvalidRequestError, 717, id="F033"),
        pytest.param(200, refusal(4711), REJECTED, APIError, 4711, id="F033 unknown code"),
        pytest.param(400, refusal(714), REJECTED, InvalidRequestError, 714, id="F038"),
        pytest.param(400, ENDLESS, REJECTED, InvalidRequestError, 728, id="F038 endless"),
        pytest.param(418, refusal(728), REJECTED, APIError, 728, id="F051 with a code"),
        *(
            pytest.param(status, body, REJECTED, InvalidRequestError, None, id=f"F043 {status}")
            for status in (413, 414, 431)
            for body in (HTML, b"")
        ),
        # The catalogue asks for more attempts here. A conflict does not go away in seconds: it is
        # the next run's.
        pytest.param(409, refusal(815), FAILED, ConflictError, 815, id="F042"),
        pytest.param(409, b"{}", FAILED, ConflictError, None, id="F042 bare"),
        pytest.param(302, HELD, FAILED, APIError, None, id="F036 with a claim in it"),
        pytest.param(418, b"{}", FAILED, APIError, None, id="F051 bare"),
    ],
)
async def test_a_no_settles_its_row_only_where_it_is_the_services(
    status: int, body: bytes, ends: ClaimStatus, error: type[BadgesError], code: int | None
) -> None:
    """F033, F036, F038, F042, F043, F051: it is asked once, others go on."""
    met = await claim_with_odd_rows(http(body, "Location: /", status=f"{status} No"))

    for end in (met.before, met.behind, met.always):
        assert (end.status, end.attempts, type(end.error)) == (ends, 1, error)
        assert isinstance(end.error, APIError)
        assert (end.error.status, end.error.code) == (status, code)
        assert not end.error.maybe_applied
        assert len(str(end.error)) < 600
    assert {(end.status, end.attempts) for end in met.others} == {(CLAIMED, 1)}
    assert sum(met.requests.values()) == len(met.requests)


@pytest.mark.parametrize(
    ("status", "body", "error", "code"),
    [
        *(
            pytest.param(status, body, APIError, code, id=f"F040 {status}")
            for status in (405, 406, 415)
            for body, code in ((b"{}", None), (refusal(status), status))
        ),
        pytest.param(421, refusal(1), APIError, 1, id="F044"),
        pytest.param(501, refusal(1), ServerError, 1, id="F047 501"),
        pytest.param(505, b"{}", ServerError, None, id="F047 505"),
    ],
)
async def test_what_would_be_said_to_any_request_rejects_none(
    status: int, body: bytes, error: type[BadgesError], code: int | None
) -> None:
    """F040, F044, F047: one row is told so, and tried again. All are: `test_failing_services`."""
    met = await claim_with_odd_rows(http(body, status=f"{status} No"))

    assert (met.before.status, met.before.attempts) == (CLAIMED, 2)
    assert (met.behind.status, met.behind.attempts) == (ALREADY, 2)
    # The API's word below 500 says that nothing was done.
    assert met.behind.recovered is (status >= 500)
    assert (met.always.status, met.always.attempts) == (FAILED, MOST_ATTEMPTS)
    assert type(met.always.error) is error
    assert isinstance(met.always.error, APIError)
    assert (met.always.error.status, met.always.error.code) == (status, code)
    assert met.always.error.maybe_applied is (status >= 500)
    assert {(end.status, end.attempts) for end in met.others} == {(CLAIMED, 1)}


@pytest.mark.parametrize("where", ["warning", "error"])
async def test_a_claim_that_is_held_is_said_to_be_and_whether_it_may_be_ours(where: str) -> None:
    """F034, F035: code 900 is a success at once, and `recovered` after an answer was lost."""
    rows = [ClaimRequest(BADGE, "Loyalty", name) for name in ("held", "lost", "new")]

    def choose(record: RecordedRequest) -> Fault | None:
        first = sum(each.reference_id == record.reference_id for each in sandbox.requests) == 1
        return Fault.RESET_AFTER if record.reference_id == "lost" and first else None

    async with Sandbox(already_claimed=where, faults=choose) as sandbox:  # type: ignore[arg-type]
        sandbox.add_claim(BADGE, "Loyalty", "held")
        auth = BasicAuth(sandbox.username, sandbox.password)
        async with (
            BadgesClient(sandbox.url, auth, retry=RetryPolicy(base=0)) as client,
            client.claim_many(rows, concurrency=1) as run,
        ):
            ends = [(end.status, end.attempts, end.recovered) async for end in run]

    assert ends == [(ALREADY, 1, False), (ALREADY, 2, True), (CLAIMED, 1, False)]
    assert len(sandbox.requests) == 4


@pytest.mark.parametrize(
    "body", [refusal(4000), gateway(403, 4000), HTML, b""], ids=["api", "gateway", "page", "empty"]
)
async def test_an_account_that_may_not_claim_stops_the_run_and_costs_no_row(body: bytes) -> None:
    """F039: the catalogue waits for five; the first 403 stops the run, and no row is settled."""
    rows = [ClaimRequest(BADGE, "Loyalty", str(number)) for number in range(50)]
    async with Sandbox(faults=lambda _: Answer(403, body)) as sandbox:
        auth = BasicAuth(sandbox.username, sandbox.password)
        async with BadgesClient(sandbox.url, auth) as client:
            run = client.claim_many(rows, concurrency=4)
            with pytest.raises(PermissionDeniedError) as caught:
                async with run:
                    assert [outcome async for outcome in run] == []
    assert type(caught.value) is PermissionDeniedError
    assert len(sandbox.requests) <= 4
    assert len(run.unsettled) == run.report.unsettled >= len(sandbox.requests)
    assert run.report.total == 0


@pytest.mark.parametrize("status", ["408 Request Timeout", "425 Too Early", "421 Misdirected"])
@pytest.mark.parametrize("body", [HTML, refusal(1)], ids=["page", "api"])
async def test_a_request_that_came_too_late_or_early_is_sent_again_on_a_new_connection(
    status: str, body: bytes
) -> None:
    """F041, F044: where the service ends the connection with it, as it does after a 408."""

    async def refuse_once(exchange: Exchange) -> None:
        if len(server.seen) == 1:
            await exchange.say(http(body, "Connection: close", status=status))
        else:
            await exchange.say(http(envelope(held(referenceId="1"))))

    async with (
        ByteServer(refuse_once) as server,
        BadgesClient(server.url, BasicAuth("a", "b"), retry=RetryPolicy(base=0)) as client,
        client.claim_many([ClaimRequest(BADGE, "Loyalty", "1")]) as run,
    ):
        (end,) = [outcome async for outcome in run]
    assert end.status is CLAIMED
    assert [exchange.connection for exchange in server.seen] == [1, 2]
