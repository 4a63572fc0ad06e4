"""What a server has of a run, from a position on, a few entries at a time."""

from collections.abc import AsyncGenerator, Awaitable, Callable
from typing import Any

from stepstream.errors import JournalGap
from stepstream.journal.redis import scripts
from stepstream.journal.redis.entries import Mark, base_of, checkpoint_of, entries_of
from stepstream.journal.redis.feed import MAX_ENTRIES
from stepstream.journal.redis.scripts import RunKeys
from stepstream.journal.redis.server import Command, script
from stepstream.live.journal import Held


async def history(
    ask: Callable[[Command], Awaitable[Any]], keys: RunKeys, run_id: str, after: int
) -> AsyncGenerator[Held, None]:
    """Yield what is there of a run after a position: a checkpoint first, where events after it are gone.

    Raises:
        JournalGap: events after it are gone, and no checkpoint stands for them.
    """
    fence, base = base_of(await ask(script(scripts.TELL, keys)))
    start, position, is_first = f"({fence}-{after}" if after >= base else "-", after, True
    while True:
        entries = list(entries_of(await ask(Command(b"XRANGE", (keys.stream, start, "+", "COUNT", MAX_ENTRIES)))))
        for one in entries:
            if isinstance(one, Mark):
                start = f"({one.fence}-0"
                continue
            if is_first and one.first > position + 1:
                checkpoint = checkpoint_of(await ask(Command(b"HMGET", (keys.checkpoint, "fence", "last", "data"))))
                if checkpoint is None or checkpoint.last + 1 < one.first or checkpoint.last <= position:
                    raise JournalGap(f"the events of run {run_id} up to {one.first - 1:,} are gone")
                yield checkpoint
                position = checkpoint.last
            start = f"({one.fence}-{one.last}"
            if one.last <= position:
                continue
            if one.first > position + 1:
                raise JournalGap(f"expected event {position + 1:,} of run {run_id} next, got {one.first:,}")
            is_first, position = False, one.last
            yield one
        if len(entries) < MAX_ENTRIES:
            return
