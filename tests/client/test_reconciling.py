"""Streams that break, everywhere and in every way: the run is not lost, and nothing is told twice."""

import sys
from collections import Counter
from collections.abc import Iterator, Mapping, Sequence
from itertools import cycle, islice
from random import Random
from typing import NamedTuple

import anyio
import pytest

from stepstream import TransportError
from tests.support.breaking_simulator import KINDS, Break, Kind, Server, Unit, Wire, breaking
from tests.support.drives import Drive, driven, illegal, is_over, key, same, told
from tests.support.stored_runs import stored_run

SCENARIOS = ("message", "code", "parallel-functions", "tool-rounds", "mcp", "two-steps", "incomplete", "run-failed")
USUAL = {"mcp": ["duplicate_created"]}
"""The anomalies of a scenario when nothing breaks."""

THREADS = {"message": "thread_own", "tool-rounds": "thread_own", "mcp": "thread_own"}
"""Scenarios that run on a thread that there is. The others run on new ones."""

DONE = b"event: done\ndata: [DONE]"
FOUND: Mapping[Kind, Mapping[str, float]] = {"cut": {}, "reset": {}, "stall": {"idle_timeout": 1.0}}
"""Only a stall is to be found by its silence: on a busy machine what is under way may take a while."""

AT_ONCE: Mapping[Kind, int] = {"cut": 4, "reset": 4, "stall": 48}
"""How many drives go on at once: where all of them work, more of them work no faster."""

Row = Counter[str]


def stretches(drive: Drive) -> list[tuple[int, int]]:
    """Return how many events and bytes each stream of a drive has."""
    return [(stream.count(b"\n\n"), len(stream)) for stream in drive.wire.streams]


class Place(NamedTuple):
    """A place in the streams of a drive."""

    stream: int
    unit: Unit
    after: int

    def broken(self, kind: Kind) -> Break:
        return Break(kind, *self)


def boundaries(whole: Drive) -> list[Place]:
    """Return every boundary between events."""
    counts = enumerate(stretches(whole), 1)
    return [Place(number, "event", after) for number, (events, _) in counts for after in range(events + 1)]


def offsets(whole: Drive, count: int, seed: str) -> list[Place]:
    """Return so many random offsets in all streams of a drive, as if they were one."""
    sizes = [size for _, size in stretches(whole)]
    found = list[Place]()
    for place in Random(seed).sample(range(sum(sizes)), count):
        number, after = 1, place
        while after >= sizes[number - 1]:
            after -= sizes[number - 1]
            number += 1
        found.append(Place(number, "bytes", after))
    return found


def has_broken(drive: Drive, kind: Kind | None) -> set[bool]:
    """Tell whether a stream of a drive broke. A reset takes back what was sent and not read: then it may be either."""
    was_cut = any(DONE not in stream for stream in drive.wire.streams)
    return {was_cut, kind == "reset"}


async def verdict(server: Server, drive: Drive, kind: Kind | None, usual: Sequence[str], calls: Counter[str]) -> str:
    """Return how a drive ended: "whole", "reconciled", "unknown" where its run's id was not known, or what is wrong."""
    outcome, failure, wire = drive.outcome, drive.failure, drive.wire
    if outcome is None:
        is_declared = isinstance(failure, TransportError) and "before the run's id was known" in str(failure)
        has_outcome = failure is not None and failure.outcome is not None and failure.outcome.events == 0
        had_no_event = kind == "reset" or b"\n\n" not in wire.streams[0]
        return "unknown" if is_declared and has_outcome and had_no_event else repr(failure)
    [run] = outcome.runs.values()
    truth = await stored_run(server.client, run.id, f"{server.url}/threads/{run.thread_id}")
    ends = Counter(key(change) for change in drive.ends)
    expected = Counter(
        [
            ("RunTransition", run.id),
            *(("StepTransition", one["id"]) for one in truth.steps),
            *(("MessageTransition", one["id"]) for one in truth.messages),
        ]
    )
    wrong = {
        "not over": not is_over(truth.run),
        "not the truth": not same(told(outcome), truth),
        "ends not seen once": ends != expected,
        "ends seen otherwise": ends != Counter(key(one) for one in drive.changes if getattr(one, "terminal", False)),
        "illegal": illegal(drive.changes) != [],
        "anomalies": not Counter(one.code for one in outcome.anomalies) <= Counter(usual),
        "says to be reconciled and is not, or the other way": outcome.reconciled not in has_broken(drive, kind),
        "never cancelled": any(getattr(one, "status", "") == "cancelling" for one in drive.changes),
        "other calls": Counter(drive.made) != calls,
    }
    found = [name for name, is_wrong in wrong.items() if is_wrong]
    return ", ".join(found) or ("reconciled" if outcome.reconciled else "whole")


