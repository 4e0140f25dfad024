"""
The session lane: a request through a plain `aiohttp.ClientSession`.

Here: one exchange with the whole of aiohttp around it, so that what watches or replaces a session
(mocks, traces, middlewares) sees our requests. Not here: opening and closing, or which lane is
taken (`session`), what aiohttp's errors mean (`failures`).
"""

from __future__ import annotations

from collections.abc import Callable, Mapping

import aiohttp
from multidict import CIMultiDict
from yarl import URL

from badges_async.connector import ATTEMPT, Progress
from badges_async.deadlines import Deadlines
from badges_async.failures import as_ours
from badges_async.messages import MOST_BYTES, Reply, Request

__all__ = ["SessionLane"]


class SessionLane:
    """
    Sends requests to one origin through *session*.

    Args:
        origin: Scheme, host and port.
        session: Used as it is; who made it closes it.
        fields: Header fields of every request.
        timeout: Its `connect` bounds each new connection.
        wall: Seconds since the epoch.
    """

    def __init__(
        self,
        origin: URL,
        session: aiohttp.ClientSession,
        fields: Mapping[str, str],
        *,
        timeout: aiohttp.ClientTimeout,
        deadlines: Deadlines,
        wall: Callable[[], float],
    ) -> None:
        self._origin = origin
        self._session = session
        self._fields = fields
        self._timeout = timeout
        self._deadlines = deadlines
        self._wall = wall
        self._merged_for: Mapping[str, str] | None = None
        self._merged_fields: tuple[CIMultiDict[str], CIMultiDict[str]]

    async def send(
        self,
        request: Request,
        headers: Mapping[str, str],
        *,
        seconds: float,
        fresh: bool = False,
        on_sent: Callable[[], None] | None = None,
    ) -> Reply:
        """
        Send once and read the whole answer, as `SessionManager.send` does.

        Raises:
            ConnectError: The service was not reached.
            ConnectionLostError: The connection ended, or broke HTTP, before the answer did.
            DeadlineError: *seconds* passed.
        """
        progress = Progress(fresh, on_sent)
        mark = ATTEMPT.set(progress)
        try:
            return await self._exchange(request, headers, seconds)
        except (aiohttp.ClientError, OSError, RuntimeError, ValueError) as error:
            failure = as_ours(error, progress, seconds, self._timeout)
        finally:
            ATTEMPT.reset(mark)
        # Raised outside of the handler, so that aiohttp's error, which can hold the request's
        # headers, is neither its cause nor its context.
        raise failure

    async def _exchange(
        self, request: Request, credentials: Mapping[str, str], seconds: float
    ) -> Reply:
        headers = self._merged(credentials)[request.body is not None]
        path, _, query = request.target.partition("?")
        # Of parts that are known: parsing them again would be two hundredths of a request.
        url = URL.build(
            scheme=self._origin.scheme,
            authority=self._origin.raw_authority,
            path=path,
            query_string=query,
            encoded=True,
        )
        with self._deadlines.within(seconds):
            response = await self._session.request(
                request.method,
                url,
                data=request.body,
                headers=headers,
                allow_redirects=False,
                raise_for_status=False,  # a session that was passed in may want it otherwise
                timeout=self._timeout,
            )
            try:
                content = response.content
                # Most answers are all there by now, and then need no coroutine.
                body = content.read_nowait() if content.is_eof() else await content.readany()
                while not content.at_eof() and len(body) <= MOST_BYTES:
                    body += await content.readany()
            finally:
                # With the last byte the connection went back to the pool. If it is still here,
                # the answer was too long, or reading it failed or was cancelled.
                if response.connection is not None:
                    response.close()
        return Reply(
            response.status,
            response.headers,
            body[:MOST_BYTES],
            self._wall(),
            len(body) <= MOST_BYTES,
        )

    def _merged(self, credentials: Mapping[str, str]) -> tuple[CIMultiDict[str], CIMultiDict[str]]:
        """Give the header fields without and with a body; made once for each set of credentials."""
        if self._merged_for != credentials:
            self._merged_for = dict(credentials)
            plain = CIMultiDict(self._fields)
            plain.update(credentials)
            with_body = CIMultiDict(plain)
            with_body["Content-Type"] = "application/json"
            self._merged_fields = plain, with_body
        return self._merged_fields
