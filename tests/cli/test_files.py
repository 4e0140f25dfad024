"""Reading a file of claims: what is kept, what is refused, and with which line number."""

from __future__ import annotations

import codecs
import io
import json
import tracemalloc
from pathlib import Path

import pytest

from badges_async.cli.csv_rows import read_csv, read_header
from badges_async.cli.exits import UsageError
from badges_async.cli.files import RowFile
from badges_async.cli.lines import LINE_LIMIT, Lines
from badges_async.cli.rows import BadRow, Row

HEADER = b"badge_id,owner_type,reference_id\n"


def rows_of(data: bytes, tmp_path: Path, name: str = "claims.csv") -> list[Row | BadRow]:
    path = tmp_path / name
    path.write_bytes(data)
    file = RowFile(str(path))
    try:
        return list(file)
    finally:
        file.close()


def good(rows: list[Row | BadRow]) -> list[tuple[int, str, str, str]]:
    return [
        (row.line, row.badge_id, str(row.owner_type), row.reference_id)
        for row in rows
        if isinstance(row, Row)
    ]


def bad(rows: list[Row | BadRow]) -> list[tuple[int, str]]:
    return [(row.line, row.reason) for row in rows if isinstance(row, BadRow)]


def refusal(data: bytes, tmp_path: Path, name: str = "claims.csv") -> str:
    with pytest.raises(UsageError) as caught:
        rows_of(data, tmp_path, name)
    return str(caught.value)


@pytest.mark.parametrize(
    "header",
    [
        b"badge_id,owner_type,reference_id",
        b"badgeId,ownerType,referenceId",
        b"badgeMetaId,ownerType,referenceId",
        b"badgeID,ownerType,referenceId",
        b'"badge_id","owner_type","reference_id"',
        b"Badge_Id , Owner_Type , Reference_Id",
    ],
)
def test_a_header_is_read_in_our_spelling_and_in_the_apis(header: bytes, tmp_path: Path) -> None:
    """Every spelling that the API's documents use names the same column."""
    assert good(rows_of(header + b"\nb1,Loyalty,7\n", tmp_path)) == [(2, "b1", "Loyalty", "7")]


@pytest.mark.parametrize("delimiter", [b",", b";", b"\t"])
def test_columns_come_in_any_order_among_others(delimiter: bytes, tmp_path: Path) -> None:
    """Only the three named columns count, with whatever separator Excel has written."""
    data = b"note,referenceId,badgeId,ownerType\nx,7,b1,Loyalty\n".replace(b",", delimiter)

    assert good(rows_of(data, tmp_path)) == [(2, "b1", "Loyalty", "7")]


@pytest.mark.parametrize(
    "reference", ["007", "1e3", "9007199254740993", " x ", "Zoë", "=cmd()", "a;b"]
)
def test_ids_are_kept_byte_for_byte(reference: str, tmp_path: Path) -> None:
    """F123, F125: nothing is read as a number, trimmed or made pretty."""
    data = HEADER + f"007,Loyalty,{reference}\n".encode()

    assert good(rows_of(data, tmp_path)) == [(2, "007", "Loyalty", reference)]


@pytest.mark.parametrize("end", [b"\n", b"\r\n"])
@pytest.mark.parametrize("last", [b"", b"\n", b"\n\n\n"])
@pytest.mark.parametrize("mark", [b"", codecs.BOM_UTF8])
def test_bom_line_ends_and_blank_lines_change_nothing(
    end: bytes, last: bytes, mark: bytes, tmp_path: Path
) -> None:
    """F120: a BOM, CRLF, blank lines and a missing last line end are no part of the rows."""
    data = (mark + HEADER + b"b1,Loyalty,7\n\nb2,Loyalty,8" + last).replace(b"\n", end)

    assert good(rows_of(data, tmp_path)) == [(2, "b1", "Loyalty", "7"), (4, "b2", "Loyalty", "8")]


