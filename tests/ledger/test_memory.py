"""What a run knew of the service's limits, in the time of the next one."""

# ruff: noqa: PLR0917 - whatever Hypothesis draws

from __future__ import annotations

import contextlib
import sqlite3
from pathlib import Path
from unittest.mock import Mock

import attrs
import pytest
from hypothesis import given
from hypothesis import strategies as st

from badges_async import LedgerError
from badges_async.ledger import Ledger, LedgerReader
from badges_async.ledger.book import Book
from badges_async.ledger.clock import Clock, Moment
from badges_async.ports import Ports
from tests.ledger.support import copy, inline, running
from tests.virtual_clock import START, now, run_virtually

HOUR, DAY = 3600.0, 86_400.0


@attrs.define
class World:
    """A machine: its boots, its wall clock, and the loop's time since the boot."""

    path: Path
    boot: str = "first"
    wall: float = 1.7e9
    loop: float = START

    def ports(self) -> Ports:
        began = self.loop
        wall = self.wall
        return inline(boot=lambda: self.boot, wall=lambda: wall + now() - began)


Memory = tuple[list[float], float | None, float | None]


def first_run(world: World, *, sends: int = 5, pause: float | None = 30.0) -> None:
    """Send once a second, learn a rate and a pause, and end."""

    async def main() -> None:
        async with running(world.path, ports=world.ports()) as ledger:
            for number in range(sends):
                assert await ledger.record_send(now() - 10 + number, 3) == number + 1
            if pause is not None:
                ledger.record_pause_soon(now() + pause)
            ledger.record_rate_soon(12.5)

    run_virtually(main, start=world.loop)


def test_a_long_run_remembers_no_more_than_counts(tmp_path: Path) -> None:
    world = World(tmp_path / "run.db")
    first_run(world, sends=500)
    with contextlib.closing(sqlite3.connect(world.path)) as stranger:
        (kept,) = stranger.execute("SELECT count(*) FROM send").fetchone()
    assert 3 <= kept <= 2 * 3


def remembered(world: World) -> Memory:
    """Give the memory of a run that begins now, as seconds from now."""

    async def main() -> Memory:
        async with Ledger.open(world.path, ports=world.ports()) as ledger:
            sends, opens_at, rate = await ledger.memory()
            return [at - now() for at in sends][-3:], opens_at and opens_at - now(), rate

    return run_virtually(main, start=world.loop)


def test_a_new_ledger_remembers_nothing(tmp_path: Path) -> None:
    assert remembered(World(tmp_path / "run.db")) == ([], None, None)


@pytest.mark.parametrize("boot", ["first", "second", ""])
def test_time_goes_on_across_a_restart(tmp_path: Path, boot: str) -> None:
    world = World(tmp_path / "run.db")
    first_run(world)
    world.wall += 20
    world.loop = START + 20 if boot == "first" else 7.0
    world.boot = boot
    sends, pause, rate = remembered(world)
    assert sends == pytest.approx([-28.0, -27.0, -26.0], abs=0.01)
    assert pause == pytest.approx(10.0, abs=0.01)
    assert rate == 12.5


@pytest.mark.parametrize("shift", [-HOUR, -1.0, HOUR, DAY])
def test_on_the_same_boot_the_wall_clock_does_not_matter(tmp_path: Path, shift: float) -> None:
    """F114: an hour back or a day on, without a reboot."""
    world = World(tmp_path / "run.db")
    first_run(world)
    world.wall += shift
    world.loop += 20
    sends, pause, _ = remembered(world)
    assert sends == pytest.approx([-28.0, -27.0, -26.0], abs=0.01)
    assert pause == pytest.approx(10.0, abs=0.01)


