"""Never run, read by mypy: what a checker knows about the public names, and what it refuses.

`warn_unused_ignores` is on, so each `type: ignore` below is itself a check: without the error it would be one.
"""

from collections.abc import Awaitable, Callable, Mapping
from contextlib import AbstractAsyncContextManager
from datetime import datetime, timedelta
from typing import Any, assert_never, assert_type

import anyio
import httpx
import httpx2

from stepstream import (
    Accumulator,
    Anomaly,
    APIError,
    Change,
    CodeInterpreter,
    Event,
    EventStream,
    Failure,
    Frame,
    FrameDecoder,
    FunctionCall,
    LastError,
    Malformed,
    Message,
    MessageProgress,
    MessageTransition,
    Outcome,
    Processor,
    Reconnected,
    RedisJournal,
    RequiredAction,
    ResponsesClient,
    Run,
    RunsClient,
    RunStep,
    RunTransition,
    StepDetails,
    StepProgress,
    StepTransition,
    StreamFailed,
    StreamHandle,
    Subscription,
    Toolbox,
    ToolCall,
    ToolCallFinished,
    ToolCallStarted,
    ToolContext,
    ToolResult,
    Unknown,
    Usage,
    Workers,
    accumulate,
    connect,
    decode_change,
    decode_event,
    encode_change,
    encode_frame,
)
from stepstream.live.iterating import Changes


async def step(change: StepTransition) -> None: ...


async def run(change: RunTransition) -> int:
    return change.sequence


async def step_or_run(change: StepTransition | RunTransition) -> None: ...


async def step_or_more(change: StepProgress | StepTransition) -> None: ...


async def any_change(change: Change) -> None: ...


def synchronous(change: StepTransition) -> None: ...


def callbacks_are_checked_against_their_classes(processor: Processor) -> None:
    processor.on(StepTransition)(step)
    processor.on(RunTransition)(run)
    processor.on(StepTransition, RunTransition)(step_or_run)
    processor.on(StepTransition)(step_or_run)
    processor.on(StepTransition, RunTransition, ToolCallStarted)(any_change)
    processor.on(StepTransition, RunTransition, ToolCallStarted, ToolCallFinished)(any_change)
    processor.on(StepTransition, RunTransition, StepProgress, MessageProgress, Anomaly)(any_change)

    processor.on(RunTransition)(step)  # type: ignore[arg-type]
    processor.on(StepTransition, RunTransition)(step)  # type: ignore[arg-type]
    processor.on(StepTransition, RunTransition, ToolCallStarted)(step_or_run)  # type: ignore[arg-type]
    processor.on(StepTransition, RunTransition, StepProgress, Anomaly)(step_or_run)  # type: ignore[arg-type]
    processor.on(StepTransition)(synchronous)  # type: ignore[arg-type]


def up_to_eight_classes_are_checked(processor: Processor) -> None:
    processor.on(StepTransition, StepProgress, RunTransition, MessageTransition, ToolCallStarted)(any_change)
    processor.on(
        StepTransition, StepProgress, ToolCallStarted, ToolCallFinished, RunTransition, MessageTransition, Anomaly
    )(any_change)
    processor.on(
        StepTransition, StepProgress, ToolCallStarted, ToolCallFinished, RunTransition, MessageTransition,
        MessageProgress, Anomaly,
    )(any_change)  # fmt: skip
    processor.on(StepTransition, RunTransition, StepProgress, Anomaly, ToolCallStarted)(step_or_run)  # type: ignore[arg-type]
    processor.on(
        StepTransition, StepProgress, ToolCallStarted, ToolCallFinished, RunTransition, MessageTransition,
        MessageProgress, Anomaly,
    )(step_or_run)  # type: ignore[arg-type] # fmt: skip
    classes: list[type[Change]] = [StepTransition, StepProgress]
    processor.on(*classes)(any_change)


