"""
The life of a real server: found, started on free ports, waited for, ended.

Here: processes and ports. Not here: what a server is told (`configurations`).
"""

from __future__ import annotations

import asyncio
import os
import pwd
import secrets
import shutil
import socket
import subprocess
from pathlib import Path
from tempfile import TemporaryDirectory
from types import TracebackType
from typing import Any, Self

import attrs
import pytest

from tests.interop.authority import write_server_files
from tests.interop.configurations import Kind, Place, Settings

__all__ = ["Server", "find"]

# Debian's folder for servers is not on the path of ordinary users.
_WHERE = os.pathsep.join((os.environ.get("PATH", os.defpath), "/usr/sbin", "/usr/local/sbin"))
_STARTS = 3
_LOOKS = 1000
_SECONDS_BETWEEN_LOOKS = 0.01
_SECONDS_TO_END = 10


def find(kind: Kind) -> str:
    """Give the path of a server; without one the test is skipped, and fails where CI is set."""
    path = shutil.which(kind.binary, path=_WHERE)
    if path is None:
        missing = f"needs {kind.binary}, of Debian's package {kind.package}"
        if os.environ.get("CI"):
            pytest.fail(missing)
        pytest.skip(missing)
    return path


def _find_account() -> dict[str, Any]:
    """Give who a server runs as, where root runs the tests: whoever has no rights at all."""
    if os.geteuid() != 0:
        return {}
    nobody = pwd.getpwnam("nobody")
    return {"user": nobody.pw_uid, "group": nobody.pw_gid, "extra_groups": []}


_ACCOUNT = _find_account()


def _make_folder() -> TemporaryDirectory[str]:
    """Make a folder that the server's account can reach, unlike pytest's own."""
    folder = TemporaryDirectory(prefix="interop-")
    if _ACCOUNT:
        os.chown(folder.name, _ACCOUNT["user"], _ACCOUNT["group"])
    return folder


@attrs.define(eq=False)
class Server:
    """
    A process of *kind* before the port *upstream*; it runs within ``async with``.

    Attributes:
        port: Where it speaks plainly, on 127.0.0.1.
        tls_port: Where it speaks TLS.
    """

    kind: Kind
    settings: Settings
    upstream: int
    port: int = 0
    tls_port: int = 0
    _folder: TemporaryDirectory[str] = attrs.field(factory=_make_folder)
    _process: subprocess.Popen[bytes] | None = None

    @property
    def folder(self) -> Path:
        """All that it may write to."""
        return Path(self._folder.name)

    @property
    def url(self) -> str:
        """Where it is reached without TLS."""
        return f"http://127.0.0.1:{self.port}"

    @property
    def tls_url(self) -> str:
        """Where it is reached with TLS."""
        return f"https://127.0.0.1:{self.tls_port}"

    async def __aenter__(self) -> Self:
        write_server_files(self.folder)
        for _ in range(_STARTS):  # somebody may take a port that was free a moment ago
            self._start()
            if await self._is_ready():
                return self
            await self._end()
        pytest.fail(f"{self.kind.name} did not start:\n{self.log()}")

    async def __aexit__(
        self,
        kind: type[BaseException] | None,
        error: BaseException | None,
        trace: TracebackType | None,
    ) -> None:
        await self._end()
        self._folder.cleanup()

    def log(self) -> str:
        """Give what it has said so far."""
        files = (self.folder / "output", self.folder / "log")
        return "".join(file.read_text(errors="replace") for file in files if file.exists())

    def _start(self) -> None:
        self.port, self.tls_port = _free_ports()
        place = Place(str(self.folder), self.port, self.tls_port, self.upstream)
        text = self.kind.configuration(place, self.settings)
        (self.folder / "configuration").write_text(text)
        arguments = [part.format(folder=self.folder) for part in self.kind.arguments]
        with (self.folder / "output").open("ab") as output:
            self._process = subprocess.Popen(  # noqa: S603 - a path that we looked up
                [find(self.kind), *arguments],
                stdin=subprocess.DEVNULL,
                stdout=output,
                stderr=output,
                cwd=self.folder,
                env={"PATH": _WHERE},
                **_ACCOUNT,
            )

    async def _is_ready(self) -> bool:
        """Wait until it accepts; False if it ended, or took too long."""
        assert self._process is not None
        for _ in range(_LOOKS):
            if self._process.poll() is not None:
                return False
            if await _answers(self.port) and await _accepts(self.tls_port):
                return self._process.poll() is None
            await asyncio.sleep(_SECONDS_BETWEEN_LOOKS)
        return False

    async def _end(self) -> None:
        if self._process is None:
            return
        process, self._process = self._process, None
        process.terminate()
        try:
            # In a thread: what is behind the server lives on this loop.
            await asyncio.to_thread(process.wait, _SECONDS_TO_END)
        except subprocess.TimeoutExpired:
            process.kill()
            process.wait()
            pytest.fail(f"{self.kind.name} did not end when it was told to:\n{self.log()}")


def _free_ports() -> tuple[int, int]:
    """Give two free ports below those that systems hand out to clients and to port 0."""
    found: list[int] = []
    while len(found) < 2:
        # Not of `random`: every worker of a parallel run has the same seed.
        port = 20_000 + secrets.randbelow(10_000)
        with socket.socket() as sock:
            sock.setsockopt(socket.SOL_SOCKET, socket.SO_REUSEADDR, 1)
            try:
                sock.bind(("127.0.0.1", port))
            except OSError:
                continue
        if port not in found:
            found.append(port)
    return found[0], found[1]


async def _answers(port: int) -> bool:
    """Whether a server refuses what is no HTTP: it does that alone, without what is behind it."""
    try:
        reader, writer = await asyncio.open_connection("127.0.0.1", port)
    except OSError:
        return False
    try:
        writer.write(b"ready?\r\n\r\n")
        return bool(await reader.read(1))
    except OSError:
        return False
    finally:
        writer.transport.abort()


async def _accepts(port: int) -> bool:
    try:
        _, writer = await asyncio.open_connection("127.0.0.1", port)
    except OSError:
        return False
    writer.transport.abort()
    return True
