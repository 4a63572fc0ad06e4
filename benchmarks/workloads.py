"""Seeded streams to measure with, each named by the path it stresses.

Every generator takes a size, whose unit is in `WORKLOADS`, and a seed.
"""

import random
from collections.abc import Callable
from dataclasses import dataclass, replace
from typing import Final

from benchmarks.objects import calls_details, code_call, function_call, run_object, search_call
from benchmarks.responses import response_call, response_text
from benchmarks.writer import (
    Workload,
    Writer,
    argument_piece,
    argument_tokens,
    code_piece,
    logs_piece,
    tokens,
)

PARALLEL_STEPS: Final = 200
PARALLEL_CALLS: Final = 128
SHORT_TOKENS: Final = 31
"""Tokens of one function call in a run of 40 events, `done` included."""

LOG_PIECE: Final = 256
"""Bytes of log in one delta."""


def function_call_by_token(size: int, *, seed: int = 1) -> Workload:
    """Return a run with one step, in which one function call gets its arguments in `size` deltas of one token."""
    return _function_call(size, seed).finish()


def keep_alive_comments(size: int, *, seed: int = 1) -> Workload:
    """Return `function_call_by_token` with a keep-alive comment, in a block of its own, before every event."""
    return _function_call(size, seed).finish(comment=lambda number: b": ping - %d\n\n" % number)


def with_ids(size: int, *, seed: int = 1) -> Workload:
    """Return `function_call_by_token` with an id before the name of every event."""
    return _function_call(size, seed).finish(comment=lambda number: b"id: %d\n" % number)


def with_crlf(size: int, *, seed: int = 1) -> Workload:
    """Return `function_call_by_token` with lines that end with CRLF."""
    load = _function_call(size, seed).finish()
    return replace(load, blocks=tuple(block.replace(b"\n", b"\r\n") for block in load.blocks))


def unnamed(size: int, *, seed: int = 1) -> Workload:
    """Return `function_call_by_token` with an event that has no name before every event."""
    return _with_pings(size, seed, "message", b"data: {}\n\n")


def named(size: int, *, seed: int = 1) -> Workload:
    """Return `unnamed` with a name that says nothing for those that have none."""
    return _with_pings(size, seed, "ping", b"event: ping\ndata: {}\n\n")


def _with_pings(size: int, seed: int, name: str, ping: bytes) -> Workload:
    load = _function_call(size, seed).finish()
    blocks = tuple(one for block in load.blocks for one in (ping, block))
    return replace(load, blocks=blocks, events=tuple(one for event in load.events for one in (name, event)))


def short_runs(size: int, *, seed: int = 1) -> Workload:
    """Return `size` runs after each other, each of which is `function_call_by_token` with 40 events."""
    return _joined([_function_call(SHORT_TOKENS, seed + number, f"_bench{number}").finish() for number in range(size)])


def _function_call(size: int, seed: int, suffix: str = "_bench") -> Writer:
    pieces = list(argument_tokens(size, random.Random(seed)))
    step, call = f"step{suffix}", f"call{suffix}"
    writer = Writer(suffix.removeprefix("_"))
    writer.begin_run()
    writer.open_step(step)
    writer.add_delta(step, {"index": 0, **function_call(call, "")})
    for piece in pieces:
        writer.add_delta(step, argument_piece(piece))
    writer.end_step(step, calls_details([function_call(call, "".join(pieces), output="saved")]))
    writer.end_run()
    return writer


