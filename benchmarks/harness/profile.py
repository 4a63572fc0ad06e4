"""Shows where a row spends its time. A profiler slows calls more than loops: it shows places, not figures."""

import cProfile
import pstats
from typing import Final

from benchmarks.harness.case import Measurement

PLACES: Final = 25


def profile(measure: Measurement) -> None:
    """Measure once in this process and print the places that took the most time by themselves."""
    if why := measure.missing():
        print(f"not measured, {why}")
        return
    profiler = cProfile.Profile()
    profiler.runcall(measure)
    pstats.Stats(profiler).strip_dirs().sort_stats("tottime").print_stats(PLACES)
