"""
What a process has in the log of the fleet's quota, and what the log is still to be told of it.

Here: questions for the script and what their answers mean, as values. Not here: asking (it is
`fleet_quota` that does), or the script (`quota_scripts`).
"""

from __future__ import annotations

import math
from collections.abc import Sequence

import attrs

from badges_async import Quota, Slot
from badges_async.worker.places import Place

__all__ = ["LARGEST_LOG", "Answer", "Book", "Question", "micro"]

LARGEST_LOG = 10_000
_MICRO = 1_000_000
# A request that leaves later than its place by no more than this part of the guard is nothing to
# tell: of 0.35 s it leaves 0.3 to the network.
_UNTOLD = 1 / 8
_ON_ITS_WAY = 1.0  # seconds after which a place whose request has not left counts anew
_GATHER = 0.25  # seconds in which late requests are told together


@attrs.frozen
class Question:
    """
    What the script is told and asked at once.

    Attributes:
        asked: When, in the loop's time.
        args: Its arguments.
        hold: The end of the hold that it tells, in the loop's time, or 0.0.
        late: Places that count from later, and from when.
        back: Places that are given back.
        members: What the places that are asked for are to be called.
    """

    asked: float
    args: Sequence[str | int]
    hold: float
    late: Sequence[tuple[str, float]]
    back: Sequence[str]
    members: Sequence[str]


@attrs.frozen
class Answer:
    """
    What the script said.

    Attributes:
        places: Those that it granted.
        hold: Seconds left of the fleet's hold.
        ahead: Seconds from now to the first place that it refused, if it refused one.
        incomplete: The log has lost places; nothing was granted.
    """

    places: list[Place]
    hold: float
    ahead: float | None
    incomplete: bool


class Book:
    """
    What this process has in the log.

    Args:
        quotas: What is kept.
        guard: Seconds by which each window is kept longer.
        ahead: Seconds that a place may be reserved ahead.
        prefix: What the members of this process begin with; nobody else's do.

    Attributes:
        stale: Seconds after its moment when a place must not be used without asking again: until
            then nobody's place depends on that this one is over.
        hold: The end of a hold that is to be told, in the loop's time, or 0.0.
        mend: The log may have lost places.
    """

    def __init__(self, quotas: Sequence[Quota], guard: float, ahead: float, prefix: str) -> None:
        shortest = min(quota.per for quota in quotas)
        self.stale = min(shortest / 4, _ON_ITS_WAY)
        self.hold = 0.0
        self.mend = False
        self._age = micro(max(quota.per for quota in quotas) + guard)
        self._patience = guard * _UNTOLD
        self._gather = min(shortest / 8, _GATHER)
        self._settings = [micro(ahead), micro(guard), self._age, len(quotas)]
        for quota in quotas:
            self._settings += [quota.limit, micro(quota.per)]
        self._prefix, self._count = prefix, 0
        # All of these in the order of their times.
        self._ours: dict[str, int] = {}  # places in the log, and their scores
        self._unsent: dict[Place, float] = {}  # handed over, and when they are to count anew
        self._late: dict[str, float] = {}  # places, and when their requests left
        self._back: dict[str, None] = {}  # places that nobody needs

    # What happens to a place.

    def hand_over(self, place: Place) -> bool:
        """Hear that somebody has *place*; True if it is the only one whose request is to leave."""
        self._unsent[place] = place.stands_for + self.stale
        return len(self._unsent) == 1

    def end(self, slot: Slot) -> Place | None:
        """Hear that the place of *slot* waits for its request no more; None if it did not."""
        if not isinstance(slot, Place) or not slot.on_its_way:
            return None
        slot.on_its_way = False
        self._unsent.pop(slot, None)
        return slot

    def leave(self, place: Place, now: float) -> bool:
        """Hear that its request leaves now; True if that is to be told."""
        place.at = now
        if now - place.stands_for <= self._patience:
            return False
        self._late[place.member] = now
        return True

    def put_back(self, place: Place) -> None:
        """Hear that nobody needs *place*."""
        self.end(place)
        self._ours.pop(place.member, None)
        self._back[place.member] = None

    # What the log is told.

    def to_be_told(self, now: float) -> float:
        """Give the moment when the log is to be told something."""
        if self._back or self.mend or self.hold > now:
            return now
        due = math.inf
        if self._late:
            due = next(iter(self._late.values())) + self._gather
        if self._unsent:
            due = min(due, next(iter(self._unsent.values())))
        return due

    def question(self, now: float, wanted: int) -> Question:
        """Ask for so many places, and tell whatever there is to tell."""
        members = []
        for _ in range(min(max(wanted, 0), LARGEST_LOG)):
            self._count += 1
            members.append(f"{self._prefix}{self._count}")
        late = list(self._late.items())
        late += [(place.member, now) for place, due in self._unsent.items() if due <= now]
        args: list[str | int] = [*self._settings, micro(max(self.hold - now, 0.0)), len(late)]
        for member, moment in late:
            args += [member, micro(now - moment)]
        args.append(len(self._ours) if self.mend else 0)
        for member, score in self._ours.items() if self.mend else ():
            args += [member, score]
        args += [len(self._back), *self._back]
        # What was written last is what a crash loses first.
        witness = None if self.mend else next(reversed(self._ours), None)
        args += ["", 0] if witness is None else [witness, self._ours[witness]]
        args += members
        return Question(now, args, self.hold, late, list(self._back), members)

    def lose(self, question: Question) -> None:
        """Hear that the answer was lost: nobody uses what was granted, and much may be gone."""
        self._back.update(dict.fromkeys(question.members))
        self.mend = True

    def hear(self, question: Question, reply: Sequence[int], received: float) -> Answer:
        """Read the script's reply."""
        now, hold, missing, refused, *moments = reply
        self.mend = bool(missing)
        for member in question.back:
            self._back.pop(member, None)
        if self.hold <= question.hold:
            self.hold = 0.0
        self._note_stamps(question, now)
        places = []
        for member, moment in zip(question.members, moments, strict=False):
            ahead = (moment - now) / _MICRO
            stands_for = question.asked + ahead
            self._ours[member] = moment
            places.append(Place(at=received + ahead, member=member, stands_for=stands_for))
        return Answer(
            places,
            hold / _MICRO,
            refused / _MICRO if refused >= 0 else None,
            bool(missing),
        )

    def _note_stamps(self, question: Question, now: int) -> None:
        for member, moment in question.late:
            if self._late.get(member) == moment:
                del self._late[member]
            score = self._ours.pop(member, 0)
            self._ours[member] = max(score, now - micro(question.asked - moment))
        for place in [one for one, due in self._unsent.items() if due <= question.asked]:
            del self._unsent[place]
            self._unsent[place] = question.asked + self.stale
        for member in list(self._ours):
            if self._ours[member] > now - self._age:
                break
            del self._ours[member]


def micro(seconds: float) -> int:
    """Give whole microseconds, never fewer."""
    return math.ceil(seconds * _MICRO)
