"""
What can go wrong, as one tree of exceptions.

Here: the classes, their facts as attributes, and nothing that decides which of them is raised
(that is `operations` for an answer and `session` for the network). Every error is picklable, and
none ever holds a credential.

```text
BadgesError
├── InvalidInputError (also ValueError)
├── ClientClosedError (also RuntimeError)
├── StructureError (also ValueError)
├── TransportError
│   ├── ConnectError
│   ├── ConnectionLostError
│   └── DeadlineError (also TimeoutError)
├── UnreadableReplyError
├── OutageError
├── LedgerError
│   ├── LedgerLockedError
│   ├── LedgerMismatchError
│   ├── LedgerVersionError
│   ├── LedgerCorruptError
│   ├── LedgerFullError
│   └── LedgerLostError
└── APIError
    ├── InvalidRequestError
    ├── AuthenticationError
    ├── PermissionDeniedError
    ├── BadgeNotFoundError
    ├── ConflictError
    ├── RateLimitedError
    └── ServerError
```
"""

from __future__ import annotations

from typing import TYPE_CHECKING

if TYPE_CHECKING:
    from badges_async.models import Notice


class BadgesError(Exception):
    """
    The root of every error of this package.

    Attributes:
        maybe_applied: Whether the operation may have taken effect although it raised: some attempt
            of the call ended without a fully parsed answer after its first byte may have left.
            Every operation is idempotent by its key, so calling again is always safe.
        attempts: Requests that were sent for the call, 0 when none was.
    """

    maybe_applied: bool
    attempts: int

    def __init__(
        self, message: str = "", *, maybe_applied: bool = False, attempts: int = 0
    ) -> None:
        # One positional argument and defaults for the rest: what pickle needs to rebuild us.
        super().__init__(message)
        self.maybe_applied = maybe_applied
        self.attempts = attempts


class InvalidInputError(BadgesError, ValueError):
    """An argument was refused before anything was sent."""


class ClientClosedError(BadgesError, RuntimeError):
    """The client is closed, or belongs to another event loop or to another process."""


class StructureError(BadgesError, ValueError):
    """
    A document does not have the shape of the model.

    Attributes:
        problems: One line for each fault, with its path, such as
            ``expected a string, got null @ $.name``.
    """

    problems: tuple[str, ...]

    def __init__(self, message: str = "", *, problems: tuple[str, ...] = ()) -> None:
        super().__init__(message)
        self.problems = problems


class TransportError(BadgesError):
    """No usable answer came back; `maybe_applied` says whether the service may have acted."""


class ConnectError(TransportError):
    """
    The service was never reached: name, connection or TLS; `maybe_applied` is False.

    Attributes:
        certificate_refused: The service's TLS certificate did not verify. Trying again is no use,
            and it is never tried without verification.
    """

    certificate_refused: bool

    def __init__(
        self,
        message: str = "",
        *,
        maybe_applied: bool = False,
        attempts: int = 0,
        certificate_refused: bool = False,
    ) -> None:
        super().__init__(message, maybe_applied=maybe_applied, attempts=attempts)
        self.certificate_refused = certificate_refused


class ConnectionLostError(TransportError):
    """
    The connection ended, or broke HTTP, before a whole answer was read.

    Attributes:
        stale: The connection had served before and gave nothing at all this time: most likely the
            service had closed it while it was idle, so a new one is worth trying at once.
    """

    stale: bool

    def __init__(
        self,
        message: str = "",
        *,
        maybe_applied: bool = True,
        attempts: int = 0,
        stale: bool = False,
    ) -> None:
        super().__init__(message, maybe_applied=maybe_applied, attempts=attempts)
        self.stale = stale


class DeadlineError(TransportError, TimeoutError):
    """
    Time ran out, for one attempt or for the whole call.

    Attributes:
        retry_after: Seconds that the service had asked to wait when the call had no time left
            for it, else None.
    """

    retry_after: float | None

    def __init__(
        self,
        message: str = "",
        *,
        maybe_applied: bool = False,
        attempts: int = 0,
        retry_after: float | None = None,
    ) -> None:
        super().__init__(message, maybe_applied=maybe_applied, attempts=attempts)
        self.retry_after = retry_after


