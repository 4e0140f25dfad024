"""
What every answer of the API has in common: the envelope of data, errors and warnings.

Here: a `Reply` becomes an `Envelope`, or the error that it means. Not here: what `data` holds
(`operations`) or whether to try again (`retry`). No await, no network.

The shapes are those of the fact sheet's section 2: a missing or null list is an empty one, and an
error can come under HTTP 200.
"""

from __future__ import annotations

from typing import Any

import attrs

from badges_async.errors import (
    APIError,
    AuthenticationError,
    BadgeNotFoundError,
    ConflictError,
    InvalidRequestError,
    PermissionDeniedError,
    RateLimitedError,
    ServerError,
    UnreadableReplyError,
)
from badges_async.jsontext import parse, parse_quickly
from badges_async.messages import Reply, printable
from badges_async.models import Notice

__all__ = ["Envelope", "api_error", "open_envelope", "read_envelope", "unreadable"]

_RATE_LIMITED = 429
_SERVER_ERRORS = 500

_ERROR_BY_CODE: dict[int | None, type[APIError]] = {
    400: InvalidRequestError,
    404: BadgeNotFoundError,
    714: InvalidRequestError,
    716: InvalidRequestError,
    717: InvalidRequestError,
    737: InvalidRequestError,
}
_ERROR_BY_STATUS: dict[int, type[APIError]] = {
    400: InvalidRequestError,
    401: AuthenticationError,
    403: PermissionDeniedError,
    404: BadgeNotFoundError,
    409: ConflictError,
    413: InvalidRequestError,
    414: InvalidRequestError,
    431: InvalidRequestError,
    _RATE_LIMITED: RateLimitedError,
}
# These say all by their status. Nobody knows the bodies of 401, 403 and 429 on badge paths (a
# gateway may send HTML), and the size limits are answered by the web server itself.
_STATUS_SPEAKS = frozenset({401, 403, 413, 414, 431, _RATE_LIMITED})

# The largest documented one is 999999; a number of a thousand digits is no code.
_BEYOND_CODES = 10**9

# An answer with none of these is another program's; only the empty object is documented as well.
_ENVELOPE_KEYS = frozenset({"data", "errors", "warnings", "errorCode", "errorMessage"})


@attrs.define
class Envelope:
    """An answer of the API: what was asked for, what went wrong, what else there is to know."""

    data: object
    errors: tuple[Notice, ...]
    warnings: tuple[Notice, ...]

    def says_only(self, code: int) -> bool:
        """Whether *code* is the only error, or a warning where there is no error."""
        if self.errors:
            return all(notice.code == code for notice in self.errors)
        return any(notice.code == code for notice in self.warnings)


def open_envelope(reply: Reply) -> Envelope:
    """
    Read a success.

    Raises:
        APIError: The answer says no, by its status or by its errors.
        UnreadableReplyError: The answer is not the API's.
    """
    envelope = read_envelope(reply)
    if envelope.errors or not reply.ok:
        raise api_error(reply, envelope)
    return envelope


def read_envelope(reply: Reply, *, quickly: bool = False) -> Envelope:
    """
    Read an answer of any status, errors included.

    Args:
        quickly: Integers of more than 64 bits may come as floats: `data` is known to have none.

    Raises:
        APIError: The status alone says what is wrong, and there is no envelope around it.
        UnreadableReplyError: The answer is not the API's.
    """
    document: Any = None
    if reply.complete:
        document = parse_quickly(reply.body) if quickly else parse(reply.body)
    if isinstance(document, dict) and (not document or not _ENVELOPE_KEYS.isdisjoint(document)):
        errors, warnings = document.get("errors"), document.get("warnings")
        failures = _notices(errors) if errors else _gateway_notices(document)
        return Envelope(document.get("data"), failures, _notices(warnings) if warnings else ())
    if reply.status in _STATUS_SPEAKS:
        raise api_error(reply, Envelope(None, (), ()))
    raise unreadable(reply, _why_unreadable(reply, document))


def api_error(reply: Reply, envelope: Envelope) -> APIError:
    """Give the error that an envelope with errors, or with a status of no success, stands for."""
    code = envelope.errors[0].code if envelope.errors else None
    error = _error_class(reply.status, code)(
        _describe(reply.status, envelope.errors),
        status=reply.status,
        errors=envelope.errors,
        warnings=envelope.warnings,
        request_id=reply.request_id,
        maybe_applied=reply.status >= _SERVER_ERRORS,
    )
    if isinstance(error, RateLimitedError):
        error.retry_after = reply.retry_after
    return error


def unreadable(reply: Reply, why: str) -> UnreadableReplyError:
    """Give the error for an answer that is not the API's; *why* completes its message."""
    return UnreadableReplyError(
        f"HTTP {reply.status}: {why}",
        status=reply.status,
        request_id=reply.request_id,
        body=printable(reply.body[:2000].decode("utf-8", "replace")),
    )


def _why_unreadable(reply: Reply, document: object) -> str:
    if not reply.complete:
        return "the answer is longer than 1 MiB"
    return "the answer is not JSON" if document is None else "the answer is not the API's"


def _notices(value: object) -> tuple[Notice, ...]:
    """Read a list of errors or warnings, in any of the shapes that documents show or allow."""
    items = value if isinstance(value, list) else [value]
    # An entry that says nothing is an entry all the same: errors with one in it are not empty.
    return tuple(_notice(item) for item in items if item is not None)


def _notice(item: object) -> Notice:
    if not isinstance(item, dict):
        return Notice(code=None, message=printable(item) if isinstance(item, str) else "")
    reference = item.get("reference")
    message = item.get("message")
    return Notice(
        code=_code(item.get("code")),
        message=printable(message) if isinstance(message, str) else "",
        reference=printable(reference) if isinstance(reference, str) else None,
    )


def _code(value: object) -> int | None:
    """Read a code: documented as an integer; digits in a string are read as well."""
    if isinstance(value, bool):
        return None
    if isinstance(value, str) and value.isascii() and value.isdigit() and len(value) < 10:  # noqa: PLR2004
        return int(value)
    return value if isinstance(value, int) and abs(value) < _BEYOND_CODES else None


def _gateway_notices(document: dict[str, Any]) -> tuple[Notice, ...]:
    """Read the gateway's own shape: 403 with 4000 and 503 with 4001 come without an envelope."""
    code, message = document.get("errorCode"), document.get("errorMessage")
    if code is None and message is None:
        return ()
    return (_notice({"code": code, "message": message}),)


def _error_class(status: int, code: int | None) -> type[APIError]:
    if status >= _SERVER_ERRORS:
        return ServerError
    if status in _STATUS_SPEAKS or status == 409:  # noqa: PLR2004 - conflict
        return _ERROR_BY_STATUS[status]
    # The code is the closer word: an unclaim that finds no claim is no missing badge, whatever
    # status carries it.
    return _ERROR_BY_CODE.get(code) or _ERROR_BY_STATUS.get(status) or APIError


def _describe(status: int, errors: tuple[Notice, ...]) -> str:
    if not errors:
        return f"HTTP {status}: the service refused the request"
    first = errors[0]
    code = "" if first.code is None else f" (code {first.code})"
    field = "" if first.reference is None else f" [{first.reference}]"
    return f"HTTP {status}: {first.message or 'the service refused the request'}{code}{field}"
