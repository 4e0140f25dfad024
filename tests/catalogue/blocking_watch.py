"""
Looking for calls that hold an event loop up, by what they are and not by how long they took.

Here: what waits for a disk, a name or the clock, noted when it happens on the watched thread. Not
here: what may be done there all the same (the tests say).
"""

from __future__ import annotations

import builtins
import io
import os
import socket
import threading
import time
from collections.abc import Callable
from typing import Any

import pytest

from badges_async.ledger import connection

__all__ = ["watch_blocking_calls"]

_CALLS: tuple[tuple[Any, str], ...] = (
    *((builtins, "open"), (io, "open"), (os, "open"), (os, "fsync"), (os, "link"), (os, "unlink")),
    *((os, "rename"), (os, "replace"), (time, "sleep"), (socket, "getaddrinfo")),
    *((socket, "gethostbyname"), (socket, "create_connection")),
)
_STATEMENTS = ("execute", "executemany", "executescript", "commit", "close")


def watch_blocking_calls(monkeypatch: pytest.MonkeyPatch) -> list[str]:
    """Give the list that names each blocking call of this thread from here on, with its subject."""
    thread, seen = threading.get_ident(), list[str]()

    def watched(name: str, call: Callable[..., Any]) -> Callable[..., Any]:
        def wrapper(*args: Any, **options: Any) -> Any:
            if threading.get_ident() == thread:
                seen.append(f"{name} {args[0] if args else ''}")
            return call(*args, **options)

        return wrapper

    for module, name in _CALLS:
        monkeypatch.setattr(module, name, watched(name, getattr(module, name)))
    known = connection._Connection  # noqa: SLF001 - SQLite's own class cannot be changed
    methods = {name: _of_a_connection(watched, known, name) for name in _STATEMENTS}
    monkeypatch.setattr(connection, "_Connection", type("_Watched", (known,), methods))
    return seen


def _of_a_connection(watched: Any, known: type, name: str) -> Callable[..., Any]:
    call = watched(f"sqlite3.{name}", getattr(known, name))

    def method(self: Any, *args: Any) -> Any:
        return call(self, *args)

    return method
