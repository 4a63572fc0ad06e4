"""How to test hooks of one's own: against a simulated server, over real HTTP, in milliseconds and without a key.

`alert` stands for what an application does at the end of a run. A scenario is a story told by the simulator, a fault
what goes wrong in it; `stepstream simulate --list` tells all of them. Tests and fixtures that are async are run by the
plugin of anyio, which pytest finds by itself.
"""

from collections.abc import AsyncIterator

import pytest

from stepstream import Processor, RunsClient, RunTransition, Toolbox
from stepstream.simulator import app, serve

pytestmark = pytest.mark.anyio

# The application


class Alerts:
    """Collects what went wrong, by channel."""

    def __init__(self) -> None:
        self.sent: list[tuple[str, str]] = []

    def attach(self, processor: Processor) -> None:
        processor.add(RunTransition, self.alert, status=["failed", "expired", "incomplete"])

    async def alert(self, change: RunTransition) -> None:
        why = change.run.last_error.message if change.run.last_error else change.status
        self.sent.append((change.context, why or change.status))


# Its tests


@pytest.fixture
async def processor() -> AsyncIterator[Processor]:
    async with Processor(strict=True) as processor:  # what a hook raises fails the test
        yield processor


async def test_failed_run_alerts_its_channel(processor: Processor):
    alerts = Alerts()
    alerts.attach(processor)
    async with serve(app(scenario="run-failed", pace="fast")) as url:
        await processor.run(RunsClient(f"{url}/v1").stream_run("thread_1", assistant_id="asst_1"), context="#harbour")
    [(channel, why)] = alerts.sent
    assert channel == "#harbour"
    assert why


async def test_run_that_ends_well_alerts_nobody(processor: Processor):
    alerts = Alerts()
    alerts.attach(processor)
    async with serve(app(scenario="message", pace="fast")) as url:
        await processor.run(RunsClient(f"{url}/v1").stream_run("thread_1", assistant_id="asst_1"), context="#harbour")
    assert alerts.sent == []


async def test_tools_are_called_with_what_the_model_wrote(processor: Processor):
    tools, asked = Toolbox(on_error="cancel"), list[str]()  # a tool that fails fails the test

    @tools.function
    async def get_depth(place: str, tide: str) -> float:
        asked.append(place)
        return 4.1

    async with serve(app(scenario="function", pace="fast")) as url:
        outcome = await RunsClient(f"{url}/v1").drive(processor, "thread_1", tools, assistant_id="asst_1")
    assert asked == ["north pier"]
    assert outcome.status == "completed"
