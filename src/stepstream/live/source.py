"""Sources: whatever yields bytes, frames, events or SSE messages asynchronously, opened and closed in one place."""

from collections.abc import AsyncIterable, AsyncIterator, Callable
from contextlib import AbstractAsyncContextManager, AsyncExitStack, asynccontextmanager
from inspect import isawaitable
from typing import Any, Final, TypeAlias, cast

from stepstream.dialects.canonical import frame_of_event
from stepstream.errors import StepStreamError
from stepstream.fold.reconcile import ServerAnswer
from stepstream.live.closing import SourceStack, translate_source_error
from stepstream.live.journal import Pack, RunPiece
from stepstream.live.marks import ContinuedRun, Reconnected, ServerEvents, Told
from stepstream.live.refusals import check_status
from stepstream.live.sdk_events import sdk_frame
from stepstream.live.source_kinds import NotASource, ReadBefore, attribute, recognised, refused
from stepstream.live.source_types import (
    Body,
    BodyResponse,
    ByteResponse,
    EventSource,
    RawResponse,
    Receiver,
    Request,
    SDKEvent,
    SSEMessage,
)
from stepstream.wire.error_body import ENOUGH
from stepstream.wire.events import Event
from stepstream.wire.sse import DEFAULT_MAX_EVENT_BYTES, Frame, FrameDecoder

Item: TypeAlias = bytes | bytearray | memoryview | str | Frame | Event | Told | SSEMessage | SDKEvent
"""What a source may yield."""

Read: TypeAlias = (
    AsyncIterable[Item] | ByteResponse | RawResponse | EventSource | Body | BodyResponse | Request | Receiver
)
"""What is read as it is."""

Source: TypeAlias = Read | AbstractAsyncContextManager[Read]
"""An async iterable of `Item`, a response, or an async context manager that gives one."""

END: Final = object()
"""What `next_item` returns at the end of a source."""


@asynccontextmanager
async def open_source(source: Source) -> AsyncIterator[AsyncIterator[Any]]:
    """Open `source`, give its iterator, and close both at the end.

    Raises:
        TypeError: it is no source. The text says what to give instead.
        RuntimeError: it was read before.
        APIError: it is a response whose status is no success.
        TransportError: it could not be opened. What stepstream itself raises passes as it is.
    """
    async with SourceStack() as stack:
        kind, found = recognised(source)
        if kind.is_entered:
            source = await _entered(stack, source)
            kind, found = recognised(source)
        if kind.items is None:
            raise refused(source, kind)
        if kind.close:
            stack.push_async_callback(_close, getattr(found, kind.close))
        items = _iterated(kind.items, found)
        if hasattr(items, "aclose"):
            stack.push_async_callback(_leave, items)
        if kind.close:
            await check_status(found, items)
        yield items


async def close_unread(source: Source) -> None:
    """Close a source that was given to be read and was not: a response, or a stream, is open already.

    Raises:
        Exception: of the source, whatever it is.
    """
    kind, found = recognised(source)
    if kind.close:
        await _close(getattr(found, kind.close))
    elif kind.items is not None and hasattr(found, "aclose"):
        await found.aclose()


async def _entered(stack: AsyncExitStack, source: Any) -> Any:
    if hasattr(source, "gen") and not hasattr(source, "func"):  # of contextlib, and it was entered before
        raise ReadBefore
    try:
        return await stack.enter_async_context(source)
    except (StepStreamError, NotASource, ReadBefore):
        raise
    except Exception as exc:
        raise translate_source_error(exc) from exc


def _iterated(items: Callable[[Any], AsyncIterator[Any]], found: Any) -> AsyncIterator[Any]:
    """Return what is read of a source, which it may refuse at once."""
    _check_unread(found)
    try:
        read = items(found)
    except (StepStreamError, TypeError):
        raise
    except Exception as exc:
        raise translate_source_error(exc) from exc
    _check_unread(read)
    return read


def _check_unread(items: Any) -> None:
    """Check that it is no generator that has ended: that would give nothing.

    Raises:
        ReadBefore: it is one.
    """
    if attribute(items, "ag_code") is not None and attribute(items, "ag_frame") is None:
        raise ReadBefore


