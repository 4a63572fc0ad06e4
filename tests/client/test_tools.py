"""The toolbox: calls made with what a model wrote, and everything answered, whatever goes wrong."""

import dataclasses
import functools
import json
import logging
import threading
from collections.abc import Awaitable, Callable
from datetime import UTC, datetime
from typing import Annotated, Any, Literal

import anyio
import anyio.to_thread
import msgspec
import pytest

from stepstream import Toolbox, ToolFailed
from stepstream.wire.tool_calls import FunctionCall, ToolCall
from tests.support.tables import each_row


class Place(msgspec.Struct):
    name: str
    depth: float | None = None


@dataclasses.dataclass
class Berth:
    number: int


def asked(name: str | None, arguments: str | None = "{}", id: str | None = "call_1") -> ToolCall:  # noqa: A002
    return ToolCall(id=id, type="function", function=FunctionCall(name=name, arguments=arguments))


def mcp(id: str = "call_1") -> ToolCall:  # noqa: A002 - the wire's own word
    return ToolCall(id=id, type="mcp", name="find_berth", arguments="{}", server_label="harbour")


async def test_outputs_of_an_approval_request_are_asked_for_elsewhere():
    made = list[int]()
    tools = Toolbox()

    @tools.function
    async def sail() -> None:
        made.append(1)

    with pytest.raises(ValueError, match="use `approvals`"):
        await tools.outputs([asked("sail"), mcp("call_2")])
    assert made == []


async def output(tools: Toolbox, name: str | None = "sail", arguments: str | None = "{}") -> str:
    [found] = (await tools.outputs([asked(name, arguments)])).values()
    return found


async def error(tools: Toolbox, name: str | None = "sail", arguments: str | None = "{}") -> str:
    """Return what the model is told of a failure."""
    found = json.loads(await output(tools, name, arguments))
    assert list(found) == ["error"]
    text: str = found["error"]
    return text


def giving(result: Any, **options: Any) -> Toolbox:
    """Return a toolbox whose tool gives that, or raises it."""
    tools = Toolbox(**options)

    @tools.function
    async def sail() -> Any:
        if isinstance(result, BaseException):
            raise result
        return result

    return tools


# Calls


async def test_async_function_is_called_with_the_models_arguments():
    tools = Toolbox()

    @tools.function
    async def sail(place: Place, *, hours: int = 2, flag: Literal["red", "blue"] | None = None) -> str:
        await anyio.lowlevel.checkpoint()
        return f"{place.name} {place.depth} {hours} {flag}"

    assert await output(tools, arguments='{"place": {"name": "N4"}, "flag": "red"}') == "N4 None 2 red"
    assert await sail(Place("N5")) == "N5 None 2 None"


async def test_sync_function_runs_in_a_thread():
    tools = Toolbox()

    @tools.function
    def sail() -> bool:
        return threading.current_thread() is threading.main_thread()

    assert await output(tools) == "false"


async def test_what_a_sync_function_gives_is_awaited_where_it_can_be():
    tools = Toolbox()

    async def later() -> str:
        return "there"

    @tools.function
    def sail() -> Awaitable[str]:
        return later()

    assert await output(tools) == "there"


class Boat:
    def __init__(self, name: str) -> None:
        self.name = name

    def sail(self, place: str) -> str:
        return f"{self.name} to {place}"

    async def __call__(self, place: str) -> str:
        await anyio.lowlevel.checkpoint()
        return self.sail(place)


@each_row(
    "function", [Boat("Heron").sail, Boat("Heron"), functools.partial(Boat.sail, Boat("Heron")),
                 functools.partial(Boat("Heron"))]
)  # fmt: skip
async def test_methods_callable_objects_and_partials_are_called(function: Callable[..., Any]):
    tools = Toolbox()
    tools.function(name="sail")(function)
    assert await output(tools, arguments='{"place": "N4"}') == "Heron to N4"


async def test_parameters_may_have_any_name():
    tools = Toolbox()

    @tools.function
    async def sail(self: int, function: int, call: int, name: int, arguments: int) -> list[int]:
        return [self, function, call, name, arguments]

    given = {"self": 1, "function": 2, "call": 3, "name": 4, "arguments": 5}
    assert await output(tools, arguments=json.dumps(given)) == "[1,2,3,4,5]"


@each_row("arguments", ["", None])
async def test_no_arguments_are_an_empty_object(arguments: str | None):
    assert await output(giving("there"), arguments=arguments) == "there"


