"""
What a fuzzer seldom finds: tokens, messages and files that are drawn by their structure.

Here: only what no other test draws; answers to an operation are in `tests/test_operations.py`,
files in `tests/cli/test_files_properties.py`, bytes on both lanes in
`tests/client/test_lanes_alike.py`.
"""

from __future__ import annotations

import csv
import io
import json
from typing import Any

import pytest
from hypothesis import given, settings
from hypothesis import strategies as st

from badges_async import OwnerType
from badges_async.cli.csv_rows import read_csv, read_header
from badges_async.cli.exits import UsageError
from badges_async.cli.jsonl_rows import read_jsonl
from badges_async.cli.lines import Lines
from badges_async.cli.rows import BadRow, Row
from badges_async.worker import ClaimEvent
from badges_async.worker.entries import read_event
from tests.fuzz import answers, inputs

# All that JSON can say, lone halves of a pair, numbers of any size, and what is no JSON elsewhere.
SCALARS = (
    st.none()
    | st.booleans()
    | st.integers()
    | st.floats()
    | st.text(st.characters(), max_size=8)
    | st.sampled_from(["\ud800", "\udfff\ud800", 10**400, -(10**4000), 1e308, "a\0b", 2**64, ""])
)
VALUES = st.recursive(
    SCALARS,
    lambda part: (
        st.lists(part, max_size=2) | st.dictionaries(st.text(max_size=3), part, max_size=2)
    ),
    max_leaves=4,
)
IDS = st.text(st.characters(exclude_categories=["Cc", "Cs"]), min_size=1, max_size=20).filter(
    lambda text: not text.isspace()
)
TRIPLES = st.tuples(IDS, st.sampled_from(OwnerType), IDS)
NAMES = ("badgeId", "ownerType", "referenceId")


def as_json(document: object, *, ascii_only: bool) -> bytes:
    return json.dumps(document, ensure_ascii=ascii_only).encode(errors="surrogatepass")


@settings(max_examples=50, deadline=None)
@given(
    status=st.integers(100, 599) | st.just(200),
    token=st.text(st.characters(max_codepoint=127), min_size=8) | VALUES,
    lifetime=st.integers() | st.floats() | VALUES,
    errors=st.none() | st.lists(VALUES, max_size=2),
    ascii_only=st.booleans(),
)
def test_any_answer_of_the_token_endpoint_is_a_token_or_an_error_without_it(
    status: int, token: object, lifetime: object, errors: object, *, ascii_only: bool
) -> None:
    document = {"data": {"accessToken": token, "ttlSeconds": lifetime}, "errors": errors}
    answers.target(f"{status}\n\n".encode() + as_json(document, ascii_only=ascii_only))


KEYS = st.sampled_from([*NAMES, "v", "id", "quota", "enqueuedAt", "trace", "d", "other"])
CLAIM = {"badgeId": "b", "ownerType": "Loyalty", "referenceId": "7"}


@settings(max_examples=50, deadline=None)
@given(changes=st.dictionaries(KEYS, VALUES, max_size=4), ascii_only=st.booleans())
def test_any_message_of_known_keys_is_an_event_or_a_dead_letter(
    changes: dict[str, Any], *, ascii_only: bool
) -> None:
    inputs.target(b"e" + as_json({**CLAIM, **changes}, ascii_only=ascii_only))


@settings(max_examples=50, deadline=None)
@given(
    fields=st.lists(st.tuples(KEYS.map(str.encode) | st.binary(max_size=4), st.binary(max_size=8)))
)
def test_any_entry_of_a_stream_is_an_event_or_a_dead_letter(
    fields: list[tuple[bytes, bytes]],
) -> None:
    plain = [word.encode() for pair in CLAIM.items() for word in pair]
    for words in ([], plain):
        all_of_it = [*words, *(word for pair in fields for word in pair)]
        inputs.check_fields(all_of_it)


@settings(max_examples=50, deadline=None)
@given(row=TRIPLES)
def test_a_claim_in_fields_is_the_claim_that_was_written(row: tuple[str, OwnerType, str]) -> None:
    fields = [word.encode() for pair in zip(NAMES, row, strict=True) for word in pair]
    event = read_event(fields)
    assert isinstance(event, ClaimEvent)
    assert (event.badge_id, event.owner_type, event.reference_id) == row


@settings(max_examples=50, deadline=None)
@given(rows=st.lists(st.fixed_dictionaries({}, optional=dict.fromkeys(NAMES, VALUES)), max_size=4))
def test_any_json_in_a_row_is_a_bad_row_or_the_very_claim(rows: list[dict[str, Any]]) -> None:
    lines = [as_json({**CLAIM, **row}, ascii_only=True) for row in rows]
    inputs.target(b"j" + b"\n".join(lines))
    found = list(read_jsonl(Lines(io.BytesIO(b"\n".join(lines)))))
    assert [row.line for row in found] == list(range(1, len(rows) + 1))


def as_csv(rows: list[tuple[str, OwnerType, str]]) -> str:
    file = io.StringIO()
    writer = csv.writer(file, quoting=csv.QUOTE_ALL, lineterminator="\n")
    writer.writerow(["badge_id", "owner_type", "reference_id"])
    writer.writerows((badge, str(owner), reference) for badge, owner, reference in rows)
    return file.getvalue()


def read(data: bytes) -> list[Row | BadRow]:
    lines = Lines(io.BytesIO(data))
    return list(read_csv(lines, read_header(lines)))


@pytest.mark.parametrize("encoding", ["utf-8", "utf-8-sig"])
@settings(max_examples=50, deadline=None)
@given(rows=st.lists(TRIPLES, max_size=4))
def test_every_claim_of_a_file_in_utf8_is_read_as_it_was_written(
    encoding: str, rows: list[tuple[str, OwnerType, str]]
) -> None:
    assert read(as_csv(rows).encode(encoding)) == [
        Row(*row, line) for line, row in enumerate(rows, 2)
    ]


@pytest.mark.parametrize("encoding", ["utf-16", "utf-16-le", "utf-16-be", "utf-32", "utf-32-le"])
@settings(max_examples=30, deadline=None)
@given(rows=st.lists(TRIPLES, max_size=4))
def test_a_file_of_wide_characters_is_refused_as_a_whole(
    encoding: str, rows: list[tuple[str, OwnerType, str]]
) -> None:
    with pytest.raises(UsageError, match="UTF-16"):
        read(as_csv(rows).encode(encoding))


@pytest.mark.parametrize("encoding", ["latin-1", "cp1252", "cp1250", "iso8859-15"])
@settings(max_examples=30, deadline=None)
@given(rows=st.lists(TRIPLES, min_size=2, max_size=4), place=st.integers(0, 1))
def test_a_letter_of_an_old_encoding_costs_its_own_row(
    encoding: str, rows: list[tuple[str, OwnerType, str]], place: int
) -> None:
    """No id is guessed: of the rows beside it, all are read as they were written."""
    badge, owner, reference = rows[place]
    text = [line.encode() for line in as_csv(rows).split("\n")]
    text[place + 1] = as_csv([(badge, owner, reference + "\ue000")]).split("\n")[1].encode()
    text[place + 1] = text[place + 1].replace("\ue000".encode(), "\u00e4".encode(encoding))
    found = read(b"\n".join(text))
    assert [isinstance(row, BadRow) for row in found] == [n == place for n in range(len(rows))]
    assert found[place].line == place + 2
