"""The tests of the fold share `sent`, what servers send: put it on the path, whatever pytest's import mode."""

import sys
from pathlib import Path

sys.path.insert(0, str(Path(__file__).parent))