@each_row(
    ("result", "text"),
    [
        ("there", "there"),
        ("", ""),
        ('{"a": 1}', '{"a": 1}'),
        (5, "5"),
        (1.5, "1.5"),
        (True, "true"),
        (None, "null"),
        ({"a": [1, None]}, '{"a":[1,null]}'),
        ([1, "b"], '[1,"b"]'),
        (datetime(2026, 11, 21, tzinfo=UTC), '"2026-11-21T00:00:00Z"'),
        (Place("N4", 3.5), '{"name":"N4","depth":3.5}'),
        (Berth(4), '{"number":4}'),
        ("fi\udcffle", "fi?le"),
    ],
)
async def test_result_is_the_output_as_text(result: object, text: str):
    assert await output(giving(result)) == text


# What goes wrong


@each_row(
    ("arguments", "said"),
    [
        ("{", "DecodeError: Input data was truncated"),
        ("[]", "ValidationError: Expected `object`, got `array`"),
        ("{}", "ValidationError: Object missing required field `place`"),
        ('{"place": {"name": 5}}', "ValidationError: Expected `str`, got `int` - at `$.place.name`"),
        ('{"place": {"name": "N4"}, "hours": -1}', "ValidationError: Expected `int` >= 0 - at `$.hours`"),
        (
            '{"place": {"name": "N4"}, "speed": 1}',
            "ValidationError: Object contains unknown field `speed`: expected place, hours",
        ),
    ],
)
async def test_model_is_told_why_its_arguments_do_not_fit(arguments: str, said: str):
    tools = Toolbox()

    @tools.function
    async def sail(place: Place, hours: Annotated[int, msgspec.Meta(ge=0)] = 1) -> None:
        pytest.fail("it is not called")

    assert await error(tools, arguments=arguments) == said


@each_row("name", ["row", "", None, "x" * 5_000])
async def test_model_is_told_what_there_is_where_a_function_is_not(name: str | None):
    said = await error(giving("there"), name)
    assert said.startswith("LookupError: no function named '")
    assert said.endswith("; there are: sail")
    assert len(said) < 200


async def test_empty_toolbox_has_none():
    assert (await error(Toolbox())).endswith("there are: none")


async def test_call_without_a_function_is_answered():
    answers = await Toolbox().outputs([ToolCall(id="call_1", type="function")])
    assert list(answers) == ["call_1"]


@each_row(
    ("failure", "said"),
    [
        (ValueError("no wind"), "ValueError: no wind"),
        (KeyError(), "KeyError"),
        (TimeoutError("the harbour is closed"), "TimeoutError: the harbour is closed"),
        (ValueError("fi\udcffle"), "ValueError: fi?le"),
        (ExceptionGroup("two", [ValueError()]), "ExceptionGroup: two (1 sub-exception)"),
        (ToolFailed("its own"), "ToolFailed: its own"),
    ],
)
async def test_model_is_told_what_a_tool_raised(failure: Exception, said: str):
    assert await error(giving(failure)) == said


@each_row("result", [object(), {"a": object()}, {1, "a", Boat}, {"a": "\udcff"}])
async def test_result_that_has_no_json_form_is_a_failure(result: object):
    assert "Error: " in await error(giving(result))


async def test_tool_whose_task_was_cancelled_elsewhere_fails_alone():
    kind = anyio.get_cancelled_exc_class()
    if kind.__module__.startswith("trio"):
        pytest.skip("trio cancels by scopes only")
    tools = giving(kind())

    @tools.function
    async def row() -> str:
        await anyio.lowlevel.checkpoint()
        return "there"

    answers = await tools.outputs([asked("sail"), asked("row", id="call_2")])
    assert json.loads(answers["call_1"])["error"].startswith("RuntimeError: it was cancelled by what it awaited")
    assert answers["call_2"] == "there"


# Many calls


async def test_outputs_come_in_the_order_of_the_calls():
    tools, first_may_go = Toolbox(), anyio.Event()

    @tools.function
    async def sail(number: int) -> int:
        if number == 0:
            await first_may_go.wait()
        first_may_go.set()
        return number

    calls = [asked("sail", f'{{"number": {number}}}', f"call_{number}") for number in range(4)]
    with anyio.fail_after(60):
        answers = await tools.outputs(calls)
    assert list(answers.items()) == [(f"call_{number}", str(number)) for number in range(4)]


@pytest.mark.parametrize("limit", [1, 3])
async def test_no_more_calls_are_made_at_once_than_the_limit_says(limit: int):
    tools, running, most = Toolbox(concurrency=limit), 0, 0

    @tools.function
    async def sail() -> None:
        nonlocal running, most
        running += 1
        most = max(most, running)
        for _ in range(5):
            await anyio.lowlevel.checkpoint()
        running -= 1

    await tools.outputs([asked("sail", id=f"call_{number}") for number in range(10)])
    assert (running, most) == (0, limit)