def decorated_functions_keep_what_they_take(processor: Processor) -> None:
    @processor.on(StepTransition, status="completed", terminal=True)
    async def tell(change: StepTransition) -> None: ...

    assert_type(tell, Callable[[StepTransition], Awaitable[object]])

    @processor.on(StepProgress)  # type: ignore[arg-type]
    async def wrong(change: StepTransition) -> None: ...


def classes_and_filters_are_checked(processor: Processor) -> None:
    processor.on(StepTransition, status=["completed", "failed"], step_type="tool_calls", run_id="run_1")
    processor.on(ToolCallStarted, tool_type={"function"}, tool_name="f", thread_id="t", where=lambda change: True)

    processor.on(RunStep)  # type: ignore[type-var]
    processor.on(StepTransition, statuses="completed")  # type: ignore[call-overload]
    processor.on(StepTransition, status=3)  # type: ignore[call-overload]
    processor.on(StepTransition, terminal="yes")  # type: ignore[call-overload]
    processor.subscribe(StepTransition, where=True)  # type: ignore[call-overload]


async def steps(changes: list[StepTransition]) -> None: ...


def pause(attempt: int, failure: Exception) -> float:
    return attempt + (failure.retry_after or 0 if isinstance(failure, APIError) else 0)


def delivery_is_checked(processor: Processor) -> None:
    processor.on(StepProgress, StepTransition, overflow="latest", min_interval=0.5, buffer=8, replay=True)(step_or_more)
    processor.on(StepTransition, timeout=None, attempts=3, backoff=pause, concurrency=4, max_failures=None)(step)
    processor.on(StepTransition, run_id="run_1", timeout=2, backoff=1)(step)
    processor.on(StepTransition, batch=500, max_wait=1, coalesce_by="run", context=object())(steps)
    processor.on(StepTransition, RunTransition, batch=500)(step_or_more)
    processor.add(StepTransition, steps, batch=500, attempts=3)
    assert_type(
        processor.subscribe(StepTransition, batch=9), AbstractAsyncContextManager[Changes[list[StepTransition]]]
    )
    processor.subscribe(StepProgress, buffer=8, overflow="close", min_interval=1, replay=True, step_id="step_1")

    processor.on(StepTransition, overflow="drop")  # type: ignore[call-overload]
    processor.on(StepTransition, coalesce_by="thread")  # type: ignore[call-overload]
    processor.on(StepTransition, batch=500)(step)  # type: ignore[arg-type]
    processor.on(StepTransition, buffer="many")  # type: ignore[call-overload]
    processor.on(StepTransition, buffer=None)  # type: ignore[call-overload]
    processor.on(StepTransition, attempts=1.5)  # type: ignore[call-overload]
    processor.on(StepTransition, backoff=lambda attempt: 1.0)  # type: ignore[arg-type,misc]
    processor.on(StepTransition, retries=3)  # type: ignore[call-overload]
    processor.add(StepTransition, step, min_interval="1 s")  # type: ignore[call-overload]
    processor.add(StepTransition, step, retries=3)  # type: ignore[call-overload]
    processor.add(StepProgress, step)  # type: ignore[arg-type]
    processor.subscribe(StepTransition, timeout=30)  # type: ignore[call-overload]
    processor.subscribe(StepTransition, attempts=2)  # type: ignore[call-overload]


def what_is_known_is_read(processor: Processor, handle: StreamHandle) -> None:
    assert_type(processor.steps["step_1"], RunStep)
    assert_type(processor.runs.get("run_1"), Run | None)
    assert_type(dict(processor.messages), dict[str, Message])
    assert_type(int(processor.settled("run_1")), int)
    assert_type(handle.run_id, str | None)
    processor.steps["step_1"] = processor.steps["step_2"]  # type: ignore[index]


