"""The benchmarks are no part of the installed package: put the top of the repository on the path."""

import sys
from pathlib import Path

sys.path.insert(0, str(Path(__file__).parents[2]))