async def test_threads_are_as_many_as_the_limit_says():
    tools, together = Toolbox(concurrency=60), threading.Barrier(60)

    @tools.function
    def sail() -> None:
        together.wait(10)  # more than the threads that anyio allows by itself

    answers = await tools.outputs([asked("sail", id=f"call_{number}") for number in range(60)])
    assert set(answers.values()) == {"null"}


async def test_call_that_is_named_twice_is_made_once():
    tools, made = Toolbox(), list[int]()

    @tools.function
    async def sail(number: int) -> int:
        made.append(number)
        return number

    answers = await tools.outputs([asked("sail", '{"number": 1}'), asked("sail", '{"number": 2}')])
    assert (answers, made) == ({"call_1": "1"}, [1])


async def test_call_without_an_id_cannot_be_answered():
    assert await giving("there").outputs([asked("sail", id=None), asked("sail", id="")]) == {}
    assert await giving("there").outputs([]) == {}


# Failures that cancel the run


async def test_failure_cancels_the_others_and_is_raised_alone():
    tools, ended = Toolbox(on_error="cancel"), list[str]()
    failure = ValueError("no wind")

    @tools.function
    async def sail() -> None:
        raise failure

    @tools.function
    async def wait() -> None:
        try:
            await anyio.sleep_forever()
        finally:
            ended.append("wait")

    with pytest.raises(ToolFailed, match=r"^the tool sail failed with ValueError$") as caught:
        await tools.outputs([asked("wait", id="call_1"), asked("sail", id="call_2")])
    assert caught.value.__cause__ is failure
    assert ended == ["wait"]


@each_row(("name", "arguments", "cause"), [("row", "{}", LookupError), ("sail", "{", msgspec.DecodeError)])
async def test_call_that_cannot_be_made_is_a_failure_too(name: str, arguments: str, cause: type[Exception]):
    tools = giving("there", on_error="cancel")
    with pytest.raises(ToolFailed) as caught:
        await tools.outputs([asked(name, arguments)])
    assert isinstance(caught.value.__cause__, cause)


async def test_first_of_many_failures_is_raised():
    tools = giving(ValueError("no wind"), on_error="cancel")
    with pytest.raises(ToolFailed):
        await tools.outputs([asked("sail", id=f"call_{number}") for number in range(5)])


# Approvals


@each_row("given", [True, False, "no", "yes", 1, 0, None, {"approve": True}])
async def test_only_true_approves(given: Any):
    tools, seen = Toolbox(), list[ToolCall]()

    @tools.approve
    async def may(call: ToolCall) -> bool:
        seen.append(call)
        await anyio.lowlevel.checkpoint()
        return given

    assert await tools.approvals([mcp(), mcp("call_2")]) == {"call_1": given is True, "call_2": given is True}
    assert sorted(seen, key=lambda call: call.id or "") == [mcp(), mcp("call_2")]


async def test_sync_approval_runs_in_a_thread():
    tools = Toolbox()

    @tools.approve
    def may(call: ToolCall) -> bool:
        return threading.current_thread() is not threading.main_thread() and call.name == "find_berth"

    assert await tools.approvals([mcp()]) == {"call_1": True}


async def test_nobody_approves_nothing():
    assert await Toolbox().approvals([mcp()]) == {"call_1": False}


async def test_approval_that_raises_is_a_refusal_even_where_tools_cancel():
    tools = Toolbox(on_error="cancel")

    @tools.approve
    async def may(call: ToolCall) -> bool:
        raise ValueError

    assert await tools.approvals([mcp()]) == {"call_1": False}


# Cancellation


async def test_caller_who_is_cancelled_cancels_its_tools():
    tools, seen, begun = Toolbox(), list[str](), anyio.Event()

    @tools.function
    async def sail() -> None:
        try:
            begun.set()
            await anyio.sleep_forever()
        finally:
            seen.append("ended")

    @tools.approve
    async def may(call: ToolCall) -> bool:
        await sail()
        return True

    for answering, calls in ((tools.outputs, [asked("sail", id=f"call_{n}") for n in range(3)]), (tools.approvals, [mcp()])):  # fmt: skip # noqa: E501
        seen.clear()
        begun = anyio.Event()
        async with anyio.create_task_group() as tasks:
            tasks.start_soon(answering, calls)
            await begun.wait()
            await anyio.wait_all_tasks_blocked()
            tasks.cancel_scope.cancel()
        assert seen == ["ended"] * len(calls)


