"""
A redis-server of our own, in memory, on loopback.

`running_redis` starts this module, and that starts Redis: whoever started it may be killed, and
Redis does not stay behind.
"""

from __future__ import annotations

import shutil
import socket
import subprocess
import sys
import tempfile
import time
from collections.abc import Iterator
from contextlib import closing, contextmanager, suppress

from benchmarks.cores import pinned
from benchmarks.processes import our_process

__all__ = ["path_of_redis", "redis_version", "running_redis"]

_PATIENCE = 10.0  # seconds, for the first answer
_LOOK = 0.02


def path_of_redis() -> str | None:
    """Give where redis-server is, if it is installed."""
    return shutil.which("redis-server")


def redis_version() -> str:
    """Give what Redis says it is, as ``Redis 7.0.15``."""
    done = subprocess.run(  # noqa: S603 - Redis
        [path_of_redis() or "redis-server", "--version"], check=True, capture_output=True, text=True
    )
    version = next(word for word in done.stdout.split() if word.startswith("v="))
    return f"Redis {version.removeprefix('v=')}"


@contextmanager
def running_redis(core: int | None) -> Iterator[str]:
    """Run Redis, on *core* if one is given, and give its URL."""
    with our_process("benchmarks.redis_server", "" if core is None else core) as process:
        assert process.stdout is not None  # noqa: S101 - `our_process` asks for it
        yield f"redis://127.0.0.1:{int(process.stdout.readline())}/0"


@contextmanager
def _redis(folder: str) -> Iterator[int]:
    port = _free_port()
    options = f"--port {port} --bind 127.0.0.1 --dir {folder} --appendonly no".split()
    process = subprocess.Popen(  # noqa: S603 - Redis
        [path_of_redis() or "redis-server", *options, "--save", ""],
        stdin=subprocess.DEVNULL,
        stdout=subprocess.DEVNULL,
    )
    try:
        if not _answers(port):
            raise RuntimeError("Redis does not answer")
        yield port
    finally:
        process.terminate()
        process.wait()


def _free_port() -> int:
    with socket.create_server(("127.0.0.1", 0)) as listening:
        port: int = listening.getsockname()[1]
        return port


def _answers(port: int) -> bool:
    deadline = time.monotonic() + _PATIENCE
    while time.monotonic() < deadline:
        with suppress(OSError), closing(socket.create_connection(("127.0.0.1", port))) as asking:
            asking.sendall(b"PING\r\n")
            if asking.recv(16).startswith(b"+PONG"):
                return True
        time.sleep(_LOOK)
    return False


def main() -> None:
    """Serve until standard input ends; the argument is the core."""
    core = next(iter(sys.argv[1:]), "")
    with (
        pinned(int(core) if core else None),
        tempfile.TemporaryDirectory() as folder,
        _redis(folder) as port,
    ):
        print(port, flush=True)
        sys.stdin.read()


if __name__ == "__main__":
    main()
