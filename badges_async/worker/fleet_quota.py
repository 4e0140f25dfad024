"""
One quota for many processes: a log of places in Redis, on the clock of its server.

Here: `FleetQuota`, which gives a client its places, and `quota_uses`, which looks at all quotas.
Not here: what is atomic (`quota_scripts`), what of it is ours (`quota_book`), or whose turn it is
within a process (`places`).

A place is reserved at most `max_wait` seconds ahead, so that a process that dies takes no more of
the quota along. It counts from the moment that it was granted for; a request that leaves later
moves its place to that moment, and one that is still on its way (it may have to connect) moves it
again and again, so that the log never forgets a request that is yet to arrive.
"""

from __future__ import annotations

import asyncio
import logging
import math
from collections.abc import Callable, Iterable
from contextlib import suppress
from functools import partial
from types import TracebackType
from typing import Any, Self
from uuid import uuid4

import attrs
from redis.asyncio import Redis

from badges_async import ClientClosedError, InvalidInputError, Quota, Slot
from badges_async.worker.errors import SourceError
from badges_async.worker.places import Place, Waiting
from badges_async.worker.quota_book import LARGEST_LOG, Book, Question, micro
from badges_async.worker.quota_scripts import COUNT, TURN
from badges_async.worker.redis_link import Link

__all__ = ["FleetQuota", "QuotaUse", "quota_uses"]

_LOG = logging.getLogger("badges_async")

_NAMES = "badges:quotas"
_LONGEST_NAME = 80
_LOOK_EVERY = 0.25  # seconds; for a hold, while places are at hand for later
_SOONEST, _BLIND = 0.05, 5.0  # seconds until places are asked for again after a refusal
_SPACING = 0.002  # seconds in which those who ask one by one are gathered into one question
_MUTE = 1.0  # seconds until Redis is told something again after it refused us
_DRIFT = 0.05  # seconds; what two clocks say of one pause may differ by so much
_CLOSE_WITHIN = 1.0