async def test_tool_that_answers_its_cancellation_with_an_exception_does_not_stop_it():
    tools, begun = Toolbox(), anyio.Event()

    @tools.function
    async def sail() -> None:
        try:
            begun.set()
            await anyio.sleep_forever()
        finally:
            raise ValueError("no wind")

    with anyio.CancelScope() as scope:
        async with anyio.create_task_group() as tasks:
            tasks.start_soon(tools.outputs, [asked("sail")])
            await begun.wait()
            scope.cancel()
    assert scope.cancelled_caught


async def test_caller_who_is_cancelled_leaves_a_thread_behind():
    tools, begun, may_end = Toolbox(), threading.Event(), threading.Event()

    @tools.function
    def sail() -> None:
        begun.set()
        may_end.wait(10)

    try:
        with anyio.fail_after(60):
            async with anyio.create_task_group() as tasks:
                tasks.start_soon(tools.outputs, [asked("sail")])
                await anyio.to_thread.run_sync(begun.wait, 5)
                tasks.cancel_scope.cancel()
    finally:
        may_end.set()


# Registration


def test_name_is_taken_once():
    tools = Toolbox()

    @tools.function
    def sail() -> None: ...

    with pytest.raises(ValueError, match="a function 'sail' is registered"):
        tools.function(sail)
    tools.function(name="row")(sail)
    assert [one["function"]["name"] for one in tools.definitions()] == ["sail", "row"]
    assert repr(tools) == "<Toolbox sail, row>"
    assert repr(Toolbox()) == "<Toolbox empty>"


def test_one_approves():
    tools = Toolbox()

    @tools.approve
    async def may(call: ToolCall) -> bool:
        return True

    with pytest.raises(ValueError, match="another is registered"):
        tools.approve(may)
    with pytest.raises(TypeError, match="expected a function, got bool"):
        Toolbox().approve(True)


def test_what_is_no_function_is_refused():
    with pytest.raises(TypeError, match="expected a function, got str"):
        Toolbox().function("sail")


@each_row(
    "options", [{"concurrency": 0}, {"timeout": 0}, {"timeout": -1}, {"timeout": float("nan")}, {"on_error": "raise"}]
)
def test_options_are_checked(options: dict[str, Any]):
    with pytest.raises(ValueError, match="expected"):
        Toolbox(**options)


def test_definitions_are_ready_for_the_api():
    tools = Toolbox()

    @tools.function(name="sail", description="Sail there.")
    def sail_there(place: Place) -> None: ...

    place = {"properties": {"name": {"type": "string"}, "depth": {"anyOf": [{"type": "number"}, {"type": "null"}], "default": None}}}  # fmt: skip # noqa: E501
    [definition] = json.loads(json.dumps(tools.definitions()))
    assert definition == {
        "type": "function",
        "function": {
            "name": "sail",
            "description": "Sail there.",
            "parameters": {
                "type": "object",
                "properties": {"place": {"$ref": "#/$defs/Place"}},
                "required": ["place"],
                "additionalProperties": False,
                "$defs": {"Place": {"title": "Place", "type": "object", **place, "required": ["name"]}},
            },
        },
    }


# Logs

CANARY = "canary-4711"


@pytest.mark.parametrize("on_error", ["output", "cancel"])
async def test_nothing_of_arguments_outputs_and_exceptions_is_logged(
    on_error: Literal["output", "cancel"], caplog: pytest.LogCaptureFixture
):
    tools = Toolbox(on_error=on_error)

    @tools.function
    async def sail(place: str) -> str:
        if place == CANARY:
            raise ValueError(CANARY)
        return CANARY

    @tools.approve
    async def may(call: ToolCall) -> bool:
        raise ValueError(CANARY)

    calls = [asked("sail", f'{{"place": "{CANARY}"}}'), asked("sail", f'{{"{CANARY}": 1}}'), asked(CANARY)]
    with caplog.at_level(logging.DEBUG):
        for call in [*calls, asked("sail", '{"place": "N4"}')]:
            try:
                await tools.outputs([call])
            except ToolFailed as failure:
                assert CANARY not in str(failure)  # noqa: PT017 - it is raised where on_error says so
        await tools.approvals([ToolCall(id="call_1", type="mcp", name=CANARY, arguments=CANARY)])
    assert CANARY not in caplog.text
    told = [record.getMessage() for record in caplog.records if record.name == "stepstream.client"]
    assert "the approval of an MCP call failed with ValueError: it is refused" in told
    assert ("the tool sail failed with ValueError: the model is told" in told) == (on_error == "output")
