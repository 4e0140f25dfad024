"""
A port that answers no knock, as behind a firewall that drops what it does not like.

Here: the port. Not here: a peer that takes a connection and then says nothing (`byte_server`).
"""

from __future__ import annotations

import contextlib
import socket
from collections.abc import Iterator

__all__ = ["black_hole"]


@contextlib.contextmanager
def black_hole() -> Iterator[int]:
    """Give a port whose queue of new connections is full: the system drops what else comes."""
    with contextlib.ExitStack() as sockets:
        listening = sockets.enter_context(socket.socket())
        listening.bind(("127.0.0.1", 0))
        listening.listen(0)
        port: int = listening.getsockname()[1]
        for _ in range(4):
            knocking = sockets.enter_context(socket.socket())
            knocking.settimeout(0)
            with contextlib.suppress(BlockingIOError):
                knocking.connect(("127.0.0.1", port))
        yield port