async def judged(server: Server, scenario: str, whole: Drive, breaks: Sequence[Break]) -> dict[str, Row]:
    """Drive a scenario once for each break, several at once, and return the verdicts by kind of break."""
    rows = {kind: Row() for kind in KINDS}
    wrong = list[tuple[Break, str]]()
    usual, calls = USUAL.get(scenario, []), Counter(whole.made)

    async def work(left: Iterator[Break]) -> None:
        for broken in left:
            thread = THREADS.get(scenario)
            drive = await driven(server, Wire(broken), thread_id=thread, **FOUND[broken.kind])
            how = await verdict(server, drive, broken.kind, usual, calls)
            rows[broken.kind][how] += 1
            if how not in ("whole", "reconciled", "unknown"):
                wrong.append((broken, how))

    for kind in KINDS:
        left = iter([broken for broken in breaks if broken.kind == kind])
        async with anyio.create_task_group() as tasks:
            for _ in range(AT_ONCE[kind]):
                tasks.start_soon(work, left)
    assert wrong == []
    return rows


async def unbroken(server: Server, scenario: str) -> Drive:
    drive = await driven(server, Wire(), thread_id=THREADS.get(scenario))
    assert await verdict(server, drive, None, USUAL.get(scenario, []), Counter(drive.made)) == "whole"
    return drive


TITLE = f"{'scenario':<20}{'broken by':<11}{'drives':>7}{'whole':>7}{'reconciled':>12}{'id unknown':>12}{'wrong':>7}"


def table(rows: dict[str, dict[str, Row]]) -> str:
    """Return the result as a table."""
    lines = [TITLE]
    for scenario, kinds in rows.items():
        for kind, row in kinds.items():
            known = [row[how] for how in ("whole", "reconciled", "unknown")]
            lines.append(
                f"{scenario:<20}{kind:<11}{row.total():>7}{known[0]:>7}{known[1]:>12}{known[2]:>12}"
                f"{row.total() - sum(known):>7}"
            )
    return "\n".join(lines)


@pytest.mark.parametrize("scenario", ["mcp"])
async def test_run_whose_stream_breaks_ends_with_the_servers_truth(
    scenario: str, anyio_backend: tuple[str, dict[str, bool]]
):
    """Each place breaks in one way here, in another on each event loop. The slow form has them all."""
    shift = 1 if anyio_backend[0] == "trio" else 2 if anyio_backend[1]["use_uvloop"] else 0
    async with breaking(scenario) as server:
        whole = await unbroken(server, scenario)
        places = boundaries(whole) + offsets(whole, 5, scenario)
        kinds = islice(cycle(KINDS), shift, None)
        rows = await judged(server, scenario, whole, [*map(Place.broken, places, kinds)])
    sys.stdout.write(table({scenario: rows}))
    assert sum(row.total() for row in rows.values()) == len(places)


@pytest.mark.slow
@pytest.mark.parametrize(("scenario", "anyio_backend"), [*zip(SCENARIOS, cycle(["asyncio", "trio"]), strict=False)])
async def test_scenario_at_every_boundary_and_at_200_offsets_by_every_kind_of_break(
    capsys: pytest.CaptureFixture[str], scenario: str, anyio_backend: str
):
    """Half of the scenarios on each event loop."""
    async with breaking(scenario) as server:
        whole = await unbroken(server, scenario)
        places = boundaries(whole) + offsets(whole, 200, scenario)
        every = [place.broken(kind) for kind in KINDS for place in places]
        rows = await judged(server, scenario, whole, every)
    with capsys.disabled():
        sys.stdout.write(f"\n\n{anyio_backend}\n{table({scenario: rows})}\n")
