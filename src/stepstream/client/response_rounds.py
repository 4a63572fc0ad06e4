"""A response driven to its end: its streams read into one processor, its calls answered, round after round.

Each round is a response of its own, and all are one run to subscribers: the one that follows names the one before by
`previous_response_id`, or by the conversation. Where the server keeps neither (`store=False`), the whole input is sent
again, with what was said since.

    input ─ POST ─ response 1: call_a, call_b ─ tools run ─ [outputs] ─ POST, previous_response_id=1 ─ response 2 ─ …
    input ─ POST ─ response 1: call_a ─ tools run ─ [input, call_a, output] ─ POST, store=False ─ response 2 ─ …

A POST is sent once. Where it breaks before its response named itself, nobody can know whether there is one: `drive`
raises, and the tools of the round have run.
"""

from collections.abc import AsyncIterator, Callable, Iterable, Mapping, Sequence
from contextlib import AbstractAsyncContextManager, asynccontextmanager
from typing import Any, Final, TypeAlias

from stepstream.client.driving import join_outcomes, with_outcome
from stepstream.client.response_stream import ResponseStream
from stepstream.client.tools.toolbox import Toolbox
from stepstream.errors import StepStreamError, ToolFailed
from stepstream.fold.outcome import Outcome
from stepstream.live.processor import Processor
from stepstream.wire.objects import RequiredAction
from stepstream.wire.tool_calls import AnyToolCall, ToolCall

JSON: TypeAlias = dict[str, Any]

OUTPUT_TYPES: Final[Mapping[str, str]] = {"function": "function_call_output", "custom": "custom_tool_call_output"}
"""The type of the item that answers a call, by the type of the call. No other calls are run here."""


OpenResponse: TypeAlias = Callable[[Mapping[str, Any], str], AbstractAsyncContextManager[ResponseStream]]
"""Opens the response of a body, which goes on with the run of that id, or begins one where that is empty."""

AttachResponse: TypeAlias = Callable[[str], AbstractAsyncContextManager[ResponseStream]]
"""Attaches to a response that was opened before, which goes on with the run of that id; empty as above."""


async def drive(
    open_response: OpenResponse,
    processor: Processor,
    body: JSON,
    tools: Toolbox | None,
    *,
    context: object,
    max_rounds: int,
    attached: Iterable[AttachResponse] = (),
) -> Outcome:
    """Read the stream that `body` opens and those after it, until nothing waits, or `max_rounds` were answered.

    Where responses of the run are `attached`, they are read instead of the first. Return the outcome of all streams.
    """
    whole: Outcome | None = None
    continued, rounds, left = "", 0, list(attached)
    while True:
        streams: list[ResponseStream] = []
        opening = left.pop(0)(continued) if left else open_response(body, continued)
        try:
            outcome = await processor.run(_kept(opening, streams), context)
        except StepStreamError as failure:
            raise with_outcome(whole, failure) from failure.__cause__
        whole = outcome if whole is None else join_outcomes(whole, outcome)
        run = whole.final_run
        continued = run.id if run is not None else ""
        if left:
            continue
        action = outcome.required_action
        if tools is None or rounds == max_rounds or not isinstance(action, RequiredAction) or not _can_answer(action):
            return whole
        rounds += 1
        try:
            answers = await _answers(tools, action, whole, context)
        except ToolFailed as failure:
            failure.outcome = whole
            raise
        body = following(body, streams[-1].response_id, streams[-1].output, answers)


@asynccontextmanager
async def _kept(
    opening: AbstractAsyncContextManager[ResponseStream], streams: list[ResponseStream]
) -> AsyncIterator[ResponseStream]:
    async with opening as stream:
        streams.append(stream)
        yield stream


def _can_answer(action: RequiredAction) -> bool:
    """Return whether all that a run waits for can be answered here: some calls are run by the program itself."""
    calls = action.tool_calls
    known = {*OUTPUT_TYPES, "mcp"}
    return bool(calls) and all(isinstance(call, ToolCall) and call.id and call.type in known for call in calls)


async def _answers(tools: Toolbox, action: RequiredAction, whole: Outcome, context: object) -> list[JSON]:
    """Return the items that answer what a run waits for: outputs, and approvals.

    Raises:
        ToolFailed: a tool failed, and the toolbox says that nothing is answered then.
    """
    run = whole.final_run
    calls = _calls(action.submit_tool_outputs)
    outputs = await tools.outputs(
        calls,
        run_id=run.id if run is not None else None,
        thread_id=(run.thread_id or None) if run is not None else None,
        steps=whole.steps.values(),
        context=context,
    )
    types = {call.id: OUTPUT_TYPES[str(call.type)] for call in calls if isinstance(call, ToolCall) and call.id}
    approvals = await tools.approvals(_calls(action.submit_tool_approval))
    return [
        *({"type": types[call_id], "call_id": call_id, "output": output} for call_id, output in outputs.items()),
        *(
            {"type": "mcp_approval_response", "approval_request_id": request_id, "approve": approve}
            for request_id, approve in approvals.items()
        ),
    ]


def _calls(required: Any) -> Sequence[AnyToolCall]:
    return (required.tool_calls or ()) if required else ()


def following(
    body: Mapping[str, Any], response_id: str, output: Sequence[Mapping[str, Any]], answers: Sequence[JSON]
) -> JSON:
    """Return the body that opens the response after one that `body` opened, and that gave `output`."""
    if body.get("conversation"):
        return {**body, "input": answers}
    if body.get("store") is not False:
        return {**body, "previous_response_id": response_id, "input": answers}
    said = [item for item in output if item.get("type") != "reasoning" or item.get("encrypted_content")]
    return {**body, "input": [*_items(body.get("input")), *said, *answers]}


def _items(given: Any) -> Sequence[Any]:
    """Return the input of a request as items."""
    if isinstance(given, str):
        return [{"role": "user", "content": given}]
    return given if isinstance(given, list) else []
