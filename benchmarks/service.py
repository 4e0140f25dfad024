"""
A service that says yes to every claim at the least cost, in a process of its own.

It answers as the API's recorded replies look, headers and chunked coding included, and checks
nothing: the sandbox is the faithful service, and it would cost more than the clients do. It ends
when its standard input does, so that it cannot outlive whoever started it.
"""

from __future__ import annotations

import asyncio
import re
import subprocess
import sys
from collections.abc import Iterator
from contextlib import contextmanager, suppress
from functools import partial
from pathlib import Path
from typing import cast

from benchmarks.cores import pinned

__all__ = ["running_service"]

_ROOT = Path(__file__).parent.parent
_LENGTH = re.compile(rb"\r\ncontent-length: *([0-9]+)", re.IGNORECASE)
_HEAD = b"\r\n".join(
    (
        b"HTTP/1.1 200 OK",
        b"Date: Mon, 18 Dec 2023 10:12:49 GMT",
        b"Content-Type: application/json",
        b"Transfer-Encoding: chunked",
        b"Connection: keep-alive",
        b"X-CAP-REQUEST-ID: 0f1e2d3c4b5a69788796a5b4c3d2e1f0",
        b"X-Frame-Options: SAMEORIGIN",
        b"X-Frame-Options: SAMEORIGIN",
        b"",
        b"",
    )
)


@contextmanager
def running_service(
    core: int | None, latency: float = 0.0, *, keep_alive: bool = True
) -> Iterator[str]:
    """
    Run the service, on *core* if one is given, and give its base URL.

    Args:
        latency: Seconds that each answer takes.
        keep_alive: Whether connections are kept; if not, each is closed after one answer.
    """
    where = "" if core is None else str(core)
    keep = "keep" if keep_alive else "close"
    command = [sys.executable, "-m", "benchmarks.service", where, str(latency), keep]
    with subprocess.Popen(  # noqa: S603 - our own module
        command, cwd=_ROOT, stdin=subprocess.PIPE, stdout=subprocess.PIPE, text=True
    ) as process:
        try:
            assert process.stdout is not None  # noqa: S101 - asked for above
            yield f"http://127.0.0.1:{int(process.stdout.readline())}"
        finally:
            process.kill()


class _Connection(asyncio.Protocol):
    """Answers each claim with what it asked for, *latency* seconds later."""

    def __init__(self, latency: float, *, keep_alive: bool) -> None:
        self._unread = b""
        self._latency = latency
        self._keep_alive = keep_alive
        self._head = _HEAD if keep_alive else _HEAD.replace(b"keep-alive", b"close")

    def connection_made(self, transport: asyncio.BaseTransport) -> None:
        self._transport = cast("asyncio.Transport", transport)  # a socket's, by uvloop's own class

    def data_received(self, data: bytes) -> None:
        self._unread += data
        while (body := self._take_body()) is not None:
            held = body.rstrip()[:-1] + b', "isActive": true}'
            answer = b'{"data":%b,"errors":[],"warnings":[]}' % held
            self._answer(self._head + b"%x\r\n%b\r\n0\r\n\r\n" % (len(answer), answer))

    def _answer(self, data: bytes) -> None:
        if self._latency:
            asyncio.get_running_loop().call_later(self._latency, self._write, data)
        else:
            self._write(data)

    def _write(self, data: bytes) -> None:
        self._transport.write(data)
        if not self._keep_alive:
            self._transport.close()

    def _take_body(self) -> bytes | None:
        """Give the body of the next request, or None when it is not all there."""
        head, blank, rest = self._unread.partition(b"\r\n\r\n")
        length = _LENGTH.search(head)
        size = int(length[1]) if length else 0
        if not blank or len(rest) < size:
            return None
        self._unread = rest[size:]
        return rest[:size]


async def _serve(latency: float, *, keep_alive: bool) -> None:
    loop = asyncio.get_running_loop()
    ended = asyncio.Event()
    loop.add_reader(sys.stdin.fileno(), ended.set)  # nothing is ever written to it
    server = await loop.create_server(
        partial(_Connection, latency, keep_alive=keep_alive), "127.0.0.1", 0
    )
    print(server.sockets[0].getsockname()[1], flush=True)
    await ended.wait()


def main() -> None:
    """Serve until standard input ends; the arguments are core, latency, "keep" or "close"."""
    factory = None
    with suppress(ImportError):
        import uvloop  # noqa: PLC0415 - faster where there is one

        factory = uvloop.new_event_loop
    core, latency, keep = [*sys.argv[1:], "", "", ""][:3]
    with (
        pinned(int(core) if core else None),
        asyncio.Runner(loop_factory=factory) as runner,
    ):
        runner.run(_serve(float(latency or 0), keep_alive=keep != "close"))


if __name__ == "__main__":
    main()