def code_by_token(size: int, *, seed: int = 1, steps: int = 1, idle: int = 0) -> Workload:
    """Return a run in which the code interpreter gets its input in deltas of one token, over `steps` steps, in turn.

    `idle` more steps are opened and completed with a call that gets no delta.
    """
    pieces = tokens(size, random.Random(seed))
    writer = Writer()
    writer.begin_run()
    for number in range(steps + idle):
        own = pieces[size * number // steps : size * (number + 1) // steps] if number < steps else []
        step, call = f"step_bench{number}", f"call_bench{number}"
        writer.open_step(step)
        writer.add_delta(step, {"index": 0, **code_call(call, "", [])})
        for piece in own:
            writer.add_delta(step, code_piece(piece))
        writer.end_step(step, calls_details([code_call(call, "".join(own), [])]))
    writer.end_run()
    return writer.finish()


def logs_by_piece(size: int, *, seed: int = 1, steps: int = 1, idle: int = 0) -> Workload:
    """Return a run in which the code interpreter's logs come in `size` deltas of 256 bytes, over `steps` steps."""
    rng = random.Random(seed)
    lines = ["".join(rng.choices("abcdefghijklmnopqrstuvwxyz 0123456789", k=LOG_PIECE - 1)) + "\n" for _ in range(64)]
    pieces = rng.choices(lines, k=size)
    writer = Writer()
    writer.begin_run()
    for number in range(steps + idle):
        own = pieces[size * number // steps : size * (number + 1) // steps] if number < steps else []
        step, call = f"step_bench{number}", f"call_bench{number}"
        writer.open_step(step)
        writer.add_delta(step, {"index": 0, **code_call(call, "print(1)", [])})
        for piece in own:
            writer.add_delta(step, logs_piece(piece))
        outputs = [{"type": "logs", "logs": "".join(own)}] if own else []
        writer.end_step(step, calls_details([code_call(call, "print(1)", outputs)]))
    writer.end_run()
    return writer.finish()


def parallel_steps(size: int, *, seed: int = 1, steps: int = PARALLEL_STEPS) -> Workload:
    """Return a run with 200 steps open at once; each has one function call, and they take turns token by token."""
    rng = random.Random(seed)
    writer = Writer()
    writer.begin_run()
    pieces = [list(argument_tokens(max(2, size // steps), rng)) for _ in range(steps)]
    for number in range(steps):
        writer.open_step(f"step_bench{number}")
        writer.add_delta(f"step_bench{number}", {"index": 0, **function_call(f"call_bench{number}", "")})
    for turn in zip(*pieces, strict=True):
        for number, piece in enumerate(turn):
            writer.add_delta(f"step_bench{number}", argument_piece(piece))
    for number, own in enumerate(pieces):
        call = function_call(f"call_bench{number}", "".join(own), output="saved")
        writer.end_step(f"step_bench{number}", calls_details([call]))
    writer.end_run()
    return writer.finish()


def parallel_calls(size: int, *, seed: int = 1, calls: int = PARALLEL_CALLS) -> Workload:
    """Return a run with one step of 128 function calls, which take turns token by token."""
    rng = random.Random(seed)
    writer = Writer()
    writer.begin_run()
    writer.open_step("step_bench")
    pieces = [list(argument_tokens(max(2, size // calls), rng)) for _ in range(calls)]
    for index in range(calls):
        writer.add_delta("step_bench", {"index": index, **function_call(f"call_bench{index}", "")})
    for turn in zip(*pieces, strict=True):
        for index, piece in enumerate(turn):
            writer.add_delta("step_bench", argument_piece(piece, index))
    done = [function_call(f"call_bench{index}", "".join(own), output="saved") for index, own in enumerate(pieces)]
    writer.end_step("step_bench", calls_details(done))
    writer.end_run()
    return writer.finish()


def messages_only(size: int, *, seed: int = 1) -> Workload:
    """Return a run that writes one message in `size` deltas of one token."""
    writer = Writer()
    writer.begin_run()
    writer.write_message("msg_bench", tokens(size, random.Random(seed)))
    writer.end_run()
    return writer.finish()


def whole_objects(size: int, *, seed: int = 1) -> Workload:
    """Return a run with `size` file searches, one after another, which get no delta: their objects come as a whole."""
    rng = random.Random(seed)
    writer = Writer()
    writer.begin_run()
    for number in range(size):
        step, call = f"step_bench{number}", f"call_bench{number}"
        writer.open_step(step)
        writer.end_step(step, calls_details([search_call(call, "".join(tokens(20, rng)))]))
    writer.end_run()
    return writer.finish()


def like_recordings(size: int, *, seed: int = 1) -> Workload:
    """Return `size` runs after each other, which do what recorded runs do, in about their proportions.

    Code and an answer; a file search and an answer; a function call, and the answer after its output was submitted.
    """
    rng = random.Random(seed)
    streams = [(_code_run, _search_run, _function_run)[number % 3](f"bench{number}", rng) for number in range(size)]
    return _joined([writer.finish() for writer in streams])


def _code_run(run: str, rng: random.Random) -> Writer:
    step, call, pieces = f"step_{run}", f"call_{run}", tokens(rng.randint(40, 70), rng)
    writer = Writer(run)
    writer.begin_run()
    writer.open_step(step)
    writer.add_delta(step, {"index": 0, **code_call(call, "", [])})
    for piece in pieces:
        writer.add_delta(step, code_piece(piece))
    writer.end_step(step, calls_details([code_call(call, "".join(pieces), [])]))
    writer.write_message(f"msg_{run}", tokens(rng.randint(15, 40), rng))
    writer.end_run()
    return writer


def _search_run(run: str, rng: random.Random) -> Writer:
    step, call = f"step_{run}", f"call_{run}"
    writer = Writer(run)
    writer.begin_run()
    writer.open_step(step)
    writer.add_delta(step, {"index": 0, **search_call(call, None)})
    writer.end_step(step, calls_details([search_call(call, "".join(tokens(200, rng)))]))
    writer.write_message(f"msg_{run}", tokens(rng.randint(5, 30), rng))
    writer.end_run()
    return writer


def _function_run(run: str, rng: random.Random) -> Writer:
    step, call, pieces = f"step_{run}", f"call_{run}", list(argument_tokens(rng.randint(2, 12), rng))
    arguments = "".join(pieces)
    writer = Writer(run)
    writer.begin_run()
    writer.open_step(step)
    writer.add_delta(step, {"index": 0, **function_call(call, "")})
    for piece in pieces:
        writer.add_delta(step, argument_piece(piece))
    wanted = {"id": call, "type": "function", "function": {"name": "save_report", "arguments": arguments}}
    writer.add("thread.run.requires_action", run_object(run, "requires_action", required=[wanted]))
    writer.begin_run("queued", "in_progress")
    writer.end_step(step, calls_details([function_call(call, arguments, output="saved")]))
    writer.write_message(f"msg_{run}", tokens(rng.randint(25, 50), rng))
    writer.end_run()
    return writer


def _joined(loads: list[Workload]) -> Workload:
    """Return the streams as one: only the last one's `done` is kept."""
    last = len(loads) - 1
    ends = [None if number == last else -1 for number in range(len(loads))]
    return Workload(
        tuple(block for load, end in zip(loads, ends, strict=True) for block in load.blocks[:end]),
        tuple(name for load, end in zip(loads, ends, strict=True) for name in load.events[:end]),
        tuple(step for load in loads for step in load.steps),
        tuple(message for load in loads for message in load.messages),
    )


@dataclass(frozen=True, slots=True)
class Load:
    """What to make a workload of: its generator by name, its size, the bytes of a chunk, and what else it takes."""

    workload: str
    size: int
    chunk_size: int | None = 4096
    options: tuple[tuple[str, int], ...] = ()

    def make(self, size: int | None = None) -> Workload:
        load = WORKLOADS[self.workload].make(self.size if size is None else size, **dict(self.options))
        return replace(load, chunk_size=self.chunk_size)


@dataclass(frozen=True, slots=True)
class Kind:
    """A generator."""

    make: Callable[..., Workload]
    unit: str
    """What its size counts."""


WORKLOADS: Final[dict[str, Kind]] = {
    "code_by_token": Kind(code_by_token, "tokens"),
    "function_call_by_token": Kind(function_call_by_token, "tokens"),
    "logs_by_piece": Kind(logs_by_piece, "pieces of 256 bytes"),
    "parallel_steps": Kind(parallel_steps, "tokens"),
    "parallel_calls": Kind(parallel_calls, "tokens"),
    "messages_only": Kind(messages_only, "tokens"),
    "keep_alive_comments": Kind(keep_alive_comments, "tokens"),
    "with_ids": Kind(with_ids, "tokens"),
    "with_crlf": Kind(with_crlf, "tokens"),
    "unnamed": Kind(unnamed, "tokens"),
    "named": Kind(named, "tokens"),
    "short_runs": Kind(short_runs, "runs of 40 events"),
    "whole_objects": Kind(whole_objects, "steps"),
    "like_recordings": Kind(like_recordings, "runs"),
    "response_text": Kind(response_text, "tokens"),
    "response_call": Kind(response_call, "tokens"),
}
