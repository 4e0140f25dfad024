"""
A Badges service without a network: steps that say what becomes of each request.

A `ScriptedTransport` is handed to a client as its port, so that a test on the virtual clock can say
"refused three times, then well" and look at what was sent, and when.
"""

from __future__ import annotations

import asyncio
import inspect
import json
import random
from collections.abc import AsyncIterable, Awaitable, Callable, Iterable, Mapping
from typing import Any

import attrs

from badges_async import (
    BadgesClient,
    BasicAuth,
    ClaimOutcome,
    ClaimRequest,
    ConnectError,
    ConnectionLostError,
    DeadlineError,
    OwnerType,
    Ports,
)
from badges_async.messages import Reply, Request
from tests.answers import HTML, envelope, held, make_reply, notice, refusal
from tests.virtual_clock import now

Step = Callable[["Sent"], Reply | Awaitable[Reply]]
"""What becomes of one request: a reply, an exception, or either of them later."""


@attrs.frozen(eq=False)
class Sent:
    """One request as it left the client; `number` is 1 for the first."""

    number: int
    at: float
    request: Request
    headers: Mapping[str, str]
    seconds: float
    fresh: bool
    service: ScriptedTransport

    @property
    def key(self) -> tuple[str, str]:
        """The badge and the reference that a claim is about."""
        return self.request.subject, json.loads(self.request.body or b"{}").get("referenceId", "")


class ScriptedTransport:
    """
    Answers with one step of the script for each request, then with what *then* does.

    Attributes:
        sent: Every request, oldest first.
        held: The claims that stand.
        in_flight, peak: Requests being answered, and the most of them at once.
    """

    lane = "scripted"

    def __init__(self, *script: Step, then: Step | None = None, latency: float = 0.05) -> None:
        self.sent: list[Sent] = []
        self.held: set[tuple[str, str]] = set()
        self.in_flight = self.peak = 0
        self.closed = False
        self._script = list(script)
        self._then = then or well
        self._latency = latency

    @property
    def times(self) -> list[float]:
        """When each request left, in the loop's time."""
        return [sent.at for sent in self.sent]

    def sent_for(self, row: ClaimRequest) -> list[Sent]:
        """Give the requests that claimed *row*."""
        return [sent for sent in self.sent if sent.key == (row.badge_id, row.reference_id)]

    def holds(self, row: ClaimRequest) -> bool:
        """Whether the claim of *row* stands."""
        return (row.badge_id, row.reference_id) in self.held

    def ensure_usable(self) -> None:
        """Be usable."""

    async def send(
        self,
        request: Request,
        headers: Mapping[str, str],
        *,
        seconds: float,
        fresh: bool = False,
        on_sent: Callable[[], None] | None = None,
    ) -> Reply:
        """Take the next step."""
        sent = Sent(len(self.sent) + 1, now(), request, headers, seconds, fresh, self)
        self.sent.append(sent)
        if on_sent is not None:
            on_sent()
        step = self._script.pop(0) if self._script else self._then
        self.in_flight += 1
        self.peak = max(self.peak, self.in_flight)
        try:
            async with asyncio.timeout(seconds):
                await asyncio.sleep(self._latency)
                answer = step(sent)
                return await answer if inspect.isawaitable(answer) else answer
        except TimeoutError:
            raise DeadlineError(f"no whole answer within {seconds} s", maybe_applied=True) from None
        finally:
            self.in_flight -= 1

    async def close(self) -> None:
        """Note it."""
        self.closed = True


def well(sent: Sent) -> Reply:
    """Do what is asked, as the service does."""
    if sent.request.operation == "get_badge":
        return make_reply(200, envelope({"id": sent.request.subject, "name": "A badge"}))
    stood = sent.key in sent.service.held
    sent.service.held.add(sent.key)
    warnings = [notice(900)] if stood else []
    return make_reply(200, envelope(held(referenceId=sent.key[1]), None, warnings))


def refused(status: int, *codes: int, retry_after: int | None = None) -> Step:
    """Refuse with an error document; without codes, with a bare ``{}``."""
    headers = {} if retry_after is None else {"Retry-After": str(retry_after)}
    body = refusal(*codes) if codes else b"{}"
    return lambda _: make_reply(status, body, headers)


def html(status: int, *, after: bool = False, retry_after: int | None = None) -> Step:
    """Answer with a gateway's page, before the request takes effect or *after* it has."""
    headers = {} if retry_after is None else {"Retry-After": str(retry_after)}

    def step(sent: Sent) -> Reply:
        if after:
            well(sent)
        return make_reply(status, HTML, headers)

    return step


def lost_before(_: Sent) -> Reply:
    """Lose the connection before the request takes effect."""
    raise ConnectionLostError("the connection was lost")


def lost_after(sent: Sent) -> Reply:
    """Lose the connection after the request has taken effect."""
    well(sent)
    raise ConnectionLostError("the connection was lost")


def stale(_: Sent) -> Reply:
    """Find that the connection had been closed while it was idle."""
    raise ConnectionLostError("the connection was lost", stale=True)


def unreachable(_: Sent) -> Reply:
    """Refuse the connection."""
    raise ConnectError("could not connect")


async def hang(_: Sent) -> Reply:
    """Say nothing for ever."""
    await asyncio.get_running_loop().create_future()
    raise AssertionError


def take(seconds: float, step: Step = well) -> Step:
    """Take *seconds* longer than usual."""

    async def later(sent: Sent) -> Reply:
        await asyncio.sleep(seconds)
        answer = step(sent)
        assert isinstance(answer, Reply)
        return answer

    return later


def make_client(transport: ScriptedTransport, *, seed: int = 1, **options: Any) -> BadgesClient:
    """Give a client of *transport*, with dice of its own."""
    auth = options.pop("auth", None) or BasicAuth("till", "password")
    host = options.pop("host", "badges.example.com")
    ports = options.pop("ports", None) or Ports(
        transport=transport,
        random=random.Random(seed),  # noqa: S311 - jitter
    )
    return BadgesClient(host, auth, ports=ports, **options)


def make_rows(count: int, *, start: int = 0) -> list[ClaimRequest]:
    """Give claims on so many badges."""
    return [
        ClaimRequest(f"{number:024x}", OwnerType.LOYALTY, f"r{number}")
        for number in range(start, start + count)
    ]


async def claim_each(
    client: BadgesClient,
    rows: Iterable[ClaimRequest] | AsyncIterable[ClaimRequest],
    **options: Any,
) -> list[ClaimOutcome]:
    """Run a bulk run to its end."""
    async with client.claim_many(rows, **options) as run:
        return [outcome async for outcome in run]
