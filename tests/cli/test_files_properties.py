"""What must hold for every file, found by Hypothesis."""

from __future__ import annotations

import csv
import io
import json
import unicodedata

from hypothesis import given
from hypothesis import strategies as st

from badges_async import OwnerType
from badges_async.cli.csv_rows import read_csv, read_header
from badges_async.cli.exits import UsageError
from badges_async.cli.jsonl_rows import read_jsonl
from badges_async.cli.lines import Lines
from badges_async.cli.rows import BadRow, Row

HEADER = ["badge_id", "owner_type", "reference_id", "note"]

ids = st.text(
    st.characters(exclude_categories=["Cc", "Cs"]), min_size=1, max_size=40
).filter(lambda text: not text.isspace())  # fmt: skip
notes = st.text(st.characters(exclude_categories=["Cs"]), max_size=40)
triples = st.tuples(ids, st.sampled_from(OwnerType), ids)


def read(data: bytes) -> list[Row | BadRow]:
    lines = Lines(io.BytesIO(data))
    return list(read_csv(lines, read_header(lines)))


@given(
    st.lists(st.tuples(triples, notes), max_size=8),
    st.sampled_from([",", ";", "\t"]),
    st.sampled_from([csv.QUOTE_MINIMAL, csv.QUOTE_ALL]),
)
def test_what_csv_writes_is_read_back(
    rows: list[tuple[tuple[str, OwnerType, str], str]], delimiter: str, quoting: int
) -> None:
    """F126: every id survives byte for byte, with the line where its record begins."""
    file = io.StringIO()
    writer = csv.writer(file, delimiter=delimiter, quoting=quoting, lineterminator="\r\n")  # type: ignore[arg-type]
    writer.writerow(HEADER)
    expected = []
    for (badge_id, owner_type, reference_id), note in rows:
        line = file.getvalue().count("\n") + 1
        expected.append(Row(badge_id, owner_type, reference_id, line))
        writer.writerow([badge_id, str(owner_type), reference_id, note])

    assert read(file.getvalue().encode()) == expected


@given(st.lists(triples, max_size=8), st.booleans())
def test_what_json_writes_is_read_back(
    rows: list[tuple[str, OwnerType, str]],
    ascii_only: bool,  # noqa: FBT001
) -> None:
    """The same for JSON lines, escaped or not."""
    names = ("badgeId", "ownerType", "referenceId")
    text = "".join(
        json.dumps(dict(zip(names, map(str, row), strict=True)), ensure_ascii=ascii_only) + "\n"
        for row in rows
    )

    found = list(read_jsonl(Lines(io.BytesIO(text.encode()))))

    assert found == [Row(*row, line) for line, row in enumerate(rows, 1)]


@given(st.binary(max_size=400))
def test_any_bytes_below_a_header_are_rows_good_or_bad(data: bytes) -> None:
    """No file raises, line numbers only grow, and what is good can be sent."""
    found = read(b"badge_id,owner_type,reference_id\n" + data)

    lines = [row.line for row in found]
    assert lines == sorted(set(lines))
    assert all(2 <= line <= data.count(b"\n") + 2 for line in lines)
    for row in found:
        if isinstance(row, Row):
            assert not any(unicodedata.category(one) in {"Cc", "Cs"} for one in row.reference_id)


@given(st.binary(max_size=400))
def test_any_bytes_are_json_lines_good_or_bad(data: bytes) -> None:
    """The same for JSON lines."""
    try:
        found = list(read_jsonl(Lines(io.BytesIO(data))))
    except UsageError as error:
        assert str(error).startswith("the file is")  # noqa: PT017 - either is right
    else:
        assert all(row.line <= data.count(b"\n") + 1 for row in found)


@given(st.binary(max_size=60))
def test_any_bytes_as_a_header_are_one_or_are_refused(data: bytes) -> None:
    """Only `UsageError` leaves the reading of a header, in one printable line."""
    try:
        read_header(Lines(io.BytesIO(data)))
    except UsageError as error:
        assert str(error).isprintable()  # noqa: PT017 - either is right


@given(st.integers(0, 20), st.integers(0, 20))
def test_a_forgotten_quote_costs_one_row_wherever_it_is(before: int, after: int) -> None:
    """All rows around it are read."""
    fine = "b1,Loyalty,7\n"
    broken = 'b1,Loyalty,"7\n'
    header = "badge_id,owner_type,reference_id\n"

    found = read((header + fine * before + broken + fine * after).encode())

    assert [row.line for row in found if isinstance(row, BadRow)] == [before + 2]
    assert len(found) == before + 1 + after
