"""
The bugs: what people get wrong in clients, retries, quotas, ledgers and parsers.

The first thirteen are those that the plan of the simulation was measured by.
"""

from __future__ import annotations

from tests.planted.hunt import SIMULATION, Bug

__all__ = ["BUGS"]

_QUOTA = "tests/test_quota.py"
_OPERATIONS = "tests/test_operations.py"
_LEDGER = "tests/ledger"


def _bug(name: str, room: str, is_: str, becomes: str, *hunters: str) -> Bug:
    return Bug(name=name, room=room, is_=is_, becomes=becomes, hunters=hunters or (SIMULATION,))


_OF_THE_PLAN = (
    _bug(
        "a bucket that refills instead of a log",
        "quota.py",
        "while counted and counted[0] + self._window <= now:",
        "while counted and counted[0] + self._window / self.quota.limit <= now:",
    ),
    _bug(
        "code 900 is a failure",
        "operations.py",
        "already = bool(says_more) and envelope.says_only(_ALREADY_CLAIMED)",
        "already = False",
    ),
    _bug(
        "the intent is not written before the request",
        "ledger/store.py",
        "        if taken:\n            self.connection",
        "        if len(taken) > 1:\n            self.connection",
    ),
    _bug(
        "a permit is kept when an attempt fails",
        "dispatch.py",
        "            self._permits.release()",
        "            if call.last_error is None or call.attempts < 2:\n"
        "                self._permits.release()",
    ),
    _bug(
        "the limiter forgets at a restart",
        "admission.py",
        "            self._limiter.prime(at for at in sends if at not in ours)",
        "            self._limiter.prime(at for at in sends if at in ours)",
    ),
    _bug(
        "a broken answer is taken for a 400",
        "failures.py",
        '        return ConnectionLostError(f"the answer was not valid HTTP: '
        '{_own_words(error.message)}")',
        "        from badges_async.errors import InvalidRequestError\n"
        "        return InvalidRequestError(str(error), status=400)",
        "tests/client/test_session_errors.py",
    ),
    _bug(
        "everybody fetches a token",
        "auth.py",
        "        async with self._lock:\n",
        "        async with asyncio.Lock():\n",
    ),
    _bug(
        "attempts of a row are not bounded",
        "row.py",
        "return self.spent >= policy.max_attempts or self.deadline <= now",
        "return self.deadline <= now",
    ),
    _bug(
        "a place of the quota that has grown old is used",
        "admission.py",
        "_OLDEST_SLOT = 1.0",
        "_OLDEST_SLOT = 1e9",
        "tests/client/test_admission.py",
    ),
    _bug(
        "the gate is not looked at again after the ledger was waited for",
        "admission.py",
        "if not too_old and not self.gate.remaining():",
        "if not too_old:",
        "tests/client/test_admission.py",
    ),
    _bug(
        "Retry-After is ignored",
        "gate.py",
        "        self.hold(asked + self._chance.uniform(0, min(1.0, asked / 10)))",
        "        self.hold(self._chance.uniform(0, min(1.0, asked / 10)))",
    ),
    _bug(
        "a pause is not written down",
        "admission.py",
        "            if ledger.failure is None:\n                ledger.record_pause_soon(until)",
        "            if ledger.failure:\n                ledger.record_pause_soon(until)",
    ),
    _bug(
        "an outcome is told before it is on disk",
        "journal.py",
        "                await self._ledger.settle(self._rows_of(batch))",
        "                self._ledger.settle_soon(self._rows_of(batch))",
    ),
)

