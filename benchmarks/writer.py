"""Writes one stream, event by event, and remembers what must come of it."""

import random
from collections.abc import Callable, Iterable, Iterator
from dataclasses import dataclass
from typing import Any, Final

from benchmarks import objects

CHUNK_SIZE: Final = 4096
STEP_DELTA: Final = "thread.run.step.delta"
MESSAGE_DELTA: Final = "thread.message.delta"
TEXT_DELTA: Final = "response.output_text.delta"
CALL_DELTA: Final = "response.function_call_arguments.delta"
DELTAS: Final = (STEP_DELTA, MESSAGE_DELTA, TEXT_DELTA, CALL_DELTA)
STEP_END: Final = "thread.run.step.completed"

_TOKENS: Final = (
    " the", " a", " of", " and", " to", " in", " is", " run", " step", " stream", " status", " report", "ing", "ed",
    ",", ".", ":", " (", ")", " 12", "7", "-", "_id", "\\n", '\\"', " weather", " Paris", " café", " 東京", "s",
)  # fmt: skip
"""Pieces of text as a model sends them, escapes and some characters outside ASCII included."""


@dataclass(frozen=True, slots=True)
class Workload:
    """A stream and what must come of it."""

    blocks: tuple[bytes, ...]
    """One event each, and the comments before it."""
    events: tuple[str, ...]
    """The name of every event, in order, `done` included."""
    steps: tuple[dict[str, Any], ...]
    """The final steps, as the wire objects, in the order in which they were created."""
    messages: tuple[dict[str, Any], ...] = ()
    """The final messages, likewise."""
    output: tuple[dict[str, Any], ...] = ()
    """The final items of a response, as the wire objects: its stream has no steps and messages of its own."""
    chunk_size: int | None = CHUNK_SIZE
    """In bytes; None: one event a chunk."""

    @property
    def chunks(self) -> tuple[bytes, ...]:
        if self.chunk_size is None:
            return self.blocks
        stream, size = b"".join(self.blocks), self.chunk_size
        return tuple(stream[start : start + size] for start in range(0, len(stream), size))

    @property
    def deltas(self) -> int:
        return sum(name in DELTAS for name in self.events)

    def payloads(self, name: str) -> list[bytes]:
        """Return the data of every event of that name."""
        head = f"event: {name}\ndata: ".encode()
        return [
            block.replace(b"\r\n", b"\n").partition(head)[2].rstrip(b"\n")
            for block, event in zip(self.blocks, self.events, strict=True)
            if event == name
        ]


class Writer:
    """A stream as it is written."""

    def __init__(self, run: str = "bench") -> None:
        self.run = run
        self._events: list[tuple[str, bytes]] = []
        self._steps: dict[str, dict[str, Any]] = {}
        self._messages: dict[str, dict[str, Any]] = {}

    def add(self, name: str, data: dict[str, Any]) -> None:
        self._events.append((name, objects.block(name, objects.compact(data))))

    def begin_run(self, *statuses: str) -> None:
        for name in statuses or ("created", "queued", "in_progress"):
            status = "queued" if name == "created" else name
            self.add(f"thread.run.{name}", objects.run_object(self.run, status))

    def end_run(self) -> None:
        done = objects.run_object(self.run, "completed", completed_at=objects.BEGIN + 61)
        self.add("thread.run.completed", done)

    def open_step(self, step: str, details: dict[str, Any] | None = None) -> None:
        opened = objects.step_object(self.run, step, details or objects.calls_details([]))
        self._steps[step] = opened
        self.add("thread.run.step.created", opened)
        self.add("thread.run.step.in_progress", opened)

    def add_delta(self, step: str, call: dict[str, Any]) -> None:
        self.add(STEP_DELTA, objects.call_delta(step, call))

    def end_step(self, step: str, details: dict[str, Any]) -> None:
        self._steps[step] = objects.step_object(self.run, step, details, completed=True)
        self.add(STEP_END, self._steps[step])

    def write_message(self, message: str, pieces: Iterable[str]) -> None:
        """Write a step that creates a message, and the message."""
        step, written = f"step_{message}", []
        self.open_step(step, objects.message_details(message))
        opened = objects.message_object(self.run, message, None)
        self.add("thread.message.created", opened)
        self.add("thread.message.in_progress", opened)
        for piece in pieces:
            written.append(piece)
            self.add(MESSAGE_DELTA, objects.text_delta(message, piece))
        self._messages[message] = objects.message_object(self.run, message, "".join(written))
        self.add("thread.message.completed", self._messages[message])
        self.end_step(step, objects.message_details(message))

    def taken(self) -> list[bytes]:
        """Return what was written so far, and forget it."""
        blocks = [block for _, block in self._events]
        self._events.clear()
        return blocks

    def finish(self, comment: Callable[[int], bytes] = lambda number: b"") -> Workload:
        """Return the stream, with what `comment` gives written before each event, by the event's number."""
        events = [*self._events, ("done", objects.block("done", "[DONE]"))]
        return Workload(
            tuple(comment(number) + block for number, (_, block) in enumerate(events)),
            tuple(name for name, _ in events),
            tuple(self._steps.values()),
            tuple(self._messages.values()),
        )


def argument_tokens(count: int, rng: random.Random) -> Iterator[str]:
    """Yield `count` pieces that together are one JSON object."""
    if count < 2:
        raise ValueError(f"expected at least 2 tokens, got {count}")
    yield '{"text":"'
    yield from rng.choices(_TOKENS, k=count - 2)
    yield '"}'


def tokens(count: int, rng: random.Random) -> list[str]:
    if count < 1:
        raise ValueError(f"expected at least 1 token, got {count}")
    return rng.choices(_TOKENS, k=count)


def argument_piece(piece: str, index: int = 0) -> dict[str, Any]:
    return {"index": index, "type": "function", "function": {"arguments": piece}}


def code_piece(piece: str, index: int = 0) -> dict[str, Any]:
    return {"index": index, "type": "code_interpreter", "code_interpreter": {"input": piece}}


def logs_piece(piece: str) -> dict[str, Any]:
    outputs = [{"index": 0, "type": "logs", "logs": piece}]
    return {"index": 0, "type": "code_interpreter", "code_interpreter": {"outputs": outputs}}
