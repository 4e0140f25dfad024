"""What is to be claimed, and where: the same for every contender."""

from __future__ import annotations

__all__ = ["HEADERS", "OWNER", "OWNER_TYPE", "PATH", "Order", "orders_for"]

Order = tuple[str, str, str]
"""Badge id, owner type and reference id."""

HEADERS = {"Authorization": "Basic dGlsbC5kZW1vOjVmNGRjYzNiNWFhNzY1ZDYxZDgzMjdkZWI4ODJjZjk5"}
PATH = "/api_gateway/v1/badges/badgeMeta"
OWNER_TYPE, OWNER = "Loyalty", "123"


def orders_for(claims: int, *, one_badge: bool = False) -> list[Order]:
    """Give so many badges for one owner, or one badge for so many owners."""
    if one_badge:
        return [("0" * 24, OWNER_TYPE, str(number)) for number in range(claims)]
    return [(f"{number:024x}", OWNER_TYPE, OWNER) for number in range(claims)]
