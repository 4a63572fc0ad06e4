"""Recordings: a stream in a file, with its timing, and back at its own or another pace.

A recording is a stream of server-sent events that any parser reads. Its first line is a comment that names it. Before
each event stands a comment with its time, in seconds since the source was opened. Nothing else is stored: no URL, no
header, no key. One that was cut reads up to the cut.

    : stepstream recording 1
    : at 0.125041
    event: thread.run.created
    data: {"id": "run_1"}

"""

import math
import os
import re
import stat
from collections.abc import AsyncGenerator, AsyncIterator, Awaitable, Callable, Iterable, Iterator, Sequence
from contextlib import aclosing, asynccontextmanager, contextmanager, suppress
from os import PathLike
from types import TracebackType
from typing import Any, BinaryIO, Final, Self

import anyio
import anyio.to_thread

from stepstream.errors import FrameTooLarge, RecordingFailed
from stepstream.live.source import END, Reconnected, Source, frame_of, next_item, open_source
from stepstream.sources.files import CHUNK_SIZE, read_file
from stepstream.wire.events import Event
from stepstream.wire.sse import DEFAULT_MAX_EVENT_BYTES, Frame, FrameDecoder, encode_frame

TITLE: Final = b": stepstream recording 1"
LONGEST_GAP: Final = 300.0
"""Seconds that the time between two events counts at most when it is replayed. A live stream is given up by then."""

_TITLES: Final = (TITLE + b"\n", TITLE + b"\r\n")
_AT: Final = b": at "
_TIME: Final = re.compile(rb"^: at (\d{1,10}(?:\.\d{1,9})?)\r?\n", re.MULTILINE)
_LONGEST_TIME: Final = 32
"""Bytes that a line with a time has at most."""

_NOT_IN_NAME: Final = re.compile("[\r\n\ud800-\udfff]")
_NOT_IN_ID: Final = re.compile("[\r\n\0\ud800-\udfff]")


class Recording:
    """A stream that is saved as it is read: iterate over it for what its source yields, unchanged."""

    def __init__(
        self, items: AsyncIterator[Any], tape: "_Tape", max_event_bytes: int, clock: Callable[[], float]
    ) -> None:
        self._items = items
        self._tape = tape
        self._max_event_bytes = max_event_bytes
        self._decoder: FrameDecoder | None = FrameDecoder(
            max_event_bytes=max_event_bytes
        )  # None: nothing more is saved
        self._clock = clock
        self._start = clock()
        self._id = ""  # as a parser of the file knows it

    def __repr__(self) -> str:
        return f"<Recording {self.events:,} events>"

    @property
    def events(self) -> int:
        """How many events were saved."""
        return self._tape.blocks

    def __aiter__(self) -> Self:
        return self

    async def __anext__(self) -> Any:
        item = await next_item(self._items)
        blocks = list(self._last() if item is END else self._blocks(self._frames(item)))
        if blocks or not self._tape.has_begun:
            time = b"%b%.6f\n" % (_AT, max(self._clock() - self._start, 0))
            await anyio.to_thread.run_sync(self._tape.write, [time + block for block in blocks])
        if item is END:
            raise StopAsyncIteration
        return item

    def _frames(self, item: Any) -> Iterable[Frame]:
        """Return the frames that an item completes. What the reader of the stream refuses is left to it."""
        if self._decoder is None:
            return []
        if isinstance(item, Reconnected):
            self._decoder = FrameDecoder(max_event_bytes=self._max_event_bytes)
            return []
        if isinstance(item, Frame):
            return [item]
        if isinstance(item, Event):
            return [Frame(item.name, item.payload)]
        try:
            if isinstance(item, bytes | bytearray | memoryview):
                return self._decoder.feed(item)
            return [frame_of(item)]
        except FrameTooLarge as excess:
            self._decoder = None
            return excess.frames
        except TypeError:
            return []

    def _last(self) -> Iterator[bytes]:
        """Yield the block that lacks its blank line, without it, where it decides how the stream ended."""
        pending = self._decoder.pending() if self._decoder is not None else None
        self._decoder = None
        if pending is not None and pending.event in ("done", "error"):
            yield from (block.removesuffix(b"\n") for block in self._blocks([pending]))

    def _blocks(self, frames: Iterable[Frame]) -> Iterator[bytes]:
        """Yield frames as `encode_frame` gives them, but an id only where it changes: one long id stays one.

        Whatever a line cannot hold, which no parser gives but a source by hand may, is replaced by U+FFFD.
        """
        for frame in frames:
            name = _NOT_IN_NAME.sub("\ufffd", frame.event)
            identifier = _NOT_IN_ID.sub("\ufffd", frame.id)
            is_new, self._id = identifier != self._id, identifier
            event = f"event: {name}\n".encode() if name not in ("", "message") else b""
            forgotten = b"id:\n" if is_new and not identifier else b""
            data = frame.data.decode("utf-8", "replace").encode()
            yield event + forgotten + encode_frame(Frame(data=data, id=identifier if is_new else ""))


