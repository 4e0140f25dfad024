"""
Standard output and standard error.

Here: the only writes to both, and what can go wrong with them. A reader that has gone away is no
error; text from files and servers is shown as text, never as markup or as terminal commands.
"""

from __future__ import annotations

import os
import sys
from typing import IO, TextIO

from rich.console import Console, RenderableType
from rich.text import Text

from badges_async.cli.exits import OutputError

__all__ = ["clean", "complain", "console", "emit", "prepare_streams", "silence"]


class _Console(Console):
    """A console that prints what it is given, and falls silent when nobody reads it."""

    def on_broken_pipe(self) -> None:
        self.quiet = True
        silence(self.file)


def console(stream: TextIO) -> Console:
    """Give a console on *stream* that wraps, highlights and interprets nothing."""
    return _Console(file=stream, highlight=False, markup=False, emoji=False, soft_wrap=True)


def emit(what: RenderableType) -> None:
    """
    Print a result on standard output.

    Raises:
        OutputError: It could not be printed, for another reason than that nobody wants it.
    """
    if sys.stdout is None:  # how Python shows a descriptor that was closed
        return
    try:
        console(sys.stdout).print(what)
        sys.stdout.flush()
    except BrokenPipeError:
        silence(sys.stdout)
    except OSError as error:
        silence(sys.stdout)
        raise OutputError(f"standard output: {error.strerror or error}") from None


def complain(message: str) -> None:
    """Print one line on standard error: what is wrong."""
    if sys.stderr is None:
        return
    line = Text.assemble(("badges-async: ", "bold red"), clean(message))
    try:
        console(sys.stderr).print(line)
    except OSError:
        silence(sys.stderr)


def clean(text: str) -> str:
    """Give *text* in one line, with everything that does not print escaped."""
    if text.isprintable():
        return text
    return "".join(one if one.isprintable() else ascii(one)[1:-1] for one in text)


def prepare_streams() -> None:
    """Let a terminal that cannot show a character get its number instead of failing."""
    for stream in (sys.stdout, sys.stderr):
        if reconfigure := getattr(stream, "reconfigure", None):
            reconfigure(errors="backslashreplace")


def silence(stream: IO[str]) -> None:
    """Send what is still to be written to *stream* nowhere, at the interpreter's end too."""
    try:
        descriptor = stream.fileno()
    except (OSError, ValueError):
        return
    nowhere = os.open(os.devnull, os.O_WRONLY)
    os.dup2(nowhere, descriptor)
    os.close(nowhere)