async def _leave(items: Any) -> None:
    """Close an iterator. A generator that yields inside a task group is left by a group, which is no failure."""
    try:
        await items.aclose()
    except BaseExceptionGroup as group:
        failures = group.split(GeneratorExit)[1]
        if failures is not None:
            raise failures from None


async def _close(close: Callable[[], Any]) -> None:
    """Close a response, whether its library waits for that or not."""
    closing = close()
    if isawaitable(closing):
        await closing


async def next_item(items: AsyncIterator[Any]) -> Any:
    """Return the next item of a source, or `END`.

    Raises:
        TransportError, APIError: the source failed, or was refused. What stepstream itself raises passes as it is.
    """
    try:
        return await anext(items, END)
    except StepStreamError:
        raise
    except Exception as exc:
        raise translate_source_error(exc) from exc


def encoded(text: str) -> bytes:
    """Return a chunk of text as bytes. What has no form in UTF-8, half of a surrogate pair, becomes "?"."""
    return text.encode("utf-8", "replace")


def beginning_of_bytes(item: object) -> bytes:
    """Return the first bytes of a chunk, enough to tell what begins with them; of any other item nothing."""
    if isinstance(item, str):
        return encoded(item[:ENOUGH])
    return bytes(item[:ENOUGH]) if isinstance(item, bytes | bytearray | memoryview) else b""


def frame_of(item: object) -> Frame:
    """Return an SSE message, or an event object of an SDK, as a frame.

    Raises:
        TypeError: it is none.
    """
    found = sdk_frame(item)
    if found is not None:
        return found
    event, data = getattr(item, "event", item), cast(Any, getattr(item, "data", None))
    if hasattr(data, "model_dump_json"):  # of openai: an object, which as JSON has the fields that were sent
        data = data.model_dump_json(by_alias=True, exclude_unset=True, warnings=False)
    if not isinstance(event, str | None) or not isinstance(data, str):
        raise TypeError(f"expected a source to yield bytes, frames, events or SSE messages, got {type(item).__name__}")
    identifier = getattr(item, "id", None)
    return Frame(event or "message", encoded(data), identifier if isinstance(identifier, str) else "")


class ItemDecoder:
    """Decodes what one source yields, of every kind, to frames: for all that look at frames and fold nothing.

    Bytes, and text as bytes, are decoded as those of one connection, and after `Reconnected` as those of a new one. The
    answer of a server is no frame, nor a checkpoint: only the fold knows which events they stand for.

    `opening` is what bytes began with, as long as `is_empty`: no frame has come. It says what they are, if none comes.
    """

    def __init__(self, *, max_event_bytes: int = DEFAULT_MAX_EVENT_BYTES) -> None:
        self._limit = max_event_bytes
        self._decoder = FrameDecoder(max_event_bytes=max_event_bytes)
        self.opening, self.is_empty = b"", True

    def __repr__(self) -> str:
        return f"<ItemDecoder {self._decoder!r}>"

    def feed(self, item: Item) -> list[Frame]:
        """Take the next item and return the frames it completes, maybe none.

        Raises:
            FrameTooLarge: as `FrameDecoder.feed` does, with the frames before it.
            TypeError: the item is of no kind that a source may yield.
        """
        if self.is_empty and len(self.opening) < ENOUGH:
            self.opening += beginning_of_bytes(item)
        frames = self._decoded(item)
        self.is_empty = self.is_empty and not frames
        return frames

    def _decoded(self, item: Item) -> list[Frame]:
        match item:
            case bytes() | bytearray() | memoryview():
                return self._decoder.feed(item)
            case str():
                return self._decoder.feed(encoded(item))
            case Frame():
                return [item]
            case Event():
                return [frame_of_event(item)]
            case Reconnected():
                self._decoder = FrameDecoder(max_event_bytes=self._limit, last_event_id=item.last_event_id)
                return []
            case ServerEvents():
                return list(item.frames)
            case RunPiece():
                return FrameDecoder().feed(item.held.data) if isinstance(item.held, Pack) else []
            case ServerAnswer() | ContinuedRun():
                return []
            case _:
                return [frame_of(item)]

    def pending(self) -> Frame | None:
        """Return the block that still lacks its blank line, or None where it has no data. For the end of a source."""
        return self._decoder.pending()
