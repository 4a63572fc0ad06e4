"""What surrounds the call of a tool: its context, hooks, limits, and what is logged of a failure."""

import json
import logging
from collections.abc import Callable
from typing import Any

import anyio
import anyio.lowlevel
import pytest

from stepstream import (
    Processor,
    RunsClient,
    RunStep,
    StepDetails,
    Toolbox,
    ToolContext,
    ToolFailed,
    ToolResult,
    Unknown,
)
from stepstream.simulator import app, serve
from stepstream.wire.tool_calls import CustomCall, FunctionCall, ToolCall
from tests.support.tables import each_row


def asked(name: str = "sail", arguments: str = "{}", id: str = "call_1") -> ToolCall:  # noqa: A002
    return ToolCall(id=id, type="function", function=FunctionCall(name=name, arguments=arguments))


def custom(name: str = "sail", text: str = "north") -> ToolCall:
    return ToolCall(id="call_1", type="custom", custom=CustomCall(name=name, input=text))


def step_with(*calls: ToolCall, id: str = "step_1") -> RunStep:  # noqa: A002
    return RunStep(id=id, step_details=StepDetails(type="tool_calls", tool_calls=calls))


def recording(tools: Toolbox) -> list[tuple[str, Any]]:
    """Register hooks that note what they get, in the order in which they get it."""
    noted = list[tuple[str, Any]]()

    @tools.before
    async def before(context: ToolContext) -> None:
        noted.append(("before", context))

    @tools.after
    async def after(result: ToolResult) -> None:
        noted.append(("after", result))

    @tools.on_failure
    async def failure(result: ToolResult) -> None:
        noted.append(("on_failure", result))

    return noted


# Context


async def test_tool_gets_the_ids_of_its_call_and_the_context_of_its_stream():
    tools, seen, channel = Toolbox(), list[ToolContext](), object()

    @tools.function
    async def sail(place: str, context: ToolContext) -> str:
        seen.append(context)
        return place

    call = asked(arguments='{"place": "N4"}')
    steps = [step_with(asked(id="call_0"), id="step_0"), step_with(call)]
    given = {"run_id": "run_1", "thread_id": "thread_1", "steps": steps, "context": channel}
    assert await tools.outputs([call], **given) == {"call_1": "N4"}
    assert seen == [
        ToolContext(
            call=call, call_id="call_1", name="sail", run_id="run_1", thread_id="thread_1", step_id="step_1",
            context=channel,
        )
    ]  # fmt: skip
    assert repr(seen[0]) == "<ToolContext sail call_1 of run_1>"
    [definition] = tools.definitions()
    assert list(definition["function"]["parameters"]["properties"]) == ["place"]


async def test_context_without_a_run_has_the_call():
    tools = Toolbox()

    @tools.function
    def sail(*, context: ToolContext | None = None) -> list[object]:
        assert context is not None
        return [context.call_id, context.run_id, context.step_id, context.context]

    assert await tools.outputs([asked()]) == {"call_1": '["call_1",null,null,null]'}
    with_one_more = '{"error":"ValidationError: Object contains unknown field `context`: expected none"}'
    assert await tools.outputs([asked(arguments='{"context": {}}')]) == {"call_1": with_one_more}


async def test_drive_gives_tools_the_ids_and_its_context():
    tools, seen, channel = Toolbox(), list[ToolContext](), object()

    @tools.function
    async def get_depth(place: str, context: ToolContext, tide: str = "low") -> float:
        seen.append(context)
        return 7.5

    async with serve(app(scenario="function", pace="fast")) as url, Processor() as processor:
        runs = RunsClient(f"{url}/v1")
        outcome = await runs.drive(processor, "thread_1", tools, context=channel, assistant_id="asst_1")
    calls = [(call.id, step) for step in outcome.steps.values() for call in step.tool_calls]
    assert outcome.run is not None
    assert calls
    assert sorted((one.call_id, one.step_id) for one in seen) == sorted((call_id, step.id) for call_id, step in calls)
    assert {one.run_id for one in seen} == {outcome.run.id}
    assert {one.thread_id for one in seen} == {"thread_1"}
    assert all(one.context is channel for one in seen)


