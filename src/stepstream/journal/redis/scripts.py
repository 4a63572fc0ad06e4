"""What is stored on the server, and the scripts that change it. The server runs each as one step.

A run is a stream. The id of an entry is `<fence>-<last position of the pack>`; opening adds a mark `<fence>-0`, which
names the fence and the position before it:

    1700000000001-0     mark: after fence 0, position 0        first writer
    1700000000001-64    64 events, 1 to 64
    1700000000001-71     7 events, 65 to 71
    1700000005000-0     mark: after fence 1700000000001, 71    another took over
    1700000005000-80     9 events, 72 to 80

A server adds no entry whose id is not above the newest. So from a mark on it refuses by itself whatever an older writer
sends, and adds nothing twice. That alone would let a stream go on after a hole, where a server has lost its end or all
of it. So who adds says how many entries he knows, and that he opened the run last: else none is added, and he looks
what is there.

What a run is besides is a hash (`info`), its checkpoint another. All runs of a partition are in a sorted set by the
time at which they were opened, and its wake stream, of about 1,000 entries, names each that changed. The keys of a
partition share a hash slot.
"""

from typing import Final, NamedTuple
from zlib import crc32

from stepstream.errors import JournalError

MAX_ID: Final = 1_024
"""How many bytes the id of a run has at most: it is part of keys, and of what wakes readers."""


def check_id(run_id: str) -> None:
    """Check that a run can be kept under its id.

    Raises:
        JournalError: it is too long, or is no text.
    """
    size = len(run_id.encode("utf-8", "surrogatepass"))
    if size > MAX_ID:
        raise JournalError(f"expected the id of a run of at most {MAX_ID:,} bytes, got one of {size:,}")
    if not run_id.isascii() and any("\ud800" <= one <= "\udfff" for one in run_id):
        raise JournalError("expected the id of a run as text, got one with half of a surrogate pair")


class RunKeys(NamedTuple):
    """Where a run is kept."""

    stream: str
    info: str
    checkpoint: str
    runs: str
    wake: str
    groups: str


class Layout(NamedTuple):
    """How keys are named."""

    namespace: str
    partitions: int

    @property
    def settings(self) -> str:
        """The key of the number of partitions, which is the same for all processes."""
        return f"{self.namespace}:partitions"

    def partition(self, run_id: str) -> int:
        """Return the partition of a run."""
        return crc32(run_id.encode()) % self.partitions

    def runs(self, partition: int) -> str:
        """Return the key of the runs of a partition."""
        return f"{self.prefix(partition)}runs"

    def wake(self, partition: int) -> str:
        """Return the key of its wake stream."""
        return f"{self.prefix(partition)}wake"

    def prefix(self, partition: int) -> str:
        """Return how the keys of a partition begin."""
        return f"{self.namespace}:{{{partition}}}:"

    def keys(self, run_id: str) -> RunKeys:
        """Return where a run is kept."""
        prefix = self.prefix(self.partition(run_id))
        run, info, checkpoint = [f"{prefix}{kind}:{run_id}" for kind in ("run", "info", "checkpoint")]
        return RunKeys(run, info, checkpoint, f"{prefix}runs", f"{prefix}wake", f"{prefix}groups")


NUMBERS: Final = """
local function number(text) return string.format('%.0f', text) end
local function now() local t = redis.call('TIME'); return t[1] * 1000000 + t[2] end
local function top(stream)
  local found = redis.call('XREVRANGE', stream or KEYS[1], '+', '-', 'COUNT', 1)[1]
  if not found then return 0, 0 end
  local fence, last = string.match(found[1], '^(%d+)-(%d+)$')
  if last == '0' then last = found[2][4] end
  return tonumber(fence), tonumber(last or 0) or 0
end
"""
"""What all scripts have in common: numbers as text, the microseconds of now, and the newest event of a run."""

