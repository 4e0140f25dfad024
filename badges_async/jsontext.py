"""
The text of JSON, read strictly: a document, or nothing.

Here: from bytes to Python's own lists, objects and scalars, and back. Not here: what they mean.

Strictly: UTF-8 (a byte order mark is forgiven), no NaN or Infinity, nothing behind the document.
"""

from __future__ import annotations

import json
from typing import NoReturn

try:
    import orjson
except ImportError:  # it comes with the extra `fast`
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
        return orjson.loads(text)
    except ValueError:  # of what orjson refuses, `parse` takes a little
        return parse(text)


def write(document: object) -> bytes:
    """Give the text of *document*, without blanks; its integers fit 64 bits."""
    if orjson is None:
        return json.dumps(document, ensure_ascii=False, separators=(",", ":")).encode()
    return orjson.dumps(document)


def _refuse_constant(name: str) -> NoReturn:
    raise ValueError(f"{name} is not JSON")


# Half of what JSONDecoder.decode() costs for a small document is its search for blanks around it.
_DECODE = json.JSONDecoder(parse_constant=_refuse_constant).raw_decode
_BLANKS = " \t\n\r"
