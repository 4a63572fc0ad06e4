"""The only place that times, repeats and prints.

Every measurement has a process of its own: it warms up on a small stream, then times passes over the full one until
the clock has run for a while, and gives the median pass. The result of every pass is checked before its time counts.
The rows of a case take turns, so that a slow minute of the machine meets all of them, and ratios are taken within a
round. Where rows differ by little, they share a process and take turns pass by pass.
"""

import gc
import hashlib
import platform
import subprocess
import sys
from collections.abc import Callable, Iterable, Mapping, Sequence
from concurrent.futures import ProcessPoolExecutor
from dataclasses import asdict, dataclass
from importlib import import_module, metadata
from multiprocessing import get_context
from pathlib import Path
from statistics import median
from time import perf_counter
from typing import Any, Final

import anyio

from benchmarks.workloads import CHUNK_SIZE, Workload

REPEATS: Final = 5
WARM_UP: Final = 500
"""The size of the stream that a process warms up on."""

_TOP: Final = Path(__file__).parents[1]


@dataclass(frozen=True)
class Row:
    """One line of a case's table: a module of `peers`, or `module.NAME` of an object in it, on the case's workload."""

    label: str
    peer: str


@dataclass(frozen=True)
class Figure:
    """A number that is made of several rows."""

    label: str
    of: Callable[[Mapping[str, float]], float]
    """Given the seconds of each row's pass in one round, by its label."""


@dataclass(frozen=True)
class Case:
    """One question, and the rows that answer it."""

    name: str
    question: str
    workload: Callable[[int], Workload]
    size: int
    unit: str
    """What `size` counts."""
    rows: tuple[Row, ...]
    against: tuple[str, ...]
    """The labels of the rows that every row is compared with."""
    figures: tuple[Figure, ...] = ()
    takes_turns_by_pass: bool = False
    """Whether the rows of a round share a process."""
    long_enough: float = 0.25
    """Seconds on the clock of one row after which a process times no further pass."""


@dataclass(frozen=True)
class Sample:
    """What one process measured."""

    events: int
    seconds: float
    """The median pass."""
    passes: int


def run(cases: Sequence[Case]) -> dict[str, Any]:
    """Measure and print the cases, and return everything as plain data."""
    environment = _environment(cases)
    for key, value in environment.items():
        print(f"{key:<10} {value if isinstance(value, str) else ', '.join(f'{k} {v}' for k, v in value.items())}")
    reports = []
    for case in cases:
        reports.append(_report(case, _measure(case)))
        print("", *_lines(case, reports[-1]), sep="\n")
    return {"environment": environment, "cases": reports}


def _measure(case: Case) -> dict[str, list[Sample]]:
    """Return each row's samples, by its label. The first row of a round is another one every time."""
    samples: dict[str, list[Sample]] = {row.label: [] for row in case.rows}
    with ProcessPoolExecutor(1, mp_context=get_context("spawn"), max_tasks_per_child=1) as fresh:
        for number in range(REPEATS):
            turns = _turned(case.rows, number)
            for rows in [turns] if case.takes_turns_by_pass else [(row,) for row in turns]:
                labels = [row.label for row in rows]
                for label, sample in fresh.submit(_samples, case.name, labels).result().items():
                    samples[label].append(sample)
            print(f"{case.name}: round {number + 1} of {REPEATS}", file=sys.stderr)
    return samples


def _turned(rows: Sequence[Row], number: int) -> tuple[Row, ...]:
    """Return the rows, beginning with another one every time."""
    first = number % len(rows)
    return (*rows[first:], *rows[:first])


def _samples(name: str, labels: Sequence[str]) -> dict[str, Sample]:
    """Run in the measuring process. The rows take turns there."""
    case: Case = import_module("benchmarks.cases").CASES[name]
    rows = [row for row in case.rows if row.label in labels]
    peers = {row.label: _peer(row) for row in rows}
    for peer in peers.values():
        anyio.run(_pass, peer, case.workload(WARM_UP))
    load, events = case.workload(case.size), {}
    times: dict[str, list[float]] = {label: [] for label in labels}
    while max(map(sum, times.values())) < case.long_enough:
        for row in _turned(rows, len(times[labels[0]])):
            events[row.label], seconds = anyio.run(_pass, peers[row.label], load)
            times[row.label].append(seconds)
    return {label: Sample(events[label], median(took), len(took)) for label, took in times.items()}


def _peer(row: Row) -> Any:
    name, _, attribute = row.peer.partition(".")
    module = import_module(f"benchmarks.peers.{name}")
    return getattr(module, attribute) if attribute else module


async def _pass(peer: Any, load: Workload) -> tuple[int, float]:
    prepared = peer.prepare(load)
    gc.collect()
    begin = perf_counter()
    result = await peer.run(prepared)
    seconds = perf_counter() - begin
    return peer.check(load, result), seconds


def _report(case: Case, samples: dict[str, list[Sample]]) -> dict[str, Any]:
    load = case.workload(case.size)
    return {
        "case": case.name,
        "question": case.question,
        "size": case.size,
        "unit": case.unit,
        "events": len(load.events),
        "bytes": sum(map(len, load.chunks)),
        "chunk_bytes": CHUNK_SIZE,
        "repeats": REPEATS,
        "rows": [_row_report(case, row, samples) for row in case.rows],
        "figures": {figure.label: _figure(figure, samples) for figure in case.figures},
    }