def test_a_wall_clock_that_was_set_back_costs_one_wait_at_most(tmp_path: Path) -> None:
    """F114: an hour back, across a reboot: no negative wait, and none beyond one window."""
    world = World(tmp_path / "run.db")
    first_run(world)
    world.wall, world.boot, world.loop = world.wall - HOUR, "second", 7.0
    sends, pause, _ = remembered(world)
    assert sends == [0.0, 0.0, 0.0]
    assert pause == pytest.approx(30.0)


def test_a_pause_is_at_most_a_quarter_of_an_hour(tmp_path: Path) -> None:
    world = World(tmp_path / "run.db")
    first_run(world, pause=1e9)
    _, pause, _ = remembered(world)
    assert pause == pytest.approx(900.0, abs=0.01)


def test_a_pause_that_is_over_is_over(tmp_path: Path) -> None:
    world = World(tmp_path / "run.db")
    first_run(world, pause=-5.0)
    _, pause, _ = remembered(world)
    assert pause is not None
    assert pause < 0


def test_a_request_that_left_late_counts_from_then(tmp_path: Path) -> None:
    """Also when so many were let go meanwhile that it was forgotten."""
    world = World(tmp_path / "run.db")

    async def main() -> None:
        async with running(world.path, ports=world.ports()) as ledger:
            numbers = [await ledger.record_send(now() - 20 + n, 3) for n in range(6)]
            ledger.restamp_soon(numbers[0], now() - 1, 3)
            ledger.restamp_soon(numbers[4], now() - 2, 3)
            await ledger.record_send(now() - 0.5, 3)

    run_virtually(main, start=world.loop)
    sends, _, _ = remembered(world)
    assert sends == pytest.approx([-2.0, -1.0, -0.5], abs=0.01)


def test_a_request_that_left_late_counts_once(tmp_path: Path) -> None:
    world = World(tmp_path / "run.db")

    async def main() -> None:
        async with running(world.path, ports=world.ports()) as ledger:
            ledger.restamp_soon(await ledger.record_send(now() - 20, 100), now() - 1, 100)

    run_virtually(main, start=world.loop)
    sends, _, _ = remembered(world)
    assert sends == pytest.approx([-1.0], abs=0.01)


def test_numbers_go_on_in_the_next_run(tmp_path: Path) -> None:
    world = World(tmp_path / "run.db")
    first_run(world, sends=5)

    async def main() -> int:
        async with running(world.path, ports=world.ports()) as ledger:
            return await ledger.record_send(now(), 3)

    assert run_virtually(main, start=world.loop) == 6
    sends, _, _ = remembered(world)
    assert len(sends) == 3


def test_a_rate_that_is_taken_back_is_none(tmp_path: Path) -> None:
    world = World(tmp_path / "run.db")

    async def main() -> None:
        async with running(world.path, ports=world.ports()) as ledger:
            for rate in (12.5, None, float("nan")):
                ledger.record_rate_soon(rate)

    run_virtually(main, start=world.loop)
    assert remembered(world) == ([], None, None)
    with LedgerReader.open(world.path) as reader:
        assert reader.standing().paused_until is None


times = st.floats(0, 1e7)


@given(
    times, times, st.floats(-DAY, DAY), st.floats(-DAY, DAY), st.sampled_from(["", "a", "b"]), times
)
def test_no_clock_gives_a_time_to_come_or_a_negative_wait(
    loop: float,
    elapsed: float,
    shift: float,
    back: float,
    boot: str,
    start: float,
) -> None:
    """Whatever becomes of the clocks between two runs."""
    before = Clock(lambda: 1.7e9, lambda: loop, "a")
    moment = before.moment(loop - abs(back) / 1000)
    after_loop = loop + elapsed if boot == "a" else start
    after = Clock(lambda: 1.7e9 + elapsed + shift, lambda: after_loop, boot)
    read = after.read(moment)
    assert read <= after_loop
    if boot == "a":
        assert read == moment.loop
    elif shift == 0:
        assert after_loop - read == pytest.approx(elapsed + abs(back) / 1000, abs=1e-3)


