"""
The floor: what the event loop and the kernel cost, with nothing of HTTP done by the client.

The bytes of all requests are there before the clock starts. An answer is not parsed: one that is
complete ends as the service's answers end, and that is all that is looked at.
"""

from __future__ import annotations

import asyncio
from collections.abc import Iterator
from typing import cast

from yarl import URL

from benchmarks.orders import HEADERS, PATH, Order

__all__ = ["claim_all", "prepare"]

_OK, _END = b"HTTP/1.1 200 ", b"\r\n0\r\n\r\n"


def prepare(url: str, orders: list[Order]) -> list[bytes]:
    """Give the bytes of each request."""
    return [_request(url, *order) for order in orders]


def _request(url: str, badge_id: str, owner_type: str, reference_id: str) -> bytes:
    body = f'{{"ownerType": "{owner_type}", "referenceId": "{reference_id}"}}'
    head = (
        f"POST {PATH}/{badge_id}/claim HTTP/1.1",
        f"Host: {URL(url).authority}",
        *(f"{name}: {value}" for name, value in HEADERS.items()),
        "Accept: */*",
        "Accept-Encoding: gzip, deflate",
        "User-Agent: bare-protocol/1.0",
        f"Content-Length: {len(body)}",
        "Content-Type: application/json",
    )
    return ("\r\n".join(head) + "\r\n\r\n" + body).encode("ascii")


async def claim_all(url: str, requests: list[bytes], concurrency: int) -> None:
    """Send the requests over so many connections, each the next when its answer is there."""
    loop, where = asyncio.get_running_loop(), URL(url)
    unsent = iter(requests)
    ends: list[asyncio.Future[None]] = []
    for _ in range(concurrency):
        ends.append(loop.create_future())
        await loop.create_connection(
            lambda: _Connection(unsent, ends[-1]), str(where.host), where.port or 80
        )
    await asyncio.gather(*ends)


class _Connection(asyncio.Protocol):
    def __init__(self, unsent: Iterator[bytes], ended: asyncio.Future[None]) -> None:
        self._unsent = unsent
        self._ended = ended
        self._unread = b""

    def connection_made(self, transport: asyncio.BaseTransport) -> None:
        self._transport = cast("asyncio.Transport", transport)  # a socket's, by uvloop's own class
        self._go_on()

    def data_received(self, data: bytes) -> None:
        if self._unread:
            data = self._unread + data
        if not data.endswith(_END):
            self._unread = data
            return
        self._unread = b""
        if data.startswith(_OK):
            self._go_on()
        else:
            self._fail(data)

    def connection_lost(self, exc: Exception | None) -> None:
        self._fail(exc)

    def _go_on(self) -> None:
        request = next(self._unsent, None)
        if request is not None:
            self._transport.write(request)
            return
        if not self._ended.done():
            self._ended.set_result(None)
        self._transport.close()

    def _fail(self, why: object) -> None:
        if not self._ended.done():
            self._ended.set_exception(RuntimeError(f"the service did not claim: {why!r}"))
