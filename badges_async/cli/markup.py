"""
HTML and SVG, element by element.

Text is escaped wherever it goes: only what `tag` made counts as markup. What comes out is
well-formed XML as well as HTML, so a test can read it with either.
"""

from __future__ import annotations

from collections.abc import Iterable
from html import escape

from badges_async.cli.output import clean

__all__ = ["Child", "Markup", "number", "tag"]

_EMPTY = frozenset({"col", "line", "meta", "path", "rect"})


class Markup(str):
    """Text that is markup already."""

    __slots__ = ()


Child = str | Iterable["Child"] | None


def tag(name: str, /, *children: Child, **attributes: str | float | None) -> Markup:
    """
    Give an element.

    Args:
        name: Of the element.
        children: Text, which is escaped; markup; more of both; or nothing.
        attributes: ``class_`` is ``class``, ``aria_label`` is ``aria-label``; None for absent.
    """
    words = "".join(
        f' {_attribute(key)}="{_value(value)}"'
        for key, value in attributes.items()
        if value is not None
    )
    if name in _EMPTY:
        return Markup(f"<{name}{words}/>")
    return Markup(f"<{name}{words}>{_inner(children)}</{name}>")


def number(value: float) -> str:
    """Give a coordinate, short."""
    return f"{value:.2f}".rstrip("0").rstrip(".")


def _attribute(key: str) -> str:
    return key.rstrip("_").replace("_", "-")


def _value(value: str | float) -> str:
    return escape(clean(value)) if isinstance(value, str) else number(value)


def _inner(child: Child) -> str:
    if child is None:
        return ""
    if isinstance(child, Markup):
        return child
    if isinstance(child, str):
        return escape("\n".join(clean(line) for line in child.split("\n")))
    return "".join(map(_inner, child))
