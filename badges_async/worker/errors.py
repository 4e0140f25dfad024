"""What can go wrong with a source, a quota or a stream, beside what the client raises."""

from __future__ import annotations

from badges_async import BadgesError

__all__ = ["SourceError"]


class SourceError(BadgesError):
    """
    Redis cannot be used: refused, of the wrong kind, or never reached when it was first asked.

    One that goes away later is waited for instead. The message names host and port, and never a
    password.
    """
