"""Times an import statement, in fresh interpreters. Their own start is not on the clock."""

import os
import subprocess
import sys
from dataclasses import dataclass
from statistics import median
from typing import Final

from benchmarks.harness.case import Measurement, Sample

IMPORTS: Final = 5
LONGEST: Final = 30.0


@dataclass(frozen=True)
class Import(Measurement):
    """The import of some modules, `a, b`."""

    modules: str
    repeats: int = IMPORTS

    def packages(self) -> tuple[str, ...]:
        return tuple(name for name in self.modules.split(", ") if not name.startswith("stepstream"))

    def __call__(self) -> Sample:
        """Give the median, after one import that may have to compile."""
        self._once()
        return {"ms": 1000 * median(self._once() for _ in range(self.repeats))}

    def _once(self) -> float:
        program = f"from time import perf_counter as now; began = now(); import {self.modules}; print(now() - began)"
        done = subprocess.run(
            [sys.executable, "-c", program],
            capture_output=True,
            check=True,
            text=True,
            timeout=LONGEST,
            env={**os.environ, "PYTHONDONTWRITEBYTECODE": ""},  # compiled once, as what pip installs is
        )
        return float(done.stdout)
