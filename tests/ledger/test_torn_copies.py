"""
A crash that tears the ``-wal`` wherever it likes: what is left is a moment that there was.

Here: any operations, any copy, any damage to the end of its log. Not here: crashes that leave the
log whole (`test_machine`), or copies that lack it (`test_copies`).
"""

from __future__ import annotations

import asyncio
import shutil
import tempfile
from pathlib import Path

import attrs
import pytest
from hypothesis import HealthCheck, given, settings
from hypothesis import strategies as st

from badges_async.errors import LedgerCorruptError
from badges_async.ledger import Ledger
from badges_async.ledger.records import State
from tests.ledger.support import ACCOUNT, HOST, beside, claims, entries, settled

References = list[str]
Facts = dict[str, tuple[str, bool, int]]

REFERENCES = st.lists(st.sampled_from("abcdefgh"), min_size=1, max_size=6, unique=True)
STEPS = st.tuples(
    st.sampled_from(["load", "lease", "lease", "settle", "settle", "fail", "release", "run"]),
    REFERENCES,
)


@attrs.frozen
class Tear:
    """
    What becomes of the end of a log.

    Attributes:
        at: From which part of its length.
        with_: The bytes that follow there instead.
        full: They are repeated until the log is as long as it was.
    """

    at: float
    with_: bytes
    full: bool = False

    def of(self, whole: bytes) -> bytes:
        """Give the log as the crash leaves it."""
        left = whole[: round(self.at * len(whole))]
        if not self.full:
            return left + self.with_
        missing = len(whole) - len(left)
        return left + (self.with_ * missing)[:missing]


TEARS = st.builds(
    Tear,
    st.floats(0, 1),
    st.binary(max_size=8) | st.sampled_from([b"\0", b"\xff"]),
    st.booleans(),
)


def facts_of(path: Path) -> Facts:
    return {
        reference: (
            str(entry.outcome and entry.outcome.status),
            entry.in_doubt,
            entry.outcome.attempts if entry.outcome else 0,
        )
        for reference, entry in entries(path).items()
    }


async def do(ledger: Ledger, step: str, some: References, in_hand: dict[str, int]) -> None:
    """Do a step; *in_hand* are the claims that are leased, by reference."""
    chosen = [reference for reference in some if reference in in_hand]
    if step == "load":
        await ledger.load(claims(*some))
    elif step == "lease":
        new = [reference for reference in some if reference not in in_hand]
        found = await ledger.lease(claims(*new), len(new))
        in_hand |= {
            reference: each.id
            for reference, each in zip(new, found, strict=True)
            if each.state is State.SENDING
        }
    elif step in {"settle", "fail"}:
        state = State.CLAIMED if step == "settle" else State.FAILED
        await ledger.settle([settled(in_hand.pop(reference), state) for reference in chosen])
    elif step == "release":
        ledger.release_soon([(in_hand.pop(reference), True) for reference in chosen])
        await ledger.memory()
    else:
        ledger.end_run()
        in_hand.clear()
        await ledger.begin_run(HOST, ACCOUNT)


async def recorded(path: Path, steps: list[tuple[str, References]], copy: Path) -> list[Facts]:
    """Do *steps* in a new ledger, copy it while it is open; give all moments that there were."""
    moments: list[Facts] = []
    in_hand: dict[str, int] = {}
    async with Ledger.open(path) as ledger:
        await ledger.begin_run(HOST, ACCOUNT)
        moments.append(facts_of(path))
        for step, some in steps:
            await do(ledger, step, some, in_hand)
            moments.append(facts_of(path))
        process = await asyncio.create_subprocess_exec(
            "cp", *beside(path, "", "-wal", "-lock"), str(copy)
        )
        assert await process.wait() == 0
    return moments


async def opened(path: Path) -> Facts:
    async with Ledger.open(path):
        pass
    return facts_of(path)


def check(steps: list[tuple[str, References]], tears: list[Tear]) -> None:
    """Check that each of *tears* leaves a moment, and the later one the later it begins."""
    folder = Path(tempfile.mkdtemp())
    try:
        copy = folder / "copy"
        copy.mkdir()
        moments = asyncio.run(recorded(folder / "run.db", steps, copy))
        latest = 0
        for number, tear in enumerate(sorted(tears, key=lambda tear: tear.at)):
            torn = folder / str(number) / "run.db"
            shutil.copytree(copy, torn.parent)
            [wal] = beside(torn, "-wal")
            left = tear.of(wal.read_bytes())
            wal.write_bytes(left)
            if not left:  # which is none, see `test_copies`
                with pytest.raises(LedgerCorruptError):
                    asyncio.run(opened(torn))
                continue
            found = asyncio.run(opened(torn))
            places = [place for place, moment in enumerate(moments) if moment == found]
            assert places, "what is left is no moment that there was"
            assert places[-1] >= latest, "more of the log is left, and less is known"
            latest = places[0]
        assert asyncio.run(opened(copy / "run.db")) == moments[-1], "of a whole one all is left"
    finally:
        shutil.rmtree(folder)


def test_of_a_torn_log_a_moment_is_left() -> None:
    """F105: cut, cut into another block, followed by zeros or by what lay there before."""
    steps = [("load", ["a"]), ("lease", ["a", "b", "c"]), ("settle", ["a"]), ("release", ["b"])]
    cut = [Tear(0.0, b""), Tear(0.2, b"")]
    check(steps, [*cut, Tear(0.6, b"\xff", full=True), Tear(0.9, b"\0", full=True)])


@pytest.mark.slow
@pytest.mark.timeout(300)
@given(steps=st.lists(STEPS, max_size=15), tears=st.lists(TEARS, min_size=4, max_size=8))
@settings(max_examples=60, deadline=None, suppress_health_check=[HealthCheck.too_slow])
def test_of_any_torn_log_a_moment_is_left(
    steps: list[tuple[str, References]], tears: list[Tear]
) -> None:
    check(steps, tears)
