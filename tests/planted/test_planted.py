"""The bugs fit the code as it is, and the hunt tells who notices one and that nobody does."""

from __future__ import annotations

import ast
from collections import Counter

import pytest

from tests.planted.__main__ import main
from tests.planted.bugs import BUGS
from tests.planted.hunt import ROOT, SIMULATION, Bug, catch

EVERY = pytest.mark.parametrize("bug", BUGS, ids=lambda bug: bug.name)


@EVERY
def test_it_fits_the_code(bug: Bug) -> None:
    text = (ROOT / "badges_async" / bug.room).read_text("utf-8")
    assert ast.dump(ast.parse(bug.planted_in(text))) != ast.dump(ast.parse(text))
    for hunter in bug.hunters:
        assert hunter == SIMULATION or (ROOT / hunter).exists()


def test_there_are_many_and_each_has_its_name() -> None:
    assert len(BUGS) >= 50
    assert max(Counter(bug.name for bug in BUGS).values()) == 1


@pytest.mark.slow
@pytest.mark.timeout(200)
@pytest.mark.parametrize(
    "name", ["an outcome is told before it is on disk", "a retry is not jittered"]
)
def test_it_is_noticed(name: str, capsys: pytest.CaptureFixture[str]) -> None:
    assert main([name]) == 0
    printed = capsys.readouterr().out
    assert "seeds: I13" in printed or "FAILED tests/test_retry.py" in printed


@pytest.mark.slow
@pytest.mark.timeout(200)
def test_what_changes_nothing_is_noticed_by_nobody() -> None:
    harmless = Bug(
        name="harmless",
        room="gate.py",
        is_="_SHORTEST_PAUSE = 1.0",
        becomes="_SHORTEST_PAUSE = 1.00",
        hunters=(SIMULATION, "tests/test_gate.py"),
    )
    assert not catch(harmless, seeds=3).by