class UnreadableReplyError(BadgesError):
    """
    An answer arrived that is not the API's: HTML, half a document, another claim's echo.

    Attributes:
        status: The HTTP status it came with.
        request_id: The service's id of the request, for its support, if there was one.
        body: At most the first 500 characters, control characters replaced.
    """

    status: int
    request_id: str | None
    body: str

    def __init__(
        self,
        message: str = "",
        *,
        status: int = 0,
        request_id: str | None = None,
        body: str = "",
        maybe_applied: bool = True,
        attempts: int = 0,
    ) -> None:
        super().__init__(message, maybe_applied=maybe_applied, attempts=attempts)
        self.status = status
        self.request_id = request_id
        self.body = body


class OutageError(BadgesError):
    """A bulk run gave up waiting for a service that answered nobody; the rest is unsent."""


class LedgerError(BadgesError):
    """
    The ledger cannot be used, or can no longer be written; nothing more is sent then.

    What it holds stays as it is. What could not be recorded was not told to anybody either: the
    next run with the same ledger sends it again.
    """


class LedgerLockedError(LedgerError):
    """Another process uses the ledger, and is named; or another program keeps it locked."""


class LedgerMismatchError(LedgerError):
    """The file is another program's database, or a ledger of another host or account."""


class LedgerVersionError(LedgerError):
    """The ledger was written by a newer release."""


class LedgerCorruptError(LedgerError):
    """The file is no database, is damaged, or is a copy that lacks its ``-wal`` file."""


class LedgerFullError(LedgerError):
    """There was no room on the disk, or it could not be written, for as long as was waited."""


class LedgerLostError(LedgerError):
    """The file was removed or replaced while it was in use."""


class APIError(BadgesError):
    """
    The service answered, and the answer was no.

    Attributes:
        status: The HTTP status; an error can come with 200.
        code: The first error's code, if it had one.
        message: The first error's message, control characters replaced, at most 500 characters;
            our own words when the answer had no error in it.
        reference: The field that the first error is about, if it named one.
        errors: All errors of the answer.
        warnings: All warnings of the answer.
        request_id: The service's id of the request, for its support, if there was one.
    """

    status: int
    code: int | None
    message: str
    reference: str | None
    errors: tuple[Notice, ...]
    warnings: tuple[Notice, ...]
    request_id: str | None

    def __init__(
        self,
        message: str = "",
        *,
        status: int = 0,
        errors: tuple[Notice, ...] = (),
        warnings: tuple[Notice, ...] = (),
        request_id: str | None = None,
        maybe_applied: bool = False,
        attempts: int = 0,
    ) -> None:
        super().__init__(message, maybe_applied=maybe_applied, attempts=attempts)
        first = errors[0] if errors else None
        self.status = status
        self.code = first.code if first else None
        self.message = first.message if first else message
        self.reference = first.reference if first else None
        self.errors = errors
        self.warnings = warnings
        self.request_id = request_id


class InvalidRequestError(APIError):
    """The request itself is wrong: HTTP 400, or codes 400, 714, 716, 717, 737."""


class AuthenticationError(APIError):
    """HTTP 401, or the token endpoint refused the client key: check the credentials."""


class PermissionDeniedError(APIError):
    """HTTP 403: the account may not do this."""


class BadgeNotFoundError(APIError):
    """HTTP 404 or code 404: there is no such badge in this organisation."""


class ConflictError(APIError):
    """HTTP 409: the state of the badge forbids it now."""


class RateLimitedError(APIError):
    """
    HTTP 429: too many requests.

    Attributes:
        retry_after: Seconds that the service asked to wait, if it said so.
    """

    retry_after: float | None

    def __init__(
        self,
        message: str = "",
        *,
        status: int = 429,
        errors: tuple[Notice, ...] = (),
        warnings: tuple[Notice, ...] = (),
        request_id: str | None = None,
        maybe_applied: bool = False,
        attempts: int = 0,
        retry_after: float | None = None,
    ) -> None:
        super().__init__(
            message,
            status=status,
            errors=errors,
            warnings=warnings,
            request_id=request_id,
            maybe_applied=maybe_applied,
            attempts=attempts,
        )
        self.retry_after = retry_after


class ServerError(APIError):
    """HTTP 5xx with the API's own error document; the operation may have been applied."""
