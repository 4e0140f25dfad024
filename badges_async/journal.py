"""
A run's dealings with its ledger: what is sent is on record before, what is yielded is too.

Here: the way of a request from the source through the ledger to a worker, and of an outcome through
the ledger to the consumer. Not here: the ledger (`ledger`), the workers (`crew`), what the ledger
is told of each single request (`admission`).

Both ways are pipelines, so that the disk is waited for by nobody: requests are entered ahead of the
workers, a batch in each transaction, and workers go on while outcomes are recorded. Both are
bounded. What a kill leaves in doubt is what was entered and not settled: at most that much.
"""

from __future__ import annotations

import asyncio
import contextlib
import json
from collections import deque
from collections.abc import Callable, Sequence
from typing import Any

import attrs

from badges_async.admission import Admission
from badges_async.claims import ClaimOutcome, ClaimRequest
from badges_async.errors import LedgerError
from badges_async.ledger import Ledger
from badges_async.ledger.records import Fate, Found, State, error_values, outcome_of, state_of
from badges_async.outbox import Outbox
from badges_async.report import Tally
from badges_async.row import Row
from badges_async.source import RowSource

__all__ = ["Journal"]

_FEWEST_AHEAD = 64


@attrs.define(eq=False)
class _Entry:
    """
    A claim that this run is at.

    Attributes:
        id: In the ledger.
        doubt: It may have been sent before this run, without a known answer.
        row: What was made of it, once a worker has taken it.
        twins: The same claim, asked for again meanwhile.
    """

    id: int
    asked: ClaimRequest
    doubt: bool
    row: Row | None = None
    twins: list[ClaimRequest] = attrs.field(factory=list)

    def may_have_been_sent(self) -> bool:
        return self.doubt if self.row is None else self.row.maybe_applied


