"""Times the passes of a peer over a workload.

A process warms up on a twentieth of the stream, then times passes over all of it until the clock has run for a while,
and gives the median pass. Garbage collection is on, as in an application; it runs once before each pass, off the
clock. The result of every pass is checked before its time counts.
"""

import gc
from collections.abc import Iterator, Mapping
from contextlib import AbstractContextManager, ExitStack, contextmanager, nullcontext
from dataclasses import dataclass, field
from importlib import import_module
from statistics import median
from time import perf_counter, process_time
from typing import Any, Final

import anyio

from benchmarks.harness.case import COST, CPU, DELTA_COST, Measurement, Sample
from benchmarks.server import serving
from benchmarks.workloads import Load
from benchmarks.writer import Workload

LONGEST_PASS: Final = 120.0
"""Seconds after which a pass is given up."""
SMALLEST: Final = 2


@dataclass(frozen=True)
class Passes(Measurement):
    """A peer on a workload: passes from bytes in memory, or over loopback HTTP from another process."""

    peer: Any
    """The name of a module of `peers`, or an object with the same names."""
    load: Load
    over_http: bool = False
    is_written_singly: bool = False
    """Whether the server writes each event by itself."""
    long_enough: float = 0.25
    """Seconds on the clock after which no further pass is timed."""

    def resolved(self) -> Any:
        return import_module(f"benchmarks.peers.{self.peer}") if isinstance(self.peer, str) else self.peer

    def packages(self) -> tuple[str, ...]:
        return self.resolved().PACKAGES

    def missing(self) -> str:
        missing = getattr(self.resolved(), "missing", None)
        return missing() if missing else ""

    def __call__(self) -> Sample:
        return in_turns({"": self})[""]


@dataclass
class _Entrant:
    peer: Any
    load: Workload
    url: str | None
    events: int = 0
    seconds: list[float] = field(default_factory=list)
    """Of every timed pass."""
    cpu_seconds: float = 0.0
    """Of all of them."""

    def pass_(self, around: AbstractContextManager[Any]) -> None:
        """Time one pass, in an event loop of its own."""
        options = {"use_uvloop": getattr(self.peer, "UVLOOP", False)}
        anyio.run(self._pass, around, backend_options=options)

    async def _pass(self, around: AbstractContextManager[Any]) -> None:
        prepared = self.peer.prepare(self.load) if self.url is None else self.peer.connect_to(self.url)
        gc.collect()
        with anyio.fail_after(LONGEST_PASS), around:
            begin, cpu = perf_counter(), process_time()
            result = await self.peer.run(prepared)
            seconds, cpu = perf_counter() - begin, process_time() - cpu
        self.events = self.peer.check(self.load, result)
        self.seconds.append(seconds)
        self.cpu_seconds += cpu


def in_turns(rows: Mapping[str, Passes], around: AbstractContextManager[Any] | None = None) -> dict[str, Sample]:
    """Time the rows pass by pass, each time beginning with another one, until one has been on the clock for long.

    Each timed pass runs in `around`, such as a profiler.
    """
    _warm_up(rows)
    enough = max(row.long_enough for row in rows.values())
    with _entrants(rows, small=False) as entrants:
        turns = list(entrants.values())
        while max(sum(entrant.seconds) for entrant in turns) < enough:
            for entrant in turned(turns, len(turns[0].seconds)):
                entrant.pass_(around or nullcontext())
        return {label: _sample(entrant) for label, entrant in entrants.items()}


def turned(entrants: list[Any], number: int) -> list[Any]:
    """Return them, beginning with another one every time."""
    first = number % len(entrants)
    return [*entrants[first:], *entrants[:first]]


def _warm_up(rows: Mapping[str, Passes]) -> None:
    with _entrants(rows, small=True) as entrants:
        for entrant in entrants.values():
            entrant.pass_(nullcontext())
            if verify := getattr(entrant.peer, "verify", None):
                anyio.run(verify, entrant.load)


@contextmanager
def _entrants(rows: Mapping[str, Passes], *, small: bool) -> Iterator[dict[str, _Entrant]]:
    """Give what runs each row; where it is small, the stream is a twentieth of its size."""
    with ExitStack() as stack:
        entrants, loads = {}, dict[Load, Workload]()
        for label, row in rows.items():
            size = max(SMALLEST, row.load.size // 20) if small else row.load.size
            if row.load not in loads:
                loads[row.load] = row.load.make(size)
            server = serving(row.load, size, is_written_singly=row.is_written_singly) if row.over_http else None
            url = None if server is None else stack.enter_context(server)
            entrants[label] = _Entrant(row.resolved(), loads[row.load], url)
        yield entrants


def _sample(entrant: _Entrant) -> Sample:
    seconds, events, deltas = median(entrant.seconds), entrant.events, entrant.load.deltas
    return {
        "events": events,
        "events/s": events / seconds,
        COST: 1e6 * seconds / events,
        **({DELTA_COST: 1e6 * seconds / deltas} if deltas else {}),
        "seconds": seconds,
        "passes": len(entrant.seconds),
        CPU: entrant.cpu_seconds / sum(entrant.seconds),
    }
