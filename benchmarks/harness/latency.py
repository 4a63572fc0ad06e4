"""Times each delta of a paced stream, from the server's write to the client's callback.

The server's stamp is what the delta adds, taken right before it is written; the clock is the monotonic one that the
two processes share. So the time in the kernel and in every buffer is included, and the pacing's own faults are not.
"""

import gc
import time
from dataclasses import dataclass
from importlib import import_module
from statistics import quantiles
from typing import Any, Final

import anyio

from benchmarks.harness.case import Measurement, Sample
from benchmarks.server import serving
from benchmarks.stamped import stamps_in
from benchmarks.workloads import Load

P50: Final = "p50 µs"
P99: Final = "p99 µs"
WARM_UP: Final = 200
LONGEST: Final = 60.0
"""Seconds after which a stream is given up."""


@dataclass(frozen=True)
class Latency(Measurement):
    """A peer that listens to a stream of so many deltas, `rate` a second."""

    peer: str
    deltas: int
    rate: int

    def resolved(self) -> Any:
        return import_module(f"benchmarks.peers.{self.peer}")

    def packages(self) -> tuple[str, ...]:
        return self.resolved().PACKAGES

    def missing(self) -> str:
        missing = getattr(self.resolved(), "missing", None)
        return missing() if missing else ""

    def __call__(self) -> Sample:
        options = {"use_uvloop": getattr(self.resolved(), "UVLOOP", False)}
        anyio.run(self._listen, min(WARM_UP, self.deltas), backend_options=options)
        waits = anyio.run(self._listen, self.deltas, backend_options=options)
        percentiles = quantiles((wait / 1000 for wait in waits), n=100, method="inclusive")
        return {"deltas": len(waits), P50: percentiles[49], P99: percentiles[98], "max µs": max(waits) / 1000}

    async def _listen(self, deltas: int) -> list[int]:
        """Return the nanoseconds that each delta took."""
        peer, noted = self.resolved(), list[tuple[str, int]]()

        def note(piece: str) -> None:
            noted.append((piece, time.monotonic_ns()))

        with serving(_UNUSED, deltas, rate=self.rate) as url, anyio.fail_after(LONGEST):
            gc.collect()
            arguments = await peer.listen(peer.connect_to(url), note)
        stamps = [(int(piece), at) for piece, at in noted if piece]  # the delta that names the call adds nothing
        assert [stamp for stamp, _ in stamps] == stamps_in(arguments)
        assert len(stamps) == deltas
        return [at - stamp for stamp, at in stamps]


_UNUSED: Final = Load("function_call_by_token", 2)
