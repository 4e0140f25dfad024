"""
Where the requests of a bulk run come from: a sync or an async iterable, pulled lazily.

Here: taking one at a time, whoever asks. Not here: what becomes of it (`crew`).
"""

from __future__ import annotations

import asyncio
from collections.abc import AsyncIterable, AsyncIterator, Callable, Iterable, Iterator
from typing import Protocol

from badges_async.claims import ClaimRequest
from badges_async.errors import InvalidInputError
from badges_async.row import Row

__all__ = ["RowSource", "Source"]

_END = object()  # None would hide an item that is None


class RowSource(Protocol):
    """Where a crew takes its requests from."""

    @property
    def exhausted(self) -> bool:
        """There are no more."""
        ...

    @property
    def may_wait(self) -> bool:
        """Whether a request can take its time: then it is `pull`, else `take`."""
        ...

    def take(self) -> ClaimRequest | None:
        """Give the next request, or None when there are no more."""
        ...

    def take_ready(self) -> ClaimRequest | None:
        """Give the next request where it can take its time and is there; else None."""
        ...

    async def pull(self) -> ClaimRequest | None:
        """Give the next request when it is there, or None when there are no more."""
        ...

    def hold(self, row: Row) -> None:
        """Hear that *row* was made of a request, and let it know what is known of that."""
        ...


class Source:
    """
    The requests of one run.

    Args:
        pulled: Told each one.

    Attributes:
        exhausted: There are no more.
        may_wait: Whether a pull can take its time: then it is `pull`, else `take`.

    Raises:
        InvalidInputError: *requests* is not iterable, or is text.
    """

    def __init__(
        self,
        requests: Iterable[ClaimRequest] | AsyncIterable[ClaimRequest],
        pulled: Callable[[ClaimRequest], None],
    ) -> None:
        self.exhausted = False
        self._pulled = pulled
        self._sync: Iterator[ClaimRequest] | None = None
        self._async: AsyncIterator[ClaimRequest] | None = None
        if isinstance(requests, AsyncIterable):
            self._async = aiter(requests)
        elif isinstance(requests, Iterable) and not isinstance(requests, str | bytes):
            self._sync = iter(requests)
        else:
            raise InvalidInputError("requests must be an iterable or an async iterable")
        self.may_wait = self._async is not None
        # Waiting for what is there costs a claim a tenth of all it costs.
        self._ready = getattr(requests, "take_ready", None) if self.may_wait else None
        self._turn = asyncio.Lock()

    def take(self) -> ClaimRequest | None:
        """
        Give the next request of a sync iterable, or None when there are no more.

        Raises:
            InvalidInputError: What came is no `ClaimRequest`.
            Exception: Whatever the iterable raised.
        """
        assert self._sync is not None  # noqa: S101 - see may_wait
        if self.exhausted:
            return None
        request = next(self._sync, _END)
        if type(request) is not ClaimRequest:
            return self._checked(request)
        self._pulled(request)
        return request

    async def pull(self) -> ClaimRequest | None:
        """
        Give the next request of an async iterable, or None when there are no more.

        Raises:
            As `take`.
        """
        assert self._async is not None  # noqa: S101 - see may_wait
        async with self._turn:  # an async generator runs for one caller at a time
            return None if self.exhausted else self._checked(await anext(self._async, _END))

    def take_ready(self) -> ClaimRequest | None:
        """
        Give the next request of an async iterable that says that it is there, else None.

        Raises:
            As `take`.
        """
        request = None if self._ready is None or self.exhausted else self._ready()
        return None if request is None else self._checked(request)

    def hold(self, row: Row) -> None:
        """Know nothing of it."""

    def _checked(self, request: object) -> ClaimRequest | None:
        if isinstance(request, ClaimRequest):
            self._pulled(request)
            return request
        if request is _END:
            self.exhausted = True
            return None
        raise InvalidInputError(f"requests must be ClaimRequest, not {type(request).__name__}")
