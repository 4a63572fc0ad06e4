"""`stepstream cat`: a stream as JSON lines."""

from collections.abc import AsyncIterator, Callable, Iterable, Iterator, Mapping
from typing import Any, Final

import msgspec

from stepstream.cli.output import write_anomalies, write_json, write_object
from stepstream.cli.request_options import RequestOptions
from stepstream.cli.source import named
from stepstream.dialects.canonical import frame_of_event
from stepstream.dialects.state import DialectState
from stepstream.dialects.translation import Translation, says_end
from stepstream.errors import DecodeError, FrameTooLarge, StepStreamError
from stepstream.fold.changes import Change
from stepstream.fold.encoding import encode_change
from stepstream.fold.outcome import Outcome
from stepstream.live.processor import Processor
from stepstream.live.registration import CLASSES
from stepstream.live.source import ItemDecoder, Source, open_source
from stepstream.wire.sse import Frame

RETAINED: Final = 10**9
"""A stream in a file is finite: everything in it is kept."""

OBJECTS: Final[Mapping[str, Callable[[Processor], Iterable[object]]]] = {
    "steps": lambda processor: processor.steps.values(),
    "runs": lambda processor: processor.runs.values(),
    "messages": lambda processor: processor.messages.values(),
}
"""What is written once the stream has ended: all that is known, for an outcome has no more than the newest 100,000."""


async def cat(source: str, *, what: str, chunk_size: int, speed: float, request: RequestOptions) -> None:
    """Write `source` as JSON lines: its frames, events or changes as they come, or its objects at the end.

    Raises:
        UsageError: `request` cannot be sent.
        StepStreamError: as `Processor.run` does; what was folded is written before.
    """
    async with Processor(strict=True, clock=None, retain=RETAINED, max_open_runs=RETAINED) as processor:
        if what == "changes":
            processor.add(CLASSES, _write_change)
        stream = named(source, chunk_size=chunk_size, speed=speed, request=request.options(source))
        try:
            outcome = await processor.run(_tee(stream, what) if what in FRAMES else stream)
        except StepStreamError as error:
            _write_end(processor, error.outcome, what)
            raise
        _write_end(processor, outcome, what)


def _write_end(processor: Processor, outcome: Outcome | None, what: str) -> None:
    if outcome is None:
        return
    for one in OBJECTS[what](processor) if what in OBJECTS else ():
        write_object(one)
    if what != "changes":
        write_anomalies(outcome)


async def _write_change(change: Change) -> None:
    write_json(encode_change(change))


async def _tee(source: Source, what: str) -> AsyncIterator[Frame | bytes]:
    """Yield the frames of `source`, each after it was written: as it came, or as the events that it is."""
    decoder, translation = ItemDecoder(), Translation(DialectState())
    async with open_source(source) as items:
        async for item in items:
            for frame in _frames(decoder, item):
                for told in _events(translation, frame) if what == "events" else [frame]:
                    write_object(FRAMES[what](told))
                yield frame
    pending = decoder.pending()
    if pending is not None and says_end(pending):
        yield pending  # no frame by the standard, but it says how the stream ended
    elif decoder.is_empty:
        yield decoder.opening  # it says what the bytes are, which are no events
    for event in translation.finish() if what == "events" else ():
        write_object(_event_line(frame_of_event(event)))


def _events(translation: Translation, frame: Frame) -> list[Frame]:
    """Return a frame as the events that it is in the words of the fold."""
    try:
        events = translation.feed(frame)
    except DecodeError:
        return [frame]
    return [frame] if translation.is_plain else [frame_of_event(event) for event in events]


def _frames(decoder: ItemDecoder, item: Any) -> Iterator[Frame]:
    """Yield the frames that an item completes, those before one that is too large as well."""
    try:
        yield from decoder.feed(item)
    except FrameTooLarge as excess:
        yield from excess.frames
        raise


def _frame_line(frame: Frame) -> object:
    return {"event": frame.event, "data": frame.data.decode(), "id": frame.id}


def _event_line(frame: Frame) -> object:
    return {"event": frame.event, "data": _decoded(frame.data)}


def _decoded(data: bytes) -> object:
    """Return JSON as it stands, and what is none as a text."""
    try:
        msgspec.json.decode(data)
    except (msgspec.DecodeError, UnicodeDecodeError, RecursionError):
        return data.decode()
    return msgspec.Raw(data.replace(b"\n", b" "))  # a line end can only stand between two tokens


FRAMES: Final[Mapping[str, Callable[[Frame], object]]] = {"frames": _frame_line, "events": _event_line}
"""What is written as it comes, frame by frame."""

FORMS: Final = ("frames", "events", "changes", *OBJECTS)
