"""Acts → events: how each kind of act opens, grows and ends its output items. One function for each kind of act."""

from collections.abc import Generator, Iterator
from typing import assert_never

from stepstream.simulator.objects import JSON
from stepstream.simulator.responses import objects
from stepstream.simulator.responses.writer import ResponseWriter
from stepstream.simulator.scenario import (
    Act,
    Answer,
    Citation,
    CodeInterpreter,
    ConnectedAgent,
    FileSearch,
    FunctionCall,
    FunctionCalls,
    ListTools,
    McpCall,
    Reasoning,
    Together,
)
from stepstream.simulator.step_events import taking_turns, tokens
from stepstream.simulator.timed_event import TimedEvent


def act_events(writer: ResponseWriter, act: Act) -> Iterator[TimedEvent]:
    """Yield the events of an act, of one that needs an answer of the client: up to where it waits."""
    match act:
        case CodeInterpreter():
            return code_interpreter_events(writer, act)
        case FileSearch():
            return file_search_events(writer, act)
        case ConnectedAgent():
            return connected_agent_events(writer, act)
        case ListTools():
            return list_tools_events(writer, act)
        case Reasoning():
            return reasoning_events(writer, act)
        case Answer():
            return answer_events(writer, act)
        case FunctionCalls():
            return taking_turns(writer, [function_call_events(writer, call) for call in act.calls])
        case McpCall():
            return approval_events(writer, act)
        case Together():
            return taking_turns(writer, [act_events(writer, one) for one in act.acts])
        case _:
            assert_never(act)


def code_interpreter_events(writer: ResponseWriter, act: CodeInterpreter) -> Iterator[TimedEvent]:
    """Yield a call whose code grows. Only its end says what it printed and drew."""
    container = {"container_id": writer.new_id("cntr"), "code": "", "outputs": None}
    item = yield from writer.open_item("code_interpreter_call", "ci", **container)
    yield writer.move_on(item, "in_progress")
    yield from writer.grow(item, tokens(act.code))
    yield from writer.end_text(item)
    yield writer.move_on(item, "interpreting")
    outputs: list[JSON] = [{"type": "logs", "logs": "".join(act.logs)}]
    if act.image_file_id is not None:
        outputs.append({"type": "image", "url": f"https://files.example/{act.image_file_id}"})
    if act.failure is None:
        yield writer.move_on(item, "completed", act.seconds)
    yield writer.end_item(item, "completed" if act.failure is None else "failed", outputs=outputs)


def file_search_events(writer: ResponseWriter, act: FileSearch) -> Iterator[TimedEvent]:
    """Yield a call that searches files. Only its end has the results."""
    item = yield from writer.open_item("file_search_call", "fs", queries=[], results=None)
    for phase in ("in_progress", *["searching"] * act.repeats):
        yield writer.move_on(item, phase)
    yield writer.move_on(item, "completed", act.seconds)
    yield writer.end_item(item, results=objects.search_results(act.results))


def connected_agent_events(writer: ResponseWriter, act: ConnectedAgent) -> Iterator[TimedEvent]:
    """Yield a call of another agent, and its answer as an item of its own, as Azure has them."""
    call: JSON = {"call_id": writer.new_id("call"), "name": act.name}
    item = yield from writer.open_item("a2a_preview_call", "a2a", **call, arguments=act.arguments)
    yield writer.end_item(item)
    answer = yield from writer.open_item("a2a_preview_call_output", "a2ao", **call, output=None)
    yield writer.end_item(answer, delay=act.seconds, output=act.output)


def list_tools_events(writer: ResponseWriter, act: ListTools) -> Iterator[TimedEvent]:
    """Yield the tools of an MCP server."""
    item = yield from writer.open_item("mcp_list_tools", "mcpl", server_label=act.server_label, tools=[])
    yield writer.move_on(item, "in_progress")
    yield writer.move_on(item, "completed")
    yield writer.end_item(item, tools=objects.listed_tools(act.tools))


def reasoning_events(writer: ResponseWriter, act: Reasoning) -> Iterator[TimedEvent]:
    """Yield a reasoning item whose summary grows."""
    item = yield from writer.open_item("reasoning", "rs", summary=[])
    yield writer.open_part(item)
    yield from writer.grow(item, tokens(act.summary))
    yield from writer.end_text(item)
    yield writer.end_item(item)


def answer_events(writer: ResponseWriter, act: Answer) -> Iterator[TimedEvent]:
    """Yield a message. Citations are annotations at their places: the marks of the other API are not in its text."""
    item = yield from writer.open_item("message", "msg", content=[], role="assistant")
    yield writer.open_part(item)
    written = 0
    for part in act.parts:
        if isinstance(part, Citation):
            yield writer.annotate(item, objects.citation(part.file_id, written))
        else:
            written += len(part)
            yield from writer.grow(item, tokens(part))
    yield from writer.end_text(item)
    yield writer.end_item(item)


def function_call_events(writer: ResponseWriter, call: FunctionCall) -> Iterator[TimedEvent]:
    """Yield a function call whose arguments grow."""
    fields = {"arguments": "", "call_id": writer.new_id("call"), "name": call.name}
    item = yield from writer.open_item("function_call", "fc", **fields)
    yield from writer.grow(item, tokens(call.arguments))
    yield from writer.end_text(item)
    yield writer.end_item(item)


def approval_events(writer: ResponseWriter, act: McpCall) -> Generator[TimedEvent]:
    """Yield the request to approve an MCP call."""
    asked = {"arguments": act.arguments, "name": act.name, "server_label": act.server_label}
    item = yield from writer.open_item("mcp_approval_request", "mcpr", **asked)
    yield writer.end_item(item)


def approved_call_events(writer: ResponseWriter, act: McpCall, request_id: str) -> Iterator[TimedEvent]:
    """Yield the MCP call that the client has approved."""
    asked = {"arguments": "", "error": None, "name": act.name, "output": None, "server_label": act.server_label}
    item = yield from writer.open_item("mcp_call", "mcp", approval_request_id=request_id, **asked)
    yield writer.move_on(item, "in_progress")
    yield from writer.grow(item, tokens(act.arguments))
    yield from writer.end_text(item)
    yield writer.move_on(item, "completed", act.seconds)
    yield writer.end_item(item, output=act.output)
