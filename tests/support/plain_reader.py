"""Streams read by the reader and the plain way, and what comes of either.

The plain way is a `FrameDecoder`, `Translation.feed` and `Accumulator.apply` for each frame: nothing is kept from one
delta to the next but what the fold knows.
"""

from collections.abc import Callable, Iterator, Sequence
from typing import Any

import msgspec

from stepstream.errors import DecodeError, FrameTooLarge
from stepstream.fold.accumulator import Accumulator
from stepstream.fold.changes import MessageProgress, StepProgress
from stepstream.fold.encoding import encode_change
from stepstream.fold.ending import StreamEnding
from stepstream.live.reader import Reader
from stepstream.live.run_ends import RunEnds
from stepstream.wire.ending import TELLING, decides_end
from stepstream.wire.sse import FrameDecoder
from tests.support.json_values import JSON


class Audience:
    """Notes all that it hears; it may be busy, look at each snapshot, or hear progress at times only.

    `limit`: it has no room for more after each change whose ordinal that divides.
    `moods`: at each change whose ordinal that divides, it begins or ceases to want progress.
    """

    def __init__(self, *, wants: bool = True, looks: bool = False, limit: int = 0, moods: int = 0) -> None:
        self.version = 0
        self.run_ends = RunEnds()
        self.wants = wants
        self.changes: list[Any] = []
        self.heard: list[tuple[Any, ...]] = []
        self._looks = looks
        self._limit = limit
        self._moods = moods

    def mailboxes_for(self, kind: object, growing: object, context: object) -> list[Any]:
        return [self] if self.wants else []

    @property
    def room(self) -> int:
        """One where it looks at each change, or ceases to want them; as many as it likes where it has no limit."""
        return 1 if self._looks or self._moods or self._limit else 7

    def hand_over(self, changes: Sequence[Any], listeners: Sequence[Any]) -> bool:
        assert listeners == [self]
        assert len(changes) <= max(1, self.room)
        return [self.dispatch(change) for change in changes][-1]

    def dispatch(self, change: Any) -> bool:
        if isinstance(change, StepProgress | MessageProgress):
            if not self.wants:
                return False
            snapshot: Any = change.step if isinstance(change, StepProgress) else change.message
            told = (wire(change.delta), change.event, wire(snapshot) if self._looks else None)
        else:
            told = (change.event,)
        self.changes.append(change)
        self.heard.append((encode_change(change), repr(change), change.context, *told))
        if self._moods and change.sequence % self._moods == 0:
            self.wants = not self.wants
            self.version += 1
        return bool(self._limit) and change.sequence % self._limit == 0


def wire(value: object) -> bytes:
    return msgspec.json.encode(value)


class Plain:
    """A stream that is read the plain way."""

    def __init__(
        self,
        accumulator: Accumulator,
        audience: Audience,
        *,
        max_event_bytes: int,
        clock: Callable[[], float],
    ) -> None:
        self.accumulator = accumulator
        accumulator.stream.received_at = clock()
        self.is_done = False
        self._ending = StreamEnding(accumulator.stream)
        self._decoder = FrameDecoder(max_event_bytes=max_event_bytes)
        self._audience = audience

    def read(self, chunk: bytes) -> Iterator[None]:
        try:
            frames = self._decoder.feed(chunk)
            excess = None
        except FrameTooLarge as error:
            frames, excess = error.frames, error
        for frame in frames:
            if not self.is_done:
                self._take(frame)
        if excess is not None and not self.is_done:
            raise excess
        yield

    def finish(self) -> None:
        frame = None if self.is_done else self._decoder.pending()
        if frame is not None and decides_end(frame):
            self._take(frame)

    def _take(self, frame: Any) -> None:
        try:
            (event,) = self.accumulator.translation.feed(frame)
        except DecodeError as error:
            self._audience.dispatch(self.accumulator.reject(error, frame.id))
            return
        for change in self.accumulator.apply(event):
            self._audience.dispatch(change)
        if type(event.data) in TELLING:
            self.is_done = self._ending.note(event)


Reading = Callable[..., Any]


class Result(msgspec.Struct):
    """What came of a stream: what was heard at each chunk, and what was known in the end."""

    heard: list[list[tuple[Any, ...]]] = []
    end: str = ""
    sequence: int = 0
    anomalies: list[str] = []
    anomaly_count: int = 0
    touched: tuple[list[str], ...] = ()
    snapshots: bytes = b""
    exported: bytes = b""


def still() -> float:
    """A clock that stands, so that two readings of a stream are alike."""
    return 7.5


LIMITS: JSON = {"max_event_bytes": 2**20, "max_depth": 64, "clock": still}


class Stream:
    """A stream that is being read, one way or the other."""

    def __init__(
        self, way: Reading, audience: Audience, *, accumulator: Accumulator | None = None, limits: JSON = LIMITS
    ) -> None:
        depth = {"max_depth": limits["max_depth"]}
        self.accumulator = accumulator or Accumulator(context="tide", **depth)
        self._audience = audience
        hearing = (audience, audience) if way is Reader else (audience,)
        own = {name: limit for name, limit in limits.items() if name not in depth}
        self.reader = way(self.accumulator, *hearing, **own)
        self.result = Result()

    def read(self, chunk: Any) -> None:
        """Read one chunk, unless the stream is over."""
        before = len(self._audience.heard)
        if self.result.end or self.reader.is_done:
            return
        try:
            for _ in self.reader.read(chunk):
                pass
        except Exception as exc:  # noqa: BLE001 - compared
            self.result.end = ending(exc)
        self.result.heard.append(self._audience.heard[before:])

    def finished(self) -> Result:
        """What came of it."""
        result, stream = self.result, self.accumulator.stream
        if not result.end:
            try:
                self.reader.finish()
            except Exception as exc:  # noqa: BLE001 - compared
                result.end = ending(exc)
        result.sequence = stream.sequence
        result.anomalies = [repr(one) for one in stream.anomalies]
        result.anomaly_count = stream.anomaly_count
        result.touched = [*stream.runs], [*stream.steps.touched], [*stream.messages.touched]
        found = dict(self.accumulator.steps), dict(self.accumulator.messages), dict(self.accumulator.runs)
        result.snapshots = wire(found)
        result.exported = self.accumulator.export()
        return result


def ending(exc: Exception) -> str:
    """An error in a word. That a stream is truncated is for the tests of outcomes."""
    name = type(exc).__name__
    return {"StreamFailed": "failed", "StreamTruncated": ""}.get(name, repr(exc))


def read(
    way: Reading, chunks: Sequence[Any], *, limits: JSON = LIMITS, options: JSON | None = None, **mood: Any
) -> Result:
    """What comes of a stream; `mood` is that of its audience, `options` are those of the accumulator."""
    accumulator = Accumulator(context="tide", max_depth=limits["max_depth"], **(options or {}))
    stream = Stream(way, Audience(**mood), accumulator=accumulator, limits=limits)
    for chunk in chunks:
        stream.read(chunk)
    return stream.finished()