def test_two_contexts_are_refused():
    def sail(one: ToolContext, two: ToolContext) -> None: ...

    with pytest.raises(TypeError, match="expected one parameter of sail that is a ToolContext, got one, two"):
        Toolbox().function(sail)


# Hooks


async def test_hooks_are_called_around_a_call():
    tools = Toolbox()
    noted = recording(tools)

    @tools.function
    async def sail() -> int:
        noted.append(("call", None))
        return 5

    assert await tools.outputs([asked()], run_id="run_1") == {"call_1": "5"}
    assert [kind for kind, _ in noted] == ["before", "call", "after"]
    context, result = noted[0][1], noted[2][1]
    assert (context.call_id, context.run_id) == ("call_1", "run_1")
    assert (result.context, result.output, result.exception) == (context, "5", None)
    assert 0 <= result.duration < 30
    assert repr(result) == f"<ToolResult sail call_1 in {result.duration:.3f} s>"


@each_row(
    ("call", "raised"),
    [(asked("row"), LookupError), (asked(arguments="{"), ValueError), (asked(), KeyError), (custom(), LookupError)],
)
@pytest.mark.parametrize("on_error", ["output", "cancel"])
async def test_failure_is_handed_to_on_failure_then_to_after(call: ToolCall, raised: type[Exception], on_error: Any):
    tools = Toolbox(on_error=on_error)
    noted = recording(tools)

    @tools.function
    async def sail() -> None:
        raise KeyError("buoy")

    try:
        outputs = await tools.outputs([call])
    except ToolFailed as failure:
        outputs = {"call_1": None}
        assert failure.__cause__ is noted[1][1].exception  # noqa: PT017 - on_error says whether it is raised
    assert [kind for kind, _ in noted] == ["before", "on_failure", "after"]
    assert isinstance(noted[1][1].exception, raised)
    assert noted[1][1].output == outputs["call_1"]
    assert (outputs["call_1"] is None) == (on_error == "cancel")
    assert "buoy" not in repr(noted[1][1])


async def test_hook_that_raises_before_a_call_refuses_it(caplog: pytest.LogCaptureFixture):
    tools = Toolbox()
    noted = recording(tools)

    @tools.before
    async def guard(context: ToolContext) -> None:
        raise PermissionError("not in this channel")

    @tools.function
    async def sail() -> None:
        pytest.fail("it is not called")

    outputs = await tools.outputs([asked()])
    assert json.loads(outputs["call_1"]) == {"error": "PermissionError: not in this channel"}
    assert [kind for kind, _ in noted] == ["before", "on_failure", "after"]


async def test_hook_that_raises_after_a_call_costs_nothing(caplog: pytest.LogCaptureFixture):
    tools = Toolbox()

    @tools.after
    async def note(result: ToolResult) -> None:
        raise KeyError

    noted = recording(tools)

    @tools.function
    async def sail() -> str:
        return "there"

    assert await tools.outputs([asked()]) == {"call_1": "there"}
    assert [kind for kind, _ in noted] == ["before", "after"]
    [record] = [one for one in caplog.records if one.name == "stepstream.client"]
    assert record.levelname == "ERROR"
    assert record.getMessage().endswith(".note failed after a call of the tool")
    assert record.exc_info


async def test_hooks_are_async_functions():
    tools = Toolbox()
    for register in (tools.before, tools.after, tools.on_failure):
        with pytest.raises(TypeError, match="expected an async function as callback"):
            register(lambda given: None)


async def test_call_that_is_cancelled_has_no_end():
    tools, begun = Toolbox(), anyio.Event()
    noted = recording(tools)

    @tools.function
    async def sail() -> None:
        begun.set()
        await anyio.sleep_forever()

    async with anyio.create_task_group() as tasks:
        tasks.start_soon(tools.outputs, [asked()])
        await begun.wait()
        tasks.cancel_scope.cancel()
    assert [kind for kind, _ in noted] == ["before"]


# Limits


