"""
How a command ends: the exit codes, and the one error that is about usage.

Here: which error leads to which code. Not here: how it is printed (`app`).
"""

from __future__ import annotations

import re
from enum import IntEnum

from badges_async import (
    AuthenticationError,
    BadgesError,
    ConnectError,
    InvalidInputError,
    LedgerCorruptError,
    LedgerError,
    LedgerFullError,
    LedgerLockedError,
    LedgerLostError,
    LedgerVersionError,
    OutageError,
    PermissionDeniedError,
)
from badges_async.worker import SourceError

__all__ = ["Exit", "OutputError", "UsageError", "exit_for", "in_words"]

# Redis has many words for it; all of them are about how to authenticate, or with what.
_WANTS_PASSWORD = re.compile("authenticat|username-password|NOAUTH|WRONGPASS", re.IGNORECASE)
_REDIS_ADVICE = "; set BADGES_REDIS_PASSWORD, or give --redis-password-file"


class Exit(IntEnum):
    """What the shell is told."""

    OK = 0
    PROBLEMS = 1  # some claims rejected or failed, some rows bad
    USAGE = 2  # wrong usage or input: nothing was sent, or the input broke off
    STOPPED = 3  # by an outage, by authentication, or by a ledger that cannot be written
    INTERRUPTED = 130  # 128 + SIGINT, as shells have it


class OutputError(Exception):
    """A result could not be printed; the message says why."""


class UsageError(Exception):
    """The command cannot be done as it was asked for; the message is for the person who asked."""


def exit_for(error: Exception) -> Exit:
    """Give the exit code of a command that *error* ended."""
    match error:
        case UsageError() | InvalidInputError() | SourceError():
            return Exit.USAGE  # a Redis that cannot be used is a wrong URL, or looks like one
        case AuthenticationError() | PermissionDeniedError() | OutageError() | ConnectError():
            return Exit.STOPPED
        case LedgerError():  # one that could not be opened is told as a `UsageError`
            return Exit.STOPPED
        case BadgesError():
            return Exit.PROBLEMS
        case OSError():
            return Exit.USAGE
        case _:
            return Exit.PROBLEMS


def in_words(error: Exception) -> str:
    """Give *error* as one line for the person at the terminal, with what to do next."""
    match error:
        case AuthenticationError():
            return f"{error}; check the credentials"
        case PermissionDeniedError():
            return f"{error}; this account may not do that"
        case LedgerError():
            return f"{error}{_ledger_advice(error)}"
        case BadgesError() | UsageError() | OutputError():
            wants = isinstance(error, SourceError) and _WANTS_PASSWORD.search(str(error))
            return f"{error}{_REDIS_ADVICE if wants else ''}"
        case OSError():
            parts = (error.filename, error.strerror or str(error) or type(error).__name__)
            return ": ".join(str(part) for part in parts if part)
        case _:
            return f"{type(error).__name__}: {error}"


def _ledger_advice(error: LedgerError) -> str:
    """Give what to do next, where the message itself does not say it."""
    match error:
        case LedgerLockedError():
            return "; wait until it ends, or see how far it is: badges-async ledger FILE"
        case LedgerFullError():
            return "; make room and run the same command again, it goes on from there"
        case LedgerLostError():
            return "; put it back and run the same command again, it goes on from there"
        case LedgerVersionError():
            return "; update badges-async"
        case LedgerCorruptError():
            # With another one everything is asked for again: claims that are held stay as they are.
            return "; it is left as it is: give its right path, or begin with a new ledger"
        case _:
            return ""
