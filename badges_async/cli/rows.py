"""
A row of a file: a claim with its line number, or a bad row with the reason.

Here: what both formats share. A row is good when it makes a `ClaimRequest`; its texts stay byte for
byte as the file has them. A bad row is data, not an exception: nothing is sent for it and the rest
goes on.
"""

from __future__ import annotations

from typing import Any

import attrs

from badges_async import ClaimRequest, InvalidInputError, OwnerType

__all__ = ["FIELDS", "BadRow", "Row", "field_of", "make_row"]

FIELDS = ("badge_id", "owner_type", "reference_id")
# The API's own documents spell the badge's id in three ways.
_NAMES = {
    "badgeid": "badge_id",
    "badgemetaid": "badge_id",
    "ownertype": "owner_type",
    "referenceid": "reference_id",
}


@attrs.frozen
class Row(ClaimRequest):
    """A claim to make, and the line of the file where it begins."""

    line: int


@attrs.frozen
class BadRow:
    """A row that no claim can be made of, the line where it begins, and why."""

    line: int
    reason: str


def field_of(column: str) -> str | None:
    """Give the one of `FIELDS` that the name of a column or a key means, however spelt."""
    return _NAMES.get(column.strip().replace("_", "").lower())


def make_row(line: int, badge_id: Any, owner_type: Any, reference_id: Any) -> Row | BadRow:  # noqa: ANN401 - whatever JSON held
    """Make a good row of the three values if they allow it."""
    try:
        return Row(badge_id, owner_type, reference_id, line)
    except InvalidInputError as error:
        return BadRow(line, _reason(owner_type, error))


def _reason(owner_type: Any, error: InvalidInputError) -> str:  # noqa: ANN401 - whatever JSON held
    # The library's message begins with all ten owner types; in a list of rows that is noise.
    if isinstance(owner_type, str) and not _is_owner_type(owner_type):
        return f"there is no owner type {owner_type[:80]!r}"
    return str(error)


def _is_owner_type(name: str) -> bool:
    try:
        OwnerType(name)
    except ValueError:
        return False
    return True
