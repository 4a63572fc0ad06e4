"""A drive that is cancelled: at whatever moment, nothing is left of it."""

from itertools import count

import anyio
import anyio.lowlevel
import pytest

from stepstream import Processor, Toolbox
from tests.support.breaking_simulator import Break, Server, Wire, breaking
from tests.support.suspensions import cancelling

# httpx drops the generator of a request's body half-way; trio warns of that
pytestmark = pytest.mark.filterwarnings("ignore:Async generator 'httpx:ResourceWarning")


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
    client = server.wired(wire, own=True)
    with anyio.fail_after(60):
        async with Processor() as processor:
            with anyio.CancelScope() as scope:
                drive = client.drive(processor, "thread_own", tools, assistant_id="asst_own")
                await cancelling(drive, scope, moment)
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


async def response_cancelled_at(server: Server, moment: int, wire: Wire, tools: Waiting, *, background: bool) -> bool:
    """The same of a response."""
    client = server.wired_responses(wire, own=True)
    with anyio.fail_after(60):
        async with Processor() as processor:
            with anyio.CancelScope() as scope:
                drive = client.drive(processor, tools, input="x", background=background)
                await cancelling(drive, scope, moment)
    return scope.cancel_called


@pytest.mark.slow
@pytest.mark.parametrize("background", [False, True], ids=["plain", "background"])
async def test_drive_of_a_response_can_be_cancelled_at_every_await(background: bool, monkeypatch: pytest.MonkeyPatch):
    """A stream breaks, so that it is resumed or asked for, too."""
    monkeypatch.setattr("stepstream.sources.backoff.FIRST", 0.001)
    async with breaking("function") as server:
        before = {task.id for task in anyio.get_running_tasks()}
        for moment in count(1):
            wire, tools = Wire(Break("cut", 1, "event", 5)), Waiting()
            if not await response_cancelled_at(server, moment, wire, tools, background=background):
                break
            assert tools.running == 0
            assert {task.id for task in anyio.get_running_tasks()} <= before
            await wire.closed()
    assert moment > 25
