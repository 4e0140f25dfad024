"""
Text and bytes that do not show themselves: secrets, and what is made of them.

Here: values whose repr says nothing, and nor does the repr of a part of them. A traceback with the
values of names, a debugger or a log line shows reprs. Not here: where secrets come from (`auth`),
or answers that quote them (`echoes`).
"""

from __future__ import annotations

from typing import Any, SupportsIndex, overload

__all__ = ["Secret", "SecretBytes", "masked"]


class Secret(str):
    """A string that does not show itself when it is part of a repr, and nor does a part of it."""

    __slots__ = ()

    def __repr__(self) -> str:
        return "'***'"

    def __getitem__(self, place: SupportsIndex | slice) -> Secret:
        # What cuts off long values takes a slice first and its repr then.
        return Secret(super().__getitem__(place))

    def encode(self, encoding: str = "utf-8", errors: str = "strict") -> SecretBytes:
        """Give the bytes, which do not show themselves either."""
        return SecretBytes(super().encode(encoding, errors))


class SecretBytes(bytes):
    """Bytes with a secret in them, likewise."""

    __slots__ = ()

    def __repr__(self) -> str:
        return "b'***'"

    @overload
    def __getitem__(self, place: SupportsIndex) -> int: ...
    @overload
    def __getitem__(self, place: slice) -> bytes: ...
    def __getitem__(self, place: SupportsIndex | slice) -> int | bytes:
        part = super().__getitem__(place)
        return SecretBytes(part) if isinstance(part, bytes) else part


def masked(value: Any) -> Any:  # noqa: ANN401 - whatever was passed in
    """Give *value* so that it does not show itself, where it is text or bytes."""
    if isinstance(value, str):
        return Secret(value)
    return SecretBytes(value) if isinstance(value, bytes) else value
