"""The tree of errors: its shape, its facts, and that it travels between processes whole."""

from __future__ import annotations

import copy
import inspect
import pickle
import re
from collections.abc import Iterator
from typing import Any

import pytest

from badges_async import (
    APIError,
    BadgesError,
    ConnectError,
    ConnectionLostError,
    DeadlineError,
    InvalidInputError,
    Notice,
    OutageError,
    RateLimitedError,
    StructureError,
    TransportError,
    UnreadableReplyError,
    errors,
)

CLASSES = [
    value
    for value in vars(errors).values()
    if inspect.isclass(value) and issubclass(value, BadgesError)
]
# Where a class says the same thing as a built-in one, it is one of those too.
BUILT_IN = {
    "InvalidInputError": ValueError,
    "ClientClosedError": RuntimeError,
    "StructureError": ValueError,
    "DeadlineError": TimeoutError,
}


def drawn_tree() -> Iterator[tuple[str, str | None]]:
    """Read name and parent of each class from the tree in the module's docstring."""
    above: list[str] = []
    text = inspect.getdoc(errors) or ""
    for line in text.split("```")[1].splitlines()[1:]:
        drawn = re.fullmatch(r"((?:│   |    )*)(?:├── |└── )?(\w+)(?: \(also (\w+)\))?", line)
        assert drawn, line
        name, also = drawn[2], drawn[3]
        depth = 0 if line == name else len(drawn[1]) // 4 + 1
        above[depth:] = [name]
        assert BUILT_IN.get(name, type(None)).__name__ == (also or "NoneType")
        yield name, above[depth - 1] if depth else None


def test_the_tree_is_as_drawn() -> None:
    drawn = dict(drawn_tree())

    assert drawn.keys() == {cls.__name__ for cls in CLASSES}
    for cls in CLASSES:
        parent = drawn[cls.__name__]
        assert cls.__bases__[0].__name__ == (parent or "Exception")
        built_in = BUILT_IN.get(cls.__name__)
        assert cls.__bases__[1:] == (() if built_in is None else (built_in,))


@pytest.mark.parametrize("cls", CLASSES)
def test_every_class_says_what_it_means(cls: type[BadgesError]) -> None:
    assert inspect.getdoc(cls)
    assert cls.__name__.endswith("Error")


NOTICES = (Notice(717, "OwnerId is mandatory", "referenceId"), Notice(None, "and more"))
FULL = [
    *(cls("what happened") for cls in CLASSES),
    BadgesError("a", maybe_applied=True, attempts=3),
    StructureError("a", problems=("expected a string @ $.name", "b")),
    ConnectError("a", attempts=2, certificate_refused=True),
    ConnectionLostError("a", maybe_applied=False, attempts=4, stale=True),
    DeadlineError("a", maybe_applied=True, attempts=1, retry_after=7.5),
    UnreadableReplyError("a", status=502, request_id="7f", body="<html>", attempts=2),
    APIError("a", status=400, errors=NOTICES, warnings=NOTICES[1:], request_id="7f", attempts=1),
    RateLimitedError("a", errors=NOTICES, retry_after=7.0, attempts=2, maybe_applied=True),
]


@pytest.mark.parametrize("error", FULL, ids=repr)
@pytest.mark.parametrize("protocol", range(2, pickle.HIGHEST_PROTOCOL + 1))
def test_an_error_survives_pickling_with_all_its_facts(error: BadgesError, protocol: int) -> None:
    twin = pickle.loads(pickle.dumps(error, protocol))  # noqa: S301 - our own

    assert type(twin) is type(error)
    assert (twin.args, str(twin)) == (error.args, str(error))
    assert vars(twin) == vars(error)


@pytest.mark.parametrize("error", FULL, ids=repr)
def test_an_error_can_be_copied(error: BadgesError) -> None:
    assert vars(copy.copy(error)) == vars(error) == vars(copy.deepcopy(error))


@pytest.mark.parametrize("error", FULL, ids=repr)
def test_an_error_reads_as_its_message(error: BadgesError) -> None:
    assert str(error) == error.args[0]
    assert repr(error) == f"{type(error).__name__}({error.args[0]!r})"


@pytest.mark.parametrize("cls", CLASSES)
def test_every_error_has_the_facts_of_the_root(cls: type[BadgesError]) -> None:
    error = cls("a")

    assert error.attempts == 0
    # Unless it is known better, what broke off after sending may have been applied.
    expected = cls in {ConnectionLostError, UnreadableReplyError}
    assert error.maybe_applied is expected


@pytest.mark.parametrize("cls", CLASSES)
def test_every_fact_that_is_given_is_kept(cls: type[BadgesError]) -> None:
    given: dict[str, Any] = {
        "maybe_applied": True,
        "attempts": 3,
        "certificate_refused": True,
        "stale": True,
        "retry_after": 7.5,
        "status": 418,
        "request_id": "7f",
        "body": "<html>",
        "errors": NOTICES,
        "warnings": NOTICES[1:],
        "problems": ("a", "b"),
    }
    names = inspect.signature(cls).parameters.keys() - {"message"}
    facts = {name: given[name] for name in names}

    error = cls("a", **facts)

    assert facts.items() <= vars(error).items()


def test_the_first_error_of_an_answer_is_at_hand() -> None:
    error = APIError("HTTP 400: OwnerId is mandatory (code 717)", status=400, errors=NOTICES)

    assert (error.code, error.message, error.reference) == (
        717,
        "OwnerId is mandatory",
        "referenceId",
    )


def test_without_an_error_in_the_answer_the_message_is_ours() -> None:
    error = APIError("HTTP 401: the service refused the request", status=401)

    assert (error.code, error.reference, error.errors) == (None, None, ())
    assert error.message == str(error)


def test_callers_may_catch_what_they_know() -> None:
    """Code that knows only Python's own exceptions still does the right thing."""
    for raised, caught in [
        (InvalidInputError("a"), ValueError),
        (StructureError("a"), ValueError),
        (errors.ClientClosedError("a"), RuntimeError),
        (DeadlineError("a"), TimeoutError),
        (DeadlineError("a"), TransportError),
        (OutageError("a"), BadgesError),
    ]:
        with pytest.raises(caught):
            raise raised
