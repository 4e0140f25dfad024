"""
The ledger that a run of a file keeps: the one that was asked for, or one that goes with the run.

Here: opening it, in which words it is refused, filling it in advance, and where it stands in the
end. Not here: the run (`running`), the command that shows a ledger (`ledger`).
"""

from __future__ import annotations

import contextlib
import tempfile
from collections.abc import Callable, Iterator
from pathlib import Path
from types import TracebackType
from typing import Self

from badges_async import (
    Ledger,
    LedgerError,
    LedgerFullError,
    LedgerLostError,
    LedgerReader,
    LedgerStanding,
)
from badges_async.cli.exits import UsageError, in_words
from badges_async.cli.feed import Feed
from badges_async.cli.files import RowFile
from badges_async.cli.output import complain
from badges_async.cli.tally import Tally

__all__ = ["Keeper", "files_of", "refused"]


def files_of(ledger: Path) -> list[Path]:
    """Give the names of all files of *ledger*: itself, and what stands beside it."""
    real = ledger.resolve()  # of a link, the others stand beside its target
    beside = [real.with_name(real.name + suffix) for suffix in ("-wal", "-shm", "-lock")]
    return [ledger, *beside]


@contextlib.contextmanager
def refused() -> Iterator[None]:
    """
    Let a ledger that cannot be used be the fault of whoever named it: nothing was sent.

    Raises:
        UsageError: It is in use, another's, damaged or the like.
        LedgerFullError: There is no room for it, which is nobody's fault; likewise LedgerLostError.
    """
    try:
        yield
    except (LedgerFullError, LedgerLostError):
        raise
    except LedgerError as error:
        raise UsageError(in_words(error)) from None


class Keeper:
    """
    A ledger, open inside of ``async with``.

    Without a *path* it is in a folder that is removed in the end; it is there so that a claim on
    several lines is sent once. A run can do without that one.

    Attributes:
        ledger: The ledger; None where none could be made.
        standing: Where it stood when it was closed, if that could be read.
    """

    def __init__(self, path: Path | None) -> None:
        self.path = path
        self.ledger: Ledger | None = None
        self.standing: LedgerStanding | None = None
        self._folder: tempfile.TemporaryDirectory[str] | None = None

    @property
    def is_temporary(self) -> bool:
        """Whether it goes with the run."""
        return self.path is None

    async def __aenter__(self) -> Self:
        if self.path is not None:
            with refused():
                self.ledger = await Ledger.open(self.path).__aenter__()
            return self
        try:
            self.ledger = await self._open_temporary()
        except (OSError, LedgerError) as error:
            self._remove()
            complain(
                f"a claim that is on several lines is sent for each of them: no temporary ledger "
                f"can be made ({in_words(error)})"
            )
        return self

    async def __aexit__(
        self,
        kind: type[BaseException] | None,
        error: BaseException | None,
        trace: TracebackType | None,
    ) -> None:
        try:
            if self.ledger is not None:
                await self.ledger.__aexit__(kind, error, trace)
                self._look()
        finally:
            self._remove()

    async def load(self, rows: RowFile, heard: Callable[[Tally, RowFile], None]) -> int:
        """
        Enter every good row of the file of *rows*, which is read once more for that.

        Gives how many rows that were.

        Args:
            rows: A regular file; it is not moved on.
            heard: Given the books and the file that are used meanwhile, to tell how far it is.

        Raises:
            LedgerError: They cannot be entered.
            UsageError: The file cannot be read.
            OSError: Likewise.
        """
        assert self.ledger is not None  # noqa: S101 - only one that was asked for is loaded
        books = Tally()
        with contextlib.closing(RowFile(str(rows.path), rows.form)) as again:
            heard(books, again)
            await self.ledger.load(Feed(again, books))
        return books.good_rows

    async def _open_temporary(self) -> Ledger:
        self._folder = tempfile.TemporaryDirectory(
            prefix="badges-async-", ignore_cleanup_errors=True
        )
        path = Path(self._folder.name) / "claims.db"
        return await Ledger.open(path, durable=False).__aenter__()

    def _look(self) -> None:
        assert self.ledger is not None  # noqa: S101 - it was open
        # Not asked of the ledger itself: one that broke down does not answer any more.
        with contextlib.suppress(LedgerError), LedgerReader.open(self.ledger.path) as reader:
            self.standing = reader.standing()

    def _remove(self) -> None:
        if self._folder is not None:
            self._folder.cleanup()