def failures_are_told(processor: Processor) -> None:
    @processor.on_failure
    async def tell(failure: Failure) -> None:
        assert_type((failure.subscription, failure.exception), tuple[Subscription, Exception])
        assert_type((failure.change, failure.attempt, failure.is_final), tuple[Change | None, int, bool])

    @processor.on_failure  # type: ignore[arg-type]
    async def wrong(change: StepTransition) -> None: ...

    statistics = processor.statistics()
    assert_type((statistics.events, statistics.open_runs, statistics.unreported), tuple[int, int, int])
    for one in statistics.subscribers:
        assert_type((one.name, one.dropped, one.is_closed), tuple[str, int, bool])


async def waiting_gives_what_was_waited_for(processor: Processor, outcome: Outcome) -> None:
    assert_type(await processor.wait_for_step("step_1"), RunStep)
    assert_type(await processor.wait_for_step("step_1", status="completed", timeout=30), RunStep)
    assert_type(await processor.wait_for_run("run_1", timeout=None), Run)
    async with processor.text_deltas(run_id="run_1") as pieces:
        async for piece in pieces:
            assert_type(piece, str)
        assert_type(pieces.rewritten, list[str])
    await processor.wait_for_step("step_1", status=3)  # type: ignore[arg-type]
    await processor.wait_for_run()  # type: ignore[call-arg]
    assert_type(outcome.final_run, Run | None)
    assert_type((outcome.run, outcome.status, outcome.text), tuple[Run | None, str | None, str])
    assert_type((outcome.final_steps, outcome.final_messages), tuple[list[RunStep], list[Message]])


def add_gives_a_subscription(processor: Processor) -> None:
    subscription = processor.add(StepTransition, step)
    assert_type(subscription, Subscription)
    assert_type((subscription.offered, subscription.delivered, subscription.failed), tuple[int, int, int])
    processor.add((StepTransition, RunTransition), step_or_run, status="failed")
    processor.add([StepTransition, RunTransition], step_or_run, status="failed")
    processor.add([StepTransition, RunTransition], any_change)
    processor.add((StepTransition, StepProgress, ToolCallStarted, RunTransition, Anomaly), any_change)
    processor.add((StepTransition, RunTransition), step)  # type: ignore[arg-type]
    processor.add((StepTransition, StepProgress, ToolCallStarted, RunTransition, Anomaly), step)  # type: ignore[arg-type]
    processor.add([StepTransition, RunTransition], step)  # type: ignore[list-item]
    processor.add([StepTransition], run)  # type: ignore[arg-type]
    processor.add([StepTransition, RunStep], any_change)  # type: ignore[list-item]
    processor.add([StepTransition, RunTransition], synchronous)  # type: ignore[arg-type,list-item]
    processor.add([Anomaly], any_change)
    processor.add(StepTransition | RunTransition, step_or_run, status="failed")
    processor.add(Change, any_change)


def classes_are_given_as_lists_and_unions(processor: Processor) -> None:
    processor.on([StepTransition, RunTransition])(step_or_run)
    processor.on(StepTransition | RunTransition, terminal=True)(step_or_run)
    processor.on(Change)(any_change)
    processor.subscribe([StepTransition, RunTransition], buffer=8)
    processor.subscribe(StepTransition | RunTransition)

    @processor.on([StepTransition, RunTransition])
    async def tell(change: StepTransition | RunTransition) -> None: ...

    processor.add(StepTransition, tell)  # it is the function that was decorated
    processor.add(StepProgress, tell)  # type: ignore[arg-type]
    processor.on([StepTransition, RunStep])  # type: ignore[list-item]
    processor.on([StepTransition])(synchronous)  # type: ignore[type-var]
    processor.on("StepTransition")  # type: ignore[arg-type]


