"""
JSON and the values of the domain, in both directions.

Here: how the API spells keys, and what of a document is refused, forgiven and kept. Not here:
single values (`scalars`), the text of JSON and the envelope (`envelope`, `operations`), or what a
value means (`models`).

Left to itself, cattrs reads null as the text "None" and a text as a list of its letters, so every
hook is our own. A scalar is exactly of its type, or the document is refused. The rest is lenient:

- A key that is missing, or null where the model has a default, reads as that default.
- A word that its enum does not know stays a plain string, "LOYALTY" too: it goes back as it came.
- A key that the model does not know goes to `extra`. So does ``relativeExpiryType``: tables of the
  documentation print it, every example has ``relativeExpirytype``.

What a document says in a way that the fields cannot is noted in the private `Document._verbatim`,
by JSON key: None for a null, `_EMPTY` for a list or an object that reads as the default, and the
number of every time. A note counts only while the field still holds what it read as, so that what
`attrs.evolve` changed is what comes out.
"""

from __future__ import annotations

import functools
from collections.abc import Callable, Iterable, Mapping
from datetime import datetime
from decimal import Decimal
from typing import Any, TypeVar, cast, get_args, get_origin, get_type_hints

import attrs
from cattrs import Converter

from badges_async.errors import StructureError
from badges_async.models import Document
from badges_async.scalars import (
    JSON,
    Kind,
    MismatchError,
    Reader,
    exact_reader,
    is_union,
    mismatch,
    read_time,
    union_reader,
    without_none,
    words_of,
    write_time,
    write_word,
)
from badges_async.thawing import mutable_twin

__all__ = ["structure", "unstructure"]

_D = TypeVar("_D", bound=Document)

# A megabyte of nulls must not become a million lines.
_MAX_PROBLEMS = 100
_EMPTY = ()


def structure(data: object, cls: type[_D]) -> _D:
    """
    Read a parsed JSON document as a *cls*.

    *data* is what `json.loads` gives, also with `parse_float=Decimal`. It is not changed and not
    kept, but for the values in `extra`, which are the document's own objects.

    Raises:
        StructureError: The document does not have the shape of *cls*. Its `problems` name every
            fault, or the first hundred.
    """
    try:
        return _reader(cls)(data, cls)  # type: ignore[no-any-return, arg-type]
    except MismatchError as error:
        faults = error.faults[:_MAX_PROBLEMS]
    # Raised out here, because a chained traceback would keep the whole document alive.
    problems = tuple(f"{what} @ ${path}" for path, what in faults)
    more = f" (and {len(problems) - 1} more)" if len(problems) > 1 else ""
    raise StructureError(f"not a {cls.__name__}: {problems[0]}{more}", problems=problems)


def unstructure(value: Document) -> dict[str, Any]:
    """
    Give *value* as a JSON document, as `json.dumps` takes it.

    What came from `structure` gives the document that it came from, exactly. A field that was
    changed since, or of a value made by hand, is left out where it holds its default; a time in
    whole seconds is an integer. Where `extra` has a key that is a field's, the field wins. The
    values in `extra` are given as they are, not copied.

    Raises:
        InvalidInputError: A time has no time zone.
    """
    return cast("dict[str, Any]", _CONVERTER.unstructure(value))


@attrs.frozen
class _Field:
    """A field of a model and how JSON spells it; the default is `attrs.NOTHING` if required."""

    name: str
    key: str
    kind: Kind
    default: Any


def _fields(cls: type[Document]) -> list[_Field]:
    kinds = get_type_hints(cls)
    return [
        _Field(field.name, _json_key(field.name), without_none(kinds[field.name]), _default(field))
        for field in attrs.fields(cls)
        if field.name not in {"extra", "_verbatim"}
    ]


def _json_key(name: str) -> str:
    if name == "relative_expiry_type":
        return "relativeExpirytype"
    first, *rest = name.split("_")
    return first + "".join("ISO" if word == "iso" else word.capitalize() for word in rest)


def _default(field: attrs.Attribute[Any]) -> object:
    factory = getattr(field.default, "factory", None)
    return factory() if factory else field.default


def _known(cls: type[Document]) -> dict[str, tuple[str, Kind, Any, Reader, object]]:
    """By JSON key: name, kind as it arrives, words of an enum, reader and default of a field."""
    known = {}
    for field in _fields(cls):
        words = words_of(field.kind)
        read = _CONVERTER.get_structure_hook(field.kind)
        known[field.key] = (field.name, str if words else field.kind, words, read, field.default)
    return known


