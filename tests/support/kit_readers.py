"""Readers of AG-UI and of the AI SDK's stream: what their clients refuse, they refuse; what those hold, they hold.

Written after `verifyEvents` and `defaultApplyEvents` of `@ag-ui/client` 1.0.0, and `processUIMessageStream` of `ai` 7,
which tests marked slow run as they are.
"""

import json
from typing import Any, NamedTuple

from stepstream import Frame
from tests.support.json_values import JSON


class Call(NamedTuple):
    """A call as a reader holds it."""

    name: str
    input: Any
    result: Any


class Held(NamedTuple):
    """What a reader holds: by id, in order."""

    texts: dict[str, str]
    thoughts: dict[str, str]
    calls: dict[str, Call]
    end: str
    """success, waits, error, abort, length, …; empty while it goes on."""


class AgUiReader:
    """A reader of AG-UI."""

    def __init__(self) -> None:
        self.messages: list[JSON] = []
        self.open: dict[str, set[str]] = {"text": set(), "thought": set(), "span": set(), "call": set(), "step": set()}
        self.state: Any = None
        self.runs: list[JSON] = []
        self.is_running = False
        self.end = ""
        self.errors: list[JSON] = []
        self.types: list[str] = []

    def read(self, frame: Frame) -> None:
        assert (frame.event, frame.id) == ("message", "")
        assert not set(frame.data) & set(b"\r\n")
        event = json.loads(frame.data)
        assert None not in event.values(), event
        self.types.append(event["type"])
        kind = event["type"]
        assert self.end != "error", f"{kind} after an error"
        assert self.is_running or kind in ("RUN_STARTED", "RUN_ERROR"), f"{kind} while no run is open"
        getattr(self, kind.lower())(event)

    def opens(self, what: str, identifier: str) -> None:
        assert identifier not in self.open[what], f"{what} {identifier} is open"
        self.open[what].add(identifier)

    def closes(self, what: str, identifier: str) -> None:
        self.open[what].remove(identifier)

    def find(self, identifier: str) -> JSON | None:
        return next((one for one in self.messages if one["id"] == identifier), None)

    def owner(self, call_id: str) -> JSON | None:
        return next((one for one in self.messages if any(c["id"] == call_id for c in one.get("toolCalls", ()))), None)

    def run_started(self, event: JSON) -> None:
        assert not self.is_running
        self.is_running, self.end = True, ""
        for some in self.open.values():
            some.clear()
        self.runs.append(event)

    def run_finished(self, event: JSON) -> None:
        assert not any(self.open.values()), self.open
        assert event["runId"] == self.runs[-1]["runId"]
        outcome = event.get("outcome", {"type": "success"})
        assert outcome["type"] == "success" or outcome["interrupts"]
        self.is_running, self.end = False, {"success": "success", "interrupt": "waits"}[outcome["type"]]

    def run_error(self, event: JSON) -> None:
        self.is_running, self.end = False, "error"
        self.errors.append(event)

    def step_started(self, event: JSON) -> None:
        self.opens("step", event["stepName"])

    def step_finished(self, event: JSON) -> None:
        self.closes("step", event["stepName"])

    def state_snapshot(self, event: JSON) -> None:
        self.state = event["snapshot"]

    def state_delta(self, event: JSON) -> None:
        for change in event["delta"]:
            *path, last = [one.replace("~1", "/").replace("~0", "~") for one in change["path"].split("/")[1:]]
            holder = self.state
            for key in path:
                holder = holder[key]
            assert change["op"] == "add" or last in holder
            holder[last] = change["value"]

    def messages_snapshot(self, event: JSON) -> None:
        found = {one["id"]: one for one in event["messages"]}
        assert len(found) == len(event["messages"])
        self.messages = [found[one["id"]] for one in self.messages if one["id"] in found]
        known = {one["id"] for one in self.messages}
        self.messages += [one for one in event["messages"] if one["id"] not in known]

    def text_message_start(self, event: JSON) -> None:
        self.opens("text", event["messageId"])
        if self.find(event["messageId"]) is None:
            self.messages.append({"id": event["messageId"], "role": event["role"], "content": ""})

    def text_message_content(self, event: JSON) -> None:
        assert event["messageId"] in self.open["text"]
        assert event["delta"]
        found = self.find(event["messageId"])
        assert found is not None
        found["content"] = found.get("content", "") + event["delta"]

    def text_message_end(self, event: JSON) -> None:
        self.closes("text", event["messageId"])

    def reasoning_start(self, event: JSON) -> None:
        self.opens("span", event["messageId"])

    def reasoning_end(self, event: JSON) -> None:
        self.closes("span", event["messageId"])

    def reasoning_message_start(self, event: JSON) -> None:
        self.opens("thought", event["messageId"])
        if self.find(event["messageId"]) is None:
            self.messages.append({"id": event["messageId"], "role": event["role"], "content": ""})

    def reasoning_message_content(self, event: JSON) -> None:
        assert event["messageId"] in self.open["thought"]
        found = self.find(event["messageId"])
        assert found is not None
        found["content"] += event["delta"]

    def reasoning_message_end(self, event: JSON) -> None:
        self.closes("thought", event["messageId"])

    def tool_call_start(self, event: JSON) -> None:
        self.opens("call", event["toolCallId"])
        if self.owner(event["toolCallId"]) is not None:
            return
        owner = self.find(event["parentMessageId"])
        if owner is None:
            owner = {"id": event["parentMessageId"], "role": "assistant", "toolCalls": []}
            self.messages.append(owner)
        assert owner["role"] == "assistant"
        function = {"name": event["toolCallName"], "arguments": ""}
        owner.setdefault("toolCalls", []).append({"id": event["toolCallId"], "type": "function", "function": function})

    def tool_call_args(self, event: JSON) -> None:
        assert event["toolCallId"] in self.open["call"]
        owner = self.owner(event["toolCallId"])
        assert owner is not None
        call = next(one for one in owner["toolCalls"] if one["id"] == event["toolCallId"])
        call["function"]["arguments"] += event["delta"]

    def tool_call_end(self, event: JSON) -> None:
        self.closes("call", event["toolCallId"])

    def tool_call_result(self, event: JSON) -> None:
        assert self.find(event["messageId"]) is None, "a result comes once"
        owner = self.owner(event["toolCallId"])
        assert owner is not None
        place = self.messages.index(owner) + 1
        while place < len(self.messages) and self.messages[place]["role"] == "tool":
            place += 1
        message = {key: event[key] for key in ("role", "toolCallId", "content")}
        self.messages.insert(place, {"id": event["messageId"], **message})

    @property
    def held(self) -> Held:
        results = {one["toolCallId"]: one["content"] for one in self.messages if one["role"] == "tool"}
        calls = [call for one in self.messages for call in one.get("toolCalls", ())]
        named = {one["id"]: (one["function"]["name"], one["function"]["arguments"]) for one in calls}
        return Held(
            {one["id"]: one["content"] for one in self.messages if one["role"] == "assistant" and "content" in one},
            {one["id"]: one["content"] for one in self.messages if one["role"] == "reasoning"},
            {one: Call(*call, results.get(one)) for one, call in named.items()},
            self.end,
        )


