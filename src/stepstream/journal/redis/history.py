"""What a server has of a run, from a position on, a few entries at a time."""

from collections.abc import AsyncGenerator, Awaitable, Callable, Sequence
from typing import Any, Final, TypeAlias

from stepstream.errors import JournalGap
from stepstream.journal.redis import scripts
from stepstream.journal.redis.entries import Mark, entries_of, info_of, place_of
from stepstream.journal.redis.scripts import RunKeys
from stepstream.journal.redis.server import Command, script
from stepstream.journal.run_info import RunInfo
from stepstream.live.journal import Checkpoint, Held, Pack

PAGE: Final = 16
"""How many entries of a run are read at once, at first: mostly a few KiB each. As many pieces of a checkpoint."""
MAX_PAGE: Final = 256
"""How many at most: those of a run that was published live have an event each."""
PAGE_BYTES: Final = 2**16
"""How many bytes are read at once, as far as what came before says how many entries that are."""

_FIELDS: Final = ("fence", "last", "pieces", "behind", "behind_pieces")

ATTEMPTS: Final = 3
"""How often a checkpoint is read from its beginning, where others take its place meanwhile."""


Ask: TypeAlias = Callable[[Sequence[Command]], Awaitable[list[Any]]]


async def history(
    ask: Ask, keys: RunKeys, run_id: str, after: int, by: int, noted: Callable[[RunInfo | None], object]
) -> AsyncGenerator[Held, None]:
    """Yield what is there of a run after a position: a checkpoint first, where events after it are gone. The event at
    the position is by the writer with the fence `by`, where that is known (0: it is not). `noted` gets what the run is.

    Raises:
        JournalGap: events after it are gone, and no checkpoint stands for them; or what comes does not go on there.
    """
    told, *pages = await ask([script(scripts.TELL, keys), *([] if after else [_page(keys, "-", PAGE)])])
    noted(info_of(run_id, told))
    fence, base, newest = place_of(told)
    start, position, is_first = f"({by or fence}-{after}" if by or after >= base else "-", after, True
    is_retold, count = False, PAGE
    while True:
        [answer] = pages or await ask([_page(keys, start, count)])
        entries, pages = list(entries_of(answer, run_id)), []
        for one in entries:
            begins = one.position if isinstance(one, Mark) else one.first - 1
            if begins > position:
                checkpoint = await stored_checkpoint(ask, keys)
                if not is_first or checkpoint is None or not begins <= checkpoint.last:
                    raise JournalGap(f"the events {position + 1:,} to {begins:,} of run {run_id} are gone")
                yield checkpoint
                position = checkpoint.last
            if by and isinstance(one, Mark) and (one.after, one.position) != (by, position):
                raise JournalGap(f"what comes next of run {run_id} does not go on where it was")
            is_first, by = False, by and one.fence
            start = f"({one.fence}-{0 if isinstance(one, Mark) else one.last}"
            if isinstance(one, Pack) and one.last > position:
                position = one.last
                yield one
        if len(entries) == count:
            size = sum([one.size for one in entries if isinstance(one, Pack)])
            count = max(PAGE, min(count * PAGE_BYTES // (size + 1), 4 * count, MAX_PAGE))
        elif position >= newest or is_retold:
            break
        else:  # it may have lost them since it said so, and be told of them again
            [told], is_retold = await ask([script(scripts.TELL, keys)]), True
            newest = place_of(told)[2]
    if position < newest:
        raise JournalGap(f"the events of run {run_id} after {position:,} are gone")


async def stored_checkpoint(ask: Ask, keys: RunKeys, up_to: int | None = None) -> Checkpoint | None:
    """Return the checkpoint of a run, the newest; where that is beyond `up_to`, the one before, where it is kept.

    Where others take their places meanwhile, they are those.
    """
    for _ in range(ATTEMPTS):
        [found] = await ask([Command(b"HMGET", (keys.checkpoint, *_FIELDS))])
        fence, last, count, behind, behind_count = found
        if count is None:
            return None
        if up_to is not None and int(last) > up_to and behind:
            (fence, _, last), count = behind.rstrip(b":").partition(b"-"), behind_count
        pieces: list[bytes | None] = []
        for start in range(0, int(count), PAGE):
            numbers = range(start, min(start + PAGE, int(count)))
            names = [f"{int(fence)}-{int(last)}:{number}" for number in numbers]
            pieces += await ask([Command(b"HGET", (keys.checkpoint, name)) for name in names])
        data = b"".join(piece or b"" for piece in pieces)
        if None not in pieces:
            return Checkpoint(int(fence), int(last), data)
    return None


def _page(keys: RunKeys, start: str, count: int) -> Command:
    return Command(b"XRANGE", (keys.stream, start, "+", "COUNT", count))
