"""A Responses stream without a fault, and what plants one in it beside the edits of `conforming_streams`."""

import json
from collections.abc import Iterable
from typing import Any

from stepstream.conformance.deviation import Deviation
from stepstream.conformance.responses.checker import ResponsesChecker
from tests.support.conforming_streams import Edit, Sent, frames
from tests.support.json_values import JSON
from tests.support.response_streams import calling, ended, item, lifecycle, numbered, thinking, whole, writing

USAGE = {"input_tokens": 30, "output_tokens": 12, "total_tokens": 42}


def sent(events: Iterable[JSON]) -> list[Sent]:
    """The events as they are sent, each response with the fields that it must have."""
    found = [Sent(one["type"], json.loads(json.dumps(one))) for one in numbered(events)]  # which share nothing
    for one in found:
        if "response" in one.data:
            one.data["response"] = {"model": "m", "error": None, **one.data["response"]}
    return found


def settled(*parts: list[JSON]) -> list[Any]:
    """The last objects of items."""
    return [one["item"] for part in parts for one in part if one["type"] == "response.output_item.done"]


THOUGHT = thinking("ab", "cd")
WROTE = writing("One", index=1)
CALLED = calling("{}", index=2)
STREAM = sent(whole(THOUGHT, WROTE, CALLED, end=lifecycle("completed", *settled(THOUGHT, WROTE, CALLED), usage=USAGE)))
"""Reasoning (events 3 to 12), a message (13 to 20) and a call (21 to 25): 26 events."""

FAILED = sent(
    [*whole(writing("One"))[:-1], lifecycle("failed", error={"code": "server_error", "message": "It broke."})]
)

SEARCH = item("web_search_call", action={})
SEARCHED = sent(
    whole(
        [
            {"type": "response.output_item.added", "output_index": 0, "item": SEARCH},
            {"type": "response.web_search_call.searching", "output_index": 0, "item_id": SEARCH["id"]},
            {"type": "response.output_item.done", "output_index": 0, "item": ended(SEARCH)},
        ]
    )
)
"""A search: 6 events."""


def check_response(events: Iterable[Sent]) -> list[Deviation]:
    """Return all deviations of a stream."""
    checker = ResponsesChecker()
    found = [deviation for frame in frames(events) for deviation in checker.feed(frame)]
    return found + checker.finish()


def renumber(events: list[Sent]) -> None:
    """Number the events anew: what was taken out or put in is no gap then."""
    for number, one in enumerate(events):
        if isinstance(one.data, dict):
            one.data["sequence_number"] = number


def each_event(edit: Any) -> Edit:
    """Change the data of every event."""

    def change(events: list[Sent]) -> None:
        for one in events:
            edit(one.data)

    return change
