"""The case `memory` for another number of runs: `python -m benchmarks.memory [RUNS] [--json]`."""

import argparse
import json
from concurrent.futures import ProcessPoolExecutor
from multiprocessing import get_context
from typing import Final

from benchmarks.harness.case import Sample
from benchmarks.harness.memory import KEPT, OPEN, RELEASED, Memory

_NAMES: Final = {"open": OPEN, "kept": KEPT, "released": RELEASED}


def main() -> None:
    parser = argparse.ArgumentParser(prog="python -m benchmarks.memory", description="Measure what runs take.")
    parser.add_argument("runs", nargs="?", type=int, default=10_000, metavar="RUNS", help="10,000 unless told")
    parser.add_argument("--json", action="store_true", help="write JSON, in bytes")
    options = parser.parse_args()
    measurements = {"heap": Memory(options.runs, is_heap=True), "resident": Memory(options.runs, is_heap=False)}
    with ProcessPoolExecutor(1, mp_context=get_context("spawn"), max_tasks_per_child=1) as fresh:
        figures = {
            kind: fresh.submit(_measure, one).result() for kind, one in measurements.items() if not one.missing()
        }
    if options.json:
        print(json.dumps({"runs": options.runs, **{f"{kind}_bytes": _in_bytes(own) for kind, own in figures.items()}}))
        return
    print(f"memory: KiB a run, of {options.runs:,} runs at once")
    for kind, own in figures.items():
        print(f"{kind:<10}" + "  ".join(f"{name} {own[key]:.2f}" for name, key in _NAMES.items() if key in own))


def _measure(measurement: Memory) -> Sample:
    return measurement()


def _in_bytes(sample: Sample) -> dict[str, float]:
    return {name: sample[key] * 1024 for name, key in _NAMES.items() if key in sample}


if __name__ == "__main__":
    main()
