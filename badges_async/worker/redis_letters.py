"""
Going through the dead letters of a stream: reading, sending back, deleting.

Here: pages, and the scripts that move letters. Not here: what a letter is (`dead_letters`), or how
an event becomes one (`redis_source`).

Whatever takes letters away notes how many these were: when its answer is lost it is asked again,
takes nothing twice, and still says what it did.
"""

from __future__ import annotations

import secrets
from collections.abc import AsyncIterator, Iterable
from functools import partial
from itertools import islice
from typing import Any

from badges_async.worker.dead_letters import DeadLetter, is_entry_id, read_letter
from badges_async.worker.redis_link import Link

__all__ = ["Letters"]

_PAGE = 100
_START, _END = "-", "+"
_NOTED = 86_400  # seconds that Redis remembers what a page did

# KEYS: letters. ARGV: from, to, how many. Gives ids: a letter may be large, and is not looked at.
_LIST = """
local ids = {}
for _, entry in ipairs(redis.call('XRANGE', KEYS[1], ARGV[1], ARGV[2], 'COUNT', ARGV[3])) do
  ids[#ids + 1] = entry[1]
end
return ids
"""

# KEYS: letters, note, stream. ARGV: page, seconds for the note, reason or '', 'requeue' or 'purge',
# ids. Gives how many were taken. A letter of more fields than Lua can hand over stays.
_TAKE = """
local page, reason, requeue = ARGV[1], ARGV[3], ARGV[4] == 'requeue'
local note = redis.call('GET', KEYS[2])
if note then
  local noted, count = string.match(note, '^(%d+) (%d+)$')
  if noted == page then return tonumber(count) end
end
local function back(fields)
  local entry, times = {}, 0
  for i = 1, #fields, 2 do
    local name, value = fields[i], fields[i + 1]
    if name == 'requeued' then
      if string.match(value, '^%d+$') and #value < 16 then times = tonumber(value) end
    elseif string.sub(name, 1, 4) ~= 'dlq.' then
      entry[#entry + 1] = name
      entry[#entry + 1] = value
    end
  end
  entry[#entry + 1] = 'requeued'
  entry[#entry + 1] = string.format('%.0f', times + 1)
  if #entry > 7900 then return false end
  redis.call('XADD', KEYS[3], '*', unpack(entry))
  return true
end
local taken = 0
for i = 5, #ARGV do
  local entry = redis.call('XRANGE', KEYS[1], ARGV[i], ARGV[i])[1]
  if entry then
    local fields, why = entry[2], ''
    for j = 1, #fields, 2 do
      if fields[j] == 'dlq.reason' then why = fields[j + 1] end
    end
    if (reason == '' or reason == why) and (not requeue or back(fields)) then
      taken = taken + redis.call('XDEL', KEYS[1], ARGV[i])
    end
  end
end
redis.call('SET', KEYS[2], page .. ' ' .. taken, 'EX', ARGV[2])
return taken
"""


class Letters:
    """
    The dead letters of a stream.

    Args:
        link: The way to Redis.
        stream: The key of the stream that they came from.
        letters: Their own key.
    """

    def __init__(self, link: Link, stream: str, letters: str) -> None:
        self._link, self._stream, self._letters = link, stream, letters
        self._redis: Any = link.redis  # its types allow for clients that decode
        self._list = link.redis.register_script(_LIST)
        self._take = link.redis.register_script(_TAKE)

    async def read(self, reason: str | None, *, newest_first: bool) -> AsyncIterator[DeadLetter]:
        """Give those of *reason*, or all."""
        at = _END if newest_first else _START
        while True:
            page = await self._page(at, newest_first=newest_first)
            for entry_id, fields in page:
                letter = read_letter(entry_id, fields)
                if reason is None or letter.reason == reason:
                    yield letter
            if len(page) < _PAGE:
                break
            at = f"({page[-1][0].decode()}"

    async def one(self, letter_id: str) -> DeadLetter | None:
        """Give a letter, if it is there."""
        if not is_entry_id(letter_id):
            return None
        ask = partial(self._redis.xrange, self._letters, letter_id, letter_id)
        found = await self._link.ask(ask)
        return read_letter(*found[0]) if found else None

    async def take(
        self,
        what: str,
        ids: Iterable[str] | None,
        *,
        reason: str | None,
        older_than: float | None = None,
    ) -> int:
        """
        Take letters away, and give how many.

        Args:
            what: ``requeue`` or ``purge``.
            ids: Which; all that are there now, if None.
            reason: Only those of this reason.
            older_than: Only those that were put aside so many seconds ago.
        """
        until = None if older_than is None else await self._moment(older_than)
        pages = self._pages_until(until) if ids is None else _pages_of(ids, until)
        note = f"{self._letters}:taken:{secrets.token_hex(8)}"
        taken = number = 0
        async for page in pages:
            number += 1
            taken += await self._take_page(what, note, number, page, reason)
        return taken

    async def _take_page(
        self, what: str, note: str, number: int, page: list[Any], reason: str | None
    ) -> int:
        keys = (self._letters, note, self._stream)
        arguments = (number, _NOTED, reason or "", what, *page)
        return int(await self._link.ask(lambda: self._take(keys=keys, args=arguments)))

    async def _page(self, at: str, *, newest_first: bool) -> list[tuple[bytes, dict[bytes, bytes]]]:
        if newest_first:
            ask = partial(self._redis.xrevrange, self._letters, at, _START, count=_PAGE)
        else:
            ask = partial(self._redis.xrange, self._letters, at, _END, count=_PAGE)
        page: list[tuple[bytes, dict[bytes, bytes]]] = await self._link.ask(ask)
        return page

    async def _pages_until(self, until: int | None) -> AsyncIterator[list[Any]]:
        """Give the ids of the letters that are there now, up to a moment if one is given."""
        at, newest = _START, str(until)
        if until is None:  # a letter that comes back meanwhile is not taken again
            last = await self._link.ask(partial(self._redis.xrevrange, self._letters, count=1))
            newest = last[0][0].decode() if last else _START
        while True:
            arguments = (at, newest, _PAGE)
            page = await self._link.ask(partial(self._list, (self._letters,), arguments))
            if page:
                yield page
            if len(page) < _PAGE:
                break
            at = f"({page[-1].decode()}"

    async def _moment(self, ago: float) -> int:
        """Give the moment so many seconds ago, in milliseconds on Redis's clock."""
        seconds, micros = await self._link.ask(self._redis.time)
        return max(0, int(seconds * 1000 + micros / 1000 - ago * 1000))


async def _pages_of(ids: Iterable[str], until: int | None) -> AsyncIterator[list[Any]]:
    """Give *ids* in pages, without those that are none or are of later than *until*."""
    rest = (
        one
        for one in ids
        if is_entry_id(one) and (until is None or int(one.partition("-")[0]) <= until)
    )
    while page := list(islice(rest, _PAGE)):
        yield page
