"""A drive that is cancelled: at whatever moment, nothing is left of it."""

from collections.abc import Callable, Coroutine, Generator
from itertools import count
from types import coroutine
from typing import Any

import anyio
import anyio.lowlevel
import pytest
from breaking import Break, Server, Wire, breaking
from breaking import host as host

from stepstream import Processor, Toolbox

# httpx drops the generator of a request's body half-way; trio warns of that
pytestmark = pytest.mark.filterwarnings("ignore:Async generator 'httpx:ResourceWarning")


@coroutine
def observed(awaited: Coroutine[Any, Any, Any], suspending: Callable[[], object]) -> Generator[Any, Any, Any]:
    """Await `awaited`, and call `suspending` each time right before it is suspended."""
    step, value = awaited.send, None
    while True:
        try:
            trap = step(value)
        except StopIteration as stop:
            return stop.value
        suspending()
        try:
            step, value = awaited.send, (yield trap)
        except BaseException as exc:  # noqa: BLE001 - handed on to where it belongs
            step, value = awaited.throw, exc


class Waiting(Toolbox):
    """A toolbox whose only tool takes a while, and knows how it was left."""

    def __init__(self) -> None:
        super().__init__()
        self.running = 0
        self.function(self.get_depth)

    async def get_depth(self, place: str, tide: str) -> int:
        self.running += 1
        try:
            for _ in range(3):
                await anyio.lowlevel.checkpoint()
            return 7
        finally:
            self.running -= 1


async def cancelled_at(server: Server, moment: int, wire: Wire, tools: Waiting) -> bool:
    """Drive a run, and cancel that when it is suspended for the time of that number. Return whether it came to it."""
    turns = count(1)
    client = server.wired(wire, own=True)
    with anyio.fail_after(10):
        async with Processor() as processor:
            with anyio.CancelScope() as scope:
                await observed(
                    client.drive(processor, "thread_own", tools, assistant_id="asst_own"),
                    lambda: scope.cancel() if next(turns) == moment else None,
                )
    return scope.cancel_called


@pytest.mark.parametrize("stream", [1, pytest.param(2, marks=pytest.mark.slow)])
async def test_drive_can_be_cancelled_at_every_await_and_leaves_nothing_behind(stream: int):
    """A stream breaks, so that it asks, too."""
    async with breaking("function") as server:
        before = {task.id for task in anyio.get_running_tasks()}
        for moment in count(1):
            wire, tools = Wire(Break("cut", stream, "event", 5)), Waiting()
            if not await cancelled_at(server, moment, wire, tools):
                break
            assert tools.running == 0
            assert {task.id for task in anyio.get_running_tasks()} <= before
            await wire.closed()
    assert moment > 40
