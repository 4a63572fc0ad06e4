"""What is waiting to be sent to one viewer: so much, and no more."""

from typing import Final

from stepstream.relay.batch import Batch

MAX_BEHIND: Final = 256
"""How many frames a viewer may be behind."""

MAX_BEHIND_BYTES: Final = 2**20


class Owed:
    """Batches in order. It has room for one more while it is empty, however large that is."""

    __slots__ = ("_batches", "_bytes", "frames")

    def __init__(self) -> None:
        self.frames = 0
        self._batches: list[Batch] = []
        self._bytes = 0

    def __bool__(self) -> bool:
        return bool(self._batches)

    def has_room(self, batch: Batch) -> bool:
        """Return whether a viewer may be so far behind."""
        frames, size = self.frames + batch.frames, self._bytes + len(batch.data)
        return not self._batches or (frames <= MAX_BEHIND and size <= MAX_BEHIND_BYTES)

    def add(self, batch: Batch) -> None:
        """Add a batch, unless nothing is in it."""
        if batch.data:
            self._batches.append(batch)
            self.frames += batch.frames
            self._bytes += len(batch.data)

    def take(self) -> bytes:
        """Return all there is, as one piece: that of a single batch is the object that all others get."""
        batches = self._batches
        data = batches[0].data if len(batches) == 1 else b"".join([batch.data for batch in batches])
        self.clear()
        return data

    def clear(self) -> None:
        """Let go of it all."""
        self._batches.clear()
        self.frames = self._bytes = 0
