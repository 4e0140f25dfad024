"""Who is hit by which fault: by script, by dice, by function, and how that is written down."""

from __future__ import annotations

from collections import Counter
from itertools import cycle
from typing import Any

import pytest

from badges_async.errors import InvalidInputError
from badges_async.sandbox import Answer, Fault, RawAnswer, RecordedRequest, Sandbox, parse_fault
from badges_async.sandbox.faults import FaultChooser
from tests.sandbox.clients import Till, Wire


def a_claim(number: int = 1, operation: str = "claim", badge_id: str = "b") -> RecordedRequest:
    """Make a record as the sandbox hands it to a chooser."""
    return RecordedRequest(number, operation, "POST", "/", badge_id, 0.0)


def roll(seed: int, faults: Any, times: int = 2_000) -> list[Any]:
    """Choose so many times."""
    chooser = FaultChooser(faults, seed=seed)
    return [chooser.choose(a_claim(number)) for number in range(times)]


async def test_a_script_is_played_once_in_order_and_then_all_is_well(
    till: Till, sandbox: Sandbox
) -> None:
    sandbox.set_faults([None, "500-before", "ok", Fault.EMPTY_504_BEFORE])

    statuses = []
    for _ in range(6):
        async with till.session.get("/api_gateway/v1/badges/badgeMeta/none") as response:
            statuses.append(response.status)

    assert statuses == [404, 500, 404, 504, 404, 404]


async def test_a_script_may_be_endless(till: Till, sandbox: Sandbox) -> None:
    sandbox.set_faults(cycle(["500-before", None]))

    assert [(await till.claim(reference_id=str(n)))[0] for n in range(4)] == [500, 200, 500, 200]


@pytest.mark.parametrize("commits", [True, False])
async def test_a_script_may_hold_answers_to_be_sent_as_they_are(
    till: Till, sandbox: Sandbox, *, commits: bool
) -> None:
    sandbox.set_faults([Answer(418, b"short", (("X-Pot", "tea"),), "text/plain", commits=commits)])

    body = {"ownerType": "Loyalty", "referenceId": "pot"}
    path = "/api_gateway/v1/badges/badgeMeta/69381220cebb9648d8974518/claim"
    async with till.session.post(path, json=body) as response:
        assert (response.status, await response.text()) == (418, "short")
        assert response.headers["X-Pot"] == "tea"
        assert response.headers["Content-Type"] == "text/plain"
    assert (("69381220cebb9648d8974518", "Loyalty", "pot") in sandbox.claims) is commits


@pytest.mark.parametrize("commits", [True, False])
async def test_a_script_may_hold_bytes_that_no_server_would_send(
    wire: Wire, sandbox: Sandbox, *, commits: bool
) -> None:
    sandbox.set_faults([RawAnswer(b"HTTP/1.1 100 Continue\r\n\r\nHTTP/1.1 2", commits=commits)])

    wire.send_claim()

    assert await wire.read_all() == b"HTTP/1.1 100 Continue\r\n\r\nHTTP/1.1 2"
    assert (("69381220cebb9648d8974518", "Loyalty", "123") in sandbox.claims) is commits
    assert sandbox.requests[-1].status is None


async def test_bytes_may_leave_the_connection_open(wire: Wire, sandbox: Sandbox) -> None:
    early = b"HTTP/1.1 103 Early Hints\r\n\r\n"
    good = b"HTTP/1.1 200 OK\r\nContent-Length: 2\r\n\r\n{}"
    late = b"HTTP/1.1 408 Request Timeout\r\nContent-Length: 0\r\n\r\n"
    sandbox.set_faults([RawAnswer(early + good + late, closes=False)])

    wire.send_claim()
    assert await wire.reader.readexactly(len(early + good + late)) == early + good + late
    wire.send_claim()

    assert (await wire.read_chunked())[0].startswith("HTTP/1.1 200")


async def test_a_token_request_does_not_use_up_a_script(till: Till, sandbox: Sandbox) -> None:
    sandbox.set_faults(["500-before"])

    token = await till.ask("POST", "/v3/oauth/token/generate", json={})
    read = await till.get()

    assert (token[0], read[0]) == (401, 500)


async def test_a_function_decides_for_each_request_by_what_it_asks(
    till: Till, sandbox: Sandbox
) -> None:
    def hook(request: RecordedRequest) -> Fault | None:
        return Fault.ERROR_500_BEFORE if request.reference_id == "cursed" else None

    sandbox.set_faults(hook)

    assert (await till.claim(reference_id="blessed"))[0] == 200
    assert (await till.claim(reference_id="cursed"))[0] == 500


