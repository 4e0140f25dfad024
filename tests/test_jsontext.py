"""The text of JSON is read alike, with orjson and without."""

from __future__ import annotations

import json
import math

import pytest
from hypothesis import given
from hypothesis import strategies as st

from badges_async import jsontext
from badges_async.jsontext import parse, parse_quickly, write

BOTH = pytest.mark.parametrize("read", [parse, parse_quickly])

SCALARS = (
    st.none()
    | st.booleans()
    | st.integers(-(2**63), 2**64 - 1)
    | st.floats(allow_nan=False, allow_infinity=False)
    | st.text()
)
DOCUMENTS = st.recursive(
    SCALARS, lambda inner: st.lists(inner) | st.dictionaries(st.text(), inner), max_leaves=20
)


@pytest.fixture
def without_orjson(monkeypatch: pytest.MonkeyPatch) -> None:
    """Make as if the extra `fast` were not installed."""
    monkeypatch.setattr(jsontext, "orjson", None)


@BOTH
@pytest.mark.parametrize(
    "text",
    [
        b"",
        b" ",
        b"{",
        b"{}}",
        b"{} []",
        b"NaN",
        b"[Infinity]",
        b'{"a": -Infinity}',
        b"<html></html>",
        b'"\xff"',
        b'"a\nb"',
        "{}".encode("utf-16"),
        b"1" * 5000,
        b"[" * 100_000,
        b"[" * 100_000 + b"]" * 100_000,
        b"[1,]",
        b"'a'",
        b"01",
        b'{"errors": [{"code": 717}], "data": {}, "errors": null}',
        b'{"data": {"isActive": false, "isActive" :true}}',
        b'{"data": {"note": {"a": 1}, "referenceId": "1", "referenceId": "2"}}',
        b'{"errors": [{"code": 717, "code": 900}]}',
        b'{"data": {"x": "a:b", "ownerType": "Loyalty", "ownerType": "Loyalty"}}',
    ],
    ids=lambda text: repr(text[:32]),
)
def test_what_is_no_document_is_nothing(read: object, text: bytes) -> None:
    """F059: NaN, Infinity, or a decisive name that comes twice: no document."""
    assert callable(read)
    assert read(text) is None


@BOTH
@pytest.mark.parametrize(
    ("text", "document"),
    [
        (b"\xef\xbb\xbf{}", {}),
        (b' \r\n\t{"a": [1, 2.5, true, null]}\n', {"a": [1, 2.5, True, None]}),
        (b'{"a": 1, "a": 2}', {"a": 2}),
        (b'{"data": {"code": "12:30"}, "code": 2}', {"data": {"code": "12:30"}, "code": 2}),
        (b'"\\ud800"', "\ud800"),
        (b"1e400", math.inf),
        (b"18446744073709551615", 2**64 - 1),
    ],
    ids=str,
)
def test_a_document_is_read(read: object, text: bytes, document: object) -> None:
    assert callable(read)
    assert read(text) == document


@given(DOCUMENTS)
def test_orjson_reads_what_the_standard_library_reads(document: object) -> None:
    text = json.dumps(document).encode()
    assert parse_quickly(text) == parse(text) == document


@given(st.binary() | st.text(alphabet='{}[]",:0123456789.eE+-truefalsn \\u').map(str.encode))
def test_orjson_refuses_what_the_standard_library_refuses(text: bytes) -> None:
    exact = parse(text)
    quick = parse_quickly(text)
    assert type(quick) is type(exact) or isinstance(exact, int)  # beyond 64 bits it is a float
    assert (quick is None) == (exact is None)


def test_only_an_integer_beyond_64_bits_may_come_as_a_float() -> None:
    assert parse(b"123456789012345678901234567890") == 123456789012345678901234567890
    assert parse_quickly(b"123456789012345678901234567890") == pytest.approx(1.2345678901234568e29)


@pytest.mark.usefixtures("without_orjson")
def test_without_orjson_nothing_is_missing() -> None:
    assert parse_quickly(b'{"a": [1]}') == {"a": [1]}
    assert parse_quickly(b"123456789012345678901234567890") == 123456789012345678901234567890
    assert parse_quickly(b"<html>") is None


def test_both_write_the_same_bytes(monkeypatch: pytest.MonkeyPatch) -> None:
    text = "\u00e9 \u2028 \U0001f600 '\\ \n\x00"
    documents: list[object] = [{"a": [1, True, None, 2**63 - 1], "b": text}, [], "", 0]
    by_orjson = [write(document) for document in documents]
    monkeypatch.setattr(jsontext, "orjson", None)
    assert [write(document) for document in documents] == by_orjson