_OF_THE_ENGINE = (
    _bug(
        "doubt of an earlier run is forgotten",
        "journal.py",
        "        row.maybe_applied = entry.doubt\n",
        "        row.maybe_applied = False\n",
    ),
    _bug(
        "doubt is forgotten when a row is let go",
        "ledger/store.py",
        "UPDATE claim SET state = 0, doubt = claim.doubt OR new.doubt, updated_at = ?2",
        "UPDATE claim SET state = 0, doubt = new.doubt, updated_at = ?2",
        f"{_LEDGER}/test_claims.py",
    ),
    _bug(
        "what a kill cut off is not in doubt",
        "ledger/store.py",
        "return Found(Fate.SEND, id_, bool(doubt) or state is State.SENDING, state)",
        "return Found(Fate.SEND, id_, bool(doubt), state)",
    ),
    _bug(
        "a settled claim is sent again",
        "ledger/store.py",
        "    if state in {State.CLAIMED, State.ALREADY_CLAIMED, State.REJECTED}:",
        "    if state in {State.CLAIMED, State.ALREADY_CLAIMED}:",
    ),
    _bug(
        "a failed claim is never sent again",
        "ledger/store.py",
        "    if state in {State.CLAIMED, State.ALREADY_CLAIMED, State.REJECTED}:",
        "    if state >= State.CLAIMED:",
    ),
    _bug(
        "a request that left late counts from its grant",
        "admission.py",
        "        if permit.records and permit.slot.at - permit.noted > _LATE:",
        "        if permit.records and permit.slot.at - permit.noted > 1e9:",
    ),
    _bug(
        "a drain pulls one more",
        "crew.py",
        "            while not self._draining and await self._take_turn(worker):",
        "            while await self._take_turn(worker):",
        SIMULATION,
        "tests/client/test_bulk_drain.py",
    ),
    _bug(
        "a drain cancels what is on the wire",
        "crew.py",
        "return not (self.handing_over or (self.row is not None and self.row.on_wire))",
        "return not self.handing_over",
        "tests/client/test_bulk_drain.py",
    ),
    _bug(
        "an outcome that waits is dropped at the end of the grace time",
        "bulk.py",
        "call_later(grace, self._crew.cut_off)",
        "call_later(grace, self._crew.dismiss)",
        "tests/client/test_bulk_drain.py",
    ),
    _bug(
        "an attempt that was cancelled leaves no doubt",
        "dispatch.py",
        "        except asyncio.CancelledError:\n            call.maybe_applied = True\n",
        "        except asyncio.CancelledError:\n            call.maybe_applied |= False\n",
        SIMULATION,
        "tests/client/test_cancelled_bulk.py",
    ),
    _bug(
        "a refusal after a lost answer forgets the lost one",
        "dispatch.py",
        "            call.maybe_applied |= error.maybe_applied\n",
        "            call.maybe_applied = error.maybe_applied\n",
    ),
    _bug(
        "a permit goes when its waiter is cancelled",
        "permits.py",
        "                self.release()  # it was handed to us in the same moment",
        "                pass",
        "tests/client/test_permits.py",
    ),
    _bug(
        "one place too many",
        "quota.py",
        "        if surplus < 0:\n",
        "        if surplus <= 0:\n",
    ),
    _bug(
        "the guard of the window is gone",
        "quota.py",
        "self._window = quota.per + min(_SPREAD, quota.per * 0.04)",
        "self._window = quota.per",
    ),
    _bug(
        "a cancelled turn keeps its place",
        "turns.py",
        "            self._undo(turn.result())\n            self.move()",
        "            self.move()",
        _QUOTA,
        "tests/client/test_cancelled_calls.py",
    ),
    _bug(
        "single calls wait behind a run",
        "turns.py",
        "(self._patient if patient else self._prompt).append(turn)",
        "self._patient.append(turn)",
        _QUOTA,
    ),
    _bug(
        "a shorter pause ends a longer one",
        "gate.py",
        "        if opens_at > self.opens_at and seconds > 0:",
        "        if seconds > 0:",
        "tests/test_gate.py",
    ),
    _bug(
        "what an outage stopped is failed",
        "pursuit.py",
        "                if self._outage.answered_since(row.began):",
        "                if True:",
        "tests/client/test_bulk_outage.py",
    ),
    _bug(
        "a retry is not jittered",
        "retry.py",
        "            yield chance.uniform(0, bound)",
        "            yield bound",
        "tests/test_retry.py",
    ),
    _bug(
        "a failed retry earns what a success does",
        "retry.py",
        "        if cost > self.tokens:\n            return False",
        "        if cost > self.tokens + self.capacity:\n            return False",
        "tests/test_retry.py",
        "tests/client/test_bulk_budget.py",
    ),
    _bug(
        "code 717 under 401 settles a row",
        "retry.py",
        "_NOT_ABOUT_THE_REQUEST = _ABOUT_THE_KIND | {401, 403, ",
        "_NOT_ABOUT_THE_REQUEST = _ABOUT_THE_KIND | {",
        "tests/test_retry.py",
    ),
    _bug(
        "a method that is refused to everybody settles each row",
        "retry.py",
        "_ABOUT_THE_KIND = frozenset({405, 406, 407, 415, 421, 426})",
        "_ABOUT_THE_KIND = frozenset()",
        "tests/catalogue/test_failing_services.py",
    ),
    _bug(
        "a report counts twins once",
        "journal.py",
        "all_of_them += [attrs.evolve(outcome, request=twin) for twin in entry.twins]",
        "all_of_them += [attrs.evolve(outcome, request=twin) for twin in entry.twins[:0]]",
    ),
)

