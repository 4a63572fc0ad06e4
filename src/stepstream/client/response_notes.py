"""What a client has to know of a stream that passes: what it is and, to go on with it, its newest number and its items.

The second costs one more decoding of each event, and is kept only of streams that may need it.
"""

from collections.abc import Mapping
from typing import Any, Final

import msgspec

from stepstream.dialects.translation import RUN_NAMES
from stepstream.errors import FrameTooLarge
from stepstream.live.source import ItemDecoder
from stepstream.wire.ending import kind_of
from stepstream.wire.error_body import foreign_text
from stepstream.wire.sse import Frame

_DONE: Final = "response.output_item.done"
_TOLD: Final = frozenset({_DONE, "message", *RUN_NAMES})
"""The events that may carry items; "message" is one whose name is in its data alone."""

_KEEPALIVE: Final = "keepalive"
"""An event that a server sends while it has nothing to say, be it before the response has an id."""


class _Numbered(msgspec.Struct):
    sequence_number: int | None = None


class ResponseNotes:
    """What the items of a source tell of its response. Without `is_whole`, only its beginning is read."""

    def __init__(self, *, is_whole: bool) -> None:
        self._is_whole = is_whole
        self._decoder: ItemDecoder | None = ItemDecoder()
        self._opening = b""
        self._has_events = False
        self._newest: Frame | None = None
        self._items: dict[int, Mapping[str, Any]] = {}

    def __repr__(self) -> str:
        return f"<ResponseNotes up to {self.number}, {len(self._items)} items>"

    @property
    def is_foreign(self) -> bool:
        """Whether what came is of no protocol that is read here, where no response was named."""
        return self._has_events or bool(foreign_text(self._opening))

    @property
    def number(self) -> int | None:
        """The number of the newest event that is whole; None where it has none."""
        try:
            return (
                None if self._newest is None else msgspec.json.decode(self._newest.data, type=_Numbered).sequence_number
            )
        except (msgspec.DecodeError, UnicodeDecodeError, RecursionError):
            return None

    @property
    def output(self) -> list[Mapping[str, Any]]:
        """The items that have ended, in their order."""
        return [self._items[index] for index in sorted(self._items)]

    def feed(self, item: Any) -> None:
        """Take what a source yields next."""
        if self._decoder is None:
            return
        try:
            frames = self._decoder.feed(item)
        except FrameTooLarge as excess:  # the reader of the stream raises it, too
            frames, self._decoder, self._has_events = excess.frames, None, True
        for frame in frames:
            self._newest = frame
            self._has_events = self._has_events or _KEEPALIVE not in kind_of(frame.event, frame.data)
            if frame.event in _TOLD:
                self._note_items(frame)
        if self._decoder is not None:
            self._opening = self._decoder.opening if self._decoder.is_empty else b""
        if self._has_events and not self._is_whole:
            self._decoder = None

    def _note_items(self, frame: Frame) -> None:
        try:
            data = msgspec.json.decode(frame.data, type=dict[str, Any])
        except (msgspec.DecodeError, UnicodeDecodeError, RecursionError):
            return
        item, response = data.get("item"), data.get("response")
        if data.get("type", frame.event) == _DONE and isinstance(item, dict):
            index = data.get("output_index")
            self._items[index if isinstance(index, int) else len(self._items)] = item
        elif isinstance(response, dict) and isinstance(response.get("output"), list) and response["output"]:
            self._items = {index: one for index, one in enumerate(response["output"]) if isinstance(one, dict)}
