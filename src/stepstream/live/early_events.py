"""What a stream tells before any run of it is known: kept for the first one, up to a bound."""

from typing import Final

MAX_EARLY: Final = 2**20
"""How many bytes of events wait until a run is known. The rest is in no journal."""


class EarlyEvents:
    """The blocks that wait."""

    def __init__(self) -> None:
        self._blocks: list[bytes] = []
        self._size = 0
        self._lost = 0

    @property
    def unwritten(self) -> int:
        """How many events are in no journal: those that wait, and those that there was no room for."""
        return self._lost + len(self._blocks)

    def add(self, block: bytes) -> None:
        """Keep a block, where there is room."""
        if self._size + len(block) > MAX_EARLY:
            self._lost += 1
            return
        self._blocks.append(block)
        self._size += len(block)

    def taken(self) -> list[bytes]:
        """Return the blocks, which wait no more."""
        taken, self._blocks, self._size = self._blocks, [], 0
        return taken
