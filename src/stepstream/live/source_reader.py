"""Reading a source to its end: its items into a `Reader`, with waits for subscribers and a journal in between."""

import logging
from collections.abc import AsyncIterator, Iterable
from typing import Any

import anyio
import anyio.lowlevel

from stepstream.errors import StepStreamError, StreamTruncated
from stepstream.live.closing import translate_source_error
from stepstream.live.fanout import StreamFanout
from stepstream.live.lifetime import Lifetime
from stepstream.live.log_ids import ids_of_stream
from stepstream.live.plain_route import PlainRoute
from stepstream.live.reader import EVENTS_BETWEEN_CHECKPOINTS, Reader
from stepstream.live.source import Source, open_source

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
    stream, rest_at, items_left = reader.accumulator.stream, EVENTS_BETWEEN_CHECKPOINTS, EVENTS_BETWEEN_CHECKPOINTS
    plain, is_begun = reader.plain, False
    while not plain.is_done:
        try:
            item = await anext(items)
        except StopAsyncIteration:
            return
        except StepStreamError:
            raise
        except Exception as exc:
            raise translate_source_error(exc) from exc
        if lifetime.is_closed:
            _check_open(lifetime)
        steps = reader.read(item)
        if steps:
            rest_at = await _in_steps(steps, plain, fanout, lifetime, rest_at)
        if plain.tap is not None and stream.sequence >= plain.tap.due_at:
            await plain.tap.attend(plain.go_on)
        is_begun = is_begun or reader.note_opening(item)
        items_left -= 1  # an item may be a comment, and no event
        if fanout.full or stream.sequence >= rest_at or not items_left:
            await _rest(fanout, lifetime)
            rest_at, items_left = stream.sequence + EVENTS_BETWEEN_CHECKPOINTS, EVENTS_BETWEEN_CHECKPOINTS
        elif fanout.has_woken and fanout.should_yield(anyio.current_time()):
            await anyio.lowlevel.checkpoint()


async def _in_steps(
    steps: Iterable[None], plain: PlainRoute, fanout: StreamFanout, lifetime: Lifetime, rest_at: int
) -> int:
    """Fold an item in steps, and wait between them where that is needed. Return when the next rest is due."""
    for _ in steps:
        if plain.tap is not None and plain.tap.wanted:
            await plain.tap.settle(plain.go_on)
        if fanout.full or plain.accumulator.stream.sequence >= rest_at:
            await _rest(fanout, lifetime)
            rest_at = plain.accumulator.stream.sequence + EVENTS_BETWEEN_CHECKPOINTS
    return rest_at


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
