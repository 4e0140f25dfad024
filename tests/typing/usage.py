"""
Typical calls, checked by mypy and never run: what a user's own type checker sees.

A line that must be an error carries an ignore, and mypy's `warn_unused_ignores` fails when it no
longer is one.
"""

from __future__ import annotations

from collections.abc import AsyncIterator, Iterator, Mapping
from datetime import datetime
from typing import Any, assert_type

import aiohttp

from badges_async import (
    APIError,
    AttemptEvent,
    Auth,
    Badge,
    BadgesClient,
    BadgesError,
    BadgeStatus,
    BasicAuth,
    BulkReport,
    Claim,
    ClaimOutcome,
    ClaimRequest,
    ClaimResult,
    ClaimStatus,
    DeadlineError,
    Notice,
    OAuth,
    OwnerType,
    Quota,
    RateLimitedError,
    RetryPolicy,
    Timeout,
    UnreadableReplyError,
)
from badges_async.converter import structure, unstructure
from badges_async.sandbox import Sandbox

BADGE_ID = "662749408fe258516a88fe89"


async def one_call() -> None:
    async with BadgesClient("eu.api.example.com", BasicAuth("till", "password")) as client:
        assert_type(client, BadgesClient)
        badge = await client.get_badge(BADGE_ID, include_statistics=True)
        assert_type(badge, Badge)
        assert_type(badge.id, str)
        assert_type(badge.start_on, datetime | None)
        assert_type(badge.status, BadgeStatus | str | None)
        assert_type(badge.ownership.claims, tuple[Claim, ...])
        assert_type(badge.extra, Mapping[str, Any])
        result = await client.claim(BADGE_ID, OwnerType.LOYALTY, "123")
        assert_type(result, ClaimResult)
        assert_type(result.claim.owner_type, OwnerType | str)
        assert_type(result.warnings, tuple[Notice, ...])
        assert_type(await client.unclaim(BADGE_ID, "Loyalty", "123", timeout=5), ClaimResult)


async def every_option(session: aiohttp.ClientSession) -> BadgesClient:
    def watch(event: AttemptEvent) -> None:
        assert_type(event.error, BadgesError | None)
        assert_type(event.waits, Mapping[str, float])

    auth: Auth = OAuth("key", "secret")
    return BadgesClient(
        "https://eu.api.example.com",
        auth,
        timeout=Timeout(total=30, attempt=10, connect=2),
        retry=RetryPolicy(max_attempts=3, base=0.1, cap=5),
        quota=Quota.parse("100/60s"),
        max_connections=50,
        lane="session",
        session=session,
        observers=[watch, print],
        ssl=None,
    )


async def very_many(client: BadgesClient) -> BulkReport:
    async def rows() -> AsyncIterator[ClaimRequest]:
        yield ClaimRequest(BADGE_ID, OwnerType.LOYALTY, "1")

    async with client.claim_many(rows(), concurrency=64) as outcomes:
        async for outcome in outcomes:
            assert_type(outcome, ClaimOutcome)
            assert_type(outcome.request, ClaimRequest)
            assert_type(outcome.status, ClaimStatus)
            assert_type(outcome.result, ClaimResult | None)
            assert_type(outcome.error, BadgesError | None)
    requests = ClaimRequest.for_badges([BADGE_ID], "loyalty", "123")
    assert_type(requests, Iterator[ClaimRequest])
    report = await client.claim_all(requests, on_outcome=print)
    assert_type(report, BulkReport)
    assert_type(report.counts, Mapping[ClaimStatus, int])
    assert_type(report.errors, Mapping[str, int])
    assert_type(report.ok, bool)
    assert_type(report.claims_per_second, float)
    return report


async def each_error(client: BadgesClient) -> None:
    try:
        await client.claim(BADGE_ID, OwnerType.LOYALTY, "123")
    except RateLimitedError as error:
        assert_type(error.retry_after, float | None)
    except APIError as error:
        assert_type(error.code, int | None)
        assert_type(error.errors, tuple[Notice, ...])
    except UnreadableReplyError as error:
        assert_type(error.body, str)
    except DeadlineError as error:
        assert_type(error.retry_after, float | None)
    except BadgesError as error:
        assert_type(error.maybe_applied, bool)
        assert_type(error.attempts, int)


def documents(document: dict[str, Any]) -> dict[str, Any]:
    badge = structure(document, Badge)
    assert_type(badge, Badge)
    assert_type(structure(document, Claim), Claim)
    return unstructure(badge)


async def with_a_sandbox() -> None:
    async with Sandbox(quota=None, latency=0.01) as sandbox:
        assert_type(sandbox, Sandbox)
        assert_type(sandbox.url, str)


class Tenant(BadgesClient):
    """A client of one's own keeps its type."""


async def own_client() -> None:
    async with Tenant.from_env(quota=Quota(100)) as client:
        assert_type(client, Tenant)


async def what_a_type_checker_must_refuse(client: BadgesClient) -> None:
    badge = await client.get_badge(BADGE_ID)
    badge.name = "x"  # type: ignore[misc]
    await client.get_badge(BADGE_ID, True)  # type: ignore[call-arg]  # noqa: FBT003
    await client.claim(BADGE_ID, 1, "123")  # type: ignore[arg-type]
    await client.claim(BADGE_ID, "Loyalty")  # type: ignore[call-arg]
    BadgesClient("host")  # type: ignore[call-arg]
    BadgesClient("host", BasicAuth("a", "b"), Timeout())  # type: ignore[call-arg]
    BadgesClient("host", ("till", "password"))  # type: ignore[arg-type]
    await client.claim_all([("badge", "owner", "reference")])  # type: ignore[list-item]
    structure({}, dict)  # type: ignore[type-var]
