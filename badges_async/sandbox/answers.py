"""
What the sandbox says, as values: an answer, and the JSON documents that answers carry.

Here: shapes and texts. Not here: which answer a request gets (`routes`), or how it travels, whole
or broken (`line`, `breakage`).
"""

from __future__ import annotations

import json
from collections.abc import Iterable, Mapping
from decimal import Decimal
from json.encoder import encode_basestring as quote
from typing import Any

import attrs

__all__ = [
    "JSON",
    "Answer",
    "Problem",
    "RawAnswer",
    "already_claimed",
    "claim_answer",
    "encode",
    "envelope",
    "quote",
    "refusal",
    "to_wire",
]

JSON = "application/json"

# The fields that the service writes as seconds since 1970 with nine digits of a fraction.
_TIMES = frozenset({"startOn", "expiresOn", "createdOn", "lastUpdatedOn", "startDate", "endDate"})


@attrs.frozen
class Answer:
    """
    One HTTP answer; give one in a fault script to have it sent as it is.

    Attributes:
        headers: Names and values beyond those that every answer has.
        content_type: Empty for none.
        commits: As an item of a script: whether the request takes effect before it is answered.
    """

    status: int = 200
    body: bytes = b""
    headers: tuple[tuple[str, str], ...] = ()
    content_type: str = JSON
    commits: bool = False


@attrs.frozen
class RawAnswer:
    """
    Bytes in the place of an answer, for a fault script: whatever no HTTP server would say.

    Attributes:
        closes: Whether the connection ends after them (FIN).
        commits: Whether the request takes effect before.
    """

    data: bytes
    closes: bool = True
    commits: bool = False


@attrs.frozen
class Problem:
    """One entry of an envelope's errors."""

    code: int
    message: str
    reference: str | None = None

    def to_wire(self) -> str:
        """Write it as JSON."""
        reference = "null" if self.reference is None else quote(self.reference)
        return f'{{"code":{self.code},"message":{quote(self.message)},"reference":{reference}}}'


def to_wire(value: Any) -> str:  # noqa: ANN401  (any JSON value)
    """Write *value* as the service's JSON, times with all their nine digits."""
    if isinstance(value, Mapping):
        pairs = (f"{quote(key)}:{_field_to_wire(key, item)}" for key, item in value.items())
        return f"{{{','.join(pairs)}}}"
    if isinstance(value, list | tuple):
        return f"[{','.join(map(to_wire, value))}]"
    return json.dumps(value, ensure_ascii=False)


def _field_to_wire(key: str, value: Any) -> str:  # noqa: ANN401  (any JSON value)
    if key in _TIMES and isinstance(value, int | float | Decimal):
        # By way of the shortest text: a float's own ninth digit is noise.
        return f"{Decimal(str(value)):.9f}"
    return to_wire(value)


def encode(text: str) -> bytes:
    """
    Encode JSON text.

    A lone surrogate, which no UTF-8 can carry, becomes its JSON escape.
    """
    return text.encode("utf-8", "backslashreplace")


def envelope(data: str) -> Answer:
    """Wrap JSON text as the answer to a read: no errors, no warnings."""
    return Answer(body=encode(f'{{"data":{data},"errors":null,"warnings":null}}'))


def claim_answer(owner_type: str, reference_id: str, *, is_active: bool) -> Answer:
    """Answer a claim or unclaim that took effect."""
    active = "true" if is_active else "false"
    return Answer(
        body=encode(
            f'{{"data":{{"ownerType":{quote(owner_type)},"referenceId":{quote(reference_id)},'
            f'"isActive":{active}}},"errors":null,"warnings":[]}}'
        )
    )


def already_claimed(owner_type: str, reference_id: str) -> Answer:
    """Answer a claim that stands: a 200 with warning 900, its badge id null and no isActive."""
    return Answer(
        body=encode(
            f'{{"data":{{"badgeMetaId":null,"ownerType":{quote(owner_type)},'
            f'"referenceId":{quote(reference_id)}}},"errors":null,'
            '"warnings":[{"code":900,"message":"The badge is claimed by this owner already"}]}'
        )
    )


def refusal(status: int, problems: Iterable[Problem]) -> Answer:
    """Answer no, in the envelope of every documented error."""
    errors = ",".join(problem.to_wire() for problem in problems)
    return Answer(status, encode(f'{{"data":null,"errors":[{errors}],"warnings":null}}'))
