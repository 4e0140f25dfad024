"""
Any input of claims: files of CSV and JSON lines for the command, messages for the workers.

Here: bytes as each of them, and what must hold of the rows and events that are read. A row is good
and says what another reader of the format finds there, or it is bad and says why.
"""

from __future__ import annotations

import csv
import io
import json
from collections.abc import Iterable, Sequence

from badges_async import ClaimRequest, InvalidInputError
from badges_async.cli.csv_rows import Header, read_csv, read_header
from badges_async.cli.escapes import escape
from badges_async.cli.exits import UsageError
from badges_async.cli.jsonl_rows import read_jsonl
from badges_async.cli.lines import LINE_LIMIT, Lines
from badges_async.cli.rows import FIELDS, BadRow, Row, field_of
from badges_async.worker import ClaimEvent, Delivery, Settlement, UnreadableEventError, Verdict
from badges_async.worker.decisions import judge_unclaimed
from badges_async.worker.entries import failure_note, letter_words, outcome_words, read_event
from badges_async.worker.events import MOST_BYTES

__all__ = ["WORDS", "check_fields", "seeds", "target"]

# What is said of a record that has no certain end.
_BROKEN = ("a quote opens", "no CSV", "a bare carriage return")
WORDS = (
    *(b"badge_id", b"owner_type", b"reference_id", b"escaped", b"badgeId", b"ownerType"),
    *(b"referenceId", b"badgeMetaId", b"Loyalty", b"LOYALTY", b"Membercare", b"Journeys", b'""'),
    *(b"\r\n", b"\n", b"\r", b"\xef\xbb\xbf", b"\xff\xfe", b"\x00", b"\\ud800", b"\\u0000", b"'="),
    *(b'"v":', b'"id":', b'"quota":', b'"enqueuedAt":', b'"trace":', b"1e999", b"NaN", b"null"),
    *(b"\xe2\x80\xa8", b"\xc2\x85", b"\xed\xa0\x80", b";", b"\t", b"[[[[[[[[", b"]]]]]]]]"),
)


def target(data: bytes) -> None:
    """Read *data* behind its first byte, which says as what."""
    _KINDS.get(data[:1], _check_csv)(data[1:])


def _check_csv(data: bytes) -> None:
    lines = Lines(io.BytesIO(data))
    try:
        header = read_header(lines)
    except UsageError as error:
        _check_reason(str(error))
        return
    assert set(FIELDS) <= set(header.names)
    found = list(read_csv(lines, header))
    assert lines.consumed == len(data)
    _check_rows(found, data)
    _check_none_is_missing(found, data)
    rows = [row for row in found if isinstance(row, Row)]
    if len(rows) == len(found) and header.escaped is None:
        assert _ids(rows) == _by_csv(data, header)
    _check_comes_back(rows)


def _check_none_is_missing(found: Sequence[Row | BadRow], data: bytes) -> None:
    """Check that no row is passed over: a broken quote must not take the lines below it along."""
    filled = [n for n, text in enumerate(data.split(b"\n"), 1) if n > 1 and text.rstrip(b"\r")]
    begun = [row.line for row in found]
    if b'"' not in data:
        assert begun == filled
    for row, next_begun in zip(found, [*begun, None][1:], strict=True):
        if isinstance(row, BadRow) and row.reason.startswith(_BROKEN):
            assert next_begun == next((n for n in filled if n > row.line), None)


def _by_csv(data: bytes, header: Header) -> list[tuple[str, str, str]]:
    """Read a file without a bad row, all at once and by Python's own reader."""
    text = data.decode("utf-8-sig")
    csv.field_size_limit(LINE_LIMIT)
    reader = csv.reader(io.StringIO(text, newline="\n"), delimiter=header.delimiter, strict=True)
    records = [record for record in reader if record][1:]
    badge, owner, reference = header.places
    return [(one[badge], one[owner].casefold(), one[reference]) for one in records]


def _check_comes_back(rows: Sequence[Row]) -> None:
    """Check that what `ledger --export` would write of *rows* is read as the same rows."""
    file = io.StringIO()
    writer = csv.writer(file, lineterminator="\n")
    writer.writerow([*FIELDS, "escaped"])
    for row in rows:
        writer.writerow(escape(FIELDS, [row.badge_id, str(row.owner_type), row.reference_id]))
    lines = Lines(io.BytesIO(file.getvalue().encode()))
    assert _ids(read_csv(lines, read_header(lines))) == _ids(rows)


def _check_jsonl(data: bytes) -> None:
    lines = Lines(io.BytesIO(data))
    try:
        found = list(read_jsonl(lines))
    except UsageError as error:
        _check_reason(str(error))
        return
    assert lines.consumed == len(data)
    _check_rows(found, data)
    texts = data.removeprefix(b"\xef\xbb\xbf").split(b"\n")
    for row in found:
        if isinstance(row, Row):
            by_field = {field_of(name): it for name, it in json.loads(texts[row.line - 1]).items()}
            assert _ids([row]) == [
                (by_field["badge_id"], by_field["owner_type"].casefold(), by_field["reference_id"])
            ]
    assert len(found) == sum(1 for text in texts if text and not _is_blank(text))


def _is_blank(line: bytes) -> bool:
    try:
        return line.decode().isspace()
    except UnicodeDecodeError:
        return False