class _Tape:
    """The file of a recording. It is opened at once; what it holds stays until there is something to write."""

    def __init__(self, path: str | PathLike[str]) -> None:
        self.has_begun = False
        self.blocks = 0
        self._path = path
        with self._told():
            try:
                self._file: BinaryIO = open(path, "xb")  # noqa: SIM115 - closed by __exit__
                self._is_new = True
            except FileExistsError:
                self._file = open(path, "wb", opener=_without_emptying)  # noqa: SIM115 - closed by __exit__
                self._is_new = False

    def __enter__(self) -> Self:
        return self

    def __exit__(
        self, exc_type: type[BaseException] | None, exc: BaseException | None, traceback: TracebackType | None
    ) -> None:
        try:
            with self._told():
                self._file.close()
        except RecordingFailed:
            if exc_type is None:
                raise
        if self._is_new and not self.has_begun:
            with suppress(OSError):
                os.unlink(self._path)

    def write(self, blocks: Sequence[bytes]) -> None:
        """Append `blocks`, and hand them to the system: what a killed process wrote is there."""
        with self._told():
            if not self.has_begun:
                if stat.S_ISREG(os.fstat(self._file.fileno()).st_mode):
                    self._file.truncate()
                self._file.write(TITLE + b"\n")
                self.has_begun = True
            self._file.write(b"".join(blocks))
            self._file.flush()
        self.blocks += len(blocks)  # here, not where this is awaited: Ctrl-C does not wait for the thread

    @contextmanager
    def _told(self) -> Iterator[None]:
        try:
            yield
        except OSError as exc:
            raise RecordingFailed(f"could not record to {os.fspath(self._path)}: {exc.strerror or exc}") from exc


def _without_emptying(path: str, flags: int) -> int:
    return os.open(path, flags & ~os.O_TRUNC)


def _check_apart(source: Source, path: str | PathLike[str]) -> None:
    """Check that a recording is not made of itself: it would be emptied, or never end."""
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

    A source itself: `processor.run(record(connect(url), "run.sse"))`. Events are saved before they are yielded, with
    their time by `clock`. A file at `path` is replaced, once the source yields something or ends in order: one that
    cannot be opened leaves it as it was. Nothing is saved from an event longer than `max_event_bytes` on.

    Raises:
        RecordingFailed: the file cannot be written. It is opened before the source.
        ValueError: the source is the replay of that very file.
        TransportError: the source failed. What stepstream itself raises passes as it is.
        TypeError: it is no source.
    """
    _check_apart(source, path)
    with await anyio.to_thread.run_sync(_Tape, path) as tape:
        async with open_source(source) as items:
            yield Recording(items, tape, max_event_bytes, clock)


def replay(
    path: str | PathLike[str],
    *,
    speed: float = 1.0,
    chunk_size: int = CHUNK_SIZE,
    clock: Callable[[], float] = anyio.current_time,
    sleep: Callable[[float], Awaitable[object]] = anyio.sleep,
) -> "Replay":
    """Return the bytes of a recording as a source that keeps its pace, or `speed` times that; `math.inf`: no waiting.

    Times count from the first byte asked for, whatever its reader does meanwhile. Between two events at most 300
    seconds count. A time that is earlier than the one before is not waited for, and those after it count from it. A
    line that is no time is a comment. A file that is no recording is read as it is, and at once. The file is read
    `chunk_size` bytes at a time; an `OSError` comes with the first.

    Raises:
        ValueError: `speed` is not above 0.
    """
    if not speed > 0:
        raise ValueError(f"expected speed above 0, got {speed!r}")
    chunks = read_file(path, chunk_size=chunk_size)
    return Replay(path, chunks if speed == math.inf else _paced(chunks, speed, clock, sleep))


class Replay:
    """A recording that is read: iterate over it, once, for its bytes."""

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
    cutter = Cutter()
    due = clock()
    async with aclosing(chunks):
        async for chunk in chunks:
            for gap, piece in cutter.feed(chunk):
                due += gap / speed
                delay = due - clock()
                if gap and delay > 0:
                    await sleep(delay)
                yield piece
    if rest := cutter.rest():
        yield rest


class Cutter:
    """Cut a recording before its times, whatever the chunks. It holds back no more than the beginning of a line."""

    def __init__(self) -> None:
        self._is_recording: bool | None = None  # None: the first line is not known yet
        self._held = b""  # begins a line
        self._is_line_start = True
        self._time = 0.0

    def feed(self, chunk: bytes) -> Iterator[tuple[float, bytes]]:
        """Take the next bytes and yield them in pieces, each after the seconds that pass before it."""
        data, self._held = self._held + chunk, b""
        if self._is_recording is None:
            if any(title.startswith(data) and title != data for title in _TITLES):
                self._held = data
                return
            self._is_recording = data.startswith(_TITLES)
        if self._is_recording:
            yield from self._pieces(data)
        else:
            yield 0.0, data

    def rest(self) -> bytes:
        """Return what was held back, at the end."""
        return self._held

    def _pieces(self, data: bytes) -> Iterator[tuple[float, bytes]]:
        was_line_start = self._is_line_start
        data = self._without_begun_time(data)
        start, gap = 0, 0.0
        for found in _TIME.finditer(data):
            if found.start() == 0 and not was_line_start:
                continue
            time, before = float(found[1]), self._time
            self._time = time
            if time > before:
                if found.start() > start:
                    yield gap, data[start : found.start()]
                    start = found.start()
                gap = min(time - before, LONGEST_GAP)
        if data:
            yield gap, data[start:]

    def _without_begun_time(self, data: bytes) -> bytes:
        """Hold the unfinished line back where it may become one with a time, and return what is before it."""
        start = data.rfind(b"\n") + 1
        if start or self._is_line_start:
            tail = data[start:]
            self._is_line_start = not tail
            if len(tail) <= _LONGEST_TIME and (tail.startswith(_AT) or _AT.startswith(tail)):
                self._held, self._is_line_start = tail, True
                return data[:start]
        return data