class AiSdkReader:
    """A reader of the AI SDK's stream."""

    def __init__(self) -> None:
        self.parts: list[JSON] = []
        self.active: dict[str, JSON] = {}
        self.inputs: dict[str, str] = {}
        self.message_id = ""
        self.end = ""
        self.errors: list[str] = []
        self.types: list[str] = []

    def read(self, frame: Frame) -> None:
        chunk = json.loads(frame.data)
        kind = chunk["type"]
        assert self.types or kind in ("start", "error"), f"{kind} comes first"
        assert self.end not in ("error", "abort"), f"{kind} after {self.end}"
        self.types.append(kind)
        if kind.startswith("data-"):
            self.data(chunk)
        else:
            getattr(self, kind.replace("-", "_"))(chunk)

    def start(self, chunk: JSON) -> None:
        assert self.message_id in ("", chunk["messageId"])
        self.message_id, self.end = chunk["messageId"], ""

    def start_step(self, chunk: JSON) -> None:
        self.parts.append({"type": "step-start"})

    def finish_step(self, chunk: JSON) -> None:
        pass

    def finish(self, chunk: JSON) -> None:
        self.end = {"stop": "success", "tool-calls": "waits"}.get(chunk["finishReason"], chunk["finishReason"])
        assert not self.active

    def abort(self, chunk: JSON) -> None:
        self.end = "abort"
        assert not self.active

    def error(self, chunk: JSON) -> None:
        self.end = "error"
        assert not self.active
        self.errors.append(chunk["errorText"])

    def data(self, chunk: JSON) -> None:
        found = next((one for one in self.parts if (one["type"], one.get("id")) == (chunk["type"], chunk["id"])), None)
        if found is None:
            self.parts.append(chunk)
        else:
            found["data"] = chunk["data"]

    def _start(self, chunk: JSON, kind: str) -> None:
        assert chunk["id"] not in self.active
        self.active[chunk["id"]] = {"type": kind, "id": chunk["id"], "text": "", "state": "streaming"}
        self.parts.append(self.active[chunk["id"]])

    def text_start(self, chunk: JSON) -> None:
        self._start(chunk, "text")

    def reasoning_start(self, chunk: JSON) -> None:
        self._start(chunk, "reasoning")

    def text_delta(self, chunk: JSON) -> None:
        self.active[chunk["id"]]["text"] += chunk["delta"]

    def text_end(self, chunk: JSON) -> None:
        self.active.pop(chunk["id"])["state"] = "done"

    reasoning_delta, reasoning_end = text_delta, text_end

    def find(self, call_id: str) -> JSON:
        return next(one for one in reversed(self.parts) if one.get("toolCallId") == call_id)

    def tool_input_start(self, chunk: JSON) -> None:
        assert all(one.get("toolCallId") != chunk["toolCallId"] for one in self.parts)
        part = {"type": "call", "toolCallId": chunk["toolCallId"], "name": chunk["toolName"], "state": "streaming"}
        self.parts.append(part)
        self.inputs[chunk["toolCallId"]] = ""

    def tool_input_delta(self, chunk: JSON) -> None:
        assert self.find(chunk["toolCallId"])["state"] == "streaming"
        self.inputs[chunk["toolCallId"]] += chunk["inputTextDelta"]

    def tool_input_available(self, chunk: JSON) -> None:
        found = self.find(chunk["toolCallId"])
        assert found["state"] == "streaming"
        found.update(state="available", input=chunk["input"])

    def tool_approval_request(self, chunk: JSON) -> None:
        found = self.find(chunk["toolCallId"])
        assert found["state"] == "available"
        found["state"] = "approval"

    def tool_output_available(self, chunk: JSON) -> None:
        found = self.find(chunk["toolCallId"])
        assert found["state"] in ("available", "approval"), "a result comes once, after the input"
        found.update(state="output", output=chunk["output"])

    def tool_output_error(self, chunk: JSON) -> None:
        found = self.find(chunk["toolCallId"])
        found.update(state="failed", error=chunk["errorText"])

    @property
    def held(self) -> Held:
        calls = [one for one in self.parts if one["type"] == "call"]
        return Held(
            {one["id"]: one["text"] for one in self.parts if one["type"] == "text"},
            {one["id"]: one["text"] for one in self.parts if one["type"] == "reasoning"},
            {one["toolCallId"]: Call(one["name"], one.get("input"), one.get("output")) for one in calls},
            self.end,
        )
