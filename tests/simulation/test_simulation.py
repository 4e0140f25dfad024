"""The simulation itself: seeds that must pass, and that it is what it says it is."""

from __future__ import annotations

import os
import subprocess
import sys
from collections import Counter

import pytest

from tests.simulation.__main__ import main
from tests.simulation.history import Sending
from tests.simulation.plan import DISK_FAULTS, NETWORK_FAULTS, Plan
from tests.simulation.simulator import Verdict, simulate

# Each run takes its share, so that workers that run tests in parallel share them.
_SHARES = 8
_EACH = 20
FOUND = {
    41: "a request that left later than it was let go, when the disk had failed meanwhile",
    9: "one object that was pulled twice and left unsettled",
    312_633: "a request that left late, two processes ago",
    200_576: "an outcome that was counted and, at the end of a drain's grace time, never told",
    803_601: "a claim tried once more after a short outage, taken for one try too many",
    519_831: "a request noted ahead of a slow disk, a kill, and a wall clock set on by a day",
}
"""Seeds that have found something, and what."""


def assert_nothing_violated(verdict: Verdict) -> None:
    assert not verdict.violations, "\n".join([*verdict.trace[-40:], *verdict.violations])


@pytest.mark.parametrize("share", range(_SHARES))
def test_seeds(share: int) -> None:
    for seed in range(share * _EACH, (share + 1) * _EACH):
        assert_nothing_violated(simulate(seed))


@pytest.mark.parametrize("seed", FOUND)
def test_what_was_found_stays_mended(seed: int) -> None:
    assert_nothing_violated(simulate(seed))


@pytest.mark.slow
@pytest.mark.timeout(900)
@pytest.mark.parametrize("share", range(4))
def test_many_seeds(share: int) -> None:
    for seed in range(1000 + share * 250, 1250 + share * 250):
        assert_nothing_violated(simulate(seed))


def test_the_same_seed_gives_the_same_history() -> None:
    one, other = simulate(7, trace=True), simulate(7, trace=True)
    assert one.trace == other.trace
    assert len(one.trace) > 100


@pytest.mark.parametrize("seed", [3, 16])
def test_another_process_gives_the_same_history(seed: int) -> None:
    """Whatever the order of its sets and the addresses of its objects."""
    code = f"from tests.simulation.simulator import simulate; print(simulate({seed}).digest)"
    printed = subprocess.run(  # noqa: S603 - our own code
        [sys.executable, "-c", code],
        capture_output=True,
        text=True,
        check=True,
        env=os.environ | {"PYTHONHASHSEED": "17"},
    ).stdout
    assert printed.strip() == simulate(seed).digest


def test_plans_differ_and_leave_nothing_out() -> None:
    """Each kind of fault is off in many plans and on in many, and so is all that may end a run."""
    plans = [Plan.of(seed) for seed in range(400)]
    for kind in (*NETWORK_FAULTS, *DISK_FAULTS):
        assert 80 < sum(plan.rates[kind] > 0 for plan in plans) < 320
    ends = Counter(each.ends for plan in plans for each in plan.habits)
    assert min(ends[end] for end in ("whole", "drain", "leave", "cancel")) > 30
    kills = [each for plan in plans for each in plan.habits if each.kill_after is not None]
    assert 50 < sum(each.power_loss for each in kills) < len(kills) - 50
    for name in ("quota", "oauth", "jumps", "outages", "lockouts", "crash"):
        assert 20 < sum(bool(getattr(plan, name)) for plan in plans) < 380


def test_a_violation_is_told_with_its_trace(
    monkeypatch: pytest.MonkeyPatch, capsys: pytest.CaptureFixture[str]
) -> None:
    def deny(_: object, sending: Sending, at: float) -> bool:
        """Say that it is claimed, and hold nothing."""
        del sending, at
        return False

    monkeypatch.setattr("tests.simulation.gateway.Gateway.apply", deny)

    assert main(["--seeds", "2", "--processes", "1"]) == 1

    printed = capsys.readouterr().out
    assert "seed 2: I16 " in printed
    assert "told as claimed, not held" in printed
    assert "heard 200" in printed
    assert "1 seeds, 1 with violations" in printed


def test_the_command_ends_well_where_nothing_is_violated(
    capsys: pytest.CaptureFixture[str],
) -> None:
    assert main(["--seeds", "2-3", "--processes", "1"]) == 0
    assert "2 seeds, 0 with violations" in capsys.readouterr().out
