"""Small streams of runs, sources of them, and a callback that records the changes."""

import json
from collections.abc import AsyncGenerator, AsyncIterator, Awaitable, Iterable
from contextlib import aclosing
from inspect import iscoroutinefunction
from typing import Any

import anyio
import anyio.lowlevel

from stepstream import Event, Frame, Outcome, Processor, StreamTruncated, decode_event, encode_frame
from stepstream.live.registration import CLASSES
from tests.support.json_values import JSON

Sent = tuple[str, JSON | None]

DONE: Sent = ("done", None)


def run(status: str, number: int = 1, **more: Any) -> Sent:
    """The event of a run, named after its status."""
    body = {"id": f"run_{number}", "object": "thread.run", "thread_id": f"thread_{number}", "status": status, **more}
    return (f"thread.run.{'created' if status == 'queued' else status}", body)


def step(name: str, number: int = 1, *, step_id: str | None = None, calls: Iterable[JSON] = (), **more: Any) -> Sent:
    """The event of a tool-calling step, by the last word of its name."""
    body = {
        "id": step_id or f"step_{number}",
        "object": "thread.run.step",
        "run_id": f"run_{number}",
        "thread_id": f"thread_{number}",
        "type": "tool_calls",
        "status": "in_progress" if name == "created" else name,
        "step_details": {"type": "tool_calls", "tool_calls": [*calls]},
        **more,
    }
    return (f"thread.run.step.{name}", body)


def writing(name: str, number: int = 1) -> Sent:
    """The event of a step that writes a message."""
    details = {"type": "message_creation", "message_creation": {"message_id": f"msg_{number}"}}
    return step(name, number, step_id=f"writing_{number}", type="message_creation", step_details=details)


def call(number: int = 1, arguments: str = "", output: str | None = None) -> JSON:
    """A call of the function `add`."""
    function = {"name": "add", "arguments": arguments, "output": output}
    return {"id": f"call_{number}", "type": "function", "function": function}


def grows(arguments: str, number: int = 1, *, step_id: str | None = None) -> Sent:
    """A delta that adds to the arguments of a step's first call."""
    entry = {"index": 0, "type": "function", "function": {"arguments": arguments}}
    return _delta(step_id or f"step_{number}", entry)


def opens(number: int = 1, *, step_id: str | None = None) -> Sent:
    """A delta that opens a step's first call."""
    return _delta(step_id or f"step_{number}", {"index": 0, **call(number)})


def _delta(step_id: str, entry: JSON) -> Sent:
    details = {"type": "tool_calls", "tool_calls": [entry]}
    body = {"id": step_id, "object": "thread.run.step.delta", "delta": {"step_details": details}}
    return ("thread.run.step.delta", body)


def message(name: str, number: int = 1, text: str = "") -> Sent:
    """The event of a message."""
    content = [{"type": "text", "text": {"value": text, "annotations": []}}] if text else []
    status = "in_progress" if name == "created" else name
    body = {"id": f"msg_{number}", "run_id": f"run_{number}", "status": status, "role": "assistant", "content": content}
    return (f"thread.message.{name}", {"object": "thread.message", "thread_id": f"thread_{number}", **body})


def says(text: str, number: int = 1) -> Sent:
    """A delta that adds to a message."""
    content = [{"index": 0, "type": "text", "text": {"value": text}}]
    body = {"id": f"msg_{number}", "object": "thread.message.delta", "delta": {"content": content}}
    return ("thread.message.delta", body)


USAGE = {"prompt_tokens": 5, "completion_tokens": 2, "total_tokens": 7}


def play(number: int = 1) -> list[Sent]:
    """A run that calls a function, writes a message and completes: fifteen events."""
    return [
        run("queued", number),
        run("in_progress", number),
        step("created", number),
        opens(number),
        grows('{"a":', number),
        grows("1}", number),
        step("completed", number, calls=[call(number, '{"a":1}', "2")]),
        writing("created", number),
        message("created", number),
        says("It is", number),
        says(" 2.", number),
        message("completed", number, "It is 2."),
        writing("completed", number),
        run("completed", number, usage=USAGE),
        DONE,
    ]


