"""Where the tests find what is stored in the repository."""

from pathlib import Path
from typing import Final

ROOT: Final = Path(__file__).parents[2]
STREAMS: Final = ROOT / "tests" / "streams"
"""Our own streams."""

PICTURES: Final = ROOT / "tests" / "pictures"
"""The pictures of the live view."""
