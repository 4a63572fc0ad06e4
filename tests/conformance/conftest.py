"""The tests of the checker share `conforming`, streams without a fault: put it on the path, in every import mode."""

import sys
from pathlib import Path

sys.path.insert(0, str(Path(__file__).parent))
