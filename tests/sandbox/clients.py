"""Clients of few words: the sandbox is tested with plain aiohttp and plain streams, not ours."""

from __future__ import annotations

import asyncio
import contextlib
from typing import Any

import aiohttp
import attrs

from badges_async.sandbox import Sandbox

BADGES = "/api_gateway/v1/badges/badgeMeta/"
# Of till.demo and s3cret-Pass, computed by hand once.
AUTHORIZATION = "Basic dGlsbC5kZW1vOjg2M2JlODE0NDViYTFmYzhmZGJlMTk3NzQ5MjE5N2E5"
BADGE = "69381220cebb9648d8974518"


@attrs.define
class Till:
    """Sends requests and gives back status and JSON."""

    session: aiohttp.ClientSession

    async def ask(self, method: str, path: str, **options: Any) -> tuple[int, Any]:
        """Send one request."""
        async with self.session.request(method, path, **options) as response:
            return response.status, await response.json()

    async def get(self, badge_id: str = BADGE, query: str = "") -> tuple[int, Any]:
        """Read a badge."""
        return await self.ask("GET", f"{BADGES}{badge_id}{query}")

    async def claim(
        self, badge_id: str = BADGE, owner_type: str = "Loyalty", reference_id: str = "123"
    ) -> tuple[int, Any]:
        """Claim a badge."""
        body = {"ownerType": owner_type, "referenceId": reference_id}
        return await self.ask("POST", f"{BADGES}{badge_id}/claim", json=body)

    async def unclaim(
        self, badge_id: str = BADGE, owner_type: str = "Loyalty", reference_id: str = "123"
    ) -> tuple[int, Any]:
        """End a claim."""
        body = {"ownerType": owner_type, "referenceId": reference_id}
        return await self.ask("POST", f"{BADGES}{badge_id}/unclaim", json=body)


@attrs.define
class Wire:
    """One bare connection to a sandbox."""

    reader: asyncio.StreamReader
    writer: asyncio.StreamWriter

    @classmethod
    async def open(cls, sandbox: Sandbox) -> Wire:
        """Connect."""
        port = int(sandbox.url.rpartition(":")[2])
        return cls(*await asyncio.open_connection("127.0.0.1", port))

    def send_claim(self, reference_id: str = "123", *, authorization: str = AUTHORIZATION) -> None:
        """Send a claim on `BADGE` and wait for nothing."""
        body = f'{{"ownerType":"Loyalty","referenceId":"{reference_id}"}}'
        self.writer.write(
            f"POST {BADGES}{BADGE}/claim HTTP/1.1\r\nHost: sandbox\r\n"
            f"Authorization: {authorization}\r\nContent-Type: application/json\r\n"
            f"Content-Length: {len(body)}\r\n\r\n{body}".encode()
        )

    async def read_head(self) -> str:
        """Read up to the body."""
        return (await self.reader.readuntil(b"\r\n\r\n")).decode()

    async def read_chunked(self) -> tuple[str, bytes]:
        """Read an answer in one chunk."""
        head = await self.read_head()
        size = int(await self.reader.readline(), 16)
        body = await self.reader.readexactly(size)
        assert await self.reader.readexactly(7) == b"\r\n0\r\n\r\n"
        return head, body

    async def read_all(self) -> bytes:
        """Read until the other side ends the connection in order."""
        return await self.reader.read()

    async def close(self) -> None:
        """Hang up."""
        self.writer.close()
        with contextlib.suppress(ConnectionError):
            await self.writer.wait_closed()
