"""Streams of responses that break, everywhere and in every way: nothing is lost, and nothing is told twice."""

import sys
from collections import Counter
from collections.abc import Sequence
from random import Random
from typing import Any

import anyio
import pytest

from stepstream.simulator.application import app
from stepstream.sources import backoff
from tests.support.breaking_simulator import KINDS, Break, Kind, Server, Wire, breaking
from tests.support.json_values import JSON
from tests.support.response_drives import driven, wrong_with

FAST: Sequence[tuple[str, JSON]] = (
    ("code", {}),
    ("parallel-functions", {"background": True}),
    ("mcp", {"background": True}),
    ("run-failed", {}),
)
WAYS: Sequence[JSON] = ({}, {"background": True})
SCENARIOS = ("message", "code", "parallel-functions", "mcp", "reasoning", "tool-rounds", "run-failed", "incomplete")
ALL = [(name, way) for name in SCENARIOS for way in WAYS]
OPTIONS: JSON = {"idle_timeout": 30, "reconcile_timeout": 60}
"""Only a stall is to be found by its silence. Bytes may be there for a while before a busy machine reads them."""
STALLED: JSON = {**OPTIONS, "idle_timeout": 0.5}
STALLED_BESIDE_MANY: JSON = {**OPTIONS, "idle_timeout": 2}
AT_ONCE = {"cut": 4, "reset": 4, "stall": 24}


@pytest.fixture(autouse=True)
def _impatient(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(backoff, "FIRST", 0.001)


async def verdicts(
    server: Server, breaks: Sequence[Break], parameters: JSON, kind: Kind, options: JSON = OPTIONS
) -> Counter[str]:
    """Drive once for each break, several at once, and return how they ended."""
    found = Counter[str]()
    limiter = anyio.CapacityLimiter(AT_ONCE[kind])

    async def one(broken: Break) -> None:
        async with limiter:
            drive = await driven(server, Wire(broken), options=options, **parameters)
            ended = await wrong_with(server, drive)
            # the id is in the first event: without that, nothing can be done. A reset takes back what was not read
            if ended == "lost" and kind != "reset" and b"\n\n" in drive.wire.streams[-1]:
                ended = "lost though its id was known"
            found[ended if ended in ("whole", "reconciled", "lost") else f"{broken}: {ended}"] += 1

    async with anyio.create_task_group() as tasks:
        for broken in breaks:
            tasks.start_soon(one, broken)
    return found


async def whole_streams(server: Server, options: JSON) -> list[bytes]:
    drive = await driven(server, Wire(), options=OPTIONS, **options)
    assert await wrong_with(server, drive) == "whole"
    return [bytes(stream) for stream in drive.wire.streams]


def events_in(streams: Sequence[bytes]) -> list[tuple[int, int]]:
    return [(number, after) for number, one in enumerate(streams, 1) for after in range(one.count(b"\n\n") + 1)]


def bytes_in(streams: Sequence[bytes], count: int, seed: str) -> list[tuple[int, int]]:
    places = [(number, after) for number, one in enumerate(streams, 1) for after in range(len(one))]
    return Random(seed).sample(places, count)


@pytest.mark.parametrize(("scenario", "options"), FAST)
async def test_response_whose_stream_breaks_is_told_whole(scenario: str, options: JSON):
    async with breaking(scenario) as server:
        streams = await whole_streams(server, options)
        for kind, events, offsets in (("cut", 4, 1), ("reset", 2, 1), ("stall", 1, 0)):
            chosen = Random(f"{scenario} {kind}").sample(events_in(streams), events)
            breaks = [Break(kind, number, "event", after) for number, after in chosen]  # type: ignore[arg-type]
            in_bytes = bytes_in(streams, offsets, f"{scenario} {kind}")
            breaks += [Break(kind, number, "bytes", after) for number, after in in_bytes]  # type: ignore[arg-type]
            patience = STALLED if kind == "stall" else OPTIONS
            found = await verdicts(server, breaks, options, kind, patience)  # type: ignore[arg-type]
            assert set(found) <= {"whole", "reconciled", "lost"}


@pytest.mark.slow
@pytest.mark.parametrize("anyio_backend", ["asyncio"])
@pytest.mark.parametrize(("scenario", "options"), ALL)
async def test_response_is_told_whole_wherever_its_stream_breaks(
    scenario: str, options: JSON, capsys: pytest.CaptureFixture[str]
):
    await broken_everywhere(scenario, options, capsys, "asyncio")


@pytest.mark.slow
@pytest.mark.parametrize("anyio_backend", [("asyncio", {"use_uvloop": True}), ("trio", {})], ids=["uvloop", "trio"])
@pytest.mark.parametrize(("scenario", "options"), [("mcp", {"background": True}), ("tool-rounds", {})])
async def test_response_is_told_whole_on_other_loops_wherever_its_stream_breaks(
    scenario: str, options: JSON, capsys: pytest.CaptureFixture[str], request: pytest.FixtureRequest
):
    await broken_everywhere(scenario, options, capsys, request.node.callspec.id.rpartition("-")[2])


async def broken_everywhere(scenario: str, options: JSON, capsys: pytest.CaptureFixture[str], backend: str) -> None:
    """Break a stream at every event and at 200 bytes, in each way, and print the table."""
    rows = list[tuple[Any, ...]]()
    async with breaking(scenario) as server:
        streams = await whole_streams(server, options)
        for kind in KINDS:
            breaks = [Break(kind, number, "event", after) for number, after in events_in(streams)]
            breaks += [Break(kind, number, "bytes", after) for number, after in bytes_in(streams, 200, scenario)]
            found = await verdicts(server, breaks, options, kind, STALLED_BESIDE_MANY if kind == "stall" else OPTIONS)
            rows.append((kind, found["whole"], found["reconciled"], found["lost"]))
            assert set(found) <= {"whole", "reconciled", "lost"}
    with capsys.disabled():
        name = f"{scenario}{' in the background' if options else ''}, {backend}"
        for kind, *counts in rows:
            sys.stdout.write(f"\n{name:45} {kind:6} whole {counts[0]:4} reconciled {counts[1]:4} no id {counts[2]:4}")


DEVIATIONS = ("no-added", "no-done", "unnamed", "done-mark", "duplicate", "unknown=2", "replay=6")
"""What a server may do to streams besides, of which nothing is lost."""


@pytest.mark.slow
@pytest.mark.parametrize("seed", range(4))
async def test_response_of_an_odd_server_is_told_whole_where_its_stream_breaks(seed: int):
    random, ended = Random(seed), Counter[str]()
    for _ in range(60):
        scenario = random.choice(["message", "code", "parallel-functions", "mcp", "reasoning", "search", "tool-rounds"])
        faults = random.sample(DEVIATIONS, random.choice([0, 1, 1, 2, 3]))
        unit, after = random.choice([("event", random.randrange(1, 60)), ("bytes", random.randrange(500, 9_000))])
        broken = Break(random.choice(["cut", "reset"]), random.choice([1, 1, 2]), unit, after)  # type: ignore[arg-type]
        parameters: JSON = random.choice([{}, {"background": True}, {"conversation": "conv_own"}])
        async with breaking(app(scenario=scenario, pace="fast", fault=faults)) as server:
            drive = await driven(server, Wire(broken), options=OPTIONS, **parameters)
            found = await wrong_with(server, drive, allowed={"replayed_event"})
        ended[found if found in ("whole", "reconciled", "lost") else f"{scenario} {faults} {broken}: {found}"] += 1
    assert set(ended) <= {"whole", "reconciled", "lost"}
