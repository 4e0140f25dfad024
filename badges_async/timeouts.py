"""How long: the three bounds of a call, as a value."""

from __future__ import annotations

import attrs

from badges_async.errors import InvalidInputError

__all__ = ["Timeout"]


def _check_seconds(_: object, field: attrs.Attribute[float], value: object) -> None:
    if isinstance(value, bool) or not isinstance(value, int | float) or not 0 < value < 1e9:  # noqa: PLR2004
        raise InvalidInputError(f"a timeout's {field.name} must be a number of seconds above 0")


@attrs.frozen
class Timeout:
    """
    The bounds of a call, in seconds.

    Attributes:
        total: The whole call, retries and the waits between them included. Waiting for a
            connection slot, the quota or a pause counts for a single call, and not for a claim of
            a bulk run.
        attempt: One request, from connecting to the last byte of the answer. Waiting to be
            allowed to send does not count. Never more than what is left of `total`.
        connect: Name resolution, connecting and the TLS handshake of one request. A connection
            belongs to the client, so this bound is always the client's, not that of one call.
    """

    total: float = attrs.field(default=60.0, validator=_check_seconds)
    attempt: float = attrs.field(default=15.0, validator=_check_seconds)
    connect: float = attrs.field(default=5.0, validator=_check_seconds)

    def override(self, value: Timeout | float | None) -> Timeout:
        """Give the bounds of one call: *value* is a total, a whole set of bounds, or nothing."""
        if value is None:
            return self
        return value if isinstance(value, Timeout) else attrs.evolve(self, total=value)
