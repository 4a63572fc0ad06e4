"""What is stored of the groups of workers, and the scripts that change it.

A group gets every run, and each of its runs is one worker's at a time. What it has to do is in `due`, by the time from
which it may be claimed: a run as `r<id>`, a dead letter that is sent again as `l<id>`. Who claims it gets a lease, for
which it is due no earlier, and a token that is higher than every one before; the row in `own` says so:

    due      r<run>   1700000015000000          own      r<run>   "<token> <tries> <worker>"

A row without its worker's sign by then is taken over. A run that was given back, finished or let go has no row. How far
the group is with a run is in that run's own `info`, and goes with it: `at:<group>` is "<position> <what of it>", which
is "" while it is worked on, "done", or "dead" where it was given up. `idle` there says that a group let it go.

`tries` counts the takeovers that found events not dealt with, since the last progress.
"""

from typing import Final

from stepstream.journal.claiming import SUSPECT
from stepstream.journal.redis.scripts import NUMBERS

MAX_LETTERS: Final = 10_000
"""How many dead letters a group keeps a partition. Further ones are counted only."""

LOOK: Final = 64
"""How many suspects are passed over at most, to find others that may be claimed."""

_COMMON: Final = (
    NUMBERS
    + f"local MAX_LETTERS, SUSPECT, LOOK = {MAX_LETTERS}, {SUSPECT}, {LOOK}"
    + """
local groups, due, own, dead, prefix, group = KEYS[1], KEYS[2], KEYS[3], KEYS[4], ARGV[1], ARGV[2]
local field = 'at:' .. group
local function wake(id) redis.call('XADD', prefix .. 'wake', 'MAXLEN', '~', 1000, '*', id, 's') end
local function place(info)
  local at = redis.call('HGET', info, field) or '0 '
  local position, what = string.match(at, '^(%d+) (.*)$')
  return tonumber(position or 0), what or ''
end
local function drop(member)
  redis.call('ZREM', due, member)
  redis.call('HDEL', own, member)
end
local function bury(id, text)
  if redis.call('HEXISTS', dead, id) == 0 and redis.call('HLEN', dead) >= MAX_LETTERS then
    redis.call('HINCRBY', own, 'unkept', 1)
  else
    redis.call('HSET', dead, id, text)
  end
end
"""
)

JOIN: Final = (
    _COMMON
    + """
local state = redis.call('HGET', groups, group)
if state == '1' then return '' end
if not state then redis.call('HSET', groups, group, '0') end
local found = redis.call('ZRANGE', prefix .. 'runs', ARGV[3], '+inf', 'BYSCORE', 'LIMIT', 0, ARGV[4], 'WITHSCORES')
local micros = number(now())
for i = 1, #found, 2 do redis.call('ZADD', due, 'NX', micros, 'r' .. found[i]) end
if #found < 2 * tonumber(ARGV[4]) then
  redis.call('HSET', groups, group, '1')
  return ''
end
return found[#found] == ARGV[3] and '(' .. found[#found] or found[#found]
"""
)
"""Let a group have the runs that are there, some at a time, from an opening time on: from when to go on, "" where it
has all of them. Those that are opened from now on it gets by itself."""

CLAIM: Final = (
    _COMMON
    + """
local worker, lease, count, most = ARGV[3], tonumber(ARGV[4]) * 1000, tonumber(ARGV[5]), tonumber(ARGV[6])
local suspects = tonumber(ARGV[7])
if redis.call('HGET', groups, group) ~= '1' then return 'join' end
local micros, given, left = now(), {}, 0
for _, member in ipairs(redis.call('ZRANGE', due, '-inf', number(micros), 'BYSCORE', 'LIMIT', 0, count + LOOK)) do
  if #given >= count then break end
  local kind, id = string.sub(member, 1, 1), string.sub(member, 2)
  local row, tries, position, last, text = redis.call('HGET', own, member), 0, 0, 0, ''
  local is_there
  if row then tries = tonumber(string.match(row, '^%d+ (%d+) ')) end
  if kind == 'l' then
    text = redis.call('HGET', dead, id)
    is_there = text
    if row then tries = tries + 1 end
  else
    local info = prefix .. 'info:' .. id
    is_there = redis.call('EXISTS', info) == 1
    position = place(info)
    last = select(2, top(prefix .. 'run:' .. id))
    if row and position < last then tries = tries + 1 end
  end
  local is_suspect = tries >= SUSPECT and tries <= most
  if not is_there then
    drop(member)
  elseif is_suspect and suspects == 0 then
    left = left + 1
  else
    if is_suspect then suspects = suspects - 1 end
    local token = number(math.max(math.floor(micros / 1000), tonumber(redis.call('HGET', own, 'token') or 0) + 1))
    redis.call('HSET', own, 'token', token)
    redis.call('HSET', own, member, token .. ' ' .. tries .. ' ' .. worker)
    redis.call('ZADD', due, number(micros + lease), member)
    given[#given + 1] = {member, token, tries > most and 1 or 0, number(position), number(last), tries,
      row and 1 or 0, text or ''}
  end
end
return {left, given}
"""
)
"""Claim what is due, `count` at most, and of what has become suspect as many as are said: how many of these were left,
and of each claim the member, its token, whether it was taken over too often, the position
of the group, that of the newest event, the takeovers, whether this is one, and the letter. "join" where the group is
not known."""

