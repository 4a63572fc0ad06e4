"""Responses driven over a breaking simulator: what was told of one, and what is wrong with it."""

from collections import Counter
from collections.abc import Collection
from typing import Any, NamedTuple

import anyio
import msgspec

from stepstream import (
    Accumulator,
    Frame,
    FrameDecoder,
    MessageTransition,
    Outcome,
    Processor,
    RunTransition,
    StepStreamError,
    StepTransition,
    Toolbox,
    TransportError,
)
from tests.support.breaking_simulator import WITHIN, Server, Wire
from tests.support.drives import SEEN, harbour, illegal, key
from tests.support.json_values import JSON, plain

LOST = ("before the run's id was known", "cannot be asked for")
"""What an exception says where nothing can be done."""


class ResponseDrive(NamedTuple):
    """How a drive went."""

    outcome: Outcome | None
    failure: StepStreamError | None
    changes: list[Any]
    made: list[str]
    """The tool calls that were made."""
    wire: Wire


async def driven(
    server: Server,
    wire: Wire,
    *,
    tools: Toolbox | None = None,
    options: JSON | None = None,
    client: Any = None,
    **parameters: Any,
) -> ResponseDrive:
    """Drive a response to its end over `wire`. `options` are those of the client."""
    changes, made = list[Any](), list[str]()
    outcome, failure = None, None
    with anyio.fail_after(WITHIN):
        async with Processor(strict=True) as processor:

            @processor.on(*SEEN)
            async def see(change: Any) -> None:
                changes.append(change)

            one = client or server.wired_responses(wire, **(options or {}))
            try:
                outcome = await one.drive(
                    processor, tools or harbour(made), **{"input": "How deep is it?", **parameters}
                )
            except StepStreamError as exc:
                failure = exc
    return ResponseDrive(outcome, failure, changes, made, wire)


def first_ids(wire: Wire) -> list[str | None]:
    """Return the id that the stream of each POST named, None where none came."""
    return [_id_in(FrameDecoder().feed(bytes(stream))) for stream in wire.streams]


def _id_in(frames: list[Frame]) -> str | None:
    """Return the id in the first event that has one: some servers send others before."""
    objects = (msgspec.json.decode(frame.data) for frame in frames if b'"response":' in frame.data)
    return next((found["response"]["id"] for found in objects), None)


async def truth(server: Server, ids: list[str]) -> Accumulator:
    """Return what the server says of responses, folded."""
    state = Accumulator()
    for identifier in ids:
        state.translation.continue_run(ids[0])
        got = (await server.client.get(f"{server.url}/v1/responses/{identifier}")).json()
        for name in ("in_progress", got["status"]):
            response = {**got, "status": name, "output": got["output"] if name == got["status"] else []}
            state.apply_frame(Frame(f"response.{name}", msgspec.json.encode({"response": response})))
    return state


def contents(steps: Any, messages: Any) -> list[JSON]:
    return [plain(one) for some in (steps, messages) for one in some.values()]


async def wrong_with(server: Server, drive: ResponseDrive, allowed: Collection[str] = ()) -> str:
    """Return how a drive ended: "whole", "reconciled", "lost" where nothing could be done, or what is wrong with it.

    `allowed` are the anomalies that there may be.
    """
    outcome, failure, wire = drive.outcome, drive.failure, drive.wire
    ids = [one for one in first_ids(wire) if one is not None]
    if outcome is None:
        is_declared = isinstance(failure, TransportError) and any(words in str(failure) for words in LOST)
        return "lost" if is_declared and failure.outcome is not None else repr(failure)
    state = await truth(server, ids)
    [run], [known] = outcome.runs.values(), state.runs.values()
    ends = Counter(
        key(change)
        for change in drive.changes
        if isinstance(change, StepTransition | MessageTransition | RunTransition) and change.terminal
    )
    expected = Counter(
        [
            ("RunTransition", known.id),
            *(("StepTransition", one) for one in state.steps),
            *(("MessageTransition", one) for one in state.messages),
        ]
    )
    posts = [msgspec.json.encode(body) for body in wire.posts("/responses")]
    codes = {one.code for one in outcome.anomalies}
    found = {
        "another end": (run.status, run.usage) != (known.status, known.usage),
        "not the truth": contents(outcome.steps, outcome.messages) != contents(state.steps, state.messages),
        f"ends not seen once {ends - expected} {expected - ends}": ends != expected,
        f"illegal: {illegal(drive.changes)}": illegal(drive.changes) != [],
        f"anomalies: {codes}": not codes <= {*allowed},
        "a POST sent twice": len(posts) != len(set(posts)),
        "a tool called twice": len(drive.made) != len(set(drive.made)),
    }
    return "; ".join(text for text, is_wrong in found.items() if is_wrong) or (
        "reconciled" if outcome.reconciled else "whole"
    )