def test_where_no_boot_has_a_name_the_wall_clock_counts() -> None:
    """Two moments of the loop may be of two boots, and nobody can tell."""
    clock = Clock(lambda: 1.7e9, lambda: 50.0, "")
    assert clock.read(Moment(1.7e9 - 7, 40.0, "")) == 43.0


@pytest.mark.parametrize("shift", [-DAY, 0.0, DAY])
def test_a_time_to_come_counts_as_now(shift: float) -> None:
    """A place in the quota is noted ahead when the disk is slow; a wall clock set on hides none."""
    clock = Clock(lambda: 1.7e9 + shift, lambda: 50.0, "a")
    assert clock.read(Moment(1.7e9 + 10, 60.0, "a")) == 50.0


@given(times, times)
def test_a_moment_is_the_same_on_both_clocks(loop: float, at: float) -> None:
    moment = Clock(lambda: 1.7e9, lambda: loop, "a").moment(at)
    assert moment == Moment(moment.wall, at, "a")
    assert 1.7e9 - moment.wall == pytest.approx(loop - at, abs=1e-3)


async def test_requests_that_left_later_than_they_were_let_go_are_remembered_as_well(
    tmp_path: Path,
) -> None:
    async with running(tmp_path / "run.db") as ledger:
        let_go = now()
        for _ in range(20):
            number = await ledger.record_send(let_go, 20)
            ledger.restamp_soon(number, let_go + 0.5, 20)
        sends, _, _ = await ledger.memory()
    assert len(sends) >= 20


async def sent_and_cut_off(folder: Path) -> tuple[float, Path]:
    """Let a request go, and give when, and the ledger as a kill leaves it."""
    async with running(folder / "run.db") as ledger:
        let_go = now() - 3.0
        await ledger.record_send(let_go, 5)
        return let_go, copy(folder / "run.db", folder / "after", "-wal", "-lock")


async def test_what_a_run_that_was_cut_off_let_go_may_have_left_later(tmp_path: Path) -> None:
    let_go, cut_off = await sent_and_cut_off(tmp_path)

    async with running(cut_off) as ledger:
        await ledger.record_send(let_go + 0.5, 5)
        sends = (await ledger.memory(1.0))[0]
        assert [at - let_go for at in sends] == pytest.approx([0.5, 1.0])
        assert max((await ledger.memory(60.0))[0]) <= now()
    async with running(tmp_path / "run.db") as ledger:
        assert (await ledger.memory(1.0))[0] == pytest.approx([let_go])


async def test_the_run_after_the_next_one_allows_for_that_too(tmp_path: Path) -> None:
    let_go, cut_off = await sent_and_cut_off(tmp_path)
    async with running(cut_off) as ledger:
        await ledger.record_send(let_go + 0.5, 5)

    async with running(cut_off) as ledger:
        sends = (await ledger.memory(1.0))[0]

    assert [at - let_go for at in sends] == pytest.approx([0.5, 1.0])


async def test_a_run_that_could_not_write_all_may_have_lost_when_a_request_left(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    """The next one would send too early by as long as that request took to connect."""
    path = tmp_path / "run.db"
    async with running(path) as ledger:
        let_go = now() - 3.0
        number = await ledger.record_send(let_go, 5)
        broken = Mock(side_effect=sqlite3.OperationalError("broken"))
        monkeypatch.setattr(Book, "commit", broken)
        ledger.restamp_soon(number, let_go + 0.9, 5)
        with pytest.raises(LedgerError):
            await ledger.record_send(now(), 5)
    monkeypatch.undo()

    # It is whole in itself, all the same: nothing is missing that was ever in it.
    with LedgerReader.open(path) as reader:
        assert not reader.standing().in_use
    async with running(copy(path, tmp_path / "elsewhere")) as ledger:
        assert (await ledger.memory(1.0))[0] == pytest.approx([let_go + 1.0])
