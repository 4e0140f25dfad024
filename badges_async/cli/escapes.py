"""
Cells that a spreadsheet takes for formulas: made harmless, and put back byte for byte.

Here: which cells, and the column that names those that were changed. Not here: writing a file
(`export`) or reading one (`csv_rows`).

An apostrophe before such a cell makes it text. That alone would change an id, so a last column,
``escaped``, names the fields that got one, and whoever reads the file takes it off again.
"""

from __future__ import annotations

from collections.abc import Collection, Iterable, Iterator, Sequence

__all__ = ["COLUMN", "escape", "unescape"]

COLUMN = "escaped"
_MARK = "'"
# Also in full width, which a spreadsheet that is set to Chinese or Japanese reads all the same.
_BEGINNINGS = ("=", "+", "-", "@", "\t", "\r", "\n", "\uff1d", "\uff0b", "\uff0d", "\uff20")


def escape(names: Sequence[str], cells: Sequence[str]) -> list[str]:
    """Give *cells*, of the columns with these *names*, made harmless, and the cell of `COLUMN`."""
    changed = {n for n, cell in zip(names, cells, strict=True) if cell.startswith(_BEGINNINGS)}
    safe = [_MARK + c if n in changed else c for n, c in zip(names, cells, strict=True)]
    return [*safe, " ".join(name for name in names if name in changed)]


def unescape(names: Sequence[str], cells: Iterable[str], changed: Collection[str]) -> list[str]:
    """
    Give *cells* as they were before those of *changed* got an apostrophe.

    Raises:
        ValueError: They did not; the message says why.
    """
    if unknown := sorted(set(changed) - set(names)):
        raise ValueError(f"the column {COLUMN} names {unknown[0][:40]!r}, which is no column")
    return list(_unescaped(names, cells, changed))


def _unescaped(
    names: Sequence[str], cells: Iterable[str], changed: Collection[str]
) -> Iterator[str]:
    for name, cell in zip(names, cells, strict=True):
        if name not in changed:
            yield cell
        elif cell.startswith(_MARK):
            yield cell.removeprefix(_MARK)
        else:
            raise ValueError(f"the column {COLUMN} names {name}, which begins with no apostrophe")