async def iterators_yield_their_classes(processor: Processor) -> None:
    async with processor.subscribe(StepTransition) as steps:
        async for one in steps:
            assert_type(one, StepTransition)
            assert_type(one.step, RunStep)
            one.run()  # type: ignore[attr-defined]
    async with processor.subscribe(StepTransition, StepProgress) as two:
        async for change in two:
            assert_type(change, StepTransition | StepProgress)
            assert_type(change.step, RunStep)
    async with processor.subscribe(RunTransition, MessageTransition, Anomaly) as three:
        async for other in three:
            assert_type(other, RunTransition | MessageTransition | Anomaly)
            if isinstance(other, MessageTransition):
                assert_type(other.message, Message)


def changes_have_their_columns(change: Change) -> str:
    assert_type((change.event, change.sequence, change.context), tuple[str, int, Any])
    assert_type((change.key, change.event_id, change.received_at), tuple[str, str, float | None])
    assert_type((change.run_id, change.thread_id), tuple[str | None, str | None])
    assert_type(decode_change(encode_change(change, snapshot=True)), Change)
    match change:
        case StepTransition():
            assert_type((change.step_id, change.previous, change.status), tuple[str, str | None, str])
            assert_type((change.type, change.terminal), tuple[str | None, bool])
            assert_type((change.completed_at, change.last_error), tuple[int | float | None, LastError | None])
        case StepProgress():
            assert_type((change.step_id, change.run_id, change.late), tuple[str, str | None, bool])
        case ToolCallStarted() | ToolCallFinished():
            assert_type((change.index, change.id, change.type, change.name), tuple[int, str, str, str | None])
            assert_type(change.call, ToolCall | Unknown)
        case RunTransition():
            assert_type((change.run, change.run_id, change.thread_id), tuple[Run, str, str | None])
        case MessageTransition() | MessageProgress():
            assert_type((change.message, change.message_id), tuple[Message, str])
        case Anomaly():
            assert_type((change.id, change.text), tuple[str | None, str])
        case _:
            assert_never(change)
    return change.event


def fields_that_may_be_missing_narrow(step: RunStep) -> None:
    step.run_id.upper()  # type: ignore[union-attr]
    if step.run_id:
        assert_type(step.run_id, str)
    if isinstance(step.usage, Usage) and step.usage.total_tokens:
        assert_type(step.usage.total_tokens, int)
    assert_type((step.created, step.completed, step.expires), tuple[datetime | None, datetime | None, datetime | None])
    assert_type((step.duration, step.is_terminal), tuple[timedelta | None, bool])
    step.status = "completed"  # type: ignore[misc]


def calls_narrow_to_their_kind(step: RunStep) -> None:
    if isinstance(step.step_details, StepDetails) and step.step_details.tool_calls:
        assert_type(step.step_details.tool_calls, tuple[ToolCall | Unknown, ...])
    for call in step.tool_calls:
        assert_type(call.tool_name, str | None)
        if isinstance(call, Unknown):
            assert_type(call["anything"], Any)
        elif call.function:
            assert_type(call.function, FunctionCall)
        elif call.code_interpreter:
            assert_type(call.code_interpreter, CodeInterpreter)


async def runs_give_outcomes(
    processor: Processor, client: httpx.AsyncClient, other: httpx2.AsyncClient, tools: Toolbox
) -> None:
    outcome = await processor.run(connect("http://x", json={"a": 1}, headers={"b": "c"}), context=processor)
    assert_type(outcome, Outcome)
    assert_type(outcome.steps, Mapping[str, RunStep])
    if isinstance(outcome.required_action, RequiredAction):
        assert_type(outcome.required_action.tool_calls, tuple[ToolCall | Unknown, ...])
        assert_type(await tools.outputs(outcome.required_action.tool_calls), dict[str, str])
        assert_type(await tools.approvals(outcome.required_action.tool_calls), dict[str, bool])
    while outcome.required_action:
        await tools.outputs(outcome.required_action.tool_calls, steps=outcome.final_steps)
    handle = processor.start(connect("http://x", client=client))
    assert_type(handle, StreamHandle)
    assert_type(await handle.outcome(), Outcome)
    assert_type(await handle.cancel(), None)
    assert_type(await processor.ready(), None)
    assert_type(await processor.stop(), None)
    async with anyio.create_task_group() as tasks:
        await tasks.start(processor.keep_open)
    async with connect("http://x", client=other) as stream:
        assert_type(stream, EventStream)
        async for chunk in stream:
            assert_type(chunk, bytes | Reconnected)
    connect("http://x", api_key="k")
    connect("http://x", api_key=token)
    connect("http://x", api_key=3)  # type: ignore[arg-type]
    connect("http://x", "POST")  # type: ignore[call-arg]
    connect("http://x", retries=3)  # type: ignore[call-arg]


