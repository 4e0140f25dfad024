"""Which end has which code, and in which words."""

from __future__ import annotations

import pytest

from badges_async import (
    AuthenticationError,
    BadgeNotFoundError,
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
from badges_async.cli.exits import Exit, OutputError, UsageError, exit_for, in_words


@pytest.mark.parametrize(
    ("error", "code", "words"),
    [
        (UsageError("no file"), Exit.USAGE, "no file"),
        (InvalidInputError("blank"), Exit.USAGE, "blank"),
        (AuthenticationError("HTTP 401"), Exit.STOPPED, "HTTP 401; check the credentials"),
        (
            PermissionDeniedError("HTTP 403"),
            Exit.STOPPED,
            "HTTP 403; this account may not do that",
        ),
        (OutageError("nobody answers"), Exit.STOPPED, "nobody answers"),
        (ConnectError("refused"), Exit.STOPPED, "refused"),
        (BadgeNotFoundError("HTTP 404"), Exit.PROBLEMS, "HTTP 404"),
        (OutputError("full"), Exit.PROBLEMS, "full"),
        (
            LedgerLockedError("run.db is in use by process 7 on a"),
            Exit.STOPPED,
            (
                "run.db is in use by process 7 on a; wait until it ends, or see how far it is: "
                "badges-async ledger FILE"
            ),
        ),
        (
            LedgerFullError("run.db: the disk is full"),
            Exit.STOPPED,
            (
                "run.db: the disk is full; make room and run the same command again, it goes on "
                "from there"
            ),
        ),
        (
            LedgerLostError("run.db was removed"),
            Exit.STOPPED,
            "run.db was removed; put it back and run the same command again, it goes on from there",
        ),
        (LedgerVersionError("run.db is new"), Exit.STOPPED, "run.db is new; update badges-async"),
        (
            LedgerCorruptError("run.db is damaged"),
            Exit.STOPPED,
            (
                "run.db is damaged; it is left as it is: give its right path, or begin with a new "
                "ledger"
            ),
        ),
        (LedgerError("closed"), Exit.STOPPED, "closed"),
        (FileNotFoundError(2, "No such file", "a.csv"), Exit.USAGE, "a.csv: No such file"),
        (OSError("odd"), Exit.USAGE, "odd"),
        (OSError(), Exit.USAGE, "OSError"),
        (ZeroDivisionError("a bug"), Exit.PROBLEMS, "ZeroDivisionError: a bug"),
    ],
)
def test_every_error_has_a_code_and_one_line(error: Exception, code: Exit, words: str) -> None:
    """The line says what to do next where that is not plain."""
    assert (exit_for(error), in_words(error)) == (code, words)
