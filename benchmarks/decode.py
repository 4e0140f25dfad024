"""
What it costs to read a badge: the bytes of its JSON to a value.

The baseline is pydantic's `model_validate_json` on models with the same fields, times read as
`datetime`, unknown words and keys kept, which is what ours does. msgspec is shown for scale: it
cannot keep them, so its words are strings and unknown keys are dropped. Neither can give back the
document that it read.

CPU time, the least of several rounds, the contenders taking turns within a round: the ratios of one
run compare, the microseconds of two runs do not.
"""

from __future__ import annotations

import json
import time
from collections.abc import Callable, Iterator
from enum import Enum
from types import GenericAlias, NoneType, UnionType
from typing import Annotated, Any, Union, get_args, get_origin, get_type_hints

import attrs
import msgspec
import orjson
import pydantic

from badges_async.converter import structure, unstructure
from badges_async.models import Badge, Document
from benchmarks.table import Row
from tests.samples import NEWEST_BADGE, SEED_BADGE

ROUNDS = 15
CALLS = 1000

Decode = Callable[[bytes], object]
_Kind = Any


def rows(calls: int = CALLS, rounds: int = ROUNDS) -> Iterator[Row]:
    """Give a row for each badge and contender."""
    for title, text in (("seed badge", SEED_BADGE), ("newest badge", NEWEST_BADGE)):
        body = json.dumps(json.loads(text), separators=(",", ":")).encode()
        yield from _compare(f"decode {title}, {len(body)} bytes", body, calls, rounds)


def _compare(title: str, body: bytes, calls: int, rounds: int) -> Iterator[Row]:
    contenders = _contenders()
    for decode in contenders.values():
        decode(body)
    if unstructure(structure(json.loads(body), Badge)) != json.loads(body):
        raise AssertionError("a badge that does not come back is read at no price")
    best = dict.fromkeys(contenders, float("inf"))
    for _ in range(rounds):
        for name, decode in contenders.items():
            best[name] = min(best[name], _seconds(decode, body, calls))
    baseline = best["pydantic"]
    for name, seconds in best.items():
        yield Row(f"{title}: {name}", seconds / baseline, seconds * 1e6, "us CPU", "pydantic")


def _contenders() -> dict[str, Decode]:
    by_pydantic = _PydanticModels().of(Badge)
    by_msgspec = msgspec.json.Decoder(_MsgspecModels().of(Badge), strict=False)
    return {
        "badges_async": lambda body: structure(json.loads(body), Badge),
        "badges_async with orjson": lambda body: structure(orjson.loads(body), Badge),
        "pydantic": by_pydantic.model_validate_json,
        "msgspec": by_msgspec.decode,
        "json.loads alone": json.loads,
    }


def _seconds(decode: Decode, body: bytes, calls: int) -> float:
    started = time.process_time()
    for _ in range(calls):
        decode(body)
    return (time.process_time() - started) / calls


def _key(name: str) -> str:
    first, *rest = name.split("_")
    return first + "".join("ISO" if word == "iso" else word.capitalize() for word in rest)


class _Models:
    """The attrs models once more, in another library: the same fields, the same kinds."""

    def __init__(self) -> None:
        self._made: dict[type[Document], Any] = {}

    def of(self, cls: type[Document]) -> _Kind:
        """Give the twin of *cls*."""
        if cls not in self._made:
            kinds = get_type_hints(cls)
            fields = [
                (field.name, self._kind(kinds[field.name]), field.default)
                for field in attrs.fields(cls)
                if field.name not in {"extra", "_verbatim"}
            ]
            self._made[cls] = self._make(cls.__name__, fields)
        return self._made[cls]

    def _kind(self, kind: _Kind) -> _Kind:
        if isinstance(kind, type) and issubclass(kind, Document):
            return self.of(kind)
        origin: Any = get_origin(kind)
        if origin is tuple:
            return GenericAlias(tuple, (self._kind(get_args(kind)[0]), ...))
        if isinstance(kind, UnionType):
            return self._union([self._kind(part) for part in get_args(kind)])
        return kind

    def _union(self, kinds: list[_Kind]) -> _Kind:
        return Union[tuple(kinds)]  # noqa: UP007 - of parts known at run time only

    def _make(self, name: str, fields: list[tuple[str, _Kind, Any]]) -> _Kind:
        raise NotImplementedError


class _PydanticModels(_Models):
    def _union(self, kinds: list[_Kind]) -> _Kind:
        bare = [kind for kind in kinds if kind is not NoneType]
        if len(bare) == 1:
            return super()._union(kinds)
        # From left to right is pydantic's quickest way to try an enum before a string.
        union: Any = super()._union(bare)
        quick: Any = Annotated[union, pydantic.Field(union_mode="left_to_right")]
        return super()._union([quick, *kinds[len(bare) :]])

    def _make(self, name: str, fields: list[tuple[str, _Kind, Any]]) -> _Kind:
        config = pydantic.ConfigDict(alias_generator=_key, extra="allow", frozen=True)
        made: dict[str, Any] = {}
        for field, kind, default in fields:
            if default is attrs.NOTHING:
                made[field] = (kind, ...)
            elif isinstance(default, Document):
                made[field] = (kind, kind())
            elif default is None or default == ():
                made[field] = (kind, default)
            else:
                made[field] = (kind, pydantic.Field(default_factory=dict))
        return pydantic.create_model(name, __config__=config, **made)


class _MsgspecModels(_Models):
    def _union(self, kinds: list[_Kind]) -> _Kind:
        # msgspec has no union of an enum and a string.
        plain = [k for k in kinds if not (isinstance(k, type) and issubclass(k, Enum))]
        return super()._union(plain)

    def _make(self, name: str, fields: list[tuple[str, _Kind, Any]]) -> _Kind:
        made: list[Any] = []
        for field, kind, default in fields:
            if default is attrs.NOTHING:
                made.append((field, kind))
            elif isinstance(default, Document):
                made.append((field, kind, msgspec.field(default_factory=kind)))
            elif default is None or default == ():
                made.append((field, kind, default))
            else:
                made.append((field, kind, msgspec.field(default_factory=dict)))
        return msgspec.defstruct(name, made, kw_only=True, frozen=True, rename=_key)
