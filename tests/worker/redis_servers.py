"""
Redis servers of our own: private, on loopback, on a free port; they may be killed.

The fixtures are for all tests: `tests/conftest.py` loads this module as a plugin.
"""

from __future__ import annotations

import os
import shutil
import signal
import socket
import subprocess
import time
from collections.abc import Iterator
from contextlib import suppress
from pathlib import Path
from types import TracebackType
from typing import Self

import pytest
from redis import Redis as BlockingRedis

__all__ = ["RedisServer", "free_port", "redis_server", "redis_url", "session_redis"]

_READY_WITHIN, _GONE_WITHIN = 10.0, 5.0
_LOOK = 0.02


class RedisServer:
    """
    A ``redis-server`` in a process of its own; it is skipped, or in CI failed, where none is.

    Args:
        folder: Where it keeps what it keeps.
        appendonly: Whether it keeps anything.
        appendfsync: When it is on disk.
        options: Other options, as `--requirepass`, and their values.

    Attributes:
        port: The same after a restart.
    """

    def __init__(
        self,
        folder: Path,
        *,
        appendonly: bool = False,
        appendfsync: str = "everysec",
        options: tuple[str, ...] = (),
    ) -> None:
        self.port = free_port()
        self._process: subprocess.Popen[bytes] | None = None
        self._log = folder / "redis.log"
        self._command = [
            _program(),
            *("--port", str(self.port), "--bind", "127.0.0.1", "--dir", str(folder)),
            *("--save", "", "--appendonly", "yes" if appendonly else "no"),
            *("--appendfsync", appendfsync, "--logfile", str(self._log), *options),
        ]

    @property
    def url(self) -> str:
        """Of its first database."""
        return f"redis://127.0.0.1:{self.port}/0"

    def __enter__(self) -> Self:
        self.start()
        return self

    def __exit__(
        self,
        error_type: type[BaseException] | None,
        error: BaseException | None,
        trace: TracebackType | None,
    ) -> None:
        self.stop()

    def start(self) -> None:
        """Start it; it answers when this returns."""
        self._process = subprocess.Popen(  # noqa: S603 - Redis
            self._command, stdin=subprocess.DEVNULL, stdout=subprocess.DEVNULL
        )
        deadline = time.monotonic() + _READY_WITHIN
        while not self._answers():
            if time.monotonic() > deadline or self._process.poll() is not None:
                self.stop()
                pytest.fail(f"redis-server does not answer: {self._log.read_text()[-2000:]}")
            time.sleep(_LOOK)

    def kill(self) -> None:
        """End it without a word, as a loss of power does."""
        self._end(signal.SIGKILL)

    def restart(self) -> None:
        """Start it again where it was, with what it had kept."""
        assert self._process is None, "it runs"
        self.start()

    def stop(self) -> None:
        """End it, if it runs."""
        self._end(signal.SIGTERM)

    def _end(self, how: signal.Signals) -> None:
        process, self._process = self._process, None
        if process is None:
            return
        process.send_signal(how)
        try:
            process.wait(_GONE_WITHIN)
        except subprocess.TimeoutExpired:
            process.kill()
            process.wait()

    def _answers(self) -> bool:
        """Whether it says anything at all: what is loaded, and may we in?"""
        with suppress(OSError), socket.create_connection(("127.0.0.1", self.port), 1.0) as asking:
            asking.sendall(b"PING\r\n")
            return asking.recv(16).startswith((b"+PONG", b"-NOAUTH"))
        return False


@pytest.fixture(scope="session")
def session_redis(tmp_path_factory: pytest.TempPathFactory) -> Iterator[RedisServer]:
    """Run one server for all tests of this process; it forgets everything."""
    with RedisServer(tmp_path_factory.mktemp("redis")) as server:
        yield server


@pytest.fixture
def redis_server(session_redis: RedisServer) -> RedisServer:
    """Give a server that is empty. It is not to be killed: others use it afterwards."""
    with BlockingRedis.from_url(session_redis.url) as redis:
        redis.flushall()
        redis.script_flush()
    return session_redis


@pytest.fixture
def redis_url(redis_server: RedisServer) -> str:
    """Give the URL of an empty database."""
    return redis_server.url


def free_port() -> int:
    """Give a port that nobody has."""
    with socket.create_server(("127.0.0.1", 0)) as listening:
        port: int = listening.getsockname()[1]
        return port


def _program() -> str:
    found = shutil.which("redis-server")
    if found is not None:
        return found
    reason = "redis-server is not installed"
    if os.environ.get("CI"):
        pytest.fail(f"{reason}: in CI nothing would be tested")
    pytest.skip(reason)
