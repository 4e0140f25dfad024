"""
The text of JSON, read strictly: a document, or nothing.

Here: from bytes to Python's own lists, objects and scalars, and back. Not here: what they mean.

Strictly: UTF-8 (a byte order mark is forgiven), no NaN or Infinity, nothing behind the document,
and no name twice in an object where it decides what an answer means: of two, some readers take the
first and some the last.
"""

from __future__ import annotations

import json
from typing import NoReturn

try:
    import orjson
except ImportError:  # pragma: no cover - where the extra `fast` is not installed
    orjson = None  # type: ignore[assignment]

__all__ = ["parse", "parse_quickly", "write"]


def parse(text: bytes) -> object:
    """Give the document that *text* is, or None when it is none."""
    try:
        characters = text.decode().removeprefix("\ufeff").strip(_BLANKS)
        document, end = _DECODE(characters)
    except (ValueError, RecursionError):  # bad UTF-8, bad JSON, deep nesting, endless digits
        return None
    return document if end == len(characters) else None


def parse_quickly(text: bytes) -> object:
    """
    Give the document that *text* is, or None when it is none; by orjson where that is installed.

    The same as `parse`, but an integer beyond 64 bits may come as a float.
    """
    if orjson is None:
        return parse(text)
    try:
        document = orjson.loads(text)
    except ValueError:  # of what orjson refuses, `parse` takes a little
        return parse(text)
    # Of a name that comes twice orjson tells nothing, but each has its colon. More of them than
    # names at the top and right below it are looked at closely: mostly they are of a text.
    return document if text.count(b":") == _names_near_the_top(document) else parse(text)


def write(document: object) -> bytes:
    """Give the text of *document*, without blanks; its integers fit 64 bits."""
    if orjson is None:
        return json.dumps(document, ensure_ascii=False, separators=(",", ":")).encode()
    return orjson.dumps(document)


def _refuse_constant(name: str) -> NoReturn:
    raise ValueError(f"{name} is not JSON")


def _names_near_the_top(document: object) -> int:
    if not isinstance(document, dict):
        return 0
    count = len(document)
    for value in document.values():
        if isinstance(value, dict):
            count += len(value)
    return count


def _object(pairs: list[tuple[str, object]]) -> dict[str, object]:
    """Make an object, in which a name that decides nothing may come twice: the last one counts."""
    made = dict(pairs)
    if len(made) < len(pairs):
        decisive = [name for name, _ in pairs if name in _DECISIVE]
        if len(set(decisive)) < len(decisive):
            raise ValueError("a name comes twice")
    return made


_DECISIVE = frozenset(
    {
        *("data", "errors", "warnings", "code", "errorCode", "errorMessage"),
        *("badgeMetaId", "ownerType", "referenceId", "isActive"),
    }
)
# Half of what JSONDecoder.decode() costs for a small document is its search for blanks around it.
_DECODE = json.JSONDecoder(parse_constant=_refuse_constant, object_pairs_hook=_object).raw_decode
_BLANKS = " \t\n\r"
