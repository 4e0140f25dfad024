"""Every fault of the catalogue is shown by a test or is listed with a reason."""

from __future__ import annotations

import ast
import re
from collections.abc import Iterator
from pathlib import Path

from tests.catalogue.listed import LISTED

_TESTS = Path(__file__).parent.parent
_NUMBERS = frozenset(f"F{number:03d}" for number in range(1, 140))
_LABEL = re.compile(r"((?:F\d{3}(?:, )?)+): ")


def _docstrings() -> Iterator[str]:
    for file in _TESTS.rglob("test_*.py"):
        for node in ast.walk(ast.parse(file.read_bytes())):
            match node:
                case ast.FunctionDef(name=name) | ast.AsyncFunctionDef(name=name):
                    if name.startswith("test_"):
                        yield ast.get_docstring(node) or ""


def _shown() -> set[str]:
    labels = (_LABEL.match(text) for text in _docstrings())
    return {number for label in labels if label for number in re.findall(r"F\d{3}", label[1])}


def test_every_number_is_shown_or_listed() -> None:
    assert sorted(_NUMBERS - _shown() - set(LISTED)) == []


def test_there_are_no_other_numbers() -> None:
    assert sorted((_shown() | set(LISTED)) - _NUMBERS) == []


def test_a_listed_number_has_a_reason_of_its_own() -> None:
    assert all(len(reason) > 30 for reason in LISTED.values())
    assert len(set(LISTED.values())) == len(LISTED)
