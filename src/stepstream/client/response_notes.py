"""What a client has to know of a stream that passes, to go on with it: the number of the newest event, the items.

It costs one more decoding of each event, and is kept only of streams that may need it.
"""

from collections.abc import Mapping
from typing import Any, Final

import msgspec

from stepstream.dialects.translation import RUN_NAMES
from stepstream.errors import FrameTooLarge
from stepstream.live.source import ItemDecoder
from stepstream.wire.sse import Frame

_DONE: Final = "response.output_item.done"
_TOLD: Final = frozenset({_DONE, "message", *RUN_NAMES})
"""The events that may carry items; "message" is one whose name is in its data alone."""


class _Numbered(msgspec.Struct):
    sequence_number: int | None = None


class ResponseNotes:
    """The newest number and the output items of a response, from the items of its source."""

    def __init__(self) -> None:
        self._decoder: ItemDecoder | None = ItemDecoder()
        self._newest: Frame | None = None
        self._items: dict[int, Mapping[str, Any]] = {}

    def __repr__(self) -> str:
        return f"<ResponseNotes up to {self.number}, {len(self._items)} items>"

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
        try:
            frames = [] if self._decoder is None else self._decoder.feed(item)
        except FrameTooLarge as excess:  # the reader of the stream raises it, too
            frames, self._decoder = excess.frames, None
        for frame in frames:
            self._newest = frame
            if frame.event in _TOLD:
                self._note_items(frame)

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
