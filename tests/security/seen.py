"""
Everything that can be seen of an error, and whether a secret is in it.

Seen is what a log, a terminal, an error tracker or another process is told: texts, attributes,
notes, what the error came from, pickles, and the values of names in the frames of its traceback,
as far as the code in them is not the user's own.
"""

from __future__ import annotations

import copy
import logging
import pickle
import traceback
from collections.abc import Iterable, Iterator
from pathlib import Path
from types import FrameType
from typing import Any

import attrs
from rich.pretty import pretty_repr

__all__ = [
    "Sight",
    "beside_frames",
    "errors_behind",
    "leaks",
    "nothing_shows",
    "seen_of",
    "seen_of_record",
]

_TESTS = Path(__file__).parents[1]
# Their frames are the user's own: what is in them is not ours to hide.
_USERS = ("/_pytest/", "/pluggy/", "/pytest_asyncio/", "/hypothesis/")


@attrs.frozen
class Sight:
    """One text that can be seen, and where."""

    where: str
    text: str


def errors_behind(error: BaseException) -> Iterator[BaseException]:
    """Give *error* and all that hang on it: causes, contexts (suppressed or not), members."""
    seen: set[int] = set()
    waiting: list[object] = [error]
    while waiting:
        one = waiting.pop()
        if not isinstance(one, BaseException) or id(one) in seen:
            continue
        seen.add(id(one))
        yield one
        waiting += [one.__cause__, one.__context__, *getattr(one, "exceptions", ())]
        waiting += [*one.args, *_attributes(one).values()]


def seen_of(error: BaseException) -> Iterator[Sight]:
    """Give all that can be seen of *error* and of what hangs on it."""
    for one in errors_behind(error):
        yield from _faces(one)
        yield from _locals_of(one)
        yield from _copies(one)
    yield Sight("traceback", "".join(traceback.format_exception(error)))


def beside_frames(error: BaseException) -> list[Sight]:
    """Give what is seen of *error* elsewhere: what its caller handed in stands in their frames."""
    return [sight for sight in seen_of(error) if not sight.where.startswith("local ")]


def seen_of_record(record: logging.LogRecord) -> Iterator[Sight]:
    """Give all that a handler is told of by *record*, what was added to it included."""
    where = f"record of {record.name}"
    yield Sight(where, record.getMessage())
    for name, value in vars(record).items():
        if name != "exc_info":
            yield from _shown(f"{where}: {name}", value)
    if record.exc_info and record.exc_info[1] is not None:
        yield from seen_of(record.exc_info[1])


def leaks(sights: Iterable[Sight], secrets: Iterable[str]) -> list[str]:
    """Tell where which of *secrets* can be seen."""
    known = [secret for secret in secrets if secret]
    found = {
        f"{sight.where}: {sight.text[:300]}"
        for sight in sights
        for secret in known
        if secret in sight.text
    }
    return sorted(found)


def nothing_shows(error: BaseException, secrets: Iterable[str]) -> None:
    """Fail if one of *secrets* can be seen of *error*."""
    assert leaks(seen_of(error), secrets) == []


def _faces(error: BaseException) -> Iterator[Sight]:
    where = type(error).__name__
    yield Sight(f"str of {where}", str(error))
    yield Sight(f"format of {where}", f"{error}{error!r}{error!a}")
    for name, value in {**_attributes(error), "args": error.args}.items():
        yield from _shown(f"{where}.{name}", value)


def _attributes(error: BaseException) -> dict[str, Any]:
    """Give what an error holds, wherever its class keeps it, notes included."""
    slots = [
        name
        for kind in type(error).__mro__
        for name in (
            [kind.__dict__["__slots__"]]
            if isinstance(kind.__dict__.get("__slots__"), str)
            else kind.__dict__.get("__slots__", ())
        )
    ]
    held = {name: getattr(error, name, None) for name in slots}
    return {**held, **vars(error)}


def _locals_of(error: BaseException) -> Iterator[Sight]:
    trace = error.__traceback__
    while trace is not None:
        frame = trace.tb_frame
        if not _is_users(frame):
            for name, value in frame.f_locals.items():
                code = frame.f_code
                where = f"local {name} of {code.co_name} ({Path(code.co_filename).name})"
                yield from _shown(where, value)
        trace = trace.tb_next


def _is_users(frame: FrameType) -> bool:
    path = frame.f_code.co_filename
    return Path(path).is_relative_to(_TESTS) or any(part in path for part in _USERS)


def _shown(where: str, value: object) -> Iterator[Sight]:
    """Give what programs make of a value: a repr, or a walk that cuts off what is long."""
    try:
        yield Sight(where, repr(value))
    except Exception:  # noqa: BLE001 - half-made objects have no text
        return
    if not isinstance(value, BaseException):
        yield Sight(f"{where}, as rich shows it", pretty_repr(value, max_string=80, max_depth=6))


def _copies(error: BaseException) -> Iterator[Sight]:
    where = type(error).__name__
    try:
        pickled = pickle.dumps(error)
    except Exception as refusal:  # noqa: BLE001 - foreign errors refuse in any way
        yield Sight(f"refusal to pickle {where}", repr(refusal))
        return
    yield Sight(f"pickle of {where}", pickled.decode("latin-1"))
    for what, twin in ("unpickled", pickle.loads(pickled)), ("copied", copy.copy(error)):  # noqa: S301 - ours
        yield Sight(f"{what} {where}", repr(twin) + str(twin) + repr(_attributes(twin)))
