"""The ledger against a dict: any order of operations, runs, closes and crashes."""

from __future__ import annotations

import asyncio
import shutil
import subprocess
import tempfile
from collections.abc import Coroutine
from pathlib import Path
from typing import Any, TypeVar

import attrs
import pytest
from hypothesis import HealthCheck, settings
from hypothesis import strategies as st
from hypothesis.stateful import RuleBasedStateMachine, initialize, invariant, precondition, rule

from badges_async.enums import ClaimStatus
from badges_async.ledger import Ledger
from badges_async.ledger.records import Fate, State
from tests.ledger.support import ACCOUNT, HOST, beside, claims, entries, settled

T = TypeVar("T")
ENDED = {State.CLAIMED, State.ALREADY_CLAIMED, State.REJECTED}
STATUSES = {
    State.CLAIMED: ClaimStatus.CLAIMED,
    State.ALREADY_CLAIMED: ClaimStatus.ALREADY_CLAIMED,
    State.REJECTED: ClaimStatus.REJECTED,
    State.FAILED: ClaimStatus.FAILED,
}
references = st.lists(st.sampled_from([str(number) for number in range(12)]), max_size=8)


@attrs.define
class Known:
    """What must be known of one claim."""

    state: State = State.PENDING
    doubt: bool = False
    run: int = 0
    attempts: int = 0
    id: int | None = None


class LedgerMachine(RuleBasedStateMachine):
    """One ledger through all its lives; `here` is where it lies now."""

    def __init__(self) -> None:
        super().__init__()
        self.folder = Path(tempfile.mkdtemp())
        self.loop = asyncio.new_event_loop()
        self.lives = 0
        self.here = self.folder / "0" / "run.db"
        self.here.parent.mkdir()
        self.known: dict[str, Known] = {}
        self.number = 0

    def do(self, coroutine: Coroutine[Any, Any, T]) -> T:
        return self.loop.run_until_complete(coroutine)

    @initialize()
    def open(self) -> None:
        self.ledger = Ledger.open(self.here)
        self.do(self.ledger.__aenter__())
        self.begin()

    def begin(self) -> None:
        number = self.do(self.ledger.begin_run(HOST, ACCOUNT))
        assert number > self.number, "every run has a number of its own"
        self.number = number

    def close(self) -> None:
        self.do(self.ledger.__aexit__(None, None, None))

    @rule(asked=references)
    def load(self, asked: list[str]) -> None:
        new = set(asked) - self.known.keys()
        assert self.do(self.ledger.load(claims(*asked))) == len(new)
        self.known |= {reference: Known() for reference in new}

    @rule(asked=references, most=st.integers(0, 6))
    def lease(self, asked: list[str], most: int) -> None:
        found = self.do(self.ledger.lease(claims(*asked), most))
        assert len(found) == len(asked)
        taken: set[str] = set()
        for reference, each in zip(asked, found, strict=True):
            known = self.known.setdefault(reference, Known())
            assert known.id in {None, each.id}
            known.id = each.id
            assert each.fate == self.fate(reference, known, taken, most)
            if each.fate is Fate.SEND:
                taken.add(reference)
                assert each.doubt == (known.doubt or known.state is State.SENDING)
                known.state, known.doubt, known.run = State.SENDING, each.doubt, self.number
            if each.fate is Fate.TOLD:
                assert each.told is not None
                assert (each.state, each.told[0]) == (known.state, known.attempts)

    def fate(self, reference: str, known: Known, taken: set[str], most: int) -> Fate:
        ours = known.run == self.number
        if reference in taken or (known.state is State.SENDING and ours):
            return Fate.TWIN
        if known.state in STATUSES and ours:
            return Fate.TOLD
        if known.state in ENDED:
            return Fate.SETTLED
        return Fate.LATER if len(taken) >= most else Fate.SEND

    def in_hand(self, some: list[str]) -> dict[str, Known]:
        return {
            reference: known
            for reference in some
            if (known := self.known.get(reference))
            and known.state is State.SENDING
            and known.run == self.number
        }

    @rule(some=references, state=st.sampled_from(list(STATUSES)), doubt=st.booleans())
    def settle(self, some: list[str], state: State, doubt: bool) -> None:  # noqa: FBT001 - drawn
        chosen = self.in_hand(some)
        rows = [settled(known.id or 0, state, attempts=2, doubt=doubt) for known in chosen.values()]
        self.do(self.ledger.settle(rows))
        self.do(self.ledger.settle(rows))  # once more is as good as once
        for known in chosen.values():
            known.state, known.attempts = state, known.attempts + 2
            known.doubt = state is State.FAILED and (known.doubt or doubt)

    @rule(some=references, doubt=st.booleans())
    def release(self, some: list[str], doubt: bool) -> None:  # noqa: FBT001 - drawn
        chosen = self.in_hand(some)
        self.ledger.release_soon([(known.id or 0, doubt) for known in chosen.values()])
        self.do(self.ledger.memory())
        for known in chosen.values():
            known.state, known.doubt = State.PENDING, known.doubt or doubt

    @rule()
    def begin_another_run(self) -> None:
        self.ledger.end_run()
        for known in self.known.values():
            if known.state is State.SENDING and known.run == self.number:
                known.state = State.PENDING  # a lease that was cut off; doubt from before stays
        self.begin()

    @rule()
    def close_and_open(self) -> None:
        self.close()
        self.open()

    @precondition(lambda self: self.lives < 20)
    @rule()
    def crash(self) -> None:
        """Go on from the files as they lie on the disk at this moment."""
        self.lives += 1
        new = self.folder / str(self.lives) / "run.db"
        new.parent.mkdir()
        files = zip(beside(self.here, "-wal", "-lock"), beside(new, "-wal", "-lock"), strict=True)
        copies = [(file.read_bytes(), target) for file, target in files]
        new.write_bytes(read_apart(self.here))
        for content, target in copies:
            target.write_bytes(content)
        self.close()
        self.here = new
        self.open()

    @invariant()
    def everything_is_known_once(self) -> None:
        if not hasattr(self, "ledger"):
            return
        found = entries(self.here)
        assert found.keys() == self.known.keys()
        for reference, entry in found.items():
            known = self.known[reference]
            status = STATUSES.get(known.state)
            assert (entry.outcome and entry.outcome.status) == status
            assert entry.in_doubt == (known.state is State.SENDING or known.doubt)
            if entry.outcome:
                assert entry.outcome.attempts == known.attempts
        standing = self.do(self.ledger.standing())
        assert standing.total == len(self.known)

    def teardown(self) -> None:
        self.close()
        self.loop.close()
        shutil.rmtree(self.folder)


def read_apart(path: Path) -> bytes:
    """Read an open database without dropping its locks: by another name it is another process."""
    return subprocess.run(["cat", path], check=True, capture_output=True).stdout  # noqa: S603, S607


TestLedgerQuickly = pytest.mark.timeout(60)(LedgerMachine.TestCase)
TestLedgerQuickly.settings = settings(
    max_examples=8,
    stateful_step_count=20,
    deadline=None,
    suppress_health_check=[HealthCheck.too_slow],
)


class Thorough(LedgerMachine):
    """The same, for longer."""


TestLedgerThoroughly = pytest.mark.slow(pytest.mark.timeout(300)(Thorough.TestCase))
TestLedgerThoroughly.settings = settings(
    max_examples=60,
    stateful_step_count=40,
    deadline=None,
    suppress_health_check=[HealthCheck.too_slow],
)