_OF_THE_EDGES = (
    _bug(
        "the answer to another claim is taken for ours",
        "operations.py",
        "        claim.reference_id == asked.reference_id\n",
        "        bool(claim.reference_id)\n",
    ),
    _bug(
        "a claim that is not active is held",
        "operations.py",
        '    if not isinstance(data, dict) or data.get("isActive") is not True:',
        "    if not isinstance(data, dict):",
        _OPERATIONS,
    ),
    _bug(
        "the status decides before the body",
        "operations.py",
        "    if not already and (envelope.errors or not reply.ok):",
        "    if not already and not reply.ok:",
        _OPERATIONS,
    ),
    _bug(
        "a commit is told before it is made",
        "ledger/writer.py",
        "        done = self._executor.submit(self._commit_in_thread, operations)\n"
        "        done.add_done_callback(self._written_in_thread)",
        "        done = self._executor.submit(self._commit_in_thread, operations)\n"
        "        done.add_done_callback(lambda _: None)\n"
        "        self._loop.call_soon(self._succeed, [None] * len(operations))",
        _LEDGER,
    ),
    _bug(
        "a full disk ends the run at once",
        "ledger/writer.py",
        "        return now - self._stalled_since < _PATIENCE",
        "        return now - self._stalled_since < 0",
        _LEDGER,
    ),
    _bug(
        "a run that could not write all ends as one that could",
        "ledger/book.py",
        "self._end(COMPLETE if whole else LACKING)",
        "self._end(COMPLETE)",
        f"{_LEDGER}/test_memory.py",
    ),
    _bug(
        "a transaction that failed is not rolled back",
        "ledger/book.py",
        "            if connection.in_transaction:\n",
        "            if not connection.in_transaction:\n",
        _LEDGER,
    ),
    _bug(
        "the wall clock is trusted within a boot",
        "ledger/clock.py",
        "        if self.boot and moment.boot == self.boot:",
        "        if not self.boot:",
        _LEDGER,
    ),
    _bug(
        "a lock is not asked for",
        "ledger/lock.py",
        "            fcntl.flock(self._handle, fcntl.LOCK_EX | fcntl.LOCK_NB)",
        "            fcntl.flock(self._handle, fcntl.LOCK_SH | fcntl.LOCK_NB)",
        f"{_LEDGER}/test_lock.py",
    ),
    _bug(
        "a token is kept to its last second",
        "auth.py",
        "        early = min(30.0, ttl / 10)\n",
        "        early = 0.0\n",
        "tests/test_auth.py",
    ),
    _bug(
        "a refused token is kept",
        "auth.py",
        "        if self._token is not None and self._token.headers is headers:\n"
        "            self._token = None",
        "        if self._token is None:\n            self._token = None",
        "tests/test_auth.py",
    ),
    _bug(
        "an answer of any length is read",
        "session_lane.py",
        "while not content.at_eof() and len(body) <= MOST_BYTES:",
        "while not content.at_eof():",
        "tests/client/test_session_exchange.py",
    ),
    _bug(
        "redirects are followed",
        "session_lane.py",
        "allow_redirects=False,",
        "allow_redirects=True,",
        "tests/client/test_session_exchange.py",
    ),
    _bug(
        "a lost connection is sure not to have claimed",
        "errors.py",
        "maybe_applied: bool = True,\n        attempts: int = 0,\n        stale: bool = False,",
        "maybe_applied: bool = False,\n        attempts: int = 0,\n        stale: bool = False,",
    ),
    _bug(
        "a dead letter is made of what may be retried",
        "worker/decisions.py",
        "ClaimStatus.REJECTED",
        "ClaimStatus.FAILED",
        "tests/worker/test_decisions.py",
    ),
)

BUGS: tuple[Bug, ...] = _OF_THE_PLAN + _OF_THE_ENGINE + _OF_THE_EDGES
