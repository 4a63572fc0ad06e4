"""Shows where a row spends its time. A profiler slows calls more than loops: it shows places, not figures."""

import cProfile
import pstats
from typing import Final

from benchmarks.harness.case import Measurement
from benchmarks.harness.passes import Passes, in_turns

PLACES: Final = 25


def profile(measure: Measurement) -> None:
    """Measure once in this process and print the places that took the most time by themselves.

    Of passes only what is timed is looked at.
    """
    if why := measure.missing():
        print(f"not measured, {why}")
        return
    profiler = cProfile.Profile()
    if isinstance(measure, Passes):
        in_turns({"": measure}, profiler)
    else:
        profiler.runcall(measure)
    pstats.Stats(profiler).strip_dirs().sort_stats("tottime").print_stats(PLACES)