def sketch(number: int = 1) -> list[Sent]:
    """A run with one step that comes and completes: five events."""
    return [run("queued", number), step("created", number), step("completed", number), run("completed", number), DONE]


def frames(sent: Iterable[Sent]) -> list[Frame]:
    return [Frame(name, b"[DONE]" if body is None else json.dumps(body).encode()) for name, body in sent]


def events(sent: Iterable[Sent]) -> list[Event]:
    return [decode_event(frame) for frame in frames(sent)]


def sse(sent: Iterable[Sent]) -> bytes:
    """The bytes of a stream."""
    return b"".join(encode_frame(frame) for frame in frames(sent))


async def source(*items: Any) -> AsyncGenerator[Any, None]:
    """Yield the items. An event of anyio is waited for, a function is called and awaited, an exception raised."""
    for item in items:
        if isinstance(item, anyio.Event):
            await item.wait()
        elif iscoroutinefunction(item):
            await item()
        elif isinstance(item, Exception):
            raise item
        else:
            yield item


async def with_pauses(chunks: Iterable[bytes], every: int) -> AsyncGenerator[bytes, None]:
    """Yield the chunks of a stream, with a pause before every so many of them."""
    for place, chunk in enumerate(chunks):
        if place % every == 0:
            await anyio.lowlevel.checkpoint()
        yield chunk


def played(sent: Iterable[Sent]) -> AsyncGenerator[Any, None]:
    """A source of the bytes of a stream, each event a chunk."""
    return source(*(encode_frame(frame) for frame in frames(sent)))


class Tape:
    """A source that notes how far it was read and whether it was closed."""

    def __init__(self, *items: Any) -> None:
        self._items = items
        self.read = 0
        self.is_closed = False

    async def __aiter__(self) -> AsyncGenerator[Any, None]:
        try:
            async with aclosing(source(*self._items)) as items:
                async for item in items:
                    self.read += 1
                    yield item
        finally:
            self.is_closed = True


class Opened:
    """A source that is a context manager."""

    def __init__(self, *items: Any, closing: Exception | None = None) -> None:
        self._items = items
        self._closing = closing
        self.seen: list[Any] = []

    async def __aenter__(self) -> AsyncIterator[Any]:
        return source(*self._items)

    async def __aexit__(self, kind: object, exc: object, traceback: object) -> None:
        self.seen.append(exc)
        if self._closing is not None:
            raise self._closing


class Audience(list[Any]):
    """A callback that notes every change it gets. With a gate, it waits there first, at every change."""

    def __init__(self, gate: anyio.Event | None = None) -> None:
        super().__init__()
        self._gate = gate

    async def __call__(self, change: Any) -> None:
        if self._gate is not None:
            await self._gate.wait()
        self.append(change)


class SlowAudience(Audience):
    """A callback that pauses before it notes a change."""

    async def __call__(self, change: Any) -> None:
        await anyio.lowlevel.checkpoint()
        await super().__call__(change)


def told(changes: Iterable[Any]) -> list[tuple[str, int]]:
    """The changes in short: class and ordinal of the event."""
    return [(type(change).__name__, change.sequence) for change in changes]


async def told_of(sent: Iterable[Sent]) -> list[tuple[str, int]]:
    """All that a stream does, in short."""
    audience = Audience()
    async with Processor() as processor:
        processor.add(CLASSES, audience)
        await processor.run(played(sent))
    return told(audience)


async def as_far_as_it_came(running: Awaitable[Outcome]) -> Outcome:
    """The outcome of a stream, even where it is truncated."""
    try:
        return await running
    except StreamTruncated as error:
        if error.outcome is None:
            raise
        return error.outcome
