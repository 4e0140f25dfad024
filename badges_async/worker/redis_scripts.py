"""
What a stream's source has Redis do, each as one script: nothing comes between its steps.

Here: Lua, and only Lua. Not here: when it is run (`redis_source`).

Each may be run again when its answer was lost. An entry is ours when the group says so and counts
as many deliveries as we do: one that was taken from us, or handed to us once more in the meantime,
is not touched. Spans and moments are in milliseconds, of the server's clock.
"""

from __future__ import annotations

__all__ = ["BURY", "HAND_BACK", "LEAVE", "RECLAIM", "RENEW", "SETTLE", "SETTLE_AND_TELL", "SWEEP"]

_OURS = """
local function is_ours(id, deliveries)
  local row = redis.call('XPENDING', KEYS[1], group, id, id, 1)[1]
  return row and row[2] == consumer and row[4] == tonumber(deliveries)
end
"""

_TELL = """
local function tell(at, count)
  if count == 0 then return end
  redis.call('XADD', outcomes, '*', unpack(ARGV, at, at + count - 1))
  redis.call('XTRIM', outcomes, 'MINID', '~', string.format('%.0f', now() - outcomes_for))
end
"""

_NOW = """
local function now()
  local time = redis.call('TIME')
  return tonumber(time[1]) * 1000 + math.floor(tonumber(time[2]) / 1000)
end
"""

RECLAIM = """
-- KEYS: the stream. ARGV: group, consumer, the age of leases that have ended, where to go on, how
-- many at the most.
-- Gives where to go on, the entries, and how often each was delivered.
local stream, group, consumer = KEYS[1], ARGV[1], ARGV[2]
local cursor, left = ARGV[4], tonumber(ARGV[5])
local entries, deliveries = {}, {}
-- One call looks at ten times its COUNT: several, or a small COUNT is long in coming round.
for _ = 1, math.ceil(1000 / left) do
  local reply = redis.call('XAUTOCLAIM', stream, group, consumer, ARGV[3], cursor, 'COUNT', left)
  cursor = reply[1]
  for _, entry in ipairs(reply[2]) do
    entries[#entries + 1] = entry
    deliveries[#entries] = redis.call('XPENDING', stream, group, entry[1], entry[1], 1)[1][4]
    left = left - 1
  end
  if left < 1 or cursor == '0-0' then break end
end
return {cursor, entries, deliveries}
"""

RENEW = """
-- KEYS: the stream. ARGV: group, consumer, ids of entries.
-- Gives the ids of those that somebody else has; what nobody has was settled in the meantime.
local stream, group, consumer = KEYS[1], ARGV[1], ARGV[2]
local lost = {}
for i = 3, #ARGV do
  local row = redis.call('XPENDING', stream, group, ARGV[i], ARGV[i], 1)[1]
  if row and row[2] == consumer then
    redis.call('XCLAIM', stream, group, consumer, 0, ARGV[i], 'IDLE', 0, 'JUSTID')
  elseif row then
    lost[#lost + 1] = ARGV[i]
  end
end
return lost
"""

SETTLE = """
-- KEYS: the stream, the notes on failures. ARGV: group, the ids of entries as one text (a word for
-- each costs a client more than all the rest), and of those of them that may have notes.
local function ids_in(text)
  local ids = {}
  for id in string.gmatch(text, '%S+') do ids[#ids + 1] = id end
  return ids
end
local ids, noted = ids_in(ARGV[2]), ids_in(ARGV[3])
redis.call('XACK', KEYS[1], ARGV[1], unpack(ids))
redis.call('XDEL', KEYS[1], unpack(ids))
if #noted > 0 then redis.call('HDEL', KEYS[2], unpack(noted)) end
"""

SETTLE_AND_TELL = (
    """
-- KEYS: the stream, the notes on failures, the outcomes. ARGV: group, for how long outcomes are
-- kept, and of each entry its id, how many words its outcome has, and these.
local outcomes, outcomes_for = KEYS[3], tonumber(ARGV[2])
"""
    + _NOW
    + _TELL
    + """
local at = 3
while at < #ARGV do
  local id, words = ARGV[at], tonumber(ARGV[at + 1])
  redis.call('XACK', KEYS[1], ARGV[1], id)
  redis.call('HDEL', KEYS[2], id)
  -- Whoever takes the entry away tells of it, so that it is told once.
  if redis.call('XDEL', KEYS[1], id) == 1 then tell(at + 2, words) end
  at = at + 2 + words
end
"""
)