BEAT: Final = (
    _COMMON
    + """
local worker, lease, micros, told = ARGV[3], tonumber(ARGV[4]) * 1000, now(), {}
local i = 5
while i <= #ARGV do
  local member, token, verb, position = ARGV[i], ARGV[i + 1], ARGV[i + 2], tonumber(ARGV[i + 3])
  local whole, letters, first = ARGV[i + 4], ARGV[i + 5], i + 6
  i = first + 2 * letters
  local kind, id = string.sub(member, 1, 1), string.sub(member, 2)
  local info, result = prefix .. 'info:' .. id, -1
  local mine, tries, who = string.match(redis.call('HGET', own, member) or '', '^(%d+) (%d+) (.*)$')
  if mine == token and who == worker then
    result = 0
    local status = kind == 'r' and redis.call('HGET', info, 'status')
    if kind == 'r' and not status then
      drop(member)
      result = -1
    elseif kind == 'r' then
      for n = first, i - 1, 2 do bury(ARGV[n], ARGV[n + 1]) end
      local last, what = select(2, top(prefix .. 'run:' .. id)), ''
      local before = place(info)
      if position > before then tries = 0 else position = before end
      if verb == 'let go' and (position < last or status == 'ended') then verb = 'give back' end
      if verb == 'finish' and (position < last or status ~= 'ended') then verb = 'give back' end
      if verb == 'bury' then what = 'dead' end
      if verb == 'finish' or (verb == 'let go' and status == 'interrupted') then what = 'done' end
      redis.call('HSET', info, field, number(position) .. ' ' .. what)
      if verb == 'let go' or verb == 'finish' then redis.call('HSET', info, 'idle', '1') end
      if verb == 'finish' then redis.call('HDEL', dead, whole) end
      if what == 'done' then
        local left, keep = 0, redis.call('HGET', info, 'keep')
        for _, other in ipairs(redis.call('HKEYS', groups)) do
          local at = redis.call('HGET', info, 'at:' .. other)
          if not at or string.sub(at, -5) ~= ' done' then left = left + 1 end
        end
        if left == 0 and keep then
          for _, one in ipairs({'run:', 'info:', 'checkpoint:'}) do redis.call('PEXPIRE', prefix .. one .. id, keep) end
        end
      end
      result = last
    elseif verb == 'finish' then
      redis.call('HDEL', dead, id)
    elseif verb == 'bury' then
      redis.call('HSET', dead, id, ARGV[first + 1])
    end
    if result < 0 then
    elseif verb == 'renew' then
      redis.call('HSET', own, member, token .. ' ' .. tries .. ' ' .. worker)
      redis.call('ZADD', due, number(micros + lease), member)
    elseif verb == 'give back' then
      redis.call('HDEL', own, member)
      redis.call('ZADD', due, number(micros), member)
      if kind == 'r' then wake(id) end
    else
      drop(member)
    end
  end
  told[#told + 1] = result
end
return told
"""
)
"""Say how it goes with what a worker has: of each the member, its token, what becomes of it, the position up to which
all is settled, the id that a letter of the whole run has, and letters, as their number, the id and the text of each.
Returned is the position of the newest event of each run, and -1 where it is not this worker's any more: then nothing of
it was taken.

`renew` prolongs the lease; `give back` makes it due at once. `finish` and `let go` end the work at a run that has
ended, or of which nothing is to be expected now: where there is more, they give it back. `bury` gives it up.
"""

LETTER: Final = (
    _COMMON
    + """
local verb, id = ARGV[3], ARGV[4]
local text = redis.call('HGET', dead, id)
if not text then return 0 end
if verb == 'drop' then
  redis.call('HDEL', dead, id)
  drop('l' .. id)
elseif ARGV[6] == '0' then
  redis.call('ZADD', due, 'NX', number(now()), 'l' .. id)
  wake(ARGV[5])
else
  local run = ARGV[5]
  local info = prefix .. 'info:' .. run
  if redis.call('EXISTS', info) == 0 then return -1 end
  local position, what = place(info)
  if what == 'dead' then redis.call('HSET', info, field, number(position) .. ' ') end
  redis.call('HDEL', dead, id)
  redis.call('ZADD', due, 'NX', number(now()), 'r' .. run)
  wake(run)
end
return 1
"""
)
"""Drop a dead letter, or send it again: where it is of a run as a whole, the run is made due. 1 where that was done, 0
where there is no such letter, -1 where its run is gone."""

ALL: Final = (JOIN, CLAIM, BEAT, LETTER)
