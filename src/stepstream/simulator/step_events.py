"""Acts → events: how each kind of step opens, grows and ends on the wire. One function for each kind of act."""

import re
from collections.abc import Generator, Iterator
from typing import Final, TypeAlias, assert_never

from stepstream.simulator import nested, objects
from stepstream.simulator.event_writer import EventWriter, StepState
from stepstream.simulator.objects import JSON
from stepstream.simulator.scenario import (
    Answer,
    Citation,
    CodeInterpreter,
    ConnectedAgent,
    FileSearch,
    FunctionCalls,
    Hosted,
    ListTools,
    McpCall,
    Reasoning,
    Together,
)
from stepstream.simulator.stamps import Stamps
from stepstream.simulator.timed_event import TimedEvent

StepWithCalls: TypeAlias = tuple[StepState, list[JSON]]
"""An open step, and its calls in full."""

_TOKEN: Final = re.compile(r"\s*(?:\w+|[^\w\s])|\s+")


def tokens(text: str) -> list[str]:
    """Cut `text` into pieces about as long as a model's tokens. Joined, they are `text` again."""
    return _TOKEN.findall(text)


def hosted_events(writer: EventWriter, act: Hosted | Together) -> Iterator[TimedEvent]:
    """Yield the events of an act that needs no answer of the client."""
    match act:
        case CodeInterpreter():
            return code_interpreter_events(writer, act)
        case FileSearch():
            return file_search_events(writer, act)
        case ConnectedAgent():
            return connected_agent_events(writer, act)
        case ListTools():
            return list_tools_events(writer, act)
        case Answer():
            return answer_events(writer, act)
        case Together():
            return taking_turns(writer, [hosted_events(writer, one) for one in act.acts])
        case Reasoning():
            return iter(())  # this API does not tell it
        case _:
            assert_never(act)


def taking_turns(writer: Stamps, running: list[Iterator[TimedEvent]]) -> Iterator[TimedEvent]:
    """Yield events of several origins in turns, until all are over."""
    for one in writer.alternate(tuple(running)):
        if not running:
            return
        event = next(one, None)
        if event is not None:
            yield event
        elif one in running:
            running.remove(one)


def code_interpreter_events(writer: EventWriter, act: CodeInterpreter) -> Iterator[TimedEvent]:
    """Yield a step in which code is written, prints and may draw."""
    kind = "code_interpreter"
    step = yield from writer.open_step(nested.tool_calls([]), act.usage)
    call: JSON = {"index": 0, "type": kind}
    call_id = writer.new_id("call")
    yield writer.call_delta(step, {"index": 0, "id": call_id, "type": kind, kind: {"input": "", "outputs": []}})
    for piece in tokens(act.code):
        yield writer.call_delta(step, {**call, kind: {"input": piece}})
    outputs: list[JSON] = [{"type": "logs", "logs": "".join(act.logs)}]
    delay: float | None = act.seconds
    for logs in act.logs:
        yield writer.call_delta(step, {**call, kind: {"outputs": [{"index": 0, "type": "logs", "logs": logs}]}}, delay)
        delay = None
    if act.image_file_id is not None:
        outputs.append({"type": "image", "image": {"file_id": act.image_file_id}})
        yield writer.call_delta(step, {**call, kind: {"outputs": [{"index": 1, **outputs[1]}]}})
    whole = {"id": call_id, "type": kind, kind: {"input": act.code, "outputs": outputs}}
    status = "completed" if act.failure is None else "failed"
    yield writer.end_step(step, nested.tool_calls([whole]), status=status, failure=act.failure)


def file_search_events(writer: EventWriter, act: FileSearch) -> Iterator[TimedEvent]:
    """Yield a step that searches files: deltas repeat the whole call, only the completed step has the results."""
    kind = "file_search"
    step = yield from writer.open_step(nested.tool_calls([]), act.usage)
    call = {"id": writer.new_id("call"), "type": kind}
    for number in range(act.repeats):
        delay = act.seconds if number else None
        yield writer.call_delta(step, {"index": 0, **call, kind: nested.search(())}, delay)
    yield writer.end_step(step, nested.tool_calls([{**call, kind: nested.search(act.results)}]))


