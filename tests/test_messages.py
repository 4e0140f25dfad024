"""Requests and replies as values, and what HTTP itself says about a pause."""

from __future__ import annotations

from collections.abc import Iterable
from datetime import UTC, datetime
from email.utils import format_datetime

import pytest
from hypothesis import given
from hypothesis import strategies as st

from badges_async.messages import printable
from tests.answers import make_reply

# The example of the HTTP specification, in its three forms.
NOON = datetime(1994, 11, 6, 8, 49, 37, tzinfo=UTC)
FORMS = [
    "Sun, 06 Nov 1994 08:49:37 GMT",
    "Sunday, 06-Nov-94 08:49:37 GMT",
    "Sun Nov  6 08:49:37 1994",
]


def retry_after(*values: str, date: str | None = None, received_at: float = 0.0) -> float | None:
    headers = [("retry-after", value) for value in values]
    if date is not None:
        headers.append(("date", date))
    return make_reply(429, b"", headers, received_at=received_at).retry_after


@pytest.mark.parametrize(
    ("value", "seconds"),
    [
        ("7", 7.0),
        ("0", 0.0),
        (" 7 ", 7.0),
        ("007", 7.0),
        ("9999999", 9_999_999.0),
        ("99999999999", 1e9),
        ("9" * 5000, 1e9),
    ],
)
def test_whole_seconds_are_read(value: str, seconds: float) -> None:
    assert retry_after(value) == seconds


@pytest.mark.parametrize(
    "value",
    [
        "",
        " ",
        "soon",
        "-5",
        "+5",
        "1.5",
        "1e3",
        "0x10",
        "7s",
        "7, 9",
        "\u0667",
        "NaN",
        "inf",
        "1994-11-06T08:49:37Z",
        "Sun, 06 Nov",
        "Sun, 31 Feb 2094 08:49:37 GMT",
        "Sun, 06 Nov 99999 08:49:37 GMT",
        "Sun, 06 Nov 1994 08:49:37 +9999",
    ],
)
def test_anything_else_counts_as_absent(value: str) -> None:
    """F067: what is no number of seconds and no date says nothing."""
    assert retry_after(value) is None
    assert retry_after(value, "7") == 7.0


def test_no_header_is_no_pause() -> None:
    assert retry_after() is None


def test_of_several_values_the_largest_wins() -> None:
    """F067: a field that came twice is no reason for the shorter pause."""
    assert retry_after("7", "30", "1") == 30.0
    assert retry_after("7", FORMS[0], date="Sun, 06 Nov 1994 08:49:00 GMT") == 37.0


@pytest.mark.parametrize("form", FORMS)
def test_a_date_is_read_in_every_form_of_http(form: str) -> None:
    assert retry_after(form, received_at=NOON.timestamp() - 30) == 30.0


@pytest.mark.parametrize("form", FORMS)
def test_a_date_counts_from_the_date_of_the_answer(form: str) -> None:
    """A clock that is wrong here must make no pause longer or shorter."""
    for received_at in (0.0, 4e9):
        assert retry_after(FORMS[0], date=form, received_at=received_at) == 0.0
        date = "Sun, 06 Nov 1994 08:48:37 GMT"
        assert retry_after(form, date=date, received_at=received_at) == 60.0


def test_a_date_of_the_answer_that_is_none_leaves_our_clock() -> None:
    for date in ("", "soon", "7"):
        assert retry_after(FORMS[0], date=date, received_at=NOON.timestamp() - 5) == 5.0


def test_a_date_that_has_passed_is_no_time_at_all() -> None:
    assert retry_after(FORMS[0], received_at=NOON.timestamp() + 86_400) == 0.0


def test_a_date_in_another_zone_is_the_moment_it_names() -> None:
    assert retry_after("Sun, 06 Nov 1994 14:19:37 +0530", date=FORMS[0]) == 0.0
    assert retry_after("Sun, 06 Nov 1994 08:49:37 -0000", date=FORMS[0]) == 0.0


def test_a_date_at_the_end_of_time_is_bounded() -> None:
    assert retry_after("Fri, 31 Dec 9999 23:59:59 GMT", received_at=0.0) == 1e9


@given(seconds=st.integers(0, 10**6), received_at=st.integers(0, 4 * 10**9))
def test_a_date_and_its_distance_in_seconds_say_the_same(seconds: int, received_at: int) -> None:
    until = datetime.fromtimestamp(received_at + seconds, UTC)
    date = format_datetime(until, usegmt=True)

    assert retry_after(date, received_at=received_at) == retry_after(str(seconds)) == seconds


@given(values=st.lists(st.text(max_size=40), max_size=3), date=st.text(max_size=40))
def test_no_header_of_any_text_does_harm(values: Iterable[str], date: str) -> None:
    wait = retry_after(*values, date=date)
    assert wait is None or 0.0 <= wait <= 1e9


@pytest.mark.parametrize(
    "name", ["X-CAP-REQUEST-ID", "x-cap-request-id", "X-Cap-Requestid", "X-CAP-REQUESTID"]
)
def test_the_request_id_is_found_under_both_its_names(name: str) -> None:
    assert make_reply(200, b"", {name: "0f" * 16}).request_id == "0f" * 16


def test_a_request_id_is_there_or_none() -> None:
    assert make_reply(200, b"").request_id is None
    both = {"X-CAP-REQUEST-ID": "", "X-Cap-Requestid": "7f"}
    assert make_reply(200, b"", both).request_id == "7f"
    twice = [("X-CAP-REQUEST-ID", "1"), ("X-CAP-REQUEST-ID", "2")]
    assert make_reply(200, b"", twice).request_id == "1"


def test_a_request_id_is_printable_and_short() -> None:
    request_id = make_reply(200, b"", {"X-CAP-REQUEST-ID": "\x1b[31m" + "7" * 500}).request_id

    assert request_id is not None
    assert request_id == "\ufffd[31m" + "7" * 95


def test_only_the_two_hundreds_are_ok() -> None:
    assert [status for status in range(100, 600) if make_reply(status, b"").ok] == list(
        range(200, 300)
    )


@given(text=st.text(), limit=st.integers(0, 20))
def test_printable_keeps_what_can_be_shown_and_the_length(text: str, limit: int) -> None:
    shown = printable(text, limit)

    assert shown.isprintable()
    assert len(shown) == min(len(text), limit)
    for before, after in zip(text, shown, strict=False):
        assert after == before or (after == "\ufffd" and not before.isprintable())
