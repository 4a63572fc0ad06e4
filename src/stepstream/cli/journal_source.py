"""A run in a journal on the command line: `--journal redis://… --run ID`, read as an event stream."""

from collections.abc import AsyncIterator
from contextlib import asynccontextmanager
from typing import Any
from urllib.parse import urlsplit

from stepstream.cli.exits import UsageError
from stepstream.cli.output import write_error
from stepstream.fold.accumulator import Accumulator
from stepstream.fold.checkpoint import load_run
from stepstream.fold.run_state import retold_events, run_state
from stepstream.live.journal import BLANK, Checkpoint, Held
from stepstream.live.run_tap import block_of


def is_journal(source: str) -> bool:
    """Return whether a source is the URL of a journal."""
    return source.startswith(("redis://", "rediss://"))


def journal_at(url: str) -> Any:
    """Return the journal at a URL, which may have a namespace after "#"; to be entered.

    Raises:
        UsageError: it is no such URL, or has a password: others on the machine can read a command line.
    """
    from stepstream.journal.redis.journal import NAMESPACE, RedisJournal

    try:
        journal = RedisJournal(url, namespace=url.partition("#")[2] or NAMESPACE)
    except ValueError as exc:
        raise UsageError(f"--journal: {exc}") from None
    if urlsplit(url).password is not None:
        raise UsageError("no password on the command line: expected it in STEPSTREAM_JOURNAL_PASSWORD")
    return journal


@asynccontextmanager
async def followed_run(url: str, run_id: str, *, tells: bool = True) -> AsyncIterator[AsyncIterator[bytes]]:
    """Give the events of a run from its first to its end, as bytes. With `tells`, it is said that it has not begun."""
    async with journal_at(url) as journal:
        if tells and not [info async for info in journal.runs(run_id)]:
            write_error(f"run {run_id} is not in the journal yet: waiting for it")
        async with journal.follow(run_id) as pieces:
            yield _bytes_of(pieces, run_id)


async def _bytes_of(pieces: Any, run_id: str) -> AsyncIterator[bytes]:
    async for piece in pieces:
        yield _retold(piece.held, run_id)


def _retold(held: Held, run_id: str) -> bytes:
    """Return what a journal holds as events; of a checkpoint those that fold to it."""
    if not isinstance(held, Checkpoint):
        return held.data
    stream = Accumulator().stream
    load_run(stream, held.data)
    return b"".join([block_of(event) + BLANK for event in retold_events(run_state(stream.state, run_id))])