class Journal:
    """
    The source and the delivery of a run with a ledger.

    Args:
        fail: Told what stops the run.
    """

    def __init__(
        self,
        source: RowSource,
        ledger: Ledger,
        outbox: Outbox[ClaimOutcome],
        *,
        size: int,
        tally: Tally,
        admission: Admission,
        fail: Callable[[BaseException], None],
    ) -> None:
        self._source = source
        self._ledger = ledger
        self._outbox = outbox
        self._tally = tally
        self._admission = admission
        self._fail = fail
        self._ahead = max(_FEWEST_AHEAD, 2 * size)
        self._asked: Outbox[ClaimRequest] = Outbox(self._ahead)
        self._ready: asyncio.Queue[ClaimRequest | None] = asyncio.Queue(self._ahead)
        self._settled: Outbox[ClaimOutcome] = Outbox(4 * size)
        self._to_send: deque[ClaimRequest] = deque()
        self._to_tell: deque[ClaimOutcome] = deque()
        self._entries: dict[int, _Entry] = {}
        self._by_request: dict[int, _Entry] = {}
        self._told: set[int] = set()
        self._in_writing: list[ClaimOutcome] = []
        self._cut_off: list[ClaimOutcome] = []
        self._undelivered: list[ClaimOutcome] = []
        self._twins = 0
        self._progress = asyncio.Event()
        self._intake: list[asyncio.Task[None]] = []
        self._recording: asyncio.Task[None] | None = None
        self._stopping = False
        self.exhausted = False

    async def open(self, host: str, account: str, connect: float) -> None:
        """
        Begin the run in the ledger, and let the client go on from what the ledger knows.

        Args:
            connect: Seconds that a request may take to connect before it leaves.

        Raises:
            InvalidInputError: It is not open, or another run uses it.
            LedgerError: It is another service's or account's, or cannot be written.
        """
        await self._ledger.begin_run(host, account)
        try:
            await self._admission.attach(self._ledger, connect)
        except BaseException:
            self._ledger.end_run()
            raise

    def start(self, group: asyncio.TaskGroup) -> None:
        """Set the pipelines going as children of *group*. They never raise."""
        self._intake = [group.create_task(self._pull_ahead()), group.create_task(self._lease())]
        self._recording = group.create_task(self._record())

    def drain(self) -> None:
        """Take in no more."""
        self._stopping = True
        for task in self._intake:
            task.cancel()

    def dismiss(self) -> None:
        """Deliver no more, either."""
        self.drain()
        assert self._recording is not None  # noqa: S101 - it was started
        self._recording.cancel()

    def close(self) -> None:
        """
        End the run in the ledger; all tasks have ended.

        Outcomes that nobody took are recorded, and claims without one are given back, in doubt if
        they may have been sent. The ledger writes that before it closes.
        """
        with contextlib.suppress(LedgerError):  # it failed, or was closed before the run
            if self._ledger.failure is None:
                self._admission.note_rate()
                self._write_rest()
        self._admission.detach(self._ledger)
        self._ledger.end_run()

    def _write_rest(self) -> None:
        # Recording again what may be on its way to the disk changes nothing.
        rest = [*self._in_writing, *self._settled.take_all(), *self._cut_off, *self._to_tell]
        self._ledger.settle_soon(self._rows_of(rest))
        for outcome in [*self._undelivered, *self._with_twins(rest)]:
            self._tally.add(outcome)
        left = [(each.id, each.may_have_been_sent()) for each in self._entries.values()]
        self._ledger.release_soon(left)
        self._ledger.enter_soon(list(self._tally.open.values()))

    # The source of the crew.

    @property
    def may_wait(self) -> bool:
        """Whether nothing is ready to be sent."""
        return self._ready.empty()

    def take(self) -> ClaimRequest | None:
        """Give the next request that is ready to be sent; None when there are no more."""
        return self._known(self._ready.get_nowait())

    def take_ready(self) -> ClaimRequest | None:
        """Give none: those that may wait are waited for."""

    async def pull(self) -> ClaimRequest | None:
        """Give the next request that may be sent; None when there are no more."""
        return self._known(await self._ready.get())

    def _known(self, asked: ClaimRequest | None) -> ClaimRequest | None:
        if asked is None:
            self.exhausted = True
            self._ready.put_nowait(None)  # for the next who asks
        return asked

    def hold(self, row: Row) -> None:
        """Let *row* know whether it may have been sent before."""
        entry = self._by_request[id(row.asked)]
        row.maybe_applied = entry.doubt
        entry.row = row

    # The delivery of the crew.

    def offer(self, outcome: ClaimOutcome) -> bool:
        """Take an outcome to be recorded, if there is room."""
        return self._settled.offer(outcome)

    async def put(self, outcome: ClaimOutcome) -> None:
        """Take an outcome to be recorded, when there is room."""
        try:
            await self._settled.put(outcome)
        except asyncio.CancelledError:
            self._cut_off.append(outcome)
            raise

    def end(self) -> None:
        """Hear that nothing more comes."""
        self._settled.end()

    # From the source to the workers.

    async def _pull_ahead(self) -> None:
        source = self._source
        try:
            while True:
                asked = await source.pull() if source.may_wait else source.take()
                if asked is None:
                    break
                if not self._asked.offer(asked):
                    await self._asked.put(asked)
            self._asked.end()
        except asyncio.CancelledError as error:
            if not self._stopping:  # the source was cancelled, which is not its end
                self._fail(error)
            raise
        except Exception as error:  # noqa: BLE001 - the consumer is told
            self._fail(error)

    async def _lease(self) -> None:
        try:
            later: list[ClaimRequest] = []
            while batch := later or await self._asked.get_all():
                found = await self._ledger.lease(batch, self._ahead)
                # All of them at once: whatever comes next may be the end of the run.
                later = [
                    asked
                    for asked, each in zip(batch, found, strict=True)
                    if not self._sort(asked, each)
                ]
                await self._pass_on()
                while self._twins > 4 * self._ahead:
                    await self._progress.wait()
            await self._ready.put(None)
        except Exception as error:  # noqa: BLE001 - the consumer is told
            self._fail(error)

    async def _pass_on(self) -> None:
        while self._to_tell:
            await self._settled.put(self._to_tell[0])
            self._to_tell.popleft()  # now that it can no longer be cut off
        while self._to_send:
            await self._ready.put(self._to_send.popleft())

    def _sort(self, asked: ClaimRequest, found: Found) -> bool:
        """Bring a request on its way; False when the ledger must be asked again."""
        match found.fate:
            case Fate.SEND:
                entry = _Entry(found.id, asked, found.doubt)
                self._entries[found.id] = self._by_request[id(asked)] = entry
                self._to_send.append(asked)
            case Fate.TWIN if found.id in self._entries:
                self._entries[found.id].twins.append(asked)
                self._twins += 1
            case Fate.TOLD if found.told is not None:
                outcome = outcome_of(asked, found.state, *found.told)
                self._told.add(id(outcome))
                self._to_tell.append(outcome)
            case Fate.SETTLED:
                self._tally.skip(asked, rejected=found.state is State.REJECTED)
            case _:  # settled in this very moment, or more than may be in hand
                return False
        return True

    # From the workers to the consumer.

    async def _record(self) -> None:
        try:
            while batch := await self._settled.get_all():
                self._in_writing = batch
                await self._ledger.settle(self._rows_of(batch))
                self._in_writing, self._undelivered = [], self._with_twins(batch)
                self._progress.set()
                self._progress.clear()
                self._admission.note_rate()
                while self._undelivered:
                    await self._deliver(self._undelivered.pop(0))
        except Exception as error:  # noqa: BLE001 - the consumer is told
            self._fail(error)
            await self._discard()
        finally:
            self._outbox.end()

    async def _deliver(self, outcome: ClaimOutcome) -> None:
        self._tally.add(outcome)
        if not self._outbox.offer(outcome):
            await self._outbox.put(outcome)

    async def _discard(self) -> None:
        """Take what comes and tell nobody: it cannot be recorded, so it is not known."""
        while await self._settled.get_all():
            pass

    def _rows_of(self, outcomes: Sequence[ClaimOutcome]) -> list[list[Any]]:
        return [
            _row_of(self._by_request[id(outcome.request)], outcome)
            for outcome in outcomes
            if id(outcome) not in self._told
        ]

    def _with_twins(self, outcomes: Sequence[ClaimOutcome]) -> list[ClaimOutcome]:
        """Give *outcomes*, each followed by those of the same claim, and forget about them."""
        all_of_them = []
        for outcome in outcomes:
            all_of_them.append(outcome)
            self._told.discard(id(outcome))
            entry = self._by_request.pop(id(outcome.request), None)
            if entry is not None:
                del self._entries[entry.id]
                self._twins -= len(entry.twins)
                all_of_them += [attrs.evolve(outcome, request=twin) for twin in entry.twins]
        return all_of_them


def _row_of(entry: _Entry, outcome: ClaimOutcome) -> list[Any]:
    error = error_values(outcome.error)
    in_doubt = entry.doubt or bool(outcome.error is not None and outcome.error.maybe_applied)
    return [
        entry.id,
        state_of(outcome.status),
        outcome.attempts,
        int(outcome.recovered),
        int(in_doubt),
        None if error is None else json.dumps(error),
    ]
