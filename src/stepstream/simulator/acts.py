"""Acts → events: how each kind of step opens, grows and ends on the wire."""

import re
from collections.abc import Generator, Iterator
from itertools import zip_longest
from typing import Final

from stepstream.simulator import shapes
from stepstream.simulator.scenario import Answer, Citation, CodeInterpreter, FileSearch, FunctionCalls
from stepstream.simulator.shapes import JSON
from stepstream.simulator.stage import DELAYS, Beat, Stage, Step

_TOKEN: Final = re.compile(r"\s*(?:\w+|[^\w\s])|\s+")


def tokens(text: str) -> list[str]:
    """Cut `text` into pieces about as long as a model's tokens. Joined, they are `text` again."""
    return _TOKEN.findall(text)


def interpret(stage: Stage, act: CodeInterpreter) -> Iterator[Beat]:
    """Yield a step in which code is written, prints and draws."""
    kind = "code_interpreter"
    step, call_id = stage.new_step(), stage.new_id("call")
    yield from stage.open(step, shapes.tool_calls([]))
    yield stage.grow(step, kind, {"input": "", "outputs": []}, call_id)
    for piece in tokens(act.code):
        yield stage.grow(step, kind, {"input": piece})
    delay = act.seconds
    for logs in act.logs:
        yield stage.grow(step, kind, {"outputs": [{"index": 0, "type": "logs", "logs": logs}]}, delay=delay)
        delay = DELAYS["thread.run.step.delta"]
    image = {"type": "image", "image": {"file_id": act.image_file_id}}
    yield stage.grow(step, kind, {"outputs": [{"index": 1, **image}]})
    outputs = [{"type": "logs", "logs": "".join(act.logs)}, image]
    call = {"id": call_id, "type": kind, kind: {"input": act.code, "outputs": outputs}}
    yield stage.close(step, shapes.tool_calls([call]), act.usage)


def ask(stage: Stage, act: FunctionCalls) -> Generator[Beat, None, tuple[Step, list[JSON]]]:
    """Yield a step of function calls whose arguments grow in turns. Return it, still open, with its full calls."""
    step = stage.new_step()
    yield from stage.open(step, shapes.tool_calls([]))
    calls: list[JSON] = []
    for index, asked in enumerate(act.calls):
        opening = {"name": asked.name, "arguments": "", "output": None}
        call_id = stage.new_id("call")
        calls.append({"id": call_id, "type": "function", "function": {**opening, "arguments": asked.arguments}})
        yield stage.grow(step, "function", opening, call_id, index=index)
    for pieces in zip_longest(*(tokens(asked.arguments) for asked in act.calls)):
        for index, piece in enumerate(pieces):
            if piece is not None:
                yield stage.grow(step, "function", {"arguments": piece}, index=index)
    return step, calls


def search(stage: Stage, act: FileSearch) -> Iterator[Beat]:
    """Yield a step that searches files: deltas repeat the whole call, only the completed step has the results."""
    kind = "file_search"
    step, call_id = stage.new_step(), stage.new_id("call")
    yield from stage.open(step, shapes.tool_calls([]))
    for delay in (None, act.seconds):
        yield stage.grow(step, kind, shapes.search(()), call_id, delay=delay)
    call = {"id": call_id, "type": kind, kind: shapes.search(act.results)}
    yield stage.close(step, shapes.tool_calls([call]), act.usage)


def answer(stage: Stage, act: Answer) -> Iterator[Beat]:
    """Yield a step that writes a message, and the message's own events inside it."""
    step, message_id = stage.new_step(), stage.new_id("msg")
    details = shapes.message_creation(message_id)
    yield from stage.open(step, details)
    for name in ("created", "in_progress"):
        message = shapes.message(stage.owner, message_id, step.created_at, [])
        yield stage.beat(f"thread.message.{name}", message)
    value, citations = "", list[JSON]()
    for piece, cited in _pieces(act.parts):
        text: JSON = {"value": piece}
        if cited is not None:
            text["annotations"] = [{"index": len(citations), **cited}]
            citations.append(cited)
        elif not value:
            text["annotations"] = []
        value += piece
        yield stage.beat("thread.message.delta", shapes.message_delta(message_id, text))
    content = [{"type": "text", "text": {"value": value, "annotations": citations}}]
    message = shapes.message(stage.owner, message_id, step.created_at, content, completed_at=stage.now())
    yield stage.beat("thread.message.completed", message)
    yield stage.close(step, details, act.usage)


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
