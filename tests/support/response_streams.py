"""Small streams in the Responses dialect, and what they fold to."""

import json
from collections.abc import Iterable, Sequence
from typing import Any, NamedTuple

from stepstream import (
    Accumulator,
    Frame,
    FrameDecoder,
    MessageTransition,
    RunTransition,
    StepTransition,
    encode_frame,
)
from stepstream.fold.changes import Change
from tests.support.json_values import JSON

RESPONSE = "resp_1"


def response(status: str = "in_progress", *output: JSON, id: str = RESPONSE, **more: Any) -> JSON:  # noqa: A002
    """A response."""
    return {"id": id, "object": "response", "created_at": 1_700_000_000, "status": status, "output": [*output], **more}


def lifecycle(word: str, *output: JSON, **more: Any) -> JSON:
    """The event of a response that has a status, by the last word of its name."""
    status = {"created": "in_progress", "done": "completed"}.get(word, word)
    return {"type": f"response.{word}", "response": response(more.pop("status", status), *output, **more)}


def item(kind: str = "message", /, number: int = 1, **more: Any) -> JSON:
    """An output item."""
    usual: dict[str, JSON] = {
        "message": {"role": "assistant", "content": []},
        "function_call": {"call_id": f"call_{number}", "name": "add", "arguments": ""},
        "custom_tool_call": {"call_id": f"call_{number}", "name": "sql", "input": ""},
        "mcp_call": {"name": "ask", "arguments": "", "server_label": "wiki"},
        "code_interpreter_call": {"code": "", "outputs": []},
        "reasoning": {"summary": []},
        "shell_call": {"call_id": f"call_{number}", "action": {"commands": []}},
        "apply_patch_call": {
            "call_id": f"call_{number}",
            "operation": {"type": "update_file", "path": "a.py", "diff": ""},
        },
    }
    return {"type": kind, "id": f"{kind}_{number}", "status": "in_progress", **usual.get(kind, {}), **more}


def added(one: JSON, index: int | None = 0) -> JSON:
    """The event with which an item begins."""
    return {"type": "response.output_item.added", "item": one} | ({} if index is None else {"output_index": index})


def done(one: JSON, index: int | None = 0) -> JSON:
    """The event with which an item ends."""
    return {"type": "response.output_item.done", "item": one} | ({} if index is None else {"output_index": index})


def ended(one: JSON, **more: Any) -> JSON:
    """An item as it is in the end."""
    return {**one, "status": "completed", **more}


def about(name: str, one: JSON | None, index: int | None = 0, **fields: Any) -> JSON:
    """Any other event about an item."""
    found: JSON = {"type": f"response.{name}"}
    if one is not None:
        found["item_id"] = one["id"]
    if index is not None:
        found["output_index"] = index
    return found | fields


def text(value: str) -> JSON:
    """A part of a message."""
    return {"type": "output_text", "text": value, "annotations": [], "logprobs": []}


def piece(value: str, one: JSON | None, index: int | None = 0, part: int | None = 0) -> JSON:
    """A piece of a message's text."""
    return about("output_text.delta", one, index, delta=value) | ({} if part is None else {"content_index": part})


def writing(value: str, number: int = 1, index: int = 0) -> list[JSON]:
    """All events of a message, its text in pieces of one character."""
    one = item(number=number)
    whole = {"content_index": 0, "text": value}
    return [
        added(one, index),
        about("content_part.added", one, index, content_index=0, part=text("")),
        *(piece(character, one, index) for character in value),
        about("output_text.done", one, index, **whole),
        about("content_part.done", one, index, content_index=0, part=text(value)),
        done(ended(one, content=[text(value)]), index),
    ]


def calling(arguments: str, number: int = 1, index: int = 0) -> list[JSON]:
    """All events of a function call, its arguments in pieces of one character."""
    one = item("function_call", number)
    return [
        added(one, index),
        *(about("function_call_arguments.delta", one, index, delta=character) for character in arguments),
        about("function_call_arguments.done", one, index, arguments=arguments),
        done(ended(one, arguments=arguments), index),
    ]


def thinking(summary: str, thoughts: str, number: int = 1, index: int = 0) -> list[JSON]:
    """All events of reasoning, in pieces of one character."""
    one = item("reasoning", number)
    said = {"type": "summary_text", "text": summary}
    thought = {"type": "reasoning_text", "text": thoughts}
    empty = {"type": "summary_text", "text": ""}
    return [
        added(one, index),
        about("reasoning_summary_part.added", one, index, summary_index=0, part=empty),
        *(about("reasoning_summary_text.delta", one, index, summary_index=0, delta=letter) for letter in summary),
        about("reasoning_summary_text.done", one, index, summary_index=0, text=summary),
        about("reasoning_summary_part.done", one, index, summary_index=0, part=said),
        *(about("reasoning_text.delta", one, index, content_index=0, delta=letter) for letter in thoughts),
        about("reasoning_text.done", one, index, content_index=0, text=thoughts),
        done(ended(one, summary=[said], content=[thought]), index),
    ]


def numbered(events: Iterable[JSON], first: int = 0) -> list[JSON]:
    """The events with the numbers that a server gives them."""
    return [{**event, "sequence_number": number} for number, event in enumerate(events, first)]


def frames(events: Iterable[JSON], *, named: bool = True) -> list[Frame]:
    """The events as frames, with lines that name them or without."""
    return [
        Frame(event["type"] if named and "type" in event else "message", json.dumps(event).encode()) for event in events
    ]


def encoded(events: Iterable[JSON], *, named: bool = True) -> bytes:
    """The events as the bytes of a stream."""
    return b"".join(map(encode_frame, frames(events, named=named)))


class Folded(NamedTuple):
    """What a stream came to."""

    accumulator: Accumulator
    changes: list[Change]

    @property
    def codes(self) -> list[str]:
        """The anomalies."""
        return [one.code for one in self.accumulator.anomalies]

    @property
    def statuses(self) -> dict[str, list[str]]:
        """The statuses that each run, step and message took, in order. A message has its id with a star."""
        found: dict[str, list[str]] = {}
        for change in self.changes:
            if isinstance(change, RunTransition):
                found.setdefault(change.run_id, []).append(change.status)
            elif isinstance(change, StepTransition):
                found.setdefault(change.step_id, []).append(change.status)
            elif isinstance(change, MessageTransition):
                found.setdefault(f"{change.message_id}*", []).append(change.status)
        return found

    @property
    def texts(self) -> list[str]:
        """The text of each message."""
        return [message.text for message in self.accumulator.messages.values()]

    def kinds(self, kind: type[Change]) -> list[Any]:
        """The changes of a class."""
        return [change for change in self.changes if isinstance(change, kind)]


def fold(events: Iterable[JSON], accumulator: Accumulator | None = None, *, named: bool = True) -> Folded:
    """Fold a stream to its end."""
    into = Accumulator() if accumulator is None else accumulator
    changes = [change for frame in frames(events, named=named) for change in into.apply_frame(frame)]
    changes += [change for event in into.translation.finish() for change in into.apply(event)]
    return Folded(into, changes)


def whole(*parts: Sequence[JSON], end: JSON | None = None) -> list[JSON]:
    """A whole response around the events of its items."""
    events = [lifecycle("created"), lifecycle("in_progress"), *(event for part in parts for event in part)]
    items = [event["item"] for event in events if event["type"] == "response.output_item.done"]
    return numbered([*events, end or lifecycle("completed", *items)])


def frames_of(data: bytes) -> list[Frame]:
    """The frames of a stream."""
    return FrameDecoder().feed(data)
