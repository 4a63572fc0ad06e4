"""The scripts that write checkpoints, and what a server has lost. `scripts` has what they are about.

A checkpoint can be large, and a server that takes or copies it does nothing else meanwhile. So it is a hash whose
fields `<fence>-<last>:<number>` are its pieces. They are written one by one, and only then the fields that say which
pieces are to be read. Those of others are dropped at that moment, where there are workers but for the one before: it is
at the place up to which entries are dropped, so that who has dealt with a run up to between the two has every event.
"""

from typing import Final

from stepstream.journal.redis.scripts import COMMON

MAX_DROPPED: Final = 500
"""How many entries of one run are dropped at once."""

PIECE: Final = (
    COMMON
    + """
local fence = top()
if fence > tonumber(ARGV[1]) then return look() end
redis.call('HSET', KEYS[3], ARGV[2] .. '-' .. ARGV[3] .. ':' .. ARGV[4], ARGV[5])
redis.call('PEXPIRE', KEYS[3], ARGV[6])
return 1
"""
)
"""Add a piece of a checkpoint, which nobody reads yet: 1, else what `LOOK` returns."""

_FLIP: Final = """
local function flip(fence, last, pieces)
  local name, behind = fence .. '-' .. last .. ':', ''
  for i = 0, pieces - 1 do if redis.call('HEXISTS', KEYS[3], name .. i) == 0 then return false end end
  local old = redis.call('HMGET', KEYS[3], 'fence', 'last', 'pieces', 'behind')
  if redis.call('EXISTS', KEYS[6]) == 1 then
    behind = old[1] and old[1] .. '-' .. old[2] .. ':' or ''
    if behind == name then
      behind = old[4] or ''
    elseif old[1] then
      redis.call('HSET', KEYS[3], 'behind', behind, 'behind_pieces', old[3])
    end
  end
  for _, field in ipairs(redis.call('HKEYS', KEYS[3])) do
    local is_kept = string.sub(field, 1, #name) == name or (behind ~= '' and string.sub(field, 1, #behind) == behind)
    if string.find(field, ':', 1, true) and not is_kept then redis.call('HDEL', KEYS[3], field) end
  end
  redis.call('HSET', KEYS[3], 'fence', fence, 'last', last, 'pieces', pieces)
  return true
end
"""

CHECKPOINT: Final = (
    COMMON
    + _FLIP
    + """
local fence = top()
if number(fence) ~= ARGV[1] then return look() end
if not flip(ARGV[2], ARGV[3], ARGV[4]) then return 0 end
keep(ARGV[5])
return 1
"""
)
"""Let a checkpoint be read, all pieces of which are there: 1; 0, where one is missing, else what `LOOK` returns."""

TRIM: Final = (
    COMMON
    + """
local fence = top()
if number(fence) ~= ARGV[1] then return look() end
local gone = redis.call('XTRIM', KEYS[1], 'MINID', '~', ARGV[2], 'LIMIT', ARGV[3])
return {redis.call('XLEN', KEYS[1]), gone}
"""
)
"""Drop entries below an id, so many at most: the number of entries and how many went, else what `LOOK` returns."""

REFILL: Final = (
    COMMON
    + _FLIP
    + f"local MAX_DROPPED = {MAX_DROPPED}"
    + """
local id, fence, drop, ms, base = ARGV[1], ARGV[2], ARGV[3], ARGV[4], tonumber(ARGV[5])
local found, position = top()
if found > tonumber(fence) then return look() end
if drop ~= '1' and number(found) ~= fence and position > base then
  if tonumber(redis.call('HGET', KEYS[3], 'last') or 0) > base then redis.call('UNLINK', KEYS[3]) end
  local first = number(found) .. '-' .. number(base + 1)
  local theirs = redis.call('XREVRANGE', KEYS[1], '+', first, 'COUNT', MAX_DROPPED)
  for _, entry in ipairs(theirs) do redis.call('XDEL', KEYS[1], entry[1]) end
  found, position = top()
  if position ~= base then drop = '1' end
end
if ARGV[8] ~= '' and not flip(ARGV[8], ARGV[9], ARGV[10]) then return 0 end
if drop == '1' then redis.call('UNLINK', KEYS[1]); found = 0 end
if number(found) ~= fence then redis.call('XADD', KEYS[1], fence .. '-0', 'f', number(found), 'p', ARGV[5]) end
local micros = number(now())
redis.call('HSET', KEYS[2], 'status', 'open', 'fence', fence, 'base', ARGV[5], 'writer', ARGV[6], 'error', '',
  'ended', '', 'seen', micros)
if redis.call('HSETNX', KEYS[2], 'opened', ARGV[7]) == 1 then redis.call('ZADD', KEYS[4], ARGV[7], id) end
keep(ms)
make_due(id, micros)
wake(id, 's')
return look()
"""
)
"""Write again what a server has lost of a run: its mark, and its checkpoint, all pieces of which are there. What `LOOK`
returns; 0, where a piece is missing. Where an earlier writer went on meanwhile, as nothing told it of a later one, that
is none of the run: its entries go, and where there are too many, or it did not go on from there, all of the run."""

ALL: Final = (PIECE, CHECKPOINT, TRIM, REFILL)
