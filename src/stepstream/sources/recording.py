"""`record` and `replay`: a stream saved to a file with its timing, and read back at its own or another pace.

The format is that of `recording_file`. Both are sources: what reads a stream does not see that it is recorded, or that
it is a recording.
"""

import math
import os
from collections.abc import AsyncGenerator, AsyncIterator, Awaitable, Callable, Iterable, Iterator
from contextlib import aclosing, asynccontextmanager
from os import PathLike
from typing import Any, Self

import anyio
import anyio.to_thread

from stepstream.dialects.translation import says_end
from stepstream.errors import FrameTooLarge
from stepstream.live.source import END, ItemDecoder, Source, next_item, open_source
from stepstream.sources.files import CHUNK_SIZE, read_file
from stepstream.sources.recording_file import RecordingSplitter, RecordingWriter
from stepstream.wire.sse import DEFAULT_MAX_EVENT_BYTES, Frame, encodable, encode_frame


class Recording:
    """A stream that is saved as it is read: iterate over it for what its source yields, unchanged."""

    def __init__(
        self, items: AsyncIterator[Any], writer: RecordingWriter, max_event_bytes: int, clock: Callable[[], float]
    ) -> None:
        self._items = items
        self._writer = writer
        # None once nothing more is saved: after an event over the limit, where the reader of the stream raises too
        self._decoder: ItemDecoder | None = ItemDecoder(max_event_bytes=max_event_bytes)
        self._clock = clock
        self._start = clock()
        self._id = ""  # the last event id, as a parser of the file has it

    def __repr__(self) -> str:
        return f"<Recording {self.events:,} events>"

    @property
    def events(self) -> int:
        """How many events were saved."""
        return self._writer.blocks

    def __aiter__(self) -> Self:
        return self

    async def __anext__(self) -> Any:
        item = await next_item(self._items)
        blocks = list(self._unfinished_end() if item is END else self._blocks(self._frames(item)))
        if blocks or not self._writer.has_begun:
            # Written before it is yielded, in a thread: an event that was acted on is in the file, and a slow disk
            # holds up this stream only.
            seconds = max(self._clock() - self._start, 0)
            await anyio.to_thread.run_sync(self._writer.write, blocks, seconds)
        if item is END:
            raise StopAsyncIteration
        return item

    def _frames(self, item: Any) -> Iterable[Frame]:
        """Return the frames that an item completes. An item of no known kind is left to the reader of the stream."""
        if self._decoder is None:
            return []
        try:
            return self._decoder.feed(item)
        except FrameTooLarge as excess:
            self._decoder = None
            return excess.frames
        except TypeError:
            return []

    def _unfinished_end(self) -> Iterator[bytes]:
        """Yield the block that lacks its blank line, without it, where it decides how the stream ended."""
        pending = self._decoder.pending() if self._decoder is not None else None
        self._decoder = None
        if pending is not None and says_end(pending):
            yield from (block.removesuffix(b"\n") for block in self._blocks([pending]))

    def _blocks(self, frames: Iterable[Frame]) -> Iterator[bytes]:
        """Yield frames as `encode_frame` does, but an id only where it changes: a long id is written once."""
        for frame in map(encodable, frames):
            is_new, self._id = frame.id != self._id, frame.id
            event = f"event: {frame.event}\n".encode() if frame.event not in ("", "message") else b""
            reset = b"id:\n" if is_new and not frame.id else b""
            yield event + reset + encode_frame(Frame(data=frame.data, id=frame.id if is_new else ""))


def _check_apart(source: Source, path: str | PathLike[str]) -> None:
    """Check that a recording is not made of itself: the file would be emptied, or the replay never end."""
    replayed = source.path if isinstance(source, Replay) else None
    if replayed is not None and os.path.exists(path) and os.path.samefile(replayed, path):
        raise ValueError(f"expected another file to record to than the one that is replayed, {os.fspath(path)}")


@asynccontextmanager
async def record(
    source: Source,
    path: str | PathLike[str],
    *,
    max_event_bytes: int = DEFAULT_MAX_EVENT_BYTES,
    clock: Callable[[], float] = anyio.current_time,
) -> AsyncIterator[Recording]:
    """Open `source` and give what it yields, unchanged, while its events are saved to `path` as they come.

    The result is a source: `processor.run(record(connect(url), "run.sse"))`. Events are saved before they are yielded,
    with their time by `clock`. A file at `path` is replaced once the source yields something or ends in order: a source
    that cannot be opened leaves the file as it was. From an event longer than `max_event_bytes` on, nothing is saved.

    Raises:
        RecordingFailed: the file cannot be written. It is opened before the source.
        ValueError: the source is the replay of that very file.
        TransportError: the source failed. An exception of stepstream itself is raised as it is.
        TypeError: `source` is no source.
    """
    _check_apart(source, path)
    with await anyio.to_thread.run_sync(RecordingWriter, path) as writer:
        async with open_source(source) as items:
            yield Recording(items, writer, max_event_bytes, clock)


def replay(
    path: str | PathLike[str],
    *,
    speed: float = 1.0,
    chunk_size: int = CHUNK_SIZE,
    clock: Callable[[], float] = anyio.current_time,
    sleep: Callable[[float], Awaitable[object]] = anyio.sleep,
) -> "Replay":
    """Return the bytes of a recording as a source that keeps its pace, or `speed` times that; `math.inf`: no waiting.

    Times count from the first read, however long the reader takes in between: a slow reader does not make the replay
    late. The time between two events counts as 300 seconds at most. A time earlier than the one before is not waited
    for, and later ones count from it. A line with `: at` and no time is a comment. A file that is no recording is read
    as it is, without waiting. The file is opened when it is read, `chunk_size` bytes at a time.

    Raises:
        TypeError: `speed` is no number.
        ValueError: `speed` is not above 0.
        TransportError: while it is read, where the file cannot be. The text names it.
    """
    if not isinstance(speed, int | float):
        raise TypeError(f"expected speed as a number, math.inf for at once, got {type(speed).__name__}")
    if not speed > 0:
        raise ValueError(f"expected speed above 0, got {speed!r}")
    chunks = read_file(path, chunk_size=chunk_size)
    return Replay(path, chunks if speed == math.inf else _paced(chunks, speed, clock, sleep))


class Replay:
    """A recording open for reading: iterate over it, once, for its bytes."""

    def __init__(self, path: str | PathLike[str], chunks: AsyncGenerator[bytes]) -> None:
        self.path = path
        self._chunks = chunks

    def __repr__(self) -> str:
        return f"<Replay {os.fspath(self.path)}>"

    def __aiter__(self) -> AsyncGenerator[bytes]:
        return self._chunks

    async def aclose(self) -> None:
        """Close the file."""
        await self._chunks.aclose()


async def _paced(
    chunks: AsyncGenerator[bytes], speed: float, clock: Callable[[], float], sleep: Callable[[float], Awaitable[object]]
) -> AsyncGenerator[bytes]:
    splitter = RecordingSplitter()
    due = clock()
    async with aclosing(chunks):
        async for chunk in chunks:
            for gap, piece in splitter.feed(chunk):
                due += gap / speed
                delay = due - clock()
                if gap and delay > 0:
                    await sleep(delay)
                yield piece
    if rest := splitter.rest():
        yield rest
