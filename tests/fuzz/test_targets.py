"""The targets of the campaigns, on what they begin with, on what they found, and on a few more."""

from __future__ import annotations

from collections.abc import Callable
from contextlib import nullcontext
from importlib import import_module
from pathlib import Path
from types import SimpleNamespace
from typing import Any

import pytest
from hypothesis import example, given, settings
from hypothesis import strategies as st

from tests.fuzz import answers, campaign, inputs, wire
from tests.fuzz.finds import FINDS, Find
from tests.fuzz.targets import NAMES, Target


@pytest.mark.parametrize("name", NAMES)
def test_every_seed_keeps_the_promises(name: str) -> None:
    target = Target.of(name)
    seeds = list(target.seeds())
    assert len(seeds) > 10
    for seed in seeds:
        target.run(seed)


@pytest.mark.parametrize("find", FINDS, ids=lambda find: find.what.replace(" ", "-"))
def test_what_was_found_stays_mended(find: Find) -> None:
    Target.of(find.target).run(find.data)


@settings(deadline=None)
@given(data=st.binary(max_size=200) | st.sampled_from([*answers.seeds()]))
def test_any_bytes_are_a_good_answer_or_an_error_of_ours(data: bytes) -> None:
    answers.target(data)


@settings(deadline=None)
@given(kind=st.sampled_from([b"c", b"j", b"e", b"f"]), data=st.binary(max_size=200))
def test_any_bytes_are_input_good_or_bad(kind: bytes, data: bytes) -> None:
    inputs.target(kind + data)


@settings(deadline=None)
@given(
    how=st.binary(min_size=2, max_size=2),
    head=st.sampled_from([b"", b"HTTP/1.1 200 OK\r\n", b"HTTP/1.1 200 OK\r\n\r\n"]),
    said=st.binary(max_size=200),
)
@example(how=b"\0\0", head=b"", said=b"")
def test_any_bytes_on_the_wire_are_an_answer_or_an_error_of_ours(
    how: bytes, head: bytes, said: bytes
) -> None:
    wire.target(how + head + said)


@st.composite
def changed(draw: st.DrawFn, seeds: list[bytes]) -> bytes:
    """Draw a seed of which a few bytes are other ones."""
    data = bytearray(draw(st.sampled_from(seeds)))
    for place in draw(st.lists(st.integers(0, len(data)), max_size=4)):
        size = draw(st.integers(0, 8))
        data[place : place + size] = draw(st.binary(max_size=8))
    return bytes(data)


@pytest.mark.parametrize("name", NAMES)
def test_a_seed_that_is_changed_keeps_the_promises(name: str) -> None:
    target = Target.of(name)

    @settings(deadline=None, max_examples=80)
    @given(data=changed([seed for seed in target.seeds() if len(seed) < 1000]))
    def check(data: bytes) -> None:
        target.run(data)

    check()


# The campaign, without atheris.


class FakeAtheris(SimpleNamespace):
    """Runs the target on bytes of the test's."""

    def __init__(self, *datas: bytes) -> None:
        super().__init__(datas=datas, arguments=[])

    def instrument_imports(self, *, include: list[str]) -> nullcontext[None]:
        assert include == ["badges_async"]
        return nullcontext()

    def Setup(self, arguments: list[str], run: Callable[[bytes], None]) -> None:  # noqa: N802
        self.arguments, self.run = arguments, run

    def Fuzz(self) -> None:  # noqa: N802
        for data in self.datas:
            self.run(data)


def test_a_campaign_goes_on_after_a_find_and_keeps_one_of_a_kind(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch, capsys: pytest.CaptureFixture[str]
) -> None:
    def run(data: bytes) -> None:
        if data in {b"one", b"same"}:
            raise ValueError
        if data == b"other":
            raise TypeError

    fake = FakeAtheris(b"fine", b"one", b"same", b"fine", b"other")
    monkeypatch.setitem(import_module("sys").modules, "atheris", fake)
    target: Any = SimpleNamespace(run=run, seeds=lambda: [b"a", b"b"], words=[b'"\n'])
    monkeypatch.setattr(campaign, "Target", SimpleNamespace(of=lambda _: target))

    campaign.main("answers", tmp_path, ["-runs=5"])

    assert {file.read_bytes() for file in tmp_path.glob("find-*")} == {b"one", b"other"}
    assert sorted(file.read_bytes() for file in (tmp_path / "corpus").iterdir()) == [b"a", b"b"]
    assert (tmp_path / "words").read_text("ascii") == '"\\x22\\x0a"\n'
    assert {"-runs=5", f"-dict={tmp_path / 'words'}"} <= set(fake.arguments)
    assert capsys.readouterr().err.count("Traceback") == 2


def test_a_campaign_without_atheris_says_what_to_install(
    monkeypatch: pytest.MonkeyPatch, capsys: pytest.CaptureFixture[str]
) -> None:
    command = import_module("tests.fuzz.__main__")
    monkeypatch.setattr(command, "find_spec", lambda _: None)
    assert command.main(["wire"]) == 2
    assert "pip install atheris" in capsys.readouterr().err


@pytest.mark.parametrize(("ended", "finds", "code"), [(0, 0, 0), (0, 1, 1), (70, 0, 1)])
def test_a_campaign_ends_with_1_when_something_was_found(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch, ended: int, finds: int, code: int
) -> None:
    command = import_module("tests.fuzz.__main__")
    for number in range(finds):
        (tmp_path / f"find-{number}").write_bytes(b"")
    monkeypatch.setattr(command, "find_spec", lambda _: object())
    asked: list[list[str]] = []

    def run(arguments: list[str], *, check: bool) -> SimpleNamespace:
        assert not check
        asked.append(arguments)
        return SimpleNamespace(returncode=ended)

    monkeypatch.setattr(command, "subprocess", SimpleNamespace(run=run))
    assert command.main(["wire", "--minutes", "2", "--folder", str(tmp_path)]) == code
    [arguments] = asked
    assert arguments[2:5] == ["tests.fuzz.campaign", "wire", str(tmp_path)]
    assert "-max_total_time=120" in arguments
