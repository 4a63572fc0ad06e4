"""Tools that take too long, on clocks that jump."""

import json
import math

import anyio
import pytest

from stepstream import Toolbox, ToolFailed
from stepstream.wire.tool_calls import FunctionCall, ToolCall
from tests.support.virtual_time import anyio_backend as anyio_backend

SLOW = ToolCall(id="call_1", type="function", function=FunctionCall(name="sail", arguments="{}"))
FAST = ToolCall(id="call_2", type="function", function=FunctionCall(name="row", arguments="{}"))


def harbour(**options: object) -> Toolbox:
    """Return a toolbox with a tool that takes 50 seconds, and one that takes 1."""
    tools = Toolbox(**options)

    @tools.function
    async def sail() -> str:
        await anyio.sleep(50)
        return "there"

    @tools.function
    async def row() -> str:
        await anyio.sleep(1)
        return "there"

    @tools.approve
    async def may(call: ToolCall) -> bool:
        await anyio.sleep(50 if call.id == "call_1" else 1)
        return True

    return tools


async def test_call_that_takes_too_long_is_told_and_the_others_are_not_touched():
    began = anyio.current_time()
    answers = await harbour(timeout=30).outputs([SLOW, FAST])
    assert json.loads(answers["call_1"]) == {"error": "TimeoutError: it took longer than 30 s"}
    assert answers["call_2"] == "there"
    assert anyio.current_time() - began == pytest.approx(30)


async def test_time_runs_for_each_call_from_its_own_beginning():
    began = anyio.current_time()
    calls = [ToolCall(id=f"call_{number}", type="function", function=SLOW.function) for number in range(3)]
    answers = await harbour(timeout=60, concurrency=1).outputs(calls)
    assert set(answers.values()) == {"there"}
    assert anyio.current_time() - began == pytest.approx(150)


async def test_time_may_be_without_end():
    assert await harbour(timeout=math.inf).outputs([SLOW]) == {"call_1": "there"}


async def test_call_that_takes_too_long_may_cancel_the_run():
    with pytest.raises(ToolFailed, match="the tool sail failed with TimeoutError") as caught:
        await harbour(timeout=30, on_error="cancel").outputs([SLOW, FAST])
    assert isinstance(caught.value.__cause__, TimeoutError)


async def test_approval_that_takes_too_long_is_a_refusal():
    assert await harbour(timeout=30).approvals([SLOW, FAST]) == {"call_1": False, "call_2": True}


async def test_tool_that_ends_in_time_though_it_was_told_to_stop_has_its_result():
    tools = Toolbox(timeout=30)

    @tools.function
    async def sail() -> str:
        with anyio.CancelScope(shield=True):
            await anyio.sleep(50)
        return "there"

    assert await tools.outputs([SLOW]) == {"call_1": "there"}