def connected_agent_events(writer: EventWriter, act: ConnectedAgent) -> Iterator[TimedEvent]:
    """Yield a step in which another agent answers, its payload under the key of its type."""
    kind = "connected_agent"
    step = yield from writer.open_step(nested.tool_calls([]), act.usage)
    call, asked = {"id": writer.new_id("call"), "type": kind}, {"name": act.name, "arguments": act.arguments}
    yield writer.call_delta(step, {"index": 0, **call, kind: {"name": act.name, "arguments": ""}})
    for piece in tokens(act.arguments):
        yield writer.call_delta(step, {"index": 0, "type": kind, kind: {"arguments": piece}})
    yield writer.end_step(step, nested.tool_calls([{**call, kind: {**asked, "output": act.output}}]), delay=act.seconds)


def list_tools_events(writer: EventWriter, act: ListTools) -> Iterator[TimedEvent]:
    """Yield a step that lists the tools of an MCP server."""
    step = writer.new_step({}, act.usage)
    step.initial = nested.activities(writer.new_id("mcpl"), act)
    yield from writer.start_step(step)
    yield writer.end_step(step)


def answer_events(writer: EventWriter, act: Answer) -> Iterator[TimedEvent]:
    """Yield a step that writes a message, and the message's own events inside it."""
    step = writer.new_step({}, act.usage)
    message_id = writer.new_id("msg")
    step.initial = nested.message_creation(message_id)
    yield from writer.start_step(step)
    message = yield from writer.open_message(step, message_id)
    value, citations = "", list[JSON]()
    for piece, cited in _pieces(act.parts):
        text: JSON = {"value": piece}
        if cited is not None:
            text["annotations"] = [{"index": len(citations), **cited}]
            citations.append(cited)
        elif not value:
            text["annotations"] = []
        value += piece
        yield writer.content_delta(message, {"index": 0, "type": "text", "text": text})
    yield writer.end_message(message, [{"type": "text", "text": {"value": value, "annotations": citations}}])
    yield writer.end_step(step)


def _pieces(parts: tuple[str | Citation, ...]) -> Iterator[tuple[str, JSON | None]]:
    """Yield an answer's text in pieces, each with the citation whose mark it is, or None."""
    written = 0
    for part in parts:
        if isinstance(part, Citation):
            yield part.mark, nested.citation(part.mark, part.file_id, written)
            written += len(part.mark)
        else:
            yield from ((piece, None) for piece in tokens(part))
            written += len(part)


def function_call_events(writer: EventWriter, act: FunctionCalls) -> Generator[TimedEvent, None, StepWithCalls]:
    """Yield a step of function calls whose arguments grow in turns. Return it, still open, with its full calls."""
    step = yield from writer.open_step(nested.tool_calls([]), act.usage)
    calls: list[JSON] = []
    for index, asked in enumerate(act.calls):
        call: JSON = {"id": writer.new_id("call"), "type": "function"}
        opening = {"name": asked.name, "arguments": "", "output": None}
        calls.append({**call, "function": {**opening, "arguments": asked.arguments}})
        yield writer.call_delta(step, {"index": index, **call, "function": opening})
    growing = {index: iter(tokens(asked.arguments)) for index, asked in enumerate(act.calls)}
    for index in writer.alternate(tuple(growing)):
        if not growing:
            break
        piece = next(growing[index], None) if index in growing else None
        if piece is not None:
            yield writer.call_delta(step, {"index": index, "type": "function", "function": {"arguments": piece}})
        else:
            growing.pop(index, None)
    return step, calls


def approval_events(writer: EventWriter, act: McpCall) -> Generator[TimedEvent, None, StepWithCalls]:
    """Yield a step of one MCP call, flat as Azure sends it. Return it, still open, with its full calls."""
    step = yield from writer.open_step(nested.tool_calls([]), act.usage)
    call: JSON = {
        "id": writer.new_id("call"),
        "type": "mcp",
        "arguments": act.arguments,
        "name": act.name,
        "output": None,
        "server_label": act.server_label,
    }
    yield writer.call_delta(step, {"index": 0, **call})
    return step, [call]


def tool_result_events(
    writer: EventWriter, act: McpCall, step: StepState, calls: list[JSON], *, approved: bool
) -> Iterator[TimedEvent]:
    """Yield what follows the approval: the step once more, its end without output, and the output after it."""
    yield from writer.start_step(step)
    yield writer.end_step(step, nested.tool_calls(calls), delay=act.seconds)
    if approved and step.ended is not None:
        filled = [{**call, "output": act.output} for call in calls]
        step.ended = {**step.ended, "step_details": nested.tool_calls(filled)}
        details = nested.tool_calls([{"index": 0, "id": calls[0]["id"], "type": "mcp", "output": act.output}])
        yield writer.event("thread.run.step.delta", objects.step_delta(step.id, details))