def _check_rows(found: Sequence[Row | BadRow], data: bytes) -> None:
    numbers = [row.line for row in found]
    assert numbers == sorted(set(numbers)), "a record begins behind the one before"
    assert all(1 <= number <= data.count(b"\n") + 1 for number in numbers)
    for row in found:
        if isinstance(row, BadRow):
            _check_reason(row.reason)
        else:
            ClaimRequest(row.badge_id, row.owner_type, row.reference_id)


def _check_reason(reason: str) -> None:
    assert reason
    assert reason.isprintable(), "it is a part of one line"


def _ids(rows: Iterable[Row | BadRow]) -> list[tuple[str, str, str]]:
    return [
        (row.badge_id, row.owner_type.casefold(), row.reference_id)
        for row in rows
        if isinstance(row, Row)
    ]


def _check_event(data: bytes) -> None:
    check_fields([b"d", data])


def _check_entry(data: bytes) -> None:
    """Read a stream's entry, whose names and values stand in *data* with NUL between them."""
    fields = data.split(b"\0")
    check_fields(fields[: len(fields) // 2 * 2])


def check_fields(fields: list[bytes]) -> None:
    event = read_event(fields)
    delivery = Delivery(event, b"1-0", 2)
    judged = judge_unclaimed(delivery, max_deliveries=5)
    if isinstance(event, UnreadableEventError):
        assert event.reason in {"unreadable", "unknown_version", "invalid"}
        assert str(event).isprintable()
        assert judged is not None
        assert (judged.verdict, judged.reason) == (Verdict.BURY, event.reason)
    else:
        assert judged is None
        _check_written(event)
        judged = Settlement(delivery, Verdict.SETTLE)
    words = [*outcome_words(judged), *letter_words(judged)]
    assert all(isinstance(word, bytes) for word in words)
    json.loads(b"{" + failure_note(judged, "worker"))


def _check_written(event: ClaimEvent) -> None:
    try:
        text = event.to_json()
    except InvalidInputError:
        return
    again = ClaimEvent.parse(text)
    assert (again.badge_id, again.owner_type, again.reference_id, again.id, again.quota) == (
        *(event.badge_id, event.owner_type, event.reference_id, event.id, event.quota),
    )


_KINDS = {b"c": _check_csv, b"j": _check_jsonl, b"e": _check_event, b"f": _check_entry}
_CLAIM = b'{"badgeId": "b", "ownerType": "Loyalty", "referenceId": "7"}'
_PLAIN = b"badgeId\0b\0ownerType\0Loyalty\0referenceId\x007"


def seeds() -> Iterable[bytes]:
    """Give files and messages, good ones and such as people send."""
    header, row = b"badge_id,owner_type,reference_id\n", b"b1,Loyalty,7\n"
    yield b"c" + header
    yield b"c" + header + row * 3
    yield b"c" + b"\xef\xbb\xbfBadge ID;ownerType;reference_id;note\r\nb;Loyalty;7;x\r\n"
    yield b"c" + b"badgeMetaId\towner_type\treference_id\nb\tJOURNEYS\t7\n"
    yield b"c" + header + b'b,Loyalty,"7\nb,Loyalty,8\n"b""1",Loyalty,"9\n9"\n\n' + row
    yield b"c" + header + b"b,Loyalty\nb,Nobody,7\n,Loyalty,7\nb,Loyalty,\xff\nb,Loyalty,a\0b\n"
    yield b"c" + header[:-1] + b",escaped\n" + b"b,Loyalty,'=7,reference_id\nb,Loyalty,7,\n"
    yield b"c" + header.decode().encode("utf-16")
    yield b"j" + _CLAIM + b"\n" + _CLAIM.replace(b"badgeId", b"badge_meta_id") + b"\n\n" + _CLAIM
    yield b"j" + _CLAIM[:-5] + b"\n[]\nnull\nNaN\n" + b"[" * 50 + b'\n{"badgeId": 1e999}\n'
    yield b"j" + _CLAIM[:-1] + b', "badge_id": "c"}\n' + _CLAIM.replace(b'"7"', b'"\\ud800"')
    yield b"c" + header + b'b,"Loy\nalty",7\n' + b"b,Loyalty," + b"7" * LINE_LIMIT + b"\n" + row
    yield b"c" + header + b"b,Loyalty,='\n\n\r\nb,Loyalty,@7\rb\n"
    yield b"c" + header + b'"' + b"\n" * 100 + row
    yield b"j" + b"[" * 5000 + b"\n" + b"9" * 5000 + b"\n" + b" " * LINE_LIMIT + _CLAIM + b"\n"
    yield b"e" + _CLAIM
    yield b"e" + _CLAIM[:-1] + b', "v": 1, "id": "e", "quota": "q", "enqueuedAt": "t", "trace": {}}'
    yield b"e" + _CLAIM[:-1] + b', "v": 2}'
    yield b"e" + _CLAIM[:-1] + b', "trace": {"a": [1e9, "\\ud83c\\udfc5"]}}'
    yield b"e" + _CLAIM + b" " * MOST_BYTES
    yield b"f" + _PLAIN
    yield b"f" + _PLAIN + b"\0v\0" + b"9" * 5000
    yield b"f" + _PLAIN + b"\0x\0" + b"x" * MOST_BYTES
    yield b"f" + _PLAIN + b"\0x\0y" * 1000
    yield b"f" + _PLAIN + b"\0v\x001\0id\0e\0quota\0q\0traceparent\0\xff"
    yield b"f" + b"traceparent\0x\0d\0" + _CLAIM
