"""Which end has which code, and in which words."""

from __future__ import annotations

import pytest

from badges_async import (
    AuthenticationError,
    BadgeNotFoundError,
    ConnectError,
    InvalidInputError,
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
        (FileNotFoundError(2, "No such file", "a.csv"), Exit.USAGE, "a.csv: No such file"),
        (OSError("odd"), Exit.USAGE, "odd"),
        (OSError(), Exit.USAGE, "OSError"),
        (ZeroDivisionError("a bug"), Exit.PROBLEMS, "ZeroDivisionError: a bug"),
    ],
)
def test_every_error_has_a_code_and_one_line(error: Exception, code: Exit, words: str) -> None:
    """The line says what to do next where that is not plain."""
    assert (exit_for(error), in_words(error)) == (code, words)
