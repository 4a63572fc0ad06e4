"""Reading a source to its end, waiting for subscribers whose queues are full, and letting other tasks run."""

import logging
from collections.abc import AsyncIterator
from typing import Any, Final

import anyio
import anyio.lowlevel

from stepstream.errors import StepStreamError, StreamTruncated
from stepstream.live.lifetime import Lifetime
from stepstream.live.log_ids import ids_of_stream
from stepstream.live.reader import Reader
from stepstream.live.routing import StreamFanout
from stepstream.live.source import Source, open_source, translate_source_error

EVENTS_BETWEEN_CHECKPOINTS: Final = 512
"""A source that never waits lets other tasks run, and can be cancelled, after so many events, or items without one."""

_log = logging.getLogger("stepstream.live")


async def read_source(reader: Reader, source: Source, fanout: StreamFanout, lifetime: Lifetime) -> None:
    """Read `source` to its end, or to `done`, waiting for subscribers whose queues are full.

    Raises:
        StepStreamError: the source failed, or the stream carried an error or a frame that is too large.
        TypeError, RuntimeError: it is no source, or was read before.
    """
    try:
        async with open_source(source) as items:
            await _read_items(reader, items, fanout, lifetime)
    except StepStreamError as exc:
        if not reader.is_done:
            told = reader.failure()
            if told is not None:
                raise told from exc  # the server had said why, before the source failed
            raise
        ids = ids_of_stream(reader.accumulator.stream)
        _log.warning("a source failed when it was closed after done", exc_info=exc, extra=ids)


async def _read_items(reader: Reader, items: AsyncIterator[Any], fanout: StreamFanout, lifetime: Lifetime) -> None:
    stream, rested_at, items_since = reader.accumulator.stream, 0, 0
    while not reader.is_done:
        try:
            item = await anext(items)
        except StopAsyncIteration:
            return
        except StepStreamError:
            raise
        except Exception as exc:
            raise translate_source_error(exc) from exc
        _check_open(lifetime)
        for _ in reader.read(item):
            if fanout.full or stream.sequence - rested_at >= EVENTS_BETWEEN_CHECKPOINTS:
                await _rest(fanout, lifetime)
                rested_at = stream.sequence
        if not stream.sequence:
            reader.note_opening(item)
        items_since += 1  # an item may be a comment, and no event
        if fanout.full or max(stream.sequence - rested_at, items_since) >= EVENTS_BETWEEN_CHECKPOINTS:
            await _rest(fanout, lifetime)
            rested_at, items_since = stream.sequence, 0
        elif fanout.has_woken and fanout.should_yield(anyio.current_time()):
            await anyio.lowlevel.checkpoint()


async def _rest(fanout: StreamFanout, lifetime: Lifetime) -> None:
    """Let other tasks run, and wait for the subscribers whose queues are still full then."""
    await anyio.lowlevel.checkpoint()  # mostly they make room meanwhile
    while fanout.full:
        mailbox = fanout.full.pop(0)
        if mailbox.gate.is_full or mailbox.gate.line:
            await lifetime.deadlines.wait(mailbox, mailbox.gate.wait)
    _check_open(lifetime)


def _check_open(lifetime: Lifetime) -> None:
    """Check that subscribers still take changes: a stream of a task outside of the block may outlast it."""
    if lifetime.is_closed:
        raise StreamTruncated("the Processor was left before the stream ended")
