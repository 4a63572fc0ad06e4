"""Acts → events: how each kind of step opens, grows and ends on the wire."""

import re
from collections.abc import Generator, Iterator
from typing import Final, assert_never

from stepstream.simulator import shapes
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
    Together,
)
from stepstream.simulator.shapes import JSON
from stepstream.simulator.stage import Beat, Stage, Step

_TOKEN: Final = re.compile(r"\s*(?:\w+|[^\w\s])|\s+")


def tokens(text: str) -> list[str]:
    """Cut `text` into pieces about as long as a model's tokens. Joined, they are `text` again."""
    return _TOKEN.findall(text)


def perform(stage: Stage, act: Hosted | Together) -> Iterator[Beat]:
    """Yield the events of an act that needs no answer of the client."""
    match act:
        case CodeInterpreter():
            return interpret(stage, act)
        case FileSearch():
            return search(stage, act)
        case ConnectedAgent():
            return delegate(stage, act)
        case ListTools():
            return list_tools(stage, act)
        case Answer():
            return answer(stage, act)
        case Together():
            return alternate(stage, act)
        case _:
            assert_never(act)


def alternate(stage: Stage, act: Together) -> Iterator[Beat]:
    """Yield the events of several acts in turns, until all are over."""
    playing = [perform(stage, one) for one in act.acts]
    for one in stage.turns(tuple(playing)):
        if not playing:
            return
        beat = next(one, None)
        if beat is not None:
            yield beat
        elif one in playing:
            playing.remove(one)


def interpret(stage: Stage, act: CodeInterpreter) -> Iterator[Beat]:
    """Yield a step in which code is written, prints and may draw."""
    kind = "code_interpreter"
    step = yield from stage.open(shapes.tool_calls([]), act.usage)
    call: JSON = {"index": 0, "type": kind}
    call_id = stage.new_id("call")
    yield stage.grow(step, {"index": 0, "id": call_id, "type": kind, kind: {"input": "", "outputs": []}})
    for piece in tokens(act.code):
        yield stage.grow(step, {**call, kind: {"input": piece}})
    outputs: list[JSON] = [{"type": "logs", "logs": "".join(act.logs)}]
    delay: float | None = act.seconds
    for logs in act.logs:
        yield stage.grow(step, {**call, kind: {"outputs": [{"index": 0, "type": "logs", "logs": logs}]}}, delay)
        delay = None
    if act.image_file_id is not None:
        outputs.append({"type": "image", "image": {"file_id": act.image_file_id}})
        yield stage.grow(step, {**call, kind: {"outputs": [{"index": 1, **outputs[1]}]}})
    whole = {"id": call_id, "type": kind, kind: {"input": act.code, "outputs": outputs}}
    status = "completed" if act.failure is None else "failed"
    yield stage.end(step, shapes.tool_calls([whole]), status=status, failure=act.failure)


def search(stage: Stage, act: FileSearch) -> Iterator[Beat]:
    """Yield a step that searches files: deltas repeat the whole call, only the completed step has the results."""
    kind = "file_search"
    step = yield from stage.open(shapes.tool_calls([]), act.usage)
    call = {"id": stage.new_id("call"), "type": kind}
    for number in range(act.repeats):
        delay = act.seconds if number else None
        yield stage.grow(step, {"index": 0, **call, kind: shapes.search(())}, delay)
    yield stage.end(step, shapes.tool_calls([{**call, kind: shapes.search(act.results)}]))


def delegate(stage: Stage, act: ConnectedAgent) -> Iterator[Beat]:
    """Yield a step that another agent works on, its payload under the key of its type."""
    kind = "connected_agent"
    step = yield from stage.open(shapes.tool_calls([]), act.usage)
    call, asked = {"id": stage.new_id("call"), "type": kind}, {"name": act.name, "arguments": act.arguments}
    yield stage.grow(step, {"index": 0, **call, kind: {"name": act.name, "arguments": ""}})
    for piece in tokens(act.arguments):
        yield stage.grow(step, {"index": 0, "type": kind, kind: {"arguments": piece}})
    yield stage.end(step, shapes.tool_calls([{**call, kind: {**asked, "output": act.output}}]), delay=act.seconds)


