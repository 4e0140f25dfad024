"""
What a separate process may ask a sandbox: ours, no part of the Badges API.

``GET /sandbox/state`` gives counters as one JSON object, ``GET /sandbox/claims`` every claim that
stands, one JSON array ``[badge id, owner type, reference id]`` a line, and ``GET
/sandbox/openapi.json`` what every path takes and answers. No credentials, no faults, no quota, and
nothing is recorded: looking does not change what is looked at.
"""

from __future__ import annotations

import json
from collections.abc import Iterator
from itertools import islice

from aiohttp import web

from badges_async.sandbox.answers import JSON
from badges_async.sandbox.credentials import Credentials
from badges_async.sandbox.openapi import description
from badges_async.sandbox.records import Records
from badges_async.sandbox.state import State

__all__ = ["CONTROL_PATHS", "Control"]

CONTROL_PATHS = frozenset({"/sandbox/state", "/sandbox/claims", "/sandbox/openapi.json"})
_LINES_AT_ONCE = 5_000


class Control:
    """Answers about one sandbox."""

    def __init__(self, state: State, records: Records, credentials: Credentials) -> None:
        self._state = state
        self._records = records
        self._credentials = credentials

    async def serve(self, request: web.BaseRequest) -> web.StreamResponse:
        """Answer a request for one of the `CONTROL_PATHS`."""
        if request.method != "GET":
            return web.Response(status=405, headers={"Allow": "GET"})
        path = request.raw_path.partition("?")[0]
        if path == "/sandbox/state":
            return web.json_response(self.counters())
        if path == "/sandbox/openapi.json":
            return web.Response(body=description(), content_type=JSON)
        return await self._stream_claims(request)

    def counters(self) -> dict[str, object]:
        """Give what has happened so far, in numbers."""
        records = self._records
        return {
            "badges": len(self._state.badges),
            "claims": len(self._state.claims),
            "requests": records.total,
            "inFlight": records.in_flight,
            "peakInFlight": records.peak_in_flight,
            "tokens": self._credentials.tokens_issued,
            "operations": dict(records.operations),
            "statuses": dict(records.statuses),
            "faults": dict(records.faults),
        }

    async def _stream_claims(self, request: web.BaseRequest) -> web.StreamResponse:
        response = web.StreamResponse(headers={"Content-Type": "application/x-ndjson"})
        await response.prepare(request)
        # A copy, so that claims made meanwhile do not disturb the walk.
        held = iter(tuple(self._state.claims))
        for block in _blocks(held):
            await response.write(block)
        await response.write_eof()
        return response


def _blocks(held: Iterator[tuple[str, str, str]]) -> Iterator[bytes]:
    while lines := [json.dumps(claim) for claim in islice(held, _LINES_AT_ONCE)]:
        yield ("\n".join(lines) + "\n").encode()