async def running(tools: Toolbox, rounds: int, calls: int) -> int:
    """Return how many calls ran at once at most, of rounds that run side by side."""
    now = most = 0

    @tools.function
    async def sail() -> None:
        nonlocal now, most
        now += 1
        most = max(most, now)
        for _ in range(5):
            await anyio.lowlevel.checkpoint()
        now -= 1

    async with anyio.create_task_group() as tasks:
        for _ in range(rounds):
            tasks.start_soon(tools.outputs, [asked(id=f"call_{number}") for number in range(calls)])
    return most


async def test_max_calls_bounds_those_of_all_rounds():
    assert await running(Toolbox(max_calls=3), rounds=4, calls=4) == 3
    assert await running(Toolbox(concurrency=2), rounds=3, calls=4) == 6


def test_toolbox_may_be_used_by_one_event_loop_after_another():
    tools = Toolbox(max_calls=1)

    @tools.function
    async def sail() -> str:
        await anyio.lowlevel.checkpoint()
        return "there"

    for backend in ("asyncio", "trio", "asyncio"):
        answers = anyio.run(tools.outputs, [asked(id="call_1"), asked(id="call_2")], backend=backend)
        assert answers == {"call_1": "there", "call_2": "there"}


async def test_concurrency_of_one_makes_calls_one_after_another_in_their_order():
    tools, noted = Toolbox(concurrency=1), list[str]()

    @tools.function
    async def sail(number: int) -> None:
        noted.append(f"begin {number}")
        await anyio.lowlevel.checkpoint()
        noted.append(f"end {number}")

    await tools.outputs([asked(arguments=f'{{"number": {one}}}', id=f"call_{one}") for one in range(5)])
    assert noted == [f"{what} {one}" for one in range(5) for what in ("begin", "end")]


async def test_after_a_failure_that_cancels_no_further_call_is_made():
    tools, made = Toolbox(concurrency=1, on_error="cancel"), list[int]()

    @tools.function
    async def sail(number: int) -> None:
        made.append(number)
        raise KeyError

    with pytest.raises(ToolFailed):
        await tools.outputs([asked(arguments=f'{{"number": {one}}}', id=f"call_{one}") for one in range(3)])
    assert made == [0]


async def test_calls_of_unknown_kinds_are_passed_over():
    tools = Toolbox()

    @tools.function
    async def sail() -> str:
        return "there"

    assert await tools.outputs((Unknown({"id": "call_0", "type": "new"}), asked())) == {"call_1": "there"}


# Custom tools


async def test_custom_tool_gets_the_text_as_it_is():
    tools = Toolbox()

    @tools.custom(format={"type": "grammar", "syntax": "regex", "definition": "[a-z]+"})
    async def sail(course: str, context: ToolContext) -> str:
        """Sail a course."""
        return f"{context.call_id}: {course}"

    @tools.custom(name="row", description="Row.")
    def rowing(course: str) -> str:
        return course.upper()

    assert await tools.outputs([custom(text='{"a')]) == {"call_1": 'call_1: {"a'}
    assert await tools.outputs([custom("row")]) == {"call_1": "NORTH"}
    assert await tools.outputs([custom("row", "")]) == {"call_1": ""}
    assert tools.definitions() == []
    assert tools.definitions("responses") == [
        {
            "type": "custom",
            "name": "sail",
            "description": "Sail a course.",
            "format": {"type": "grammar", "syntax": "regex", "definition": "[a-z]+"},
        },
        {"type": "custom", "name": "row", "description": "Row."},
    ]


async def test_function_is_no_custom_tool_and_the_other_way_round():
    tools = Toolbox()

    @tools.custom()
    async def sail(course: str) -> None: ...

    @tools.function
    async def row() -> None: ...

    for call in (asked("sail"), custom("row")):
        [said] = (await tools.outputs([call])).values()
        assert "LookupError: no function named" in said


def without() -> None: ...


def two(one: str, other: str) -> None: ...


def position(text: str, /) -> None: ...


@each_row("function", [without, two, position])
def test_custom_tool_has_one_parameter_for_the_text(function: Callable[..., None]):
    with pytest.raises(TypeError, match=f"expected one parameter of {function.__name__} for the text"):
        Toolbox().custom()(function)


