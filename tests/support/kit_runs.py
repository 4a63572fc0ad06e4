"""Runs as forms are fed with them, of every scenario of the simulator in every dialect: all streams of each, as one."""

from functools import cache, partial

import anyio

from stepstream import Frame, FrameDecoder
from stepstream.simulator import app
from stepstream.simulator.scenarios import SCENARIOS
from tests.support.fed_forms import Fed, fed_of
from tests.support.simulator_responses import rounds
from tests.support.simulator_runs import calling, whole_bytes

LARGE = {"big-logs", "many-deltas"}
DIALECTS = ("thread", "items")
NAMES = [f"{scenario} as {dialect}" for scenario in SCENARIOS if scenario not in LARGE for dialect in DIALECTS]


@cache
def run_named(name: str) -> list[Fed]:
    """Return a run of `NAMES`."""
    return fed_of(anyio.run(partial(_frames, *name.split(" as "))))


async def _frames(scenario: str, dialect: str) -> list[Frame]:
    async with calling(app(scenario=scenario, pace="fast", seed=1)) as client:
        if dialect == "items":
            return [frame for one in await rounds(client) for frame in one.frames]
        streams = await whole_bytes(client)
        return [frame for stream in streams for frame in FrameDecoder().feed(stream)]
