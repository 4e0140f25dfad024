"""``get``, ``claim``, ``unclaim``: one call, one answer."""

from __future__ import annotations

import json
from collections.abc import Iterator
from datetime import MAXYEAR, MINYEAR, datetime
from typing import Any

from rich.text import Text

from badges_async import Badge, BadgesClient, ClaimResult, SortOrder
from badges_async.cli import loops
from badges_async.cli.exits import Exit
from badges_async.cli.output import clean, emit
from badges_async.converter import unstructure

__all__ = ["claim", "get", "unclaim"]

_CLAIMS_SHOWN = 20


def get(
    client: BadgesClient,
    badge_id: str,
    *,
    include_statistics: bool | None,
    limit: int | None,
    order: SortOrder | None,
    as_json: bool,
) -> Exit:
    """Print a badge."""

    async def call() -> Badge:
        async with client:
            return await client.get_badge(
                badge_id, include_statistics=include_statistics, limit=limit, order=order
            )

    badge = loops.run(call())
    emit(_json(unstructure(badge)) if as_json else Text("\n").join(_card(badge)))
    return Exit.OK


def claim(
    client: BadgesClient, badge_id: str, owner_type: str, reference_id: str, *, as_json: bool
) -> Exit:
    """Claim a badge and print the answer."""

    async def call() -> ClaimResult:
        async with client:
            return await client.claim(badge_id, owner_type, reference_id)

    result = loops.run(call())
    verb = "already claimed" if result.already_claimed else "claimed"
    emit(_json(_values(result)) if as_json else _line(verb, result))
    return Exit.OK


def unclaim(
    client: BadgesClient, badge_id: str, owner_type: str, reference_id: str, *, as_json: bool
) -> Exit:
    """Take a claim back and print the answer."""

    async def call() -> ClaimResult:
        async with client:
            return await client.unclaim(badge_id, owner_type, reference_id)

    result = loops.run(call())
    emit(_json(_values(result)) if as_json else _line("unclaimed", result))
    return Exit.OK


def _json(values: Any) -> Text:  # noqa: ANN401 - any JSON
    return Text(json.dumps(values, ensure_ascii=False, indent=2))


def _values(result: ClaimResult) -> dict[str, Any]:
    return {
        "badgeId": result.badge_id,
        "ownerType": str(result.claim.owner_type),
        "referenceId": result.claim.reference_id,
        "isActive": result.claim.is_active,
        "alreadyClaimed": result.already_claimed,
        "warnings": [
            {"code": notice.code, "message": notice.message, "reference": notice.reference}
            for notice in result.warnings
        ],
        "requestId": result.request_id,
        "attempts": result.attempts,
    }


def _line(verb: str, result: ClaimResult) -> Text:
    owner = f"{result.claim.owner_type} {result.claim.reference_id}"
    line = Text.assemble((verb, "green"), f"  badge {clean(result.badge_id)} for {clean(owner)}")
    for notice in result.warnings:
        if not result.already_claimed:
            line.append(f"\nwarning {notice.code}: {clean(notice.message)}", "yellow")
    return line


def _card(badge: Badge) -> Iterator[Text]:
    yield Text(clean(badge.name), "bold")
    facts = [(name, value) for name, value in _facts(badge) if value]
    width = max(len(name) for name, _ in facts)
    for name, value in facts:
        yield Text.assemble((f"  {name:<{width}}  ", "dim"), clean(value))
    claims = badge.ownership.claims
    for each in claims[:_CLAIMS_SHOWN]:
        ended = "  (unclaimed)" if each.is_active is False else ""
        yield Text(f"    {clean(each.owner_type)}  {clean(each.reference_id)}{ended}")
    if len(claims) > _CLAIMS_SHOWN:
        yield Text(f"    and {len(claims) - _CLAIMS_SHOWN:,} more; --json shows all", "dim")


def _facts(badge: Badge) -> Iterator[tuple[str, str]]:
    yield "id", badge.id
    yield "description", badge.description or ""
    active = {True: "active", False: "not active", None: ""}[badge.active]
    yield "status", ", ".join(filter(None, [badge.status or "", active]))
    yield "earn type", badge.earn_type or ""
    yield "starts", _time(badge.start_on)
    yield "expires", _time(badge.expires_on)
    yield "group", badge.badge_group_name or badge.badge_group_id or ""
    yield "rank", "" if badge.badge_rank is None else str(badge.badge_rank)
    yield "tags", ", ".join(f"{tag.name}={tag.value}" for tag in badge.tags)
    yield "issued", "" if badge.issued_count is None else f"{badge.issued_count:,}"
    yield "earned", "" if badge.earned_count is None else f"{badge.earned_count:,}"
    yield "for owners", ", ".join(badge.ownership.restricted_to_owners)
    yield "claims", f"{len(badge.ownership.claims):,}"


def _time(value: datetime | None) -> str:
    if value is None or value.year in {MINYEAR, MAXYEAR}:
        return ""  # beyond what a datetime holds; --json has what the service sent
    return value.strftime("%Y-%m-%d %H:%M UTC")
