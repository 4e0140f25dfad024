"""
Where the time of a run went: its workers' seconds by cause.

Here: shares, and what the causes mean. Not here: how they are shown (`summary`, `page`).
"""

from __future__ import annotations

import attrs

from badges_async.cli.ending import Ending

__all__ = ["OTHER", "Wait", "meaning_of", "time_by_cause"]

OTHER = "other"

# Those that the run was meant to wait for first: it is the order of the bar and of its colours.
_MEANINGS = {
    "service": "answers of the service",
    "quota": "the quota that was asked for",
    "pace": "the limit learned from the service",
    "gate": "pauses that the service asked for",
    "backoff": "before trying again after an error",
    "outage": "the service to come back",
    "slot": "a free connection",
    "token": "an OAuth token",
    "ledger": "the ledger on disk",
    OTHER: "own work, or no row left to do",
}
_LEAST = 0.0005  # of all time; below it is no news


@attrs.frozen
class Wait:
    """Seconds for one cause, and their part of all workers' time."""

    cause: str
    seconds: float
    share: float


def time_by_cause(ending: Ending) -> list[Wait]:
    """Give where the workers' time went; the shares add up to 1, unless no time has passed."""
    waits = {cause: seconds for cause, seconds in ending.waits.items() if seconds > 0}
    spent = sum(waits.values())
    whole = max(ending.workers * ending.report.elapsed, spent)
    if not whole:
        return []
    waits[OTHER] = waits.get(OTHER, 0.0) + whole - spent
    every = (Wait(cause, waits[cause], waits[cause] / whole) for cause in in_order(waits))
    return [wait for wait in every if wait.cause != OTHER or wait.share > _LEAST]


def in_order(causes: dict[str, float]) -> list[str]:
    """Sort *causes* as they are shown; one that is not known here comes before the rest."""
    places = {cause: place for place, cause in enumerate(_MEANINGS)}
    return sorted(causes, key=lambda cause: (places.get(cause, places[OTHER] - 0.5), cause))


def meaning_of(cause: str) -> str:
    """Give what was waited for."""
    return _MEANINGS.get(cause, "")