class FleetQuota:
    """
    Keeps quotas for all processes that name them alike; see `badges_async.Limiter`.

    ```python
    async with FleetQuota(connect(url), Quota(100, per=10.0), name="brand-a") as quota:
        async with BadgesClient.from_env(quota=quota) as client:
            ...
    ```

    While Redis is away everybody waits. A pause that the service asked one process for holds all
    of them. All who share a name are to keep the same quotas. A limit above 10,000 is kept as an
    equal share of it in a shorter window.

    Args:
        redis: See `badges_async.worker.connect`; never closed here.
        quotas: One, or several that hold together: ``Quota(100, 10.0), Quota(20, 1.0)``.
        name: Of an account with the service, such as a brand. Never a secret: it is a key in Redis.
        guard: Seconds by which the network may change the distance of two requests. Each window is
            kept longer by it.
        max_wait: Seconds that a place may be reserved ahead, at most half of the shortest window.

    Attributes:
        quota: Of several the one that allows the fewest a second.

    Raises:
        InvalidInputError: An option has no meaning.
    """

    on_pause: Callable[[float], None] | None = None

    def __init__(
        self,
        redis: Redis,
        *quotas: Quota,
        name: str,
        guard: float = 0.35,
        max_wait: float = 2.0,
    ) -> None:
        _check(quotas, name, guard, max_wait)
        self.quota = min(quotas, key=lambda quota: quota.limit / quota.per)
        self._name, self._kept = name, [_divided(quota) for quota in quotas]
        self._ahead = min(max_wait, min(quota.per for quota in self._kept) / 2)
        self._book = Book(self._kept, guard, self._ahead, f"{uuid4().hex[:16]}:")
        self._waiting = Waiting(self._hand_over, self._put_back, self._book.stale)
        self._link = Link(redis)
        self._turn: Callable[..., Any] = redis.register_script(TURN)
        self._keys = _keys(name)
        self._wake = asyncio.Event()
        self._group: asyncio.TaskGroup | None = None
        self._pump: asyncio.Task[None] | None = None
        self._question: Question | None = None  # whose answer is not here yet
        self._held_until = 0.0
        self._looked = 0.0
        self._not_before = 0.0  # places are not asked for before that
        self._in_vain = 0
        self._mute_until = 0.0

    async def __aenter__(self) -> Self:
        """
        Get ready.

        Raises:
            SourceError: Redis is not there, or it refuses us.
            ClientClosedError: It was entered before.
        """
        if self._pump is not None:
            raise ClientClosedError("a FleetQuota is entered once")
        await self._link.reach()
        await self._link.ask(self._write_name)
        group = await asyncio.TaskGroup().__aenter__()
        self._pump = group.create_task(self._serve())
        self._group = group
        return self

    async def __aexit__(
        self,
        error_type: type[BaseException] | None,
        error: BaseException | None,
        trace: TracebackType | None,
    ) -> None:
        """Give back what nobody used; whoever still waits gets `ClientClosedError`."""
        group, pump = self._group, self._pump
        if group is None or pump is None:
            return
        self._group = None
        self._waiting.fail(_closed)
        pump.cancel()
        self._wake.set()
        try:
            # What the body raised is none of the group's business, which would wrap it.
            await group.__aexit__(None, None, None)
        finally:
            await self._say_goodbye()

    async def acquire(self, *, patient: bool = False) -> Slot:
        """
        Wait for a place; a patient caller lets others go ahead. Cancelling costs none.

        Raises:
            ClientClosedError: It is not open.
            SourceError: Redis refuses us.
        """
        if self._group is None:
            raise _closed()
        self._wake.set()
        return await self._waiting.wait(patient=patient)

    def sent(self, slot: Slot) -> None:
        """Hear that the request of *slot* leaves now: it counts from this moment."""
        place = self._book.end(slot)
        if place is not None and self._book.leave(place, asyncio.get_running_loop().time()):
            self._wake.set()

    def done(self, slot: Slot) -> None:
        """Hear that the attempt is over; a request that never left counts from its grant."""
        self._book.end(slot)

    def give_back(self, slot: Slot) -> None:
        """Take back a place that was never used, and of which there is no record."""
        place = self._book.end(slot)
        if place is not None:
            self._put_back(place)

    def prime(self, moments: Iterable[float]) -> None:
        """Ignored: the log in Redis remembers what was sent, by whomever."""

    def paused(self, until: float) -> None:
        """Hear that nothing is sent until that moment, and tell the fleet."""
        if self._group is None or until <= self._held_until + _DRIFT:
            return
        self._held_until = self._book.hold = until
        self._waiting.recall(until)
        self._wake.set()

    def _hand_over(self, place: Place) -> None:
        if self._book.hand_over(place):
            self._wake.set()

    def _put_back(self, place: Place) -> None:
        self._book.put_back(place)
        self._wake.set()

    # The pump.

    async def _serve(self) -> None:
        """Ask Redis for what is wanted, and tell it what is to be told. Never raises."""
        loop = asyncio.get_running_loop()
        # Redis's client may keep a cancellation to itself, when an answer comes in that moment.
        while self._group is not None:
            self._wake.clear()
            now = loop.time()
            if (due := self._next_turn(now)) <= now:
                try:
                    await self._take_turn()
                except Exception as error:  # noqa: BLE001 - whoever waits is to hear of it
                    self._refuse(error)
                continue
            alarm = loop.call_at(due, self._wake.set) if due < math.inf else None
            try:
                await self._wake.wait()
            finally:
                if alarm is not None:
                    alarm.cancel()

    def _next_turn(self, now: float) -> float:
        """Give the moment of the next question."""
        due = self._book.to_be_told(now)
        last = self._waiting.last_due
        if last is not None and last > self._looked + _LOOK_EVERY:
            due = min(due, self._looked + _LOOK_EVERY)
        due = max(due, self._mute_until)
        if self._waiting.wanted > 0:
            due = min(due, max(self._not_before, self._looked + _SPACING))
        return due

    async def _take_turn(self) -> None:
        loop = asyncio.get_running_loop()
        reply = await self._link.ask(self._ask)
        question, self._question = self._question, None
        assert question is not None  # noqa: S101 - the one that was asked just now
        now = loop.time()
        answer = self._book.hear(question, reply, now)
        self._looked = question.asked
        if answer.hold and question.asked + answer.hold > self._held_until + _DRIFT:
            self._hear_hold(answer.hold, now)
        if question.members and not answer.incomplete:
            self._plan(answer.ahead, now, got=bool(answer.places))
        self._waiting.add(answer.places)

    async def _ask(self) -> list[int]:
        """Ask once; whatever was asked before and not answered is given up."""
        if self._question is not None:
            self._book.lose(self._question)
        now = asyncio.get_running_loop().time()
        wanted = self._waiting.wanted if now >= self._not_before else 0
        self._question = self._book.question(now, wanted)
        reply: list[int] = await self._turn(keys=self._keys, args=self._question.args)
        return reply

    def _plan(self, ahead: float | None, now: float, *, got: bool) -> None:
        """
        Decide when to ask again, given how far *ahead* the first place is that was refused.

        Not as soon as there is one: three processes that ask for each place ask three times as
        often. Who got none asks a bit earlier than the others, the earlier the more often.
        """
        self._in_vain = 0 if got else self._in_vain + 1
        if ahead is None:
            self._not_before = now
            return
        early = self._ahead * (1 - 0.5 ** (self._in_vain + 1))
        self._not_before = now + min(max(ahead - early, _SOONEST), _BLIND)

    def _hear_hold(self, seconds: float, now: float) -> None:
        """Keep a hold that others were asked for."""
        self._held_until = now + seconds
        self._waiting.recall(self._held_until)
        if self.on_pause is not None:
            try:
                self.on_pause(seconds)
            except Exception:  # noqa: BLE001 - it is our users' code
                _LOG.exception("whoever keeps the fleet's quota failed to hear of a pause")

    def _refuse(self, error: Exception) -> None:
        if self._question is not None:
            self._book.lose(self._question)
            self._question = None
        text = str(error) if isinstance(error, SourceError) else f"the fleet's quota: {error!r}"
        self._mute_until = asyncio.get_running_loop().time() + _MUTE
        self._waiting.fail(lambda: SourceError(text))

    # Coming and going.

    async def _write_name(self) -> None:
        command, quotas = self._link.send, " ".join(map(str, self._kept))
        before = await command("HGET", _NAMES, self._name)
        if before is not None and _text(before) != quotas:
            _LOG.warning("the quota %s was %s, and is now %s", self._name, _text(before), quotas)
        await command("HSET", _NAMES, self._name, quotas)

    async def _say_goodbye(self) -> None:
        """Tell what is still to be told, once and not for long."""
        if self._question is not None:
            self._book.lose(self._question)
        self._book.mend = False
        question = self._book.question(asyncio.get_running_loop().time(), 0)
        with suppress(Exception):  # whatever it is, we leave
            async with asyncio.timeout(_CLOSE_WITHIN):
                await self._turn(keys=self._keys, args=question.args)