async def runs_are_driven(client: RunsClient, processor: Processor, tools: Toolbox) -> None:
    outcome = await client.drive(processor, "thread_1", tools, context=1, max_rounds=3, assistant_id="a", top_p=None)
    assert_type(outcome, Outcome)
    assert_type(await client.drive(processor, None, thread={"messages": []}, extra_body={"x": 1}), Outcome)
    await client.drive(processor, "thread_1", tools, temprature=1)  # type: ignore[call-arg]
    await client.drive(processor, "thread_1", tools, temperature="hot")  # type: ignore[arg-type]
    async with client as entered:
        assert_type(entered, RunsClient)


async def runs_are_asked_for(client: RunsClient, processor: Processor) -> None:
    assert_type(await client.retrieve_run("t", "r"), Run)
    assert_type(await client.cancel_run("t", "r"), Run)
    assert_type(await client.retrieve_step("t", "r", "s"), RunStep)
    assert_type(await client.list_steps("t", "r"), list[RunStep])
    assert_type(await client.list_runs("t"), list[Run])
    assert_type(await client.attach(processor, "t", "r", context=1, max_rounds=3), Outcome)
    await client.attach(processor, "t", token="x")
    client.stream_run("t", assistant_id="a", token="x", idempotency_key="y")
    assert_type(Processor.restore(processor.export(), forget_after=60, max_streams=None), Processor)
    Processor.restore(b"", forget="no")  # type: ignore[call-arg]
    assert_type(await client.list_messages("t", run_id="r"), list[Message])
    assert_type(await processor.run(client.stream_run("t", assistant_id="a", include=["x"])), Outcome)
    await processor.run(client.submit_tool_outputs("t", "r", {"call_1": "4", "call_2": None}))
    await processor.run(client.submit_tool_approvals("t", "r", {"call_1": True}))
    client.stream_run("t", thread={})  # type: ignore[call-arg]
    client.stream_thread_and_run(thread={}, tools=[{"type": "function"}])
    client.stream_run("t", additional_messages="Hi")  # type: ignore[arg-type]
    async with client.stream_run("t") as stream:
        assert_type(stream.request_id, str | None)


async def responses_are_driven(client: ResponsesClient, processor: Processor, tools: Toolbox) -> None:
    outcome = await client.drive(processor, tools, context=1, max_rounds=3, model="gpt-5", input="Hi", store=False)
    assert_type(outcome, Outcome)
    assert_type(await client.drive(processor, input=[{"role": "user"}], extra_body={"x": 1}), Outcome)
    await client.drive(processor, tools, temprature=1)  # type: ignore[call-arg]
    await client.drive(processor, tools, background="yes")  # type: ignore[arg-type]
    async with client as entered:
        assert_type(entered, ResponsesClient)


async def responses_are_asked_for(client: ResponsesClient, processor: Processor) -> None:
    assert_type(await client.retrieve("r"), dict[str, Any])
    assert_type(await client.cancel("r"), dict[str, Any])
    assert_type(await client.input_items("r"), list[dict[str, Any]])
    assert_type(await processor.run(client.stream(input="Hi", background=True, cancel_on_exit=True)), Outcome)
    assert_type(await processor.run(client.attach("r", cancel_on_exit=True)), Outcome)
    async with client.stream(input="Hi") as stream:
        assert_type((stream.response_id, stream.request_id), tuple[str, str | None])


