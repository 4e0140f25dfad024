"""What a spreadsheet would calculate: harmless in an export, and byte for byte when it is read."""

from __future__ import annotations

import contextlib
import csv
import io
import tempfile
from collections.abc import Iterator, Sequence
from pathlib import Path
from typing import Any

import pytest
from hypothesis import given
from hypothesis import strategies as st

from badges_async import (
    BadgeNotFoundError,
    ClaimOutcome,
    ClaimRequest,
    ClaimStatus,
    LedgerEntry,
    Notice,
    OwnerType,
)
from badges_async.cli.csv_rows import read_csv, read_header
from badges_async.cli.escapes import escape, unescape
from badges_async.cli.exits import UsageError
from badges_async.cli.export import export
from badges_async.cli.lines import Lines
from badges_async.cli.rows import BadRow, Row

DANGEROUS = "=+-@\t\r\n\uff1d\uff0b\uff0d\uff20"
HEADER = "badge_id,owner_type,reference_id,escaped\n"

# Ids of the worst kind: formulas, apostrophes, separators, quotes.
ids = st.one_of(
    st.text(st.sampled_from("=+-@'\",; 07\uff1d\uff20a"), min_size=1, max_size=8),
    st.text(st.characters(exclude_categories=["Cc", "Cs"]), min_size=1, max_size=20),
).filter(lambda text: not text.isspace())  # fmt: skip
requests = st.builds(ClaimRequest, ids, st.sampled_from(OwnerType), ids)
messages = st.text(st.characters(exclude_categories=["Cs", "Cc"]), max_size=20)


def entry_of(request: ClaimRequest, message: str | None) -> LedgerEntry:
    if message is None:
        return LedgerEntry(request, None, in_doubt=False, updated_at=None)
    error = BadgeNotFoundError("gone", status=404, errors=(Notice(404, message),))
    return LedgerEntry(
        request,
        ClaimOutcome(request, ClaimStatus.REJECTED, error=error),
        in_doubt=False,
        updated_at=1.0,
    )


class Reader:
    """Stands in for a ledger."""

    def __init__(self, entries: Sequence[LedgerEntry]) -> None:
        self._entries = entries

    def entries(self, _: object) -> Iterator[LedgerEntry]:
        return iter(self._entries)


def exported(entries: Sequence[LedgerEntry]) -> bytes:
    with tempfile.TemporaryDirectory() as folder:
        path = Path(folder) / "x.csv"
        reader: Any = Reader(entries)
        assert export(reader, str(path), {"rejected", "pending"}) == len(entries)
        return path.read_bytes()


def read(data: bytes) -> list[Row | BadRow]:
    lines = Lines(io.BytesIO(data))
    return list(read_csv(lines, read_header(lines)))


def as_saved_by_a_spreadsheet(data: bytes, delimiter: str) -> bytes:
    """Give the same cells as another program writes them."""
    file = io.StringIO()
    rows = csv.reader(io.StringIO(data.decode(), newline=""))
    csv.writer(file, delimiter=delimiter, lineterminator="\r\n").writerows(rows)
    return b"\xef\xbb\xbf" + file.getvalue().encode()


@given(st.lists(st.tuples(requests, st.none() | messages), max_size=6))
def test_what_is_exported_is_read_back_byte_for_byte(
    claims: list[tuple[ClaimRequest, str | None]],
) -> None:
    """Also after a spreadsheet has saved it; and no cell of it begins like a formula."""
    data = exported([entry_of(*claim) for claim in claims])

    for variant in (data, *(as_saved_by_a_spreadsheet(data, each) for each in ",;\t")):
        found = read(variant)
        assert all(isinstance(row, Row) for row in found)
        assert [
            ClaimRequest(row.badge_id, row.owner_type, row.reference_id)
            for row in found
            if isinstance(row, Row)
        ] == [request for request, _ in claims]
    for row in csv.reader(io.StringIO(data.decode(), newline="")):
        assert not [cell for cell in row if cell.startswith(tuple(DANGEROUS))]


@given(st.lists(st.text(max_size=5), max_size=5))
def test_escaping_can_be_undone(cells: list[str]) -> None:
    """Whatever the cells hold, apostrophes and line ends included."""
    names = [f"c{number}" for number in range(len(cells))]

    *safe, changed = escape(names, cells)

    assert not [cell for cell in safe if cell.startswith(tuple(DANGEROUS))]
    assert unescape(names, safe, changed.split()) == cells


@pytest.mark.parametrize("beginning", DANGEROUS)
def test_each_dangerous_beginning_gets_an_apostrophe(beginning: str) -> None:
    """F129: and nothing else does."""
    assert escape(["a", "b"], [f"{beginning}x", "x"]) == [f"'{beginning}x", "x", "a"]
    assert escape(["a"], [f"x{beginning}"]) == [f"x{beginning}", ""]
    assert escape(["a"], [f"'{beginning}x"]) == [f"'{beginning}x", ""]


@pytest.mark.parametrize(
    ("row", "found"),
    [
        ("b1,Loyalty,'=1,reference_id", Row("b1", "Loyalty", "=1", 2)),
        ("'b1,Loyalty,'=1,badge_id  reference_id", Row("b1", "Loyalty", "=1", 2)),
        ("b1,Loyalty,''=1,reference_id", Row("b1", "Loyalty", "'=1", 2)),
        ("b1,Loyalty,''=1,reference_id reference_id", Row("b1", "Loyalty", "'=1", 2)),
        ("b1,Loyalty,'=1,", Row("b1", "Loyalty", "'=1", 2)),
        ("b1,Loyalty,=1,", Row("b1", "Loyalty", "=1", 2)),
        (
            "b1,Loyalty,=1,reference_id",
            BadRow(2, "the column escaped names reference_id, which begins with no apostrophe"),
        ),
        ("b1,Loyalty,=1,x", BadRow(2, "the column escaped names 'x', which is no column")),
        ("b1,Loyalty,',reference_id", BadRow(2, "reference_id must not be blank")),
    ],
)
def test_exactly_one_apostrophe_is_taken_off_where_one_was_put(row: str, found: object) -> None:
    """A row that says otherwise of itself was edited, and nothing is sent for it."""
    assert read(f"{HEADER}{row}\n".encode()) == [found]


def test_the_column_may_stand_anywhere_and_names_the_apis_columns_too() -> None:
    """As the columns may be called what the API calls them."""
    text = "Escaped;referenceId;ownerType;badgeId;Note\nnote reference_id;'-7;Loyalty;b1;'=x\n"

    assert read(text.encode()) == [Row("b1", "Loyalty", "-7", 2)]


def test_the_column_is_there_once() -> None:
    """Or it is not known which one is right."""
    with contextlib.closing(io.BytesIO(HEADER.replace("\n", ",escaped\n").encode())) as stream:
        lines = Lines(stream)
        with pytest.raises(UsageError, match="names the column escaped more than once"):
            read_header(lines)
