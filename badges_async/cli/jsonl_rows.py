"""Claims as JSON lines: an object a line, its ids as strings."""

from __future__ import annotations

import json
from collections.abc import Iterator
from typing import Any, NoReturn

from badges_async.cli.lines import Line, Lines
from badges_async.cli.rows import FIELDS, BadRow, Row, field_of, make_row

__all__ = ["read_jsonl"]


def read_jsonl(lines: Lines) -> Iterator[Row | BadRow]:
    """Yield the rows; blank lines are none."""
    for line in lines:
        if line.fault:
            yield BadRow(line.number, line.fault)
        elif line.text.strip():  # a byte order mark alone is no row either
            yield _jsonl_row(line)


def _jsonl_row(line: Line) -> Row | BadRow:
    try:
        values = _fields_of(json.loads(line.text, object_pairs_hook=_Pairs, parse_constant=_refuse))
    except _UnusableError as error:
        return BadRow(line.number, str(error))
    except json.JSONDecodeError as error:
        return BadRow(line.number, f"no JSON: {error.msg} at character {error.pos + 1}")
    except RecursionError:
        return BadRow(line.number, "JSON nested too deeply")
    except ValueError:  # a number of more digits than Python reads
        return BadRow(line.number, "JSON with a number that is too long")
    return make_row(line.number, *(values[field] for field in FIELDS))


class _UnusableError(Exception):
    """A line of JSON that is no claim; the message says why."""


class _Pairs(list[tuple[str, Any]]):
    """A JSON object as it stands, keys that come twice included; no JSON array is one."""


def _refuse(constant: str) -> NoReturn:
    raise _UnusableError(f"no JSON: {constant}")


def _fields_of(value: object) -> dict[str, Any]:
    if not isinstance(value, _Pairs):
        raise _UnusableError("no JSON object")
    found: dict[str, Any] = {}
    for key, item in value:
        field = field_of(key)
        if field in found:
            raise _UnusableError(f"{field} is given more than once")
        if field:
            found[field] = item
    if missing := [field for field in FIELDS if field not in found]:
        raise _UnusableError(f"{' and '.join(missing)} missing")
    return found