def _figure(figure: Figure, samples: dict[str, list[Sample]]) -> dict[str, float]:
    rounds = zip(*samples.values(), strict=True)
    return _spread(figure.of(dict(zip(samples, (one.seconds for one in each), strict=True))) for each in rounds)


def _row_report(case: Case, row: Row, samples: dict[str, list[Sample]]) -> dict[str, Any]:
    own = samples[row.label]
    costs = [_cost(sample) for sample in own]
    ratios = {
        label: _spread([_cost(theirs) / cost for cost, theirs in zip(costs, samples[label], strict=True)])
        for label in case.against
    }
    return {
        "label": row.label,
        "events": own[0].events,
        "events_per_second": 1e6 / median(costs),
        "microseconds_per_event": _spread(costs),
        "speed_against": ratios,
        "samples": [asdict(sample) for sample in own],
    }


def _cost(sample: Sample) -> float:
    return 1e6 * sample.seconds / sample.events


def _spread(values: Iterable[float]) -> dict[str, float]:
    values = sorted(values)
    return {"median": median(values), "min": values[0], "max": values[-1]}


def _lines(case: Case, report: dict[str, Any]) -> list[str]:
    """Return the table: what was asked, a line a row, and what the columns mean."""
    header = ["", "events", "events/s", "µs/event", "(min-max)", *(f"speed ÷ {label}" for label in case.against)]
    table = [header, *(list(_cells(row)) for row in report["rows"])]
    widths = [max(map(len, column)) for column in zip(*table, strict=True)]
    shared = "a repeat" if case.takes_turns_by_pass else "each"
    return [
        f"{case.name}: {case.question}",
        f"{report['size']:,} {case.unit}, {report['events']:,} events, {report['bytes']:,} bytes",
        f"chunks of {report['chunk_bytes']:,} bytes, {report['repeats']} interleaved repeats, one process {shared}",
        "",
        *(_aligned(cells, widths) for cells in table),
        "",
        *(f"{label}: {_ranged(figure)}" for label, figure in report["figures"].items()),
        "Every figure is the median of the repeats; a ratio is taken within each repeat, its range is in brackets.",
    ]


def _cells(row: dict[str, Any]) -> Iterable[str]:
    cost = row["microseconds_per_event"]
    yield row["label"]
    yield f"{row['events']:,}"
    yield f"{row['events_per_second']:,.0f}"
    yield f"{cost['median']:.2f}"
    yield f"{cost['min']:.2f}-{cost['max']:.2f}"
    for label, ratio in row["speed_against"].items():
        yield "1" if label == row["label"] else _ranged(ratio)


def _ranged(figure: dict[str, float]) -> str:
    return f"{figure['median']:.3g} ({figure['min']:.3g}-{figure['max']:.3g})"


def _aligned(cells: Sequence[str], widths: Sequence[int]) -> str:
    padded = [cell.rjust(width) for cell, width in zip(cells, widths, strict=True)]
    return "  ".join([cells[0].ljust(widths[0]), *padded[1:]])


def _environment(cases: Sequence[Case]) -> dict[str, Any]:
    peers = {row.peer.partition(".")[0] for case in cases for row in case.rows}
    names = {name for peer in peers for name in import_module(f"benchmarks.peers.{peer}").PACKAGES}
    return {
        "python": f"{platform.python_implementation()} {platform.python_version()}",
        "cpu": _cpu_model(),
        "system": f"{platform.system()} {platform.machine()}",
        "packages": {name: _version(name) for name in sorted(names)},
        "commit": _commit(),
        "source": _source_digest(),
    }


def _cpu_model() -> str:
    info = Path("/proc/cpuinfo")
    if info.is_file():
        for line in info.read_text().splitlines():
            key, _, value = line.partition(":")
            if key.strip() == "model name":
                return value.strip()
    return platform.processor() or "unknown"


def _version(name: str) -> str:
    try:
        return metadata.version(name)
    except metadata.PackageNotFoundError:
        return "not installed"


def _commit() -> str:
    """Return the commit, marked where the measured files differ from it."""
    commit = _git("rev-parse", "--short=12", "HEAD")
    if not commit:
        return "none"
    return f"{commit} with changes" if _git("status", "--porcelain", "--", "src", "benchmarks") else commit


def _git(*arguments: str) -> str:
    try:
        done = subprocess.run(["git", *arguments], cwd=_TOP, capture_output=True, text=True, check=False)
    except OSError:
        return ""
    return done.stdout.strip() if done.returncode == 0 else ""


def _source_digest() -> str:
    """Return a digest of the package's source, which names it where the commit does not."""
    digest = hashlib.sha256()
    for path in sorted((_TOP / "src").rglob("*.py")):
        digest.update(path.relative_to(_TOP).as_posix().encode() + b"\0" + path.read_bytes())
    return f"sha256 {digest.hexdigest()[:16]}"
