"""
``worker status``: where a stream stands, and how much of each quota is used.

Here: looking once, and printing. Not here: what is looked at (`badges_async.worker`).
"""

from __future__ import annotations

from collections.abc import Iterator, Sequence
from typing import TYPE_CHECKING, Any

import attrs
from rich.text import Text

from badges_async.cli import loops
from badges_async.cli.exits import Exit
from badges_async.cli.fleet.options import Place
from badges_async.cli.fleet.showing import json_text
from badges_async.cli.output import clean, emit
from badges_async.cli.summary import duration
from badges_async.worker import Consumer, Standing

if TYPE_CHECKING:
    from badges_async.worker import QuotaUse

__all__ = ["show_standing"]

_CONSUMERS_SHOWN = 20


def show_standing(place: Place, *, as_json: bool) -> Exit:
    """
    Print where the stream of *place* stands.

    Raises:
        UsageError: It is not said which Redis, or the extra is not installed.
        SourceError: Redis is not there, or refuses us.
    """
    standing, uses = loops.run(_look(place))
    emit(_document(place, standing, uses) if as_json else _picture(place, standing, uses))
    return Exit.OK


async def _look(place: Place) -> tuple[Standing, Sequence[QuotaUse]]:
    async with place.open_stream() as (redis, stream):
        from badges_async.worker import quota_uses  # noqa: PLC0415 - needs the extra

        return await stream.standing(), await quota_uses(redis)


def _document(place: Place, standing: Standing, uses: Sequence[QuotaUse]) -> Text:
    values: dict[str, Any] = {
        "stream": place.stream,
        "group": place.group,
        **standing.as_values(),
        "quotas": [attrs.asdict(use) for use in uses],
    }
    return json_text(values)


def _picture(place: Place, standing: Standing, uses: Sequence[QuotaUse]) -> Text:
    head = Text.assemble((clean(place.stream), "bold"), f": group {clean(place.group)}")
    blocks = [
        [head, *_counts(standing)],
        list(_consumers(standing.consumers)),
        list(_quotas([use for use in uses if any(use.taken) or use.hold])),
    ]
    return Text("\n\n").join(Text("\n").join(lines) for lines in blocks if lines)


def _counts(standing: Standing) -> Iterator[Text]:
    oldest = standing.oldest_seconds
    age = "" if oldest is None else f"the oldest is {duration(oldest)} old"
    why = "badges-async worker dlq list shows why" * bool(standing.dead_letters)
    lines = [
        ("waiting", standing.waiting, "bold", age),
        ("pending", standing.pending, "", "in the hands of workers" * bool(standing.pending)),
        ("dead letters", standing.dead_letters, "red", why),
        ("outcomes", standing.outcomes, "", ""),
    ]
    width = max(len(f"{count:,}") for _, count, _, _ in lines)
    for name, count, style, note in lines:
        text = f"  {name:<12} {count:>{width},}"
        yield Text.assemble((text, style if count else "dim"), (note and f"   {note}", "dim"))


def _consumers(consumers: Sequence[Consumer]) -> Iterator[Text]:
    if not consumers:
        return
    yield Text("  Workers", "bold")
    shown = sorted(consumers, key=lambda one: one.idle_seconds)[:_CONSUMERS_SHOWN]
    names = [clean(one.name) for one in shown]
    width = max(map(len, names))
    for name, one in zip(names, shown, strict=True):
        idle = f"heard of {duration(one.idle_seconds)} ago"
        yield Text.assemble(f"  {name:<{width}}  {one.pending:>6,} held", (f"   {idle}", "dim"))
    if len(consumers) > len(shown):
        yield Text(f"  and {len(consumers) - len(shown):,} more", "dim")


def _quotas(uses: Sequence[QuotaUse]) -> Iterator[Text]:
    if not uses:
        return
    yield Text("  Quotas in use", "bold")
    names = [clean(use.name) for use in uses]
    width = max(map(len, names))
    for name, use in zip(names, uses, strict=True):
        limits = use.quotas.split()
        taken = ", ".join(
            f"{count:,} of {clean(limit)}" for count, limit in zip(use.taken, limits, strict=False)
        )
        hold = f"   on hold for {duration(use.hold)}" if use.hold else ""
        yield Text.assemble(f"  {name:<{width}}  {taken}", (hold, "yellow"))
