"""A step or message as a viewer has it: its document, and where in that the texts stand that grow."""

from collections.abc import Sequence
from typing import Any

from stepstream.fold.builder import SnapshotBuilder
from stepstream.fold.tree import Indexed, TextBuffer
from stepstream.relay.forms.patches import grown, patch
from stepstream.views.contents import details_of
from stepstream.views.documents import call_document, message_document, step_document, title_of
from stepstream.views.parts import JSON, Parts, skipped_of
from stepstream.wire.deltas import RunStepDelta, StepDetailsDelta, ToolCallDelta
from stepstream.wire.events import Event
from stepstream.wire.objects import RunStep


class _Text:
    """A text that grows. What was appended is joined to its part when that is compared."""

    __slots__ = ("buffer", "length", "part", "path", "pieces")

    def __init__(self, buffer: TextBuffer, part: JSON, path: str) -> None:
        self.buffer = buffer  # kept, so that no other has its `id()`
        self.part = part
        self.path = path
        self.pieces: list[str] = []
        self.length = part.get("skipped", 0) + len(part["text"])

    def join(self) -> None:
        if self.pieces:
            self.part["text"] += "".join(self.pieces)
            self.pieces.clear()

    def grow(self, piece: str) -> list[JSON]:
        if not piece:
            return []
        before, skipped = self.length, self.part.get("skipped", 0)
        self.length += len(piece)
        left_out = skipped_of(self.length)
        self.pieces.append(piece)
        if left_out == skipped:
            return [grown(f"{self.path}/text", piece, was_empty=not before)]
        self.pieces.pop()
        self.join()
        old = dict(self.part)
        self.part |= {"text": (old["text"] + piece)[left_out - skipped :], "skipped": left_out}
        return patch(old, self.part, self.path)


class Shown:
    """A step or message as a viewer has it. `path` is where it stands in the view."""

    def __init__(self, path: str, builder: SnapshotBuilder[Any]) -> None:
        self.document: JSON = {}
        self._path = path
        self._texts: dict[int, _Text] = {}
        """By the `id()` of their buffers."""
        self._of_call: dict[int, list[_Text]] = {}
        """Those of each call, by its place."""
        self._is_dense = False
        """Whether the places of the calls are the indexes that deltas have."""
        self._renew(builder)

    def grow(self, buffer: TextBuffer, piece: str) -> list[JSON]:
        """Return what a piece changes that was appended to one of the texts."""
        text = self._texts.get(id(buffer))
        return text.grow(piece) if text is not None else []

    def refreshed(self, builder: SnapshotBuilder[Any], event: Event) -> list[JSON]:
        """Return what an event has changed, by comparison."""
        places = None if builder.ended else self._places(builder, event)
        if places is not None:
            return self._with_calls(builder, places)
        for text in self._texts.values():
            text.join()
        before = self.document
        self._renew(builder)
        return patch(before, self.document, self._path)

    def _renew(self, builder: SnapshotBuilder[Any]) -> None:
        parts, self._texts, self._of_call = Parts(), {}, {}
        is_step = isinstance(builder.base, RunStep)
        self.document = step_document(builder, parts) if is_step else message_document(builder, parts)
        self._follow(parts)
        calls = details_of(builder.tree).get("tool_calls")
        self._is_dense = isinstance(calls, Indexed) and all(at in calls for at in range(len(calls)))

    def _follow(self, parts: Parts) -> None:
        for buffer, part, path in parts.growing:
            text = self._texts[id(buffer)] = _Text(buffer, part, self._path + path)
            if path.startswith("/calls/"):
                self._of_call.setdefault(int(path.split("/")[2]), []).append(text)

    def _places(self, builder: SnapshotBuilder[Any], event: Event) -> list[int] | None:
        """Return the places of the calls that alone an event can have changed; None where that may be anything."""
        indexes = touched_calls(event)
        calls = details_of(builder.tree).get("tool_calls")
        known = len(self.document.get("calls", ()))
        if not indexes or not known or not isinstance(calls, Indexed) or not self._is_dense:
            return None
        is_dense = all(at in calls for at in range(known, len(calls)))
        return indexes if is_dense and builder.base.type and indexes[-1] < len(calls) else None

    def _with_calls(self, builder: SnapshotBuilder[Any], places: Sequence[int]) -> list[JSON]:
        """Make the documents of these calls anew. New ones are the last."""
        known, nodes = self.document["calls"], details_of(builder.tree)["tool_calls"]
        operations: list[JSON] = []
        names = len(known), [known[place]["name"] for place in places if place < len(known)]
        for place in places:
            for text in self._of_call.pop(place, ()):
                text.join()
                del self._texts[id(text.buffer)]
            parts, path = Parts(), f"{self._path}/calls/{place}"
            call = call_document(nodes[place], self.document["style"], parts, f"/calls/{place}")
            self._follow(parts)
            if place < len(known):
                operations += patch(known[place], call, path)
                known[place] = call
            else:
                operations.append({"op": "add", "path": f"{self._path}/calls/-", "value": call})
                known.append(call)
        if names != (len(known), [known[place]["name"] for place in places]):
            title = title_of(known)
            operations += patch(self.document["title"], title, f"{self._path}/title")
            self.document["title"] = title
        return operations


def touched_calls(event: Event) -> list[int]:
    """Return the indexes of the calls that a delta adds to, in order, where it adds to nothing else."""
    body = event.data.delta if isinstance(event.data, RunStepDelta) else None
    details = body.step_details if body else None
    if not isinstance(details, StepDetailsDelta) or details.message_creation or details.activities or details.reasoning:
        return []
    calls = details.tool_calls or ()
    indexes = {call.index if isinstance(call, ToolCallDelta) else call.get("index") for call in calls}
    return sorted(index for index in indexes if type(index) is int)
