"""The tests of the processor share `plays`, small streams and their audience: put it on the path, whatever pytest's
import mode."""

import sys
from pathlib import Path

sys.path.insert(0, str(Path(__file__).parent))
