"""
What Redis does for the fleet's quota, each as one script: nothing comes between its steps.

Here: Lua, and only Lua. Not here: when it is run (`fleet_quota`).

The log of a quota is a sorted set: a member for each place, its score the moment that it counts
from, in microseconds of the server's clock, which is the one clock that matters. The hold is a
moment on the same clock.
"""

from __future__ import annotations

__all__ = ["COUNT", "TURN"]

TURN = """
-- KEYS: the log, the hold.
-- ARGV: the furthest ahead that a place may be, the guard, the age at which places are forgotten;
--   how many limits there are, and of each the limit and its window;
--   for how long to hold, or 0;
--   how many places count from later, and of each its member and how long ago that was;
--   how many places must not be missing, and of each its member and score;
--   how many places are given back, and their members;
--   a member that must be there unless it is as old as its score says, or '', and that score;
--   the members of the places that are asked for.
-- Every span is in microseconds.
-- Gives now, what is left of the hold, whether a place was missing (then nothing is granted), how
-- far ahead the first place would be that was refused (or -1), and the moments of the places.
local log, hold_key = KEYS[1], KEYS[2]
local time = redis.call('TIME')
local now = tonumber(time[1]) * 1000000 + tonumber(time[2])
local position = 0
local function take()
  position = position + 1
  return ARGV[position]
end
local function number() return tonumber(take()) end
local function text(moment) return string.format('%.0f', moment) end

local furthest, guard, age = number(), number(), number()
local limits = {}
for i = 1, number() do
  local limit = number()
  limits[i] = {limit, number()}
end

local longest = 900000000
local hold = tonumber(redis.call('GET', hold_key) or '0')
hold = math.min(hold, now + longest)
local asked = math.min(number(), longest)
if asked > 0 and now + asked > hold then
  hold = now + asked
  redis.call('SET', hold_key, text(hold), 'PX', text(math.ceil(asked / 1000) + 1000))
end

for _ = 1, number() do
  local member = take()
  redis.call('ZADD', log, 'GT', text(now - number()), member)
end
for _ = 1, number() do
  local member, score = take(), number()
  if score > now - age then redis.call('ZADD', log, 'NX', text(score), member) end
end
for _ = 1, number() do redis.call('ZREM', log, take()) end

redis.call('ZREMRANGEBYSCORE', log, '-inf', text(now - age))
local witness, since = take(), number()
local missing = 0
if witness ~= '' and since > now - age and not redis.call('ZSCORE', log, witness) then
  missing = 1
end

local newest = tonumber(redis.call('ZREVRANGE', log, 0, 0, 'WITHSCORES')[2] or '0')
if newest > now + age then
  -- The server's clock was set back: whatever is beyond all reason counts from now.
  for _, member in ipairs(redis.call('ZRANGEBYSCORE', log, text(now + age), '+inf')) do
    redis.call('ZADD', log, text(now), member)
  end
  newest = tonumber(redis.call('ZREVRANGE', log, 0, 0, 'WITHSCORES')[2] or '0')
end

local reply = {now, math.max(hold - now, 0), missing, -1}
local at = math.max(now, hold, newest)
while missing == 0 and position < #ARGV do
  for _, one in ipairs(limits) do
    local taken = redis.call('ZREVRANGE', log, one[1] - 1, one[1] - 1, 'WITHSCORES')[2]
    if taken then at = math.max(at, tonumber(taken) + one[2] + guard) end
  end
  if at - now > furthest then
    reply[4] = at - now
    break
  end
  redis.call('ZADD', log, text(at), take())
  reply[#reply + 1] = at
end
redis.call('PEXPIRE', log, text(math.ceil((2 * age + furthest) / 1000) + 1000))
return reply
"""

COUNT = """
-- KEYS: the log, the hold. ARGV: windows in microseconds.
-- Gives what is left of the hold, in microseconds, and how many places each window holds.
local time = redis.call('TIME')
local now = tonumber(time[1]) * 1000000 + tonumber(time[2])
local reply = {math.max(tonumber(redis.call('GET', KEYS[2]) or '0') - now, 0)}
for i, window in ipairs(ARGV) do
  local since = string.format('(%.0f', now - tonumber(window))
  reply[i + 1] = redis.call('ZCOUNT', KEYS[1], since, string.format('%.0f', now))
end
return reply
"""
