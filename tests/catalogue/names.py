"""
The names of a network, in the place of the system's resolver.

Here: what a name resolves to, and when aiohttp asks again. Not here: who listens there.
"""

from __future__ import annotations

import asyncio
import socket
import time
from typing import Any

import pytest

__all__ = ["Names"]


class Names:
    """
    Answers the running loop's questions for names: with a port of this machine, or by failing.

    Args:
        answers: Ports and errors, one for each question; the last one is for all further ones.

    Attributes:
        asked: How often a name was asked for.
    """

    def __init__(self, patch: pytest.MonkeyPatch, *answers: int | Exception) -> None:
        self.asked = 0
        self._answers = list(answers)
        self._ahead = 0.0
        loop = asyncio.get_running_loop()
        self._system = loop.getaddrinfo
        patch.setattr(loop, "getaddrinfo", self._resolve)
        # The clock by which aiohttp forgets an address.
        patch.setattr("aiohttp.connector.monotonic", lambda: time.monotonic() + self._ahead)

    def change(self, *answers: int | Exception) -> None:
        """Answer otherwise from now on."""
        self._answers = list(answers)

    def let_pass(self, seconds: float) -> None:
        """Let time pass for those who remember an address."""
        self._ahead += seconds

    async def _resolve(self, host: str, *args: Any, **options: Any) -> list[tuple[Any, ...]]:
        if host[:1].isdigit():
            return await self._system(host, *args, **options)  # uvloop asks for addresses as well
        self.asked += 1
        answer = self._answers.pop(0) if len(self._answers) > 1 else self._answers[0]
        if isinstance(answer, Exception):
            raise answer
        return [(socket.AF_INET, socket.SOCK_STREAM, 0, "", ("127.0.0.1", answer))]
