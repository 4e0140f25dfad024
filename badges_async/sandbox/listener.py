"""
The port: open, closed, and kept while it is closed.

Here: sockets and the connections on them. Not here: requests (`service`).
"""

from __future__ import annotations

import asyncio
import socket

from aiohttp import web

__all__ = ["HOST", "Listener"]

HOST = "127.0.0.1"  # never another: a sandbox's credentials are printed in its documentation


class Listener:
    """
    One port on loopback, which may be opened and closed many times.

    Attributes:
        port: 0 until it has been opened, if any free one will do.
    """

    def __init__(self, port: int) -> None:
        self.port = port
        self._listening: asyncio.Server | None = None
        self._placeholder: socket.socket | None = None

    async def open(self, server: web.Server) -> None:
        """
        Hand connections to *server*; does nothing when it does so already.

        Raises:
            OSError: The port is taken.
        """
        if self._listening is not None:
            return
        self.release()
        sock = _bind(self.port)
        self.port = sock.getsockname()[1]
        loop = asyncio.get_running_loop()
        self._listening = await loop.create_server(server, sock=sock, backlog=1024)

    async def close(self, server: web.Server) -> None:
        """Refuse connections and end those of *server*, requests included; keep the port."""
        if self._listening is None:
            return
        listening, self._listening = self._listening, None
        listening.close()
        # Bound but not listening: refuses, and keeps others off the port, a client's own end too.
        self._placeholder = _bind(self.port)
        await _end_connections(server)
        await listening.wait_closed()

    def release(self) -> None:
        """Let the port of a closed listener go."""
        if self._placeholder is not None:
            self._placeholder.close()
            self._placeholder = None


async def _end_connections(server: web.Server) -> None:
    # A connection that was accepted just now needs two turns to be in the list.
    await asyncio.sleep(0)
    await asyncio.sleep(0)
    while connections := server.connections:
        for connection in connections:
            if connection.transport is not None:
                connection.transport.abort()
        # Each leaves the list when its task is done; they only have to be let run.
        await asyncio.sleep(0)


def _bind(port: int) -> socket.socket:
    sock = socket.socket(socket.AF_INET, socket.SOCK_STREAM)
    try:
        # The connections of a run before, in TIME_WAIT, do not block the port.
        sock.setsockopt(socket.SOL_SOCKET, socket.SO_REUSEADDR, 1)
        sock.bind((HOST, port))
    except OSError:
        sock.close()
        raise
    return sock