HAND_BACK = (
    """
-- KEYS: the stream, the notes on failures. ARGV: group, consumer, for how long notes are kept, and
-- of each entry its id, its deliveries, how many of them count, the age of its lease, and a note:
-- the members of a JSON object, or ''.
local stream, group, consumer = KEYS[1], ARGV[1], ARGV[2]
local most = 8192
"""
    + _NOW
    + _OURS
    + """
local function add_note(id, note)
  local notes = redis.call('HGET', KEYS[2], id) or ''
  if string.sub(notes, -#note - 1) == note .. '\\n' then return end  -- the answer was lost
  notes = notes .. '{"at":' .. string.format('%.0f', now()) .. ',' .. note .. '\\n'
  while #notes > most do
    notes = string.sub(notes, string.find(notes, '\\n', 1, true) + 1)
  end
  redis.call('HSET', KEYS[2], id, notes)
  redis.call('PEXPIRE', KEYS[2], ARGV[3])
end
for i = 4, #ARGV, 5 do
  local id, note = ARGV[i], ARGV[i + 4]
  if is_ours(id, ARGV[i + 1]) then
    redis.call('XCLAIM', stream, group, consumer, 0, id, 'IDLE', ARGV[i + 3],
      'RETRYCOUNT', ARGV[i + 2], 'JUSTID')
    if note ~= '' then add_note(id, note) end
  end
end
"""
)

BURY = (
    """
-- KEYS: the stream, the notes on failures, the outcomes, the dead letters. ARGV: group, consumer,
-- for how long dead letters are kept, or '', for how long outcomes are, and of each entry its id,
-- its deliveries, how many words are added to it, how many words its outcome has, and all these.
local stream, group, consumer = KEYS[1], ARGV[1], ARGV[2]
local outcomes, outcomes_for = KEYS[3], tonumber(ARGV[4])
-- Lua hands over less than 8,000 words at once.
local most = 7000
"""
    + _NOW
    + _OURS
    + _TELL
    + """
local function bury(id, at, count)
  local entry = redis.call('XRANGE', stream, id, id)[1]
  if not entry then return end  -- somebody took it away
  local letter, fields, dropped = {}, entry[2], 0
  for i = 1, #fields, 2 do
    if #letter >= most then
      dropped = dropped + 1
    elseif string.sub(fields[i], 1, 4) ~= 'dlq.' then
      letter[#letter + 1] = fields[i]
      letter[#letter + 1] = fields[i + 1]
    end
  end
  local function add(name, value)
    letter[#letter + 1] = name
    letter[#letter + 1] = value
  end
  for i = at, at + count - 1, 2 do add(ARGV[i], ARGV[i + 1]) end
  add('dlq.source', id)
  add('dlq.worker', consumer)
  add('dlq.at', string.format('%.0f', now()))
  add('dlq.history', redis.call('HGET', KEYS[2], id) or '')
  if dropped > 0 then add('dlq.dropped', tostring(dropped)) end
  redis.call('XADD', KEYS[4], '*', unpack(letter))
end
local i = 5
while i < #ARGV do
  local id, deliveries = ARGV[i], ARGV[i + 1]
  local added, words = tonumber(ARGV[i + 2]), tonumber(ARGV[i + 3])
  if is_ours(id, deliveries) then
    bury(id, i + 4, added)
    redis.call('XACK', stream, group, id)
    redis.call('XDEL', stream, id)
    redis.call('HDEL', KEYS[2], id)
    tell(i + 4 + added, words)
  end
  i = i + 4 + added + words
end
if ARGV[3] ~= '' then
  redis.call('XTRIM', KEYS[4], 'MINID', '=', string.format('%.0f', now() - tonumber(ARGV[3])))
end
"""
)

LEAVE = """
-- KEYS: the stream. ARGV: group, consumer.
-- What a consumer holds goes with its name, and is handed to nobody any more: only one that holds
-- nothing may leave.
if #redis.call('XPENDING', KEYS[1], ARGV[1], '-', '+', 1, ARGV[2]) == 0 then
  redis.call('XGROUP', 'DELCONSUMER', KEYS[1], ARGV[1], ARGV[2])
end
"""

SWEEP = """
-- KEYS: the stream. ARGV: group, consumer, the age of names that are in use no more.
-- Gives how many names were removed.
local removed = 0
for _, row in ipairs(redis.call('XINFO', 'CONSUMERS', KEYS[1], ARGV[1])) do
  local facts = {}
  for i = 1, #row, 2 do facts[row[i]] = row[i + 1] end
  if facts.pending == 0 and facts.idle >= tonumber(ARGV[3]) and facts.name ~= ARGV[2] then
    redis.call('XGROUP', 'DELCONSUMER', KEYS[1], ARGV[1], facts.name)
    removed = removed + 1
  end
end
return removed
"""