def list_tools(stage: Stage, act: ListTools) -> Iterator[Beat]:
    """Yield a step that lists the tools of an MCP server."""
    step = stage.new_step({}, act.usage)
    step.opening = shapes.activities(stage.new_id("mcpl"), act)
    yield from stage.announce(step)
    yield stage.end(step)


def answer(stage: Stage, act: Answer) -> Iterator[Beat]:
    """Yield a step that writes a message, and the message's own events inside it."""
    step = stage.new_step({}, act.usage)
    message_id = stage.new_id("msg")
    step.opening = shapes.message_creation(message_id)
    yield from stage.announce(step)
    message = yield from stage.open_message(step, message_id)
    value, citations = "", list[JSON]()
    for piece, cited in _pieces(act.parts):
        text: JSON = {"value": piece}
        if cited is not None:
            text["annotations"] = [{"index": len(citations), **cited}]
            citations.append(cited)
        elif not value:
            text["annotations"] = []
        value += piece
        yield stage.grow_message(message, {"index": 0, "type": "text", "text": text})
    yield stage.end_message(message, [{"type": "text", "text": {"value": value, "annotations": citations}}])
    yield stage.end(step)


def _pieces(parts: tuple[str | Citation, ...]) -> Iterator[tuple[str, JSON | None]]:
    """Yield an answer's text in pieces, each with the citation whose mark it is, or None."""
    written = 0
    for part in parts:
        if isinstance(part, Citation):
            yield part.mark, shapes.citation(part.mark, part.file_id, written)
            written += len(part.mark)
        else:
            yield from ((piece, None) for piece in tokens(part))
            written += len(part)


def ask(stage: Stage, act: FunctionCalls) -> Generator[Beat, None, tuple[Step, list[JSON]]]:
    """Yield a step of function calls whose arguments grow in turns. Return it, still open, with its full calls."""
    step = yield from stage.open(shapes.tool_calls([]), act.usage)
    calls: list[JSON] = []
    for index, asked in enumerate(act.calls):
        call: JSON = {"id": stage.new_id("call"), "type": "function"}
        opening = {"name": asked.name, "arguments": "", "output": None}
        calls.append({**call, "function": {**opening, "arguments": asked.arguments}})
        yield stage.grow(step, {"index": index, **call, "function": opening})
    growing = {index: iter(tokens(asked.arguments)) for index, asked in enumerate(act.calls)}
    for index in stage.turns(tuple(growing)):
        if not growing:
            break
        piece = next(growing[index], None) if index in growing else None
        if piece is not None:
            yield stage.grow(step, {"index": index, "type": "function", "function": {"arguments": piece}})
        else:
            growing.pop(index, None)
    return step, calls


def ask_approval(stage: Stage, act: McpCall) -> Generator[Beat, None, tuple[Step, list[JSON]]]:
    """Yield a step of one MCP call, flat as Azure sends it. Return it, still open, with its full calls."""
    step = yield from stage.open(shapes.tool_calls([]), act.usage)
    call: JSON = {
        "id": stage.new_id("call"),
        "type": "mcp",
        "arguments": act.arguments,
        "name": act.name,
        "output": None,
        "server_label": act.server_label,
    }
    yield stage.grow(step, {"index": 0, **call})
    return step, [call]


def call_tool(stage: Stage, act: McpCall, step: Step, calls: list[JSON], *, approved: bool) -> Iterator[Beat]:
    """Yield what follows the approval: the step once more, its end without output, and the output after it."""
    yield from stage.announce(step)
    yield stage.end(step, shapes.tool_calls(calls), delay=act.seconds)
    if approved and step.ended is not None:
        filled = [{**call, "output": act.output} for call in calls]
        step.ended = {**step.ended, "step_details": shapes.tool_calls(filled)}
        details = shapes.tool_calls([{"index": 0, "id": calls[0]["id"], "type": "mcp", "output": act.output}])
        yield stage.beat("thread.run.step.delta", shapes.step_delta(step.id, details))
