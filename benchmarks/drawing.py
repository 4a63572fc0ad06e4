"""What drawing costs: `python -m benchmarks.drawing [EVENTS] [--pace EVENTS_A_SECOND] [--json]`.

One stream, a function call whose arguments come token by token, is read from a file by `cat --as runs` and drawn by
`watch` on a pseudo-terminal of 120 by 40, in turns, each in a process of its own. Starting up is part of both. With
`--pace`, the file is a recording of so many events a second, both keep its pace, and processor time is compared too.
"""

import argparse
import fcntl
import json
import os
import pty
import resource
import statistics
import struct
import subprocess
import sys
import tempfile
import termios
import time
from pathlib import Path
from typing import Final, NamedTuple

from benchmarks.workloads import function_call_by_token

TURNS: Final = 5
SIZE: Final = (40, 120)
PER_TICK: Final = 0.01
"""Seconds between two times in a recording: what a network hands over at once."""

TAKE_IT: Final = """
import fcntl, os, sys, termios
os.setsid()
fcntl.ioctl(0, termios.TIOCSCTTY, 0)
os.execv(sys.argv[1], sys.argv[1:])
"""


class Took(NamedTuple):
    """What a process took, in seconds: by the clock, and of the processor."""

    elapsed: float
    busy: float


def _busy() -> float:
    usage = resource.getrusage(resource.RUSAGE_CHILDREN)
    return usage.ru_utime + usage.ru_stime


def write_stream(path: Path, events: int, pace: float | None) -> None:
    """Write a stream of about so many events; with a pace, as a recording."""
    data = b"".join(function_call_by_token(events).chunks)
    if pace is not None:
        blocks = data.split(b"\n\n")[:-1]
        each = max(1, round(pace * PER_TICK))
        timed = [
            b": at %.6f\n%b\n\n" % (at / pace, b"\n\n".join(blocks[at : at + each]))
            for at in range(0, len(blocks), each)
        ]
        data = b": stepstream recording 1\n" + b"".join(timed)
    path.write_bytes(data)


def time_cat(path: Path, speed: str) -> Took:
    begun, busy = time.perf_counter(), _busy()
    command = [sys.executable, "-m", "stepstream", "cat", "--as", "runs", "--speed", speed, str(path)]
    subprocess.run(command, stdout=subprocess.DEVNULL, check=True)
    return Took(time.perf_counter() - begun, _busy() - busy)


def time_watch(path: Path, speed: str) -> Took:
    """Time `watch` on a terminal, which is read as fast as it is written."""
    begun, busy = time.perf_counter(), _busy()
    ours, theirs = pty.openpty()
    fcntl.ioctl(theirs, termios.TIOCSWINSZ, struct.pack("HHHH", *SIZE, 0, 0))
    command = [sys.executable, "-c", TAKE_IT, sys.executable, "-m", "stepstream", "watch", "--speed", speed, str(path)]
    environment = {**os.environ, "TERM": "xterm-256color", "LC_ALL": "C.UTF-8"}
    process = subprocess.Popen(command, stdin=theirs, stdout=theirs, stderr=theirs, env=environment)
    os.close(theirs)
    written = b""
    try:
        while data := os.read(ours, 65_536):
            written += data
    except OSError:  # nobody holds the other end any more
        pass
    os.close(ours)
    if process.wait() or b"\x1b[?1049h" not in written:
        raise RuntimeError(f"expected a drawing, got {written[-500:]!r}")
    return Took(time.perf_counter() - begun, _busy() - busy)


def measure(events: int, pace: float | None = None, turns: int = TURNS) -> dict[str, float]:
    """Return the figures of both, the medians of `turns`."""
    with tempfile.TemporaryDirectory() as place:
        path, speed = Path(place) / "stream.sse", "max" if pace is None else "1"
        write_stream(path, events, pace)
        pairs = [(time_cat(path, speed), time_watch(path, speed)) for _ in range(turns)]
    cats, watches = ([pair[at] for pair in pairs] for at in (0, 1))
    cat, watch = (statistics.median(one.elapsed for one in some) for some in (cats, watches))
    busy_cat, busy_watch = (statistics.median(one.busy for one in some) for some in (cats, watches))
    return {
        "events": events,
        "cat_events_per_second": events / cat,
        "watch_events_per_second": events / watch,
        "throughput_ratio": cat / watch,
        "busy_ratio": busy_watch / busy_cat,
    }


def main() -> None:
    parser = argparse.ArgumentParser(prog="python -m benchmarks.drawing", description="Measure what drawing costs.")
    parser.add_argument("events", nargs="?", type=int, default=500_000, metavar="EVENTS", help="500,000 unless told")
    parser.add_argument("--pace", type=float, metavar="EVENTS_A_SECOND", help="replay at this pace, not at once")
    parser.add_argument("--json", action="store_true", help="write JSON")
    options = parser.parse_args()
    figures = measure(options.events, options.pace)
    if options.json:
        print(json.dumps(figures))
        return
    print(f"{'events/s':>12}  {figures['cat_events_per_second']:>10,.0f}  cat --as runs")
    print(f"{'events/s':>12}  {figures['watch_events_per_second']:>10,.0f}  watch, drawn")
    print(f"{'throughput':>12}  {figures['throughput_ratio']:>10.0%}  of cat's")
    print(f"{'processor':>12}  {figures['busy_ratio']:>10.0%}  of cat's")


if __name__ == "__main__":
    main()
