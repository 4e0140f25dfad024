"""What every answer has in common: data, errors, warnings, and what is no answer at all."""

from __future__ import annotations

import json
import sys

import pytest

from badges_async import APIError, RateLimitedError, UnreadableReplyError
from badges_async.envelope import open_envelope, read_envelope
from badges_async.models import Notice
from tests.answers import HTML, envelope, gateway, make_reply, notice, refusal


@pytest.mark.parametrize("empty", [None, [], "", [None]])
def test_a_null_list_and_an_empty_one_mean_the_same(empty: object) -> None:
    opened = open_envelope(make_reply(200, envelope("data", empty, empty)))

    assert (opened.data, opened.errors, opened.warnings) == ("data", (), ())


def test_all_errors_and_warnings_are_kept_as_sent() -> None:
    reply = make_reply(
        400,
        envelope(
            None,
            [notice(728, "owner", reference="ownership.restrictedToOwners"), notice(725, "name")],
            [notice(1, "late")],
        ),
        {"X-CAP-REQUEST-ID": "0123456789abcdef0123456789abcdef"},
    )

    with pytest.raises(APIError) as caught:
        open_envelope(reply)

    error = caught.value
    assert error.errors == (
        Notice(728, "owner", "ownership.restrictedToOwners"),
        Notice(725, "name", None),
    )
    assert error.warnings == (Notice(1, "late"),)
    assert (error.code, error.message, error.reference) == (728, "owner", error.errors[0].reference)
    assert (error.status, error.request_id) == (400, "0123456789abcdef0123456789abcdef")
    assert str(error) == "HTTP 400: owner (code 728) [ownership.restrictedToOwners]"


def test_an_error_without_any_text_still_says_something() -> None:
    with pytest.raises(APIError, match=r"^HTTP 400: the service refused the request$") as caught:
        open_envelope(make_reply(400, b"{}"))
    assert (caught.value.code, caught.value.errors) == (None, ())

    with pytest.raises(APIError, match=r"^HTTP 400: the service refused the request \(code 5\)$"):
        open_envelope(make_reply(400, envelope(None, [{"code": 5}])))


def test_a_text_without_a_code_stands_for_itself() -> None:
    body = b'{"errorCode": null, "errorMessage": "Try later."}'
    with pytest.raises(APIError, match=r"^HTTP 503: Try later\.$"):
        open_envelope(make_reply(503, body))


def test_the_text_of_an_error_is_printable_and_short() -> None:
    """F138: control characters are replaced, and the rest is cut off."""
    text = "no\x1b[2J\r\n\u202e" + "!" * 5000
    with pytest.raises(APIError) as caught:
        open_envelope(make_reply(400, envelope(None, [notice(1, text, reference=text)])))

    for shown in (caught.value.message, caught.value.reference, str(caught.value)):
        assert shown is not None
        assert shown.isprintable()
        assert len(shown) < 1100
    assert caught.value.message.startswith("no\ufffd[2J\ufffd\ufffd\ufffd!!")
    assert len(caught.value.message) == 500


def test_a_message_that_is_no_text_is_left_out() -> None:
    with pytest.raises(APIError) as caught:
        open_envelope(make_reply(400, envelope(None, [{"code": 1, "message": {"a": 1}}])))
    assert caught.value.errors == (Notice(1, "", None),)


@pytest.mark.parametrize("entry", [[], ["no"], 717, True, {}, {"x": 1}])
def test_an_entry_that_says_nothing_we_know_is_still_an_entry(entry: object) -> None:
    opened = read_envelope(make_reply(200, envelope("data", [entry, None, "no"])))
    assert opened.errors == (Notice(None, "", None), Notice(None, "no", None))


def test_a_constant_that_json_does_not_know_is_refused_wherever_it_is() -> None:
    for name in (b"NaN", b"Infinity", b"-Infinity"):
        body = b'{"data": {"id": "b", "name": "n", "extra": %s}}' % name
        with pytest.raises(UnreadableReplyError, match="the answer is not JSON"):
            read_envelope(make_reply(200, body))


def test_the_gateway_speaks_in_its_own_shape() -> None:
    opened = read_envelope(make_reply(403, gateway(403, 4000)))

    assert opened.errors == (Notice(4000, "Not authorized. Access is denied!", None),)


