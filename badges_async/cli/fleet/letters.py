"""
``worker dlq``: looking at dead letters, sending them back, throwing them away.

Here: which ones, and how they are shown. Not here: how they are moved (`badges_async.worker`).

Whatever is in a letter was written by somebody else: it is shown as text, never as commands to a
terminal.
"""

from __future__ import annotations

from collections.abc import Iterator, Sequence
from typing import TYPE_CHECKING, Any

import attrs
from rich.text import Text

from badges_async.cli import loops
from badges_async.cli.exits import Exit, UsageError
from badges_async.cli.fleet.options import Place
from badges_async.cli.fleet.showing import json_text
from badges_async.cli.output import clean, complain, emit
from badges_async.worker import DeadLetter

if TYPE_CHECKING:
    from badges_async.worker import RedisStream

__all__ = ["Choice", "list_letters", "purge_letters", "requeue_letters", "show_letter"]

_ERROR_SHOWN = 110
_IDS_NAMED = 5


@attrs.frozen(kw_only=True)
class Choice:
    """
    Which letters.

    Attributes:
        ids: These; None for all that the rest allows.
        older_than: Seconds.
    """

    ids: Sequence[str] | None
    reason: str | None = None
    older_than: float | None = None

    @classmethod
    def of(
        cls,
        ids: Sequence[str],
        *,
        everything: bool,
        reason: str | None = None,
        older_than: float | None = None,
    ) -> Choice:
        """
        Make one of what was typed.

        Raises:
            UsageError: It is neither ids nor all, or both.
        """
        if bool(ids) == everything:
            raise UsageError("which dead letters? give their ids, or --all")
        if ids and (reason is not None or older_than is not None):
            raise UsageError("--reason and --older-than choose among --all, not among ids")
        chosen = None if everything else tuple(dict.fromkeys(ids))
        return cls(ids=chosen, reason=reason, older_than=older_than)


def list_letters(place: Place, *, reason: str | None, limit: int, as_json: bool) -> Exit:
    """Print the newest letters; one JSON object a line, if asked for."""
    letters, in_all = loops.run(_read(place, reason, limit))
    if as_json:
        for letter in letters:
            emit(json_text(_values(letter), indent=None))
        return Exit.OK
    if not letters:
        emit(Text("No dead letter" + (f" with the reason {clean(reason)}." if reason else ".")))
        return Exit.OK
    emit(Text("\n").join(_table(letters)))
    if len(letters) == limit and in_all > limit:
        emit(Text(f"{in_all:,} in all; --limit shows more", "dim"))
    return Exit.OK


async def _read(place: Place, reason: str | None, limit: int) -> tuple[list[DeadLetter], int]:
    letters: list[DeadLetter] = []
    async with place.open_stream() as (_, stream):
        async for letter in stream.letters(reason=reason, newest_first=True):
            letters.append(letter)
            if len(letters) == limit:
                break
        return letters, (await stream.standing()).dead_letters


def show_letter(place: Place, letter_id: str, *, as_json: bool) -> Exit:
    """Print one letter."""

    async def look() -> DeadLetter | None:
        async with place.open_stream() as (_, stream):
            return await stream.letter(letter_id)

    letter = loops.run(look())
    if letter is None:
        return _not_there([letter_id])
    emit(json_text(_values(letter)) if as_json else Text("\n").join(_card(letter)))
    return Exit.OK


def requeue_letters(place: Place, choice: Choice, *, as_json: bool) -> Exit:
    """Send letters back to the stream."""

    async def move() -> tuple[int, list[str]]:
        async with place.open_stream() as (_, stream):
            missing = await _missing(stream, choice)
            return await stream.requeue(choice.ids, reason=choice.reason), missing

    return _tell("requeued", *loops.run(move()), as_json=as_json)


