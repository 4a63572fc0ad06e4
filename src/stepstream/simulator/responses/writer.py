"""The writer of one response's events: it numbers them, and keeps the output items as the events leave them."""

from collections.abc import Callable, Generator, Iterable, Iterator, Mapping
from random import Random
from typing import Any, Final, NamedTuple

import msgspec

from stepstream.simulator.objects import JSON
from stepstream.simulator.responses import objects
from stepstream.simulator.scenario import Usage
from stepstream.simulator.stamps import Stamps
from stepstream.simulator.timed_event import TimedEvent
from stepstream.wire.sse import Frame


class Growth(NamedTuple):
    """How the text of an item grows: by `{name}.delta` until `{name}.done`, which has the whole of it in `key`."""

    name: str
    key: str
    fields_of: Callable[[str, list[JSON]], JSON]
    """Returns the fields of the item that hold the text and its annotations."""
    part: str | None = None
    """The event that opens and closes the part of the item that the text is in."""
    at: Mapping[str, int] = {}
    """Where in the item that part is."""


def _simple(key: str) -> Callable[[str, list[JSON]], JSON]:
    return lambda text, _: {key: text}


GROWTHS: Final[Mapping[str, Growth]] = {
    "message": Growth(
        "response.output_text",
        "text",
        lambda text, notes: {"content": [objects.output_text(text, notes)]},
        "response.content_part",
        {"content_index": 0},
    ),
    "reasoning": Growth(
        "response.reasoning_summary_text",
        "text",
        lambda text, _: {"summary": [objects.summary_text(text)]},
        "response.reasoning_summary_part",
        {"summary_index": 0},
    ),
    "code_interpreter_call": Growth("response.code_interpreter_call_code", "code", _simple("code")),
    "function_call": Growth("response.function_call_arguments", "arguments", _simple("arguments")),
    "mcp_call": Growth("response.mcp_call_arguments", "arguments", _simple("arguments")),
}
"""By the type of the item."""

MORE: Final[Mapping[str, JSON]] = {
    "response.output_text.delta": {"logprobs": []},
    "response.output_text.done": {"logprobs": []},
}
"""What some events carry besides."""

WITHOUT_STATUS: Final = frozenset({"mcp_approval_request", "mcp_list_tools", "reasoning"})
"""The types of items that have no status."""

DELTA_DELAY: Final = 0.018
OTHER_DELAY: Final = 0.05
"""Seconds before a delta at real pace, and before any other event. The time that a tool takes is its act's own."""


class ItemState:
    """An output item as it stands."""

    def __init__(self, item: JSON, index: int) -> None:
        self.item = item
        self.index = index
        self.pieces: list[str] = []
        self.notes: list[JSON] = []
        self.has_part = False
        self.has_ended = False

    @property
    def growth(self) -> Growth:
        """How its text grows."""
        return GROWTHS[self.item["type"]]

    @property
    def place(self) -> JSON:
        """How events about it name it."""
        return {"item_id": self.item["id"], "output_index": self.index}

    def grown(self) -> JSON:
        """Return the fields that hold the text that came so far."""
        if not self.pieces:
            return {}
        return self.growth.fields_of("".join(self.pieces), self.notes)

    def standing(self, status: str) -> JSON:
        """Return the item as it stands; one that goes on has that status."""
        if self.has_ended:
            return self.item
        own = {} if self.item["type"] in WITHOUT_STATUS else {"status": status}
        return {**self.item, **self.grown(), **own}


class ResponseWriter(Stamps):
    """Write the events of one response, with the ids and times of `Stamps`."""

    def __init__(self, tag: str, at: float, random: Random | None, *, float_times: bool = False) -> None:
        super().__init__(tag, at, random, float_times=float_times)
        self.items: list[ItemState] = []
        self.spent = Usage(0, 0)
        """The tokens of the acts that are over."""
        self._number = 0

    def __repr__(self) -> str:
        return f"<ResponseWriter of {len(self.items)} items at {self.now()}>"

    def event(self, name: str, data: JSON, delay: float | None = None) -> TimedEvent:
        """Return the next event, and let its delay pass on the clock."""
        seconds = (DELTA_DELAY if name.endswith(".delta") else OTHER_DELAY) if delay is None else delay
        self.pass_time(seconds)
        payload = {"type": name, "sequence_number": self._number, **data, **MORE.get(name, {})}
        self._number += 1
        about = data.get("item_id") or data.get("item", {}).get("id")
        return TimedEvent(seconds, Frame(name, msgspec.json.encode(payload)), about)

    def output(self, status: str) -> list[JSON]:
        """Return the items as they stand; those that go on have that status."""
        return [state.standing(status) for state in self.items]

    def open_item(self, item_type: str, prefix: str, **fields: Any) -> Generator[TimedEvent, None, ItemState]:
        """Yield the event that announces an item, and return that."""
        status = {} if item_type in WITHOUT_STATUS else {"status": "in_progress"}
        state = ItemState({"id": self.new_id(prefix), "type": item_type, **status, **fields}, len(self.items))
        self.items.append(state)
        yield self.event("response.output_item.added", {"output_index": state.index, "item": state.item})
        return state

    def move_on(self, state: ItemState, phase: str, delay: float | None = None) -> TimedEvent:
        """Return the event that says how far a call is."""
        return self.event(f"response.{state.item['type']}.{phase}", state.place, delay)

    def open_part(self, state: ItemState) -> TimedEvent:
        """Return the event that opens the part in which the text of an item is."""
        growth = state.growth
        state.has_part = True
        part = _part_of(growth.fields_of("", []))
        return self.event(f"{growth.part}.added", {**state.place, **growth.at, "part": part})

    def grow(self, state: ItemState, pieces: Iterable[str]) -> Iterator[TimedEvent]:
        """Yield the deltas of the text of an item."""
        for piece in pieces:
            state.pieces.append(piece)
            yield self.event(f"{state.growth.name}.delta", {**state.place, **state.growth.at, "delta": piece})

    def annotate(self, state: ItemState, note: JSON) -> TimedEvent:
        """Return the event that adds an annotation to the text of an item."""
        place = {**state.place, **state.growth.at, "annotation_index": len(state.notes)}
        state.notes.append(note)
        return self.event("response.output_text.annotation.added", {**place, "annotation": note})

    def end_text(self, state: ItemState) -> Iterator[TimedEvent]:
        """Yield the events that end the text of an item."""
        growth, text = state.growth, "".join(state.pieces)
        place = {**state.place, **growth.at}
        yield self.event(f"{growth.name}.done", {**place, growth.key: text})
        if state.has_part:
            yield self.event(f"{growth.part}.done", {**place, "part": _part_of(growth.fields_of(text, state.notes))})

    def end_item(
        self, state: ItemState, status: str = "completed", delay: float | None = None, **fields: Any
    ) -> TimedEvent:
        """Return the event that ends an item, with the text that came and these fields."""
        state.item = {**state.standing(status), **fields}
        state.has_ended = True
        state.pieces = []
        return self.event("response.output_item.done", {"output_index": state.index, "item": state.item}, delay)


def _part_of(fields: JSON) -> JSON:
    """Return the one part of the fields that hold a text."""
    [[part]] = fields.values()
    found: JSON = part
    return found
