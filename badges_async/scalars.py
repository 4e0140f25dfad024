"""
The single values of a JSON document: what each may be, and how a wrong one is told.

Here: texts, numbers, words and times, and the error that gathers faults with their paths. Not here:
lists, objects and models (`converter`).
"""

from __future__ import annotations

from collections.abc import Callable
from datetime import UTC, datetime, timedelta
from decimal import ROUND_HALF_EVEN, Context, Decimal, InvalidOperation
from enum import Enum
from functools import reduce
from operator import or_
from types import NoneType, UnionType
from typing import Any, TypeAlias, get_args

from badges_async.errors import InvalidInputError

__all__ = [
    "JSON",
    "Kind",
    "MismatchError",
    "Reader",
    "exact_reader",
    "is_union",
    "mismatch",
    "read_time",
    "union_reader",
    "without_none",
    "words_of",
    "write_time",
    "write_word",
]

JSON: TypeAlias = Any
Kind: TypeAlias = Any  # a class, a union or a generic: no one type covers them
Reader: TypeAlias = Callable[[JSON, Kind], Any]

_NAMES = {
    NoneType: "null",
    bool: "a boolean",
    int: "an integer",
    float: "a decimal number",
    Decimal: "a decimal number",
    str: "a string",
    list: "a list",
    dict: "an object",
}


class MismatchError(Exception):
    """
    A part of a document has the wrong shape; it never leaves `converter`.

    Attributes:
        faults: For each, the path below the part, and what is wrong there.
    """

    def __init__(self, faults: list[tuple[str, str]]) -> None:
        super().__init__(faults)
        self.faults = faults

    def below(self, step: str) -> list[tuple[str, str]]:
        """Give the faults as the document around the part sees them, *step* above it."""
        return [(step + path, what) for path, what in self.faults]


def mismatch(expected: str, raw: JSON) -> MismatchError:
    """Say that *raw* is not what was *expected*; of *raw* only its type is told."""
    got = _NAMES.get(type(raw), type(raw).__name__)
    return MismatchError([("", f"expected {expected}, got {got}")])


def exact_reader(*kinds: type) -> Reader:
    """Read exactly *kinds*: to Python a boolean is an integer, to JSON it is not."""
    expected = " or ".join(_NAMES[kind] for kind in kinds)

    def read_exact(raw: JSON, _: Kind) -> Any:  # noqa: ANN401 - one of *kinds*
        if type(raw) in kinds:
            return raw
        raise mismatch(expected, raw)

    return read_exact


def words_of(kind: Kind) -> dict[str, Enum] | None:
    """
    Give the members of the enum in an `Enum | str`, by their words on the wire; else None.

    A table, because a call of the enum may be lenient (`OwnerType` is, about case), and what it
    found would not go back as it came.
    """
    for part in get_args(kind):
        if isinstance(part, type) and issubclass(part, Enum):
            return {member.value: member for member in part}
    return None


def is_union(kind: Kind) -> bool:
    """Whether *kind* is written as `X | Y`."""
    return isinstance(kind, UnionType)


def without_none(kind: Kind) -> Kind:
    """Give the `X` of an `X | None`, and any other kind as it is."""
    if not is_union(kind):
        return kind
    return reduce(or_, (part for part in get_args(kind) if part is not NoneType))


def union_reader(kind: Kind) -> Reader:
    """Read the unions that the models use: `X | None`, `Enum | str` and `int | str`."""
    bare, words = without_none(kind), words_of(kind)
    read = _word_reader(words) if words else exact_reader(*(get_args(bare) or (bare,)))
    if NoneType not in get_args(kind):
        return read
    return lambda raw, _: None if raw is None else read(raw, bare)


def _word_reader(words: dict[str, Enum]) -> Reader:
    """Read a word as its member; one that has none stays a plain string."""
    read_text = exact_reader(str)
    return lambda raw, _: words.get(read_text(raw, str), raw)


def write_word(value: object) -> object:
    """Give a member of an enum as its plain word, and anything else as it is."""
    return value.value if isinstance(value, Enum) else value


_EPOCH = datetime(1970, 1, 1, tzinfo=UTC)
_FIRST = datetime.min.replace(tzinfo=UTC)
_LAST = datetime.max.replace(tzinfo=UTC)
# Our own context: the caller's may keep fewer digits, or trap what is harmless here.
_DECIMALS = Context(prec=40, rounding=ROUND_HALF_EVEN)


def read_time(raw: JSON, _: Kind = datetime) -> datetime:
    """
    Read a number of seconds since 1970, to the nearest microsecond.

    Beyond the range of `datetime` (the service echoes milliseconds as seconds, and then says the
    year 57906) it is the nearer end of the range.
    """
    if type(raw) is float or type(raw) is int:
        try:
            return datetime.fromtimestamp(raw, UTC)
        except (ValueError, OverflowError, OSError):
            pass  # out of the calendar, or only out of the platform's: `timedelta` asks no platform
    elif type(raw) is not Decimal:
        raise mismatch("a number of seconds", raw)
    try:
        return _EPOCH + _since_epoch(raw)
    except OverflowError:
        return _LAST if raw > 0 else _FIRST
    except (ValueError, InvalidOperation):
        raise MismatchError([("", "expected a number of seconds, got NaN")]) from None


def _since_epoch(raw: Decimal | float) -> timedelta:
    if not isinstance(raw, Decimal):
        return timedelta(seconds=raw)
    # Before any arithmetic: Decimal("1E+999999") is short to write and long to add up.
    if raw.copy_abs() > timedelta.max.days * 86400:
        raise OverflowError
    microseconds = _DECIMALS.scaleb(_DECIMALS.quantize(raw, Decimal("1e-6")), 6)
    return timedelta(microseconds=int(microseconds))


def write_time(value: datetime) -> float:
    """
    Give the seconds since 1970 of *value*: an integer where there is no fraction.

    Raises:
        InvalidInputError: *value* has no time zone.
    """
    if value.utcoffset() is None:
        raise InvalidInputError(f"a time needs a time zone: {value.isoformat()}")
    since = value - _EPOCH
    seconds = since.total_seconds()
    return seconds if since.microseconds else int(seconds)