async def token() -> str:
    return "t"


def clients_are_made(http: httpx.AsyncClient, other: httpx2.AsyncClient) -> None:
    RunsClient("http://x", api_key="k", client=http)
    RunsClient("http://x", api_key=token, auth="bearer", client=other)
    RunsClient("http://x", api_key=lambda: "k", headers={"a": "b"})
    ResponsesClient("http://x", api_key=token, api_version="preview", client=other)
    ResponsesClient("http://x", api_key=lambda: "k", fast=True)
    RunsClient("http://x", auth="basic")  # type: ignore[arg-type]
    RunsClient("http://x", "k")  # type: ignore[call-arg]


async def tools_keep_their_type(tools: Toolbox) -> None:
    @tools.function
    async def sail(place: str, *, hours: int = 1) -> float:
        return 1.0

    @tools.function(name="row", description="Row.")
    def row(place: str) -> int:
        return 1

    @tools.approve
    async def may(call: ToolCall) -> bool:
        return call.name == "find"

    assert_type(row("x"), int)
    assert_type(await may(ToolCall()), bool)
    assert_type(await sail("x", hours=2), float)
    await sail("x", speed=2)  # type: ignore[call-arg]

    @tools.function
    def fetch(place: str, context: ToolContext) -> None:
        assert_type((context.run_id, context.step_id, context.call_id), tuple[str | None, str | None, str])
        assert_type((context.call, context.context), tuple[ToolCall, Any])

    @tools.custom(name="query", format={"type": "text"})
    async def query(text: str) -> str:
        return text

    @tools.before
    async def before(context: ToolContext) -> None: ...

    @tools.after
    @tools.on_failure
    async def after(result: ToolResult) -> None:
        assert_type((result.output, result.exception, result.duration), tuple[str | None, Exception | None, float])

    assert_type(await query("x"), str)
    assert_type(tools.definitions(), list[dict[str, Any]])
    tools.definitions("responses")
    tools.definitions("chat")  # type: ignore[arg-type]
    tools.before(after)  # type: ignore[type-var]
    tools.after(before)  # type: ignore[type-var]
    Toolbox(strict=True, max_calls=3, concurrency=1)
    Toolbox(max_call=3)  # type: ignore[call-arg]
    tools.function("sail")  # type: ignore[call-overload]
    Toolbox(on_error="raise")  # type: ignore[arg-type]


async def workers_are_typed(journal: RedisJournal, processor: Processor) -> None:
    async with Workers(journal, group="bots", lease=15, max_runs=100, max_takeovers=5, name="one") as workers:
        assert_type(workers, Workers)
        assert_type(await workers.run(processor), None)
        assert_type((workers.owned, workers.takeovers, workers.dead_letters), tuple[int, int, int])
        assert_type((workers.lag.events, workers.lag.seconds), tuple[int, float])
    Workers(journal)  # type: ignore[call-arg]
    Workers(journal, group="bots", max_run=1)  # type: ignore[call-arg]
    assert_type(
        await processor.redeliver(RunTransition("", 0, None, "", None, "a", "b", False, "", Run(id="r")), "x"), int
    )


def the_core_is_typed(data: bytes) -> None:
    for frame in FrameDecoder().feed(data):
        assert_type(frame, Frame)
        event = decode_event(frame)
        assert_type(event, Event)
        if isinstance(event.data, Malformed):
            assert_type(event.data.reason, str)
            assert_type((event.data.expected, event.data.got), tuple[str, str])
        assert_type(Accumulator().apply(event), list[Change])
    assert_type(accumulate([data]).steps, Mapping[str, RunStep])
    assert_type(encode_frame(Frame("a", b"b")), bytes)


def errors_have_their_fields(error: StreamFailed) -> None:
    assert_type((error.code, error.message, error.outcome), tuple[str | None, str | None, Outcome | None])