async def test_a_function_decides_for_token_requests_too(till: Till, sandbox: Sandbox) -> None:
    sandbox.set_faults(lambda request: "503-before" if request.operation == "token" else None)

    assert (await till.ask("POST", "/v3/oauth/token/generate", json={}))[0] == 503
    assert (await till.get())[0] == 200


def test_the_same_seed_gives_the_same_faults_and_another_seed_others() -> None:
    assert roll(1, Fault.everyday(0.5)) == roll(1, Fault.everyday(0.5))
    assert roll(1, Fault.everyday(0.5)) != roll(2, Fault.everyday(0.5))


def test_dice_hit_as_often_as_the_rates_say() -> None:
    hits = Counter(roll(3, {Fault.RESET_AFTER: 0.1, "slow": 0.3}, times=10_000))

    assert set(hits) == {None, Fault.RESET_AFTER, Fault.SLOW}
    assert 900 < hits[Fault.RESET_AFTER] < 1100
    assert 2800 < hits[Fault.SLOW] < 3200


def test_one_rate_is_shared_by_all_faults() -> None:
    hits = Counter(roll(4, 0.5, times=20_000))

    assert set(hits) == {None, *Fault}
    assert 9_000 < hits[None] < 11_000


def test_a_rate_of_one_hits_always_and_a_rate_of_nothing_never() -> None:
    assert set(roll(5, {Fault.SLOW: 1.0})) == {Fault.SLOW}
    assert set(roll(5, {Fault.SLOW: 0.0})) == {None}
    assert set(roll(5, {})) == {None}
    assert None not in roll(5, 1.0)


def test_dice_leave_what_is_no_badge_operation_alone() -> None:
    chooser = FaultChooser({Fault.SLOW: 1.0}, seed=0)

    assert chooser.choose(a_claim(operation="token")) is None
    assert chooser.choose(a_claim(operation="unknown")) is None


async def test_setting_faults_again_starts_the_dice_anew(till: Till, sandbox: Sandbox) -> None:
    rates = {Fault.ERROR_500_BEFORE: 0.5}
    rounds = []
    for _ in range(2):
        sandbox.set_faults(rates)
        rounds.append([(await till.get())[0] for _ in range(20)])

    assert rounds[0] == rounds[1]
    assert set(rounds[0]) == {200, 500}


def test_everyday_faults_sum_to_the_rate_and_end_no_run() -> None:
    everyday = Fault.everyday(0.2)

    assert sum(everyday.values()) == pytest.approx(0.2)
    assert not everyday.keys() & {
        Fault.UNAUTHORIZED,
        Fault.FORBIDDEN,
        Fault.HANG_BEFORE,
        Fault.HANG_AFTER,
        Fault.STALLED,
    }


def test_a_fault_is_written_as_kind_and_rate() -> None:
    assert parse_fault("reset-after=0.05") == (Fault.RESET_AFTER, 0.05)
    assert parse_fault(" slow = 1 ") == (Fault.SLOW, 1.0)


@pytest.mark.parametrize(
    ("spec", "message"),
    [
        ("reset-after", "KIND=RATE"),
        ("", "KIND=RATE"),
        ("flood=0.1", "no fault is called 'flood'; there are slow, "),
        ("slow=", "from 0 to 1"),
        ("slow=often", "from 0 to 1"),
        ("slow=1.1", "from 0 to 1"),
        ("slow=-0.1", "from 0 to 1"),
        ("slow=nan", "from 0 to 1"),
    ],
)
def test_a_fault_written_otherwise_is_refused_with_the_reason(spec: str, message: str) -> None:
    with pytest.raises(InvalidInputError, match=message):
        parse_fault(spec)


@pytest.mark.parametrize(
    ("faults", "message"),
    [
        (["slow", "flood"], "flood"),
        ("slow", "list"),
        ({"flood": 0.1}, "flood"),
        ({"slow": 0.6, "stalled": 0.6}, "exceed 1"),
        ({"slow": "x"}, "from 0 to 1"),
        (1.5, "from 0 to 1"),
        (-1, "from 0 to 1"),
    ],
)
def test_faults_that_are_none_are_refused_before_anything_runs(faults: Any, message: str) -> None:
    with pytest.raises(InvalidInputError, match=message):
        Sandbox(faults=faults)