COMMON: Final = (
    NUMBERS
    + """
local function look()
  local fence, last = top()
  return {redis.call('XLEN', KEYS[1]), number(fence), number(last)}
end
local function keep(ms) for i = 1, 3 do redis.call('PEXPIRE', KEYS[i], ms) end end
local function wake(id, kind) redis.call('XADD', KEYS[5], 'MAXLEN', '~', 1000, '*', id, kind) end
local prefix = string.sub(KEYS[6] or '', 1, -7)
local function make_due(id, micros)
  redis.call('HDEL', KEYS[2], 'idle')
  for _, group in ipairs(redis.call('HKEYS', KEYS[6])) do
    local at = redis.call('HGET', KEYS[2], 'at:' .. group)
    if not at or not string.find(at, 'dead', 1, true) then
      redis.call('ZADD', prefix .. 'due:' .. group, 'NX', number(micros), 'r' .. id)
    end
  end
end
local function stir()
  if redis.call('HDEL', KEYS[2], 'idle') == 1 then
    local id = string.sub(KEYS[1], #prefix + 5)
    make_due(id, now())
    wake(id, 's')
  end
end
"""
)
"""What scripts of a run have in common. `make_due` lets the groups of workers have a run, unless they have it, or have
given it up; `stir` does it where one of them let it go, since nothing was to be expected of it."""

OPEN: Final = (
    COMMON
    + """
local id, writer, ms = ARGV[1], ARGV[2], ARGV[3]
local fence, last = top()
local micros = now()
local new = math.max(math.floor(micros / 1000), fence + 1, tonumber(redis.call('HGET', KEYS[2], 'fence') or 0) + 1)
redis.call('XADD', KEYS[1], number(new) .. '-0', 'f', number(fence), 'p', number(last))
redis.call('HSET', KEYS[2], 'status', 'open', 'fence', number(new), 'base', number(last), 'writer', writer,
  'error', '', 'ended', '', 'seen', number(micros))
if redis.call('HSETNX', KEYS[2], 'opened', number(micros)) == 1 then
  redis.call('ZADD', KEYS[4], number(micros), id)
end
keep(ms)
make_due(id, micros)
wake(id, 's')
return {redis.call('XLEN', KEYS[1]), number(new), number(last), redis.call('HGET', KEYS[2], 'opened')}
"""
)
"""Open a run: the number of entries, its new fence, the position of its last event, and when it was opened first."""

LOOK: Final = (
    COMMON
    + """
if redis.call('EXISTS', KEYS[2]) == 1 then redis.call('HSET', KEYS[2], 'seen', number(now())) end
keep(ARGV[1])
return look()
"""
)
"""A sign of life: the number of entries, the fence and the position of the newest."""

APPEND: Final = (
    COMMON
    + """
if redis.call('XLEN', KEYS[1]) ~= tonumber(ARGV[1]) then return look() end
if redis.call('HGET', KEYS[2], 'fence') ~= ARGV[2] and number((top())) ~= ARGV[2] then return look() end
for i = 3, #ARGV, 3 do redis.call('XADD', KEYS[1], ARGV[i], 'n', ARGV[i + 1], 'd', ARGV[i + 2]) end
redis.call('HSET', KEYS[2], 'seen', number(now()))
stir()
return 1
"""
)
"""Add packs, where there are as many entries as the writer knows, and it opened the run, which a server may have lost:
1, else what `LOOK` returns."""

SAY: Final = (
    COMMON
    + """
local fence, last = top()
if number(fence) ~= ARGV[1] or number(last) ~= ARGV[2] then return look() end
local micros = number(now())
local ended, ms = ARGV[5] == '1' and micros or '', ARGV[6]
redis.call('HSET', KEYS[2], 'status', ARGV[3], 'error', ARGV[4], 'seen', micros, 'ended', ended, 'keep', ms)
stir()
if ended ~= '' and redis.call('EXISTS', KEYS[6]) == 1 then ms = ARGV[7] end
keep(ms)
return 1
"""
)
"""Set what a run is, where its newest entry is the writer's: 1, else what `LOOK` returns. Where there are workers, how
long it is kept after its end counts from their end, too: until then it is kept as long as one that has not ended."""

TELL: Final = (
    COMMON
    + """
local found = redis.call('HMGET', KEYS[2], 'status', 'opened', 'ended', 'error', 'fence', 'base', 'seen')
if not found[1] then return {} end
local fence, last = top()
found[8], found[9], found[10] = number(fence), number(last), number(now())
return found
"""
)
"""What a run is, and the fence and the position of its newest entry; nothing where it is not there."""