def _document_reader(cls: type[Document]) -> Reader:  # noqa: C901 - one pass, few calls
    known, twin = _known(cls), mutable_twin(cls)
    required = {field.key for field in _fields(cls) if field.default is attrs.NOTHING}

    def read_document(raw: JSON, _: Kind) -> Any:  # noqa: ANN401 - a cls
        if not isinstance(raw, dict):
            raise mismatch("an object", raw)
        extra: dict[str, Any] = {}
        verbatim: dict[str, Any] = {}
        values: dict[str, Any] = {"extra": extra, "_verbatim": verbatim}
        faults: list[tuple[str, str]] = []
        for key, item in raw.items():
            try:
                name, kind, words, read, default = known[key]
            except KeyError:
                extra[key] = item
                continue
            if type(item) is kind:  # a plain scalar, as most fields are: it needs no call
                values[name] = words.get(item, item) if words else item
            elif item is None and key not in required:
                verbatim[key] = None
            else:
                try:
                    value = values[name] = read(item, kind)
                except MismatchError as error:
                    faults += error.below(f".{key}")
                    continue
                if kind is datetime:
                    verbatim[key] = item
                elif value == default:
                    verbatim[key] = _EMPTY
        if faults or not required <= raw.keys():
            raise MismatchError(faults + _absent(required - raw.keys()))
        document = twin(**values)
        document.__class__ = cls
        return document

    return read_document


def _absent(keys: set[str]) -> list[tuple[str, str]]:
    return [(f".{key}", "required, but missing") for key in sorted(keys)]


def _document_writer(cls: type[Document]) -> Callable[[Any], dict[str, Any]]:
    fields = [(field, _CONVERTER.get_unstructure_hook(field.kind)) for field in _fields(cls)]

    def write_document(value: Document) -> dict[str, Any]:
        verbatim = value._verbatim  # noqa: SLF001 - models leave it to us
        document: dict[str, Any] = {}
        for field, write in fields:
            item = getattr(value, field.name)
            note = verbatim.get(field.key, attrs.NOTHING)
            if item != field.default:
                unchanged = field.kind is datetime and _reads_as(note, item)
                document[field.key] = note if unchanged else write(item)
            elif note is None:
                document[field.key] = None
            elif note == _EMPTY:
                document[field.key] = write(item)
        return {**value.extra, **document} if value.extra else document

    return write_document


def _reads_as(note: object, moment: datetime) -> bool:
    return isinstance(note, int | float | Decimal) and read_time(note) == moment


def _list_reader(kind: Kind) -> Reader:
    part = get_args(kind)[0]
    read = _CONVERTER.get_structure_hook(part)

    def read_list(raw: JSON, _: Kind) -> tuple[Any, ...]:
        if not isinstance(raw, list):
            raise mismatch("a list", raw)
        return tuple(_read_each(enumerate(raw), read, part)) if raw else ()

    return read_list


def _mapping_reader(kind: Kind) -> Reader:
    part = get_args(kind)[1]
    read = _CONVERTER.get_structure_hook(part)

    def read_mapping(raw: JSON, _: Kind) -> dict[str, Any]:
        if not isinstance(raw, dict):
            raise mismatch("an object", raw)
        return dict(zip(raw, _read_each(raw.items(), read, part), strict=True))

    return read_mapping


def _read_each(items: Iterable[tuple[object, JSON]], read: Reader, kind: Kind) -> list[Any]:
    values: list[Any] = []
    faults: list[tuple[str, str]] = []
    for place, item in items:
        try:
            values.append(read(item, kind))
        except MismatchError as error:
            # Quoted and cut: the name of a custom field is anything, of any length.
            faults += error.below(f"[{place!r:.80}]")
            if len(faults) >= _MAX_PROBLEMS:
                break
    if faults:
        raise MismatchError(faults)
    return values


def _make_converter() -> Converter:
    """Tell cattrs our hooks; it makes the one of a model when it first meets the model."""
    converter = Converter()
    for scalar in (str, int, bool):
        converter.register_structure_hook(scalar, exact_reader(scalar))
    converter.register_structure_hook(datetime, read_time)
    converter.register_unstructure_hook(datetime, write_time)
    for is_ours, reader in (
        (is_union, union_reader),
        (lambda kind: _origin(kind) is tuple, _list_reader),
        (lambda kind: _origin(kind) is Mapping, _mapping_reader),
        (_is_document, _document_reader),
    ):
        converter.register_structure_hook_factory(is_ours, reader)
    converter.register_unstructure_hook_func(is_union, write_word)
    converter.register_unstructure_hook_factory(_is_document, _document_writer)
    return converter


def _origin(kind: Kind) -> object:
    return get_origin(kind)


def _is_document(kind: Kind) -> bool:
    return isinstance(kind, type) and issubclass(kind, Document)


_CONVERTER = _make_converter()
# cattrs looks for its hook at every document; a claim's is read at once.
_reader = functools.cache(_CONVERTER.get_structure_hook)