async def test_arguments_that_could_not_be_read_are_not_taken_for_none():
    tools, call = Toolbox(), ToolCall(id="call_1", type="function", function=FunctionCall(name="sail"))

    @tools.function
    async def sail(hours: int = 2) -> None: ...

    assert "expected arguments as JSON text, got none" in (await tools.outputs([call]))["call_1"]


# Definitions of both APIs


def test_definitions_of_responses_are_flat():
    tools = Toolbox()

    @tools.function
    async def sail(place: str) -> None:
        """Sail there."""

    @tools.function(strict=True)
    async def row() -> None: ...

    parameters = {
        "type": "object", "properties": {"place": {"type": "string"}}, "required": ["place"],
        "additionalProperties": False,
    }  # fmt: skip
    empty = {"type": "object", "properties": {}, "required": [], "additionalProperties": False}
    sailing = {"name": "sail", "description": "Sail there.", "parameters": parameters}
    rowing = {"name": "row", "description": "", "parameters": empty, "strict": True}
    assert tools.definitions() == [
        {"type": "function", "function": sailing},
        {"type": "function", "function": rowing},
    ]
    assert tools.definitions("responses") == [{"type": "function", **sailing, "strict": False}, {"type": "function", **rowing}]  # fmt: skip # noqa: E501
    with pytest.raises(ValueError, match="expected an api 'assistants' or 'responses', got 'chat'"):
        tools.definitions("chat")


def test_strict_is_that_of_the_toolbox_unless_given():
    tools = Toolbox(strict=True)

    @tools.function
    async def sail() -> None: ...

    @tools.function(strict=False)
    async def row(freely: dict[str, int]) -> None: ...

    assert [one["function"].get("strict") for one in tools.definitions()] == [True, None]


# Logs


def buoy(place: str) -> None:
    raise KeyError(place)


def deep(place: str) -> None:
    try:
        buoy(place)
    except KeyError as exc:
        raise ValueError(place) from exc


def grouped(place: str) -> None:
    raise ExceptionGroup(place, [KeyError(place), ValueError(place)])


def ring(place: str) -> None:
    one, other = KeyError(place), ValueError(place)
    one.__cause__, other.__cause__ = other, one
    raise one


@pytest.mark.parametrize(
    ("function", "shown"),
    [
        (buoy, ["in buoy", "KeyError"]),
        (deep, ["in buoy", "KeyError", "direct cause", "in deep", "ValueError"]),
        (grouped, ["in grouped", "ExceptionGroup"]),
        (ring, ["in ring", "KeyError"]),
    ],
)
@pytest.mark.parametrize("on_error", ["output", "cancel"])
async def test_exception_of_a_tool_is_logged_with_its_traceback_and_not_with_what_it_says(
    function: Callable[[str], None], shown: list[str], on_error: Any, caplog: pytest.LogCaptureFixture
):
    tools = Toolbox(on_error=on_error)
    tools.function(name="sail")(function)
    with caplog.at_level(logging.DEBUG, "stepstream.client"):
        try:
            await tools.outputs([asked(arguments='{"place": "canary"}')], run_id="run_1")
        except ToolFailed:
            assert on_error == "cancel"
    [record] = [one for one in caplog.records if one.exc_info]
    assert (record.levelname, record.getMessage(), vars(record)["run_id"]) == ("DEBUG", "the tool sail raised", "run_1")
    assert "Traceback" in caplog.text
    assert [one for one in shown if one not in caplog.text] == []
    assert "canary" not in caplog.text
    assert "call_in_time" not in caplog.text  # how it was called says nothing of the failure


async def test_arguments_that_do_not_fit_have_no_traceback(caplog: pytest.LogCaptureFixture):
    tools = Toolbox()
    tools.function(name="sail")(buoy)
    with caplog.at_level(logging.DEBUG, "stepstream.client"):
        await tools.outputs([asked(arguments='{"place": 5}'), asked("row", id="call_2")])
    assert sorted(record.getMessage() for record in caplog.records if record.name == "stepstream.client") == [
        "the tool sail failed with ValidationError: the model is told",
        "the tool that was asked for failed with LookupError: the model is told",
    ]
    assert not any(record.exc_info for record in caplog.records)