@pytest.mark.parametrize(
    ("row", "reason"),
    [
        (b"b1,Loyalty", "2 columns, the header has 3"),
        (b"b1", "1 column, the header has 3"),
        (b"b1,Loyalty,7,8", "4 columns, the header has 3"),
        (b",Loyalty,7", "badge_id must not be blank"),
        (b"b1,Loyalty,  ", "reference_id must not be blank"),
        (b"b1,Nobody,7", "there is no owner type 'Nobody'"),
        (b"b1,Loyalty,7\x00", "reference_id must not hold control characters: '7\\x00'"),
        (b"b1,Loyalty,\xe9", "not UTF-8: byte 0xE9 at position 12"),
        (b'b1,Loyalty,"7" x', "no CSV: ',' expected after '\"'"),
        (b"b1,Loyalty,7\rb2,Loyalty,8", "a bare carriage return within the row"),
        (b'b1,Loyalty,"7\n8"', "reference_id must not hold control characters: '7\\n8'"),
        (b"b1,Loyalty," + b"7" * LINE_LIMIT, "longer than 131,072 bytes"),
    ],
)
def test_a_bad_row_is_named_and_the_rest_goes_on(row: bytes, reason: str, tmp_path: Path) -> None:
    """F121, F122, F124: a row of no use costs exactly itself."""
    rows = rows_of(HEADER + b"b0,Loyalty,1\n" + row + b"\nb9,Loyalty,9\n", tmp_path)

    assert bad(rows) == [(3, reason)]
    assert [found[1:] for found in good(rows)] == [("b0", "Loyalty", "1"), ("b9", "Loyalty", "9")]


def test_a_quoted_newline_in_a_column_that_nobody_needs_is_fine(tmp_path: Path) -> None:
    """Line numbers stay those of the file after a record of several lines."""
    data = b'badge_id,owner_type,reference_id,note\nb1,Loyalty,7,"one\ntwo\nthree"\nb2,Loyalty,8,\n'

    assert good(rows_of(data, tmp_path)) == [(2, "b1", "Loyalty", "7"), (5, "b2", "Loyalty", "8")]


def test_a_quote_that_is_never_closed_costs_one_row(tmp_path: Path) -> None:
    """F124: the rows below it are read, also when they are more than are kept in mind."""
    many = b"".join(b"b1,Loyalty,%d\n" % number for number in range(20_000))
    assert len(many) > 2 * LINE_LIMIT

    rows = rows_of(HEADER + b'b1,Loyalty,"oops\n' + many, tmp_path)

    assert bad(rows) == [(2, "a quote opens in this line and is not closed as CSV has it")]
    assert [found[0] for found in good(rows)] == list(range(3, 20_003))


def test_an_unclosed_quote_above_a_proper_one_costs_one_row(tmp_path: Path) -> None:
    """The quote of a good row below does not close the one that was forgotten."""
    data = HEADER + b'b1,Loyalty,"oops\nb2,Loyalty,8\nb3,Loyalty,"9, and ten"\n'

    rows = rows_of(data, tmp_path)

    assert [line for line, _ in bad(rows)] == [2]
    assert [found[0] for found in good(rows)] == [3, 4]


@pytest.mark.parametrize(
    ("data", "said"),
    [
        (b"", "the file is empty"),
        (b"b1,Loyalty,7\n", "found 'b1,Loyalty,7'"),
        (b"badge_id,owner_type\n", "header with the columns badge_id, owner_type, reference_id"),
        (b"badge_id,badgeId,owner_type,reference_id\n", "column badge_id more than once"),
        (b'{"badge_id": "b1"}\n', "--format jsonl"),
        ("badge_id,owner_type,reference_id\n".encode("utf-16"), "is UTF-16"),
        ("badge_id,owner_type,reference_id\n".encode("utf-16-le"), "NUL bytes"),
        (b"PK\x03\x04 rest", "Excel workbook"),
        (b"\x1f\x8b rest", "compressed by gzip"),
        (b"badge_id,owner_type,reference_id\rb1,Loyalty,7\r", "bare carriage return"),
        (b"badge_id,owner_type,r\xe9f\n", "line 1 is not UTF-8"),
        (b"badge_id," * LINE_LIMIT, "line 1 is longer than"),
        (b"\x1b[31mred\n", r"found '\x1b[31mred'"),
    ],
)
def test_a_file_of_no_use_is_refused_as_a_whole(data: bytes, said: str, tmp_path: Path) -> None:
    """F120, F121, F122: the message says what was expected or what the file is instead."""
    message = refusal(data, tmp_path)

    assert message.startswith("claims.csv: ")
    assert said in message
    assert message.isprintable()