@pytest.mark.parametrize(
    ("said", "understood"),
    [
        ({"errorCode": 4001}, Notice(4001, "", None)),
        ({"errorMessage": "Try later."}, Notice(None, "Try later.", None)),
        ({"errorCode": None, "errorMessage": "Try later."}, Notice(None, "Try later.", None)),
        ({"errorCode": 4001, "errors": []}, Notice(4001, "", None)),
    ],
)
def test_either_half_of_the_gateways_shape_is_an_error(
    said: dict[str, object], understood: Notice
) -> None:
    reply = make_reply(200, json.dumps({"data": {}, **said}).encode())

    assert read_envelope(reply).errors == (understood,)


def test_the_gateways_shape_without_anything_in_it_is_no_error() -> None:
    body = b'{"data": {}, "errorCode": null, "errorMessage": null}'

    assert read_envelope(make_reply(200, body)).errors == ()


def test_an_error_says_that_the_service_may_have_acted_only_when_it_failed() -> None:
    for status, maybe_applied in [(200, False), (400, False), (429, False), (500, True)]:
        with pytest.raises(APIError) as caught:
            open_envelope(make_reply(status, refusal(717)))
        assert caught.value.maybe_applied is maybe_applied


def test_a_throttle_keeps_what_the_service_asked_for() -> None:
    for headers, retry_after in [({"Retry-After": "7"}, 7.0), ({}, None)]:
        with pytest.raises(RateLimitedError) as caught:
            read_envelope(make_reply(429, HTML, headers))
        assert caught.value.retry_after == retry_after


def test_no_other_error_says_when_to_come_again() -> None:
    for status in (400, 404, 500):
        with pytest.raises(APIError) as caught:
            open_envelope(make_reply(status, refusal(717), {"Retry-After": "7"}))
        assert not hasattr(caught.value, "retry_after")


def test_what_is_unreadable_is_kept_as_a_prefix_with_the_facts() -> None:
    body = HTML + b"\x1b[31m\xff" + b"!" * 100_000
    with pytest.raises(UnreadableReplyError) as caught:
        read_envelope(make_reply(502, body, {"x-cap-requestid": "abc"}))

    error = caught.value
    assert (error.status, error.request_id, error.maybe_applied) == (502, "abc", True)
    assert error.body.startswith(HTML.decode() + "\ufffd[31m\ufffd!!")
    assert (len(error.body), error.body.isprintable()) == (500, True)
    assert str(error) == "HTTP 502: the answer is not JSON"


def test_the_reason_for_unreadable_tells_three_things_apart() -> None:
    def why(body: bytes, *, complete: bool = True) -> str:
        with pytest.raises(UnreadableReplyError) as caught:
            read_envelope(make_reply(200, body, complete=complete))
        return str(caught.value)

    assert why(b"<html>") == "HTTP 200: the answer is not JSON"
    assert why(b'{"ok": true}') == "HTTP 200: the answer is not the API's"
    assert why(b"{}", complete=False) == "HTTP 200: the answer is longer than 1 MiB"


def test_numbers_of_any_length_are_read_to_the_last_digit() -> None:
    body = b'{"data": 123456789012345678901234567890}'
    assert open_envelope(make_reply(200, body)).data == 123456789012345678901234567890


def test_nesting_of_any_depth_is_contained() -> None:
    """What the parser just manages must not be too much for whoever looks at it next."""
    for depth in range(50, sys.getrecursionlimit() + 50):
        body = b'{"errors": [' + b"[" * depth + b"]" * depth + b"]}"
        with pytest.raises((APIError, UnreadableReplyError)):
            open_envelope(make_reply(200, body))


@pytest.mark.parametrize("code", [900, "900"])
def test_a_code_is_a_number_or_its_digits(code: object) -> None:
    opened = read_envelope(make_reply(200, envelope(None, [notice(code)])))
    assert opened.says_only(900)


@pytest.mark.parametrize(("code", "understood"), [(10**9 - 1, 10**9 - 1), (10**9, None)])
@pytest.mark.parametrize("written", [int, str])
def test_a_number_of_ten_digits_is_no_code(
    code: int, understood: int | None, written: type[int | str]
) -> None:
    opened = read_envelope(make_reply(200, envelope(None, [notice(written(code))])))
    assert opened.errors[0].code == understood


@pytest.mark.parametrize("code", [None, True, "", "9OO", "٩٠٠", "-1", "9" * 5000, 900.5, [900], {}])
def test_anything_else_is_no_code(code: object) -> None:
    reply = make_reply(200, json.dumps({"errors": [notice(code)]}).encode())
    assert read_envelope(reply).errors == (Notice(None, "as documented", None),)
