"""What a server has of a run, from a position on, a few entries at a time."""

from collections.abc import AsyncGenerator, Awaitable, Callable, Sequence
from typing import Any, Final

from stepstream.errors import JournalGap
from stepstream.journal.redis import scripts
from stepstream.journal.redis.entries import CHECKPOINT_FIELDS, Mark, checkpoint_of, entries_of, place_of
from stepstream.journal.redis.scripts import RunKeys
from stepstream.journal.redis.server import Command, script
from stepstream.live.journal import Held, Pack

PAGE: Final = 16
"""How many entries are read at once: of one run, and mostly a few KiB each."""


async def history(
    ask: Callable[[Sequence[Command]], Awaitable[list[Any]]], keys: RunKeys, run_id: str, after: int
) -> AsyncGenerator[Held, None]:
    """Yield what is there of a run after a position: a checkpoint first, where events after it are gone.

    Raises:
        JournalGap: events after it are gone, and no checkpoint stands for them.
    """
    told, *pages = await ask([script(scripts.TELL, keys), *([] if after else [_page(keys, "-")])])
    fence, base, newest = place_of(told)
    start, position, is_first = f"({fence}-{after}" if after >= base else "-", after, True
    while True:
        [answer] = pages or await ask([_page(keys, start)])
        entries, pages = list(entries_of(answer)), []
        for one in entries:
            begins = one.position if isinstance(one, Mark) else one.first - 1
            if begins > position:
                [kept] = await ask([kept_checkpoint(keys)])
                checkpoint = checkpoint_of(kept)
                if not is_first or checkpoint is None or not begins <= checkpoint.last:
                    raise JournalGap(f"the events {position + 1:,} to {begins:,} of run {run_id} are gone")
                yield checkpoint
                position = checkpoint.last
            is_first = False
            start = f"({one.fence}-{0 if isinstance(one, Mark) else one.last}"
            if isinstance(one, Pack) and one.last > position:
                position = one.last
                yield one
        if len(entries) < PAGE:
            break
    if position < newest:
        raise JournalGap(f"the events of run {run_id} after {position:,} are gone")


def kept_checkpoint(keys: RunKeys) -> Command:
    """Return what asks for the fields of a run's checkpoint."""
    return Command(b"HMGET", (keys.checkpoint, *CHECKPOINT_FIELDS))


def _page(keys: RunKeys, start: str) -> Command:
    return Command(b"XRANGE", (keys.stream, start, "+", "COUNT", PAGE))