def line_of(**parts: object) -> str:
    return json.dumps({"badge_id": "b", "owner_type": "Loyalty", "reference_id": "7"} | parts)


@pytest.mark.parametrize(
    ("line", "reason"),
    [
        (line_of(badge_id=7), "badge_id must be a string, not int"),
        (line_of(reference_id=None), "reference_id must be a string, not NoneType"),
        (line_of(reference_id=["7"]), "reference_id must be a string, not"),
        (line_of(owner_type=7), "owner_type must be one of"),
        (line_of(owner_type="Nobody"), "there is no owner type 'Nobody'"),
        (line_of(badge_id="\ud800"), "badge_id must not hold control characters: '\\ud800'"),
        (line_of(badgeId="c"), "badge_id is given more than once"),
        ('{"badge_id": "b", "badge_id": "b"}', "badge_id is given more than once"),
        ('{"badge_id": "b", "owner_type": "Loyalty"}', "reference_id missing"),
        ("{}", "badge_id and owner_type and reference_id missing"),
        ("[]", "no JSON object"),
        ("7", "no JSON object"),
        (line_of(badge_id=float("nan")), "no JSON: NaN"),
        ('{"badge_id": "b"', "no JSON: Expecting ',' delimiter at character 18"),
        ("[" * 100_000, "JSON nested too deeply"),
        ('{"n": ' + "1" * 5000 + "}", "JSON with a number that is too long"),
    ],
)
def test_a_bad_line_of_json_is_named(line: str, reason: str, tmp_path: Path) -> None:
    """An id is a string or nothing is sent; what JSON alone allows is refused as well."""
    fine = json.dumps({"badgeId": "b", "ownerType": "loyalty", "referenceId": "007"})
    data = f"{fine}\n\n{line}\n{fine}\n".encode()

    rows = rows_of(data, tmp_path, "claims.jsonl")

    assert [number for number, _ in bad(rows)] == [3]
    assert bad(rows)[0][1].startswith(reason)
    assert good(rows) == [(1, "b", "Loyalty", "007"), (4, "b", "Loyalty", "007")]


def test_the_format_is_asked_for_where_the_name_does_not_tell(tmp_path: Path) -> None:
    """A guess could send the wrong claims."""
    path = tmp_path / "claims.dat"
    path.write_bytes(HEADER + b"b1,Loyalty,7\n")

    with pytest.raises(UsageError, match="--format csv or --format jsonl"):
        RowFile(str(path))
    file = RowFile(str(path), "csv")
    assert len(list(file)) == 1
    file.close()


def test_a_missing_file_is_told_as_missing_whatever_its_name(tmp_path: Path) -> None:
    with pytest.raises(UsageError, match=r"missing\.dat: No such file"):
        RowFile(str(tmp_path / "missing.dat"))


@pytest.mark.parametrize("name", ["missing.csv", "nul\0.csv", "."])
def test_a_file_that_cannot_be_opened_is_named(
    name: str, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    """A missing file and a folder are one line, not a traceback."""
    monkeypatch.chdir(tmp_path)

    with pytest.raises(UsageError, match=r"cannot read|say --format"):
        RowFile(name)


@pytest.mark.slow
@pytest.mark.parametrize(
    "tail",
    [
        b'b1,Loyalty,"' + (b"x" * 99 + b"\n") * 40_000,
        b"b1,Loyalty," + b"x" * 4_000_000,
        b"b1,Loyalty" + (b',"' + (b"x" * 99 + b"\n") * 1000 + b'"') * 40,
    ],
)
def test_no_file_is_held_in_memory(tail: bytes) -> None:
    """F124: a quote that opens over four megabytes, or a line as long, costs a bounded buffer."""
    lines = Lines(io.BytesIO(HEADER + tail + b"\nb2,Loyalty,8\n"))
    header = read_header(lines)
    tracemalloc.start()
    try:
        last = None
        for row in read_csv(lines, header):
            last = row
        _, peak = tracemalloc.get_traced_memory()
    finally:
        tracemalloc.stop()

    assert isinstance(last, Row)
    assert peak < 2_000_000