def purge_letters(place: Place, choice: Choice, *, as_json: bool) -> Exit:
    """Delete letters."""

    async def move() -> tuple[int, list[str]]:
        async with place.open_stream() as (_, stream):
            missing = await _missing(stream, choice)
            taken = await stream.purge(
                choice.ids, reason=choice.reason, older_than=choice.older_than
            )
            return taken, missing

    return _tell("purged", *loops.run(move()), as_json=as_json)


async def _missing(stream: RedisStream, choice: Choice) -> list[str]:
    return [one for one in choice.ids or () if await stream.letter(one) is None]


def _tell(done: str, count: int, missing: Sequence[str], *, as_json: bool) -> Exit:
    if as_json:
        emit(json_text({done: count, "missing": missing}))
    else:
        emit(Text(f"{'1 dead letter' if count == 1 else f'{count:,} dead letters'} {done}."))
    return _not_there(missing) if missing else Exit.OK


def _not_there(ids: Sequence[str]) -> Exit:
    named = ", ".join(ids[:_IDS_NAMED])
    more = f" and {len(ids) - _IDS_NAMED:,} more" if len(ids) > _IDS_NAMED else ""
    complain(f"there is no dead letter {named}{more}; badges-async worker dlq list")
    return Exit.PROBLEMS


def _values(letter: DeadLetter) -> dict[str, Any]:
    values = attrs.asdict(letter, recurse=False)
    fields = {_text(name): _text(value) for name, value in letter.fields.items()}
    return values | {"history": list(letter.history), "fields": fields}


def _table(letters: Sequence[DeadLetter]) -> Iterator[Text]:
    rows = [[clean(cell) for cell in _row(letter)] for letter in letters]
    widths = [max(len(row[column]) for row in rows) for column in range(len(rows[0]))]
    for letter, row in zip(letters, rows, strict=True):
        cells = [f"{cell:<{width}}" for cell, width in zip(row, widths, strict=True)]
        error = clean(letter.error)
        shown = error if len(error) <= _ERROR_SHOWN else f"{error[: _ERROR_SHOWN - 3]}..."
        yield Text.assemble("  ".join(cells), (f"  {shown}" if shown else "", "dim"))


def _row(letter: DeadLetter) -> Iterator[str]:
    event = letter.event
    yield letter.id
    yield letter.at or ""
    yield letter.reason
    yield _answer(letter)
    yield f"{event.owner_type} {event.reference_id}" if event else "no claim"
    yield f"badge {event.badge_id}" if event else ""


def _answer(letter: DeadLetter) -> str:
    parts = [
        "" if letter.status is None else f"HTTP {letter.status}",
        "" if letter.code is None else f"code {letter.code}",
    ]
    return " ".join(filter(None, parts))


def _card(letter: DeadLetter) -> Iterator[Text]:
    yield Text(f"dead letter {clean(letter.id)}", "bold")
    facts = [(name, value) for name, value in _facts(letter) if value]
    width = max(len(name) for name, _ in facts)
    for name, value in facts:
        yield Text.assemble((f"  {name:<{width}}  ", "dim"), clean(value))
    for note in letter.history:
        parts = (f"{key} {value}" for key, value in note.items())
        yield Text.assemble(("  before  ", "dim"), clean(", ".join(parts)))
    for field, content in letter.fields.items():
        said = f" {clean(_text(field))}: {clean(_text(content))}"
        yield Text.assemble(("  message ", "dim"), said)


def _facts(letter: DeadLetter) -> Iterator[tuple[str, str]]:
    event = letter.event
    yield "reason", letter.reason
    yield "error", letter.error
    yield "answer", _answer(letter)
    yield "request id", letter.request_id or ""
    if event is not None:
        yield "claim", f"badge {event.badge_id} for {event.owner_type} {event.reference_id}"
        yield "quota", event.quota or ""
    yield "deliveries", str(letter.deliveries)
    yield "requeued", f"{letter.requeued} times before" if letter.requeued else ""
    yield "at", letter.at or ""
    yield "worker", letter.worker or ""
    yield "source", letter.source or ""


def _text(data: bytes) -> str:
    return data.decode(errors="backslashreplace")