@attrs.frozen
class QuotaUse:
    """
    How much of a fleet's quota is taken.

    Attributes:
        name: Its name.
        quotas: What is kept, as in ``100/10s 20/1s``.
        taken: Of each, the places in the window that ends now.
        hold: Seconds until anybody may send again.
    """

    name: str
    quotas: str
    taken: tuple[int, ...]
    hold: float


async def quota_uses(redis: Redis) -> list[QuotaUse]:
    """
    Look at all quotas that were ever kept in this Redis.

    Raises:
        SourceError: Redis refuses us.
    """
    link, count = Link(redis), redis.register_script(COUNT)
    uses = []
    for name, text in (await link.ask(lambda: link.send("HGETALL", _NAMES))).items():
        quotas = _text(text)
        keys, windows = _keys(_text(name)), [micro(Quota.parse(one).per) for one in quotas.split()]
        hold, *taken = await link.ask(partial(count, keys=keys, args=windows))
        uses.append(QuotaUse(_text(name), quotas, tuple(taken), hold / 1e6))
    return sorted(uses, key=lambda use: use.name)


def _check(quotas: tuple[Quota, ...], name: str, guard: float, max_wait: float) -> None:
    if not quotas:
        raise InvalidInputError("a FleetQuota keeps at least one quota")
    plain = isinstance(name, str) and name.isprintable() and name.strip() == name != ""
    if not plain or len(name) > _LONGEST_NAME or set(name) & set("{}"):
        raise InvalidInputError("a quota's name is 1 to 80 printable characters without { and }")
    for option, seconds in (("guard", guard), ("max_wait", max_wait)):
        if not 0 < seconds < math.inf:
            raise InvalidInputError(f"{option} must be a number of seconds above 0")


def _divided(quota: Quota) -> Quota:
    """Give a quota that implies *quota* and needs no endless log."""
    shares = math.ceil(quota.limit / LARGEST_LOG)
    return Quota(quota.limit // shares, quota.per / shares)


def _keys(name: str) -> list[str]:
    return [f"{{badges:quota:{name}}}:{what}" for what in ("log", "hold")]


def _closed() -> ClientClosedError:
    return ClientClosedError("the FleetQuota is not open: use it within `async with`")


def _text(value: bytes | str) -> str:
    return value.decode() if isinstance(value, bytes) else value
