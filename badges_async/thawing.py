"""
Making frozen values quickly, where one of each is made for every claim.

Here: a way around what freezing costs. Not here: any class.

A frozen class pays a call for every field that its `__init__` sets. Its mutable twin has the same
slots, which is what assigning `__class__` asks for: made as the twin, handed out as the frozen one.
"""

from __future__ import annotations

from typing import Any

import attrs

__all__ = ["mutable_twin"]


def mutable_twin(cls: type) -> type[Any]:
    """Make a class like the frozen *cls* whose instances can be set, and can become a *cls*."""
    fields = {
        field.name: attrs.field(
            default=field.default,
            validator=field.validator,
            converter=field.converter,
            alias=field.alias,
            kw_only=field.kw_only,
        )
        for field in attrs.fields(cls)
    }
    thawed = {"__setattr__": object.__setattr__, "__delattr__": object.__delattr__}
    return attrs.make_class(
        f"_{cls.__name__}",
        fields,
        cls.__bases__,
        class_body=thawed,
        slots=True,
        eq=False,
        repr=False,
    )
